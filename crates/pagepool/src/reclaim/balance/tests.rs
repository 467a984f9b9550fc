//! A node of 64 pages, or more, with marks of 16, 20 and 24 pages, and a reclaimer of lists that does
//! what a test says.

use super::*;
use crate::gfp::Gfp;
use crate::node::fixture::{nodes, walk_at};
use crate::psi::PressureKind;
use crate::reclaim::control::Reclaimed;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::sync::{CoreMutex, clock};
use crate::types::{Migratetype, NodeId, Pfn};
use crate::zone::Zone;
use crate::zone::ZoneRequest;
use crate::zone::watermark::AllocFlags;

/// Pages that a pass looks at and reclaims.
type Script<'a> = Box<dyn Fn(usize, &ScanControl) -> (usize, usize) + Sync + 'a>;

struct Fake<'a> {
    script: Script<'a>,
    /// The terms of each pass.
    passes: CoreMutex<Vec<ScanControl>>,
    nr_aged: AtomicUsize,
    nr_snapshots: AtomicUsize,
    has_swap: bool,
}

impl<'a> Fake<'a> {
    fn new(script: impl Fn(usize, &ScanControl) -> (usize, usize) + Sync + 'a) -> Fake<'a> {
        Fake {
            script: Box::new(script),
            passes: CoreMutex::default(),
            nr_aged: AtomicUsize::new(0),
            nr_snapshots: AtomicUsize::new(0),
            has_swap: true,
        }
    }

    fn each<T>(&self, f: impl Fn(&ScanControl) -> T) -> Vec<T> {
        self.passes.lock().iter().map(f).collect()
    }

    fn priorities(&self) -> Vec<u8> {
        self.each(|sc| sc.priority)
    }
}

impl Shrink for Fake<'_> {
    fn shrink_node(&self, _node: &Node, sc: &mut ScanControl) -> Reclaimed {
        let nth = {
            let mut passes = self.passes.lock();
            passes.push(sc.clone());
            passes.len() - 1
        };
        let (scanned, reclaimed) = (self.script)(nth, sc);
        sc.nr_scanned += scanned;
        sc.nr_reclaimed += reclaimed;
        Reclaimed { scanned, reclaimed }
    }

    fn age_active_anon(&self, _node: &Node, _sc: &ScanControl) {
        self.nr_aged.fetch_add(1, Relaxed);
    }

    fn snapshot_refaults(&self, _node: &Node) {
        self.nr_snapshots.fetch_add(1, Relaxed);
    }

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        1
    }

    fn has_swap(&self) -> bool {
        self.has_swap
    }
}

const PLAIN: Circumstances = Circumstances {
    laptop_mode: false,
    metadata_over_limit: false,
};

fn node(nodes: &Nodes) -> &Node {
    nodes.node(NodeId::at(0))
}

fn run(nodes: &Nodes, fake: &Fake<'_>, asked: Requests) -> Balanced {
    run_in(nodes, fake, asked, PLAIN, &|| false)
}

fn run_in(
    nodes: &Nodes,
    fake: &Fake<'_>,
    asked: Requests,
    circumstances: Circumstances,
    is_interrupted: &dyn Fn() -> bool,
) -> Balanced {
    let balance = Balance {
        nodes,
        node: node(nodes),
        shrinker: fake,
        circumstances: &|| circumstances,
        is_interrupted,
    };
    balance.run(asked)
}

/// A request for each class and order.
fn asked(requests: &[(ZoneType, u8)]) -> Requests {
    requests.iter().fold(Requests::NONE, |set, (class, order)| {
        set.with(class.idx(), *order).unwrap_or(set)
    })
}

fn normal(order: u8) -> Requests {
    asked(&[(ZoneType::Normal, order)])
}

/// Takes all pages of a zone.
fn exhaust(nodes: &Nodes, zone: ZoneType) {
    let request = ZoneRequest {
        order: Order::ZERO,
        want: Migratetype::Unmovable,
        flags: AllocFlags::NO_WATERMARKS,
    };
    while node(nodes).zone(zone).take(request).is_some() {}
}

/// 64 pages, none free.
fn empty() -> Nodes {
    let nodes = nodes(&[[0, 64, 0]], 16);
    exhaust(&nodes, ZoneType::Normal);
    nodes
}

/// Gives the pages with these numbers back.
fn free(nodes: &Nodes, pages: std::ops::Range<usize>) {
    for page in pages {
        nodes.give(Pfn::new(NodeId::at(0), page), 0);
    }
}

/// A balanced node of 64 pages whose marks are raised by 20.
fn boosted() -> Nodes {
    let nodes = nodes(&[[0, 64, 0]], 16);
    nodes.normal(0).set_boost(20);
    assert!(node(&nodes).is_balanced(Order::ZERO, ZoneType::Normal));
    nodes
}

// ---- when to stop ----

#[test]
fn a_balanced_node_is_left_alone() {
    let nodes = nodes(&[[0, 64, 0]], 16);
    let fake = Fake::new(|_, _| unreachable!("there is nothing to do"));
    let balanced = run(&nodes, &fake, normal(3));
    assert_eq!(balanced.end, End::Balanced);
    assert_eq!(balanced.left, normal(3), "the order was never given up");
    assert_eq!(nodes.counted(VmEvent::Pageoutrun), 1);
    assert_eq!(fake.nr_snapshots.load(Relaxed), 1);
}

#[test]
fn a_node_without_memory_is_balanced() {
    let nodes = nodes(&[[0, 0, 64], [0, 64, 0]], 16);
    exhaust(&nodes, ZoneType::Movable);
    let fake = Fake::new(|_, _| unreachable!("the class has no zone here"));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::Balanced);
}

#[test]
fn a_run_ends_once_the_high_mark_holds() {
    let nodes = empty();
    let fake = Fake::new(|nth, _| {
        free(&nodes, 10 * nth..10 * (nth + 1));
        (1000, 10)
    });
    let balanced = run(&nodes, &fake, normal(0));
    assert_eq!(balanced.end, End::Balanced);
    assert_eq!(fake.priorities(), [12; 3], "10, 20, 30 of more than 24");
}

#[test]
fn s4_16_a_run_is_a_stall_of_its_node() {
    let nodes = empty();
    let is_stalled = || {
        let states = [nodes.psi(), node(&nodes).psi()];
        states.map(|psi| psi.is_stalled(PressureKind::Some))
    };
    let fake = Fake::new(|nth, _| {
        assert_eq!(is_stalled(), [true; 2]);
        free(&nodes, 10 * nth..10 * (nth + 1));
        (1000, 10)
    });
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities().len(), 3);
    assert_eq!(is_stalled(), [false; 2]);
}

/// Of what v5.0 merges: the Movable zone satisfies "class Movable", but not who may use Normal only.
#[test]
fn every_class_that_was_asked_for_must_be_balanced() {
    let nodes = nodes(&[[0, 64, 64]], 16);
    exhaust(&nodes, ZoneType::Normal);
    let both = asked(&[(ZoneType::Normal, 0), (ZoneType::Movable, 0)]);
    let fake = Fake::new(|_, _| (0, 0));
    assert_eq!(run(&nodes, &fake, both).end, End::Exhausted);
    let movable = asked(&[(ZoneType::Movable, 0)]);
    assert_eq!(run(&nodes, &fake, movable).end, End::Balanced);
}

/// Erratum 1: one zone is enough, for the class that was asked for.
#[test]
fn erratum_1_one_zone_above_its_high_mark_is_enough() {
    let nodes = nodes(&[[64, 64, 0]], 32);
    exhaust(&nodes, ZoneType::Normal);
    let fake = Fake::new(|_, _| unreachable!("the DMA zone is free"));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::Balanced);
}

#[test]
fn an_interrupted_run_ends_after_the_pass_and_is_no_failure() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (0, 0));
    let asked_to_stop = AtomicBool::new(false);
    let is_interrupted = || asked_to_stop.swap(true, Relaxed);
    let balanced = run_in(&nodes, &fake, normal(0), PLAIN, &is_interrupted);
    assert_eq!(balanced.end, End::Interrupted);
    assert_eq!(fake.priorities(), [12, 11]);
    assert_eq!(node(&nodes).kswapd.failures(), 0);
}

#[test]
fn nothing_asked_is_nothing_to_do() {
    let nodes = empty();
    let fake = Fake::new(|_, _| unreachable!("nobody asked"));
    assert_eq!(run(&nodes, &fake, Requests::NONE).end, End::Balanced);
}

// ---- priority ----

#[test]
fn priorities_go_from_12_to_1() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (0, 0));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::Exhausted);
    assert_eq!(fake.priorities(), (1..=12).rev().collect::<Vec<_>>());
}

#[test]
fn erratum_6_priority_rises_if_nothing_was_reclaimed_however_much_was_scanned() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (1_000_000, 0));
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities(), (1..=12).rev().collect::<Vec<_>>());
}

#[test]
fn erratum_6_priority_is_kept_if_enough_was_scanned_and_something_reclaimed() {
    let nodes = empty();
    // The high mark is 24, less than the least that a pass tries for.
    let fake = Fake::new(|nth, _| (32, usize::from(nth < 5)));
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities()[..7], [12, 12, 12, 12, 12, 12, 11]);
}

#[test]
fn priority_rises_if_too_little_was_scanned_whatever_was_reclaimed() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (31, 1));
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities(), (1..=12).rev().collect::<Vec<_>>());
}

// ---- terms ----

#[test]
fn s4_12_a_pass_tries_for_what_is_missing_and_at_most_for_all_high_marks() {
    let nodes = nodes(&[[64, 640, 640]], 176);
    exhaust(&nodes, ZoneType::Dma);
    exhaust(&nodes, ZoneType::Normal);
    let fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    let high = |zone| node(&nodes).zone(zone).mark(Mark::High);
    assert!(high(ZoneType::Dma) < 32 && high(ZoneType::Normal) > 32);
    // The smaller zone lacks less than the least that a pass tries for.
    assert!(fake.each(|sc| sc.nr_to_reclaim) == [32; 12]);
    let for_block = Fake::new(|_, _| (0, 0));
    run(&nodes, &for_block, normal(9));
    let most = 32 + high(ZoneType::Normal);
    assert!(for_block.each(|sc| sc.nr_to_reclaim) == [most; 12]);
    assert!(fake.each(|sc| sc.reclaim_idx) == [ZoneType::Normal; 12]);
    assert!(fake.each(|sc| (sc.who, sc.nr_scanned)) == [(Who::Kswapd, 0); 12]);
}

#[test]
fn reclaim_widens_to_the_highest_zone_while_tables_are_over_their_limit() {
    let nodes = nodes(&[[0, 64, 64]], 16);
    exhaust(&nodes, ZoneType::Normal);
    let fake = Fake::new(|_, _| (0, 0));
    let over = Circumstances {
        metadata_over_limit: true,
        ..PLAIN
    };
    run_in(&nodes, &fake, normal(0), over, &|| false);
    assert!(fake.each(|sc| sc.reclaim_idx) == [ZoneType::Movable; 12]);
}

#[test]
fn in_laptop_mode_only_trouble_starts_the_disk() {
    let nodes = empty();
    let laptop = Circumstances {
        laptop_mode: true,
        ..PLAIN
    };
    let fake = Fake::new(|_, _| (0, 0));
    run_in(&nodes, &fake, normal(0), laptop, &|| false);
    let writing = fake.each(|sc| sc.may_writepage.then_some(sc.priority));
    let writing: Vec<_> = writing.into_iter().flatten().collect();
    assert_eq!(writing, (1..=9).rev().collect::<Vec<_>>());
    assert!(fake.each(|sc| sc.may_swap) == [true; 12]);

    let fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    assert!(fake.each(|sc| sc.may_writepage) == [true; 12]);
}

#[test]
fn lists_are_aged_before_each_pass_if_there_is_swap() {
    let nodes = empty();
    let mut fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.nr_aged.load(Relaxed), 12);
    fake.has_swap = false;
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.nr_aged.load(Relaxed), 12);
}

#[test]
fn what_it_frees_besides_is_its_progress() {
    let nodes = empty();
    let fake = Fake::new(|_, _| {
        identity::note_freed(5);
        (32, 0)
    });
    let stop = AtomicUsize::new(0);
    run_in(&nodes, &fake, normal(0), PLAIN, &|| {
        stop.fetch_add(1, Relaxed) == 3
    });
    assert_eq!(fake.each(|sc| sc.nr_reclaimed), [0, 5, 10, 15]);
    assert_eq!(fake.priorities(), [12; 4]);
}

// ---- order ----

#[test]
fn erratum_3_order_falls_to_0_once_twice_the_block_was_reclaimed() {
    let nodes = empty();
    let fake = Fake::new(|nth, _| (32, if nth < 3 { 8 } else { 0 }));
    let balanced = run(&nodes, &fake, normal(3));
    let orders = fake.each(|sc| sc.order.get());
    assert_eq!(orders[..4], [3, 3, 0, 0], "after 16 pages");
    assert_eq!(balanced.left, normal(0));
    assert_eq!(compact_gap(Order::at(3)), 16);
}

#[test]
fn erratum_3_order_stays_while_reclaim_fails() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (0, 0));
    let balanced = run(&nodes, &fake, normal(3));
    assert_eq!(balanced.left, normal(3));
    assert!(fake.each(|sc| sc.order.get()) == [3; 12]);
}

#[test]
fn once_order_has_fallen_single_pages_balance_the_node() {
    let nodes = empty();
    // Every second page: more than the high mark, and no pair.
    let fake = Fake::new(|_, _| {
        (0..64)
            .step_by(2)
            .for_each(|page| free(&nodes, page..page + 1));
        (32, 32)
    });
    let balanced = run(&nodes, &fake, asked(&[(ZoneType::Normal, 1)]));
    assert_eq!(balanced.end, End::Balanced);
    assert_eq!(balanced.left, normal(0));
    assert_eq!(fake.priorities(), [12]);
    assert!(!node(&nodes).is_balanced(Order::at(1), ZoneType::Normal));
}

// ---- boost ----

#[test]
fn a_boost_is_answered_gently_and_then_lowered() {
    let nodes = boosted();
    let fake = Fake::new(|_, _| (64, 8));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::Balanced);
    assert_eq!(fake.priorities(), [12; 3], "8, 16, 24 of 20");
    assert!(fake.each(|sc| sc.may_swap || sc.may_writepage) == [false; 3]);
    assert_eq!(nodes.normal(0).boost(), 0);
}

#[test]
fn erratum_5_answering_a_boost_ends_when_nothing_was_reclaimed() {
    let nodes = boosted();
    let fake = Fake::new(|_, _| (0, 0));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::BoostAnswered);
    assert_eq!(fake.priorities(), [12]);
    assert_eq!(nodes.normal(0).boost(), 0, "it is answered all the same");
    assert_eq!(node(&nodes).kswapd.failures(), 0, "spec 9.6");
}

#[test]
fn erratum_7_answering_a_boost_stops_at_priority_10() {
    let nodes = boosted();
    let fake = Fake::new(|_, _| (1, 4));
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities(), [12, 11, 10, 10, 10]);
}

#[test]
fn real_need_outranks_a_boost() {
    let nodes = boosted();
    exhaust(&nodes, ZoneType::Normal);
    let fake = Fake::new(|_, _| (0, 0));
    assert_eq!(run(&nodes, &fake, normal(0)).end, End::Exhausted);
    assert_eq!(fake.priorities()[..2], [12, 11]);
    assert!(fake.each(|sc| sc.may_swap && sc.may_writepage) == [true; 12]);
    assert_eq!(node(&nodes).kswapd.failures(), 0, "it began with a boost");
    assert_eq!(nodes.normal(0).boost(), 0);
}

#[test]
fn need_that_comes_up_under_way_begins_again_with_all_means() {
    let nodes = boosted();
    let fake = Fake::new(|nth, _| {
        if nth == 1 {
            exhaust(&nodes, ZoneType::Normal);
        }
        (1, usize::from(nth < 2))
    });
    run(&nodes, &fake, normal(0));
    assert_eq!(fake.priorities()[..4], [12, 11, 12, 11]);
    assert_eq!(fake.each(|sc| sc.may_swap)[..4], [false, false, true, true]);
    assert_eq!(
        fake.each(|sc| sc.nr_reclaimed)[2],
        2,
        "kept over the restart"
    );
}

#[test]
fn a_boost_added_during_the_run_stands() {
    let nodes = boosted();
    let fake = Fake::new(|_, _| {
        nodes.normal(0).set_boost(30);
        (0, 0)
    });
    run(&nodes, &fake, normal(0));
    assert_eq!(nodes.normal(0).boost(), 10);
}

#[test]
fn after_a_boost_whole_blocks_are_built() {
    let nodes = nodes(&[[0, 4096, 0]], 16);
    // Every second page is free: plenty, in pieces.
    exhaust(&nodes, ZoneType::Normal);
    (0..4096)
        .step_by(2)
        .for_each(|page| free(&nodes, page..page + 1));
    nodes.normal(0).set_boost(20);
    let fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    let block = PAGEBLOCK_ORDER.get();
    assert_eq!(nodes.asked(0).1, [(ZoneType::Normal.idx(), block)]);
}

#[test]
fn whoever_waits_for_memory_is_woken_when_the_marks_fall() {
    let nodes = boosted();
    let fake = Fake::new(|_, _| (0, 0));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let deadline = clock::deadline_after(Duration::from_secs(60));
            let zone = nodes.normal(0);
            nodes.freed().wait_until(deadline, || zone.boost() == 0)
        });
        while !nodes.freed().has_sleeper() {
            std::thread::yield_now();
        }
        run(&nodes, &fake, normal(0));
        assert!(waiter.join().unwrap());
    });
}

// ---- failures ----

/// Runs without success until nobody hopes any more.
fn give_up(nodes: &Nodes, requests: Requests) {
    let fake = Fake::new(|_, _| (0, 0));
    for failures in 1..=16 {
        assert!(!node(nodes).is_hopeless());
        assert_eq!(run(nodes, &fake, requests).end, End::Exhausted);
        assert_eq!(node(nodes).kswapd.failures(), failures);
    }
    assert!(node(nodes).is_hopeless());
}

#[test]
fn sixteen_fruitless_runs_make_a_node_hopeless() {
    give_up(&empty(), normal(0));
}

#[test]
fn a_run_that_finds_the_node_balanced_restores_hope() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    free(&nodes, 0..30);
    run(&nodes, &fake, normal(0));
    assert_eq!(node(&nodes).kswapd.failures(), 0);
}

/// Spec 9.6 d: a few hot pages freed again and again kept a hopeless node busy.
#[test]
fn progress_restores_hope_only_if_the_node_is_balanced() {
    let nodes = empty();
    let fake = Fake::new(|_, _| (0, 0));
    run(&nodes, &fake, normal(0));
    let progress = Fake::new(|_, _| (0, 1));
    run(&nodes, &progress, normal(0));
    assert_eq!(node(&nodes).kswapd.failures(), 1, "neither more nor less");
    node(&nodes).note_progress(Order::ZERO, ZoneType::Normal);
    assert_eq!(node(&nodes).kswapd.failures(), 1);
    free(&nodes, 0..30);
    node(&nodes).note_progress(Order::ZERO, ZoneType::Normal);
    assert_eq!(node(&nodes).kswapd.failures(), 0);
}

/// Spec 9.6 c, INV-5.
#[test]
fn a_hopeless_node_recovers_when_a_zone_rises_above_its_high_mark() {
    let nodes = empty();
    give_up(&nodes, normal(0));
    free(&nodes, 0..24);
    assert!(node(&nodes).is_hopeless());
    free(&nodes, 24..25);
    exhaust(&nodes, ZoneType::Normal);
    assert!(!node(&nodes).is_hopeless(), "it rose for a moment");
    assert_eq!(node(&nodes).kswapd.failures(), 0);
    give_up(&nodes, normal(0));
}

#[test]
fn a_node_hopeless_for_large_blocks_stays_so_while_single_pages_abound() {
    let nodes = empty();
    (0..64)
        .step_by(2)
        .for_each(|page| free(&nodes, page..page + 1));
    give_up(&nodes, normal(1));
    free(&nodes, 63..64);
    exhaust(&nodes, ZoneType::Normal);
    assert!(
        node(&nodes).is_hopeless(),
        "it was above the mark all the time"
    );
    free(&nodes, 0..64);
    assert!(!node(&nodes).is_hopeless(), "now it rose");
}

// ---- others ----

#[test]
fn throttled_threads_are_released_after_the_pass_that_freed_enough() {
    let nodes = empty();
    node(&nodes).kswapd.control().begin();
    let fake = Fake::new(|nth, _| {
        free(&nodes, 5 * nth..5 * (nth + 1));
        (32, 5)
    });
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let deadline = clock::deadline_after(Duration::from_secs(60));
            let walk = walk_at(0, 0);
            nodes.throttle_direct_reclaim(&walk, Gfp::KERNEL, deadline, &|_| 1)
        });
        while !node(&nodes).pfmemalloc().has_sleeper() {
            std::thread::yield_now();
        }
        assert_eq!(run(&nodes, &fake, normal(0)).end, End::Balanced);
        // It may have been off the queue at the decisive pass: then the end of the run would see to it.
        node(&nodes).pfmemalloc().wake_all();
        let outcome = waiter.join().unwrap();
        assert_eq!(outcome, crate::node::throttle::Throttled::Released);
    });
}
