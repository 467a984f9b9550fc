//! R23: of two who drain all caches one does it, and who must have the pages waits for that one.
//!
//! *Threads:* one that drains, or leaves it to whoever is at it; one that waits for its turn, since it is about to
//! give up or to sleep; an owner on another CPU that gives a page back. *Property:* when the one that waits returns,
//! every page that was in a cache before it came is in the zone; who leaves it to another returns at once and has
//! drained nothing; what is freed after the look may stay, and no page is lost. *The bug it would catch:* a request
//! that is refused beside free memory, since another's drain had only begun. *The edit that makes it fail:* mutant
//! `drain.wait`.

#![cfg(loom)]

use loom_tests::{Outcomes, actor, check, join, join_all, on_large_stack};
use pagepool::model::{Nodes, cpu};

const PAGES: usize = 4;

/// A node with two pages in the cache of each of two CPUs.
fn with_full_caches() -> Nodes {
    let nodes = on_large_stack(|| Nodes::new(PAGES, 2, 2, |_| ()));
    for cpu_idx in 0..2 {
        cpu::set_for_model(cpu_idx);
        let page = nodes.take().expect("all are free");
        nodes.put(page);
    }
    assert_eq!(nodes.free_and_cached(), (0, PAGES));
    nodes
}

#[test]
fn who_waits_for_its_turn_finds_what_was_cached_before() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r23_drain_all", 45, move || {
        let nodes = with_full_caches();
        let (first, second) = (nodes.clone(), nodes.clone());
        let leaves_it = actor(move || first.drain_all());
        let waits = actor(move || {
            let drained = second.drain_all_and_synchronize();
            assert_eq!(
                second.free_and_cached(),
                (PAGES, 0),
                "a page is still on its way"
            );
            drained
        });
        let drained = (join(leaves_it), join(waits));
        nodes.verify();
        seen.record(drained);
    });
    outcomes.assert_exactly([(0, PAGES), (PAGES, 0)]);
}

#[test]
fn what_is_freed_after_the_look_may_stay() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r23_drain_late_free", 14, move || {
        let nodes = on_large_stack(|| Nodes::new(PAGES, 1, 1, |_| ()));
        let page = nodes.take().expect("all are free");
        let (d, o) = (nodes.clone(), nodes.clone());
        let drainer = actor(move || d.drain_all());
        let owner = actor(move || o.put(page));
        let drained = join(drainer);
        join(owner);
        let (free, cached) = nodes.free_and_cached();
        assert_eq!(free + cached, PAGES);
        nodes.verify();
        seen.record((drained, cached));
    });
    outcomes.assert_exactly([(0, 1), (1, 0)]);
}

#[test]
fn two_who_wait_both_find_everything() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r23_drain_two_wait", 125, move || {
        let nodes = with_full_caches();
        let waiters = [(); 2].map(|()| {
            let nodes = nodes.clone();
            actor(move || {
                let drained = nodes.drain_all_and_synchronize();
                assert_eq!(nodes.free_and_cached(), (PAGES, 0));
                drained
            })
        });
        let drained = join_all(waiters);
        assert_eq!(drained.iter().sum::<usize>(), PAGES);
        nodes.verify();
        seen.record(drained);
    });
    // Either finds everything itself, and the other nothing more.
    outcomes.assert_exactly([[0, PAGES], [PAGES, 0]]);
}
