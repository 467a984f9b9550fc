//! State that each CPU has its own copy of: [`PerCpu`], and counters on top of it,
//! [`DeltaCounters`].
//!
//! *Kernel counterpart:* `mm/vmstat.c: mod_zone_page_state(), zone_page_state_snapshot(),
//! set_pgdat_percpu_threshold()` (v5.0): the rules for adding and overstepping are the same. There,
//! interrupts or preemption are off around an update; here, the CPU number is a hint, two threads
//! may meet on one slot, and an update is a compare-exchange.
//!
//! **Invariants** of [`DeltaCounters`]
//! - I1: when nobody is updating, `snapshot` is the exact sum of all updates, or 0 if that is
//!   negative.
//! - I2: a delta is never farther from 0 than the greatest threshold ever set, so `read` is off by
//!   at most that number times the CPUs (spec: INV-9), besides what updates under way hold in their
//!   hands.
//!
//! Counts on which a decision hangs, such as a zone's free pages, are not kept this way but
//! exactly, under the zone's lock.

use crossbeam::utils::CachePadded;

use super::atomic::{AtomicI8, AtomicI64, AtomicU8, Ordering::Relaxed};
use super::cpu;
use super::fence::mutated;

/// A value for each CPU, on cache lines of its own.
#[derive(Debug)]
pub struct PerCpu<T> {
    slots: Box<[CachePadded<T>]>,
}

impl<T> PerCpu<T> {
    /// Returns `nr_cpus` values, made by `init` from the slot's index. Allocates, here and nowhere
    /// else.
    ///
    /// # Panics
    /// If `nr_cpus` is 0.
    pub fn new(nr_cpus: usize, init: impl FnMut(usize) -> T) -> PerCpu<T> {
        assert!(nr_cpus > 0, "there is at least one CPU");
        PerCpu {
            slots: (0..nr_cpus).map(init).map(CachePadded::new).collect(),
        }
    }

    /// Returns the slot of the CPU that this thread most likely runs on. Others may be using it
    /// too.
    #[inline]
    #[must_use]
    pub fn local(&self) -> &T {
        &self.slots[self.local_idx()]
    }

    /// Returns the index of the slot that [`local`](PerCpu::local) would return.
    #[inline]
    #[must_use]
    pub fn local_idx(&self) -> usize {
        let cpu = cpu::current();
        // Sparse CPU numbers are rare, and so is the division.
        if cpu < self.slots.len() {
            cpu
        } else {
            cpu % self.slots.len()
        }
    }

    /// Returns the slot of a given index, if there is one.
    #[must_use]
    #[cfg_attr(not(any(test, loom)), expect(dead_code, reason = "for tests"))]
    pub fn get(&self, idx: usize) -> Option<&T> {
        self.slots.get(idx).map(|slot| &**slot)
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn nr_slots(&self) -> usize {
        self.slots.len()
    }

    /// Returns all slots, by index.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.slots.iter().map(|slot| &**slot)
    }
}

/// The greatest threshold: a delta and one step fit a signed byte (kernel v5.0).
pub const MAX_THRESHOLD: u8 = 125;

/// `N` counters that many CPUs update and that are read approximately.
///
/// An update usually touches only its CPU's delta, a signed byte; a delta beyond the threshold
/// moves to the global count. [`read`](DeltaCounters::read) is one load and off by up to the
/// threshold for each CPU, [`snapshot`](DeltaCounters::snapshot) adds all deltas and is off only by
/// updates under way.
#[derive(Debug)]
pub struct DeltaCounters<const N: usize> {
    global: [AtomicI64; N],
    deltas: PerCpu<[AtomicI8; N]>,
    threshold: AtomicU8,
}

impl<const N: usize> DeltaCounters<N> {
    /// Returns counters at 0 for `nr_cpus` CPUs.
    ///
    /// # Panics
    /// If `nr_cpus` is 0, or the threshold is not within 1..=125.
    pub fn new(nr_cpus: usize, threshold: u8) -> DeltaCounters<N> {
        let counters = DeltaCounters {
            global: std::array::from_fn(|_| AtomicI64::new(0)),
            deltas: PerCpu::new(nr_cpus, |_| std::array::from_fn(|_| AtomicI8::new(0))),
            threshold: AtomicU8::new(1),
        };
        counters.set_threshold(threshold);
        counters
    }

    /// How many CPUs the deltas are kept for.
    #[must_use]
    pub fn nr_cpus(&self) -> usize {
        self.deltas.nr_slots()
    }

    /// Bytes of the counters of `nr_cpus` CPUs, beside the value itself.
    #[must_use]
    pub fn bytes(nr_cpus: usize) -> usize {
        nr_cpus * size_of::<CachePadded<[AtomicI8; N]>>()
    }

    /// Sets how far a CPU's delta may be from 0. Deltas beyond it move at their next update.
    ///
    /// # Panics
    /// If the threshold is not within 1..=125.
    pub fn set_threshold(&self, threshold: u8) {
        assert!(
            (1..=MAX_THRESHOLD).contains(&threshold),
            "threshold {threshold} not in 1..=125"
        );
        // Relaxed: an update that still uses the old one is as right as one that came a moment
        // earlier.
        self.threshold.store(threshold, Relaxed);
    }

    /// Returns the threshold.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        // Relaxed: see `set_threshold`.
        self.threshold.load(Relaxed)
    }

    /// Adds `amount` to counter `item`.
    #[inline]
    pub fn add(&self, item: usize, amount: i64) {
        self.update(item, |delta, threshold| add_rule(delta, amount, threshold));
    }

    /// Adds 1 to counter `item`, overstepping when it reaches the global count.
    #[inline]
    #[cfg_attr(
        not(any(test, loom)),
        expect(dead_code, reason = "for models and tests")
    )]
    pub fn inc(&self, item: usize) {
        self.update(item, inc_rule);
    }

    /// Takes 1 from counter `item`, overstepping when it reaches the global count.
    #[inline]
    #[cfg_attr(
        not(any(test, loom)),
        expect(dead_code, reason = "for models and tests")
    )]
    pub fn dec(&self, item: usize) {
        self.update(item, dec_rule);
    }

    /// Applies one of the rules to this CPU's delta and to the global count what the rule passes
    /// on.
    #[inline]
    fn update(&self, item: usize, rule: impl Fn(i8, i64) -> Step) {
        let threshold = i64::from(self.threshold());
        let delta = &self.deltas.local()[item];

        // Relaxed throughout: a counter publishes nothing but itself, and each update is one
        // read-modify-write, so none is lost.
        let mut old = delta.load(Relaxed);
        let to_global = loop {
            let step = rule(old, threshold);
            if mutated("counter.one_step") {
                delta.store(step.delta, Relaxed);
                break step.to_global;
            }
            match delta.compare_exchange_weak(old, step.delta, Relaxed, Relaxed) {
                Ok(_) => break step.to_global,
                Err(now) => old = now,
            }
        };
        if to_global != 0 {
            // Relaxed: as above. Until it is done, this thread holds the amount in its hands.
            self.global[item].fetch_add(to_global, Relaxed);
        }
    }

    /// Returns counter `item` without the deltas, or 0 if that is negative.
    #[inline]
    #[must_use]
    #[cfg_attr(
        not(any(test, loom)),
        expect(dead_code, reason = "for models and tests")
    )]
    pub fn read(&self, item: usize) -> u64 {
        // Relaxed: approximate by contract.
        self.global[item].load(Relaxed).max(0) as u64
    }

    /// Returns counter `item` with all deltas, or 0 if that is negative. Exact when nobody is
    /// updating.
    #[must_use]
    pub fn snapshot(&self, item: usize) -> u64 {
        // Relaxed: exact only when nobody is updating, and then whatever made that so ordered the
        // updates.
        let global = self.global[item].load(Relaxed);
        let deltas = self
            .deltas
            .iter()
            .map(|cpu| i64::from(cpu[item].load(Relaxed)));
        (global + deltas.sum::<i64>()).max(0) as u64
    }

    /// Moves all deltas to the global counts, so that `read` is exact until the next update.
    #[cfg_attr(
        not(any(test, loom)),
        expect(dead_code, reason = "for models and tests")
    )]
    pub fn fold(&self) {
        for cpu in self.deltas.iter() {
            for (delta, global) in cpu.iter().zip(&self.global) {
                // Relaxed: as in `update`; the swap takes each unit exactly once.
                let taken = if mutated("counter.fold_in_one") {
                    let taken = delta.load(Relaxed);
                    delta.store(0, Relaxed);
                    taken
                } else {
                    delta.swap(0, Relaxed)
                };
                global.fetch_add(i64::from(taken), Relaxed);
            }
        }
    }
}

/// What an update does: the CPU's new delta, and what moves to the global count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    delta: i8,
    to_global: i64,
}

/// Adds `amount`; beyond the threshold everything moves.
fn add_rule(delta: i8, amount: i64, threshold: i64) -> Step {
    let sum = i64::from(delta) + amount;
    match i8::try_from(sum) {
        Ok(delta) if sum.abs() <= threshold => Step {
            delta,
            to_global: 0,
        },
        _ => Step {
            delta: 0,
            to_global: sum,
        },
    }
}

/// Adds 1; beyond the threshold, moves half a threshold more than there is, so that a counter that
/// keeps growing moves half as often.
fn inc_rule(delta: i8, threshold: i64) -> Step {
    let sum = i64::from(delta) + 1;
    if sum > threshold {
        overstep(sum, threshold / 2)
    } else {
        Step {
            delta: delta + 1,
            to_global: 0,
        }
    }
}

/// The mirror of [`inc_rule`].
fn dec_rule(delta: i8, threshold: i64) -> Step {
    let sum = i64::from(delta) - 1;
    if sum < -threshold {
        overstep(sum, -(threshold / 2))
    } else {
        Step {
            delta: delta - 1,
            to_global: 0,
        }
    }
}

fn overstep(sum: i64, by: i64) -> Step {
    let delta = i8::try_from(-by).expect("I2: half a threshold fits a delta");
    Step {
        delta,
        to_global: sum + by,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
