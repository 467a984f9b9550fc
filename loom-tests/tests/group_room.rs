//! A request that waits for room in its group is not forgotten.
//!
//! *Threads:* one or two that charge a page to a group which is full, and wait for room; one that gives a page
//! back, or raises the limit. *Property:* nobody sleeps while there is room, and there are never more pages
//! than the limit allows. *The bug it would catch:* a page given back, or a limit raised, between the look that
//! found no room and the sleep; or one that is kept aside for others meanwhile. *The edits that make it fail:*
//! mutants `group.uncharge_wakes`, `group.max_wakes`, `group.room_recheck`, `group.gather`,
//! `group.look_at_waiters`, `group.call_limit` and `group.wait_limit`, each of which leaves a thread asleep; and
//! `group.charge_in_one`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::Room;

/// Returns a full group with room for one page.
fn full() -> Shared<Room> {
    let room = Shared::new(Room::new(1));
    room.charge();
    room
}

#[test]
fn who_waits_gets_the_page_that_is_given_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_room", 25, move || {
        let room = full();
        let r = Shared::clone(&room);
        let waiter = actor(move || r.charge());
        room.uncharge();
        join(waiter);
        assert_eq!(room.counter.pages(), 1);
        seen.record(room.nr_sleeps());
    });
    // The page was there; the waiter was woken for it.
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn who_waits_gets_what_a_higher_limit_allows() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_room_limit", 185, move || {
        let room = full();
        let r = Shared::clone(&room);
        let waiter = actor(move || r.charge());
        room.set_max(2);
        join(waiter);
        assert_eq!(room.counter.pages(), 2);
        seen.record(room.nr_sleeps());
    });
    // The limit was raised already; the waiter was woken for it.
    outcomes.assert_exactly([0, 1]);
}

/// What is freed may stay charged for the next page of the group, but not while somebody waits for it.
#[test]
fn who_waits_gets_what_is_kept_aside() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_room_kept", 15, move || {
        let room = full();
        let r = Shared::clone(&room);
        let waiter = actor(move || r.charge());
        room.uncharge_or_keep();
        join(waiter);
        assert_eq!(room.counter.pages(), 1);
        seen.record(room.nr_sleeps());
    });
    // The page was there, or was gathered; the waiter was woken for it.
    outcomes.assert_exactly([0, 1]);
}

/// The one who gets the page passes it on; neither sleeps for ever, and there is never more than one.
#[test]
fn of_two_who_wait_each_has_its_turn() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_room_two", 12_000, move || {
        let room = full();
        let waiters = [(); 2].map(|()| {
            let r = Shared::clone(&room);
            actor(move || {
                r.charge();
                assert_eq!(r.counter.pages(), 1);
                r.uncharge();
            })
        });
        room.uncharge();
        join_all(waiters);
        assert_eq!(room.counter.pages(), 0);
        seen.record(room.nr_sleeps());
    });
    // Nobody slept; one did; both did, or one twice; both did, and one was woken for a page that the other took.
    outcomes.assert_exactly([0, 1, 2, 3]);
}

#[test]
fn a_deadline_ends_the_wait() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("group_room_deadline", 70, move || {
        let room = full();
        let r = Shared::clone(&room);
        let waiter = actor(move || r.charge_in_time());
        room.fire_timeout();
        room.uncharge();
        let is_charged = join(waiter);
        assert_eq!(room.counter.pages(), usize::from(is_charged));
        seen.record((is_charged, room.nr_sleeps()));
    });
    // Too late or in time, and each without a sleep or after one.
    outcomes.assert_exactly([(false, 0), (false, 1), (true, 0), (true, 1)]);
}
