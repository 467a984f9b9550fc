//! Which [magazine](crate::zone::magazine) the calling thread has, of which pool.
//!
//! A thread gets one when it first allocates or frees a single page the long way, and keeps it until it ends. Of
//! the pool that it used last it knows at once where everything is that the shortest way touches; of a few more,
//! by a list.
//!
//! **Invariants**
//! - C1: the number of a pool is used once in the life of a process, so that what a thread remembers of a pool
//!   that has ended fits no other.
//! - C2: a thread that is known to have a slot holds a reference to the magazines that it is in: they are there
//!   as long as the thread is, even after the pool's end.
//! - C3: a slot is one thread's alone, from when it was claimed until it is released (G1).
//! - C4: the zone and the arena that a thread remembers are those of the pool whose number it remembers with them.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::arena::Arena;
use crate::sync::thread::{per_thread, per_thread_until_its_end};
use crate::types::NodeId;
use crate::zone::Zone;
use crate::zone::magazine::{Magazine, Magazines};

/// Pools that a thread has magazines of at once.
const MOST: usize = 4;

/// Attempts to get a magazine after one that failed, before there is another: all may be taken.
const PATIENCE: u16 = 256;

/// Tells a pool from all others that this process ever has (C1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolId(u64);

impl PoolId {
    const NONE: PoolId = PoolId(0);

    /// One that no pool had before.
    pub(crate) fn unique() -> PoolId {
        PoolId(crate::sync::thread::next_unique())
    }
}

/// A thread's magazine, and what it takes to use it. By plain pointers: of others, who looks at a thread's place would
/// have to ask again whether there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The magazine: there as long as [`is_here`] finds it (C2).
    pub(crate) magazine: *const Magazine,
    /// The zone that it is in front of: there as long as the pool is (C4).
    pub(crate) zone: *const Zone,
    /// The memory of that zone's node: likewise.
    pub(crate) arena: *const Arena,
    /// What blocks of that zone are counted from, as [`find`] was told: likewise.
    pub(crate) first: *mut u8,
    /// Which of the zone's magazines it is.
    pub(crate) slot: usize,
}

impl Place {
    const NOWHERE: Place = Place {
        magazine: ptr::null(),
        zone: ptr::null(),
        arena: ptr::null(),
        first: ptr::null_mut(),
        slot: 0,
    };
}

#[derive(Clone, Copy)]
struct Here {
    pool: PoolId,
    place: Place,
}

impl Here {
    const NOWHERE: Here = Here {
        pool: PoolId::NONE,
        place: Place::NOWHERE,
    };
}

per_thread! {
    static HERE: Cell<Here> = Cell::new(Here::NOWHERE);
}

// Whether the thread is looking for a magazine.
per_thread! {
    static INSIDE: Cell<bool> = Cell::new(false);
}

per_thread_until_its_end! {
    static HOLDINGS: RefCell<Holdings> = RefCell::new(Holdings(ArrayVec::new_const()));
}

/// What a thread has of pools.
struct Holdings(ArrayVec<Holding, MOST>);

/// What a thread has of a pool.
struct Holding {
    pool: PoolId,
    node: NodeId,
    magazines: Arc<Magazines>,
    /// None, if all were taken when it asked last.
    slot: Option<usize>,
    /// How often it looked for one since.
    misses: u16,
}

impl Drop for Holding {
    fn drop(&mut self) {
        if crate::sync::thread::is_model_over() {
            return;
        }
        if let Some(slot) = self.slot {
            forget();
            self.magazines.release(slot);
        }
    }
}

/// Whether the calling thread has a magazine of a pool, and used that pool last.
#[inline(always)]
pub(crate) fn is_here(pool: PoolId) -> bool {
    HERE.with(|here| here.get().pool == pool)
}

/// The calling thread's magazine of the pool that it [used last](is_here).
#[inline(always)]
pub(crate) fn here() -> Place {
    HERE.with(|here| here.get().place)
}

/// The thread has no magazine that it knows of.
fn forget() {
    // Where the thread is about to end, there may be nothing to forget.
    let _ended = HERE.try_with(|here| here.set(Here::NOWHERE));
}

/// Finds or gets the thread a magazine of a pool, in front of a zone of the node that it runs on, which is the
/// zone's and the arena's; `first` is kept with them. [`is_here`] finds it from now on. None if there is none to be
/// had, or the thread is about to end.
#[cold]
pub(crate) fn find(pool: PoolId, zone: &Zone, arena: &Arena, first: *mut u8) -> Option<Place> {
    let (node, magazines) = (zone.node(), zone.magazines());
    // The list's first use may ask for memory, to have it dropped at the thread's end: and so come here again.
    if magazines.depth() == 0 || INSIDE.with(|inside| inside.replace(true)) {
        return None;
    }
    let mut gone = None;
    let found = HOLDINGS.try_with(|holdings| {
        let mut holdings = holdings.try_borrow_mut().ok()?;
        gone = holdings.make_room(pool, node)?;
        if holdings.of(pool).is_none() {
            holdings.0.push(Holding {
                pool,
                node,
                slot: magazines.claim(),
                magazines: Arc::clone(magazines),
                misses: 0,
            });
        }
        holdings.of(pool)?.slot
    });
    INSIDE.with(|inside| inside.set(false));
    // Not before: the last one who knows a zone's magazines gives their memory back.
    drop(gone);
    let slot = found.ok().flatten()?;
    let place = Place {
        magazine: magazines.slot(slot)?,
        zone,
        arena,
        first,
        slot,
    };
    let _ended = HERE.try_with(|here| here.set(Here { pool, place }));
    Some(place)
}

impl Holdings {
    fn of(&self, pool: PoolId) -> Option<&Holding> {
        self.0.iter().find(|one| one.pool == pool)
    }

    /// Takes out what is in the way of a magazine on this node: another of the same pool, or the oldest of all if
    /// there are too many. None, if it is too early to look for one again.
    fn make_room(&mut self, pool: PoolId, node: NodeId) -> Option<Option<Holding>> {
        let Some(known) = self.0.iter().position(|one| one.pool == pool) else {
            return Some(self.0.is_full().then(|| self.0.remove(0)));
        };
        let one = &mut self.0[known];
        if one.slot.is_some() && one.node == node {
            return Some(None);
        }
        one.misses = one.misses.saturating_add(1);
        let is_early = one.slot.is_none() && one.misses < PATIENCE;
        (!is_early).then(|| Some(self.0.swap_remove(known)))
    }
}

/// The magazine that the thread used last, and those that it is one of (C2); None, if it has none any more.
#[cold]
pub(crate) fn latest() -> Option<(Arc<Magazines>, Place)> {
    let Here { pool, place } = HERE.with(Cell::get);
    let found = HOLDINGS.try_with(|holdings| {
        let holdings = holdings.try_borrow().ok()?;
        Some(Arc::clone(&holdings.of(pool)?.magazines))
    });
    Some((found.ok().flatten()?, place))
}
