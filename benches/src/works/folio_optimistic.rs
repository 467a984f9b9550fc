//! What does a read without a trace cost? We expect a load and a few comparisons: within 1 ns of a raw
//! load where all is cached, within 6 ns where folios are scattered, and the same beside another reader.
//!
//! Eight bytes are read at a time. The yardstick reads the same addresses by raw pointer: the folios are
//! pinned for it once, outside the clock. Scattered reads of both kinds find their pointer or handle in
//! an array, at the same random places.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pagepool::{Folio, FolioPin, PAGE_SIZE};

use super::companion::Companion;
use super::{folio_of, pool_of, timed_on_cpu};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::pin::pin_to;
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const HOT: &[&str] = &["optimistic_hot", "optimistic_chain"];
pub(crate) const SCATTERED: &[&str] = &["optimistic_scattered"];
pub(crate) const TWICE: &[&str] = &["optimistic_t2"];

const WORD: usize = size_of::<u64>();

/// Reads words of one folio, one after the other.
pub(crate) fn measure_hot(plan: &Plan) -> Result<Outcome, Failure> {
    let reads = plan.scale.holds;
    let pool = pool_of(64 << 20)?;
    let mut folio = folio_of(&pool, PAGE_SIZE)?;
    link_words(&mut folio)?;
    let pinned = folio
        .pin()
        .map_err(|error| Failure::broken(error.to_string()))?;
    let raw = Raw::of(&pinned);
    let contestants = vec![
        hot("raw load", reads, raw),
        hot("read_at", reads, ReadAt(&folio)),
        hot("read_optimistic", reads, ReadOptimistic(&folio)),
    ];
    contest(HOT, contestants, plan, Placement::OneCpu)
}

/// Reads words that follow each other, and words whose place the word before gives: the former shows how
/// many reads a CPU can do at once, the latter how long one takes.
fn hot<'a, W: Words + Copy + 'a>(name: &'static str, reads: usize, words: W) -> Contestant<'a> {
    Contestant::new(name, move || {
        let in_turn = timed_on_cpu(reads, || {
            let words = black_box(words);
            sum(reads, |number| words.load(offset_of(number)));
        });
        let chained = timed_on_cpu(reads, || {
            let words = black_box(words);
            let mut offset = 0;
            for _ in 0..reads {
                offset = offset_of(words.load(offset) as usize);
            }
            black_box(offset);
        });
        Ok(vec![in_turn, chained])
    })
}

/// Reads a word of one of many folios, drawn at random each time.
pub(crate) fn measure_scattered(plan: &Plan) -> Result<Outcome, Failure> {
    let (reads, count) = (plan.scale.holds, plan.scale.scattered);
    let pool = pool_of(count * PAGE_SIZE + (64 << 20))?;
    let folios = (0..count)
        .map(|_| folio_of(&pool, PAGE_SIZE))
        .collect::<Result<Vec<Folio>, Failure>>()?;
    let pins = pool
        .pin_all(&folios)
        .map_err(|error| Failure::broken(error.to_string()))?;
    let raws: Vec<Raw<'_>> = pins.iter().map(Raw::of).collect();
    let seed = AtomicUsize::new(0);
    // A new walk each time, so that none finds what the one before has cached.
    // Relaxed: one thread.
    let new_walk =
        || Walk(fastrand::Rng::with_seed(seed.fetch_add(1, Ordering::Relaxed) as u64).u64(1..));
    let contestants = vec![
        Contestant::of_one("raw load", || {
            let mut walk = new_walk();
            timed_on_cpu(reads, || {
                sum(reads, |_| {
                    let (one, offset) = walk.next_place(count);
                    raws[one].load(offset)
                });
            })
        }),
        Contestant::of_one("read_at", || {
            let mut walk = new_walk();
            timed_on_cpu(reads, || {
                sum(reads, |_| {
                    let (one, offset) = walk.next_place(count);
                    read_at(&folios[one], offset)
                });
            })
        }),
    ];
    contest(SCATTERED, contestants, plan, Placement::OneCpu)
}

/// Reads words of one folio while another thread does the same.
pub(crate) fn measure_twice(plan: &Plan) -> Result<Outcome, Failure> {
    let Some(&other_cpu) = plan.cpus.get(1) else {
        let why = "needs 2 CPUs, this process may use 1".to_owned();
        return Ok(Outcome::Skipped { works: TWICE, why });
    };
    let reads = plan.scale.holds;
    let pool = pool_of(64 << 20)?;
    let folio = folio_of(&pool, PAGE_SIZE)?;
    let companion = Companion::default();
    let read_all = || {
        timed_on_cpu(reads, || {
            let folio = black_box(&folio);
            sum(reads, |number| read_at(folio, offset_of(number)));
        })
    };
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let pinned = pin_to(other_cpu);
            companion.serve(|| {
                let folio = black_box(&folio);
                sum(1000, |number| read_at(folio, offset_of(number)));
            });
            pinned
        });
        let contestants = vec![
            Contestant::of_one("alone", read_all),
            Contestant::of_one("beside a reader", || {
                companion.call(thread.thread());
                let ns = read_all();
                companion.dismiss();
                ns
            }),
        ];
        let outcome = contest(TWICE, contestants, plan, Placement::OneCpu);
        companion.end(thread.thread());
        thread.join().expect("a panic ends the process")?;
        outcome
    })
}

/// The bytes of a pinned folio, which nobody writes.
#[derive(Clone, Copy)]
struct Raw<'a> {
    start: *const u64,
    _pin: &'a FolioPin<'a>,
}

impl<'a> Raw<'a> {
    fn of(pin: &'a FolioPin<'a>) -> Raw<'a> {
        Raw {
            start: pin.as_ptr().cast_const().cast(),
            _pin: pin,
        }
    }
}

/// Words that can be read, in the place given by the offset of their first byte.
trait Words {
    // Inlined wherever it is used: what is timed is the read, and not a call.
    fn load(&self, offset: usize) -> u64;
}

impl Words for Raw<'_> {
    #[inline(always)]
    fn load(&self, offset: usize) -> u64 {
        debug_assert!(offset + WORD <= PAGE_SIZE && offset.is_multiple_of(WORD));
        // SAFETY: all offsets come from `offset_of` and `Walk`, which stay within the folio's page.
        let at = unsafe { self.start.byte_add(offset) };
        // SAFETY: the folio is pinned in memory and nobody writes to it. Volatile: one load, here.
        unsafe { at.read_volatile() }
    }
}

/// A folio's words by [`Folio::read_at`].
#[derive(Clone, Copy)]
struct ReadAt<'a>(&'a Folio);

impl Words for ReadAt<'_> {
    #[inline(always)]
    fn load(&self, offset: usize) -> u64 {
        read_at(self.0, offset)
    }
}

/// A folio's words by [`Folio::read_optimistic`].
#[derive(Clone, Copy)]
struct ReadOptimistic<'a>(&'a Folio);

impl Words for ReadOptimistic<'_> {
    #[inline(always)]
    fn load(&self, offset: usize) -> u64 {
        read_optimistic(self.0, offset)
    }
}

#[inline(always)]
fn read_at(folio: &Folio, offset: usize) -> u64 {
    let mut word = [0; WORD];
    folio.read_at(offset, &mut word).expect("it is in memory");
    u64::from_ne_bytes(word)
}

#[inline(always)]
fn read_optimistic(folio: &Folio, offset: usize) -> u64 {
    let mut word = [0; WORD];
    assert!(folio.read_optimistic(offset, &mut word), "nobody writes");
    u64::from_ne_bytes(word)
}

/// Has each word of a folio name another, so that following them visits them all.
fn link_words(folio: &mut Folio) -> Result<(), Failure> {
    let mut bytes = folio
        .write()
        .map_err(|error| Failure::broken(error.to_string()))?;
    for (number, word) in bytes.chunks_exact_mut(WORD).enumerate() {
        // An odd step through a power of two leaves none out.
        word.copy_from_slice(&(number as u64 + 37).to_ne_bytes());
    }
    Ok(())
}

/// A word's place in a folio of one page.
#[inline]
fn offset_of(number: usize) -> usize {
    number * WORD % PAGE_SIZE
}

/// Does `load` so many times, and something with what it gives.
#[inline]
fn sum(times: usize, mut load: impl FnMut(usize) -> u64) {
    let mut sum = 0u64;
    for number in 0..times {
        sum = sum.wrapping_add(load(number));
    }
    black_box(sum);
}

/// Random places (xorshift: three shifts, so that drawing costs less than what it is for).
struct Walk(u64);

impl Walk {
    /// A folio of `count`, and an offset in it.
    #[inline]
    fn next_place(&mut self, count: usize) -> (usize, usize) {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let one = ((self.0 >> 32) * count as u64) >> 32;
        (one as usize, offset_of(self.0 as usize & 0xffff))
    }
}
