//! Request flags: what an allocation is for, and what it may do to get its memory.
//!
//! *Kernel counterpart:* `include/linux/gfp.h` (v5.0). Names keep the kernel's words, without `__`
//! and `GFP_`. What has no counterpart in a process is left out: `WRITE` (no dirty limit per node),
//! `COMP` (every block is a unit), `ACCOUNT` (groups are given by the caller, not by a flag).
//!
//! **Invariants**
//! - G1: [`RECLAIMABLE`](Gfp::RECLAIMABLE) and [`MOVABLE`](Gfp::MOVABLE) exclude each other.
//! - G2: at most one of [`DMA`](Gfp::DMA), [`DMA32`](Gfp::DMA32), [`HIGHMEM`](Gfp::HIGHMEM) is set.

#![forbid(unsafe_code)]

use bitflags::bitflags;

use crate::types::{Migratetype, ZoneType};

bitflags! {
    /// Request flags of an allocation.
    ///
    /// Most callers need one of the composites: [`KERNEL`](Gfp::KERNEL) may wait,
    /// [`ATOMIC`](Gfp::ATOMIC) and [`NOWAIT`](Gfp::NOWAIT) never do,
    /// [`USER_MOVABLE`](Gfp::USER_MOVABLE) is for memory that may be moved and reclaimed.
    ///
    /// ```
    /// use pagepool::Gfp;
    /// let patient = Gfp::KERNEL | Gfp::NOFAIL;
    /// let hasty = Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN;
    /// assert!(patient.contains(Gfp::DIRECT_RECLAIM) && hasty.contains(Gfp::DIRECT_RECLAIM));
    /// ```
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Gfp: u32 {
        /// From the DMA zone: low in the arena and locked in memory; from Normal in a pool without one.
        const DMA = 1 << 0;
        /// Accepted for completeness; there is no such zone, so it means Normal.
        const DMA32 = 1 << 1;
        /// Need not be directly mapped. With `MOVABLE`, opens the Movable zone.
        const HIGHMEM = 1 << 2;
        /// The contents may be moved, or are known to be short-lived.
        const MOVABLE = 1 << 3;
        /// The owner can free the memory when asked.
        const RECLAIMABLE = 1 << 4;
        /// High priority: may use half of the minimum reserve.
        const HIGH = 1 << 5;
        /// Cannot wait and is urgent: may use more of the reserve, and HighAtomic blocks.
        const HARDER = 1 << 6;
        /// Reclaim on behalf of this request may start I/O.
        const IO = 1 << 7;
        /// Reclaim on behalf of this request may call shrinkers that take locks of a store's, and within a group's
        /// limit write to a user's backing store. Other dirty folios of such stores are left to the background
        /// reclaimer; a request without this flag waits for that one a second at most.
        const FS = 1 << 8;
        /// The caller may wait, and reclaim and compact itself.
        const DIRECT_RECLAIM = 1 << 9;
        /// The background reclaimer may be woken.
        const KSWAPD_RECLAIM = 1 << 10;
        /// A failure is expected: no warning.
        const NOWARN = 1 << 11;
        /// One light round of reclaim and compaction, then fail.
        const NORETRY = 1 << 12;
        /// Try hard, also for costly orders, but fail in the end.
        const RETRY_MAYFAIL = 1 << 13;
        /// Must not fail: waits without a deadline. Refused all the same if no zone could ever hold
        /// the block, or if it may not wait: without `DIRECT_RECLAIM`, or in a scope that frees memory.
        const NOFAIL = 1 << 14;
        /// May ignore the watermarks: the caller frees memory soon.
        const MEMALLOC = 1 << 15;
        /// Must not touch the reserves; wins over `MEMALLOC`.
        const NOMEMALLOC = 1 << 16;
        /// Only from the caller's allowed nodes, even for urgent requests. Accepted for completeness:
        /// a node mask always holds.
        const HARDWALL = 1 << 17;
        /// Only from the preferred node.
        const THISNODE = 1 << 18;
        /// The block is handed out zeroed.
        const ZERO = 1 << 19;

        /// Both kinds of reclaim.
        const RECLAIM = Self::DIRECT_RECLAIM.bits() | Self::KSWAPD_RECLAIM.bits();
        /// Urgent and never waits: reaches deep into the reserve.
        const ATOMIC = Self::HIGH.bits() | Self::HARDER.bits() | Self::KSWAPD_RECLAIM.bits();
        /// Ordinary memory; may wait for reclaim, I/O and backing stores.
        const KERNEL = Self::RECLAIM.bits() | Self::IO.bits() | Self::FS.bits();
        /// Never waits, wakes the background reclaimer.
        const NOWAIT = Self::KSWAPD_RECLAIM.bits();
        /// May wait, but reclaim must not start I/O.
        const NOIO = Self::RECLAIM.bits();
        /// May wait and do I/O, but reclaim must not call into backing stores.
        const NOFS = Self::RECLAIM.bits() | Self::IO.bits();
        /// Ordinary memory on behalf of a tenant: keeps to the allowed nodes.
        const USER = Self::KERNEL.bits() | Self::HARDWALL.bits();
        /// As `USER`, need not be directly mapped.
        const HIGHUSER = Self::USER.bits() | Self::HIGHMEM.bits();
        /// As `HIGHUSER`, and the contents may be moved: folios.
        const HIGHUSER_MOVABLE = Self::HIGHUSER.bits() | Self::MOVABLE.bits();
        /// The same as [`HIGHUSER_MOVABLE`](Self::HIGHUSER_MOVABLE).
        const USER_MOVABLE = Self::HIGHUSER_MOVABLE.bits();
        /// A huge block if one is at hand: neither reclaims nor wakes anybody.
        const TRANSHUGE_LIGHT = (Self::HIGHUSER_MOVABLE.bits()
            | Self::NOMEMALLOC.bits()
            | Self::NOWARN.bits())
            & !Self::RECLAIM.bits();
        /// A huge block worth reclaiming for; still wakes nobody.
        const TRANSHUGE = Self::TRANSHUGE_LIGHT.bits() | Self::DIRECT_RECLAIM.bits();
    }
}

impl Gfp {
    /// The kind of pageblock the request belongs in (kernel: `gfpflags_to_migratetype`).
    #[must_use]
    pub const fn migratetype(self) -> Migratetype {
        if self.contains(Gfp::MOVABLE) {
            Migratetype::Movable
        } else if self.contains(Gfp::RECLAIMABLE) {
            Migratetype::Reclaimable
        } else {
            Migratetype::Unmovable
        }
    }

    /// The highest zone the request may use (kernel: `gfp_zone`, spec 1.7).
    #[must_use]
    pub const fn highest_zone(self) -> ZoneType {
        if self.contains(Gfp::DMA) {
            ZoneType::Dma
        } else if self.contains(Gfp::MOVABLE.union(Gfp::HIGHMEM)) {
            ZoneType::Movable
        } else {
            ZoneType::Normal
        }
    }

    /// Whether the flags contradict each other (G1, G2).
    #[must_use]
    pub const fn is_contradictory(self) -> bool {
        let zones = self.intersection(Gfp::DMA.union(Gfp::DMA32).union(Gfp::HIGHMEM));
        self.contains(Gfp::MOVABLE.union(Gfp::RECLAIMABLE)) || zones.bits().count_ones() > 1
    }

    /// Whether the caller may be made to wait.
    #[must_use]
    pub const fn may_block(self) -> bool {
        self.contains(Gfp::DIRECT_RECLAIM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composites_follow_the_table() {
        assert_eq!(Gfp::ATOMIC, Gfp::HIGH | Gfp::HARDER | Gfp::KSWAPD_RECLAIM);
        assert_eq!(Gfp::NOFS, Gfp::RECLAIM | Gfp::IO);
        assert_eq!(
            Gfp::HIGHUSER_MOVABLE,
            Gfp::KERNEL | Gfp::HARDWALL | Gfp::HIGHMEM | Gfp::MOVABLE
        );
        assert!(!Gfp::TRANSHUGE_LIGHT.intersects(Gfp::RECLAIM));
        assert!(Gfp::TRANSHUGE.contains(Gfp::DIRECT_RECLAIM));
        assert!(!Gfp::TRANSHUGE.contains(Gfp::KSWAPD_RECLAIM));
    }

    mod tv {
        use super::*;

        #[test]
        fn s1_7_flags_give_the_highest_zone() {
            let table = [
                (Gfp::empty(), ZoneType::Normal),
                (Gfp::DMA, ZoneType::Dma),
                (Gfp::HIGHMEM, ZoneType::Normal),
                (Gfp::DMA32, ZoneType::Normal),
                (Gfp::MOVABLE, ZoneType::Normal),
                (Gfp::MOVABLE | Gfp::DMA, ZoneType::Dma),
                (Gfp::MOVABLE | Gfp::DMA32, ZoneType::Normal),
                (Gfp::MOVABLE | Gfp::HIGHMEM, ZoneType::Movable),
            ];
            for (flags, zone) in table {
                assert_eq!(flags.highest_zone(), zone, "{flags:?}");
                assert!(!flags.is_contradictory(), "{flags:?}");
            }
        }

        #[test]
        fn s1_7_two_zone_flags_contradict() {
            assert!((Gfp::DMA | Gfp::HIGHMEM).is_contradictory());
            assert!((Gfp::DMA | Gfp::DMA32).is_contradictory());
            assert!((Gfp::DMA32 | Gfp::HIGHMEM).is_contradictory());
        }

        #[test]
        fn s1_12_flags_give_the_migratetype() {
            assert_eq!(Gfp::KERNEL.migratetype(), Migratetype::Unmovable);
            assert_eq!(Gfp::HIGHUSER_MOVABLE.migratetype(), Migratetype::Movable);
            assert_eq!(
                (Gfp::KERNEL | Gfp::RECLAIMABLE).migratetype(),
                Migratetype::Reclaimable
            );
            assert!((Gfp::RECLAIMABLE | Gfp::MOVABLE).is_contradictory());
        }
    }
}
