//! Rounds of reclaim and compaction: how many there are, and what ends them.

use super::*;
use crate::node::fixture::nodes;
use crate::sync::clock;
use crate::zone::vmstat::VmEvent;

#[test]
fn a_reclaimer_that_claims_progress_for_ever_ends_by_the_deadline() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let reclaimer = FakeReclaim {
        claims: 1,
        reclaimable: 1000,
        ..FakeReclaim::default()
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, 30 * MS)
    };
    let start = clock::now();
    assert_eq!(refused(&allocator, 0, Gfp::KERNEL), AllocError::BelowMin);
    let took = clock::now().saturating_duration_since(start);
    assert!((30 * MS..30 * MS + SLACK).contains(&took), "{took:?}");
    assert!(reclaimer.calls() > 1);

    let before = reclaimer.calls();
    refused(&allocator, 0, Gfp::KERNEL | Gfp::NORETRY);
    assert_eq!(reclaimer.calls() - before, 1, "one light round");
}

#[test]
fn sixteen_rounds_without_progress_are_tried_while_there_is_something_to_reclaim() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let reclaimer = FakeReclaim {
        reclaimable: 1000,
        ..FakeReclaim::default()
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, AGES)
    };
    refused(&allocator, 0, Gfp::KERNEL | Gfp::RETRY_MAYFAIL);
    assert_eq!(reclaimer.calls(), 17);
}

/// With nothing free at all, what can be reclaimed was held against a mark of zero rather than added
/// to what is free, and the request gave up with plenty left to reclaim.
#[test]
fn what_can_be_reclaimed_counts_although_nothing_is_free() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let (pages, _) = exhaust(&bare(&nodes, AGES), Gfp::MEMALLOC);
    assert_eq!(free(&nodes), 0);
    let reclaimer = FakeReclaim {
        reclaimable: 1000,
        at_call: 6,
        frees: Mutex::new(pages[..200].to_vec()),
        nodes: Some(&nodes),
        ..FakeReclaim::default()
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, AGES)
    };
    allocator.alloc(Order::ZERO, Gfp::KERNEL).unwrap();
    assert_eq!(reclaimer.calls(), 6);
    assert_eq!(nodes.counted(VmEvent::FreedWaits), 0);
    assert_eq!(nodes.counted(VmEvent::AllocstallNormal), 6);
}

#[test]
fn a_costly_block_that_is_stolen_each_time_is_compacted_for_four_times_more() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let reclaimer = FakeReclaim {
        claims: 1,
        ..FakeReclaim::default()
    };
    let compactor = FakeCompact::ending_in(CompactResult::Success);
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        compactor: Some(&compactor),
        ..bare(&nodes, AGES)
    };
    refused(&allocator, 4, Gfp::KERNEL | Gfp::RETRY_MAYFAIL);
    assert_eq!(
        *compactor.asked.lock(),
        [ASYNC, LIGHT, LIGHT, LIGHT, LIGHT, LIGHT]
    );
    assert_eq!(nodes.counted(VmEvent::CompactStall), 6);
    assert_eq!(nodes.counted(VmEvent::CompactFail), 6);
}

#[test]
fn every_ending_of_a_compaction_leads_to_an_end() {
    let endings = [
        CompactResult::Skipped,
        CompactResult::Deferred,
        CompactResult::Contended,
        CompactResult::PartialSkipped,
        CompactResult::Complete,
        CompactResult::Success,
    ];
    let nodes = nodes(&[[0, 1024, 0]], 64);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    for ending in endings {
        for n in [1, 3, 4, 8] {
            let reclaimer = FakeReclaim {
                claims: 1,
                ..FakeReclaim::default()
            };
            let compactor = FakeCompact::ending_in(ending);
            let allocator = Allocator {
                reclaimer: Some(&reclaimer),
                compactor: Some(&compactor),
                ..bare(&nodes, AGES)
            };
            refused(&allocator, n, Gfp::KERNEL | Gfp::RETRY_MAYFAIL);
            assert!(reclaimer.calls() <= 40, "{ending:?} at order {n}");
        }
    }
}

/// A hasty request for a costly order went on to reclaim although compaction had just been put off.
#[test]
fn a_hasty_costly_request_ends_where_compaction_is_put_off() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let reclaimer = FakeReclaim::default();
    let compactor = FakeCompact::ending_in(CompactResult::Deferred);
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        compactor: Some(&compactor),
        ..bare(&nodes, AGES)
    };
    refused(&allocator, 4, Gfp::KERNEL | Gfp::NORETRY);
    assert_eq!((reclaimer.calls(), compactor.asked.lock().len()), (0, 1));
    assert_eq!(nodes.counted(VmEvent::CompactStall), 0, "nothing ran");
}

/// A reclaimer that needs memory itself.
struct HungryReclaim<'a> {
    nodes: &'a Nodes,
    calls: AtomicUsize,
    from_reserve: AtomicUsize,
    refused: AtomicUsize,
}

impl Reclaim for HungryReclaim<'_> {
    fn reclaim(&self, _request: &Request, _deadline: Option<Instant>) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let allocator = Allocator {
            reclaimer: Some(self),
            ..bare(self.nodes, AGES)
        };
        for _ in 0..100 {
            match allocator.alloc(Order::ZERO, Gfp::KERNEL) {
                Ok(granted) if granted.from_reserve => &self.from_reserve,
                Ok(_) => continue,
                Err(_) => &self.refused,
            }
            .fetch_add(1, Ordering::Relaxed);
        }
        0
    }

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        0
    }
}

#[test]
fn a_reclaimer_that_allocates_uses_the_reserve_and_never_reclaims() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    let reclaimer = HungryReclaim {
        nodes: &nodes,
        calls: AtomicUsize::new(0),
        from_reserve: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, Duration::ZERO)
    };
    let start = clock::now();
    refused(&allocator, 0, Gfp::KERNEL);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    assert_eq!(count(&reclaimer.calls), 1);
    assert_eq!(count(&reclaimer.from_reserve), 64, "all of the minimum");
    assert_eq!(count(&reclaimer.refused), 36, "at once");
    assert!(clock::now().saturating_duration_since(start) < AGES / 2);
    nodes.verify().unwrap();
}

/// Without a compactor a request of a small order gave up, or slept, after the first round of reclaim,
/// though the next page freed might have been the neighbour that it needed.
#[test]
fn without_a_compactor_small_orders_reclaim_until_neighbours_are_free() {
    let nodes = nodes(&[[0, 64, 0]], 4);
    let pages = exhaust(&bare(&nodes, Duration::ZERO), Gfp::MEMALLOC).0;
    let (even, odd): (Vec<_>, Vec<_>) = pages.into_iter().partition(|pfn| pfn.index() % 2 == 0);
    even.iter().for_each(|pfn| nodes.give(*pfn, 0));
    let reclaimer = FakeReclaim {
        claims: 1,
        frees: Mutex::new(odd),
        at_call: 3,
        nodes: Some(&nodes),
        ..FakeReclaim::default()
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, AGES)
    };
    let granted = allocator.alloc(order(1), Gfp::KERNEL | Gfp::RETRY_MAYFAIL);
    assert_eq!((granted.is_ok(), reclaimer.calls()), (true, 3));
}
