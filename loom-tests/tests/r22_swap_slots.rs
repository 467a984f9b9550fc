//! R22: a swap slot goes from who writes a folio out to who brings it back, whole; and an area is there before its
//! slots are.
//!
//! v5.0 has a cache of slots a CPU, whose arrays must not be seen before their locks are. Here an area's own lock
//! hands its slots out; what must not be seen too early, or too late, is the area, and the checksum of a slot.
//!
//! *Threads:* one that evicts a folio to a slot, and one that brings it back; a worker whose write was abandoned,
//! and one that takes slots; one that switches an area on, or takes it away, beside one that uses it, or two that
//! take it away. *Property:* what is read back is what was written, and its checksum matches; no two write a page of
//! the device at once; who has a slot finds its area; whoever has the turn at an area has it at the one that is
//! there; and the sums of slots agree in the end (W1, A5). *The bug it would catch:* a slot given to the next while a
//! write that was given up still reaches it; an area that serves slots before it can be found; one that serves slots
//! while it is taken away; a turn at an area that has been replaced. *The edits that make it fail:* mutants
//! `swap.held_by_write`, `swap.found_first`, `swap.off_gives_none`, `swap.same_area`, `swap.put_by_in_one`, and those of the folio's word,
//! `folio.take_over` and `folio.pass_on`.

#![cfg(loom)]

use std::io;

use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::SwapDevice;
use pagepool::model::atomic::{AtomicU8, Ordering::Relaxed};
use pagepool::model::{Folio, Landing, Swap};

const PAGE: u64 = 4096;

/// A page of a device, all of whose bytes are the same. Relaxed, both: what passes the slot on must order them.
#[derive(Default)]
struct Page {
    byte: AtomicU8,
    nr_writers: AtomicU8,
}

struct Device(Vec<Page>);

impl Device {
    /// Returns a device with a header and so many pages more.
    fn new(pages: usize) -> Shared<Device> {
        Shared::new(Device((0..=pages).map(|_| Page::default()).collect()))
    }

    fn page(&self, offset: u64) -> &Page {
        &self.0[(offset / PAGE) as usize]
    }
}

impl SwapDevice for Device {
    fn name(&self) -> &str {
        "model"
    }

    fn capacity(&self) -> u64 {
        self.0.len() as u64 * PAGE
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        bytes.fill(self.page(offset).byte.load(Relaxed));
        Ok(bytes.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let page = self.page(offset);
        let others = page.nr_writers.fetch_add(1, Relaxed);
        assert_eq!(others, 0, "two write a page at once");
        page.byte.store(bytes[0], Relaxed);
        page.nr_writers.fetch_sub(1, Relaxed);
        Ok(bytes.len())
    }
}

fn swap_on(pages: usize) -> (Shared<Swap>, usize) {
    let swap = Swap::default();
    let area = swap.swap_on(Device::new(pages));
    (Shared::new(swap), area)
}

#[test]
fn a_folio_comes_back_as_it_went() {
    const FRAME: u32 = 1;
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_slot_there_and_back", 65, move || {
        let (swap, _) = swap_on(1);
        let folio = Shared::new(Folio::resident(FRAME));
        let (s, f) = (Shared::clone(&swap), Shared::clone(&folio));
        let evictor = actor(move || {
            let slot = s.alloc(0).expect("there is one");
            assert!(f.slot.begin_copy(), "nobody is in the way");
            s.begin_write(slot);
            s.write(slot, 7);
            assert!(f.slot.evict(slot), "nobody wrote meanwhile");
        });
        let (s, f) = (Shared::clone(&swap), Shared::clone(&folio));
        let faulter = actor(move || {
            let word = f.slot.begin_fault().ok()?;
            let slot = word.location();
            let read = s.read(slot);
            f.wake_if(f.slot.end_fault(FRAME, Landing::Idle).wake);
            s.free(slot);
            Some(read)
        });
        join(evictor);
        let read = join(faulter);
        assert!(read.is_none_or(|read| read == Some(7)), "{read:?}");
        swap.verify();
        seen.record((read.is_some(), swap.sums()));
    });
    outcomes.assert_exactly([(false, (0, 1)), (true, (1, 1))]);
}

#[test]
fn a_slot_that_a_write_may_still_reach_is_nobodys() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_abandoned_write", 53, move || {
        let (swap, _) = swap_on(1);
        let slot = swap.alloc(0).expect("there is one");
        swap.begin_write(slot);
        let (w, n) = (Shared::clone(&swap), Shared::clone(&swap));
        let worker = actor(move || w.write(slot, 7));
        // Its owner wants it no more, and the next takes what is free.
        let next = actor(move || {
            n.free(slot);
            let slot = n.alloc(1)?;
            n.begin_write(slot);
            n.write(slot, 8);
            Some(slot)
        });
        join(worker);
        let next = join(next);
        if let Some(slot) = next {
            assert_eq!(swap.read(slot), Some(8));
        }
        swap.verify();
        seen.record((next.is_some(), swap.sums()));
    });
    outcomes.assert_exactly([(false, (1, 1)), (true, (0, 1))]);
}

#[test]
fn of_two_who_want_the_last_slot_one_gets_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_last_slot", 48, move || {
        let (swap, _) = swap_on(1);
        let users = [0, 1].map(|owner| {
            let swap = Shared::clone(&swap);
            actor(move || swap.alloc(owner).is_some())
        });
        let got = join_all(users);
        assert_eq!(swap.sums(), (0, 1));
        swap.verify();
        seen.record(got);
    });
    outcomes.assert_exactly([[false, true], [true, false]]);
}

#[test]
fn an_area_is_found_by_who_has_a_slot_of_it() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_area_comes_up", 20, move || {
        let swap = Shared::new(Swap::default());
        let (o, u) = (Shared::clone(&swap), Shared::clone(&swap));
        let owner = actor(move || o.swap_on(Device::new(1)));
        let user = actor(move || {
            let Some(slot) = u.alloc(0) else { return false };
            u.begin_write(slot);
            u.write(slot, 7);
            assert_eq!(u.read(slot), Some(7));
            u.free(slot);
            true
        });
        join(owner);
        let served = join(user);
        assert_eq!(swap.sums(), (1, 1));
        swap.verify();
        seen.record(served);
    });
    outcomes.assert_exactly([false, true]);
}

#[test]
fn an_area_goes_or_serves() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_area_goes", 155, move || {
        let (swap, area) = swap_on(1);
        let (o, u) = (Shared::clone(&swap), Shared::clone(&swap));
        let owner = actor(move || {
            let leaving = o.turn_to_leave(area).expect("nobody else has it");
            o.swap_off(&leaving)
        });
        let user = actor(move || {
            let Some(slot) = u.alloc(0) else { return false };
            u.free(slot);
            true
        });
        let outcome = (join(owner), join(user));
        let is_gone = outcome.0;
        assert_eq!(swap.sums(), if is_gone { (0, 0) } else { (1, 1) });
        swap.verify();
        seen.record(outcome);
    });
    outcomes.assert_exactly([(false, true), (true, false), (true, true)]);
}

#[test]
fn a_turn_is_at_the_area_that_is_there() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r22_turn_to_leave", 68, move || {
        let (swap, area) = swap_on(1);
        let (o, s) = (Shared::clone(&swap), Shared::clone(&swap));
        let replacer = actor(move || {
            let Some(leaving) = o.turn_to_leave(area) else {
                return false;
            };
            assert!(o.swap_off(&leaving), "nothing is in it");
            drop(leaving);
            assert_eq!(o.swap_on(Device::new(1)), area, "the number is vacant");
            true
        });
        let second = actor(move || {
            let leaving = s.turn_to_leave(area)?;
            Some(s.turn_to_leave(area).is_none().then_some(leaving))
        });
        let replaced = join(replacer);
        let second = join(second);
        if let Some(turn) = &second {
            assert!(turn.is_some(), "the turn is at another area");
            assert!(swap.turn_to_leave(area).is_none(), "two have the turn");
        }
        drop(swap);
        seen.record((replaced, second.is_some()));
    });
    outcomes.assert_exactly([(false, true), (true, false), (true, true)]);
}
