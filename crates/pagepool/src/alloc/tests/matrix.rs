//! The matrix of spec 3.18: what each class of request does, and what one does that must not fail.

use std::thread;

use super::*;
use crate::alloc::scope::{ScopeKind, enter};
use crate::node::fixture::nodes;
use crate::sync::clock;
use crate::sync::cpu::with_cpu;
use crate::zone::vmstat::VmEvent;

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
