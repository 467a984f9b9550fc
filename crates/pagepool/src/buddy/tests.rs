use super::*;
use crate::types::NodeId;

mod properties;

const UNMOVABLE: Migratetype = Migratetype::Unmovable;
const MOVABLE: Migratetype = Migratetype::Movable;
const RECLAIMABLE: Migratetype = Migratetype::Reclaimable;
const HIGHATOMIC: Migratetype = Migratetype::HighAtomic;
const VACANT: Residency = Residency::Vacant;
const BLANK: Residency = Residency::Blank;
const USED: Residency = Residency::Used;

fn buddy(pages: usize) -> Buddy {
    let start = Pfn::new(NodeId::at(1), 4096);
    let buddy = Buddy::new(Geometry { start, pages }).unwrap();
    assert_eq!(buddy.free_pages(), pages);
    buddy.verify().unwrap();
    buddy
}

fn demand(order: usize, want: Migratetype) -> Demand {
    Demand {
        order: Order::at(order),
        want,
        fallback: Fallback::Any,
        highatomic: false,
    }
}

fn nothing_movable(_: Pfn, _: usize) -> usize {
    0
}

impl Buddy {
    #[track_caller]
    fn take(&mut self, order: usize, want: Migratetype) -> Pfn {
        self.try_take(order, want).expect("a block is free").pfn
    }

    #[track_caller]
    fn try_take(&mut self, order: usize, want: Migratetype) -> Option<Grant> {
        let grant = self.alloc(demand(order, want), &nothing_movable);
        self.verify().unwrap();
        grant
    }

    #[track_caller]
    fn give(&mut self, pfn: Pfn, order: usize) {
        self.free(pfn, Order::at(order));
        self.verify().unwrap();
    }
}

#[test]
fn geometry_scales_with_the_zone() {
    let orders = |pages| {
        let geometry = Geometry {
            start: Pfn::new(NodeId::at(0), 0),
            pages,
        };
        (geometry.block_order().get(), geometry.max_order().get())
    };
    assert_eq!(orders(16), (2, 4));
    assert_eq!(orders(2047), (8, 10));
    assert_eq!(orders(2048), (9, 10));
    assert_eq!(orders(1 << 24), (9, 10));
}

#[test]
fn opening_enters_only_what_does_not_fill_a_largest_block() {
    // 16 + 4 + 2 + 1 pages: one fresh block of order 4, and three blocks that stand at the end.
    let b = buddy(23);
    assert_eq!(b.nr_free(MOVABLE, Order::at(4)), 1);
    assert_eq!(b.nr_free(MOVABLE, Order::at(2)), 1);
    assert_eq!(b.nr_free(MOVABLE, Order::at(1)), 1);
    assert_eq!(b.nr_free(MOVABLE, Order::at(0)), 1);
    assert_eq!(b.fresh, 0..4);
}

#[test]
fn order_0_requests_receive_ascending_frames() {
    let mut b = buddy(16);
    let first = b.take(0, MOVABLE);
    for n in 1..16 {
        assert_eq!(b.take(0, MOVABLE), first.add(n));
    }
    assert_eq!(b.try_take(0, MOVABLE), None);
}

#[test]
fn free_merges_buddies_up_to_max_order() {
    let mut b = buddy(16);
    let pages: Vec<_> = (0..16).map(|_| b.take(0, MOVABLE)).collect();
    for pfn in pages.iter().rev() {
        b.give(*pfn, 0);
    }
    assert_eq!(b.nr_free(MOVABLE, Order::at(4)), 1);
    assert_eq!(b.take(4, MOVABLE), pages[0]);
}

#[test]
fn an_order_above_the_zone_is_refused() {
    assert_eq!(buddy(16).try_take(5, MOVABLE), None);
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "B1")]
fn a_block_freed_twice_panics() {
    let mut b = buddy(16);
    let pfn = b.take(1, MOVABLE);
    b.give(pfn, 1);
    b.free(pfn, Order::at(1));
}

#[test]
fn the_first_unmovable_request_claims_a_whole_pageblock() {
    let mut b = buddy(16);
    let grant = b.try_take(0, UNMOVABLE).unwrap();
    let event = grant.fallback.unwrap();
    assert_eq!(
        (event.from, event.claimed, event.fragmenting),
        (MOVABLE, true, false)
    );
    assert_eq!(b.nr_blocks_of(UNMOVABLE), 1);
    // The next ones stay in it.
    for _ in 0..3 {
        assert_eq!(b.try_take(0, UNMOVABLE).unwrap().fallback, None);
    }
    assert_eq!(b.nr_blocks_of(UNMOVABLE), 1);
}

#[test]
fn a_small_movable_spill_steals_and_leaves_the_type() {
    let mut b = buddy(16);
    let unmovable = b.take(0, UNMOVABLE);
    for _ in 0..12 {
        b.take(0, MOVABLE);
    }
    // What is left are three pages in the unmovable pageblock: no order-2 block, not worth claiming.
    let grant = b.try_take(0, MOVABLE).unwrap();
    let event = grant.fallback.unwrap();
    assert!(event.fragmenting);
    assert_eq!(event.from, UNMOVABLE);
    assert_eq!(
        b.blocks.migratetype(grant.pfn),
        b.blocks.migratetype(unmovable)
    );
}

#[test]
fn an_unmovable_spill_claims_a_pageblock_that_is_half_free() {
    let mut b = buddy(16);
    let pages: Vec<_> = (0..16).map(|_| b.take(0, MOVABLE)).collect();
    b.give(pages[5], 0);
    b.give(pages[6], 0);
    let grant = b.try_take(0, UNMOVABLE).unwrap();
    assert!(grant.fallback.unwrap().claimed && grant.fallback.unwrap().fragmenting);
    assert_eq!(b.blocks.migratetype(pages[5]), UNMOVABLE);
}

#[test]
fn an_unmovable_spill_into_movable_pages_steals() {
    let mut b = buddy(16);
    let pages: Vec<_> = (0..16).map(|_| b.take(0, MOVABLE)).collect();
    b.give(pages[5], 0);
    let all_movable = |_: Pfn, pages: usize| pages - 1;
    let grant = b.alloc(demand(0, UNMOVABLE), &all_movable).unwrap();
    let event = grant.fallback.unwrap();
    assert!(!event.claimed && event.fragmenting);
    assert_eq!(b.blocks.migratetype(pages[5]), MOVABLE);
    b.verify().unwrap();
}

#[test]
fn nofragment_takes_whole_pageblocks_only() {
    let mut b = buddy(16);
    let pages: Vec<_> = (0..14).map(|_| b.take(0, MOVABLE)).collect();
    let strict = Demand {
        fallback: Fallback::WholeBlocks,
        ..demand(0, UNMOVABLE)
    };
    assert_eq!(b.alloc(strict, &nothing_movable), None);
    for pfn in &pages[4..8] {
        b.give(*pfn, 0);
    }
    assert_eq!(b.alloc(strict, &nothing_movable).unwrap().pfn, pages[4]);
    b.verify().unwrap();
}

#[test]
fn the_fullest_pageblock_is_filled_first() {
    let mut b = buddy(16);
    let pages: Vec<_> = (0..16).map(|_| b.take(0, MOVABLE)).collect();
    // Free pages: block 0 has three, block 1 one, block 2 two, block 3 none.
    for n in [0, 1, 2, 4, 8, 10] {
        b.give(pages[n], 0);
    }
    let order: Vec<_> = (0..6)
        .map(|_| b.take(0, MOVABLE).offset_from(pages[0]))
        .collect();
    assert_eq!(order, [4, 8, 10, 2, 0, 1]);
}

#[test]
fn reserved_blocks_serve_urgent_requests_and_come_back() {
    let mut b = buddy(1 << 20);
    let pfn = b.take(1, UNMOVABLE);
    b.reserve_highatomic(pfn, 1 << 20);
    assert_eq!(b.reserved_highatomic_pages(), 512);
    assert_eq!(b.free_highatomic_pages(), 510);
    b.verify().unwrap();

    let urgent = Demand {
        highatomic: true,
        ..demand(1, UNMOVABLE)
    };
    assert_eq!(b.alloc(urgent, &nothing_movable).unwrap().pfn, pfn.add(2));
    let other = b.take(1, UNMOVABLE);
    assert_ne!(
        b.blocks.migratetype(other),
        HIGHATOMIC,
        "others leave it alone"
    );

    assert!(
        !b.unreserve_highatomic(RECLAIMABLE, Order::ZERO, false),
        "the last pageblock stays"
    );
    assert!(b.unreserve_highatomic(RECLAIMABLE, Order::ZERO, true));
    assert_eq!(b.blocks.migratetype(pfn), RECLAIMABLE);
    assert_eq!(b.reserved_highatomic_pages(), 0);
    b.verify().unwrap();
}

#[test]
fn a_small_zone_reserves_nothing() {
    let mut b = buddy(4096);
    let pfn = b.take(1, UNMOVABLE);
    b.reserve_highatomic(pfn, 4096);
    assert_eq!(b.reserved_highatomic_pages(), 0);
}

#[test]
fn the_reserve_stops_at_its_limit() {
    let mut b = buddy(1 << 18); // 1 % is 2621 pages, so below 3133: six pageblocks, then a seventh
    for _ in 0..16 {
        let pfn = b.take(9, UNMOVABLE);
        b.reserve_highatomic(pfn, 1 << 18);
    }
    assert_eq!(b.reserved_highatomic_pages(), 7 * 512);
    b.verify().unwrap();
}

#[test]
fn isolation_withholds_and_restores() {
    let mut b = buddy(16);
    let pfn = b.take(0, UNMOVABLE); // claims pageblock 0
    assert!(b.isolate(pfn));
    assert!(!b.isolate(pfn));
    b.verify().unwrap();
    assert_eq!((b.free_pages(), b.isolated_free_pages()), (12, 3));
    b.give(pfn, 0);
    assert_eq!((b.free_pages(), b.isolated_free_pages()), (12, 4));
    let other = b.take(0, UNMOVABLE);
    assert_ne!(b.block_of(other), b.block_of(pfn));
    assert!(b.unisolate(pfn));
    b.verify().unwrap();
    assert_eq!(b.blocks.migratetype(pfn), UNMOVABLE);
    assert_eq!(b.isolated_free_pages(), 0);
    assert_eq!(b.nr_isolated_blocks(), 0);
}

/// Two pageblocks were handed out as one block and isolated one by one. Freed together they became
/// one isolated block of two pageblocks, and ending the isolation of one counted both. An isolated
/// pageblock stands alone.
#[test]
fn isolated_pageblocks_freed_together_are_released_one_by_one() {
    let mut b = buddy(16);
    let pfn = b.take(3, MOVABLE);
    assert!(b.isolate(pfn) && b.isolate(pfn.add(4)));
    b.give(pfn, 3);
    assert_eq!(b.isolated_free_pages(), 8);
    assert!(b.unisolate(pfn));
    b.verify().unwrap();
    assert_eq!(b.isolated_free_pages(), 4);
    assert!(b.unisolate(pfn.add(4)));
    b.verify().unwrap();
    assert_eq!(b.free_pages(), 16);
}

#[test]
fn a_fresh_pageblock_can_be_isolated() {
    let mut b = buddy(64);
    let pfn = b.start.add(40);
    assert!(b.isolate(pfn));
    b.verify().unwrap();
    assert_eq!(b.isolated_free_pages(), 16);
    assert!(b.unisolate(pfn));
    b.verify().unwrap();
    assert_eq!(
        b.nr_free(MOVABLE, b.max_order),
        1,
        "merged back into one block"
    );
}

#[test]
fn idle_blocks_leave_and_come_back_vacant() {
    let mut b = buddy(4096);
    assert!(b.withdraw_idle(USED).is_none(), "nothing was ever touched");
    let pfn = b.take(9, MOVABLE);
    b.give(pfn, 9);
    assert_eq!(
        b.resident_free_pages(),
        1024,
        "the halves merged; one was touched"
    );
    let idle = b.withdraw_idle(USED).unwrap();
    assert_eq!(b.free_pages(), 3072);
    b.return_idle(idle, VACANT);
    b.verify().unwrap();
    assert_eq!((b.free_pages(), b.resident_free_pages()), (4096, 0));
    assert_eq!(b.try_take(9, MOVABLE).unwrap().residency, VACANT);
}

#[test]
fn memory_that_was_asked_for_ahead_is_blank_until_it_is_used() {
    let mut b = buddy(4096);
    let idle = b.withdraw_vacant(Order::at(10)).unwrap();
    assert_eq!((idle.pfn(), idle.order()), (b.start, Order::at(10)));
    assert_eq!(b.free_pages(), 3072);
    b.return_idle(idle, BLANK);
    b.verify().unwrap();
    assert_eq!(
        (b.free_pages_with(BLANK), b.free_pages_with(USED)),
        (1024, 0)
    );
    assert_eq!(b.resident_free_pages(), 1024, "it can be given back");

    let grant = b.try_take(0, MOVABLE).unwrap();
    assert_eq!(
        (grant.pfn, grant.residency),
        (b.start, BLANK),
        "the first page"
    );
    assert_eq!(
        b.try_take(0, MOVABLE).unwrap().residency,
        USED,
        "a second one of it"
    );
    assert_eq!(b.free_pages_with(BLANK), 512, "the other half stays blank");
    b.give(b.start, 0);
    b.give(b.start.add(1), 0);
    b.verify().unwrap();
    assert_eq!(
        (b.free_pages_with(BLANK), b.free_pages_with(USED)),
        (0, 1024)
    );
}

#[test]
fn blank_memory_that_joins_vacant_memory_can_still_be_given_back() {
    let mut b = buddy(4096);
    let half = b.withdraw_vacant(Order::at(9)).unwrap();
    b.return_idle(half, BLANK);
    b.verify().unwrap();
    assert_eq!(
        b.free_pages_with(BLANK),
        1024,
        "the halves merged; both read as zeros"
    );
    let idle = b.withdraw_idle(BLANK).unwrap();
    b.return_idle(idle, VACANT);
    b.verify().unwrap();
    assert_eq!((b.free_pages(), b.resident_free_pages()), (4096, 0));
}

#[test]
fn what_has_memory_is_not_asked_for_ahead() {
    let mut b = buddy(4096);
    let pfn = b.take(10, MOVABLE);
    b.give(pfn, 10);
    let idle = b.withdraw_idle(USED).unwrap();
    b.return_idle(idle, VACANT);
    let held: Vec<_> = std::iter::from_fn(|| b.withdraw_vacant(Order::at(10))).collect();
    assert_eq!(held.len(), 4);
    assert_eq!(held[0].pfn(), pfn, "what requests come to first");
    held.into_iter().for_each(|idle| b.return_idle(idle, BLANK));
    assert!(b.withdraw_vacant(Order::at(10)).is_none());
    assert!(
        buddy(4096).withdraw_vacant(Order::at(8)).is_none(),
        "less than a pageblock"
    );
    b.verify().unwrap();
}

#[test]
fn blocks_with_memory_are_taken_before_vacant_ones() {
    let mut b = buddy(4096);
    let blocks: Vec<_> = (0..4).map(|_| b.take(10, MOVABLE)).collect();
    b.give(blocks[1], 10);
    let idle = b.withdraw_idle(USED).unwrap();
    b.return_idle(idle, VACANT);
    b.give(blocks[3], 10);
    b.give(blocks[2], 10);
    assert!([blocks[2], blocks[3]].contains(&b.take(10, MOVABLE)));
    assert!([blocks[2], blocks[3]].contains(&b.take(10, MOVABLE)));
    assert_eq!(b.take(10, MOVABLE), blocks[1]);
}

/// The pageblock that a zone ends in is incomplete and so never whole: to claim it counted as mixing
/// types although all of it was free, and the boost that answered it kept a small pool's last pages
/// from its users.
#[test]
fn claiming_the_free_end_of_a_zone_mixes_nothing() {
    // Pageblocks of 4 pages; the last has 3.
    let mut b = buddy(19);
    for _ in 0..16 {
        b.take(0, UNMOVABLE);
    }
    let fragmenting = |grant: Grant| grant.fallback.map(|event| event.fragmenting);
    let at_the_end = b.try_take(0, UNMOVABLE).unwrap();
    assert_eq!(fragmenting(at_the_end), Some(false));
    let beside = b.try_take(0, RECLAIMABLE).unwrap();
    assert_eq!(fragmenting(beside), Some(true));
}

/// Churns order-0 blocks at half occupancy and returns how many of the ideal number of whole
/// pageblocks are free afterwards.
fn whole_blocks_after_churn(generations: usize) -> f64 {
    const PAGES: usize = 64 << 10;
    let mut b = buddy(PAGES);
    let mut rng = 42u64;
    let mut random = move |below: usize| {
        rng = rng
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (rng >> 33) as usize % below
    };
    let mut live: Vec<Pfn> = vec![];
    let take = |b: &mut Buddy| b.alloc(demand(0, MOVABLE), &nothing_movable).unwrap().pfn;
    for _ in 0..PAGES {
        live.push(take(&mut b));
    }
    for _ in 0..PAGES / 2 {
        let pfn = live.swap_remove(random(live.len()));
        b.free(pfn, Order::ZERO);
    }
    for _ in 0..generations * live.len() {
        let at = random(live.len());
        b.free(live[at], Order::ZERO);
        live[at] = take(&mut b);
    }
    b.verify().unwrap();
    let mut whole = 0;
    while b.alloc(demand(9, MOVABLE), &nothing_movable).is_some() {
        whole += 1;
    }
    whole as f64 / (PAGES / 2 / 512) as f64
}

#[test]
fn sparse_pageblocks_empty_themselves() {
    let share = whole_blocks_after_churn(10);
    assert!(share >= 0.9, "{share}");
}

/// A whole pageblock was claimed, and what had become free beside it since was merged: both became a block of the
/// other's type, and there was none of that for which it was claimed.
#[test]
fn what_was_just_claimed_is_there_whatever_is_freed_meanwhile() {
    let mut buddy = buddy(2048);
    let blocks: Vec<_> = (0..4).map(|_| buddy.take(9, MOVABLE)).collect();
    buddy.give(blocks[0], 9);
    assert!(buddy.claim_whole(Order::ZERO, UNMOVABLE).is_some());
    let unmerged = Arc::clone(buddy.unmerged());
    let first = blocks[1].offset_from(buddy.start);
    unmerged.put(512, first..first + 512);
    let grant = buddy.smallest_shelved(Order::ZERO, UNMOVABLE);
    assert_eq!(
        grant.map(|grant| buddy.block_of(grant.pfn)),
        Some(buddy.block_of(blocks[0]))
    );
    while buddy.merge_group() > 0 {}
    buddy.verify().unwrap();
}

impl Buddy {
    /// The pageblocks of what a filler gets.
    fn fill_blocks(&mut self, want: Migratetype, filler: usize, count: usize) -> Vec<usize> {
        let mut got = Vec::new();
        let mut sink = |first: Pfn, pages| got.extend((0..pages).map(|page| first.add(page)));
        let nr = self.fill(want, filler, count, &mut sink);
        assert_eq!(nr, got.len());
        self.verify().unwrap();
        let mut blocks: Vec<_> = got.iter().map(|pfn| self.block_of(*pfn)).collect();
        blocks.dedup();
        blocks
    }
}

/// Two threads that take pages side by side had them out of one pageblock, and waited for its cache lines.
#[test]
fn each_filler_goes_on_with_a_pageblock_of_its_own() {
    let mut buddy = buddy(8192);
    for _ in 0..4 {
        assert_eq!(buddy.fill_blocks(MOVABLE, 0, 64), [0]);
        assert_eq!(buddy.fill_blocks(MOVABLE, 1, 64), [1]);
    }
    assert_eq!(
        buddy.fill_blocks(MOVABLE, 2, 600),
        [2, 3],
        "what it lacks is in the next"
    );
    assert_eq!(buddy.fill_blocks(MOVABLE, 0, 300), [0, 4]);
    // A request for one takes from the fullest, whose ever it is.
    let page = buddy.take(0, MOVABLE);
    assert_eq!(buddy.block_of(page), 1);
}

#[test]
fn a_filler_begins_with_the_fullest_that_no_other_goes_on_with() {
    let mut buddy = buddy(8192);
    let taken: Vec<_> = (0..3 * 512).map(|_| buddy.take(0, MOVABLE)).collect();
    for (block, nr) in [(0, 30), (1, 10), (2, 20)] {
        let mut freed = taken[block * 512..].iter().step_by(2).take(nr);
        assert!(freed.all(|pfn| {
            buddy.give(*pfn, 0);
            true
        }));
    }
    assert_eq!(buddy.fill_blocks(MOVABLE, 3, 4), [1]);
    assert_eq!(buddy.fill_blocks(MOVABLE, 1, 4), [2]);
    assert_eq!(buddy.fill_blocks(MOVABLE, 3, 10), [1, 0]);
    assert_eq!(
        buddy.fill_blocks(MOVABLE, 2, 1),
        [3],
        "a whole one rather than another's"
    );
}

#[test]
fn fillers_share_rather_than_fail_and_take_nothing_of_other_types() {
    let mut buddy = buddy(2048);
    assert_eq!(buddy.block_order, PAGEBLOCK_ORDER);
    for filler in 0..4 {
        assert_eq!(buddy.fill_blocks(MOVABLE, filler, 1), [filler]);
    }
    let of_others = buddy.fill_blocks(UNMOVABLE, 0, 1);
    assert!(of_others.is_empty(), "all are Movable: {of_others:?}");
    let rest = buddy.fill_blocks(MOVABLE, 4, 2048);
    assert_eq!(rest.len(), 4, "{rest:?}");
    assert_eq!(buddy.free_pages(), 0);
    assert!(buddy.fill_blocks(MOVABLE, 4, 1).is_empty());
}

#[test]
fn a_filler_leaves_a_pageblock_that_is_not_for_it_any_more() {
    let mut buddy = buddy(8192);
    assert_eq!(buddy.fill_blocks(MOVABLE, 0, 1), [0]);
    assert!(buddy.isolate(buddy.pfn(0)));
    assert_eq!(buddy.fill_blocks(MOVABLE, 0, 1), [1]);
    let first = buddy.pfn(1);
    buddy.give(first, 0);
    assert_eq!(buddy.fill_blocks(MOVABLE, 0, 1), [1], "it has become whole");
    buddy.retype(1, RECLAIMABLE);
    assert_eq!(buddy.fill_blocks(MOVABLE, 0, 1), [2]);
}
