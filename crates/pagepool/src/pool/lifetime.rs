//! How long a pool lives: until the last handle *and* the last block are gone.
//!
//! A block does not count a reference: that would be a shared counter touched by every allocation.
//! Instead the last handle, when it is dropped, stops the per-CPU caches, counts the pages that are
//! out, and leaves that number behind; from then on every free subtracts its pages, and whoever
//! brings the number to zero tears the pool down.
//!
//! **Invariants**
//! - L1: while a [`PoolRef`] exists, the [`Census`] counts it, and the pool is alive.
//! - L2: while a block is out, the census has not subtracted its pages, so that it does not say that
//!   the pool has ended: it is alive. A block withdrawn to be given back to the system counts as out.
//! - L5: while a folio is open, the pool's table of folios has a handle, counted like any other and kept
//!   nowhere: it is forgotten by the first folio to open, and taken back by the last to close. So what a
//!   folio takes and gives back is never in the way of the end, and folios count nothing themselves.
//! - L6: a [`DaemonRef`] is in the hands of a thread that the last handle waits for before it counts what
//!   is out, or at a post of the pool itself, to start such a thread: then it is used by who asks the daemon
//!   for something, and has a handle, or is a daemon; and no more once the last handle has stopped them.
//! - L7: a pool is on the list of all pools until it is torn down: who looks at it there holds the list's lock,
//!   which its end takes first.
//! - L8: a [`PoolWatch`] keeps nothing alive and finds its pool on the list of all pools, by a number that no
//!   other pool has: while it holds the list's lock the pool is there (L7), and the handle that it makes then is
//!   counted only if another one was.
//! - L3: after a block was put back, its former owner touches the pool only by what the zone handed
//!   to it (see [`Freed`]): an idle block, which keeps the pool alive by L2, or shared parts of it.

use std::ops::Deref;
use std::ptr::NonNull;

use super::Inner;
use super::census::Census;
use crate::types::{GroupId, Order, Pfn};
use crate::zone::{Freed, Zone};

struct Shared {
    inner: Inner,
    /// What tells this pool from all others of the process, ended ones included (L8).
    #[cfg(all(feature = "serve", not(any(loom, shuttle))))]
    number: u64,
    census: Census,
}

/// A counted handle to a pool.
pub(crate) struct PoolRef {
    shared: NonNull<Shared>,
}

// SAFETY: `Shared` is `Send` and `Sync` (asserted below), and a handle is nothing but a counted
// pointer to it.
unsafe impl Send for PoolRef {}
// SAFETY: as for `Send`; `&PoolRef` gives `&Inner`, which is `Sync`.
unsafe impl Sync for PoolRef {}

const _: () = {
    const fn assert_send_sync<T: Send + Sync>() {}
    assert_send_sync::<Shared>();
};

impl PoolRef {
    pub(super) fn new(inner: Inner) -> PoolRef {
        let shared = Shared {
            inner,
            #[cfg(all(feature = "serve", not(any(loom, shuttle))))]
            number: crate::sync::thread::next_unique(),
            census: Census::with_one_handle(),
        };
        let pool = PoolRef {
            shared: NonNull::from(Box::leak(Box::new(shared))),
        };
        roll::enter(pool.tether());
        pool
    }

    fn shared(&self) -> &Shared {
        // SAFETY: (L1) this handle is counted, so the pool is alive.
        unsafe { self.shared.as_ref() }
    }

    /// Leaves a handle with the table of folios, on behalf of its first folio (L5).
    pub(super) fn keep_for_folios(&self) {
        std::mem::forget(self.clone());
    }

    /// What a daemon of this pool knows of it. To be given to [`Daemons`](crate::daemon::Daemons) alone,
    /// whose threads the last handle waits for, and to the posts of the pool's own nodes (L6).
    pub(super) fn for_daemons(&self) -> DaemonRef {
        DaemonRef(self.tether())
    }

    /// The uncounted pointer that a block carries.
    pub(super) fn tether(&self) -> Tether {
        Tether {
            shared: self.shared,
        }
    }
}

impl Deref for PoolRef {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.shared().inner
    }
}

impl Clone for PoolRef {
    fn clone(&self) -> PoolRef {
        self.shared().census.enter();
        PoolRef {
            shared: self.shared,
        }
    }
}

impl Drop for PoolRef {
    fn drop(&mut self) {
        let shared = self.shared();
        let close = || {
            shared.inner.stop_daemons();
            shared.inner.nodes.zones().map(Zone::begin_close).sum()
        };
        if shared.census.leave(close) {
            // SAFETY: this was the last handle, and no block is out.
            unsafe { self.tether().end() };
        }
    }
}

/// A daemon's pointer to its pool.
#[derive(Clone)]
pub(super) struct DaemonRef(Tether);

impl DaemonRef {
    /// The pool.
    pub(super) fn pool(&self) -> &Inner {
        // SAFETY: (L6) the last handle waits for the thread that has this before it ends the pool; whoever uses the
        // one at a post keeps the pool alive meanwhile.
        unsafe { self.0.pool() }
    }
}

/// Knows a pool, and does not keep it alive (L8).
#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolWatch {
    number: u64,
}

#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
impl PoolWatch {
    pub(super) fn of(pool: &PoolRef) -> PoolWatch {
        let number = pool.shared().number;
        PoolWatch { number }
    }

    /// Another handle to the pool, unless its last one is gone. It may become the last one itself.
    pub(super) fn pool(self) -> Option<PoolRef> {
        roll::find(self.number)
    }
}

/// An uncounted pointer to a pool that a block of it keeps alive.
#[derive(Clone, Copy)]
pub(super) struct Tether {
    shared: NonNull<Shared>,
}

// SAFETY: a pointer to a `Send` and `Sync` value; using it is another matter, see `pool`.
unsafe impl Send for Tether {}
// SAFETY: as above.
unsafe impl Sync for Tether {}

impl Tether {
    /// The pool.
    ///
    /// # Safety
    /// For as long as the reference is used, a handle to the pool exists or a block of it is out.
    #[inline]
    pub(super) unsafe fn pool<'a>(self) -> &'a Inner {
        // SAFETY: by the caller's promise and L1 or L2 the pool is alive.
        unsafe { &self.shared.as_ref().inner }
    }

    /// Takes back the handle that the table of folios has, for its last folio.
    ///
    /// # Safety
    /// The table has said to the caller, and to nobody else, that the last folio has closed since the
    /// handle was left there.
    pub(super) unsafe fn take_kept(self) -> PoolRef {
        PoolRef {
            shared: self.shared,
        }
    }

    /// Another handle to the pool, if it still has one.
    pub(super) fn same_pool(self, pool: &PoolRef) -> bool {
        self.shared == pool.shared
    }

    /// Subtracts pages that came back to a closing pool; the last ones end it.
    fn retire(self, pages: usize) {
        // SAFETY: (L2) these pages were not subtracted yet.
        let shared = unsafe { self.shared.as_ref() };
        if shared.census.retire(pages) {
            // SAFETY: pages are counted only when no handle is left, and these were the last.
            unsafe { self.end() };
        }
    }

    /// Tears the pool down.
    ///
    /// # Safety
    /// No handle is left and no block is out, as the census says to one caller in the life of a pool.
    unsafe fn end(self) {
        roll::leave(self);
        // SAFETY: by the caller's promise, and by L3 for those who have put a block back, nobody
        // touches the pool any more: it is ours alone. It came from a box.
        drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
    }
}

/// Every pool of the process, for reports.
#[cfg(not(any(loom, shuttle)))]
mod roll {
    use std::mem;

    use super::{Inner, Tether};
    use crate::sync::{CoreMutex, thread};

    /// L7: of each pool that is in here, the contents are there as long as the lock is held: it leaves before it
    /// is torn down.
    static ALL: CoreMutex<Vec<Tether>> = CoreMutex::new(Vec::new());

    pub(super) fn enter(pool: Tether) {
        #[cfg(feature = "watchdog")]
        crate::sync::watchdog::report_by(crate::pool::state::print_all);
        #[cfg(feature = "__watched-tests")]
        crate::sync::watchdog::watch_this_test();
        // Memory for it is had and given back without the lock: the program's allocator may look at pools.
        let mut spare = Vec::new();
        loop {
            let mut all = ALL.lock();
            let len = all.len();
            if len == all.capacity() && len < spare.capacity() {
                spare.append(&mut all);
                mem::swap(&mut *all, &mut spare);
            }
            if len < all.capacity() {
                return all.push(pool);
            }
            drop(all);
            spare = Vec::with_capacity(2 * (len + 1));
        }
    }

    pub(super) fn leave(pool: Tether) {
        ALL.lock().retain(|one| one.shared != pool.shared);
    }

    /// A handle to the pool of this number, if it has one.
    #[cfg(feature = "serve")]
    pub(super) fn find(number: u64) -> Option<super::PoolRef> {
        let all = ALL.lock();
        all.iter().find_map(|pool| {
            // SAFETY: (L7) the lock is held for as long as the reference is used.
            let shared = unsafe { pool.shared.as_ref() };
            let is_it = shared.number == number && shared.census.enter_unless_over();
            // Counted just now, by L8.
            is_it.then(|| super::PoolRef {
                shared: pool.shared,
            })
        })
    }

    /// Looks at every pool, the oldest first; false if one that comes or goes was in the way all the time.
    /// `look` waits for no pool, since who ends one may be waiting for it; what it allocates is the program's
    /// affair, whose allocator may use a pool, but must not end one in the middle of a request.
    pub(in crate::pool) fn call(mut look: impl FnMut(&Inner)) -> bool {
        const TRIES: usize = 1000;
        for _ in 0..TRIES {
            if let Some(all) = ALL.try_lock() {
                // SAFETY: (L7) the lock is held for as long as `look` has the reference.
                all.iter()
                    .for_each(|pool| look(unsafe { &pool.shared.as_ref().inner }));
                return true;
            }
            thread::yield_now();
        }
        false
    }
}

/// There is no such list in models and simulations, which need none and in which locks cannot be static.
#[cfg(any(loom, shuttle))]
mod roll {
    use super::{Inner, Tether};

    pub(super) fn enter(_pool: Tether) {}

    pub(super) fn leave(_pool: Tether) {}

    pub(in crate::pool) fn call(_look: impl FnMut(&Inner)) -> bool {
        false
    }
}

pub(super) use roll::call as look_at_all;

/// Gives a block back to its pool.
///
/// # Safety
/// 1. The block is out, and the caller owns it: nobody uses its memory any more.
/// 2. Its frame's state says that it is allocated at `order`, or, if the caller took it out of that
///    state, nobody else did.
pub(super) unsafe fn release(tether: Tether, zone: &Zone, pfn: Pfn, order: Order) {
    let freed = zone.put(pfn, order);
    if freed.is_something() {
        // SAFETY: `freed` came from a block of this pool just now.
        unsafe { settle(tether, zone, freed) };
    }
}

/// Gives a single page of a group back to its pool, with its charge for the next one.
///
/// # Errors
/// That cannot be, and nothing has happened; charges of a group that the caller has to give back.
///
/// # Safety
/// As [`release`], of a block of a single page.
pub(super) unsafe fn release_charged(
    tether: Tether,
    zone: &Zone,
    pfn: Pfn,
    group: GroupId,
    may_keep: impl FnOnce() -> bool,
) -> Result<(), (GroupId, usize)> {
    let freed = zone.put_charged(pfn, group, may_keep)?;
    if freed.is_something() {
        // SAFETY: `freed` came from a block of this pool just now.
        unsafe { settle(tether, zone, freed) };
    }
    Ok(())
}

/// Sees to what a zone has handed over with a free.
///
/// # Safety
/// `freed` came from `zone`, a zone of this pool, and nobody else sees to it. If there is nothing in it
/// that keeps the pool alive (see [`Freed`]), `tether` and `zone` are not used.
#[cold]
pub(super) unsafe fn settle(tether: Tether, zone: &Zone, freed: Freed) {
    let Freed {
        mut waiters,
        idle,
        mut closing_pages,
    } = freed;
    if let Some(idle) = idle {
        // SAFETY: (L2) the idle block is out, which keeps the pool and `zone` alive until it is back.
        let pool = unsafe { tether.pool() };
        let after = pool.give_back(zone, idle);
        waiters = waiters.or(after.waiters);
        closing_pages += after.closing_pages;
    }
    if let Some(waiters) = waiters {
        waiters.wake_all();
    }
    if closing_pages > 0 {
        tether.retire(closing_pages);
    }
}
