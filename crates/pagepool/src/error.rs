//! What can go wrong, said so that the caller can act on it.
//!
//! Errors of the allocation path are small `Copy` enums with one variant per thing a caller can do
//! differently. Errors of set-up name the field, the value and the accepted range.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{fmt, io};

use thiserror::Error;

/// An order above the largest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("order {order} is out of range: blocks have orders 0 (4 KiB) to 10 (4 MiB)")]
pub struct OrderError {
    order: u8,
}

impl OrderError {
    pub(crate) const fn new(order: u8) -> OrderError {
        OrderError { order }
    }
}

/// Why an allocation was refused.
///
/// Each variant is one [cause](AllocError::cause) and one [remedy](AllocError::remedy).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// No zone that the request may use can ever hold the block.
    #[error("the block never fits: every zone open to the request is smaller")]
    NeverFits,
    /// The free memory stands at or below the mark that this request must respect.
    #[error("below the minimum mark: too little memory is free")]
    BelowMin,
    /// Enough memory is free, but no block of the order.
    #[error("fragmented: enough memory is free, but no free block is large enough")]
    Fragmented,
    /// The free memory is kept back for requests that cannot use a higher zone.
    #[error("the free memory is reserved for requests that need the lower zone")]
    LowmemReserve,
    /// Only nodes that the caller's mask forbids have memory.
    #[error("the node mask excludes every node with free memory")]
    NodeMask,
    /// The flags contradict each other.
    #[error("the request's flags contradict each other")]
    InvalidFlags,
    /// Memory could be had by swapping only, and the swap areas are full.
    #[error("swap is full: what is cold cannot leave memory")]
    SwapFull,
    /// Memory could be had by writing out only, and a store does not answer.
    #[error("a backing store has stalled: what is cold cannot be written out")]
    StoreStalled,
    /// Everything that could leave memory is pinned, locked or in use.
    #[error("everything that could be reclaimed is pinned or locked in memory")]
    AllPinned,
    /// The request was made inside a callback of the same pool.
    #[error("the pool was asked for memory by one of its own callbacks")]
    Reentrant,
    /// The pool has as many folios as it can.
    #[error("the pool has no room for another folio")]
    TooManyFolios,
    /// What is taken out of memory is needed again at once: waiting would not end.
    #[error("thrashing: what is evicted is needed again at once")]
    Thrashing,
    /// The group that the request is for, or one above it, has all that it may.
    #[error("the memory group is at its limit, and nothing of it could be reclaimed")]
    GroupLimit,
}

impl AllocError {
    /// The cause, as a word that scripts may rely on.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            AllocError::NeverFits => "never_fits",
            AllocError::BelowMin => "below_min",
            AllocError::Fragmented => "fragmented",
            AllocError::LowmemReserve => "lowmem_reserve",
            AllocError::NodeMask => "node_mask",
            AllocError::InvalidFlags => "invalid_flags",
            AllocError::SwapFull => "swap_full",
            AllocError::StoreStalled => "store_stalled",
            AllocError::AllPinned => "all_pinned",
            AllocError::Reentrant => "reentrant",
            AllocError::TooManyFolios => "too_many_folios",
            AllocError::Thrashing => "thrashing",
            AllocError::GroupLimit => "group_limit",
        }
    }

    /// What would help.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            AllocError::NeverFits => "ask for a smaller order, or build the pool with more memory",
            AllocError::BelowMin => "free memory, or build the pool with more of it",
            AllocError::Fragmented => {
                "ask for a smaller order, or keep long-lived blocks in a pool of their own"
            }
            AllocError::LowmemReserve => {
                "raise lowmem_reserve_ratio (0 keeps nothing back), or request the higher zone"
            }
            AllocError::NodeMask => "widen the node mask, or free memory on its nodes",
            AllocError::InvalidFlags => {
                "set at most one of MOVABLE and RECLAIMABLE, and one of DMA, DMA32 and HIGHMEM"
            }
            AllocError::SwapFull => "add a swap area (`swap_on`), or drop folios",
            AllocError::StoreStalled => "see to the device, or drop folios that it backs",
            AllocError::AllPinned => "drop pins and guards, or unlock folios",
            AllocError::Reentrant => "allocate before the callback, or from another pool",
            AllocError::TooManyFolios => {
                "drop folios, or build the pool with a larger `max_folios`"
            }
            AllocError::Thrashing => "use less at once, or build the pool with more memory",
            AllocError::GroupLimit => "free memory of the group, or raise its `max`",
        }
    }
}

/// Why the bytes of a folio could not be had.
///
/// The folio itself is as it was: nothing is lost by an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// It is not in memory, and memory for it was refused.
    #[error("no memory to bring the folio back: {0}")]
    Alloc(#[from] AllocError),
    /// It is held by somebody, or not in memory, and the caller does not wait.
    #[error("the folio cannot be had without waiting")]
    WouldBlock,
    /// It was held by somebody until the deadline, or memory for it was had so late that nothing was left of the
    /// time for reading it in.
    #[error("the time was over: others held the folio, or it was still on its way into memory")]
    TimedOut,
    /// It is held by the calling thread itself, which would wait for ever.
    #[error("the thread would wait for itself: it already holds the folio")]
    Deadlock,
    /// As many hold it as can be counted.
    #[error("too many guards or pins hold the folio at once")]
    TooManyPins,
    /// What was read back is not what was written.
    #[error("the folio's contents are damaged: the checksum of its copy does not match")]
    Corrupt,
    /// The device that holds its contents failed.
    #[error("the folio's contents cannot be read: the device failed")]
    StoreFailed,
    /// The device that holds its contents did not answer before the deadline.
    #[error("the folio's contents cannot be read: the device has stalled")]
    StoreStalled,
}

impl AccessError {
    /// The cause, as a word that scripts may rely on.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            AccessError::Alloc(error) => error.cause(),
            AccessError::WouldBlock => "would_block",
            AccessError::TimedOut => "timed_out",
            AccessError::Deadlock => "deadlock",
            AccessError::TooManyPins => "too_many_pins",
            AccessError::Corrupt => "corrupt",
            AccessError::StoreFailed => "store_failed",
            AccessError::StoreStalled => "store_stalled",
        }
    }

    /// What would help.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            AccessError::Alloc(error) => error.remedy(),
            AccessError::WouldBlock => "try again, or use the call that waits",
            AccessError::TimedOut => "drop guards sooner, or give the call more time",
            AccessError::Deadlock => "drop the guard that this thread holds first",
            AccessError::TooManyPins => "drop guards and pins",
            AccessError::Corrupt => "drop the folio, and make its contents anew",
            AccessError::StoreFailed => "see to the device; the folio stays where it is",
            AccessError::StoreStalled => "see to the device, or give the call more time",
        }
    }
}

/// Text that somebody else wrote, fit for a line of a message: what cannot be printed is escaped, and of a long text
/// the beginning is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printable<'a>(pub(crate) &'a str);

impl Printable<'_> {
    /// Letters that are shown.
    const SHOWN: usize = 80;
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.chars();
        for letter in letters.by_ref().take(Self::SHOWN) {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        f.write_str(if letters.next().is_some() { "…" } else { "" })
    }
}

/// A setting outside its range: which, what it was, and what is accepted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "{field} = {} is out of range: accepted is {accepted}",
    Printable(value)
)]
pub struct RangeError {
    field: &'static str,
    value: String,
    accepted: String,
}

impl RangeError {
    pub(crate) fn new(
        field: &'static str,
        value: impl fmt::Display,
        accepted: impl fmt::Display,
    ) -> RangeError {
        RangeError {
            field,
            value: value.to_string(),
            accepted: accepted.to_string(),
        }
    }

    /// The setting's name.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// The value that was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The values that are accepted.
    #[must_use]
    pub fn accepted(&self) -> &str {
        &self.accepted
    }
}

/// Why the memory limit of this process could not be found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A file that says a limit is there and cannot be read, or has to be there and is not.
    #[error(
        "cannot read the memory limit in {}; make it readable, or give the size by `memory`", file.display()
    )]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file says something else than a number of bytes or "no limit".
    #[error(
        "{} says {text:?}, which is no memory limit: accepted is a number of bytes, or `max`; give the size by `memory`", file.display()
    )]
    NotUnderstood {
        /// Which file.
        file: PathBuf,
        /// How what it says begins.
        text: String,
    },
}

/// Why a pool could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] RangeError),
    /// The memory limit that the pool is to have a share of could not be found.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The system refused to map the memory.
    #[error(
        "cannot map {bytes} bytes for {what}; lower `memory`, or raise the limit on address space (`ulimit -v`)"
    )]
    Map {
        /// What the memory was for.
        what: &'static str,
        /// How much was asked for, in bytes.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused to place or lock mapped memory.
    #[error("cannot {what}")]
    Place {
        /// What was asked of it.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no thread for a daemon.
    #[error(
        "cannot start {name}; raise the limit on threads (`ulimit -u`), or build without daemons"
    )]
    Thread {
        /// The thread's name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A swap area could not be set up.
    #[error("cannot set up swap: {0}")]
    Swap(Box<dyn std::error::Error + Send + Sync>),
    /// Memory could not be made resident ahead.
    #[error("cannot build with `prefault`: {0}")]
    Prefault(#[from] PrefaultError),
}

/// Why memory could not be made resident ahead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrefaultError {
    /// The pool does not have so much.
    #[error(
        "cannot prefault {bytes} bytes of a pool that hands out {managed}; ask for no more than that, or for `usize::MAX`, which means everything"
    )]
    TooMuch {
        /// What was asked for, in bytes.
        bytes: usize,
        /// What the pool has to hand out, in bytes.
        managed: usize,
    },
    /// The system has no memory for the pool's pages.
    #[error(
        "the system gave memory for {bytes} bytes and has no more; prefault less, build with less `memory`, or raise the limit of the container"
    )]
    System {
        /// What was made resident before, in bytes; it stays.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// An invariant that does not hold: which, and where.
///
/// The first word names the invariant as the module's head numbers it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    invariant: &'static str,
    detail: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, detail: impl fmt::Display) -> Violation {
        Violation {
            invariant,
            detail: detail.to_string(),
        }
    }

    /// The invariant's number in its module's head.
    #[must_use]
    pub const fn invariant(&self) -> &'static str {
        self.invariant
    }
}

/// Returns a [`Violation`] of `$invariant` unless `$holds`.
macro_rules! ensure {
    ($holds:expr, $invariant:literal, $($detail:tt)+) => {
        if !$holds {
            return Err($crate::error::Violation::new($invariant, format_args!($($detail)+)));
        }
    };
}
pub(crate) use ensure;
