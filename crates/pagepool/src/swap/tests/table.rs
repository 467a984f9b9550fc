//! Several areas: in which order they are filled, and how one goes.

use super::*;
use crate::sync::cpu::with_cpu;

fn memory(nr: usize) -> Arc<FaultyDevice> {
    Arc::new(FaultyDevice::in_memory(pages(nr), Faults::none()))
}

#[test]
fn areas_are_filled_by_priority_and_equals_take_turns() {
    let space = space(1 << 30);
    let low = space.swap_on(memory(1024), -1).expect("it fits");
    let peers = [0, 0].map(|priority| space.swap_on(memory(129), priority).expect("it fits"));
    let stores: Vec<_> = (0..257)
        .map(|owner| space.alloc(1, owner).expect("free").store())
        .collect();
    assert!(stores[..64].iter().all(|&store| store == peers[0]));
    assert!(stores[64..128].iter().all(|&store| store == peers[1]));
    assert!(stores[128..192].iter().all(|&store| store == peers[0]));
    assert_eq!(stores[256], low);
    assert!(!stores[..256].contains(&low));
    space.verify().expect("nothing is wrong");
}

#[test]
fn a_folio_that_no_single_area_can_hold_is_refused_and_nothing_is_lost() {
    let space = space(1 << 30);
    for _ in 0..2 {
        space.swap_on(memory(9), 0).expect("it fits");
    }
    assert_eq!(space.free_pages(), 16);
    assert_eq!(space.alloc(16, 1), None);
    assert_eq!(space.free_pages(), 16);
    assert!(space.alloc(8, 1).is_some());
}

#[test]
fn swap_is_half_full_when_less_than_half_is_free() {
    let space = space(1 << 30);
    assert!(!space.is_half_full() && !space.has_area());
    space.swap_on(memory(9), 0).expect("it fits");
    let first = space.alloc(4, 1).expect("free");
    assert!(!space.is_half_full());
    space.alloc(1, 2).expect("free");
    assert!(space.is_half_full() && space.has_area());
    space.free(first);
    assert!(!space.is_half_full());
}

#[test]
fn an_area_goes_once_it_holds_nothing() {
    let fix = fixture();
    let entries = [1, 700, 1].map(|nr| fix.alloc(nr, nr));
    let area = fix.space.begin_swap_off(fix.id).expect("it is there");
    assert_eq!((fix.space.alloc(1, 9), fix.space.free_pages()), (None, 0));
    let error = fix
        .space
        .finish_swap_off(fix.id, soon())
        .expect_err("it holds folios");
    assert!(error.to_string().contains("702 pages"), "{error}");

    let mut from = 0;
    let mut seen = vec![];
    while let Some((entry, owner)) = area.next_chain(from) {
        seen.push((entry, owner));
        from = entry.page() + 1;
        fix.space.free(entry);
    }
    seen.sort_by_key(|(entry, _)| *entry);
    let mut expected = entries.map(|entry| (entry, if entry == entries[1] { 700 } else { 1 }));
    expected.sort_by_key(|(entry, _)| *entry);
    assert_eq!(seen, expected);
    fix.space
        .finish_swap_off(fix.id, soon())
        .expect("it holds nothing");
    assert!(fix.space.area(fix.id).is_none() && !fix.space.has_area());
    assert!(matches!(
        fix.space.begin_swap_off(fix.id),
        Err(SwapError::Unknown)
    ));
    // Its room under the limit is free again.
    fix.space.swap_on(memory(1024), 0).expect("it fits");
    fix.verify();
}

#[test]
fn swap_off_can_be_called_off() {
    let fix = fixture();
    fix.space.begin_swap_off(fix.id).expect("it is there");
    fix.space.cancel_swap_off(fix.id).expect("it is there");
    assert_eq!(fix.space.free_pages(), 1023);
    fix.alloc(1, 1);
    fix.verify();
}

#[test]
fn swap_off_does_not_wait_for_a_stalled_device_for_ever() {
    let fix = fixture();
    let entry = fix.alloc(1, 1);
    assert_eq!(fix.write(entry, 1), Ok(()));
    fix.device
        .set_faults(Faults::none().nth(1, Fault::StalledRead));
    let buf = fix.store.take_buf(Direction::Read, soon()).expect("free");
    let read = fix.store.submit_read(buf, entry.page().into(), 1);
    eventually(|| fix.device.nr_stalled() == 1);
    fix.space.free(entry);
    let error = fix
        .space
        .finish_swap_off(fix.id, within(5))
        .expect_err("it is stalled");
    assert!(matches!(error, SwapError::Busy { .. }), "{error}");
    let error = fix.space.cancel_swap_off(fix.id).expect_err("it is ending");
    assert!(matches!(error, SwapError::Ending { .. }), "{error}");
    fix.device.release();
    drop(read);
    fix.space
        .finish_swap_off(fix.id, soon())
        .expect("it is free");
}

#[test]
fn the_limit_and_other_bounds_are_named() {
    let space = space(pages(100) as u64);
    let small = space
        .swap_on(memory(1), 0)
        .expect_err("a header only")
        .to_string();
    assert!(
        small.contains("4096 bytes") && small.contains("8192"),
        "{small}"
    );
    space.swap_on(memory(60), 0).expect("it fits");
    let over = space
        .swap_on(memory(50), 0)
        .expect_err("it is too much")
        .to_string();
    assert!(
        over.contains("swap_limit = 409600") && over.contains("163840"),
        "{over}"
    );
    space.swap_on(memory(40), 0).expect("it fits exactly");
}

#[test]
fn tables_stay_within_what_was_declared() {
    for nr in [2, 100, 5000, 300_000] {
        let area = Area::bytes_for(nr);
        assert!(area <= SwapSpace::bytes_for(pages(nr) as u64), "{nr}");
        assert!(area >= nr * 12, "{nr}");
    }
    assert_eq!(SwapSpace::bytes_for(0), 0);
}

#[test]
fn threads_take_and_free_slots_while_an_area_comes_and_goes() {
    let space = space(1 << 30);
    space.swap_on(memory(600), 0).expect("it fits");
    std::thread::scope(|scope| {
        for cpu in 0..3 {
            let space = &space;
            scope.spawn(move || {
                with_cpu(cpu, || {
                    for round in 0..400 {
                        let entries: Vec<_> =
                            (1..9).filter_map(|nr| space.alloc(nr, round)).collect();
                        for entry in entries {
                            space.free(entry);
                        }
                    }
                });
            });
        }
        for _ in 0..50 {
            let id = space.swap_on(memory(300), 5).expect("it fits");
            thread::yield_now();
            space.begin_swap_off(id).expect("it is there");
            let mut ended = space.finish_swap_off(id, soon());
            while matches!(ended, Err(SwapError::InUse { .. })) {
                thread::yield_now();
                ended = space.finish_swap_off(id, soon());
            }
            ended.expect("it holds nothing");
        }
    });
    assert_eq!(space.free_pages(), 599);
    space.verify().expect("nothing is wrong");
}
