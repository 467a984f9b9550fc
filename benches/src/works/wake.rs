//! How long until kswapd runs once an allocation asks for it? We expect at most 1.3 times a bare wake.
//!
//! The yardstick is a thread that sleeps in a futex and is woken by a store and one call. For kswapd a
//! pool stands just above its low mark; pages are allocated until one of the requests wakes it. The time
//! is from before that request, slow path and all, to the event that kswapd sends when it is awake.
//! Before every wake of either kind the sleeper has slept for as long.
//!
//! Whoever wakes runs on one CPU and the sleepers on another. Else the figure is that of the scheduler: it
//! may have a woken thread wait for its turn on the CPU of the waker, which watches the clock there.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{DaemonStart, Gfp, Order, PagePool, PagesUninit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::pin::pin_to;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::spread::Spread;

pub(crate) const ROWS: &[&str] = &["wake_p50", "wake_p90"];

/// How long a sleeper sleeps before it is woken.
const SLEEP: Duration = Duration::from_millis(1);

/// How long a wake may take at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wakes as often as the plan says by each means.
pub(crate) fn measure_wake(plan: &Plan) -> Result<Outcome, Failure> {
    if plan.cpus.len() < 2 {
        let why = "needs 2 CPUs, this process may use 1".to_owned();
        return Ok(Outcome::Skipped { works: ROWS, why });
    }
    let wakes = plan.scale.wakes;
    // The sleepers inherit this thread's CPU.
    pin_to(plan.cpus[1])?;
    let mut brink = Brink::open()?;
    let bare = Arc::new(Bare::default());
    let sleeper = thread::spawn({
        let bare = Arc::clone(&bare);
        move || bare.serve()
    });
    let contestants = vec![
        Contestant::new("futex", || samples(wakes, || bare.wake())),
        Contestant::new("kswapd", || samples(wakes, || brink.wake())),
    ];
    let outcome = contest(ROWS, contestants, plan, Placement::OneCpu);
    bare.end();
    sleeper.join().expect("a panic ends the process");
    outcome
}

fn samples(
    count: usize,
    mut wake: impl FnMut() -> Result<Duration, Failure>,
) -> Result<Vec<f64>, Failure> {
    let once = |_| Ok(wake()?.as_nanos() as f64);
    let all = (0..count)
        .map(once)
        .collect::<Result<Vec<f64>, Failure>>()?;
    let Spread { median, p90, .. } = Spread::of(all);
    Ok(vec![median, p90])
}

/// Moments that threads tell each other, in nanoseconds since a common start; 0 is none.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn now() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64 + 1
    }

    fn note(&self) {
        // Release: what the thread did before is seen by who takes the moment.
        self.0.store(Moment::now(), Ordering::Release);
    }

    fn forget(&self) {
        // Relaxed: nothing is passed on.
        self.0.store(0, Ordering::Relaxed);
    }

    /// The time from `begun` until the moment, which is waited for.
    fn since(&self, begun: u64) -> Result<Duration, Failure> {
        let waited = Instant::now();
        loop {
            // Acquire: pairs with the Release above.
            match self.0.load(Ordering::Acquire) {
                0 if waited.elapsed() > PATIENCE => {
                    return Err(Failure::broken("a thread that was woken did not run"));
                }
                0 => std::hint::spin_loop(),
                moment => return Ok(Duration::from_nanos(moment.saturating_sub(begun))),
            }
        }
    }
}

/// A thread that sleeps in a futex.
#[derive(Debug, Default)]
struct Bare {
    /// How often it was woken; what it sleeps on.
    word: AtomicU32,
    woken: Moment,
    is_over: AtomicBool,
}

impl Bare {
    fn serve(&self) {
        let mut seen = 0;
        // Relaxed: the word orders it.
        while !self.is_over.load(Ordering::Relaxed) {
            // Acquire: pairs with the Release in `ring`.
            while self.word.load(Ordering::Acquire) == seen {
                self.futex(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, seen);
            }
            self.woken.note();
            seen = seen.wrapping_add(1);
        }
    }

    fn wake(&self) -> Result<Duration, Failure> {
        thread::sleep(SLEEP);
        self.woken.forget();
        let begun = Moment::now();
        self.ring();
        self.woken.since(begun)
    }

    fn ring(&self) {
        self.word.fetch_add(1, Ordering::Release);
        self.futex(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.ring();
    }

    fn futex(&self, operation: libc::c_int, value: u32) {
        let word = ptr::from_ref(&self.word);
        let none = ptr::null::<libc::timespec>();
        // SAFETY: `word` is a live, aligned word for the whole call; the others are plain values, and no
        // timeout is given. What the call returns says nothing that the word does not.
        unsafe { libc::syscall(libc::SYS_futex, word, operation, value, none) };
    }
}

/// A pool just above its low mark.
struct Brink {
    pool: PagePool,
    /// Pages that are left beside what is held.
    most: usize,
    /// What is held all the time.
    _held: Vec<PagesUninit>,
}

const FLAGS: Gfp = Gfp::KERNEL.union(Gfp::NORETRY).union(Gfp::NOWARN);

impl Brink {
    fn open() -> Result<Brink, Failure> {
        Listener::listen()?;
        let built = PagePool::builder()
            .managed(64 << 20)
            .movable_share(0)
            .daemons(DaemonStart::AtOnce)
            .build();
        let pool =
            built.map_err(|error| Failure::broken(format!("a pool with kswapd: {error}")))?;
        let zones = &pool.stats().nodes[0].zones;
        let spare = 2 * zones.iter().map(|zone| zone.high).sum::<usize>();
        let mut held = Vec::new();
        while pool.stats().free_pages > spare {
            held.push(take(&pool)?);
        }
        Ok(Brink {
            pool,
            most: spare,
            _held: held,
        })
    }

    fn wake(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            thread::sleep(SLEEP);
            let pressed = self.press();
            // Into the zone, so that kswapd finds nothing to do and sleeps.
            self.pool.drain();
            if let Some(latency) = pressed? {
                return Ok(latency);
            }
        }
        Err(Failure::broken("no allocation woke kswapd"))
    }

    /// Allocates until that wakes kswapd; returns how long it took to run, or none if it was awake still.
    fn press(&self) -> Result<Option<Duration>, Failure> {
        let listener = Listener::the();
        let mut taken = Vec::with_capacity(self.most);
        while taken.len() < self.most {
            listener.woke.forget();
            listener.awake.forget();
            let begun = Moment::now();
            let Ok(page) = self.pool.alloc_pages_uninit(Order::ZERO, FLAGS) else {
                break;
            };
            // Relaxed: this thread has stored it, if anybody.
            if listener.woke.0.load(Ordering::Relaxed) != 0 {
                return listener.awake.since(begun).map(Some);
            }
            taken.push(page);
        }
        Ok(None)
    }
}

fn take(pool: &PagePool) -> Result<PagesUninit, Failure> {
    let page = pool.alloc_pages_uninit(Order::ZERO, FLAGS);
    page.map_err(|error| Failure::broken(format!("a page just above the low mark: {error}")))
}

/// Notes when kswapd is woken, and when it is awake.
#[derive(Debug, Default)]
struct Listener {
    woke: Moment,
    awake: Moment,
}

impl Listener {
    fn the() -> &'static Listener {
        static THE: OnceLock<Listener> = OnceLock::new();
        THE.get_or_init(Listener::default)
    }

    /// Has all threads' events come here from now on.
    fn listen() -> Result<(), Failure> {
        static DONE: OnceLock<Result<(), String>> = OnceLock::new();
        let set =
            || tracing::subscriber::set_global_default(Ears).map_err(|error| error.to_string());
        DONE.get_or_init(set).clone().map_err(Failure::broken)
    }

    fn moment_of(&self, name: &str) -> Option<&Moment> {
        match name {
            "mm_vmscan_wakeup_kswapd" => Some(&self.woke),
            "mm_vmscan_kswapd_wake" => Some(&self.awake),
            _ => None,
        }
    }
}

/// Hears two events, and costs the others nothing.
struct Ears;

impl Subscriber for Ears {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match Listener::the().moment_of(metadata.name()) {
            Some(_) => Interest::always(),
            None => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Listener::the().moment_of(metadata.name()).is_some()
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(moment) = Listener::the().moment_of(event.metadata().name()) {
            moment.note();
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
