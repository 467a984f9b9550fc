//! Allocators that one thread at a time may use, and that are given their memory.
//!
//! In works of one lane they are used as they are; where several lanes allocate, they stand behind a
//! mutex and are called so in the table: a program that uses them from two threads has to do the same.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Mutex;

use pagepool::{Order, PAGE_SIZE};

use super::Subject;
use super::arena::Arena;

/// An allocator of one arena for one thread at a time.
pub(crate) trait Single: Send + Sized + 'static {
    /// What it hands out: where the block is, in its own words.
    type Place: Copy + Send + 'static;

    /// The name in the table, and the one where it stands behind a mutex.
    const NAMES: Names;

    /// Size of an arena in which blocks of `bytes` together have room.
    fn arena_for(bytes: usize) -> usize;

    /// Returns the allocator of the whole arena, which outlives it and which nobody else touches.
    fn new(arena: &Arena) -> Self;

    /// Returns a block that begins at a page, or `None`.
    fn alloc(&mut self, order: Order) -> Option<Self::Place>;

    /// Takes back a block of `order`.
    fn free(&mut self, place: Self::Place, order: Order);

    /// The first byte of a block.
    fn start(place: Self::Place, arena: &Arena) -> NonNull<u8>;
}

/// What an allocator is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    /// As it is.
    pub(crate) alone: &'static str,
    /// Behind a mutex.
    pub(crate) locked: &'static str,
}

/// How an allocator for one thread at a time is kept.
pub(crate) trait Keeper: 'static {
    /// Whether several threads may use it.
    const IS_LOCKED: bool;

    /// An allocator so kept.
    type Kept<A: Single>: Sync + 'static;

    /// Keeps it.
    fn keep<A: Single>(allocator: A) -> Self::Kept<A>;

    /// Does something with it.
    fn with<A: Single, R>(kept: &Self::Kept<A>, use_it: impl FnOnce(&mut A) -> R) -> R;
}

/// As it is, for works of which one lane allocates.
#[derive(Debug)]
pub(crate) struct Alone;

/// Behind a mutex.
#[derive(Debug)]
pub(crate) struct Locked;

/// An allocator that only one thread uses.
#[derive(Debug)]
pub(crate) struct OfOneThread<A>(UnsafeCell<A>);

// SAFETY: the harness enters `Alone` only for works of which one lane allocates, and uses subjects on no
// other thread while lanes run; the lane's thread is started after the allocator was made and joined
// before it is dropped.
unsafe impl<A: Send> Sync for OfOneThread<A> {}

impl Keeper for Alone {
    const IS_LOCKED: bool = false;

    type Kept<A: Single> = OfOneThread<A>;

    fn keep<A: Single>(allocator: A) -> OfOneThread<A> {
        OfOneThread(UnsafeCell::new(allocator))
    }

    #[inline]
    fn with<A: Single, R>(kept: &OfOneThread<A>, use_it: impl FnOnce(&mut A) -> R) -> R {
        // SAFETY: (1) one thread uses it, see above; (2) no use of it begins within another: `use_it`
        // is a call of the allocator, which knows nothing of its keeper.
        use_it(unsafe { &mut *kept.0.get() })
    }
}

impl Keeper for Locked {
    const IS_LOCKED: bool = true;

    type Kept<A: Single> = Mutex<A>;

    fn keep<A: Single>(allocator: A) -> Mutex<A> {
        Mutex::new(allocator)
    }

    #[inline]
    fn with<A: Single, R>(kept: &Mutex<A>, use_it: impl FnOnce(&mut A) -> R) -> R {
        use_it(&mut kept.lock().expect("a panic ends the process"))
    }
}

/// A [`Single`] as a subject.
pub(crate) struct InArena<A: Single, K: Keeper> {
    // Before the arena: it goes first.
    allocator: K::Kept<A>,
    arena: Arena,
}

impl<A: Single, K: Keeper> fmt::Debug for InArena<A, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(Self::NAME)
            .field("arena", &self.arena)
            .finish_non_exhaustive()
    }
}

/// A block of an arena.
#[derive(Debug)]
pub(crate) struct ArenaBlock<P> {
    place: P,
    order: Order,
}

impl<A: Single, K: Keeper> Subject for InArena<A, K> {
    type Block = ArenaBlock<A::Place>;

    const NAME: &'static str = if K::IS_LOCKED {
        A::NAMES.locked
    } else {
        A::NAMES.alone
    };

    fn open(bytes: usize) -> Result<Self, String> {
        let arena = Arena::map(A::arena_for(bytes))?;
        let allocator = K::keep(A::new(&arena));
        Ok(InArena { allocator, arena })
    }

    #[inline]
    fn alloc(&self, order: Order) -> Option<Self::Block> {
        let place = K::with(&self.allocator, |allocator| allocator.alloc(order))?;
        Some(ArenaBlock { place, order })
    }

    #[inline]
    fn free(&self, block: Self::Block) {
        K::with(&self.allocator, |allocator: &mut A| {
            allocator.free(block.place, block.order);
        });
    }

    fn touch(&self, block: &mut Self::Block) {
        let start = A::start(block.place, &self.arena);
        assert!(start.addr().get().is_multiple_of(PAGE_SIZE));
        for page in 0..block.order.pages() {
            // SAFETY: the page begins within the block.
            let byte = unsafe { start.add(page * PAGE_SIZE) };
            // SAFETY: the byte is the caller's, who holds the block exclusively.
            unsafe { byte.write_volatile(1) };
        }
    }
}
