//! What stands in a table is seen whole by who finds it there, and of two who take it one gets it.
//!
//! *Threads:* one that opens a folio's slot, and one that comes by its number, without a handle; two that free one raw
//! frame; one that makes a group, or deletes it, and one that walks over the groups, or leaves one; two that are asked
//! to reclaim from one node, or that ask a store for its last failure. *Property:* who finds a folio finds its marks,
//! who finds a group its place; a group is deleted after all that was done with it; of two frees one is refused; one
//! reclaims at a time on request; one failure is reported once. *The bug it would catch:* an entry that says that it
//! is there before it is filled; a test and a set in two steps. *The edits that make it fail:* mutants `folio.open`,
//! `folio.take_over`, `folio.marks_in_one`, `frame.one_step`, `group.open`, `group.find`, `group.leave`, `group.no_members`,
//! `group.drop_handle`, `group.no_handles`, `reclaim.asked_in_one`, `write_errors.one_step`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Family, Folio, FolioMark, Memory, Opening, RawFrame};

#[test]
fn who_comes_by_a_folios_number_finds_its_marks() {
    const COPY: u32 = 9;
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_open", 21, move || {
        let table = Shared::new(Opening::default());
        let (o, f) = (Shared::clone(&table), Shared::clone(&table));
        let opener = actor(move || o.open(COPY));
        let finder = actor(move || {
            let begun = f.slot().begin_fault_at(COPY).is_ok();
            begun.then(|| f.slot().is(FolioMark::Backed))
        });
        join(opener);
        seen.record(join(finder));
    });
    outcomes.assert_exactly([None, Some(true)]);
}

#[test]
fn of_two_marks_of_a_folio_neither_is_lost() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_two_marks", 200, move || {
        let folio = Shared::new(Folio::resident(1));
        let (w, r) = (Shared::clone(&folio), Shared::clone(&folio));
        let writer = actor(move || {
            assert!(w.slot.set(FolioMark::Dirty), "it was clean");
            w.slot.is(FolioMark::Accessed)
        });
        let reader = actor(move || {
            assert!(!r.slot.note_use(), "nobody read it ahead");
            r.slot.is(FolioMark::Dirty)
        });
        seen.record(join_all([writer, reader]));
        assert!(folio.slot.is(FolioMark::Dirty) && folio.slot.is(FolioMark::Accessed));
    });
    // Of two steps on one word, the second sees the first: never does neither see the other.
    outcomes.assert_exactly([[false, true], [true, false], [true, true]]);
}

#[test]
fn of_two_who_free_a_frame_one_is_refused() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("frame_freed_twice", 18, move || {
        let frame = Shared::new(RawFrame::default());
        let frees = [(); 2].map(|()| {
            let frame = Shared::clone(&frame);
            actor(move || frame.free())
        });
        seen.record(join_all(frees));
    });
    outcomes.assert_exactly([[false, true], [true, false]]);
}

#[test]
fn who_finds_a_group_finds_its_place() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_open", 195, move || {
        let groups = Shared::new(Family::default());
        let parent = groups.create(0, "a");
        let (c, w) = (Shared::clone(&groups), Shared::clone(&groups));
        let creator = actor(move || c.create(parent, "b"));
        let walker = actor(move || {
            assert_eq!(w.children(0), [parent], "not the one below it");
            w.children(parent)
        });
        let child = join(creator);
        let found = join(walker);
        assert_eq!(groups.children(parent), [child]);
        assert!(found.iter().all(|group| *group == child), "{found:?}");
        seen.record(found.len());
    });
    // The walker came before the group was open, or after.
    outcomes.assert_exactly([0, 1]);
}

/// Returns what had been counted of a group when it was deleted, if it was.
fn delete_beside(
    takes: impl FnOnce(&Family, usize),
    leaves: impl FnOnce(&Family, usize) + 'static,
) -> Option<u64> {
    let groups = Shared::new(Family::default());
    let group = groups.create(0, "a");
    takes(&groups, group);
    let (l, d) = (Shared::clone(&groups), Shared::clone(&groups));
    let leaver = actor(move || leaves(&l, group));
    let deleter = actor(move || d.delete(group));
    join(leaver);
    join(deleter)
}

#[test]
fn a_group_is_deleted_after_its_last_member() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_last_member", 27, move || {
        seen.record(delete_beside(Family::join, Family::reclaim_and_leave));
    });
    outcomes.assert_exactly([None, Some(1)]);
}

#[test]
fn a_group_is_deleted_after_its_last_handle() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_last_handle", 27, move || {
        seen.record(delete_beside(
            Family::take_handle,
            Family::count_and_drop_handle,
        ));
    });
    outcomes.assert_exactly([None, Some(1)]);
}

#[test]
fn one_reclaims_at_a_time_on_request() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("reclaim_on_request", 28, move || {
        let memory = Shared::new(Memory::default());
        let nr_inside = Shared::new(AtomicUsize::new(0));
        let askers = [(); 2].map(|()| {
            let (memory, nr_inside) = (Shared::clone(&memory), Shared::clone(&nr_inside));
            actor(move || {
                memory.if_asked_first(|| {
                    assert_eq!(nr_inside.fetch_add(1, Relaxed), 0, "two are inside");
                    nr_inside.fetch_sub(1, Relaxed);
                })
            })
        });
        seen.record(join_all(askers));
    });
    outcomes.assert_exactly([[false, true], [true, false], [true, true]]);
}

#[test]
fn a_failure_is_reported_once() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("write_error_once", 27, move || {
        let memory = Shared::new(Memory::default());
        memory.note_write_error();
        let mark = Shared::new(AtomicU32::new(0));
        let lookers = [(); 2].map(|()| {
            let (memory, mark) = (Shared::clone(&memory), Shared::clone(&mark));
            actor(move || memory.has_new_write_error(&mark))
        });
        seen.record(join_all(lookers));
    });
    outcomes.assert_exactly([[false, true], [true, false]]);
}
