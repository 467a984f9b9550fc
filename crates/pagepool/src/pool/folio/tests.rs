//! What owners do while reclaim has a folio in its hands, step by step.

#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use super::mapping::{Claimed, Mapped};
use super::*;
use crate::backing::Entry;
use crate::folio::Mark;
use crate::node::lru::Isolated;
use crate::node::lru_list::LruList;
use crate::pool::pages::Pages;
use crate::pool::recording::{Accesses, RecordOptions};
use crate::record::Event;
use crate::swap::{SwapError, SwapFile};
use crate::types::{GroupId, NodeId, PAGE_SIZE};
use crate::zone::vmstat::NodeItem;

fn pool() -> PagePool {
    PagePool::builder()
        .managed(4 << 20)
        .max_stores(2)
        .swap(SwapFile::temporary(4 << 20).unwrap())
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap()
}

fn folio(pool: &PagePool) -> Folio {
    pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap()
}

/// Takes a folio into reclaim's hands.
fn isolate(pool: &PagePool, folio: &Folio) -> Isolated {
    let (node, pfn) = pool.inner.place_of(folio.id()).unwrap();
    node.drain_lru_all(pool.inner.folios());
    let isolated = node.isolate_folio(pool.inner.folios(), folio.id(), pfn);
    isolated.unwrap()
}

fn list_of(pool: &PagePool, folio: &Folio) -> Option<LruList> {
    let (node, pfn) = pool.inner.place_of(folio.id()).unwrap();
    node.listed_on(pool.inner.folios(), pfn)
}

fn counter(pool: &PagePool, item: NodeItem) -> u64 {
    pool.inner.nodes.node(NodeId::at(0)).counter(item)
}

/// Takes an isolated folio out of memory, as one that is zeros.
fn evict(pool: &PagePool, isolated: Isolated) {
    let slot = pool.inner.folios().slot(isolated.folio);
    assert!(slot.begin_copy() && slot.evict(0));
    pool.inner.custodian().free_evicted(isolated, GroupId::ROOT);
}

/// It went back to the list out of reclaim's sight that it came from, and stayed there.
#[test]
fn a_folio_unlocked_while_it_is_isolated_can_be_reclaimed_again() {
    let pool = pool();
    let folio = folio(&pool);
    folio.lock().unwrap();
    let isolated = isolate(&pool, &folio);
    assert_eq!(isolated.list, LruList::Unevictable);
    folio.unlock();
    pool.inner.reclaimer().put_back_one(isolated);
    assert_eq!(list_of(&pool, &folio), Some(LruList::InactiveAnon));
    pool.verify().unwrap();
}

/// Reclaim had judged the folio, and begun to copy it, before it was locked; the pin by which it is locked
/// was gone when the copy was done.
#[test]
fn a_folio_locked_while_it_is_copied_stays_in_memory() {
    let pool = pool();
    let folio = folio(&pool);
    let isolated = isolate(&pool, &folio);
    assert!(folio.slot().begin_copy());
    folio.lock().unwrap();
    assert!(!folio.slot().evict(0));
    pool.inner.reclaimer().put_back_one(isolated);
    assert!(folio.is_resident());
    assert_eq!(list_of(&pool, &folio), Some(LruList::Unevictable));
    pool.verify().unwrap();
}

/// The kind of the next folio in the slot was taken for its own.
#[test]
fn the_frames_of_a_folio_are_counted_by_its_own_kind_if_its_slot_is_another_s() {
    let pool = pool();
    let folio = folio(&pool);
    let isolated = isolate(&pool, &folio);
    let was = counter(&pool, NodeItem::AnonPages);
    assert!(folio.slot().begin_copy() && folio.slot().evict(0));
    let id = folio.id();
    drop(folio);
    let next = Folio::open_at(
        &pool.inner,
        PAGE_SIZE,
        Order::ZERO,
        &[Mark::Backed],
        None,
        GroupId::ROOT,
    )
    .unwrap();
    assert_eq!(next.id(), id);
    pool.inner.custodian().free_evicted(isolated, GroupId::ROOT);
    assert_eq!(counter(&pool, NodeItem::AnonPages), was - 1);
    assert_eq!(counter(&pool, NodeItem::FilePages), 0);
}

/// The mark stayed, and the next access, which had to read the folio anew, was taken for a proof that it
/// had been read ahead well.
#[test]
fn a_folio_read_ahead_in_vain_is_no_hit_later() {
    let pool = pool();
    let folio = folio(&pool);
    folio.slot().set(Mark::ReadAhead);
    let reclaimer = pool.inner.reclaimer();
    let node = pool.inner.nodes.node(NodeId::at(0));
    let isolated = isolate(&pool, &folio);
    assert!(folio.slot().begin_copy());
    assert_eq!(reclaimer.evict(node, isolated, 0), Ok(1));
    drop(folio.read().unwrap());
    assert_eq!(pool.stats().vmstat.get("swap_ra_hit"), Some(0));
}

/// A handle remembers where its folio was last.
#[test]
fn a_folio_that_came_back_elsewhere_is_read_where_it_is() {
    let pool = pool();
    let mut folio = folio(&pool);
    folio.write().unwrap().fill(1);
    let mut byte = [0];
    assert!(folio.read_optimistic(9, &mut byte));
    let was = pool.inner.place_of(folio.id()).unwrap().1;
    let isolated = isolate(&pool, &folio);
    evict(&pool, isolated);
    // Its old frame is somebody else's, full of other bytes.
    let mut taken = Vec::new();
    while taken.last().is_none_or(|pages: &Pages| pages.pfn() != was) {
        let mut pages = pool.alloc_pages(Order::ZERO, Gfp::USER_MOVABLE).unwrap();
        pages.fill(2);
        taken.push(pages);
    }
    folio.write().unwrap()[9] = 3;
    for _ in 0..2 {
        assert!(folio.read_optimistic(9, &mut byte));
        assert_eq!(byte, [3]);
    }
}

/// Each use comes the long way while all are recorded, and only the first of them afterwards.
#[test]
fn a_folio_is_watched_for_as_long_as_its_accesses_are_recorded() {
    let pool = pool();
    let folio = folio(&pool);
    // The first use is that for which it came.
    (0..2).for_each(|_| folio.read_at(0, &mut [0]).unwrap());
    assert!(folio.slot().is_known_used());
    let options = RecordOptions::ring(1 << 20);
    for accesses in [Accesses::FirstUses, Accesses::All, Accesses::FirstUses] {
        let recording = pool.record(options.clone().accesses(accesses)).unwrap();
        let is_watched = |folio: &Folio| folio.slot().is(Mark::Watched);
        let expected = accesses == Accesses::All;
        for _ in 0..3 {
            folio.read_at(0, &mut [0]).unwrap();
            assert_eq!(is_watched(&folio), expected);
        }
        // It leaves memory, and comes back.
        let was_evicted = isolate(&pool, &folio);
        evict(&pool, was_evicted);
        assert_eq!(is_watched(&folio), expected);
        drop(folio.read().unwrap());
        folio.read_at(0, &mut [0]).unwrap();
        let tape = recording.stop().unwrap().tape.unwrap();
        let is_access = |event: &&Event| matches!(event.what, Happening::Access { .. });
        let nr = tape.events().iter().filter(is_access).count();
        assert_eq!(nr, if expected { 5 } else { 1 }, "{accesses:?}");
    }
}

#[test]
fn a_discarded_folio_does_not_come_back_as_one_that_was_evicted() {
    let pool = pool();
    let mut folio = folio(&pool);
    folio.slot().set_shadow(0, 0);
    let isolated = isolate(&pool, &folio);
    evict(&pool, isolated);
    folio.discard().unwrap();
    drop(folio.read().unwrap());
    assert_eq!(counter(&pool, NodeItem::WorkingsetRefaultAnon), 0);
}

/// One look at the folio was all that an area was given to get rid of it, whatever the patience.
#[test]
fn an_area_is_emptied_although_a_folio_of_it_is_in_reclaims_hands_for_a_while() {
    let pool = pool();
    let mut folio = folio(&pool);
    folio.write().unwrap().fill(7);
    let isolated = isolate(&pool, &folio);
    let entry = pool.inner.swap.alloc(1, folio.id().get()).unwrap();
    let node = pool.inner.nodes.node(NodeId::at(0));
    node.set_copy(isolated.kind, isolated.pfn, isolated.order, entry.raw());
    let area = pool.swap_areas()[0].area;
    thread::scope(|scope| {
        let off = scope.spawn(|| pool.swap_off(area, Duration::from_secs(5)));
        while pool.stats().swap_total_pages > 0 {
            thread::sleep(Duration::from_millis(1));
        }
        // A second attempt would put the area back in use when it gives up, in the middle of the first.
        let refused = pool.swap_off(area, Duration::ZERO);
        assert!(
            matches!(refused, Err(SwapError::Leaving { .. })),
            "{refused:?}"
        );
        assert_eq!(pool.stats().swap_total_pages, 0, "the first goes on");
        pool.inner.reclaimer().put_back_one(isolated);
        off.join().unwrap().unwrap();
    });
    assert_eq!(counter(&pool, NodeItem::SwapCached), 0);
    assert!(folio.is_dirty() && folio.read().unwrap()[0] == 7);
    pool.verify().unwrap();
}

#[test]
fn the_last_page_of_the_last_store_is_registered_once() {
    let mapped = Mapped::default();
    let last = Entry::from_raw(u32::MAX).unwrap();
    let pair = Entry::from_raw(u32::MAX - 1).unwrap();
    let claim = |first, pages| mapped.claim(first, pages, |_| false);
    assert_eq!(claim(last, 1), Claimed::Ours);
    assert_eq!(
        (claim(last, 1), claim(pair, 2)),
        (Claimed::Taken, Claimed::Taken)
    );
    mapped.remove(last);
    assert_eq!(claim(pair, 2), Claimed::Ours);
}

#[test]
fn a_range_is_waited_for_only_if_all_folios_in_it_have_ended() {
    let pool = pool();
    let folios = [folio(&pool), folio(&pool)];
    let (dead, alive) = (folios[0].id(), folios[1].id());
    let mapped = Mapped::default();
    let at = |page| Entry::from_raw(u32::MAX - 1023 + page).unwrap();
    let claim = |first, pages| mapped.claim(at(first), pages, |folio| folio == dead);
    assert_eq!(claim(64, 1), Claimed::Ours);
    assert_eq!(claim(64, 4), Claimed::Taken, "its folio is being made");
    mapped.name(at(64), dead);
    assert_eq!(claim(64, 4), Claimed::Ending);
    assert_eq!(claim(66, 2), Claimed::Ours);
    mapped.name(at(66), alive);
    assert_eq!(claim(64, 4), Claimed::Taken);
    assert_eq!(claim(65, 1), Claimed::Ours, "between the two");
    mapped.remove(at(64));
    assert_eq!(claim(64, 1), Claimed::Ours);
}
