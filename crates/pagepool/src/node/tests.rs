use super::daemon_post::MAX_RECLAIM_RETRIES;
use super::fixture::{mask, nodes, nodes_with, settings, walk_at};
use super::*;
use crate::gfp::Gfp;
use crate::sync::cpu::with_cpu;
use crate::types::Migratetype;
use crate::zone::sizing::PcpSizes;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::AllocFlags;

const NONE: AllocFlags = AllocFlags::empty();
const LOW: AllocFlags = AllocFlags::WMARK_LOW;

/// Takes single pages until the walk finds nothing more; returns their frames.
fn exhaust(nodes: &Nodes, walk: &Walk, flags: AllocFlags) -> Vec<Pfn> {
    let take = || nodes.walk(walk, flags, Gfp::empty());
    std::iter::from_fn(take)
        .map(|granted| granted.taken.pfn())
        .collect()
}

fn masked(walk: Walk, allowed: &[usize]) -> Walk {
    Walk {
        mask: mask(allowed),
        ..walk
    }
}

// ---- the walk ----

#[test]
fn nodes_are_tried_by_distance() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0], [0, 64, 0]], 0);
    let from: Vec<_> = exhaust(&nodes, &walk_at(0, 0), NONE)
        .iter()
        .map(|pfn| pfn.node().get())
        .collect();
    assert!(from.is_sorted(), "{from:?}");
    assert_eq!(from.len(), 3 * 64);

    let nodes = fixture::nodes(&[[0, 64, 0], [0, 64, 0], [0, 64, 0]], 0);
    let mut from: Vec<_> = exhaust(&nodes, &walk_at(0, 2), NONE)
        .iter()
        .map(|pfn| pfn.node().get())
        .collect();
    from.dedup();
    assert_eq!(from, [2, 1, 0]);
    nodes.verify().unwrap();
}

#[test]
fn a_request_uses_no_zone_above_its_class() {
    let nodes = nodes(&[[0, 64, 64]], 0);
    let movable = Walk {
        class: ZoneType::Movable,
        ..walk_at(0, 0)
    };
    let zone = |pfn: &Pfn| nodes.node(pfn.node()).zone_of(*pfn).unwrap().zone_type();
    let low: Vec<_> = exhaust(&nodes, &walk_at(0, 0), NONE);
    assert!(low.iter().all(|pfn| zone(pfn) == ZoneType::Normal));
    let high = exhaust(&nodes, &movable, NONE);
    assert!(!high.is_empty() && high.iter().all(|pfn| zone(pfn) == ZoneType::Movable));
}

#[test]
fn a_forbidden_node_is_neither_allocated_from_nor_woken() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0], [0, 64, 0]], 12);
    let walk = masked(walk_at(0, 0), &[1, 2]);
    let from = exhaust(&nodes, &walk, LOW | AllocFlags::KSWAPD);
    assert!(from.iter().all(|pfn| pfn.node().get() != 0));
    assert_eq!(nodes.normal(0).free_pages(), 64);

    // Nothing is left on node 0 either, so that only the mask keeps it from being woken.
    exhaust(&nodes, &walk_at(0, 0), LOW);
    nodes.wake_all_kswapds(&walk, Gfp::KERNEL);
    assert_eq!(nodes.asked(0), (vec![], vec![]));
    assert_eq!(nodes.asked(1).0, [(ZoneType::Normal.idx(), 0)]);
    assert_eq!(nodes.asked(2).0, [(ZoneType::Normal.idx(), 0)]);
}

/// The strict attempt of NOFRAGMENT was confined to the preferred node, and with that to a node that
/// the mask forbids: a request for node 1 that preferred node 0 was served by node 0.
#[test]
fn the_strict_attempt_respects_the_mask() {
    let nodes = nodes(&[[64, 64, 0], [0, 64, 0]], 0);
    let walk = masked(walk_at(0, 0), &[1]);
    assert_eq!(nodes.nofragment(&walk), AllocFlags::empty());
    for flags in [nodes.nofragment(&walk), AllocFlags::NOFRAGMENT] {
        let granted = nodes.walk(&walk, LOW | flags, Gfp::KERNEL).unwrap();
        assert_eq!(granted.taken.pfn().node().get(), 1);
    }
}

#[test]
fn nofragment_is_asked_for_where_another_local_zone_could_serve() {
    let strict = AllocFlags::NOFRAGMENT;
    let single = nodes(&[[0, 64, 0]], 0);
    assert_eq!(single.nofragment(&walk_at(0, 0)), strict);
    let two = nodes(&[[64, 64, 0], [0, 64, 0]], 0);
    assert_eq!(two.nofragment(&walk_at(0, 0)), strict, "it has a DMA zone");
    assert_eq!(two.nofragment(&walk_at(0, 1)), NONE, "it has none");
    let movable = Walk {
        class: ZoneType::Movable,
        ..walk_at(0, 0)
    };
    let with_movable = nodes(&[[0, 64, 64]], 0);
    assert_eq!(with_movable.nofragment(&movable), NONE, "not Normal first");
    assert_eq!(single.nofragment(&masked(walk_at(0, 0), &[])), NONE);
}

#[test]
fn a_strict_walk_that_finds_nothing_local_mixes_types_rather_than_refuse() {
    // Four pageblocks of 16 pages, all of them partly used by movable memory.
    let nodes = nodes(&[[0, 64, 0]], 0);
    let movable = Walk {
        want: Migratetype::Movable,
        ..walk_at(0, 0)
    };
    let taken = exhaust(&nodes, &movable, NONE);
    for pfn in taken.iter().filter(|pfn| pfn.index() % 16 == 3) {
        nodes.give(*pfn, 0);
    }
    let granted = nodes.walk(&walk_at(0, 0), AllocFlags::NOFRAGMENT, Gfp::empty());
    assert!(granted.is_some());
    assert_eq!(nodes.normal(0).events().extfrag, 1);
    nodes.verify().unwrap();
}

#[test]
fn watermarks_end_a_walk_and_no_watermarks_do_not() {
    let nodes = nodes(&[[0, 64, 0]], 8);
    let walk = walk_at(0, 0);
    exhaust(&nodes, &walk, LOW);
    assert_eq!(nodes.normal(0).free_pages(), 10, "min 8, gap 2");
    exhaust(&nodes, &walk, NONE);
    assert_eq!(nodes.normal(0).free_pages(), 8);
    let granted = nodes.walk(&walk, AllocFlags::NO_WATERMARKS, Gfp::empty());
    assert!(granted.unwrap().from_reserve);
    exhaust(&nodes, &walk, AllocFlags::NO_WATERMARKS);
    assert_eq!(nodes.normal(0).free_pages(), 0);
}

// ---- reserves ----

#[test]
fn lower_zones_keep_their_reserve_from_higher_classes() {
    let ratios = MarkSettings {
        lowmem_reserve_ratio: [4, 2, 0],
        ..settings(0)
    };
    // DMA keeps 64/4 = 16 from Normal requests, and Normal 64/2 = 32 from Movable ones.
    let nodes = nodes_with(&[[64, 64, 64]], &ratios);
    let of_class = |class| Walk {
        class,
        ..walk_at(0, 0)
    };
    let left = |zone: usize| nodes.node(NodeId::at(0)).zones()[zone].free_pages();

    exhaust(&nodes, &of_class(ZoneType::Movable), NONE);
    assert_eq!(
        (left(2), left(1)),
        (8, 32),
        "Movable keeps its own small minimum"
    );
    assert_eq!(left(0), (64 + 64) / 4);
    let shortage = nodes.shortage(&of_class(ZoneType::Movable), NONE);
    assert_eq!(shortage, Some(Shortage::Reserved));

    exhaust(&nodes, &of_class(ZoneType::Normal), NONE);
    assert_eq!((left(1), left(0)), (0, 16));
    exhaust(&nodes, &of_class(ZoneType::Dma), NONE);
    assert_eq!(left(0), 0);
    nodes.verify().unwrap();
}

// ---- shortage ----

#[test]
fn the_most_hopeful_verdict_names_the_shortage() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 0);
    let pairs = walk_at(1, 0);
    assert_eq!(nodes.shortage(&pairs, NONE), None);
    assert_eq!(nodes.shortage(&walk_at(7, 0), NONE), Some(Shortage::NoZone));
    let nowhere = masked(pairs, &[]);
    assert_eq!(nodes.shortage(&nowhere, NONE), Some(Shortage::NoZone));

    let taken = exhaust(&nodes, &walk_at(0, 0), AllocFlags::NO_WATERMARKS);
    assert_eq!(nodes.shortage(&pairs, NONE), Some(Shortage::BelowMark));
    for pfn in taken
        .iter()
        .filter(|pfn| pfn.node().get() == 1 && pfn.index() % 2 == 0)
    {
        nodes.give(*pfn, 0);
    }
    assert_eq!(nodes.shortage(&pairs, NONE), Some(Shortage::Fragmented));
    let on_full = masked(pairs, &[0]);
    assert_eq!(nodes.shortage(&on_full, NONE), Some(Shortage::BelowMark));
}

// ---- waking ----

#[test]
fn each_node_of_the_list_is_asked_once() {
    let nodes = nodes(&[[0, 64, 64], [0, 64, 64]], 12);
    let movable = Walk {
        class: ZoneType::Movable,
        ..walk_at(3, 0)
    };
    exhaust(
        &nodes,
        &Walk {
            order: Order::ZERO,
            ..movable
        },
        AllocFlags::NO_WATERMARKS,
    );
    nodes.wake_all_kswapds(&movable, Gfp::KERNEL);
    assert_eq!(nodes.counted(VmEvent::KswapdPosts), 2, "not once a zone");
    for node in 0..2 {
        assert_eq!(
            nodes.asked(node),
            (vec![(ZoneType::Movable.idx(), 3)], vec![])
        );
    }
}

#[test]
fn a_request_that_nobody_need_serve_is_not_recorded() {
    let nodes = nodes(&[[0, 64, 0]], 12);
    nodes.wake_all_kswapds(&walk_at(3, 0), Gfp::NOWAIT);
    assert_eq!(nodes.asked(0), (vec![], vec![]));
    assert_eq!(nodes.counted(VmEvent::KswapdPosts), 0);
}

#[test]
fn a_hopeless_reclaimer_is_not_asked() {
    let nodes = nodes(&[[0, 64, 0]], 12);
    exhaust(&nodes, &walk_at(0, 0), NONE);
    let post = &nodes.node(NodeId::at(0)).kswapd;
    post.set_failures(MAX_RECLAIM_RETRIES - 1);
    nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::NOWAIT);
    assert_eq!(nodes.asked(0).0.len(), 1);
    post.set_failures(MAX_RECLAIM_RETRIES);
    nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::NOWAIT);
    assert_eq!(nodes.asked(0), (vec![], vec![]));
}

/// Whether or not the requester may reclaim, the reclaimer is left alone; only the compactor depends on it.
#[test]
fn erratum_10_for_a_node_that_needs_no_reclaim_only_the_compactor_may_be_asked() {
    let nodes = nodes(&[[0, 64, 0]], 12);
    for gfp in [Gfp::KERNEL, Gfp::NOWAIT] {
        nodes.wake_all_kswapds(&walk_at(3, 0), gfp);
        assert_eq!(nodes.asked(0), (vec![], vec![]), "there is such a block");
    }
    assert_eq!(nodes.counted(VmEvent::KcompactdPosts), 0);
}

#[test]
fn memory_in_pieces_is_the_compactors_business_on_behalf_of_those_who_cannot_wait() {
    // 1024 pages with every second one free: plenty, but no pair. An order-0 request finds the node
    // balanced; one for a pair finds it in pieces.
    let nodes = nodes(&[[0, 1024, 0]], 12);
    let taken = exhaust(&nodes, &walk_at(0, 0), AllocFlags::NO_WATERMARKS);
    for pfn in taken.iter().filter(|pfn| pfn.index() % 2 == 0) {
        nodes.give(*pfn, 0);
    }
    let node = nodes.node(NodeId::at(0));
    assert!(node.is_balanced(Order::ZERO, ZoneType::Normal));
    assert!(!node.is_balanced(Order::at(1), ZoneType::Normal));

    // The reclaimer is asked as long as there is hope in it, whoever asks.
    nodes.wake_all_kswapds(&walk_at(1, 0), Gfp::NOWAIT);
    assert_eq!(nodes.asked(0), (vec![(ZoneType::Normal.idx(), 1)], vec![]));

    node.kswapd.set_failures(MAX_RECLAIM_RETRIES);
    nodes.wake_all_kswapds(&walk_at(1, 0), Gfp::KERNEL);
    assert_eq!(nodes.asked(0), (vec![], vec![]), "it compacts for itself");
    nodes.wake_all_kswapds(&walk_at(1, 0), Gfp::NOWAIT);
    assert_eq!(nodes.asked(0), (vec![], vec![(ZoneType::Normal.idx(), 1)]));
    nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::NOWAIT);
    assert_eq!(
        nodes.asked(0),
        (vec![], vec![]),
        "single pages need no compaction"
    );
    assert_eq!(nodes.counted(VmEvent::KcompactdPosts), 1);
}

#[test]
fn a_boost_wakes_the_reclaimer_of_a_balanced_node() {
    let nodes = boosted(AllocFlags::KSWAPD);
    assert!(nodes.node(NodeId::at(0)).is_boosted(ZoneType::Normal));
    assert_eq!(nodes.asked(0).0, [(ZoneType::Normal.idx(), 0)]);
    // Told once: the boost stands, but the news is old.
    assert!(nodes.plain_walk(&walk_at(0, 0)).is_some());
    assert_eq!(nodes.asked(0).0, []);
    nodes.wake_all_kswapds(&walk_at(0, 0), Gfp::KERNEL);
    assert_eq!(nodes.asked(0).0, [(ZoneType::Normal.idx(), 0)]);
}

#[test]
fn a_boost_by_a_request_that_may_not_wake_is_told_by_nobody() {
    let nodes = boosted(NONE);
    assert!(nodes.node(NodeId::at(0)).is_boosted(ZoneType::Normal));
    nodes
        .walk(&walk_at(0, 0), AllocFlags::KSWAPD, Gfp::NOWAIT)
        .unwrap();
    assert_eq!(nodes.asked(0), (vec![], vec![]));
}

/// One node in which an unmovable request with these flags has just mixed types.
fn boosted(flags: AllocFlags) -> Nodes {
    let nodes = nodes(&[[0, 1024, 0]], 16);
    let movable = Walk {
        want: Migratetype::Movable,
        ..walk_at(0, 0)
    };
    // A page out of each of the four pageblocks: no whole one is left to claim.
    let taken = exhaust(&nodes, &movable, AllocFlags::NO_WATERMARKS);
    for pfn in taken.iter().filter(|pfn| pfn.index() % 256 >= 8) {
        nodes.give(*pfn, 0);
    }
    assert_eq!(nodes.normal(0).boost(), 0);
    nodes.walk(&walk_at(0, 0), flags, Gfp::NOWAIT).unwrap();
    nodes.verify().unwrap();
    nodes
}

#[test]
fn one_zone_above_its_high_mark_balances_a_node() {
    let nodes = nodes(&[[0, 64, 64], [0, 0, 0]], 12);
    let node = nodes.node(NodeId::at(0));
    exhaust(&nodes, &walk_at(0, 0), NONE);
    assert!(!node.is_balanced(Order::ZERO, ZoneType::Normal));
    assert!(node.is_balanced(Order::ZERO, ZoneType::Movable));
    let empty = nodes.node(NodeId::at(1));
    assert!(
        empty.is_balanced(Order::MAX, ZoneType::Movable),
        "nothing to balance"
    );
    assert!(!empty.is_boosted(ZoneType::Movable));
}

#[test]
fn balance_is_judged_by_order() {
    let nodes = nodes(&[[0, 64, 0]], 4);
    let node = nodes.node(NodeId::at(0));
    assert!(node.is_balanced(Order::at(5), ZoneType::Normal));
    assert!(
        !node.is_balanced(Order::at(6), ZoneType::Normal),
        "63 + mark"
    );
}

// ---- zonelists ----

#[test]
fn empty_zones_and_nodes_are_in_no_list() {
    let nodes = nodes(&[[0, 0, 0], [0, 64, 0]], 0);
    let granted = nodes.walk(&walk_at(0, 0), NONE, Gfp::empty()).unwrap();
    assert_eq!(granted.taken.pfn().node().get(), 1);
    assert_eq!(
        nodes.counted(VmEvent::NumaHit),
        1,
        "the nearest with memory"
    );
    let cookie = nodes.zonelist_sequence();
    assert!(nodes.zonelists_are_current(cookie));
    nodes.rebuild_zonelists();
    assert!(!nodes.zonelists_are_current(cookie));
    assert!(nodes.plain_walk(&walk_at(0, 0)).is_some());
}

// ---- NUMA events ----

/// Hits, misses, foreigns, locals, others.
fn numa(nodes: &Nodes) -> [u64; 5] {
    [
        VmEvent::NumaHit,
        VmEvent::NumaMiss,
        VmEvent::NumaForeign,
        VmEvent::NumaLocal,
        VmEvent::NumaOther,
    ]
    .map(|event| nodes.counted(event))
}

#[test]
fn blocks_are_counted_by_where_they_were_wanted_and_where_the_cpu_is() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 0);
    with_cpu(0, || nodes.plain_walk(&walk_at(0, 0)));
    assert_eq!(numa(&nodes), [1, 0, 0, 1, 0]);
    with_cpu(1, || nodes.plain_walk(&walk_at(0, 0)));
    assert_eq!(numa(&nodes), [2, 0, 0, 1, 1]);
    exhaust(
        &nodes,
        &masked(walk_at(0, 0), &[0]),
        AllocFlags::NO_WATERMARKS,
    );
    let before = numa(&nodes);
    with_cpu(1, || nodes.plain_walk(&walk_at(0, 0)));
    let after = numa(&nodes);
    let step: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    assert_eq!(step, [0, 1, 1, 1, 0], "wanted on 0, from 1, by a CPU of 1");
}

/// A block from the nearest node that the mask allows was counted as a miss.
#[test]
fn a_mask_makes_no_misses() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 0);
    with_cpu(0, || nodes.plain_walk(&masked(walk_at(0, 0), &[1])));
    assert_eq!(numa(&nodes), [1, 0, 0, 0, 1]);
}

#[test]
fn hits_in_caches_are_counted_with_the_others() {
    let nodes = nodes(&[[0, 1024, 0]], 0);
    nodes.normal(0).set_pcp_sizes(PcpSizes {
        batch: 4,
        high: 32,
        blocks: 0,
    });
    let stat = |event| {
        let mut so_far = nodes.events_so_far().into_iter();
        so_far.find(|(known, _)| *known == event).unwrap().1.value
    };
    with_cpu(0, || {
        let pfn = nodes.plain_walk(&walk_at(0, 0)).unwrap();
        nodes.give(pfn, 0);
        let request = crate::zone::ZoneRequest {
            order: Order::ZERO,
            want: Migratetype::Movable,
            flags: NONE,
        };
        assert!(nodes.normal(0).take_cached(0, request).is_none());
        let want = Migratetype::Unmovable;
        let request = crate::zone::ZoneRequest { want, ..request };
        assert!(nodes.normal(0).take_cached(0, request).is_some());
    });
    let hits = (stat(VmEvent::NumaHit), stat(VmEvent::NumaLocal));
    assert_eq!(hits, (2, 2));
    assert_eq!(
        (stat(VmEvent::PgallocNormal), stat(VmEvent::Pgfree)),
        (2, 1)
    );
    nodes.verify().unwrap();
}

// ---- drains ----

#[test]
fn a_drain_beside_another_returns_at_once() {
    let nodes = nodes(&[[0, 1024, 0]], 0);
    nodes.normal(0).set_pcp_sizes(PcpSizes {
        batch: 4,
        high: 32,
        blocks: 0,
    });
    with_cpu(0, || nodes.plain_walk(&walk_at(0, 0)));
    let turn = nodes.hold_drain_turn();
    assert_eq!(nodes.drain_all(), 0);
    drop(turn);
    assert_eq!(nodes.drain_all(), 3);
    assert_eq!(nodes.normal(0).free_pages(), 1023);
}

#[test]
fn a_cpu_that_no_node_names_belongs_to_one() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 0);
    assert_eq!(nodes.of_cpu(0).get(), 0);
    assert_eq!(nodes.of_cpu(1).get(), 1);
    assert!(nodes.of_cpu(1000).get() < 2);
    assert_eq!(nodes.node(NodeId::at(1)).cpus(), [1]);
}

#[test]
fn every_frame_belongs_to_one_zone_and_gaps_to_none() {
    // Zones begin at multiples of 1024 pages.
    let nodes = nodes(&[[16, 100, 16]], 0);
    let node = nodes.node(NodeId::at(0));
    let owner = |index| {
        let pfn = Pfn::new(node.id(), index);
        node.zone_of(pfn).map(Zone::zone_type)
    };
    assert_eq!(owner(15), Some(ZoneType::Dma));
    assert_eq!((owner(16), owner(1023)), (None, None));
    assert_eq!(
        (owner(1024), owner(1123)),
        (Some(ZoneType::Normal), Some(ZoneType::Normal))
    );
    assert_eq!((owner(1124), owner(2048)), (None, Some(ZoneType::Movable)));
}
