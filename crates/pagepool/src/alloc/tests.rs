use std::thread;

use super::scope::{ScopeKind, enter};
use super::*;
use crate::node::MarkSettings;
use crate::node::fixture::{mask, nodes, nodes_with, settings};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::cpu::with_cpu;
use crate::sync::{Mutex, clock};
use crate::types::{NodeId, Pfn};
use crate::zone::Zone;
use crate::zone::sizing::PcpSizes;
use crate::zone::vmstat::VmEvent;

const MS: Duration = Duration::from_millis(1);

/// Long enough for anything that does not hang, on a busy machine.
const AGES: Duration = Duration::from_secs(20);

/// How late a thread may be scheduled on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

fn order(n: usize) -> Order {
    Order::at(n)
}

/// A reclaimer that does as it is told and counts.
#[derive(Default)]
struct FakeReclaim<'a> {
    calls: AtomicUsize,
    /// What it says that it freed.
    claims: usize,
    /// What it says that it could free.
    reclaimable: usize,
    /// Pages that it frees for good, all of them at the given call.
    frees: Mutex<Vec<Pfn>>,
    at_call: usize,
    nodes: Option<&'a Nodes>,
}

impl Reclaim for FakeReclaim<'_> {
    fn reclaim(&self, _request: &Request, _deadline: Option<Instant>) -> usize {
        assert!(scope::is_memalloc(), "a reclaimer may use the reserves");
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let (Some(nodes), true) = (self.nodes, call == self.at_call) {
            let pages = std::mem::take(&mut *self.frees.lock());
            pages.iter().for_each(|pfn| nodes.give(*pfn, 0));
            return pages.len();
        }
        self.claims
    }

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        self.reclaimable
    }
}

impl FakeReclaim<'_> {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// A compactor that always ends alike and remembers how hard it was asked to try.
struct FakeCompact {
    result: CompactResult,
    asked: Mutex<Vec<CompactPriority>>,
}

impl FakeCompact {
    fn ending_in(result: CompactResult) -> FakeCompact {
        FakeCompact {
            result,
            asked: Mutex::new(vec![]),
        }
    }
}

impl Compact for FakeCompact {
    fn compact(&self, _request: &Request, priority: CompactPriority) -> CompactResult {
        assert!(scope::is_memalloc(), "a compactor may use the reserves");
        self.asked.lock().push(priority);
        self.result
    }

    fn would_help(&self, _request: &Request) -> bool {
        false
    }
}

fn bare(nodes: &Nodes, patience: Duration) -> Allocator<'_> {
    Allocator {
        nodes,
        reclaimer: None,
        compactor: None,
        patience,
        pool: None,
    }
}

/// Takes single pages until they are refused; returns them and the cause.
fn exhaust(allocator: &Allocator<'_>, gfp: Gfp) -> (Vec<Pfn>, AllocError) {
    let mut pages = vec![];
    loop {
        match allocator.alloc(Order::ZERO, gfp) {
            Ok(granted) => pages.push(granted.taken.pfn()),
            Err(error) => return (pages, error),
        }
    }
}

fn free(nodes: &Nodes) -> usize {
    nodes.zones().map(Zone::free_pages).sum()
}

// ---- the matrix of spec 3.18 ----

/// A row of the matrix.
struct Class {
    name: &'static str,
    gfp: Gfp,
    /// The scope that the request is made in.
    scope: Option<ScopeKind>,
    /// Whether the reclaimer of the node is asked.
    wakes: bool,
    /// Pages left when single pages are refused, of a minimum of 64.
    leaves: usize,
    /// Rounds of direct reclaim before a refusal, when there is nothing to be reclaimed.
    reclaims: usize,
    /// Direct compactions before a refusal, at orders 0, 2 and 4.
    compacts: [&'static [CompactPriority]; 3],
    /// Whether it waits for others to free memory, at orders 0, 2 and 4.
    waits: [bool; 3],
}

const ASYNC: CompactPriority = CompactPriority::Async;
const LIGHT: CompactPriority = CompactPriority::SyncLight;

const NEVER: [&[CompactPriority]; 3] = [&[], &[], &[]];
const EARLY_AND_LATE: [&[CompactPriority]; 3] = [&[], &[ASYNC, LIGHT], &[ASYNC, LIGHT]];
const SMALL_ORDERS: [bool; 3] = [true, true, false];

const fn never_waits(name: &'static str, gfp: Gfp, wakes: bool, leaves: usize) -> Class {
    Class {
        name,
        gfp,
        scope: None,
        wakes,
        leaves,
        reclaims: 0,
        compacts: NEVER,
        waits: [false; 3],
    }
}

const fn blocks(name: &'static str, gfp: Gfp) -> Class {
    Class {
        wakes: true,
        reclaims: 1,
        compacts: EARLY_AND_LATE,
        waits: SMALL_ORDERS,
        ..never_waits(name, gfp, true, 64)
    }
}

fn matrix() -> Vec<Class> {
    let kernel = Gfp::KERNEL;
    vec![
        // 64 - 32 for HIGH, then a quarter off for HARDER: three eighths.
        never_waits("ATOMIC", Gfp::ATOMIC, true, 24),
        never_waits(
            "ATOMIC without reserves",
            Gfp::ATOMIC | Gfp::NOMEMALLOC,
            true,
            32,
        ),
        never_waits("HIGH", Gfp::HIGH, false, 32),
        never_waits("NOWAIT", Gfp::NOWAIT, true, 64),
        blocks("KERNEL", kernel),
        blocks("NOFS", Gfp::NOFS),
        Class {
            compacts: NEVER,
            ..blocks("NOIO", Gfp::NOIO)
        },
        Class {
            scope: Some(ScopeKind::NoIo),
            compacts: NEVER,
            ..blocks("KERNEL in a NOIO scope", kernel)
        },
        Class {
            scope: Some(ScopeKind::NoFs),
            ..blocks("KERNEL in a NOFS scope", kernel)
        },
        Class {
            compacts: [&[], &[ASYNC, LIGHT], &[ASYNC, ASYNC]],
            waits: [false; 3],
            ..blocks("NORETRY", kernel | Gfp::NORETRY)
        },
        Class {
            waits: [false; 3],
            ..blocks("RETRY_MAYFAIL", kernel | Gfp::RETRY_MAYFAIL)
        },
        Class {
            waits: [false; 3],
            ..blocks("THISNODE", kernel | Gfp::THISNODE)
        },
        blocks("KERNEL and HARDER, a contradiction", kernel | Gfp::HARDER),
        never_waits("MEMALLOC", Gfp::MEMALLOC, false, 0),
        never_waits("MEMALLOC and ATOMIC", Gfp::MEMALLOC | Gfp::ATOMIC, true, 0),
        never_waits(
            "MEMALLOC and NOMEMALLOC",
            Gfp::MEMALLOC | Gfp::NOMEMALLOC,
            false,
            64,
        ),
        Class {
            scope: Some(ScopeKind::Memalloc),
            ..never_waits("KERNEL in a MEMALLOC scope", kernel, true, 0)
        },
        Class {
            scope: Some(ScopeKind::Memalloc),
            ..never_waits(
                "no reserves in a MEMALLOC scope",
                kernel | Gfp::NOMEMALLOC,
                true,
                64,
            )
        },
        never_waits("TRANSHUGE_LIGHT", Gfp::TRANSHUGE_LIGHT, false, 64),
        Class {
            wakes: false,
            // Movable: of the orders here only the costly one compacts before it reclaims.
            compacts: [&[], &[LIGHT], &[ASYNC, LIGHT]],
            ..blocks("TRANSHUGE", Gfp::TRANSHUGE)
        },
    ]
}

#[test]
fn each_class_of_request_behaves_as_the_matrix_says() {
    for class in matrix() {
        // One Normal zone of 1024 pages: min 64, low 80, high 96.
        let nodes = nodes(&[[0, 1024, 0]], 64);
        let _scope = class.scope.map(enter);
        let (_, error) = with_cpu(0, || exhaust(&bare(&nodes, Duration::ZERO), class.gfp));
        assert_eq!(error, AllocError::BelowMin, "{}", class.name);
        assert_eq!(free(&nodes), class.leaves, "{}: pages left", class.name);
        assert_eq!(
            !nodes.asked(0).0.is_empty(),
            class.wakes,
            "{}: wakes",
            class.name
        );

        for (idx, n) in [0, 2, 4].into_iter().enumerate() {
            let reclaimer = FakeReclaim::default();
            let compactor = FakeCompact::ending_in(CompactResult::Complete);
            let allocator = Allocator {
                reclaimer: Some(&reclaimer),
                compactor: Some(&compactor),
                ..bare(&nodes, Duration::ZERO)
            };
            let waits = nodes.counted(VmEvent::FreedWaits);
            let refused = with_cpu(0, || allocator.alloc(order(n), class.gfp));
            let at = format!("{} at order {n}", class.name);
            assert!(refused.is_err(), "{at}");
            assert_eq!(reclaimer.calls(), class.reclaims, "{at}: reclaims");
            assert_eq!(
                *compactor.asked.lock(),
                class.compacts[idx],
                "{at}: compacts"
            );
            let waits = nodes.counted(VmEvent::FreedWaits) - waits;
            assert_eq!(waits == 1, class.waits[idx], "{at}: waits");
            assert_eq!(!nodes.asked(0).0.is_empty(), class.wakes, "{at}: wakes");
        }
        nodes.verify().unwrap();
    }
}

#[test]
fn nofail_goes_below_the_minimum_by_a_quarter_and_waits_for_the_rest() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let allocator = bare(&nodes, 20 * MS);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    for left in (48..64).rev() {
        allocator
            .alloc(Order::ZERO, Gfp::KERNEL | Gfp::NOFAIL)
            .unwrap();
        assert_eq!(free(&nodes), left);
    }
    thread::scope(|scope| {
        let start = clock::now();
        let waiter = scope.spawn(|| allocator.alloc(Order::ZERO, Gfp::KERNEL | Gfp::NOFAIL));
        thread::sleep(100 * MS);
        assert!(
            !waiter.is_finished(),
            "it waits beyond the default deadline"
        );
        nodes.give(pages[0], 0);
        waiter.join().unwrap().unwrap();
        assert!(clock::now().saturating_duration_since(start) < 100 * MS + SLACK);
    });
    nodes.verify().unwrap();
}

#[test]
fn nofail_without_the_right_to_wait_is_refused() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    let (_, error) = exhaust(&bare(&nodes, AGES), Gfp::NOWAIT | Gfp::NOFAIL);
    assert_eq!(error, AllocError::BelowMin);
}

/// A request that must not fail reclaimed until reclaim made no progress, and from then on only
/// waited for others. What could not be freed then may be freed later: it tries again.
#[test]
fn nofail_reclaims_again_each_time_it_is_late() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::ATOMIC);
    let reclaimer = FakeReclaim {
        at_call: 3,
        frees: Mutex::new(pages[..100].to_vec()),
        nodes: Some(&nodes),
        ..FakeReclaim::default()
    };
    let allocator = Allocator {
        reclaimer: Some(&reclaimer),
        ..bare(&nodes, 10 * MS)
    };
    allocator
        .alloc(Order::ZERO, Gfp::KERNEL | Gfp::NOFAIL)
        .unwrap();
    assert_eq!(reclaimer.calls(), 3);
}

// ---- waiting ----

#[test]
fn a_request_that_waits_ends_by_its_deadline() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    for patience in [Duration::ZERO, 50 * MS] {
        let placement = Placement {
            patience: Some(patience),
            ..Placement::default()
        };
        let start = clock::now();
        let refused = bare(&nodes, AGES).alloc_placed(Order::ZERO, Gfp::KERNEL, placement);
        let took = clock::now().saturating_duration_since(start);
        assert_eq!(refused.unwrap_err(), AllocError::BelowMin);
        assert!((patience..patience + SLACK).contains(&took), "{took:?}");
    }
}

#[test]
fn an_endless_deadline_is_no_deadline() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            bare(&nodes, Duration::MAX)
                .alloc(Order::ZERO, Gfp::KERNEL)
                .is_ok()
        });
        thread::sleep(20 * MS);
        nodes.give(pages[0], 0);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_waiter_gets_what_another_thread_frees_although_its_cpu_would_cache_it() {
    for high in [0, 100] {
        let nodes = nodes(&[[0, 1024, 0]], 64);
        let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
        nodes.normal(0).set_pcp_sizes(PcpSizes {
            batch: 8,
            high,
            blocks: 0,
        });
        thread::scope(|scope| {
            let allocator = bare(&nodes, AGES);
            let waiter =
                scope.spawn(move || with_cpu(0, || allocator.alloc(Order::ZERO, Gfp::KERNEL)));
            while !nodes.freed().has_sleeper() {
                thread::yield_now();
            }
            let start = clock::now();
            with_cpu(1, || nodes.give(pages[0], 0));
            waiter.join().unwrap().unwrap();
            let took = clock::now().saturating_duration_since(start);
            assert!(took < SLACK, "high {high}: {took:?}");
        });
        nodes.verify().unwrap();
    }
}

#[test]
fn many_waiters_each_get_a_block() {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    nodes.normal(0).set_pcp_sizes(PcpSizes {
        batch: 8,
        high: 100,
        blocks: 0,
    });
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..6)
            .map(|cpu| {
                let allocator = bare(&nodes, AGES);
                scope.spawn(move || with_cpu(cpu, || allocator.alloc(Order::ZERO, Gfp::KERNEL)))
            })
            .collect();
        for (cpu, pfn) in pages[..6].iter().enumerate() {
            thread::sleep(MS);
            with_cpu(cpu, || nodes.give(*pfn, 0));
        }
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    });
    nodes.verify().unwrap();
}

// ---- before a refusal ----

/// 1024 pages exhausted down to the minimum, after which ten pages were freed into CPU 1's cache.
fn with_hidden_pages() -> Nodes {
    let nodes = nodes(&[[0, 1024, 0]], 64);
    let (pages, _) = exhaust(&bare(&nodes, Duration::ZERO), Gfp::NOWAIT);
    nodes.normal(0).set_pcp_sizes(PcpSizes {
        batch: 1,
        high: 100,
        blocks: 0,
    });
    with_cpu(1, || pages[..10].iter().for_each(|pfn| nodes.give(*pfn, 0)));
    assert_eq!(free(&nodes), 64, "hidden in the cache");
    nodes
}

#[test]
fn memory_in_other_cpus_caches_is_found_before_a_refusal() {
    let nodes = with_hidden_pages();
    with_cpu(0, || {
        bare(&nodes, AGES).alloc(Order::ZERO, Gfp::NOWAIT).unwrap();
        assert_eq!(nodes.counted(VmEvent::DrainRescues), 1);
        let (pages, _) = exhaust(&bare(&nodes, AGES), Gfp::NOWAIT);
        assert_eq!(pages.len(), 9);
    });
    assert_eq!(
        nodes.counted(VmEvent::Refusals),
        2,
        "here and in the set-up"
    );
}

/// A request that found another thread draining did not wait for it, and was refused although the
/// caches were full.
#[test]
fn a_refusal_waits_for_the_thread_that_drains() {
    let nodes = with_hidden_pages();
    thread::scope(|scope| {
        let turn = nodes.hold_drain_turn();
        let allocator = bare(&nodes, AGES);
        let request =
            scope.spawn(move || with_cpu(0, || allocator.alloc(Order::ZERO, Gfp::NOWAIT).is_ok()));
        thread::sleep(30 * MS);
        drop(turn);
        assert!(request.join().unwrap());
    });
}

#[test]
fn reserved_blocks_are_opened_before_a_refusal() {
    // The smallest zone of which one percent is a pageblock.
    let nodes = nodes(&[[0, 51_200, 0]], 64);
    let zone = nodes.normal(0);
    let allocator = bare(&nodes, AGES);
    let urgent = allocator.alloc(order(1), Gfp::ATOMIC).unwrap();
    zone.reserve_highatomic(urgent.taken.pfn());
    assert_eq!(zone.free_areas().reserved_highatomic, 512);
    while allocator
        .alloc(order(9), Gfp::NOWAIT | Gfp::NOMEMALLOC)
        .is_ok()
    {}
    let (_, error) = exhaust(&allocator, Gfp::NOWAIT);
    assert_eq!(error, AllocError::BelowMin);
    assert_eq!(
        zone.free_areas().reserved_highatomic,
        512,
        "not for those who would do without"
    );
    let (_, error) = exhaust(&allocator, Gfp::KERNEL | Gfp::NORETRY);
    assert_eq!(error, AllocError::BelowMin);
    assert_eq!(zone.free_areas().reserved_highatomic, 0);
    assert_eq!(free(&nodes), 64, "down to the minimum");
    assert!(nodes.counted(VmEvent::DrainRescues) >= 1);
    nodes.verify().unwrap();
}

#[test]
fn urgent_blocks_taken_on_the_slow_path_reserve_their_pageblock() {
    let nodes = nodes(&[[0, 51_200, 0]], 64);
    let allocator = bare(&nodes, AGES);
    while free(&nodes) > 1024 {
        allocator.alloc(order(9), Gfp::NOWAIT).unwrap();
    }
    let reserved = || nodes.normal(0).free_areas().reserved_highatomic;
    allocator.alloc(order(1), Gfp::ATOMIC).unwrap();
    assert_eq!(reserved(), 0, "above the low mark nobody is urgent");
    exhaust(&bare(&nodes, Duration::ZERO), Gfp::KERNEL);
    allocator.alloc(order(1), Gfp::ATOMIC).unwrap();
    assert_eq!(reserved(), 512);
}

// ---- causes ----

fn refused(allocator: &Allocator<'_>, n: usize, gfp: Gfp) -> AllocError {
    allocator.alloc(order(n), gfp).unwrap_err()
}

#[test]
fn a_refusal_names_its_cause() {
    let tiny = nodes(&[[0, 16, 0]], 0);
    let allocator = bare(&tiny, AGES);
    assert_eq!(refused(&allocator, 5, Gfp::KERNEL), AllocError::NeverFits);
    let dma = allocator.alloc(order(0), Gfp::DMA).unwrap();
    assert_eq!(
        dma.taken.pfn().node().get(),
        0,
        "Normal serves where there is no DMA zone"
    );
    let both = Gfp::MOVABLE | Gfp::RECLAIMABLE;
    assert_eq!(refused(&allocator, 0, both), AllocError::InvalidFlags);
    let zones = Gfp::DMA | Gfp::HIGHMEM;
    assert_eq!(refused(&allocator, 0, zones), AllocError::InvalidFlags);

    let small = nodes(&[[0, 64, 0]], 8);
    let allocator = bare(&small, Duration::ZERO);
    let (pages, error) = exhaust(&allocator, Gfp::KERNEL);
    assert_eq!(error, AllocError::BelowMin);
    let rest = exhaust(&allocator, Gfp::MEMALLOC).0;
    for pfn in [pages, rest].concat() {
        if pfn.index() % 2 == 0 {
            small.give(pfn, 0);
        }
    }
    // Half of the pages are free, but no two side by side.
    assert_eq!(refused(&allocator, 3, Gfp::NOWAIT), AllocError::Fragmented);
}

#[test]
fn memory_kept_for_lower_zones_is_named_as_such() {
    let ratio = MarkSettings {
        lowmem_reserve_ratio: [1, 0, 0],
        ..settings(8)
    };
    let nodes = nodes_with(&[[64, 64, 0]], &ratio);
    let allocator = bare(&nodes, Duration::ZERO);
    let (pages, error) = exhaust(&allocator, Gfp::KERNEL);
    assert_eq!((pages.len(), error), (60, AllocError::LowmemReserve));
    let (pages, error) = exhaust(&allocator, Gfp::KERNEL | Gfp::DMA);
    assert_eq!((pages.len(), error), (60, AllocError::BelowMin));
}

#[test]
fn a_mask_that_excludes_all_memory_is_the_cause() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 8);
    let allocator = bare(&nodes, Duration::ZERO);
    let only = |allowed: &[usize]| Placement {
        purpose: Purpose::Raw,
        mask: mask(allowed),
        preferred: Some(NodeId::at(0)),
        patience: None,
    };
    let alloc = |placement, gfp| allocator.alloc_placed(Order::ZERO, gfp, placement);
    assert_eq!(
        alloc(only(&[]), Gfp::KERNEL).unwrap_err(),
        AllocError::NodeMask
    );
    while alloc(only(&[0]), Gfp::KERNEL).is_ok() {}
    assert_eq!(
        alloc(only(&[0]), Gfp::KERNEL).unwrap_err(),
        AllocError::NodeMask
    );
    assert_eq!(
        alloc(only(&[0]), Gfp::ATOMIC).map(|g| g.taken.pfn().node().get()),
        Ok(0)
    );
    while alloc(only(&[0, 1]), Gfp::KERNEL).is_ok() {}
    assert_eq!(
        alloc(only(&[0]), Gfp::KERNEL).unwrap_err(),
        AllocError::BelowMin
    );
}

/// `THISNODE` replaced the caller's mask by the preferred node, even if the mask forbids that.
#[test]
fn thisnode_narrows_the_mask_and_does_not_widen_it() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 0);
    let allocator = bare(&nodes, Duration::ZERO);
    let forbidden = Placement {
        purpose: Purpose::Raw,
        mask: mask(&[1]),
        preferred: Some(NodeId::at(0)),
        patience: None,
    };
    let refused = allocator.alloc_placed(Order::ZERO, Gfp::KERNEL | Gfp::THISNODE, forbidden);
    assert_eq!(refused.unwrap_err(), AllocError::NodeMask);
    with_cpu(1, || {
        let (pages, _) = exhaust(&allocator, Gfp::KERNEL | Gfp::THISNODE);
        assert_eq!(pages.len(), 64);
        assert!(pages.iter().all(|pfn| pfn.node().get() == 1));
    });
}

// ---- rounds ----

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

// ---- bulk ----

#[test]
fn bulk_stops_at_the_low_mark_and_counts_its_blocks() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 16);
    let mut taken = vec![];
    let got = with_cpu(0, || {
        bare(&nodes, AGES).alloc_bulk(Order::ZERO, Gfp::KERNEL, 1000, &mut |t| taken.push(t.pfn()))
    });
    assert_eq!(got, Ok(108));
    assert_eq!(
        (taken.len(), free(&nodes)),
        (108, 20),
        "min 8, gap 2, twice"
    );
    assert_eq!(nodes.counted(VmEvent::NumaHit), 54);
    assert_eq!(nodes.counted(VmEvent::NumaMiss), 54);
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
