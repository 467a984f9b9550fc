//! What is tried before a refusal, and the cause that it names.

use std::thread;

use super::*;
use crate::node::MarkSettings;
use crate::node::fixture::{mask, nodes, nodes_with, settings};
use crate::sync::cpu::with_cpu;
use crate::types::NodeId;
use crate::zone::sizing::PcpSizes;
use crate::zone::vmstat::VmEvent;

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
        group: GroupId::ROOT,
        returns: false,
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
        group: GroupId::ROOT,
        returns: false,
    };
    let refused = allocator.alloc_placed(Order::ZERO, Gfp::KERNEL | Gfp::THISNODE, forbidden);
    assert_eq!(refused.unwrap_err(), AllocError::NodeMask);
    with_cpu(1, || {
        let (pages, _) = exhaust(&allocator, Gfp::KERNEL | Gfp::THISNODE);
        assert_eq!(pages.len(), 64);
        assert!(pages.iter().all(|pfn| pfn.node().get() == 1));
    });
}
