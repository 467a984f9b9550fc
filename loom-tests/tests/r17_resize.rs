//! R17: a cache whose sizes change goes by sizes that were set together, and loses no page.
//!
//! *Threads:* one that sets other sizes, twice; two owners on CPUs of their own, who take a page and give it back.
//! *Property:* no refill and no flush goes by the batch of one setting and the limit of another: then a cache would
//! hold as much as its limit, or more (P3, INV-10); afterwards every page is in a cache or in the zone. *The bug it
//! would catch:* v5.0's order of stores, which stands only as long as both are. *The edit that makes it fail:* the
//! negative twin, put into `Pcp`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check_shallower, check_twin, join, join_all};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Zone, cpu};

const PAGES: usize = 8;

#[test]
fn sizes_that_change_lose_no_page() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("r17_resize", 1, 6_000, move || {
        let zone = Shared::new(Zone::new(PAGES, 2, 1, 2));
        let owners = [0, 1].map(|cpu_idx| {
            let zone = Shared::clone(&zone);
            actor(move || {
                cpu::set_for_model(cpu_idx);
                let page = zone.take().expect("there is one for each");
                zone.put(page, || ())
            })
        });
        let r = Shared::clone(&zone);
        let resizer = actor(move || {
            r.set_pcp_sizes(3, 4);
            r.set_pcp_sizes(1, 0);
        });
        join_all(owners);
        join(resizer);
        let cached = zone.cached_by_cpu();
        assert!(cached.iter().all(|pages| *pages < 4), "P3: {cached:?}");
        assert_eq!(zone.free_pages() + cached.iter().sum::<usize>(), PAGES);
        zone.verify();
        seen.record(cached);
    });
    outcomes.assert_exactly((0..4).flat_map(|first| (0..4).map(move |second| vec![first, second])));
}

#[test]
#[should_panic(expected = "mixed")]
fn twin_with_a_word_for_each_size_mixes_them() {
    check_twin(|| {
        let sizes = Shared::new([AtomicUsize::new(1), AtomicUsize::new(2)]);
        let (s, r) = (Shared::clone(&sizes), Shared::clone(&sizes));
        let setter = actor(move || {
            s[0].store(3, Relaxed);
            s[1].store(4, Relaxed);
        });
        let reader = actor(move || [r[0].load(Relaxed), r[1].load(Relaxed)]);
        let [batch, high] = join(reader);
        join(setter);
        assert!(batch <= high, "mixed: {batch} of {high}");
    });
}
