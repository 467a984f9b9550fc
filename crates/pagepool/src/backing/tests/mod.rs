//! A store on a backing in memory that does as it is told.

#![forbid(unsafe_code)]

mod by_ring;
mod file;
mod table;
mod transfers;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::clock::Instant;
use crate::sync::lock::Condvar;
use crate::sync::{CoreMutex, Mutex, clock, thread};
use crate::types::PAGE_SIZE;

/// What the next calls of a [`Scripted`] backing do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Script {
    Work,
    Panic,
    Transient { times: usize },
    Full,
    Hold,
    FailPage(u64),
    Stall,
}

/// A backing in memory that does as it is told.
struct Scripted {
    script: Mutex<Script>,
    changed: Condvar,
    pages: Mutex<Vec<u8>>,
    nr_calls: AtomicUsize,
    pool: PoolTag,
    was_inside: Mutex<Vec<bool>>,
}

impl Scripted {
    const PAGES: usize = 64;

    fn new(pool: PoolTag) -> Arc<Scripted> {
        Arc::new(Scripted {
            script: Mutex::new(Script::Work),
            changed: Condvar::new(),
            pages: Mutex::new(vec![0; Scripted::PAGES * PAGE_SIZE]),
            nr_calls: AtomicUsize::new(0),
            pool,
            was_inside: Mutex::new(vec![]),
        })
    }

    fn set(&self, script: Script) {
        *self.script.lock() = script;
        self.changed.notify_all();
    }

    fn act(&self, page: u64, nr: usize) -> Result<WriteOut, BackingError> {
        self.nr_calls.fetch_add(1, Relaxed);
        self.was_inside.lock().push(callback::is_inside(self.pool));
        let mut script = self.script.lock();
        match *script {
            Script::Work => {}
            Script::Panic => {
                drop(script);
                panic!("as told");
            }
            Script::Transient { times: 0 } => {}
            Script::Transient { times } => {
                *script = Script::Transient { times: times - 1 };
                return Err(std::io::Error::from(std::io::ErrorKind::WouldBlock).into());
            }
            Script::Full => return Err(BackingError::Full),
            Script::Hold => return Ok(WriteOut::Held),
            Script::FailPage(bad) if (page..page + nr as u64).contains(&bad) => {
                return Err(std::io::Error::other("as told").into());
            }
            Script::FailPage(_) => {}
            Script::Stall => {
                while *script == Script::Stall {
                    self.changed.wait(&mut script);
                }
            }
        }
        Ok(WriteOut::Written)
    }
}

impl Backing for Scripted {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        self.act(page, bytes.len() / PAGE_SIZE)?;
        let start = page as usize * PAGE_SIZE;
        bytes.copy_from_slice(&self.pages.lock()[start..start + bytes.len()]);
        Ok(())
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        let answer = self.act(page, bytes.len() / PAGE_SIZE)?;
        if answer == WriteOut::Written {
            let start = page as usize * PAGE_SIZE;
            self.pages.lock()[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(answer)
    }

    fn migrate(&self, page: u64) -> Result<(), BackingError> {
        self.act(page, 1).map(|_| ())
    }
}

/// Remembers which pages are being written.
#[derive(Default)]
struct Watch(CoreMutex<Vec<u64>>);

impl WriteWatch for Watch {
    fn write_begins(&self, page: u64, nr: usize) {
        self.0.lock().extend(page..page + nr as u64);
    }

    fn write_ends(&self, page: u64, nr: usize) {
        let range = page..page + nr as u64;
        self.0.lock().retain(|page| !range.contains(page));
    }
}

struct Fixture {
    backing: Arc<Scripted>,
    watch: Arc<Watch>,
    store: Store,
}

fn pool() -> PoolTag {
    static POOL: u8 = 1;
    PoolTag::of(&POOL)
}

fn fixture_with(spawn: Spawn, stuck_after: Duration) -> Fixture {
    fixture_in(None, spawn, stuck_after)
}

fn fixture_in(in_file: Option<Arc<dyn InFile>>, spawn: Spawn, stuck_after: Duration) -> Fixture {
    let backing = Scripted::new(pool());
    let watch = Arc::new(Watch::default());
    let store = Store::new(StoreSpec {
        id: StoreId::all().next().expect("there are numbers"),
        pool: pool(),
        backing: Arc::clone(&backing) as _,
        in_file,
        watch: Some(Arc::clone(&watch) as _),
        spawn,
        stuck_after,
        max_asks: StoreSpec::ONE_ASK,
    });
    Fixture {
        backing,
        watch,
        store: store.expect("there is room"),
    }
}

fn fixture() -> Fixture {
    fixture_with(thread::spawn, Duration::from_secs(60))
}

fn within(millis: u64) -> Option<Instant> {
    clock::deadline_after(Duration::from_millis(millis))
}

/// Long enough for anything that is not stalled.
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

impl Fixture {
    fn write(&self, page: u64, nr: usize, fill: u8) -> InFlight {
        let mut buf = self.store.take_buf(Direction::Write, soon()).expect("free");
        buf.pages_mut(0, nr).fill(fill);
        self.store.submit_write(buf, page, nr)
    }

    fn read(&self, page: u64, nr: usize) -> InFlight {
        let buf = self.store.take_buf(Direction::Read, soon()).expect("free");
        self.store.submit_read(buf, page, nr)
    }

    fn nr_vacant(&self) -> usize {
        let take = |direction| -> Vec<_> {
            std::iter::from_fn(|| self.store.try_take_buf(direction)).collect()
        };
        let (reads, writes) = (take(Direction::Read), take(Direction::Write));
        reads.len() + writes.len()
    }

    fn count(&self, counter: Counter) -> u64 {
        self.store.counts().get(counter)
    }
}

#[track_caller]
fn outcome(in_flight: InFlight) -> Outcome {
    in_flight.wait(soon()).expect("it is not stalled").outcome
}
