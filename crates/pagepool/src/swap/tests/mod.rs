//! Swap on a device that fails as told, and on real files.

mod areas;
mod clusters;
mod slots;
mod speed;
mod table;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backing::{Completed, Counter, Direction, InFlight, StoreError};
use crate::sync::{clock, thread};

fn within(millis: u64) -> Option<Instant> {
    clock::deadline_after(Duration::from_millis(millis))
}

fn soon() -> Option<Instant> {
    within(20_000)
}

#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came");
}

fn space(limit_bytes: u64) -> SwapSpace {
    static POOL: u8 = 2;
    SwapSpace::new(SwapSpec {
        stores: Arc::new(Stores::new()),
        pool: PoolTag::of(&POOL),
        spawn: thread::spawn,
        limit_bytes,
        stuck_after: Duration::from_secs(60),
    })
}

fn pages(nr: usize) -> usize {
    nr * PAGE_SIZE
}

/// Swap of one faulty device of 1024 slots.
struct Fixture {
    space: SwapSpace,
    device: Arc<FaultyDevice>,
    id: StoreId,
    store: Store,
}

fn fixture() -> Fixture {
    let device = Arc::new(FaultyDevice::in_memory(pages(1024), Faults::none()));
    let space = space(1 << 30);
    let id = space.swap_on(device.clone(), 0).expect("it fits");
    let store = space.spec.stores.get(id).expect("it was added");
    Fixture {
        space,
        device,
        id,
        store,
    }
}

/// The bytes of the n-th page of the folio `owner`.
fn contents(owner: u32, n: u32) -> [u8; PAGE_SIZE] {
    std::array::from_fn(|at| (owner as usize * 31 + n as usize * 7 + at) as u8)
}

impl Fixture {
    fn submit(&self, run: Run, owner: u32, first: u32) -> InFlight {
        let mut buf = self.store.take_buf(Direction::Write, soon()).expect("free");
        for n in 0..run.len {
            let bytes = contents(owner, first + n);
            buf.pages_mut(n as usize, 1).copy_from_slice(&bytes);
        }
        self.store
            .submit_write(buf, run.page.into(), run.len as usize)
    }

    /// Writes a folio out, run by run.
    fn write(&self, entry: Entry, owner: u32) -> Result<(), StoreError> {
        let mut first = 0;
        for run in self.space.chain(entry) {
            let done = self.submit(run, owner, first).wait(soon())?;
            done.outcome.of(0, run.len as usize)?;
            first += run.len;
        }
        Ok(())
    }

    fn read_run(&self, run: Run) -> Result<Completed, StoreError> {
        let buf = self.store.take_buf(Direction::Read, soon())?;
        self.store
            .read(buf, run.page.into(), run.len as usize, soon())
    }

    /// Reads a folio and compares it.
    fn read(&self, entry: Entry, owner: u32) -> Result<(), StoreError> {
        let mut first = 0;
        for run in self.space.chain(entry) {
            let read = self.read_run(run)?;
            read.outcome.of(0, run.len as usize)?;
            for n in 0..run.len {
                assert_eq!(read.buf.pages(n as usize, 1), contents(owner, first + n));
            }
            first += run.len;
        }
        Ok(())
    }

    fn alloc(&self, nr: u32, owner: u32) -> Entry {
        self.space.alloc(nr, owner).expect("there is room")
    }

    fn count(&self, counter: Counter) -> u64 {
        self.store.counts().get(counter)
    }

    #[track_caller]
    fn verify(&self) {
        self.space.verify().expect("nothing is wrong");
    }
}
