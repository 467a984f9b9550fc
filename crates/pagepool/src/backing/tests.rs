#![forbid(unsafe_code)]

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use super::buffer::Buffer;
use super::*;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::sync::clock::{self, Instant};
use crate::sync::lock::Condvar;
use crate::sync::{CoreMutex, Mutex, thread};
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

#[test]
fn what_is_written_is_read() {
    let fix = fixture();
    assert_eq!(outcome(fix.write(3, 2, 7)), Outcome::DONE);
    let read = fix.read(3, 2).wait(soon()).expect("it is not stalled");
    assert_eq!(read.outcome, Outcome::DONE);
    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == 7));
    assert_eq!(fix.count(Counter::PagesWritten), 2);
    assert_eq!(fix.count(Counter::PagesRead), 2);
    assert!(fix.watch.0.lock().is_empty());
}

#[test]
fn a_store_that_does_nothing_has_no_thread() {
    let never: Spawn = |_, _| panic!("nothing to do");
    let fix = fixture_with(never, Duration::from_secs(1));
    drop(fix.store.take_buf(Direction::Write, soon()));
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn two_writes_are_in_flight_at_once() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let first = fix.write(1, 1, 1);
    let second = fix.write(2, 1, 2);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 2);
    assert_eq!(fix.store.nr_in_flight(), 2);
    assert_eq!(*fix.watch.0.lock(), [1, 2]);
    assert!(!first.has_ended());
    fix.backing.set(Script::Work);
    assert_eq!(outcome(first), Outcome::DONE);
    assert_eq!(outcome(second), Outcome::DONE);
}

#[test]
fn neither_direction_takes_all_buffers() {
    let fix = fixture();
    let take = |direction| -> Vec<_> {
        std::iter::from_fn(|| fix.store.try_take_buf(direction)).collect()
    };
    let writes = take(Direction::Write);
    let reads = take(Direction::Read);
    assert_eq!((writes.len(), reads.len()), (4, 4));
    assert_eq!(
        fix.store.take_buf(Direction::Read, within(1)).err(),
        Some(StoreError::Stalled)
    );
    assert_eq!(fix.count(Counter::Stalls), 1);
    drop(writes);
    let more_reads = take(Direction::Read);
    assert_eq!((more_reads.len(), take(Direction::Write).len()), (2, 2));
}

#[test]
fn a_buffer_is_waited_for() {
    let fix = fixture();
    let held: Vec<_> = std::iter::from_fn(|| fix.store.try_take_buf(Direction::Write)).collect();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| fix.store.take_buf(Direction::Write, soon()).is_ok());
        thread::sleep(Duration::from_millis(5));
        drop(held);
        assert!(waiter.join().expect("it does not panic"));
    });
}

#[test]
fn an_abandoned_write_keeps_its_buffer_until_it_ends() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(5, 1, 9);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    assert_eq!(stalled.wait(within(5)).err(), Some(StoreError::Stalled));
    assert_eq!(fix.store.nr_in_flight(), 1);
    assert_eq!(*fix.watch.0.lock(), [5]);
    assert_eq!(fix.count(Counter::Stalls), 1);
    assert_eq!(fix.count(Counter::Abandoned), 1);

    fix.backing.set(Script::Work);
    eventually(|| fix.store.nr_in_flight() == 0);
    assert!(fix.watch.0.lock().is_empty());
    assert_eq!(fix.nr_vacant(), 8);
}

#[test]
fn nothing_overtakes_an_abandoned_write_of_the_same_page() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(5, 2, 9);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    drop(stalled);
    assert_eq!(
        outcome(fix.write(6, 3, 1)).error(),
        Some(StoreError::Stalled)
    );
    assert_eq!(outcome(fix.read(4, 2)).error(), Some(StoreError::Stalled));
    assert_eq!(*fix.watch.0.lock(), [5, 6]);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(fix.write(7, 1, 1)), Outcome::DONE);
    eventually(|| fix.store.nr_in_flight() == 0);
    assert_eq!(outcome(fix.write(6, 3, 1)), Outcome::DONE);
}

#[test]
fn an_abandoned_transfer_that_has_not_begun_is_called_off() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let running: Vec<_> = (0..4).map(|page| fix.read(page, 1)).collect();
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 4);
    drop(fix.write(7, 1, 1));
    assert_eq!(fix.store.nr_in_flight(), 4);
    assert!(fix.watch.0.lock().is_empty());
    fix.backing.set(Script::Work);
    for read in running {
        assert_eq!(outcome(read), Outcome::DONE);
    }
    assert_eq!(fix.backing.nr_calls.load(Relaxed), 4);
}

#[test]
fn a_transfer_that_ended_and_is_abandoned_gives_its_buffer_back() {
    let fix = fixture();
    let write = fix.write(1, 1, 1);
    eventually(|| write.has_ended());
    drop(write);
    assert_eq!(fix.nr_vacant(), 8);
}

#[test]
fn a_panic_in_a_callback_is_caught_and_leaves_the_store_usable() {
    let fix = fixture();
    fix.backing.set(Script::Panic);
    let written = outcome(fix.write(0, 2, 1));
    assert_eq!(written.of(0, 1), Err(StoreError::Panicked));
    assert_eq!(outcome(fix.read(0, 1)).error(), Some(StoreError::Panicked));
    assert_eq!(fix.count(Counter::Panics), 2);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(fix.write(0, 1, 1)), Outcome::DONE);
}

#[test]
fn transient_errors_are_tried_again_but_not_for_ever() {
    let fix = fixture();
    fix.backing.set(Script::Transient { times: 3 });
    assert_eq!(outcome(fix.write(0, 1, 1)), Outcome::DONE);
    assert_eq!(fix.count(Counter::Retries), 3);
    fix.backing.set(Script::Transient { times: usize::MAX });
    assert_eq!(outcome(fix.read(0, 1)).error(), Some(StoreError::Failed));
    assert_eq!(fix.count(Counter::ReadErrors), 1);
}

#[test]
fn one_bad_page_takes_no_other_with_it() {
    let fix = fixture();
    fix.backing.set(Script::FailPage(5));
    let outcome = outcome(fix.write(4, 4, 1));
    assert_eq!(outcome.nr_failed(), 1);
    let pages = [0, 1, 2, 3].map(|page| outcome.of(page, 1).is_ok());
    assert_eq!(pages, [true, false, true, true]);
    assert_eq!(outcome.of(2, 2), Ok(()));
    assert_eq!(outcome.of(0, 4), Err(StoreError::Failed));
    assert_eq!(fix.count(Counter::WriteErrors), 1);
    assert_eq!(fix.count(Counter::PagesWritten), 3);
}

#[test]
fn full_and_held_are_no_errors_of_the_device() {
    let fix = fixture();
    fix.backing.set(Script::Full);
    assert_eq!(outcome(fix.write(0, 32, 1)).error(), Some(StoreError::Full));
    fix.backing.set(Script::Hold);
    assert_eq!(outcome(fix.write(0, 3, 1)).error(), Some(StoreError::Held));
    let counts = [Counter::Full, Counter::Held, Counter::WriteErrors].map(|c| fix.count(c));
    assert_eq!(counts, [32, 3, 0]);
}

#[test]
fn a_stuck_worker_is_replaced_and_goes_when_it_comes_back() {
    let fix = fixture_with(thread::spawn, Duration::from_millis(20));
    fix.backing.set(Script::Stall);
    let stuck: Vec<_> = (0..4).map(|page| fix.read(page, 1)).collect();
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 4);
    // Nobody is left for this one until the four are found stuck.
    let late = fix.read(9, 1);
    assert_eq!(late.wait(within(200)).err(), Some(StoreError::Stalled));
    assert_eq!(fix.count(Counter::Quarantined), 4);
    assert_eq!(fix.backing.nr_calls.load(Relaxed), 5);

    fix.backing.set(Script::Work);
    for read in stuck {
        assert_eq!(outcome(read), Outcome::DONE);
    }
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn callbacks_know_whose_they_are_and_on_whose_behalf() {
    let fix = fixture();
    assert!(!callback::is_inside(pool()));
    outcome(fix.read(0, 1));
    let other = PoolTag::of(&fix);
    {
        let _inside = callback::enter(callback::current(), other);
        outcome(fix.read(0, 1));
    }
    assert_eq!(*fix.backing.was_inside.lock(), [true, true]);
}

#[test]
fn shutting_down_names_who_does_not_return() {
    let fix = fixture();
    fix.backing.set(Script::Stall);
    let stalled = fix.write(1, 1, 1);
    eventually(|| fix.backing.nr_calls.load(Relaxed) == 1);
    let busy = fix.store.shut_down(within(5)).expect_err("one is stalled");
    assert!(busy.to_string().contains("1 worker"), "{busy}");
    // What was under way ends, what comes later is refused.
    let late = fix.write(2, 1, 1);
    assert_eq!(outcome(late).error(), Some(StoreError::Closed));
    assert_eq!(*fix.watch.0.lock(), [1]);
    fix.backing.set(Script::Work);
    assert_eq!(outcome(stalled), Outcome::DONE);
    assert_eq!(fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn without_a_thread_transfers_are_refused() {
    let none: Spawn = |_, _| Err(std::io::Error::other("no thread"));
    let fix = fixture_with(none, Duration::from_secs(1));
    assert_eq!(
        outcome(fix.write(1, 3, 1)).of(2, 1),
        Err(StoreError::Closed)
    );
    assert!(fix.watch.0.lock().is_empty());
}

#[test]
fn workers_end_with_the_last_handle() {
    let fix = fixture();
    outcome(fix.read(0, 1));
    let Fixture { backing, store, .. } = fix;
    drop(store);
    eventually(|| Arc::strong_count(&backing) == 1);
}

/// A backing whose callback shuts its own store down, as the drop of the last handle to a pool may.
struct ClosesItself(Mutex<Option<Store>>);

impl Backing for ClosesItself {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        let store = self.0.lock().take().expect("it is called once");
        store
            .shut_down(within(10_000))
            .map_err(|busy| std::io::Error::other(busy).into())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        Ok(WriteOut::Written)
    }
}

#[test]
fn a_worker_does_not_wait_for_itself() {
    let backing = Arc::new(ClosesItself(Mutex::new(None)));
    let store = Store::new(StoreSpec {
        id: StoreId::all().next().expect("there are numbers"),
        pool: pool(),
        backing: Arc::clone(&backing) as _,
        in_file: None,
        watch: None,
        spawn: thread::spawn,
        stuck_after: Duration::from_secs(60),
    });
    let store = store.expect("there is room");
    *backing.0.lock() = Some(store.clone());
    let buf = store.take_buf(Direction::Read, soon()).expect("free");
    assert_eq!(outcome(store.submit_read(buf, 0, 1)), Outcome::DONE);
}

#[test]
fn many_threads_share_the_buffers() {
    let fix = fixture();
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let fix = &fix;
            scope.spawn(move || {
                for round in 0..40 {
                    let fill = (thread * 40 + round) as u8;
                    assert_eq!(outcome(fix.write(thread * 2, 2, fill)), Outcome::DONE);
                    let read = fix.read(thread * 2, 2).wait(soon()).expect("not stalled");
                    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == fill));
                }
            });
        }
    });
    assert_eq!(fix.count(Counter::Writes), 240);
    assert_eq!(fix.store.nr_in_flight(), 0);
}

// ---- reads without a worker ----

/// A file that rings read, or a pipe in its place: a device that answers when the test says so.
struct Readable {
    file: std::fs::File,
    is_intact: AtomicBool,
}

impl InFile for Readable {
    fn file(&self) -> Option<&std::fs::File> {
        Some(&self.file)
    }

    fn is_intact(&self, _page: u64, _bytes: &[u8]) -> bool {
        self.is_intact.load(Relaxed)
    }
}

/// A store that reads by rings. What its workers are asked for, the scripted backing answers.
struct ByRing {
    fix: Fixture,
    readable: Arc<Readable>,
}

/// The system's ability, which many containers lack: then there is nothing to test.
fn has_rings() -> bool {
    let has = uring::Ring::is_available();
    if !has {
        eprintln!("skipped: the system permits no io_uring");
    }
    has
}

fn by_ring(file: impl Into<std::fs::File>, spawn: Spawn) -> ByRing {
    let readable = Arc::new(Readable {
        file: file.into(),
        is_intact: AtomicBool::new(true),
    });
    let in_file = Some(Arc::clone(&readable) as _);
    let fix = fixture_in(in_file, spawn, Duration::from_secs(60));
    assert_eq!(fix.store.engine(), IoEngine::IoUring);
    ByRing { fix, readable }
}

/// A file of eight pages, the n-th of which is full of n.
fn numbered_file() -> std::fs::File {
    let file = unnamed_file("numbered");
    for n in 0..8 {
        let written = file.write_all_at(&[n as u8; PAGE_SIZE], n * PAGE_SIZE as u64);
        written.expect("it writes");
    }
    file
}

fn unnamed_file(what: &str) -> std::fs::File {
    static NR: AtomicUsize = AtomicUsize::new(0);
    let (pid, nr) = (std::process::id(), NR.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(format!("pagepool-{what}-{pid}-{nr}"));
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = options.open(&path).expect("temporary files can be made");
    std::fs::remove_file(&path).expect("it was just made");
    file
}

/// A pipe: its end as a file, and the other one.
fn pipe() -> (std::os::fd::OwnedFd, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    (reader.into(), writer)
}

impl ByRing {
    fn read(
        &self,
        page: u64,
        nr: usize,
        deadline: Option<Instant>,
    ) -> Result<Completed, StoreError> {
        let buf = self.fix.store.take_buf(Direction::Read, soon())?;
        self.fix.store.read(buf, page, nr, deadline)
    }

    fn nr_calls(&self) -> usize {
        self.fix.backing.nr_calls.load(Relaxed)
    }
}

const NO_THREAD_EXPECTED: Spawn = |_, _| panic!("a thread was started");

#[test]
fn a_file_is_read_without_a_thread() {
    if !has_rings() {
        return;
    }
    let store = by_ring(numbered_file(), NO_THREAD_EXPECTED);
    for round in 0..3 {
        let read = store.read(2, 3, soon()).expect("it is not stalled");
        assert_eq!(read.outcome, Outcome::DONE, "round {round}");
        for n in 0..3 {
            let bytes = read.buf.pages(n, 1);
            assert!(bytes.iter().all(|&byte| byte == 2 + n as u8));
        }
    }
    assert_eq!(store.fix.count(Counter::Reads), 3);
    assert_eq!(store.fix.count(Counter::PagesRead), 9);
    assert_eq!(store.fix.nr_vacant(), 8);
    assert_eq!(store.fix.store.shut_down(soon()), Ok(()));
    let late = store
        .read(0, 1, soon())
        .expect("it is refused, not stalled");
    assert_eq!(late.outcome.error(), Some(StoreError::Closed));
}

#[test]
fn a_backing_in_no_file_is_read_by_threads() {
    assert_eq!(fixture().store.engine(), IoEngine::Threads);
    let names = [IoEngine::Threads, IoEngine::IoUring].map(|engine| engine.to_string());
    assert_eq!(names, ["threads", "io_uring"]);
}

#[test]
fn a_read_that_comes_short_is_a_workers() {
    if !has_rings() {
        return;
    }
    let store = by_ring(numbered_file(), thread::spawn);
    store.fix.backing.set(Script::FailPage(8));
    // The file ends at page 8.
    let read = store.read(6, 3, soon()).expect("it is not stalled");
    assert_eq!(read.outcome.of(0, 2), Ok(()));
    assert_eq!(read.outcome.of(2, 1), Err(StoreError::Failed));
    assert_eq!(store.fix.count(Counter::Reads), 1);
    assert_eq!(store.fix.count(Counter::PagesRead), 2);
    assert_eq!(store.fix.count(Counter::ReadErrors), 1);
}

#[test]
fn a_read_that_fails_is_a_workers() {
    if !has_rings() {
        return;
    }
    // Who reads a directory is told that it is one.
    let directory = std::fs::File::open(std::env::temp_dir()).expect("it is there");
    let store = by_ring(directory, thread::spawn);
    let read = store.read(0, 2, soon()).expect("it is not stalled");
    assert_eq!((read.outcome, store.nr_calls()), (Outcome::DONE, 1));
    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == 0));
}

#[test]
fn a_read_that_does_not_match_is_a_workers() {
    if !has_rings() {
        return;
    }
    let store = by_ring(numbered_file(), thread::spawn);
    store.readable.is_intact.store(false, Relaxed);
    let read = store.read(5, 1, soon()).expect("it is not stalled");
    assert_eq!((read.outcome, store.nr_calls()), (Outcome::DONE, 1));
    // What the scripted backing has, not what the file has.
    assert!(read.buf.pages(0, 1).iter().all(|&byte| byte == 0));
}

#[test]
fn nothing_is_read_past_a_write_that_is_under_way() {
    if !has_rings() {
        return;
    }
    let store = by_ring(numbered_file(), thread::spawn);
    store.fix.backing.set(Script::Stall);
    let write = store.fix.write(5, 1, 9);
    let overlapping = store.read(4, 2, soon()).expect("it is refused");
    assert_eq!(overlapping.outcome.error(), Some(StoreError::Stalled));
    let beside = store.read(6, 1, soon()).expect("it is not stalled");
    assert_eq!(beside.outcome, Outcome::DONE);
    store.fix.backing.set(Script::Work);
    assert_eq!(outcome(write), Outcome::DONE);
}

#[test]
fn an_abandoned_read_by_a_ring_keeps_its_buffer_until_it_ends() {
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, thread::spawn);
    for nr in 1..=2 {
        let stalled = store.read(nr, 1, within(5));
        assert_eq!(stalled.err(), Some(StoreError::Stalled));
    }
    assert_eq!(store.fix.store.nr_in_flight(), 2);
    assert_eq!(store.fix.nr_vacant(), 6);
    assert_eq!(store.fix.count(Counter::Stalls), 2);
    assert_eq!(store.fix.count(Counter::Abandoned), 2);
    assert_eq!(store.fix.count(Counter::Reads), 0);
    // The workers wait for them, and serve the others meanwhile.
    assert_eq!(outcome(store.fix.write(1, 1, 1)), Outcome::DONE);

    device.write_all(&[1; PAGE_SIZE]).expect("it writes");
    eventually(|| store.fix.store.nr_in_flight() == 1);
    device.write_all(&[1; PAGE_SIZE]).expect("it writes");
    eventually(|| store.fix.store.nr_in_flight() == 0);
    assert_eq!(store.fix.nr_vacant(), 8);
    assert_eq!(store.fix.count(Counter::Reads), 2);
    assert_eq!(store.fix.count(Counter::PagesRead), 0);
    // The rings are as good as new.
    device.write_all(&[7; PAGE_SIZE]).expect("it writes");
    let read = store.read(0, 1, soon()).expect("it is not stalled");
    assert!(read.buf.pages(0, 1).iter().all(|&byte| byte == 7));
}

#[test]
fn an_abandoned_read_outlives_the_thread_that_submitted_it() {
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, thread::spawn);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(store.read(0, 1, within(5)).err(), Some(StoreError::Stalled)));
    });
    device.write_all(&[1; PAGE_SIZE]).expect("it writes");
    eventually(|| store.fix.store.nr_in_flight() == 0);
    assert_eq!(store.fix.nr_vacant(), 8);
}

#[test]
fn a_read_by_a_ring_that_is_late_is_no_error() {
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, NO_THREAD_EXPECTED);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.read(0, 1, soon()).map(|read| read.outcome));
        eventually(|| store.fix.store.nr_in_flight() == 1);
        thread::sleep(Duration::from_millis(20));
        device.write_all(&[1; PAGE_SIZE]).expect("it writes");
        assert_eq!(reader.join().expect("it returns"), Ok(Outcome::DONE));
    });
    assert_eq!(store.fix.count(Counter::Stalls), 0);
}

#[test]
fn shutting_down_waits_for_reads_by_rings() {
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, thread::spawn);
    let shut_down = |deadline| store.fix.store.shut_down(deadline);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.read(0, 1, soon()).map(|read| read.outcome));
        eventually(|| store.fix.store.nr_in_flight() == 1);
        let busy = shut_down(within(5)).expect_err("one is under way");
        assert!(busy.to_string().contains("1 reads"), "{busy}");
        let waiter = scope.spawn(|| shut_down(soon()));
        thread::sleep(Duration::from_millis(5));
        device.write_all(&[1; PAGE_SIZE]).expect("it writes");
        assert_eq!(reader.join().expect("it returns"), Ok(Outcome::DONE));
        assert_eq!(waiter.join().expect("it returns"), Ok(()));
    });
}

#[test]
fn a_read_that_is_abandoned_after_the_end_of_its_store_is_waited_for_too() {
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, thread::spawn);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.read(0, 1, within(300)).map(drop));
        eventually(|| store.fix.store.nr_in_flight() == 1);
        let busy = store.fix.store.shut_down(within(1));
        busy.expect_err("one is under way");
        assert_eq!(reader.join().expect("it returns"), Err(StoreError::Stalled));
    });
    let busy = store.fix.store.shut_down(within(5));
    busy.expect_err("a worker waits for it");
    device.write_all(&[1; PAGE_SIZE]).expect("it writes");
    assert_eq!(store.fix.store.shut_down(soon()), Ok(()));
}

#[test]
fn an_abandoned_read_without_a_thread_waits_for_the_next_who_comes() {
    static HAS_THREADS: AtomicBool = AtomicBool::new(false);
    let spawn: Spawn = |name, body| match HAS_THREADS.load(Relaxed) {
        true => thread::spawn(name, body),
        false => Err(std::io::Error::other("no thread")),
    };
    if !has_rings() {
        return;
    }
    let (file, mut device) = pipe();
    let store = by_ring(file, spawn);
    assert_eq!(store.read(0, 1, within(1)).err(), Some(StoreError::Stalled));
    device.write_all(&[1; PAGE_SIZE]).expect("it writes");
    assert_eq!(store.fix.store.nr_in_flight(), 1);
    HAS_THREADS.store(true, Relaxed);
    assert_eq!(outcome(store.fix.write(1, 1, 1)), Outcome::DONE);
    eventually(|| store.fix.store.nr_in_flight() == 0);
    assert_eq!(store.fix.nr_vacant(), 8);
}

#[test]
fn a_device_may_answer_after_everybody_has_gone() {
    if !has_rings() {
        return;
    }
    let none: Spawn = |_, _| Err(std::io::Error::other("no thread"));
    let (file, mut device) = pipe();
    let store = by_ring(file, none);
    for _ in 0..3 {
        assert_eq!(store.read(0, 1, within(1)).err(), Some(StoreError::Stalled));
    }
    // Closing a ring calls the read off or lets it end: in memory that is nobody's either way.
    let ByRing { fix, readable } = store;
    let Fixture { store, .. } = fix;
    drop(store);
    let more = vec![1u8; 3 * Buffer::BYTES];
    device.write_all(&[2; 3 * PAGE_SIZE]).expect("it writes");
    thread::sleep(Duration::from_millis(5));
    assert!(more.iter().all(|&byte| byte == 1));
    assert_eq!(Arc::strong_count(&readable), 1);
}

#[test]
fn many_threads_read_by_rings_and_write_by_workers() {
    if !has_rings() {
        return;
    }
    let file = unnamed_file("shared");
    let readable = Arc::new(Readable {
        file: file.try_clone().expect("it is open"),
        is_intact: AtomicBool::new(true),
    });
    let store = Store::new(StoreSpec {
        id: StoreId::all().next().expect("there are numbers"),
        pool: pool(),
        backing: Arc::new(FileBacking::from(file)),
        in_file: Some(readable),
        watch: None,
        spawn: thread::spawn,
        stuck_after: Duration::from_secs(60),
    });
    let store = store.expect("there is room");
    let write = |page: u64, fill: u8| {
        let mut buf = store.take_buf(Direction::Write, soon()).expect("free");
        buf.pages_mut(0, 2).fill(fill);
        assert_eq!(outcome(store.submit_write(buf, page, 2)), Outcome::DONE);
    };
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (store, write) = (&store, &write);
            scope.spawn(move || {
                for round in 0..40 {
                    let fill = (thread * 40 + round) as u8;
                    write(thread * 2, fill);
                    let buf = store.take_buf(Direction::Read, soon()).expect("free");
                    let read = store.read(buf, thread * 2, 2, soon()).expect("not stalled");
                    assert_eq!(read.outcome, Outcome::DONE);
                    assert!(read.buf.pages(0, 2).iter().all(|&byte| byte == fill));
                }
            });
        }
    });
    assert_eq!(store.counts().get(Counter::Reads), 320);
    assert_eq!(store.counts().get(Counter::PagesRead), 640);
    assert_eq!(store.nr_in_flight(), 0);
}

#[test]
fn stores_get_the_first_vacant_number() {
    let stores = Stores::new();
    let add = || {
        let make = |id| {
            Store::new(StoreSpec {
                id,
                pool: pool(),
                backing: Scripted::new(pool()),
                in_file: None,
                watch: None,
                spawn: thread::spawn,
                stuck_after: StoreSpec::STUCK_AFTER,
            })
        };
        stores.add(make).expect("there is room")
    };
    let ids: Vec<_> = std::iter::from_fn(add).map(|store| store.id()).collect();
    assert!(ids.iter().copied().eq(StoreId::all()));
    stores.remove(ids[4]);
    assert!(stores.get(ids[4]).is_none());
    assert_eq!(add().map(|store| store.id()), Some(ids[4]));
    assert_eq!(stores.iter().count(), StoreId::MAX);
}

#[test]
fn a_file_backing_grows_on_write_and_reads_zeros_beyond_its_end() {
    let path = std::env::temp_dir().join(format!("pagepool-backing-{}", std::process::id()));
    let file = FileBacking::create(&path).expect("temporary files can be made");
    let reopened = FileBacking::open(&path);
    std::fs::remove_file(&path).expect("it was just made");

    let mut bytes = vec![1; 2 * PAGE_SIZE];
    file.read_in(3, &mut bytes).expect("it reads");
    assert!(bytes.iter().all(|&byte| byte == 0) && file.is_empty().expect("it is open"));
    file.write_out(2, &[5; PAGE_SIZE]).expect("it writes");
    file.sync().expect("it syncs");
    assert_eq!(file.len().expect("it is open"), 3 * PAGE_SIZE as u64);
    let reopened = reopened.expect("it is there");
    reopened.read_in(2, &mut bytes).expect("it reads");
    assert!(bytes[..PAGE_SIZE].iter().all(|&byte| byte == 5));
    assert!(bytes[PAGE_SIZE..].iter().all(|&byte| byte == 0));
}
