//! What a frame is, in a byte (pure).
//!
//! *Kernel counterpart:* the flags, count and private field of `struct page` (v5.0), which say by
//! their combination what is one word here, so that a double free is one comparison.
//!
//! | state     | kind | mobility    | order          | byte        | who owns the frame            |
//! |-----------|------|-------------|----------------|-------------|-------------------------------|
//! | free      | 0    | 0           | 0              | `0x00`      | the buddy, or the block's head |
//! | cached    | 1    | type        | of the block   | `0x40..=7a` | a per-CPU cache               |
//! | allocated | 2    | as asked    | of the block   | `0x80..=ba` | whoever asked                 |
//! | special   | 3    | 0           | which [`Special`] | `0xc0..`  | see there                     |
//!
//! The byte is `kind << 6 | mobility << 4 | order`. Only the first frame of a block, its head,
//! carries the block's state; the frames inside are free to look at, and belong to the head's owner.
//!
//! **Invariants**
//! - F1: a state is built by a constructor: its kind is one of four, its order at most 10.
//! - F2: free is the zero byte, so that a table of zeros is a table of free frames.

use std::fmt;

use crate::types::{Migratetype, NR_MIGRATETYPES, Order};

const ORDER_BITS: u32 = 4;
const MOBILITY_BITS: u32 = 2;
const ORDER_MASK: u8 = (1 << ORDER_BITS) - 1;
const MOBILITY_MASK: u8 = (1 << MOBILITY_BITS) - 1;
const KIND_SHIFT: u32 = ORDER_BITS + MOBILITY_BITS;

const CACHED: u8 = 1;
const ALLOCATED: u8 = 2;
const SPECIAL: u8 = 3;

const _: () = assert!(Order::MAX.get() <= ORDER_MASK);
const _: () = assert!(NR_MIGRATETYPES == 1 << MOBILITY_BITS);
const _: () = assert!(KIND_SHIFT + 2 == u8::BITS);

/// The state of a frame, packed into the byte that the frame table holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FrameState(u8);

/// The state of a frame, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameKind {
    /// In the buddy, or inside a block whose head says more. Becomes cached, allocated or special.
    Free,
    /// Head of a block in a per-CPU cache. Becomes allocated, or free when the cache is drained.
    Cached {
        /// The block's size.
        order: Order,
        /// The list of the cache that it is on.
        mobility: Migratetype,
    },
    /// Head of a block that somebody has. Becomes free or cached when it is freed.
    Allocated {
        /// The block's size.
        order: Order,
        /// What the request allowed.
        mobility: Migratetype,
    },
    /// Out of circulation.
    Special(Special),
}

/// Why a frame is out of circulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Special {
    /// Taken out of the buddy to be given back to the system or to receive what compaction moves.
    /// Becomes free or allocated when its holder is done.
    Isolated = 0,
    /// Leaked on purpose, since something disturbed it while it was free. Stays so.
    Bad = 1,
    /// Kept by the pool for itself and managed by no zone. Stays so.
    Reserved = 2,
}

impl FrameState {
    /// Free, or inside a block (F2).
    pub(crate) const FREE: FrameState = FrameState(0);

    /// Head of a block in a per-CPU cache.
    #[must_use]
    pub(crate) const fn cached(order: Order, mobility: Migratetype) -> FrameState {
        FrameState::pack(CACHED, mobility as u8, order.get())
    }

    /// Head of an allocated block.
    #[must_use]
    pub(crate) const fn allocated(order: Order, mobility: Migratetype) -> FrameState {
        FrameState::pack(ALLOCATED, mobility as u8, order.get())
    }

    /// Out of circulation.
    #[must_use]
    pub(crate) const fn special(why: Special) -> FrameState {
        FrameState::pack(SPECIAL, 0, why as u8)
    }

    const fn pack(kind: u8, mobility: u8, order: u8) -> FrameState {
        FrameState(kind << KIND_SHIFT | mobility << ORDER_BITS | order)
    }

    /// Returns the state that [`bits`](Self::bits) gave.
    #[inline]
    #[must_use]
    pub(super) const fn from_bits(bits: u8) -> FrameState {
        FrameState(bits)
    }

    /// The byte for the frame table.
    #[inline]
    #[must_use]
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Takes the state apart.
    ///
    /// # Panics
    /// If the byte is none that a constructor gives (F1): the table was overwritten.
    #[must_use]
    pub(crate) const fn kind(self) -> FrameKind {
        let low = self.0 & ORDER_MASK;
        let mobility = Migratetype::ALL[(self.0 >> ORDER_BITS & MOBILITY_MASK) as usize];
        match self.0 >> KIND_SHIFT {
            CACHED => FrameKind::Cached {
                order: Order::at(low as usize),
                mobility,
            },
            ALLOCATED => FrameKind::Allocated {
                order: Order::at(low as usize),
                mobility,
            },
            SPECIAL => FrameKind::Special(Special::from_bits(low)),
            _ => FrameKind::Free,
        }
    }

    /// Whether the frame is free, or inside a block.
    #[inline]
    #[must_use]
    pub(crate) const fn is_free(self) -> bool {
        self.0 == 0
    }

    /// Whether the frame is the head of an allocated block.
    #[inline]
    #[must_use]
    pub(crate) const fn is_allocated(self) -> bool {
        self.0 >> KIND_SHIFT == ALLOCATED
    }

    /// Whether the frame is the head of a block in a per-CPU cache.
    #[inline]
    #[must_use]
    pub(crate) const fn is_cached(self) -> bool {
        self.0 >> KIND_SHIFT == CACHED
    }

    /// The mobility of an allocated block of this order, if it is one of those that threads keep for themselves:
    /// neither reclaimable nor urgent.
    #[inline]
    #[must_use]
    pub(crate) const fn plain_block(self, order: Order) -> Option<Migratetype> {
        if self.0 == FrameState::allocated(order, Migratetype::Unmovable).0 {
            Some(Migratetype::Unmovable)
        } else if self.0 == FrameState::allocated(order, Migratetype::Movable).0 {
            Some(Migratetype::Movable)
        } else {
            None
        }
    }

    /// The order and mobility of the block that this frame heads, if it is allocated or cached.
    #[must_use]
    pub(crate) const fn block(self) -> Option<(Order, Migratetype)> {
        match self.kind() {
            FrameKind::Cached { order, mobility } | FrameKind::Allocated { order, mobility } => {
                Some((order, mobility))
            }
            FrameKind::Free | FrameKind::Special(_) => None,
        }
    }
}

impl Special {
    const fn from_bits(bits: u8) -> Special {
        match bits {
            0 => Special::Isolated,
            1 => Special::Bad,
            2 => Special::Reserved,
            _ => panic!("F1: the frame table was overwritten"),
        }
    }
}

/// For messages: `allocated at o3, movable`.
impl fmt::Display for FrameState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            FrameKind::Free => f.write_str("free"),
            FrameKind::Cached { order, mobility } => {
                write!(f, "cached at {order:?}, {}", word(mobility))
            }
            FrameKind::Allocated { order, mobility } => {
                write!(f, "allocated at {order:?}, {}", word(mobility))
            }
            FrameKind::Special(Special::Isolated) => f.write_str("isolated"),
            FrameKind::Special(Special::Bad) => f.write_str("bad"),
            FrameKind::Special(Special::Reserved) => f.write_str("reserved"),
        }
    }
}

impl fmt::Debug for FrameState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The migratetype as a word in a sentence.
const fn word(mobility: Migratetype) -> &'static str {
    match mobility {
        Migratetype::Unmovable => "unmovable",
        Migratetype::Movable => "movable",
        Migratetype::Reclaimable => "reclaimable",
        Migratetype::HighAtomic => "highatomic",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_packing_and_differ() {
        let mut seen = vec![FrameState::FREE];
        assert_eq!(FrameState::FREE.kind(), FrameKind::Free);
        for order in Order::all() {
            for mobility in Migratetype::ALL {
                let cached = FrameState::cached(order, mobility);
                assert_eq!(cached.kind(), FrameKind::Cached { order, mobility });
                assert!(cached.is_cached() && !cached.is_allocated() && !cached.is_free());

                let allocated = FrameState::allocated(order, mobility);
                assert_eq!(allocated.kind(), FrameKind::Allocated { order, mobility });
                assert!(allocated.is_allocated() && !allocated.is_cached() && !allocated.is_free());
                assert_eq!(allocated.block(), Some((order, mobility)));
                seen.extend([cached, allocated]);
            }
        }
        for why in [Special::Isolated, Special::Bad, Special::Reserved] {
            let special = FrameState::special(why);
            assert_eq!(special.kind(), FrameKind::Special(why));
            assert_eq!(special.block(), None);
            seen.push(special);
        }
        for (place, state) in seen.iter().enumerate() {
            assert_eq!(FrameState::from_bits(state.bits()), *state);
            assert!(!seen[..place].contains(state), "{state} twice");
        }
    }

    #[test]
    fn free_is_the_zero_byte() {
        assert_eq!(FrameState::FREE.bits(), 0, "F2");
    }

    #[test]
    fn states_read_as_words() {
        let order = Order::at(3);
        let words = [
            (FrameState::FREE, "free"),
            (
                FrameState::allocated(order, Migratetype::Movable),
                "allocated at o3, movable",
            ),
            (
                FrameState::cached(Order::ZERO, Migratetype::Unmovable),
                "cached at o0, unmovable",
            ),
            (FrameState::special(Special::Bad), "bad"),
        ];
        for (state, text) in words {
            assert_eq!(state.to_string(), text);
        }
    }

    #[test]
    #[should_panic(expected = "T1")]
    fn overwritten_order_panics() {
        let _ = FrameState::from_bits(0x8f).kind();
    }
}
