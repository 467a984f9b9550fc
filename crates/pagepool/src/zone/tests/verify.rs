//! What `verify`, and a free, find of a zone that is not as it should be.

use super::*;

#[test]
fn verify_names_a_page_that_is_nowhere() {
    let zone = zone(64);
    let pfn = zone.pop(0, 0, MOVABLE);
    zone.map.set_state(pfn, FrameState::FREE);
    assert_eq!(zone.verify().unwrap_err().invariant(), "N1");
}

#[test]
fn verify_names_a_frame_that_is_free_and_allocated() {
    let zone = zone(64);
    zone.map
        .set_state(zone.start(), FrameState::allocated(Order::ZERO, MOVABLE));
    assert_eq!(zone.verify().unwrap_err().invariant(), "N3");
}

#[test]
fn verify_names_a_count_that_was_not_published() {
    let zone = zone(64);
    zone.published.free.store(63, Ordering::Relaxed);
    assert_eq!(zone.verify().unwrap_err().invariant(), "N2");
}

#[test]
#[should_panic(expected = "is free at")]
fn a_block_that_is_free_is_not_freed_again() {
    let zone = zone(64);
    let pfn = zone.pop(0, 0, MOVABLE);
    drop(zone.put(pfn, Order::ZERO));
    drop(zone.put(pfn, Order::ZERO));
}
