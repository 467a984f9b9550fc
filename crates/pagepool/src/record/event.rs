//! What can be recorded of a pool: an event says when, by whom, and what happened.
//!
//! *Kernel counterpart:* the fields of the trace points `mm_page_alloc`, `mm_page_free`, `page_fault_user` (v5.0).
//!
//! How an event is written down stands in [`code`](super::code).

#![forbid(unsafe_code)]

use std::fmt;

use crate::error::{AccessError, AllocError};
use crate::gfp::Gfp;
use crate::types::{Migratetype, Order, Pfn};

/// Something that happened to a pool while it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its place in the order of all events: of two of which one is the reason for the other, the first has the
    /// smaller number.
    pub number: u64,
    /// When, in nanoseconds from the beginning of the recording.
    pub time_ns: u64,
    /// By whom: the number by which the system knows the thread.
    pub thread: u32,
    /// What it was.
    pub what: Happening,
}

/// How the bytes of a folio were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AccessKind {
    /// By nobody: it was brought to memory for a use to come.
    Idle = 0,
    /// Shared.
    Read = 1,
    /// Alone.
    Write = 2,
    /// In its place, whatever happens to the bytes.
    Pin = 3,
}

impl AccessKind {
    /// By number.
    pub(super) const ALL: [AccessKind; 4] = [
        AccessKind::Idle,
        AccessKind::Read,
        AccessKind::Write,
        AccessKind::Pin,
    ];
}

/// Why something was refused, as a word that scripts may rely on: those of
/// [`AllocError::cause`](crate::AllocError::cause) and [`AccessError::cause`](crate::AccessError::cause).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cause(u8);

/// The causes by number, which files rely on: new ones go to the end. None is 0.
const CAUSES: [&str; 20] = [
    "never_fits",
    "below_min",
    "fragmented",
    "lowmem_reserve",
    "node_mask",
    "invalid_flags",
    "swap_full",
    "store_stalled",
    "all_pinned",
    "reentrant",
    "too_many_folios",
    "thrashing",
    "group_limit",
    "would_block",
    "timed_out",
    "deadlock",
    "too_many_pins",
    "corrupt",
    "store_failed",
    "other",
];

impl Cause {
    fn named(name: &str) -> Cause {
        let known = CAUSES.iter().position(|known| *known == name);
        Cause(known.unwrap_or(CAUSES.len() - 1) as u8 + 1)
    }

    /// Why an allocation was refused.
    pub(crate) fn of_alloc(error: AllocError) -> Cause {
        Cause::named(error.cause())
    }

    /// Why a folio could not be had.
    pub(crate) fn of_access(error: AccessError) -> Cause {
        Cause::named(error.cause())
    }

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CAUSES[usize::from(self.0) - 1]
    }

    /// Its number, which files rely on; never 0.
    pub(super) fn raw(self) -> u8 {
        self.0
    }

    /// The cause of this number, if there is one.
    pub(super) fn from_raw(raw: u8) -> Option<Cause> {
        (1..=CAUSES.len())
            .contains(&usize::from(raw))
            .then_some(Cause(raw))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// A block was handed out (kernel: `mm_page_alloc`).
    Alloc {
        /// Its first frame, which also says the node.
        pfn: Pfn,
        /// Its order.
        order: Order,
        /// The request's flags.
        gfp: Gfp,
        /// Under which type it is grouped.
        migratetype: Migratetype,
    },
    /// A request for a block was refused.
    Refused {
        /// The order that was asked for.
        order: Order,
        /// The request's flags.
        gfp: Gfp,
        /// Why.
        cause: Cause,
    },
    /// A block came back (kernel: `mm_page_free`).
    Free {
        /// Its first frame.
        pfn: Pfn,
        /// Its order.
        order: Order,
    },
    /// A block was split into blocks of a smaller order.
    Split {
        /// Its first frame.
        pfn: Pfn,
        /// Its order before.
        order: Order,
        /// The order of its parts.
        into: Order,
    },
    /// A folio was made, blank or over a store; it takes no memory yet.
    Open {
        /// Its number, which another may have once it has ended.
        folio: u32,
        /// Its length in bytes.
        len: u32,
        /// Whether it is a copy of a user's store.
        backed: bool,
    },
    /// A folio was not made.
    NotOpened {
        /// The length that was asked for, in bytes.
        len: u32,
        /// Why.
        cause: Cause,
    },
    /// A folio ended.
    Close {
        /// Its number.
        folio: u32,
    },
    /// Somebody asked for the bytes of a folio.
    Access {
        /// Its number.
        folio: u32,
        /// How.
        kind: AccessKind,
    },
    /// A folio that was not in memory was brought there, or could not be (kernel: `exceptions/page_fault_user`).
    Fault {
        /// Its number.
        folio: u32,
        /// Its size.
        order: Order,
        /// For whom.
        kind: AccessKind,
        /// How long that took, in nanoseconds; 4.3 seconds at most.
        took_ns: u32,
        /// Why it could not be; none if it was brought.
        cause: Option<Cause>,
    },
    /// A folio's contents were given up.
    Discard {
        /// Its number.
        folio: u32,
    },
    /// A folio was locked in memory.
    Lock {
        /// Its number.
        folio: u32,
    },
    /// A folio may leave memory again.
    Unlock {
        /// Its number.
        folio: u32,
    },
    /// A folio will not be needed soon, its owner said.
    Cool {
        /// Its number.
        folio: u32,
    },
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_word_of_its_own() {
        let others = (1..=CAUSES.len() as u8).map(|raw| Cause::from_raw(raw).unwrap().as_str());
        let mut words: Vec<_> = others.collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), CAUSES.len());
        for error in [
            AllocError::NeverFits,
            AllocError::GroupLimit,
            AllocError::Thrashing,
        ] {
            assert_eq!(Cause::of_alloc(error).as_str(), error.cause());
        }
        let error = AccessError::Alloc(AllocError::SwapFull);
        assert_eq!(Cause::of_access(error).as_str(), "swap_full");
    }
}
