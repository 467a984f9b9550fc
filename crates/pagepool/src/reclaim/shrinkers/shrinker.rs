//! What a user implements to have its caches trimmed, and how it says so.
//!
//! *Kernel counterpart:* `struct shrinker`, `struct shrink_control` (v5.0).

#![forbid(unsafe_code)]

use std::time::Duration;

use thiserror::Error;

use crate::error::RangeError;
use crate::reclaim::policy::slab::{DEFAULT_SEEKS, SHRINK_BATCH};
use crate::types::{GroupId, NodeId};

/// Somebody who has memory of the pool in a cache, and can free a part of it when memory is short.
///
/// What it caches are its *objects*, of whatever kind and size; their memory is best allocated as
/// [`Gfp::RECLAIMABLE`](crate::Gfp::RECLAIMABLE). When a node is short of memory, and folios of it are
/// looked at for some to evict, each shrinker is asked how many objects it could free, and to look at a
/// share of them: a small one at first, a larger one while that is not enough.
///
/// Calls are made on a worker thread of the shrinker, one at a time, and never on a thread that allocates.
/// So an implementation may take locks of the application. It may block; whoever waits for it has a
/// deadline, and goes on without it. It is not called again before it has returned, and if it keeps on
/// blocking, panicking or freeing nothing, not for a while after that. Two things it must not do:
///
/// - Allocate from the pool that it serves: such a request is refused as
///   [`Reentrant`](crate::AllocError::Reentrant).
/// - Wait for a lock for long. Its owner may hold the lock while it allocates, and then waits for the
///   shrinker in vain, if only for its [deadline](ShrinkerOptions::deadline). Either allocate without
///   [`Gfp::FS`](crate::Gfp::FS) under such a lock, or try the lock and return [`Stop`] if it is taken.
///
/// The pool keeps a registered shrinker alive. A cache that keeps the [`ShrinkerHandle`](crate::ShrinkerHandle)
/// of itself, or a handle to the pool, would so never end: implement the trait for something that holds a
/// [`Weak`](std::sync::Weak) to it.
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use pagepool::{Freeable, Gfp, Order, PagePool, Pages};
/// use pagepool::{Scanned, ShrinkControl, Shrinker, ShrinkerOptions, Stop};
///
/// /// Pages that can be had again; the last is the next to go.
/// #[derive(Default)]
/// struct Cache(Mutex<Vec<Pages>>);
///
/// impl Shrinker for Cache {
///     fn count(&self, _: &ShrinkControl) -> Freeable {
///         match self.0.try_lock() {
///             Ok(pages) if pages.is_empty() => Freeable::Empty,
///             Ok(pages) => Freeable::Count(pages.len()),
///             Err(_) => Freeable::Unknown,
///         }
///     }
///
///     fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
///         let mut pages = self.0.try_lock().map_err(|_| Stop)?;
///         let kept = pages.len().saturating_sub(nr);
///         let freed = pages.drain(kept..).count();
///         Ok(Scanned { freed, scanned: freed })
///     }
/// }
///
/// let pool = PagePool::builder().memory(16 << 20).build()?;
/// let cache = Arc::new(Cache::default());
/// let _handle = pool.register_shrinker(ShrinkerOptions::new("pages"), cache.clone())?;
/// for _ in 0..10_000 {
///     // More than there is: older ones go.
///     let page = pool.alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::RECLAIMABLE)?;
///     cache.0.lock().unwrap().push(page);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Shrinker: Send + Sync + 'static {
    /// How many objects could be freed (kernel: `count_objects`). An estimate will do. It is called often,
    /// and should be quick.
    fn count(&self, ctl: &ShrinkControl) -> Freeable;

    /// Looks at up to `nr` objects, and frees those of them that are not in use (kernel: `scan_objects`).
    /// An object may be spared for having been used lately, and freed when its turn comes again.
    ///
    /// Pages are counted as they are freed, on this thread: what is freed elsewhere, or later, helps all the
    /// same, but nobody knows that it did.
    ///
    /// # Errors
    /// [`Stop`] if nothing can be freed just now, whatever the reason: what was to be done is put off.
    fn scan(&self, ctl: &ShrinkControl, nr: usize) -> Result<Scanned, Stop>;
}

/// What a shrinker is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShrinkControl {
    /// The node that is short of memory. Node 0 for a shrinker that is not
    /// [`numa_aware`](ShrinkerOptions::numa_aware): it is asked for all its objects.
    pub node: NodeId,
    /// The group whose objects are meant; none for a shrinker that is not
    /// [`group_aware`](ShrinkerOptions::group_aware).
    pub group: Option<GroupId>,
    /// How hard to look: at 1/2^priority of the objects. 12 at first, down to 0 when memory can be had in no
    /// other way.
    pub priority: u8,
}

/// How many objects a shrinker could free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freeable {
    /// It cannot say now, or none just now; it is asked again (kernel: 0).
    Unknown,
    /// It has none at all (kernel: `SHRINK_EMPTY`). A [`group_aware`](ShrinkerOptions::group_aware) shrinker
    /// is not asked again before it has [noted](crate::ShrinkerHandle::note_object) one.
    Empty,
    /// So many. 0 is the same as [`Unknown`](Self::Unknown).
    Count(usize),
}

/// What a scan came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scanned {
    /// Objects freed.
    pub freed: usize,
    /// Objects looked at, those freed included (kernel: `nr_scanned`). 0 ends the call, like [`Stop`], but
    /// counts as if it had looked in vain.
    pub scanned: usize,
}

/// Nothing can be freed just now (kernel: `SHRINK_STOP`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the shrinker can free nothing just now")]
pub struct Stop;

/// What a shrinker is called, and how it is to be called.
///
/// ```
/// use std::time::Duration;
/// use pagepool::ShrinkerOptions;
/// let options = ShrinkerOptions::new("rows").seeks(4).batch(64).deadline(Duration::from_millis(20));
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a shrinker is registered with them"]
pub struct ShrinkerOptions {
    pub(super) name: String,
    pub(super) seeks: u32,
    batch: usize,
    pub(super) is_numa_aware: bool,
    pub(super) is_group_aware: bool,
    pub(super) deadline: Duration,
}

/// The longest name of a shrinker, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// The longest that a call may be waited for.
const MAX_DEADLINE: Duration = Duration::from_secs(10);

impl ShrinkerOptions {
    /// Returns the defaults for a shrinker of this name, 1 to 64 bytes: what statistics and traces call it.
    pub fn new(name: impl Into<String>) -> ShrinkerOptions {
        ShrinkerOptions {
            name: name.into(),
            seeks: DEFAULT_SEEKS,
            batch: 0,
            is_numa_aware: false,
            is_group_aware: false,
            deadline: Duration::from_millis(100),
        }
    }

    /// What it costs to make an object anew, against reading a page, which costs 2. Default 2. The greater,
    /// the fewer objects the shrinker is asked for, in inverse proportion; with 0 it is asked for half of
    /// them at once.
    pub fn seeks(mut self, seeks: u32) -> Self {
        self.seeks = seeks;
        self
    }

    /// Objects that one [scan](Shrinker::scan) is asked to look at. Default 0, which means 128. What is less
    /// is put off until it is as much, unless memory is really short.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Whether it can tell which node its objects are in, and free those of one node. Default false: then it
    /// is asked for all of them, whichever node is short of memory.
    pub fn numa_aware(mut self, is_aware: bool) -> Self {
        self.is_numa_aware = is_aware;
        self
    }

    /// Whether it can tell which group its objects belong to. Default false. One that can must
    /// [note](crate::ShrinkerHandle::note_object) that there are some, and is only asked then.
    pub fn group_aware(mut self, is_aware: bool) -> Self {
        self.is_group_aware = is_aware;
        self
    }

    /// How long a single call of [`count`](Shrinker::count) or [`scan`](Shrinker::scan) is waited for. Default
    /// 100 ms, at most 10 s. Whoever reclaims has a deadline of its own, and may leave before.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Objects that one scan is asked to look at.
    pub(super) fn batch_size(&self) -> usize {
        match self.batch {
            0 => SHRINK_BATCH,
            batch => batch,
        }
    }

    /// Whether each is in its range.
    pub(super) fn check(&self) -> Result<(), RangeError> {
        if !(1..=MAX_NAME).contains(&self.name.len()) {
            let accepted = format!("1 to {MAX_NAME} bytes");
            return Err(RangeError::new("name", &self.name, accepted));
        }
        if self.deadline.is_zero() || self.deadline > MAX_DEADLINE {
            let value = format!("{:?}", self.deadline);
            let accepted = format!("more than 0, up to {MAX_DEADLINE:?}");
            return Err(RangeError::new("deadline", value, accepted));
        }
        Ok(())
    }
}

/// Why a shrinker could not be registered.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ShrinkerError {
    /// An option is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] RangeError),
    /// The pool has as many as it was built for. One whose handle was dropped while a call of it was under
    /// way counts until that returns.
    #[error(
        "the pool has {limit} shrinkers already: build it with a larger `max_shrinkers` (accepted is 0 to \
         {most}), or drop a handle"
    )]
    TooMany {
        /// What the pool was built for.
        limit: usize,
        /// What it could be built for.
        most: usize,
    },
}
