//! Reads without a worker.

#![forbid(unsafe_code)]

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;
use crate::backing::buffer::Buffer;
use crate::sync::atomic::AtomicBool;

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
    let refused = [StoreError::Late, StoreError::Stalled].map(Some);
    assert!(refused.contains(&overlapping.outcome.error()));
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
        let stalled = store.read(nr, 1, within(25));
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
        scope.spawn(|| {
            let stalled = store.read(0, 1, within(25)).err();
            assert_eq!(stalled, Some(StoreError::Stalled));
        });
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
        let busy = shut_down(within(25)).expect_err("one is under way");
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
        let busy = store.fix.store.shut_down(within(25));
        busy.expect_err("one is under way");
        assert_eq!(reader.join().expect("it returns"), Err(StoreError::Stalled));
    });
    let busy = store.fix.store.shut_down(within(25));
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
    assert_eq!(
        store.read(0, 1, within(25)).err(),
        Some(StoreError::Stalled)
    );
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
        assert_eq!(
            store.read(0, 1, within(25)).err(),
            Some(StoreError::Stalled)
        );
    }
    // Closing a ring calls the read off or lets it end: in memory that is nobody's either way.
    let ByRing { fix, readable } = store;
    let Fixture { store, .. } = fix;
    drop(store);
    let more = vec![1u8; 3 * Buffer::BYTES];
    device.write_all(&[2; 3 * PAGE_SIZE]).expect("it writes");
    thread::sleep(Duration::from_millis(5));
    assert!(more.iter().all(|&byte| byte == 1));
    eventually(|| Arc::strong_count(&readable) == 1);
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
        max_asks: StoreSpec::ONE_ASK,
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
