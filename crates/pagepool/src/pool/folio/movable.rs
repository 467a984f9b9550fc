//! Objects of users': memory that its owner can move, since he alone knows who knows its address.
//!
//! *Kernel counterpart:* non-LRU movable pages: `__SetPageMovable`, `isolate_page`, `migratepage`,
//! `putback_page` (v5.0).
//!
//! An object is a folio that is locked in memory, and that the mover does not move by itself. It asks a
//! worker thread to do so, which calls the owner and moves the folio like any other in between, so that
//! nothing holds here that does not hold for folios:
//!
//! ```text
//! mover                        worker                                      anybody
//! ─────                        ──────                                      ───────
//! finds the folio in its way
//! puts it back; asks ────────→ is it held? then it stays
//!                              isolate(key): may it be moved?
//!                              the folio leaves its list
//!                              STABLE; the bytes are copied                reads, and writes: a write
//!                              migrate(key): the copy is made fit            takes STABLE off, and the
//!                              the word names the new frame, if              move comes to nothing
//!                                STABLE still stands
//!                              the folio is listed again
//! ←─────────────── done ────── put_back(key, moved or stayed)
//! waits no longer than
//!   a tenth of a second
//! ```
//!
//! **Invariants**
//! - M1: of the mover's threads none has an object in hand, only its number; a worker has it as its owner
//!   does, by an [`Arc`]. So the folio ends once, with the last of the two, and the pool lives until then
//!   (L5). The thread that ends it is never a daemon.
//! - M2: one worker at a time calls an owner. One that does not return keeps others from nothing but its own
//!   objects.
//! - M3: the frame of an object says so (`Owned` in its custody) as long as it is in memory. It is registered
//!   from before that until it ends.
//!
//! **Locking:** the registry's lock is taken by who makes or drops an object and by workers, and so never by
//! who only needs memory; nothing else is taken under it, and nobody called.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::Weak;

use super::access::Access;
use super::{Folio, FolioRead, FolioWrite};
use crate::backing::{Backing, BackingError, PoolTag, Store, StoreId, StoreSpec, WriteOut};
use crate::error::{AccessError, AllocError};
use crate::fault::Terms;
use crate::folio::{Courtesy, FolioId, Mark};
use crate::gfp::Gfp;
use crate::pool::PagePool;
use crate::pool::compaction::ANSWER_WITHIN;
use crate::sync::{Mutex, clock};
use crate::types::{GroupId, NodeId, Order, Pfn};

/// Owners that may be in a call at once: one that does not return keeps its place.
const MAX_CALLS: usize = 4;

/// Who owns [movable blocks](MovableBlock), and is called when one of them is to be moved.
///
/// Calls are made on a worker thread of the pool, one at a time for each owner, so that an implementation may
/// take locks of the application. A move is three calls: [`isolate`](Self::isolate),
/// [`migrate`](Self::migrate), [`put_back`](Self::put_back). The move is waited for no longer than a tenth of
/// a second; after that the block stays where it is, and its owner is not called again before it has
/// returned. A panic counts as a refusal. What a call must not do is allocate from the pool that it serves:
/// such a request is refused.
///
/// No call is made on behalf of a thread that waits for a large block, since that one may hold locks that
/// the owner needs.
///
/// An owner that has its blocks inside itself keeps itself alive. To have it end all the same, implement the
/// trait for something that holds a [`Weak`] to it.
pub trait MovableOwner: Send + Sync + 'static {
    /// Whether the block may be moved now (kernel: `isolate_page`). Until [`put_back`](Self::put_back), the
    /// owner should keep others from using it: what somebody has written to meanwhile, or is looking at, is
    /// not moved. Not called for a block that a guard is held of.
    fn isolate(&self, key: u64) -> bool {
        let _ = key;
        true
    }

    /// The block's bytes have been copied to their new place, where nobody else knows them yet; this makes
    /// them fit for it, if they depend on their address (kernel: `migratepage`).
    ///
    /// # Errors
    /// [`Immovable`]: the block stays where it is, as it was.
    fn migrate(&self, key: u64, relocation: &mut Relocation<'_>) -> Result<(), Immovable> {
        let _ = (key, relocation);
        Ok(())
    }

    /// The attempt is over, however it ended (kernel: `putback_page`). Called once for each call of
    /// [`isolate`](Self::isolate) that consented.
    fn put_back(&self, key: u64, outcome: MoveOutcome) {
        let _ = (key, outcome);
    }
}

/// The owner cannot have its block moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the owner cannot have its block moved")]
pub struct Immovable;

/// What came of an attempt to move a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveOutcome {
    /// It is at its new place.
    Moved,
    /// It is where it was, and as it was.
    Stayed,
}

/// A block on its way.
pub struct Relocation<'a> {
    from: usize,
    bytes: &'a mut [u8],
}

impl Relocation<'_> {
    /// The address that the block has until now.
    #[must_use]
    pub fn from_addr(&self) -> usize {
        self.from
    }

    /// The address that it is to have.
    #[must_use]
    pub fn to_addr(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    /// Its bytes, at the new address.
    #[must_use]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl fmt::Debug for Relocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relocation")
            .field("from", &format_args!("{:#x}", self.from_addr()))
            .field("to", &format_args!("{:#x}", self.to_addr()))
            .finish_non_exhaustive()
    }
}

/// An owned block of 2^order pages that is always in memory, and that its owner can move.
///
/// Its bytes are reached through guards, and while there is one, the block is not moved; in between its
/// address may change. It lies where folios do, in the Movable zone for one, and so is never in the way of a
/// large block for good.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use pagepool::{Gfp, Immovable, MovableOwner, Order, PagePool, Relocation};
///
/// /// Keeps a pointer into the block, in its first word.
/// struct Linked;
///
/// impl MovableOwner for Linked {
///     fn migrate(&self, _key: u64, relocation: &mut Relocation<'_>) -> Result<(), Immovable> {
///         let (from, to) = (relocation.from_addr(), relocation.to_addr());
///         let (word, _) = relocation.bytes().split_first_chunk_mut::<8>().ok_or(Immovable)?;
///         let target = usize::from_ne_bytes(*word);
///         *word = (target - from + to).to_ne_bytes();
///         Ok(())
///     }
/// }
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let mut block = pool.alloc_movable(Order::ZERO, Gfp::KERNEL, Arc::new(Linked), 0)?;
/// let mut bytes = block.write()?;
/// let target = bytes.as_ptr().addr() + 100;
/// bytes[..8].copy_from_slice(&target.to_ne_bytes());
/// drop(bytes);
///
/// pool.compact(Duration::from_secs(1)); // may or may not move it
/// let bytes = block.read()?;
/// let target = usize::from_ne_bytes(bytes[..8].try_into()?);
/// assert_eq!(target, bytes.as_ptr().addr() + 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MovableBlock {
    object: Arc<Object>,
}

impl PagePool {
    /// Allocates a zeroed block of 2^order pages that `owner` can move. The owner is called with `key`: what
    /// he knows the block by, from before this returns.
    ///
    /// A block is counted as a folio that is locked in memory.
    ///
    /// # Errors
    /// As [`alloc_folio`](Self::alloc_folio).
    pub fn alloc_movable(
        &self,
        order: Order,
        gfp: Gfp,
        owner: Arc<dyn MovableOwner>,
        key: u64,
    ) -> Result<MovableBlock, AllocError> {
        self.alloc_movable_in(GroupId::ROOT, order, gfp, (owner, key))
    }

    /// The same, for a group.
    pub(in crate::pool) fn alloc_movable_in(
        &self,
        group: GroupId,
        order: Order,
        gfp: Gfp,
        (owner, key): (Arc<dyn MovableOwner>, u64),
    ) -> Result<MovableBlock, AllocError> {
        let movables = &self.inner.movables;
        movables.prepare(self.inner.tag());
        let folio = Folio::open_at(
            &self.inner,
            order.bytes(),
            order,
            &[Mark::Locked],
            None,
            group,
        )?;
        let id = folio.id();
        let object = Arc::new(Object { folio, owner, key });
        movables.registry.enter(id, &object);
        let terms = Terms {
            is_object: true,
            ..self.first_terms(gfp)
        };
        self.populate(&object.folio, terms)?;
        Ok(MovableBlock { object })
    }
}

impl MovableBlock {
    /// Shares the bytes. The block stays where it is meanwhile.
    ///
    /// # Errors
    /// [`AccessError::TimedOut`] if a guard of [`write`](Self::write) was leaked.
    pub fn read(&self) -> Result<FolioRead<'_>, AccessError> {
        let folio = &self.object.folio;
        let word = folio.hold(Access::Read(Courtesy::WaitersFirst), None)?;
        Ok(FolioRead::new(folio, word))
    }

    /// Has the bytes alone. The block stays where it is meanwhile, and a move that is under way comes to
    /// nothing.
    ///
    /// # Errors
    /// None at present.
    pub fn write(&mut self) -> Result<FolioWrite<'_>, AccessError> {
        let folio = &self.object.folio;
        let word = folio.hold(Access::WriteOwned, None)?;
        Ok(FolioWrite::new(folio, word))
    }

    /// What its owner knows it by.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.object.key
    }

    /// The order of the block: it has 2^order pages.
    #[must_use]
    pub fn order(&self) -> Order {
        self.object.folio.order()
    }

    /// The size in bytes. Never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub fn len(&self) -> usize {
        self.object.folio.len()
    }

    /// The node that it is in.
    #[must_use]
    pub fn node(&self) -> NodeId {
        let node = self.object.folio.node();
        node.expect("a locked folio is in memory")
    }
}

impl fmt::Debug for MovableBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovableBlock")
            .field("key", &self.key())
            .field("folio", &self.object.folio)
            .finish_non_exhaustive()
    }
}

/// A block and its owner.
struct Object {
    folio: Folio,
    owner: Arc<dyn MovableOwner>,
    key: u64,
}

impl Drop for Object {
    fn drop(&mut self) {
        let movables = &self.folio.pool().movables;
        movables.registry.leave(self.folio.id());
    }
}

impl Object {
    /// Has the block moved out of a unit of order `unit`, if its owner consents; returns whether it was.
    /// Runs on a worker. A panic of the owner's goes on from here, after everything is where it belongs.
    fn relocate(&self, unit: Order) -> bool {
        let deadline = clock::deadline_after(ANSWER_WITHIN);
        if self.folio.slot().word().is_held() || !self.owner.isolate(self.key) {
            return false;
        }
        let pool = self.folio.pool();
        let mut panic = None;
        let mut adjust = |from: Pfn, bytes: &mut [u8]| {
            let mut relocation = Relocation {
                from: pool.frame_ptr(from).as_ptr().addr(),
                bytes,
            };
            let migrate = || self.owner.migrate(self.key, &mut relocation);
            // After a panic the bytes are nobody's.
            match catch_unwind(AssertUnwindSafe(migrate)) {
                Ok(answer) => answer.is_ok() && !clock::is_over(deadline),
                Err(payload) => {
                    panic = Some(payload);
                    false
                }
            }
        };
        // Whoever wanted it may have gone: then it goes back.
        let has_moved = !clock::is_over(deadline)
            && pool
                .compactor()
                .move_object(self.folio.id(), unit, &mut adjust);
        let outcome = if has_moved {
            MoveOutcome::Moved
        } else {
            MoveOutcome::Stayed
        };
        self.owner.put_back(self.key, outcome);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        has_moved
    }
}

/// Objects by the numbers of their folios, and the owners that are in a call.
#[derive(Debug, Default)]
struct Entries {
    objects: BTreeMap<FolioId, Weak<Object>>,
    called: Vec<usize>,
}

#[derive(Debug, Default)]
struct Registry(Mutex<Entries>);

impl Registry {
    fn enter(&self, folio: FolioId, object: &Arc<Object>) {
        let object = Arc::downgrade(object);
        self.0.lock().objects.insert(folio, object);
    }

    fn leave(&self, folio: FolioId) {
        let left = self.0.lock().objects.remove(&folio);
        debug_assert!(left.is_some(), "M3: {folio:?} was not registered");
    }

    fn get(&self, folio: FolioId) -> Option<Arc<Object>> {
        self.0.lock().objects.get(&folio)?.upgrade()
    }

    /// Takes the turn of calling an owner, if nobody else has it (M2).
    fn begin_call(&self, owner: &Arc<dyn MovableOwner>) -> Option<Turn<'_>> {
        let owner = Arc::as_ptr(owner).cast::<()>().addr();
        let mut entries = self.0.lock();
        if entries.called.contains(&owner) {
            return None;
        }
        entries.called.push(owner);
        Some(Turn {
            registry: self,
            owner,
        })
    }
}

/// A call of an owner; it ends when this is dropped.
struct Turn<'a> {
    registry: &'a Registry,
    owner: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut entries = self.registry.0.lock();
        entries.called.retain(|owner| *owner != self.owner);
    }
}

/// What a worker is asked: which folio is to be moved, and out of a unit of which order.
fn question(folio: FolioId, unit: Order) -> u64 {
    u64::from(unit.get()) << u32::BITS | u64::from(folio.get())
}

/// What [`question`] was made of.
fn question_parts(question: u64) -> (FolioId, Order) {
    let unit = (question >> u32::BITS) as usize;
    (FolioId::from_raw(question as u32), Order::at(unit))
}

/// The store that has the workers: it keeps nothing, and is only ever asked.
struct Desk(Arc<Registry>);

impl Backing for Desk {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        unreachable!("no folio is over this")
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        unreachable!("no folio is over this")
    }

    fn migrate(&self, page: u64) -> Result<(), BackingError> {
        let (folio, unit) = question_parts(page);
        let Some(object) = self.0.get(folio) else {
            return Ok(()); // it has ended, and is in nobody's way
        };
        let has_moved = match self.0.begin_call(&object.owner) {
            Some(_turn) => object.relocate(unit),
            None => false,
        };
        if has_moved {
            Ok(())
        } else {
            Err(std::io::Error::other(Immovable).into())
        }
    }
}

/// The objects of a pool.
#[derive(Debug)]
pub(in crate::pool) struct Movables {
    registry: Arc<Registry>,
    /// None before the first object.
    workers: Mutex<Option<Store>>,
}

impl Movables {
    /// Returns what a pool without objects needs, which is nothing.
    pub(in crate::pool) fn new() -> Movables {
        Movables {
            registry: Arc::default(),
            workers: Mutex::new(None),
        }
    }

    /// Sees to it that there are workers to be asked. They start when they are; their staging buffers are
    /// never touched, and so take no memory. Without any, objects stay where they are.
    fn prepare(&self, pool: PoolTag) {
        let mut workers = self.workers.lock();
        if workers.is_none() {
            let made = Store::new(StoreSpec {
                id: StoreId::OUTSIDE,
                pool,
                backing: Arc::new(Desk(Arc::clone(&self.registry))),
                in_file: None,
                watch: None,
                spawn: crate::pool::spawn,
                stuck_after: StoreSpec::STUCK_AFTER,
                max_asks: MAX_CALLS,
            });
            *workers = made.ok();
        }
    }

    /// How many objects there are.
    pub(in crate::pool) fn len(&self) -> usize {
        self.registry.0.lock().objects.len()
    }

    /// Has an object moved out of a unit of order `unit`; returns whether it is out of the way. Called by
    /// who compacts, and so never the one that ends it (M1).
    pub(in crate::pool) fn have_moved(&self, folio: FolioId, unit: Order) -> bool {
        let workers = self.workers.lock().clone();
        let deadline = clock::deadline_after(ANSWER_WITHIN);
        workers.is_some_and(|workers| workers.ask(question(folio, unit), deadline).is_ok())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn questions_survive_packing() {
        for folio in [0, 7, u32::MAX - 1] {
            for unit in [Order::ZERO, Order::MAX] {
                let folio = FolioId::from_raw(folio);
                assert_eq!(question_parts(question(folio, unit)), (folio, unit));
            }
        }
    }

    #[test]
    fn an_owner_is_called_by_one_at_a_time() {
        struct Anybody;
        impl MovableOwner for Anybody {}
        let movables = Movables::new();
        let registry = &movables.registry;
        let (one, other): (Arc<dyn MovableOwner>, Arc<dyn MovableOwner>) =
            (Arc::new(Anybody), Arc::new(Anybody));
        let turn = registry.begin_call(&one);
        assert!(turn.is_some());
        assert!(registry.begin_call(&one).is_none());
        assert!(registry.begin_call(&other).is_some());
        drop(turn);
        assert!(registry.begin_call(&one).is_some());
    }
}
