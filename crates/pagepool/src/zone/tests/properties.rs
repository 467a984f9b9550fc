//! The pure rules of zones against what must hold of them for any numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::fragmentation::{
    Suitability, SuitabilityMarks, compaction_suitable, fragmentation_index, unusable_index,
};
use super::super::lowmem::reserves;
use super::super::sizing::PcpSizes;
use super::super::watermark::{
    AllocFlags, BoostInputs, FreeView, Mark, MarkInputs, Marks, boost_after_event, check,
    compute_marks, default_min_free_kbytes,
};
use super::super::zonelist::{NodeShape, Zonelists};
use super::*;
use crate::buddy::Availability;
use crate::types::{NR_ORDERS, NR_ZONES};

fn order() -> impl Strategy<Value = Order> {
    (0..NR_ORDERS).prop_map(Order::at)
}

/// Free blocks of each order: of some none, and now and then of all.
fn counts() -> impl Strategy<Value = [u64; NR_ORDERS]> {
    let few = prop::array::uniform11(prop_oneof![4 => Just(0u64), 1 => 0..50u64]);
    prop_oneof![few, prop::array::uniform11(0..50u64)]
}

fn flags() -> impl Strategy<Value = AllocFlags> {
    any::<u16>().prop_map(AllocFlags::from_bits_truncate)
}

/// What is free: blocks of each order, by type.
fn view() -> impl Strategy<Value = FreeView> {
    (0..5000usize, 0..1000usize, any::<u64>(), 0..4u8).prop_map(|(free, reserved, bits, all)| {
        FreeView {
            free,
            highatomic: reserved.min(free),
            // All, or some.
            available: Availability::from_raw(if all == 0 { u64::MAX } else { bits }),
        }
    })
}

/// The least that must be free at order 0 for a request with these flags.
fn threshold(mark: usize, flags: AllocFlags) -> usize {
    let view = |free| FreeView {
        free,
        highatomic: 0,
        available: Availability::from_raw(u64::MAX),
    };
    let passes = |free| check(view(free), Order::ZERO, mark, 0, flags).passes();
    (0..=mark + 1)
        .find(|free| passes(*free))
        .expect("above the mark")
}

proptest! {
    #[test]
    fn a_request_passes_where_it_leaves_more_than_mark_and_reserve(
        view in view(), order in order(), mark in 0..3000usize, reserve in 0..2000usize,
    ) {
        let rest = view.free as i64 - view.highatomic as i64 - order.pages() as i64 + 1;
        let is_enough = rest > (mark + reserve) as i64;
        let any = [UNMOVABLE, MOVABLE, RECLAIMABLE].iter().any(|mt| view.available.at_least(*mt, order));
        let passes = check(view, order, mark, reserve, NONE).passes();
        prop_assert_eq!(passes, is_enough && (any || order == Order::ZERO));
    }

    #[test]
    fn more_memory_lower_marks_and_more_privileges_never_hurt(
        view in view(), order in order(), mark in 0..3000usize, reserve in 0..2000usize,
        flags in flags(), more in 1..500usize, extra in flags(),
    ) {
        if check(view, order, mark, reserve, flags).passes() {
            let richer = FreeView { free: view.free + more, ..view };
            prop_assert!(check(richer, order, mark, reserve, flags).passes());
            prop_assert!(check(view, order, mark.saturating_sub(more), reserve, flags).passes());
            prop_assert!(check(view, order, mark, reserve.saturating_sub(more), flags).passes());
            prop_assert!(check(view, order, mark, reserve, flags | extra).passes());
            // A smaller block is found wherever a larger one is.
            let smaller = Order::at(order.idx().saturating_sub(1));
            prop_assert!(check(view, smaller, mark, reserve, flags).passes());
        }
    }

    #[test]
    fn privileges_go_half_and_a_quarter_below_the_mark(mark in 0..3000usize) {
        let deep = |flags| (threshold(mark, flags) - 1) as f64;
        let m = mark as f64;
        let near = |got: f64, share: f64| (m * share..m * share + 2.0).contains(&got);
        prop_assert_eq!(deep(NONE), m);
        prop_assert!(near(deep(AllocFlags::HIGH), 0.5));
        prop_assert!(near(deep(AllocFlags::HARDER), 0.75));
        prop_assert!(near(deep(AllocFlags::OOM), 0.5));
        prop_assert!(near(deep(AllocFlags::HIGH | AllocFlags::HARDER), 0.375));
        prop_assert!(near(deep(AllocFlags::HIGH | AllocFlags::OOM), 0.25));
    }

    #[test]
    fn marks_divide_the_minimum_and_are_evenly_spaced(
        pages_min in 0..200_000u64,
        zones in prop::collection::vec(0..10_000_000u64, 1..6),
        scale_factor in 0..=1000u64,
    ) {
        let lowmem: u64 = zones.iter().sum();
        let marks: Vec<Marks> = zones
            .iter()
            .map(|&managed| compute_marks(MarkInputs {
                pages_min, managed, lowmem, is_movable: false, scale_factor,
            }))
            .collect();
        for (marks, managed) in marks.iter().zip(&zones) {
            let [min, low, high] = [Mark::Min, Mark::Low, Mark::High].map(|mark| marks.get(mark));
            prop_assert!(min <= low && low <= high);
            prop_assert_eq!(low - min, high - low);
            prop_assert!((low - min) as u64 >= managed / 10_000 * scale_factor);
            prop_assert!((low - min) as u64 >= min as u64 / 4);
            prop_assert_eq!(Marks::from_raw(marks.raw()), *marks);
        }
        let all: u64 = marks.iter().map(|marks| marks.get(Mark::Min) as u64).sum();
        if lowmem > 0 {
            // Each share is rounded down.
            prop_assert!(all <= pages_min && pages_min < all + zones.len() as u64 + 1);
        }
    }

    #[test]
    fn the_default_minimum_grows_with_the_pool_and_never_faster(kib in 0..(1u64 << 40), more in 0..(1u64 << 30)) {
        let [a, b] = [kib, kib + more].map(default_min_free_kbytes);
        prop_assert!(a <= b);
        prop_assert!(b <= (kib + more) / 32 + 1);
        prop_assert!(b <= 256 << 10);
    }

    #[test]
    fn a_boost_grows_to_its_limit_and_never_falls(
        boost in 0..10_000usize, high in 0..10_000usize, managed in 0..100_000usize,
        block_pages in prop::sample::select(vec![16usize, 512]), factor in 0..20_000u64,
    ) {
        let inputs = BoostInputs { high, managed, block_pages, factor };
        let next = boost_after_event(boost, inputs);
        let limit = (high as u64 * factor / 10_000) as usize;
        prop_assert!(next >= boost);
        prop_assert!(next <= boost + block_pages);
        prop_assert!(next == boost || next <= limit.max(block_pages));
        // Once it does not grow, it never does.
        if next == boost {
            prop_assert_eq!(boost_after_event(next, inputs), boost);
        }
    }

    #[test]
    fn a_zone_keeps_back_one_page_in_so_many_of_those_above(
        managed in prop::array::uniform3(0..1_000_000usize), ratios in prop::array::uniform3(0..400u32),
    ) {
        let reserve = reserves(managed, ratios);
        for zone in 0..NR_ZONES {
            let mut above = 0;
            for class in 0..NR_ZONES {
                let kept = reserve[zone][class];
                if class > zone {
                    above += managed[class];
                }
                if class <= zone || ratios[zone] == 0 || managed[zone] == 0 {
                    prop_assert_eq!(kept, 0);
                } else {
                    let ratio = ratios[zone] as usize;
                    prop_assert!(kept * ratio <= above && above < (kept + 1) * ratio);
                }
            }
        }
    }

    #[test]
    fn caches_are_a_small_part_of_their_zone(
        managed in prop_oneof![0..50_000usize, 0..100_000_000usize], fraction in prop_oneof![Just(0u32), 8..2000u32], cpus in 1..256usize,
    ) {
        let sizes = PcpSizes::new(managed, fraction, cpus);
        let (batch, high) = (usize::from(sizes.batch), sizes.high as usize);
        prop_assert_eq!(PcpSizes::from_raw(sizes.raw()), sizes);
        prop_assert!(batch >= 1);
        if fraction > 0 {
            prop_assert_eq!(high, managed / fraction as usize);
            prop_assert!(batch <= (high / 4).max(1) && batch <= 96);
        } else {
            prop_assert!(batch == 1 || (batch + 1).is_power_of_two());
            // A batch is never more than a four-thousandth of the zone and half as much again.
            prop_assert!(batch <= managed * 3 / 8192 + 1);
            prop_assert!(high == 6 * batch || high == 0);
        }
        let blocks = usize::from(sizes.blocks) * cpus * 512;
        prop_assert!(blocks * 64 <= managed);
        let larger = PcpSizes::new(managed * 2, fraction, cpus);
        prop_assert!(larger.batch >= sizes.batch && larger.high >= sizes.high);
    }

    #[test]
    fn unusable_is_what_lies_in_smaller_blocks(counts in counts(), order in order()) {
        let blocks: Vec<u64> = (0..NR_ORDERS)
            .flat_map(|order| std::iter::repeat_n(1u64 << order, counts[order] as usize))
            .collect();
        let size = order.pages() as u64;
        let all: u64 = blocks.iter().sum();
        let small: u64 = blocks.iter().filter(|block| **block < size).sum();
        let unusable = unusable_index(&counts, order);
        let index = fragmentation_index(&counts, order);
        prop_assert_eq!(unusable, (small * 1000).checked_div(all).unwrap_or(1000));
        if all == 0 {
            prop_assert_eq!(index, 0);
        } else if small < all {
            prop_assert_eq!(index, -1000);
        } else {
            prop_assert!(index > -1000 && index <= 1000);
        }
        // To break a block leaves no more that can be used, and no less in pieces.
        if let Some(from) = (1..NR_ORDERS).find(|order| counts[*order] > 0) {
            let mut broken = counts;
            broken[from] -= 1;
            broken[from - 1] += 2;
            prop_assert!(unusable_index(&broken, order) >= unusable);
            prop_assert!(index == -1000 || fragmentation_index(&broken, order) >= index);
        }
    }

    #[test]
    fn compaction_is_of_use_only_where_there_is_room_and_no_block(
        counts in counts(), order in prop_oneof![order(), (1..4usize).prop_map(Order::at)], over in 0..4usize,
        more in 0..6usize, gap in prop_oneof![Just(0usize), 0..500usize], reserve in 0..500usize, extfrag_threshold in 0..=1000u32, flags in flags(),
    ) {
        let free: usize = (0..NR_ORDERS).map(|order| (counts[order] as usize) << order).sum();
        let row = (0..NR_ORDERS).filter(|order| counts[*order] > 0).fold(0u64, |row, order| row | 1 << order);
        // All blocks are Movable ones.
        let available = Availability::from_raw(row << (MOVABLE.idx() * NR_ORDERS));
        let view = FreeView { free, highatomic: 0, available };
        // Around the place where it is decided.
        let mark = usize::saturating_sub(free, over * order.pages() + reserve + more);
        let marks = SuitabilityMarks { mark, gap, reserve, extfrag_threshold };
        let answer = compaction_suitable(view, &counts, order, marks, flags);
        let passes = check(view, order, mark, reserve, flags).passes();
        prop_assert_eq!(answer == Suitability::Success, passes);
        if answer == Suitability::Continue {
            prop_assert!(free > mark + 2 * order.pages() + reserve);
            // With a lower threshold no less is compacted for.
            let eager = SuitabilityMarks { extfrag_threshold: 0, ..marks };
            prop_assert_ne!(compaction_suitable(view, &counts, order, eager, flags), Suitability::Skipped);
        }
    }

    #[test]
    fn zonelists_hold_every_zone_once_the_own_ones_first_and_nodes_by_distance(
        shapes in (1..8usize).prop_flat_map(|nr| prop::collection::vec(
            (prop::array::uniform3(any::<bool>()), prop::collection::vec(prop::sample::select(vec![12u8, 20, 40]), nr), any::<bool>()),
            nr,
        )),
    ) {
        let nodes: Vec<NodeShape> = shapes
            .into_iter()
            .enumerate()
            .map(|(n, (managed, mut distances, has_cpus))| {
                distances[n] = 10;
                NodeShape { managed, distances, has_cpus }
            })
            .collect();
        let lists = Zonelists::new(nodes.len());
        let cookie = lists.sequence();
        lists.rebuild(&nodes);
        prop_assert!(!lists.is_current(cookie));
        for (local, shape) in nodes.iter().enumerate() {
            let list: Vec<_> = lists.of(NodeId::at(local), ZoneType::Movable).collect();
            let managed = nodes.iter().flat_map(|node| node.managed).filter(|has| *has).count();
            let once: BTreeSet<_> = list.iter().map(|zone| (zone.node.get(), zone.zone.idx())).collect();
            prop_assert_eq!((once.len(), list.len()), (managed, managed));
            prop_assert!(list.iter().all(|entry| nodes[entry.node.get()].managed[entry.zone.idx()]));
            let own = shape.managed.iter().filter(|has| **has).count();
            prop_assert!(list[..own].iter().all(|entry| entry.node.get() == local));
            for pair in list.windows(2) {
                let [a, b] = [pair[0], pair[1]];
                if a.node == b.node {
                    prop_assert!(a.zone > b.zone, "highest first");
                } else {
                    prop_assert!(list.iter().rposition(|entry| entry.node == a.node)
                        < list.iter().position(|entry| entry.node == b.node), "together");
                    let distance = |node: NodeId| shape.distances[node.get()];
                    // Penalties of one each decide among equals only: distances are farther apart.
                    prop_assert!(a.node.get() == local || distance(a.node) <= distance(b.node));
                }
            }
            let low: Vec<_> = lists.of(NodeId::at(local), NORMAL).collect();
            prop_assert!(low.iter().all(|entry| entry.zone <= NORMAL));
        }
    }
}
