//! A folio that its owner has locked stays in memory.
//!
//! *Threads:* an owner, or two who share the folio, that pin it, lock it and let go of the pin; an
//! isolator that tries once or twice to copy the folio and take it out of memory. *Property:* who has locked the
//! folio finds it in memory ever after. *The bug it would catch:* an eviction that was under way while
//! the owner locked the folio; one that began afterwards and did not see that. *The edits that make it
//! fail:* mutants `folio.lock_ends_copy`, `folio.look_at_locked`, and the twin that locks a folio which
//! it has only seen in memory.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_twin, join, join_all};
use pagepool::model::{Folio, FolioSlot};

const FRAME: u32 = 5;
const COPY: u32 = 9;

/// Returns whether the folio was in memory, and so is locked now.
fn pin_and_lock(slot: &FolioSlot) -> bool {
    let is_pinned = slot.begin_pin().is_ok();
    if is_pinned {
        slot.lock();
        let _ = slot.end_pin();
    }
    is_pinned
}

/// Returns whether the folio has left memory.
fn evict(slot: &FolioSlot) -> bool {
    if !slot.begin_copy() {
        return false;
    }
    let is_gone = !slot.is_locked() && slot.evict(COPY);
    if !is_gone {
        slot.end_copy();
    }
    is_gone
}

/// Runs owners against an isolator; returns which of them have locked the folio.
fn lock_against_evictions<const N: usize>(
    lock: fn(&FolioSlot) -> bool,
    nr_evictions: usize,
) -> [bool; N] {
    let folio = Shared::new(Folio::resident(FRAME));
    let i = Shared::clone(&folio);
    let isolator = actor(move || (0..nr_evictions).any(|_| evict(&i.slot)));
    let owners = [(); N].map(|()| {
        let o = Shared::clone(&folio);
        actor(move || lock(&o.slot))
    });
    let are_locked = join_all(owners);
    let is_gone = join(isolator);

    let word = folio.slot.word();
    assert_eq!(word.is_resident(), !is_gone);
    assert!(!word.is_held() && !word.is_stable(), "{word:?}");
    assert!(
        !(is_gone && are_locked.contains(&true)),
        "a locked folio is away"
    );
    are_locked
}

#[test]
fn a_folio_that_was_locked_stays_in_memory() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_lock", 600, move || {
        seen.record(lock_against_evictions(pin_and_lock, 2));
    });
    outcomes.assert_exactly([[false], [true]]);
}

/// The second finds the mark set, and relies on what the first has yet to do.
#[test]
fn an_owner_that_finds_the_folio_locked_may_rely_on_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("folio_lock_two_owners", 49_000, move || {
        seen.record(lock_against_evictions(pin_and_lock, 1));
    });
    outcomes.assert_exactly([[false, false], [true, true]]);
}

#[test]
#[should_panic(expected = "a locked folio is away")]
fn a_folio_that_was_only_seen_in_memory_may_be_away_when_it_is_locked() {
    check_twin(|| {
        let look_and_lock = |slot: &FolioSlot| {
            let is_there = slot.word().is_resident();
            // A load alone is no place where loom lets another thread in, without probes.
            loom::thread::yield_now();
            if is_there {
                slot.lock();
            }
            is_there
        };
        lock_against_evictions::<1>(look_and_lock, 1);
    });
}
