//! A full barrier of which one side pays all.
//!
//! *Kernel counterpart:* `membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)`. Two threads of which each stores one
//! word and loads the other's both need a full barrier between the two. Where one of them does so millions of
//! times a second and the other rarely, the first executes a [`light`] one, which only keeps the compiler from
//! reordering, and the second a [`heavy`] one, by which the system has every CPU that runs this process execute
//! a full barrier. In models both are full barriers, as the language has no other word for the pair; in
//! simulations everything is in order.

#[cfg(not(any(loom, shuttle)))]
pub use real::{heavy, is_supported, light};

#[cfg(any(loom, shuttle))]
pub use modelled::{heavy, is_supported, light};

#[cfg(not(any(loom, shuttle)))]
mod real {
    #![expect(
        unsafe_code,
        reason = "a system call that the C library has no function for"
    )]

    use std::sync::OnceLock;
    use std::sync::atomic::{Ordering, compiler_fence};

    /// Executes this thread's half of a barrier whose other half is [`heavy`]. `name` is its mutant.
    ///
    /// For use only where [`is_supported`].
    #[inline(always)]
    pub fn light(_name: &'static str) {
        compiler_fence(Ordering::SeqCst);
    }

    /// Executes a full barrier here and in every other thread of the process that runs; one that does not has
    /// executed one since it ran last. Takes microseconds. Returns whether that was done: the system may refuse,
    /// although it was asked before. `name` is its mutant.
    #[must_use]
    pub fn heavy(_name: &'static str) -> bool {
        // The other one is slow, and asks for less.
        is_supported()
            && [
                libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED,
                libc::MEMBARRIER_CMD_GLOBAL,
            ]
            .into_iter()
            .any(|command| ask_system(command) == 0)
    }

    /// Whether the system has such barriers. Asked for once: then it is told that this process will use them.
    #[must_use]
    pub fn is_supported() -> bool {
        static IS_SUPPORTED: OnceLock<bool> = OnceLock::new();
        *IS_SUPPORTED.get_or_init(|| {
            !cfg!(miri) && ask_system(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
        })
    }

    fn ask_system(command: libc::c_int) -> libc::c_long {
        // SAFETY: the call takes three numbers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }
}

#[cfg(any(loom, shuttle))]
mod modelled {
    use crate::sync::fence::fence_at;

    /// This thread's half of a barrier whose other half is [`heavy`]. `name` is its mutant.
    #[inline]
    pub fn light(name: &'static str) {
        fence_at(name);
    }

    /// The other half. `name` is its mutant.
    #[must_use]
    pub fn heavy(name: &'static str) -> bool {
        fence_at(name);
        true
    }

    /// Whether there are such barriers.
    #[must_use]
    pub fn is_supported() -> bool {
        true
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    /// Dekker's riddle: of two threads that each say "I" and then look, at least one sees the other.
    #[test]
    fn one_of_two_sees_the_other() {
        if !is_supported() {
            eprintln!(
                "this system has no membarrier, and pools have no magazines: nothing is tested"
            );
            return;
        }
        const ROUNDS: u32 = 20_000;
        let flags = [AtomicBool::new(false), AtomicBool::new(false)];
        let turn = AtomicU32::new(0);
        let saw = [AtomicBool::new(false), AtomicBool::new(false)];
        let meet = |at: u32| {
            turn.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            while turn.load(std::sync::atomic::Ordering::Acquire) < at {
                std::hint::spin_loop();
            }
        };
        let run = |me: usize| {
            for round in 0..ROUNDS {
                flags[me].store(false, Relaxed);
                meet(4 * round + 2);
                flags[me].store(true, Relaxed);
                if me == 0 {
                    light("");
                } else {
                    assert!(heavy(""));
                }
                saw[me].store(flags[1 - me].load(Relaxed), Relaxed);
                meet(4 * round + 4);
                assert!(
                    saw[0].load(Relaxed) || saw[1].load(Relaxed),
                    "round {round}"
                );
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| run(0));
            scope.spawn(|| run(1));
        });
    }
}
