//! The transitions, one at a time; in `model`, all of them against plain fields.

mod model;

use super::*;

const FRAME: u32 = 77;

fn away() -> FolioWord {
    FolioWord::away(0, 5)
}

fn resident() -> FolioWord {
    let busy = away().begin_fault().unwrap();
    busy.end_fault(FRAME, Landing::Idle).word
}

fn read(word: FolioWord) -> FolioWord {
    word.begin_read(Courtesy::WaitersFirst).unwrap()
}

#[test]
fn a_blank_folio_is_away_and_all_zeros() {
    let word = away();
    assert!(!word.is_resident() && !word.is_busy() && !word.is_held());
    assert_eq!((word.location(), word.generation()), (0, 5));
    assert_eq!(word.begin_read(Courtesy::MeFirst), Err(Obstacle::Away));
    assert_eq!(word.begin_write(), Err(Obstacle::Away));
    assert_eq!(word.begin_pin(), Err(Obstacle::Away));
}

#[test]
fn one_thread_brings_a_folio_back_and_the_others_wait() {
    let busy = away().begin_fault().unwrap();
    assert_eq!(busy.begin_fault(), Err(Obstacle::Taken));
    assert_eq!(busy.begin_read(Courtesy::MeFirst), Err(Obstacle::Taken));
    let landed = busy.with_waiter().end_fault(FRAME, Landing::Read);
    assert!(landed.wake);
    assert_eq!(landed.word.location(), FRAME);
    assert_eq!((landed.word.readers(), landed.word.generation()), (1, 6));
    assert_eq!(landed.word.begin_fault(), Err(Obstacle::Taken));
}

#[test]
fn a_fault_that_fails_leaves_the_folio_where_it_was() {
    let busy = away().begin_fault().unwrap().with_waiter();
    let aborted = busy.abort_fault();
    assert!(aborted.wake);
    assert_eq!(aborted.word, away());
}

#[test]
fn readers_share_and_a_writer_does_not() {
    let two = read(read(resident()));
    assert_eq!(two.readers(), 2);
    assert_eq!(two.begin_write(), Err(Obstacle::Taken));
    let writing = resident().begin_write().unwrap();
    assert_eq!(writing.begin_read(Courtesy::MeFirst), Err(Obstacle::Taken));
    assert_eq!(writing.begin_write(), Err(Obstacle::Taken));
    assert_eq!(writing.end_write().word, resident());
}

#[test]
fn a_reader_gives_way_to_waiters_unless_they_wait_for_it() {
    let awaited = read(resident()).with_waiter();
    assert_eq!(
        awaited.begin_read(Courtesy::WaitersFirst),
        Err(Obstacle::Taken)
    );
    assert_eq!(awaited.begin_read(Courtesy::MeFirst).unwrap().readers(), 2);
    assert!(awaited.owes_wake_after_reader());
    let second = awaited.begin_read(Courtesy::MeFirst).unwrap();
    assert!(!second.owes_wake_after_reader());
}

#[test]
fn a_pin_stops_eviction_and_neither_readers_nor_writers() {
    let pinned = resident().begin_pin().unwrap();
    assert_eq!(read(pinned).readers(), 1);
    let written = pinned.begin_write().unwrap().end_write().word;
    assert_eq!(written, pinned);
    assert_eq!(pinned.begin_copy(), None);
    let copying = resident().begin_copy().unwrap();
    assert_eq!(copying.begin_pin().unwrap().evict(3), None);
}

#[test]
fn counts_do_not_overflow() {
    let mut word = resident();
    for _ in 0..MAX_READERS {
        word = word.begin_read(Courtesy::MeFirst).unwrap();
    }
    assert_eq!(word.begin_read(Courtesy::MeFirst), Err(Obstacle::TooMany));
    for _ in 0..MAX_PINS {
        word = word.begin_pin().unwrap();
    }
    assert_eq!(word.begin_pin(), Err(Obstacle::TooMany));
    assert_eq!((word.readers(), word.pins()), (MAX_READERS, MAX_PINS));
    assert_eq!((word.location(), word.generation()), (FRAME, 6));
}

#[test]
fn a_writer_ends_the_copy_in_the_same_step() {
    let copying = resident().begin_copy().unwrap();
    assert!(copying.is_stable());
    let written = copying.begin_write().unwrap().end_write().word;
    assert!(!written.is_stable());
    assert_eq!(written.evict(3), None);
}

#[test]
fn readers_do_not_end_a_copy_but_hold_the_folio() {
    let copying = resident().begin_copy().unwrap();
    let reading = read(copying);
    assert!(reading.is_stable());
    assert_eq!(reading.evict(3), None);
    assert_eq!(copying.evict(3).unwrap().location(), 3);
}

#[test]
fn evicted_folios_are_away_at_their_copy() {
    let gone = resident().begin_copy().unwrap().evict(9).unwrap();
    assert!(!gone.is_resident() && !gone.is_stable());
    assert_eq!((gone.location(), gone.generation()), (9, 7));
    assert!(!gone.is_same_place(resident()));
}

#[test]
fn a_moved_folio_stays_resident() {
    let moved = resident().begin_copy().unwrap().relocate(9).unwrap();
    assert!(moved.is_resident() && !moved.is_stable());
    assert_eq!((moved.location(), moved.generation()), (9, 7));
}

#[test]
fn a_dead_folio_is_not_touched() {
    let dead = resident().begin_copy().unwrap().kill();
    assert_eq!(dead.evict(3), None);
    let dead = resident().kill();
    assert_eq!(dead.begin_copy(), None);
    for dead in [dead, away().kill(), FolioWord::vacant(7, 3)] {
        let ended = Err(Obstacle::Ended);
        assert_eq!(dead.begin_read(Courtesy::MeFirst), ended, "{dead:?}");
        assert_eq!(dead.begin_write(), ended);
        assert_eq!(dead.begin_write_owned(), ended);
        assert_eq!(dead.begin_pin(), ended);
        assert_eq!(dead.begin_fault(), ended);
    }
}

#[test]
fn who_brings_a_dead_folio_back_is_told() {
    let busy = away().begin_fault().unwrap().kill();
    assert!(busy.end_fault(FRAME, Landing::Read).word.is_dead());
    assert!(busy.abort_fault().word.is_dead());
}

#[test]
fn a_place_is_told_apart_from_the_same_place_later() {
    let held = read(resident()).with_waiter();
    assert!(held.is_same_place(resident()));
    let gone = resident().begin_copy().unwrap().evict(9).unwrap();
    let back = gone.begin_fault().unwrap().end_fault(FRAME, Landing::Idle);
    assert!(!back.word.is_same_place(resident()));
    assert!(!resident().begin_write().unwrap().is_same_place(resident()));
}

#[test]
fn the_generation_wraps_within_its_field() {
    let mut word = FolioWord::away(0, 511);
    assert_eq!(word.generation(), 511);
    word = word
        .begin_fault()
        .unwrap()
        .end_fault(u32::MAX, Landing::Write)
        .word;
    assert_eq!((word.generation(), word.location()), (0, u32::MAX));
    assert_eq!((word.readers(), word.pins()), (0, 0));
}

#[test]
fn the_debug_form_reads_like_a_sentence() {
    let word = read(resident()).with_waiter();
    assert_eq!(format!("{word:?}"), "pfn:4d g6 waiters 1r 0p");
}
