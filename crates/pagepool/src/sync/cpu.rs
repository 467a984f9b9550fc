//! The number of the CPU that a thread runs on, as a hint, and the wish to run on some only.
//!
//! The scheduler may move a thread right after it asked, so nothing may depend on the answer being
//! right; a wrong one costs a cache miss or a busy slot. Callers reduce it modulo the slots they
//! have.

/// Returns the CPU that this thread ran on a moment ago. Two nanoseconds on glibc.
#[cfg(not(any(loom, shuttle)))]
#[inline]
#[must_use]
pub fn current() -> usize {
    #[cfg(test)]
    if let Some(cpu) = pinned::HINT.get() {
        return cpu;
    }
    ask_system()
}

#[cfg(not(any(loom, shuttle, miri)))]
#[inline]
fn ask_system() -> usize {
    // SAFETY: the call has no arguments and touches no memory of ours.
    let cpu = unsafe { libc::sched_getcpu() };
    // Negative: the system does not say. All such threads then share slot 0.
    usize::try_from(cpu).unwrap_or(0)
}

#[cfg(all(miri, not(any(loom, shuttle))))]
fn ask_system() -> usize {
    0
}

/// Returns how many per-CPU slots to make: the CPUs that this system may ever bring up, at least 1.
#[cfg(not(any(loom, shuttle)))]
#[must_use]
pub fn possible() -> usize {
    // std's also where atomics are a model's: it is nothing that threads agree on anything by.
    static KNOWN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    // Relaxed: a number by itself. The system reads a file each time that it is asked.
    match KNOWN.load(relaxed) {
        0 => {
            let nr = ask_how_many();
            KNOWN.store(nr, relaxed);
            nr
        }
        nr => nr,
    }
}

#[cfg(not(any(loom, shuttle)))]
fn ask_how_many() -> usize {
    // SAFETY: the call takes a constant and touches no memory of ours.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    match usize::try_from(configured) {
        Ok(nr) if nr > 0 => nr,
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Has this thread run on these CPUs only; returns whether the system agreed. Those that it does not
/// have are left out.
#[cfg(not(any(loom, shuttle, miri)))]
#[must_use]
pub fn bind_current_thread(cpus: &[usize]) -> bool {
    // SAFETY: a set is an array of bits, and all zeros is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        if cpu < libc::CPU_SETSIZE as usize {
            // SAFETY: the set is ours, and has a bit for the CPU.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
    }
    // SAFETY: 0 means this thread; the set is as long as we say and is only read.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0 }
}

/// Has this thread run on these CPUs only: there is nothing to be had in a model.
#[cfg(any(loom, shuttle, miri))]
#[must_use]
pub fn bind_current_thread(_cpus: &[usize]) -> bool {
    false
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod pinned {
    use std::cell::Cell;

    thread_local! {
        pub(super) static HINT: Cell<Option<usize>> = const { Cell::new(None) };
    }
}

/// Runs `f` with this thread's hint fixed to `cpu`, so that a test decides which slot is used.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn with_cpu<R>(cpu: usize, f: impl FnOnce() -> R) -> R {
    /// Puts the former hint back, also when `f` unwinds.
    struct Restore(Option<usize>);

    impl Drop for Restore {
        fn drop(&mut self) {
            pinned::HINT.set(self.0);
        }
    }

    let _restore = Restore(pinned::HINT.replace(Some(cpu)));
    f()
}

#[cfg(loom)]
pub use modelled::{current, possible, set_for_model};

#[cfg(loom)]
mod modelled {
    use std::cell::Cell;

    loom::thread_local! {
        static HINT: Cell<usize> = Cell::new(0);
    }

    /// Returns the CPU that the model gave this thread, 0 if it gave none.
    #[must_use]
    pub fn current() -> usize {
        HINT.with(Cell::get)
    }

    /// Returns the number of CPUs in a model.
    #[must_use]
    pub fn possible() -> usize {
        2
    }

    /// Puts the calling thread on `cpu` for as long as this execution of the model lasts.
    pub fn set_for_model(cpu: usize) {
        HINT.with(|hint| hint.set(cpu));
    }
}

/// Returns the CPU that the simulation has this thread on: the same as before, most of the time.
#[cfg(shuttle)]
#[must_use]
pub fn current() -> usize {
    super::sim::current_cpu()
}

/// Returns the number of CPUs of a simulation.
#[cfg(shuttle)]
#[must_use]
pub fn possible() -> usize {
    super::sim::NR_CPUS
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_slot_for_every_answer() {
        assert!(possible() >= 1);
        let _hint = current(); // any number: callers reduce it
    }

    #[test]
    fn a_test_chooses_its_cpu_and_the_choice_ends_with_it() {
        let inner = with_cpu(7, || (current(), with_cpu(9, current), current()));
        assert_eq!(inner, (7, 9, 7));

        let unwound = std::panic::catch_unwind(|| with_cpu(11, || panic!("inside")));
        assert!(unwound.is_err());
        assert_eq!(pinned::HINT.get(), None);
    }
}
