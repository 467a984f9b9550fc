//! Where events are noted down by those to whom they happen.
//!
//! A thread writes to the lane that its number says, or to the next that is not taken. Which lane an event is in
//! means nothing: the numbers give the order (W3).
//!
//! **Invariants**
//! - B1: a lane that is shut takes no event: after [`Recorder::disarm`] there is none that nobody collects.

#![forbid(unsafe_code)]

use std::mem;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use super::event::{Event, Happening};
use super::stock::{Chunk, Stock};
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::sync::clock::{self, Instant};
use crate::sync::{cpu, thread};

/// Lanes at most. There are a power of two, so that none is found by a division.
const MAX_LANES: usize = 64;

const _: () = assert!(MAX_LANES.is_power_of_two());

/// What is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// Nothing.
    Off = 0,
    /// Everything but accesses to folios.
    NoAccesses = 1,
    /// Of accesses, the first since reclaim last looked at the folio.
    FirstUses = 2,
    /// Everything.
    All = 3,
}

/// One recording.
#[derive(Debug)]
pub(crate) struct Session {
    stock: Arc<Stock>,
    began: Instant,
    /// The number of the next event.
    next: AtomicU64,
    dropped: AtomicU64,
    /// Events that got no number.
    missed: AtomicU64,
}

/// What a recording has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Yield {
    /// Events that happened and were noted, those included that were overwritten.
    pub(crate) noted: u64,
    /// Events that found no room.
    pub(crate) dropped: u64,
    /// How long it has lasted, in nanoseconds.
    pub(crate) time_ns: u64,
}

impl Session {
    pub(crate) fn new(stock: Arc<Stock>) -> Session {
        Session {
            stock,
            began: clock::now(),
            next: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }

    fn time_ns(&self) -> u64 {
        clock::now()
            .saturating_duration_since(self.began)
            .as_nanos() as u64
    }

    /// What it has come to so far.
    pub(crate) fn so_far(&self) -> Yield {
        // Relaxed: counts by themselves; exact once the lanes were shut, whose locks order them.
        let numbers = self.next.load(Ordering::Relaxed);
        let dropped = self.dropped.load(Ordering::Relaxed);
        Yield {
            noted: numbers - dropped.min(numbers),
            dropped: dropped + self.missed.load(Ordering::Relaxed),
            time_ns: self.time_ns(),
        }
    }

    fn note(&self, chunk: &mut Chunk, thread: u32, what: Happening) {
        // Relaxed: one read-modify-write of it comes before another, if what they are about does (W3).
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if chunk.is_full() && !self.stock.exchange(chunk) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let event = Event {
            number,
            time_ns: self.time_ns(),
            thread,
            what,
        };
        chunk.push(&event.encode());
    }
}

/// A lane that is open.
#[derive(Debug)]
struct Lane {
    session: Arc<Session>,
    chunk: Chunk,
}

/// The lanes of a pool, and whether they are open.
#[derive(Debug)]
pub(crate) struct Recorder {
    level: AtomicU8,
    /// Events that found no lane.
    missed: AtomicU64,
    /// Whether there is a recording. Held while the level changes.
    is_taken: CoreMutex<bool>,
    /// A lane is shut while it is none (B1).
    lanes: Box<[CachePadded<CoreMutex<Option<Lane>>>]>,
}

impl Recorder {
    /// Lanes for this machine's CPUs, all of them shut.
    pub(crate) fn new() -> Recorder {
        let lanes = (2 * cpu::possible()).next_power_of_two().min(MAX_LANES);
        Recorder {
            level: AtomicU8::new(Level::Off as u8),
            missed: AtomicU64::new(0),
            is_taken: CoreMutex::new(false),
            lanes: (0..lanes).map(|_| CachePadded::default()).collect(),
        }
    }

    /// How many lanes there are.
    pub(crate) fn nr_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Takes the recorder for a recording; false if it is taken.
    pub(crate) fn take(&self) -> bool {
        !mem::replace(&mut *self.is_taken.lock(), true)
    }

    /// Lets the recorder go, once it is disarmed.
    pub(crate) fn release(&self) {
        *self.is_taken.lock() = false;
    }

    /// Opens the lanes for a recording, for who has the turn; nothing is noted before [`set_level`](Self::set_level).
    pub(crate) fn arm(&self, session: &Arc<Session>) {
        // Relaxed: a count.
        self.missed.store(0, Ordering::Relaxed);
        for lane in &self.lanes {
            *lane.lock() = Some(Lane {
                session: Arc::clone(session),
                chunk: Chunk::default(),
            });
        }
    }

    /// Says what is noted from now on.
    pub(crate) fn set_level(&self, level: Level) {
        let _turn = self.is_taken.lock();
        // Relaxed: a hint; whether anything is noted says the lane, under its lock.
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Shuts all lanes, and gives what is in them to the stock, which is told that it is all.
    pub(crate) fn disarm(&self, session: &Session) {
        self.set_level(Level::Off);
        for lane in &self.lanes {
            // The last of a lane goes without its lock.
            let shut = mem::take(&mut *lane.lock());
            if let Some(lane) = shut {
                session.stock.take(lane.chunk);
            }
        }
        // Relaxed: counts; who was late to find a lane is late to be counted.
        let missed = self.missed.load(Ordering::Relaxed);
        session.missed.store(missed, Ordering::Relaxed);
        session.stock.finish();
    }

    #[inline]
    fn is_at_least(&self, level: Level) -> bool {
        // Relaxed: as in `set_level`.
        self.level.load(Ordering::Relaxed) >= level as u8
    }

    /// Whether every access to a folio is noted.
    #[inline]
    pub(crate) fn notes_all_accesses(&self) -> bool {
        self.is_at_least(Level::All)
    }

    /// Does something, unless every access to a folio is noted from now on.
    pub(crate) fn unless_all_accesses<T>(&self, work: impl FnOnce() -> T) {
        // Nobody waits for it: there is another time. Under it, the level does not rise.
        if let Some(_taken) = self.is_taken.try_lock()
            && !self.notes_all_accesses()
        {
            work();
        }
    }

    /// Notes an access to a folio, the first one since reclaim last looked or another one, if such are noted.
    #[inline]
    pub(crate) fn note_access(&self, is_first: bool, what: impl FnOnce() -> Happening) {
        let level = if is_first {
            Level::FirstUses
        } else {
            Level::All
        };
        if self.is_at_least(level) {
            self.write(what());
        }
    }

    /// Notes what happens. Who gives something up does so before, who gets something, once it has it (W3).
    #[inline]
    pub(crate) fn note(&self, what: impl FnOnce() -> Happening) {
        if self.is_at_least(Level::NoAccesses) {
            self.write(what());
        }
    }

    /// The time, for an event that says how long it took, if events are noted.
    #[inline]
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.is_at_least(Level::NoAccesses).then(clock::now)
    }

    #[cold]
    #[inline(never)]
    fn write(&self, what: Happening) {
        let thread = thread::os_id();
        let last = self.lanes.len() - 1;
        for turn in 0..=last {
            let lane = &self.lanes[(thread as usize + turn) & last];
            let Some(mut lane) = lane.try_lock() else {
                continue;
            };
            if let Some(Lane { session, chunk }) = &mut *lane {
                session.note(chunk, thread, what);
            }
            return;
        }
        // All of them are taken, by threads that were preempted (W2). Relaxed: a count.
        self.missed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Nanoseconds since then, as an event has them.
pub(crate) fn took_ns(begin: Option<Instant>) -> u32 {
    let took = begin.map(|begin| clock::now().saturating_duration_since(begin));
    took.map_or(0, |took| u32::try_from(took.as_nanos()).unwrap_or(u32::MAX))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::super::code::{EVENT_BYTES, EventBytes};
    use super::super::stock::Find;
    use super::*;

    fn events(stock: &Stock) -> Vec<Event> {
        let mut events = Vec::new();
        while let Find::Chunk(chunk) = stock.find() {
            let each = chunk.bytes().chunks_exact(EVENT_BYTES);
            events.extend(each.map(|bytes| {
                let bytes: EventBytes = bytes.try_into().unwrap();
                Event::decode(&bytes).unwrap()
            }));
        }
        events.sort_by_key(|event| event.number);
        events
    }

    fn note(recorder: &Recorder, folio: u32) {
        recorder.note(|| Happening::Close { folio });
    }

    #[test]
    fn what_happens_before_and_after_a_recording_is_not_noted() {
        let recorder = Recorder::new();
        note(&recorder, 1);
        let stock = Arc::new(Stock::new(8, 4, false));
        let session = Arc::new(Session::new(Arc::clone(&stock)));
        recorder.arm(&session);
        note(&recorder, 2);
        recorder.set_level(Level::NoAccesses);
        note(&recorder, 3);
        recorder.note_access(true, || Happening::Close { folio: 4 });
        note(&recorder, 5);
        recorder.disarm(&session);
        note(&recorder, 6);
        let noted: Vec<_> = events(&stock).iter().map(|event| event.what).collect();
        assert_eq!(noted, [3, 5].map(|folio| Happening::Close { folio }));
        assert_eq!((session.so_far().noted, session.so_far().dropped), (2, 0));
    }

    #[test]
    fn of_many_threads_every_event_is_noted_once_or_counted_as_dropped() {
        for chunks in [8, 200] {
            let recorder = Arc::new(Recorder::new());
            let stock = Arc::new(Stock::new(chunks, 8, false));
            let session = Arc::new(Session::new(Arc::clone(&stock)));
            recorder.arm(&session);
            recorder.set_level(Level::All);
            let threads = [0, 1, 2].map(|thread| {
                let recorder = Arc::clone(&recorder);
                std::thread::spawn(move || {
                    (0..200).for_each(|n| note(&recorder, thread * 1000 + n));
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            recorder.disarm(&session);
            let events = events(&stock);
            let Yield { noted, dropped, .. } = session.so_far();
            assert_eq!((noted + dropped, noted), (600, events.len() as u64));
            assert_eq!(dropped > 0, chunks == 8);
            // Of one thread, in the order in which they happened.
            for thread in 0..3 {
                let of_thread = events.iter().filter_map(|event| match event.what {
                    Happening::Close { folio } => (folio / 1000 == thread).then_some(folio),
                    _ => None,
                });
                assert!(of_thread.is_sorted());
            }
        }
    }
}
