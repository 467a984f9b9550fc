//! A section in which a thread waits for memory.
//!
//! *Kernel counterpart:* `psi_memstall_enter`, `psi_memstall_leave` (v5.0, spec 4.16). What the kernel's
//! cookie remembers, that the thread was in a section already, is a depth that each thread has for itself.

use std::cell::Cell;
use std::marker::PhantomData;

use arrayvec::ArrayVec;

use super::account::{Change, Standing};
use super::state::PsiState;
use crate::sync::thread::{self, per_thread};

/// How many states one section can count in: a node, the pool, and as many levels of whatever else.
pub(crate) const MAX_CHAIN: usize = 16;

per_thread! {
    static DEPTH: Cell<u32> = Cell::new(0);
}

/// A state, and what the thread is to it.
type Link<'a> = (&'a PsiState, Standing);

/// The time for which a thread waits for memory; ends when it is dropped, also by a panic.
///
/// Sections nest, in whatever states: only the outermost of a thread counts (V4). The thread neither
/// registers as a worker nor ceases to be one inside.
#[derive(Debug)]
#[must_use = "the section ends when this is dropped"]
pub(crate) struct Stall<'a> {
    /// The states in which it counts; none if it is nested.
    counted: ArrayVec<Link<'a>, MAX_CHAIN>,
    /// Not `Send`: it ends where it began.
    _thread: PhantomData<*const ()>,
}

impl<'a> Stall<'a> {
    /// Begins a section that counts in each state of the chain, from the smallest to the largest: a node, a
    /// group and those that it is part of, the pool. No ranked lock may be held.
    ///
    /// # Panics
    /// In debug builds, if the chain is longer than [`MAX_CHAIN`]; the rest does not count then.
    pub(crate) fn enter(chain: impl IntoIterator<Item = Link<'a>>) -> Stall<'a> {
        let depth = DEPTH.with(|depth| depth.replace(depth.get() + 1));
        let mut stall = Stall {
            counted: ArrayVec::new(),
            _thread: PhantomData,
        };
        if depth > 0 {
            return stall;
        }
        for (state, standing) in chain {
            debug_assert!(!stall.counted.is_full(), "a chain of {MAX_CHAIN} at most");
            if stall.counted.is_full() {
                break;
            }
            // First noted, then counted: whatever panics, what was counted is taken back.
            stall.counted.push((state, standing));
            state.change(Change::Stall(standing));
        }
        stall
    }
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        if thread::is_model_over() {
            return;
        }
        DEPTH.with(|depth| depth.set(depth.get() - 1));
        for (state, standing) in self.counted.drain(..) {
            state.change(Change::Resume(standing));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::psi::PressureKind;
    use crate::psi::worker::{self, Registered};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn is_stalled(state: &PsiState) -> [bool; 2] {
        PressureKind::ALL.map(|kind| state.is_stalled(kind))
    }

    fn enter<'a>(states: &[&'a PsiState]) -> Stall<'a> {
        let links = states.iter().map(|state| (*state, Standing::Other));
        Stall::enter(links.collect::<Vec<_>>())
    }

    #[test]
    fn a_section_counts_in_each_state_of_its_chain() {
        let (node, pool, other) = (PsiState::new(), PsiState::new(), PsiState::new());
        let stall = enter(&[&node, &pool]);
        assert!(is_stalled(&node)[0] && is_stalled(&pool)[0] && !is_stalled(&other)[0]);
        drop(stall);
        for state in [&node, &pool] {
            state.verify(true).unwrap();
        }
    }

    #[test]
    fn nested_sections_count_once() {
        let (outer_state, inner_state) = (PsiState::new(), PsiState::new());
        let outer = enter(&[&outer_state]);
        let inner = enter(&[&inner_state, &outer_state]);
        assert!(!is_stalled(&inner_state)[0]);
        drop(inner);
        assert!(is_stalled(&outer_state)[0], "the outer one goes on");
        drop(outer);
        outer_state.verify(true).unwrap();
        drop(enter(&[&inner_state]));
        assert!(inner_state.pressure().some.total > std::time::Duration::ZERO);
    }

    #[test]
    fn a_panic_ends_its_sections() {
        let state = PsiState::new();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _outer = enter(&[&state]);
            let _inner = enter(&[&state]);
            panic!("in a section");
        }));
        assert!(caught.is_err());
        state.verify(true).unwrap();
        let stall = enter(&[&state]);
        assert!(is_stalled(&state)[0], "the depth is that of before");
        drop(stall);
    }

    #[test]
    fn a_worker_that_is_elsewhere_keeps_full_away() {
        let state = PsiState::new();
        assert_eq!(worker::register(&state), Registered::First);
        state.change(Change::Join);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _stall = enter(&[&state]);
                assert_eq!(is_stalled(&state), [true, false]);
            });
        });
        let stall = Stall::enter([(&state, worker::standing_with(&state))]);
        assert_eq!(is_stalled(&state), [true, true]);
        drop(stall);
        assert!(worker::unregister(&state));
        state.change(Change::Leave);
        state.verify(true).unwrap();
    }
}
