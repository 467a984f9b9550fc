//! R17: draining and stopping another CPU's cache loses no page and counts none twice.
//!
//! *Threads:* owners on their own CPUs, with a cache each; a thread that drains all caches, or that
//! stops them and begins to close the zone. *Property:* after a drain every page is in a cache or in
//! the zone. After a close the caches are empty for good, and the pages that `begin_close` found out
//! are exactly those that later come back as closing ones, withdrawn blocks included: a page that is
//! counted on neither side would let the pool end under its owner, one on both would keep it for
//! ever. *The bug it would catch:* a free that lands in a cache which was emptied already; a
//! withdrawn block that is not counted. *The edits that make it fail:* mutant `pcp.stopped`;
//! `begin_close` subtracting `withdrawn`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::{Page, Zone, cpu};

const PAGES: usize = 4;

fn take(zone: &Zone) -> Page {
    zone.take().expect("there is a page for each")
}

#[test]
fn a_drain_meets_owners_on_other_cpus() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r17_remote_drain", 6_000, move || {
        let zone = Shared::new(Zone::new(PAGES, 2, 2, 3));
        let owners = [0, 1].map(|cpu_idx| {
            let zone = Shared::clone(&zone);
            actor(move || {
                cpu::set_for_model(cpu_idx);
                assert_eq!(zone.put(take(&zone), || ()), 0);
            })
        });
        let d = Shared::clone(&zone);
        let drainer = actor(move || d.drain());

        let drained = join(drainer);
        join_all(owners);
        let cached: usize = zone.cached_by_cpu().iter().sum();
        assert_eq!(zone.free_pages() + cached, PAGES);
        zone.verify();
        seen.record(drained);
    });
    outcomes.assert_exactly([0, 1, 2, 3, 4]);
}

/// Two owners give a page back while the zone begins to close; returns how many pages were out.
fn close_while_pages_come_back(zone: Zone) -> usize {
    let zone = Shared::new(zone);
    let pages = [take(&zone), take(&zone)];
    zone.drain();

    let mut cpu_idx = 0;
    let owners = pages.map(|page| {
        let (zone, my_cpu) = (Shared::clone(&zone), cpu_idx);
        cpu_idx += 1;
        actor(move || {
            cpu::set_for_model(my_cpu);
            zone.put(page, || ())
        })
    });
    let c = Shared::clone(&zone);
    let closer = actor(move || c.begin_close());

    let out = join(closer);
    let came_back: usize = join_all(owners).iter().sum();
    assert_eq!(out, came_back, "each page that is out comes back once");
    assert_eq!(zone.cached_by_cpu(), [0, 0], "a stopped cache stays empty");
    assert_eq!(zone.free_pages(), PAGES);
    zone.verify();
    out
}

#[test]
fn a_close_counts_each_page_on_one_side() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r17_close_with_caches", 1_300, move || {
        seen.record(close_while_pages_come_back(Zone::new(PAGES, 2, 1, 4)));
    });
    outcomes.assert_exactly([0, 1, 2]);
}

#[test]
fn a_close_counts_withdrawn_blocks_as_out() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r17_close_with_idle_block", 2_000, move || {
        let zone = Zone::new(PAGES, 2, 1, 0);
        zone.set_keep_resident(0);
        seen.record(close_while_pages_come_back(zone));
    });
    outcomes.assert_exactly([0, 1, 2, PAGES]); // all of it, if both are back and one block
}
