//! R25: a node whose memory goes out of service between the wake-up and the run needs nothing.
//!
//! *Threads:* kswapd with its whole loop, its own run and the node's real zone; one who raises the marks, asks, takes
//! all memory out of service, and stops kswapd once it sleeps. *Property:* kswapd goes to sleep, has failed at
//! nothing, and no ratio is taken of nothing. *The bug it would catch:* a thread that goes on looking for memory in a
//! node that has none, until it counts as hopeless. *The edit that makes it fail:* mutant `balanced.unmanaged`.

#![cfg(loom)]

use loom_tests::{
    Outcomes, Shared, Tally, actor, actor_on_large_stack, check, check_shallower, join, join_all,
    on_large_stack,
};
use pagepool::model::{Nodes, thread};

const PAGES: usize = 4;

/// A node where a pass of reclaim lasts until there is no memory; and how many passes there were.
fn node() -> (Nodes, Shared<Tally>) {
    let passes = Shared::new(Tally::default());
    let begun = Shared::clone(&passes);
    let nodes = on_large_stack(|| {
        Nodes::new(PAGES, 1, 0, move |nodes| {
            begun.add_one();
            while nodes.is_managed() {
                thread::yield_now();
            }
        })
    });
    nodes.end_nap();
    (nodes, passes)
}

#[test]
fn kswapd_sleeps_beside_a_node_without_memory() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_shallower("r25_unmanaged", 1, 25_000, move || {
        let (nodes, passes) = node();
        let (k, o) = (nodes.clone(), nodes.clone());
        let kswapd = actor_on_large_stack(move || k.run_kswapd());
        let owner = actor(move || {
            o.set_marks(PAGES as u32, 1);
            assert!(o.wake_kswapd(), "it is short");
            assert_eq!(o.offline(), PAGES);
            while !o.is_kswapd_asleep() {
                thread::yield_now();
            }
            o.stop_kswapd();
        });
        join_all([owner, kswapd]);
        assert_eq!(nodes.failures(), 0);
        assert!(nodes.is_balanced() && !nodes.wake_kswapd());
        seen.record(passes.get() > 0);
    });
    // The memory went before the run, or under it.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn an_asker_beside_a_node_without_memory_asks_for_nothing() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r25_asker", 800, move || {
        let (nodes, _) = node();
        nodes.set_marks(PAGES as u32, 1);
        let (a, o) = (nodes.clone(), nodes.clone());
        let asker = actor(move || a.wake_kswapd());
        let owner = actor(move || o.offline());
        let asked = join(asker);
        assert_eq!(join(owner), PAGES);
        assert!(nodes.is_balanced());
        nodes.verify();
        seen.record(asked);
    });
    outcomes.assert_exactly([false, true]);
}
