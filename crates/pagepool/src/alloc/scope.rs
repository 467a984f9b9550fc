//! What a thread may do for the while: scopes that change every request made inside them.
//!
//! *Kernel counterpart:* `memalloc_noio_save`, `memalloc_nofs_save`, `memalloc_noreclaim_save`
//! (v5.0). A scope ends when its guard is dropped, and scopes nest.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::gfp::Gfp;
use crate::sync::thread::per_thread;

per_thread! {
    static SCOPES: Cell<[u16; 4]> = Cell::new([0; 4]);
}

/// What a scope forbids or permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScopeKind {
    /// Reclaim on behalf of this thread must not start I/O.
    NoIo = 0,
    /// Reclaim on behalf of this thread must not call into backing stores.
    NoFs = 1,
    /// This thread frees memory: it may dip into the reserves, and never reclaims for itself.
    Memalloc = 2,
    /// This thread never reclaims for itself, however short memory is: it waits for others, the
    /// background reclaimer above all, until its deadline. For threads that must not be drawn into I/O,
    /// such as one that others wait for.
    NoReclaim = 3,
}

/// A scope of the current thread; see [`enter`].
#[derive(Debug)]
#[must_use = "the scope ends when its guard is dropped"]
pub struct Scope {
    kind: ScopeKind,
    /// Not `Send`: it ends where it began.
    _thread: PhantomData<*const ()>,
}

/// Enters a scope.
///
/// ```
/// use pagepool::scope::{self, ScopeKind};
/// let _quiet = scope::enter(ScopeKind::NoIo);
/// // Requests of this thread start no I/O until `_quiet` is dropped.
/// ```
pub fn enter(kind: ScopeKind) -> Scope {
    change(kind, |depth| depth + 1);
    Scope {
        kind,
        _thread: PhantomData,
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        change(self.kind, |depth| depth - 1);
    }
}

fn change(kind: ScopeKind, f: impl FnOnce(u16) -> u16) {
    let mut depths = SCOPES.with(Cell::get);
    depths[kind as usize] = f(depths[kind as usize]);
    SCOPES.with(|cell| cell.set(depths));
}

fn is_in(kind: ScopeKind) -> bool {
    SCOPES.with(Cell::get)[kind as usize] > 0
}

/// Whether this thread frees memory and must not wait for others to do so.
pub(crate) fn is_memalloc() -> bool {
    is_in(ScopeKind::Memalloc)
}

/// Whether this thread leaves reclaim to others.
pub(crate) fn is_exempt() -> bool {
    is_in(ScopeKind::NoReclaim)
}

/// The flags less what the thread's scopes take away.
pub(crate) fn restrict(gfp: Gfp) -> Gfp {
    if is_in(ScopeKind::NoIo) {
        gfp - (Gfp::IO | Gfp::FS)
    } else if is_in(ScopeKind::NoFs) {
        gfp - Gfp::FS
    } else {
        gfp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_exempt_for_as_long_as_its_scope() {
        assert!(!is_exempt());
        let scope = enter(ScopeKind::NoReclaim);
        assert!(is_exempt() && !is_memalloc());
        drop(scope);
        assert!(!is_exempt());
    }

    #[test]
    fn scopes_nest_and_end() {
        assert_eq!(restrict(Gfp::KERNEL), Gfp::KERNEL);
        let outer = enter(ScopeKind::NoFs);
        assert_eq!(restrict(Gfp::KERNEL), Gfp::NOFS);
        {
            let _inner = enter(ScopeKind::NoIo);
            let _again = enter(ScopeKind::NoIo);
            assert_eq!(restrict(Gfp::KERNEL), Gfp::NOIO);
        }
        assert_eq!(restrict(Gfp::KERNEL), Gfp::NOFS);
        drop(outer);
        assert_eq!(restrict(Gfp::KERNEL), Gfp::KERNEL);
        assert!(!is_memalloc());
    }
}
