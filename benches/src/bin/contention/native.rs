//! What this machine takes, on its own CPUs: for an instruction that is locked, a line that comes from another CPU, a
//! call, a wake; and for the loads themselves, by one thread and by two.
//!
//! Of many short rounds the quickest counts, and of those of a load the last of the quickest tenth: whatever else the
//! machine does only ever adds to them.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::loads::{Load, Scene, Worker};
use crate::pin::pin_to;
use crate::virtual_cpus;

/// Rounds, each so short that there are some in which nothing else ran on either CPU.
const ROUNDS: usize = 300;

/// What was measured, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) locked_ns: f64,
    pub(crate) line_ns: f64,
    pub(crate) syscall_ns: f64,
    pub(crate) pause_ns: f64,
    pub(crate) wake_ns: f64,
}

/// Measures on the first two of `cpus`.
pub(crate) fn measure(cpus: &[usize]) -> Result<Measured, Failure> {
    let [one, other] = two_of(cpus)?;
    pin_to(one)?;
    let word = AtomicU32::new(0);
    Ok(Measured {
        locked_ns: quickest(10_000, || {
            // Relaxed: nobody else has it.
            word.fetch_add(1, Ordering::Relaxed);
        }),
        // There and back a word is stored and read twice, and each time the line moves.
        line_ns: there_and_back([one, other], 500)? / 4.0,
        syscall_ns: quickest(500, || ring(&word)),
        pause_ns: quickest(5_000, std::hint::spin_loop),
        wake_ns: wake([one, other])?,
    })
}

fn two_of(cpus: &[usize]) -> Result<[usize; 2], Failure> {
    match cpus {
        [one, other, ..] => Ok([*one, *other]),
        _ => Err(Failure::broken(
            "what a line costs that comes from another CPU is measured on two, and this process may use one",
        )),
    }
}

/// Nanoseconds for one time, of the quickest round.
fn quickest(times: usize, mut once: impl FnMut()) -> f64 {
    let mut round = || {
        let begun = Instant::now();
        for _ in 0..times {
            once();
        }
        begun.elapsed().as_nanos() as f64 / times as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// A word on a line of its own, that two threads store in turn: the first the even numbers, the other the odd ones.
#[repr(align(128))]
struct Ball(AtomicU32);

impl Ball {
    // Relaxed throughout: the word says all there is to say.
    fn await_it(&self, number: u32) {
        while self.0.load(Ordering::Relaxed) != number {
            std::hint::spin_loop();
        }
    }

    fn send(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// Nanoseconds for a word to go from one CPU to the other and back, of the quickest round.
fn there_and_back(cpus: [usize; 2], times: u32) -> Result<f64, Failure> {
    let ball = Ball(AtomicU32::new(0));
    let play = |own: u32, cpu: usize| -> Result<f64, Failure> {
        pin_to(cpu)?;
        let mut best = f64::INFINITY;
        for round in 0..ROUNDS as u32 {
            let begun = Instant::now();
            for time in round * times..(round + 1) * times {
                ball.await_it(2 * time + own);
                ball.send(2 * time + own + 1);
            }
            best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(times));
        }
        Ok(best)
    };
    let play = &play;
    thread::scope(|scope| {
        let other = scope.spawn(move || play(1, cpus[1]));
        let first = play(0, cpus[0]);
        other.join().expect("playing does not panic")?;
        first
    })
}

/// Nanoseconds from a call that wakes to the woken thread running: what it took at the quickest tenth of all times.
/// The thread sleeps for a moment each time, on a CPU of its own.
fn wake(cpus: [usize; 2]) -> Result<f64, Failure> {
    const TIMES: u32 = 300;
    const ASLEEP: Duration = Duration::from_micros(50);
    let bell = Ball(AtomicU32::new(0));
    let origin = Instant::now();
    let listen = || -> Result<Vec<Duration>, Failure> {
        pin_to(cpus[1])?;
        let hear = |time: u32| {
            // Relaxed: the word says all there is to say.
            while bell.0.load(Ordering::Relaxed) <= 2 * time {
                sleep_on(&bell.0, 2 * time);
            }
            let heard = origin.elapsed();
            bell.send(2 * time + 2);
            heard
        };
        Ok((0..TIMES).map(hear).collect())
    };
    let call = |time: u32| {
        bell.await_it(2 * time);
        let asleep_at = Instant::now();
        while asleep_at.elapsed() < ASLEEP {
            std::hint::spin_loop();
        }
        let called = origin.elapsed();
        bell.send(2 * time + 1);
        ring(&bell.0);
        called
    };
    thread::scope(|scope| {
        let listener = scope.spawn(listen);
        pin_to(cpus[0])?;
        let called: Vec<Duration> = (0..TIMES).map(call).collect();
        let heard = listener.join().expect("listening does not panic")?;
        let took = |(heard, called): (Duration, &Duration)| heard.saturating_sub(*called);
        let mut took: Vec<Duration> = heard.into_iter().zip(&called).map(took).collect();
        took.sort_unstable();
        Ok(took[took.len() / 10].as_nanos() as f64)
    })
}

fn ring(word: &AtomicU32) {
    let all = i32::MAX;
    // SAFETY: the word is there during the call, which only looks who sleeps on its address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, all) };
}

fn sleep_on(word: &AtomicU32, seen: u32) {
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is there during the call, and there is no deadline to be read.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            forever,
        )
    };
}

/// Allocations with their frees a second, of as many threads as there are `cpus`: in the last of the quickest tenth
/// of all rounds in which no thread lost its CPU.
pub(crate) fn rate(load: Load, cpus: &[usize]) -> Result<f64, Failure> {
    let scene = Scene::new(load, cpus.len()).map_err(|error| Failure::broken(error.to_string()))?;
    let arrivals = AtomicU32::new(0);
    let work = |thread: usize| -> Result<Vec<Option<Round>>, Failure> {
        pin_to(cpus[thread])?;
        virtual_cpus::settle_on(load.cpu_of(thread));
        let mut worker = scene.worker(thread);
        for _ in 0..worker.warm_operations() {
            worker.operate();
        }
        let mut round = |number: usize| {
            meet(&arrivals, ((number + 1) * cpus.len()) as u32);
            Round::of(&mut worker)
        };
        Ok((0..ROUNDS).map(&mut round).collect())
    };
    let work = &work;
    let rounds: Vec<Vec<Option<Round>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cpus.len())
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect::<Result<_, _>>()
    })?;
    let of_round = |round: usize| together(rounds.iter().map(|thread| thread[round]));
    let mut of_rounds: Vec<f64> = (0..ROUNDS).filter_map(of_round).collect();
    of_rounds.sort_by(f64::total_cmp);
    let last = of_rounds.len().checked_sub(1 + of_rounds.len() / 10);
    let rate = last.and_then(|last| of_rounds.get(last));
    rate.copied().ok_or_else(|| {
        Failure::broken(
            "other work took the CPUs in every round: run this on a machine that is quieter",
        )
    })
}

/// Waits until as many have come as there are to be, without sleep: all begin at the same time.
fn meet(arrivals: &AtomicU32, all: u32) {
    // Relaxed: nothing else is exchanged by it.
    arrivals.fetch_add(1, Ordering::Relaxed);
    while arrivals.load(Ordering::Relaxed) < all {
        std::hint::spin_loop();
    }
}

/// What a thread got done in a while.
#[derive(Clone, Copy)]
struct Round {
    begun: Instant,
    rate: f64,
}

/// How long a round is.
const WHILE: Duration = Duration::from_millis(2);

impl Round {
    /// None, if the thread lost its CPU meanwhile.
    fn of(worker: &mut impl Worker) -> Option<Round> {
        const BETWEEN_LOOKS: usize = 16;
        let losses = losses_of_cpu();
        let begun = Instant::now();
        let mut done = 0;
        loop {
            for _ in 0..BETWEEN_LOOKS {
                done += black_box(worker.operate());
            }
            let elapsed = begun.elapsed();
            if elapsed >= WHILE {
                let rate = done as f64 / 2.0 / elapsed.as_secs_f64();
                return (losses == losses_of_cpu()).then_some(Round { begun, rate });
            }
        }
    }
}

/// What threads got done together; none, if one lost its CPU, or they did not begin at the same time: who waited for
/// the others may have lost his CPU before.
fn together(rounds: impl Iterator<Item = Option<Round>>) -> Option<f64> {
    let rounds: Vec<Round> = rounds.collect::<Option<_>>()?;
    let first = rounds.iter().map(|round| round.begun).min()?;
    let is_late = |round: &Round| round.begun - first > WHILE / 20;
    (!rounds.iter().any(is_late)).then(|| rounds.iter().map(|round| round.rate).sum())
}

/// How often the system took the CPU from the calling thread.
fn losses_of_cpu() -> libc::c_long {
    // SAFETY: all zeros is a value of this type.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live value of the type that the call fills.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(status, 0, "every thread has a usage");
    usage.ru_nivcsw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_count_that_all_threads_did_at_the_same_time() {
        let begun = Instant::now();
        let round = |late_us: u64, rate: f64| {
            let begun = begun + Duration::from_micros(late_us);
            Some(Round { begun, rate })
        };
        assert_eq!(
            together([round(0, 2.0), round(90, 3.0)].into_iter()),
            Some(5.0)
        );
        assert_eq!(together([round(0, 2.0), round(110, 3.0)].into_iter()), None);
        assert_eq!(together([round(110, 2.0), round(0, 3.0)].into_iter()), None);
        assert_eq!(together([round(0, 2.0), None].into_iter()), None);
    }
}
