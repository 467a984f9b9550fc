//! who finds nothing on a zonelist that is being rewritten finds that out.
//!
//! *Threads:* one that rewrites the lists, once or twice; a request that takes a cookie, reads its
//! list, and asks whether the cookie is current. *Property:* if it is, the list was read whole: as
//! it stood before a rebuild or after it, never some entries of both. *The bug it would catch:* a
//! request that is refused because it read the first entry of one list and the end of the other.
//! *The edits that make it fail:* mutants `zonelist.odd`, `zonelist.publish`, `zonelist.newest`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, join};
use pagepool::ZoneType::{self, Dma, Movable, Normal};
use pagepool::model::Zonelists;

/// The zones with memory, lowest first, before and after. Mixed, the list has no Movable zone, or
/// the Normal one twice.
const BEFORE: [bool; 3] = [true, true, false];
const AFTER: [bool; 3] = [true, true, true];

/// Returns what a request read while the lists were written to be `steps`, one after the other, and
/// whether it may rely on it.
fn read_during(steps: &'static [[bool; 3]]) -> (Vec<ZoneType>, bool) {
    let lists = Shared::new(Zonelists::new(BEFORE));
    let (w, r) = (Shared::clone(&lists), Shared::clone(&lists));
    let writer = actor(move || steps.iter().for_each(|step| w.rebuild(*step)));
    let reader = actor(move || {
        let cookie = r.sequence();
        let zones = r.zones();
        (zones, r.is_current(cookie))
    });
    let read = join(reader);
    join(writer);
    read
}

#[test]
fn a_list_that_is_current_was_read_whole() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("zonelist_rebuild", 1_900, move || {
        let (zones, is_current) = read_during(&[AFTER]);
        if is_current {
            seen.record(zones);
        }
    });
    outcomes.assert_exactly([vec![Normal, Dma], vec![Movable, Normal, Dma]]);
}

#[test]
fn a_list_that_was_rewritten_twice_was_read_whole() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("zonelist_two_rebuilds", 17_000, move || {
        let (zones, is_current) = read_during(&[AFTER, BEFORE]);
        if is_current {
            seen.record(zones);
        }
    });
    outcomes.assert_exactly([vec![Normal, Dma], vec![Movable, Normal, Dma]]);
}
