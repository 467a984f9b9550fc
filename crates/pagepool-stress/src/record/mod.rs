//! Records how a pool and its load stand over time, for the page of `--report`.
//!
//! A thread of its own looks every few hundredths of a second: at [`stats`](pagepool::PagePool::stats),
//! [`state`](pagepool::PagePool::state), and the meters of all players. What it keeps has a fixed size, whatever the
//! length of the run: [`Reel`] and [`Film`] halve their resolution when they are full. All of it is taken before the
//! first pool is built, and goes on from phase to phase, so that it is no part of what a pool is measured by.
#![forbid(unsafe_code)]

pub(crate) mod buckets; // latencies, coarsely
mod change; // pictures as what changes from one to the next
mod film; // pictures of pageblocks, in bounded memory
mod look; // one look, as figures
mod recording; // what was recorded, for programs
mod reel; // samples, in bounded memory

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagepool::PagePool;

use self::{
    buckets::BUCKETS,
    film::Film,
    look::{KINDS, Layout, Seen, Sight},
    reel::Reel,
};
pub(crate) use self::{look::Meters, recording::Recording};
use crate::control::Control;

/// Between two looks, at first and at most: with every halving the time doubles until then.
const FIRST_PERIOD: Duration = Duration::from_millis(10);
const LAST_PERIOD: Duration = Duration::from_millis(80);

/// Between two pictures of all pageblocks, at first.
const FIRST_PICTURES: Duration = Duration::from_millis(20);

const STACK: usize = 256 << 10;
const NR_COUNTS: usize = KINDS.len() * BUCKETS;

/// The memory of a recording, on its way from phase to phase.
#[derive(Debug)]
struct Blank {
    reel: reel::Blank,
    film: film::Blank,
    sums: Vec<u64>,
}

/// Records the phases of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    blank: Mutex<Option<Blank>>,
    done: Mutex<Vec<Recording>>,
}

fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole after each step.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Takes the memory of all recordings, and touches it.
    pub(crate) fn new() -> Recorder {
        let blank = Blank {
            reel: reel::Blank::new(NR_COUNTS),
            film: film::Blank::new(),
            sums: vec![1; 2 * NR_COUNTS],
        };
        Recorder {
            blank: Mutex::new(Some(blank)),
            done: Mutex::new(Vec::new()),
        }
    }

    /// Begins to record a phase; one at a time. None if the system has no thread for it: the run is the same without,
    /// and the page says what was not recorded.
    pub(crate) fn begin(
        &self,
        pool: &PagePool,
        control: &Arc<Control>,
        meters: Meters,
    ) -> Option<Tape> {
        let blank = open(&self.blank).take()?;
        let camera = Camera::new(blank, pool, Arc::clone(control), meters);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .stack_size(STACK)
            .spawn(move || camera.run(&stopped))
            .ok()?;
        Some(Tape { stop, thread })
    }

    /// Keeps what was recorded of the phase called `name`.
    pub(crate) fn keep(&self, name: &str, taken: Taken) {
        let recording = Recording::new(name, &taken.0.layout, &taken.0.reel, &taken.0.film);
        *open(&self.blank) = Some(taken.0.into_blank());
        open(&self.done).push(recording);
    }

    /// Forgets what was kept last: a rehearsal.
    pub(crate) fn forget_last(&self) {
        open(&self.done).pop();
    }

    /// Takes all that was kept, in the order of the phases.
    pub(crate) fn recordings(&self) -> Vec<Recording> {
        std::mem::take(&mut *open(&self.done))
    }
}

/// A phase that is being recorded.
#[derive(Debug)]
pub(crate) struct Tape {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Camera>,
}

impl Tape {
    /// Has a last look, and ends.
    pub(crate) fn end(self) -> Taken {
        drop(self.stop);
        Taken(self.thread.join().expect("a look does not panic"))
    }
}

/// A phase that was recorded.
#[derive(Debug)]
pub(crate) struct Taken(Camera);

/// Looks, and writes down what it sees.
#[derive(Debug)]
struct Camera {
    layout: Layout,
    reel: Reel,
    film: Film,
    pool: Option<PagePool>,
    control: Arc<Control>,
    meters: Meters,
    begin: Instant,
    period: Duration,
    seen: Seen,
    row: Vec<f64>,
    picture: Vec<u8>,
    /// Pages moved out of each pageblock so far.
    moved_out: Vec<u64>,
    /// Latencies by kind and bucket, so far; and up to the last look.
    sums: Vec<u64>,
    counts: Vec<u32>,
}

impl Camera {
    fn new(blank: Blank, pool: &PagePool, control: Arc<Control>, meters: Meters) -> Camera {
        let layout = Layout::of(&pool.stats(), &pool.state());
        let mut sums = blank.sums;
        sums.fill(0);
        Camera {
            reel: Reel::new(blank.reel, layout.rules(), NR_COUNTS),
            film: Film::new(blank.film, layout.nr_blocks(), FIRST_PICTURES.as_secs_f64()),
            picture: Vec::with_capacity(layout.nr_blocks()),
            moved_out: vec![0; layout.nr_blocks()],
            row: Vec::with_capacity(layout.rules().len()),
            layout,
            pool: Some(pool.clone()),
            control,
            meters,
            begin: Instant::now(),
            period: FIRST_PERIOD,
            seen: Seen::default(),
            sums,
            counts: vec![0; NR_COUNTS],
        }
    }

    fn run(mut self, stopped: &mpsc::Receiver<()>) -> Camera {
        while stopped.recv_timeout(self.period) == Err(RecvTimeoutError::Timeout) {
            self.look(Film::wants);
        }
        self.look(Film::wants_last);
        // Not the last handle: the phase has one.
        self.pool = None;
        self
    }

    /// Looks, and takes a picture if the film wants one.
    fn look(&mut self, wants: fn(&Film, f64) -> bool) {
        let Some(pool) = &self.pool else { return };
        let (stats, state) = (pool.stats(), pool.state());
        let largest = self.read_meters();
        let sight = Sight {
            time: self.begin.elapsed().as_secs_f64(),
            stats: &stats,
            state: &state,
            control: Some(&self.control),
            largest,
        };
        let time = sight.time;
        self.seen.look(&self.layout, &sight, &mut self.row);
        if self.reel.add(&self.row, &self.counts) {
            match self.period < LAST_PERIOD {
                true => self.period *= 2,
                false => self.reel.lengthen(),
            }
        }
        if wants(&self.film, time) {
            self.layout.picture(&stats, &mut self.picture);
            self.layout.moved_out(&stats, &mut self.moved_out);
            self.film.add(time, &self.picture, &self.moved_out);
        }
    }

    /// Writes down which latencies there were since the last look; returns the largest of each kind.
    fn read_meters(&mut self) -> [f64; 3] {
        let mut largest = [0.0; 3];
        let (now, before) = self.sums.split_at_mut(NR_COUNTS);
        self.meters.read(now, &mut largest);
        for ((count, now), before) in self.counts.iter_mut().zip(now).zip(before) {
            *count = u32::try_from(*now - *before).unwrap_or(u32::MAX);
            *before = *now;
        }
        largest
    }

    fn into_blank(self) -> Blank {
        Blank {
            reel: self.reel.into_blank(),
            film: self.film.into_blank(),
            sums: self.sums,
        }
    }
}

#[cfg(test)]
mod tests {
    use pagepool::{Gfp, Order};
    use serde_json::Value;

    use super::*;
    use crate::{interrupt::Interrupt, tally::Tally};

    #[test]
    fn a_recording_has_what_happened_and_the_next_begins_anew() {
        let pool = PagePool::builder()
            .memory(16 << 20)
            .build()
            .expect("a pool");
        let control = Arc::new(Control::new(1, Interrupt::default()));
        let recorder = Recorder::new();
        for calls in [5_u64, 3] {
            let mut tally = Tally::new();
            let tape = recorder.begin(&pool, &control, Meters::of([&tally].into_iter()));
            let pages = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).expect("memory");
            for n in 1..=calls {
                tally.alloc_ns.saturating_record(n * 1000);
            }
            thread::sleep(Duration::from_millis(50));
            recorder.keep("some", tape.expect("a thread").end());
            drop(pages);
        }
        let found = serde_json::to_value(recorder.recordings()).expect("plain keys");
        for (recording, calls) in [(&found[0], 5_u64), (&found[1], 3)] {
            let counts = recording["latency"]["alloc"]["count"]
                .as_array()
                .expect("a list");
            assert!(counts.len() >= 2, "{counts:?}");
            assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), calls);
            let largest = recording["latency"]["alloc"]["max"]
                .as_array()
                .expect("a list");
            assert_eq!(
                largest.iter().filter_map(Value::as_u64).max(),
                Some(calls * 1000)
            );
            assert!(
                !recording["pageblocks"]["changes"]
                    .as_array()
                    .expect("a list")
                    .is_empty()
            );
        }
        assert!(recorder.recordings().is_empty());
    }

    #[test]
    fn a_rehearsal_is_forgotten() {
        let pool = PagePool::builder().memory(8 << 20).build().expect("a pool");
        let control = Arc::new(Control::new(1, Interrupt::default()));
        let recorder = Recorder::new();
        for name in ["played", "rehearsed"] {
            let tape = recorder.begin(&pool, &control, Meters::of(std::iter::empty()));
            recorder.keep(name, tape.expect("a thread").end());
        }
        recorder.forget_last();
        let kept: Vec<_> = recorder
            .recordings()
            .into_iter()
            .map(|kept| kept.phase)
            .collect();
        assert_eq!(kept, ["played"]);
    }
}
