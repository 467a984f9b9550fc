//! Where each thread of a run stands, and the watchdog that notices when one stands there for too long.
//!
//! A thread that works writes its place into its post, and counts each step that it finishes: an
//! attempt that ends in an error is a step, too. The watchdog raises its alarm about a thread that
//! has a place and finishes nothing for the limit. Nothing is ordered by a post's words; what the
//! alarm prints is where the threads stood at about the same time.
#![forbid(unsafe_code)]

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam::utils::CachePadded;

use crate::control::Control;

/// How often the watchdog looks.
const PERIOD: Duration = Duration::from_millis(250);
const STACK: usize = 256 << 10;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing; it waits for orders.
    Resting,
    /// A load that counts its events for all threads together.
    Playing,
    /// Waits for its turn at a slot of the working set.
    Queueing(u32),
    Reading(u32),
    Writing(u32),
    Allocating(u32),
    Freeing(u32),
    /// Verifies the pool.
    Verifying,
    /// Builds the pool, or gives all of its memory back.
    Housekeeping,
}

impl Place {
    fn to_word(self) -> u64 {
        let (code, slot) = match self {
            Place::Resting => (0, 0),
            Place::Playing => (1, 0),
            Place::Queueing(slot) => (2, slot),
            Place::Reading(slot) => (3, slot),
            Place::Writing(slot) => (4, slot),
            Place::Allocating(slot) => (5, slot),
            Place::Freeing(slot) => (6, slot),
            Place::Verifying => (7, 0),
            Place::Housekeeping => (8, 0),
        };
        code << 32 | u64::from(slot)
    }

    fn from_word(word: u64) -> Place {
        let slot = word as u32;
        match word >> 32 {
            0 => Place::Resting,
            1 => Place::Playing,
            2 => Place::Queueing(slot),
            3 => Place::Reading(slot),
            4 => Place::Writing(slot),
            5 => Place::Allocating(slot),
            6 => Place::Freeing(slot),
            7 => Place::Verifying,
            _ => Place::Housekeeping,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Resting => write!(f, "at rest"),
            Place::Playing => write!(f, "playing"),
            Place::Queueing(slot) => write!(f, "waiting for its turn at folio {slot}"),
            Place::Reading(slot) => write!(f, "reading folio {slot}"),
            Place::Writing(slot) => write!(f, "writing folio {slot}"),
            Place::Allocating(slot) => write!(f, "allocating folio {slot}"),
            Place::Freeing(slot) => write!(f, "freeing folio {slot}"),
            Place::Verifying => write!(f, "verifying the pool"),
            Place::Housekeeping => write!(f, "building the pool or giving its memory back"),
        }
    }
}

/// One thread's post.
#[derive(Debug, Default)]
struct Post {
    place: AtomicU64,
    steps: AtomicU64,
}

/// The posts of all players' threads, and behind them the conductor's.
#[derive(Debug)]
pub(crate) struct Posts {
    posts: Box<[CachePadded<Post>]>,
}

impl Posts {
    pub(crate) fn new(nr_workers: usize) -> Posts {
        Posts {
            posts: (0..=nr_workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Says where thread `worker` stands.
    #[inline]
    pub(crate) fn stand(&self, worker: usize, place: Place) {
        self.posts[worker].place.store(place.to_word(), Relaxed);
    }

    /// Counts a step of thread `worker`.
    #[inline]
    pub(crate) fn step(&self, worker: usize) {
        // Only the thread itself writes its count.
        let steps = &self.posts[worker].steps;
        steps.store(steps.load(Relaxed) + 1, Relaxed);
    }

    /// The conductor does something that is one step.
    pub(crate) fn conduct<R>(&self, place: Place, work: impl FnOnce() -> R) -> R {
        let conductor = self.posts.len() - 1;
        self.stand(conductor, place);
        let result = work();
        self.step(conductor);
        self.stand(conductor, Place::Resting);
        result
    }

    fn name(&self, worker: usize) -> String {
        match worker + 1 == self.posts.len() {
            true => "conductor".to_owned(),
            false => format!("player{worker}"),
        }
    }

    /// Place and steps of a thread; those that play count all their events together.
    fn look(&self, worker: usize, played: u64) -> (u64, u64) {
        let post = &self.posts[worker];
        let (place, steps) = (post.place.load(Relaxed), post.steps.load(Relaxed));
        match Place::from_word(place) {
            Place::Playing => (place, steps.wrapping_add(played)),
            _ => (place, steps),
        }
    }
}

/// What a thread was last seen at, and since when.
struct Sight {
    seen: (u64, u64),
    since: Instant,
}

/// A thread that watches all others; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching. `alarm` is called at most once, with a line for each thread.
    pub(crate) fn start(
        control: Arc<Control>,
        limit: Duration,
        alarm: impl FnOnce(Vec<String>) + Send + 'static,
    ) -> io::Result<Watchdog> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .stack_size(STACK)
            .spawn(move || watch(&control, limit, &told, alarm))?;
        Ok(Watchdog {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic, but in its alarm, which ends the process.
            let _ = thread.join();
        }
    }
}

fn watch(control: &Control, limit: Duration, stop: &AtomicBool, alarm: impl FnOnce(Vec<String>)) {
    let posts = control.posts();
    let look = |worker| posts.look(worker, control.played());
    let sight = |worker| Sight {
        seen: look(worker),
        since: Instant::now(),
    };
    let mut sights: Vec<Sight> = (0..posts.posts.len()).map(sight).collect();
    while !stop.load(Relaxed) {
        thread::park_timeout(PERIOD);
        let mut is_hung = false;
        for (worker, sight) in sights.iter_mut().enumerate() {
            let now = look(worker);
            let rests = Place::from_word(now.0) == Place::Resting;
            if rests || now != sight.seen {
                (sight.seen, sight.since) = (now, Instant::now());
            }
            is_hung |= sight.since.elapsed() >= limit;
        }
        if is_hung {
            alarm(describe(posts, &sights));
            return;
        }
    }
}

fn describe(posts: &Posts, sights: &[Sight]) -> Vec<String> {
    let line = |(worker, sight): (usize, &Sight)| {
        let (place, steps) = sight.seen;
        format!(
            "{} has been {} for {:.1} s, after {steps} steps",
            posts.name(worker),
            Place::from_word(place),
            sight.since.elapsed().as_secs_f64(),
        )
    };
    sights.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::interrupt::Interrupt;

    fn alarm_of(work: impl Fn(&Posts)) -> Option<Vec<String>> {
        let control = Arc::new(Control::new(2, Interrupt::default()));
        let (said, heard) = mpsc::channel();
        let limit = Duration::from_millis(300);
        let dog = Watchdog::start(Arc::clone(&control), limit, move |lines| {
            said.send(lines).expect("somebody listens");
        })
        .expect("a thread");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1500) {
            work(control.posts());
            thread::sleep(Duration::from_millis(20));
        }
        drop(dog);
        heard.try_recv().ok()
    }

    #[test]
    fn a_thread_that_stands_still_raises_the_alarm_with_its_place() {
        let lines = alarm_of(|posts| {
            posts.stand(0, Place::Reading(7));
            posts.stand(1, Place::Writing(3));
            posts.step(1);
        })
        .expect("an alarm");
        assert!(
            lines[0].starts_with("player0 has been reading folio 7 for"),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn threads_that_rest_or_get_on_raise_no_alarm() {
        let lines = alarm_of(|posts| {
            posts.stand(0, Place::Reading(7));
            posts.step(0);
        });
        assert_eq!(lines, None);
    }

    #[test]
    fn places_survive_their_word() {
        for place in [
            Place::Resting,
            Place::Playing,
            Place::Freeing(9),
            Place::Verifying,
        ] {
            assert_eq!(Place::from_word(place.to_word()), place);
        }
    }
}
