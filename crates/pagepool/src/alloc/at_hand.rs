//! Which [magazine](crate::zone::magazine) the calling thread has, of which pool.
//!
//! A thread gets one when it first allocates or frees a single page the long way, and keeps it until it ends. Of
//! the pool that it used last it knows it by two numbers; of a few more, by a list.
//!
//! **Invariants**
//! - C1: the number of a pool is used once in the life of a process, so that what a thread remembers of a pool
//!   that has ended fits no other.
//! - C2: a thread that is known to have a slot holds a reference to the magazines that it is in: they are there
//!   as long as the thread is, even after the pool's end.
//! - C3: a slot is one thread's alone, from when it was claimed until it is released (G1).

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::sync::thread::{per_thread, per_thread_until_its_end};
use crate::types::NodeId;
use crate::zone::magazine::Magazines;

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

/// Where a thread's magazine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Of this node's zone for raw pages.
    pub(crate) node: NodeId,
    /// The slot there.
    pub(crate) slot: usize,
}

#[derive(Clone, Copy)]
struct Here {
    pool: PoolId,
    place: Place,
}

per_thread! {
    static HERE: Cell<Here> = Cell::new(Here { pool: PoolId::NONE, place: Place { node: NodeId::at(0), slot: 0 } });
}

per_thread_until_its_end! {
    static HOLDINGS: RefCell<ArrayVec<Holding, MOST>> = RefCell::new(ArrayVec::new_const());
}

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

/// The calling thread's magazine of a pool, if that is the one that it used last.
#[inline]
pub(crate) fn here(pool: PoolId) -> Option<Place> {
    HERE.with(|here| {
        let here = here.get();
        (here.pool == pool).then_some(here.place)
    })
}

/// The thread has no magazine that it knows of.
fn forget() {
    let nowhere = Here {
        pool: PoolId::NONE,
        place: Place {
            node: NodeId::at(0),
            slot: 0,
        },
    };
    // Where the thread is about to end, there may be nothing to forget.
    let _ended = HERE.try_with(|here| here.set(nowhere));
}

/// Finds or gets the thread a magazine of a pool, on the node that it runs on, whose magazines are `magazines`;
/// [`here`] finds it from now on. None if there is none to be had, or the thread is about to end.
#[cold]
pub(crate) fn find(pool: PoolId, node: NodeId, magazines: &Arc<Magazines>) -> Option<Place> {
    if magazines.depth() == 0 {
        return None;
    }
    let found = HOLDINGS.try_with(|holdings| {
        // It is borrowed already, if memory for the list itself is asked for.
        let mut holdings = holdings.try_borrow_mut().ok()?;
        let known = holdings.iter().position(|one| one.pool == pool);
        if let Some(known) = known {
            let one = &mut holdings[known];
            let is_here = one.node == node && one.slot.is_some();
            one.misses = one.misses.saturating_add(1);
            if !is_here && one.node == node && one.misses < PATIENCE {
                return None;
            }
            if !is_here {
                holdings.swap_remove(known);
            }
        }
        let known = holdings.iter().position(|one| one.pool == pool);
        if known.is_none() {
            if holdings.is_full() {
                holdings.remove(0);
            }
            holdings.push(Holding {
                pool,
                node,
                slot: magazines.claim(),
                magazines: Arc::clone(magazines),
                misses: 0,
            });
        }
        let one = holdings.iter().find(|one| one.pool == pool)?;
        let place = Place {
            node,
            slot: one.slot?,
        };
        let _ended = HERE.try_with(|here| here.set(Here { pool, place }));
        Some(place)
    });
    found.ok().flatten()
}

/// The magazines that the thread's slot of a pool is in (C2).
#[cold]
pub(crate) fn magazines_of(pool: PoolId) -> Option<Arc<Magazines>> {
    let found = HOLDINGS.try_with(|holdings| {
        let holdings = holdings.try_borrow().ok()?;
        let one = holdings.iter().find(|one| one.pool == pool)?;
        Some(Arc::clone(&one.magazines))
    });
    found.ok().flatten()
}
