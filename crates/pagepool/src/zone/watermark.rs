//! The marks that free memory is held against: how high they are, and whether a request may pass.
//!
//! *Kernel counterpart:* `mm/page_alloc.c` (v5.0): `init_per_zone_wmark_min`,
//! `__setup_per_zone_wmarks`, `boost_watermark`, `__zone_watermark_ok`; with the later fixes of spec
//! 9.2 and 9.3. Pure: values in, values out.
//!
//! ```text
//!   high  ─────  kswapd stops
//!           gap
//!   low   ─────  the fast path refuses: slow path, kswapd is woken
//!           gap
//!   min   ─────  ordinary requests stop and reclaim for themselves
//!                only privileged requests go below
//! ```
//!
//! The two gaps are equal by construction, so that all three marks fit one word and are read in one
//! load: nobody ever sees a low mark of yesterday beside a high mark of today.
//!
//! **Invariants**
//! - W1: min ≤ low ≤ high in every word that is ever stored.
//! - W2: a boost never exceeds the limit that held when it was added.

#![forbid(unsafe_code)]

use bitflags::bitflags;

use crate::buddy::Availability;
use crate::types::{Migratetype, Order};

/// KiB in a page.
#[cfg(test)]
const PAGE_KIB: u64 = crate::types::PAGE_SIZE as u64 / 1024;

/// Limits of the default for `min_free_kbytes`, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinFreeLimits {
    /// The least.
    pub(crate) floor: u64,
    /// The most.
    pub(crate) ceiling: u64,
}

impl MinFreeLimits {
    /// Those of the kernel, with the later ceiling of 256 MiB (spec 9.2).
    pub(crate) const KERNEL: MinFreeLimits = MinFreeLimits {
        floor: 128,
        ceiling: 262_144,
    };
}

/// Pools smaller than this, in KiB, keep a thirty-second of themselves free: at this size that is
/// what the kernel's square root gives, below it the root would take far more.
const SMALL_POOL_KIB: u64 = 16 << 10;

/// The default for `min_free_kbytes`, from the KiB of lower-zone memory: four times the square root.
pub(crate) fn default_min_free_kbytes(lowmem_kib: u64) -> u64 {
    if lowmem_kib < SMALL_POOL_KIB {
        return lowmem_kib / 32;
    }
    root_min_free_kbytes(lowmem_kib, MinFreeLimits::KERNEL)
}

/// The kernel's formula (spec 2.1).
fn root_min_free_kbytes(lowmem_kib: u64, limits: MinFreeLimits) -> u64 {
    (lowmem_kib * 16)
        .isqrt()
        .clamp(limits.floor, limits.ceiling)
}

/// A zone's marks, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    min: u32,
    gap: u32,
}

/// Which of a zone's marks is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mark {
    /// Where ordinary requests stop.
    Min,
    /// Where the background reclaimer is woken.
    Low,
    /// Where it stops.
    High,
}

impl Marks {
    /// Returns the marks stored as `raw`.
    pub(crate) const fn from_raw(raw: u64) -> Marks {
        Marks {
            min: raw as u32,
            gap: (raw >> 32) as u32,
        }
    }

    /// The marks as one word.
    pub(crate) const fn raw(self) -> u64 {
        (self.gap as u64) << 32 | self.min as u64
    }

    /// The mark in pages, without boost.
    pub(crate) const fn get(self, mark: Mark) -> usize {
        let gaps = match mark {
            Mark::Min => 0,
            Mark::Low => 1,
            Mark::High => 2,
        };
        self.min as usize + gaps * self.gap as usize
    }
}

/// What a zone's marks are computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkInputs {
    /// `min_free_kbytes`, in pages, for all zones together.
    pub(crate) pages_min: u64,
    /// Pages in the zone.
    pub(crate) managed: u64,
    /// Pages in all zones that share the minimum: all but Movable ones.
    pub(crate) lowmem: u64,
    /// Whether the zone itself is a Movable one, which keeps a small minimum of its own.
    pub(crate) is_movable: bool,
    /// The gaps, in ten-thousandths of the zone.
    pub(crate) scale_factor: u64,
}

/// Computes a zone's marks (spec 2.2, with the boost left out of account as in 9.2).
pub(crate) fn compute_marks(inputs: MarkInputs) -> Marks {
    let MarkInputs {
        pages_min,
        managed,
        lowmem,
        is_movable,
        scale_factor,
    } = inputs;
    let share = muldiv(pages_min, managed, lowmem.max(1));
    let min = if is_movable {
        movable_min(managed)
    } else {
        share
    };
    let gap = (share / 4).max(muldiv(managed, scale_factor, 10_000));
    let [min, gap] = [min, gap].map(|pages| u32::try_from(pages).unwrap_or(u32::MAX / 3));
    Marks { min, gap }
}

/// A thousandth of the zone, between 32 and 128 pages; at most an eighth of a very small zone.
fn movable_min(managed: u64) -> u64 {
    (managed / 1024).clamp(32, 128).min(managed / 8)
}

/// `x * n / d` without overflow, truncating as the kernel's `mult_frac` does.
fn muldiv(x: u64, n: u64, d: u64) -> u64 {
    (x / d) * n + (x % d) * n / d
}

/// The boost after one more fragmentation event in a zone (spec 2.4, 9.3).
pub(crate) fn boost_after_event(boost: usize, inputs: BoostInputs) -> usize {
    let BoostInputs {
        high,
        managed,
        block_pages,
        factor,
    } = inputs;
    let limit = muldiv(high as u64, factor, 10_000) as usize;
    // No limit yet means that the marks are not set up; in a zone of few pageblocks the boost would
    // be a mark that cannot be reached.
    if limit == 0 || managed < 4 * block_pages {
        return boost;
    }
    (boost + block_pages).min(limit.max(block_pages)).max(boost)
}

/// What the boost is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoostInputs {
    /// The high mark without boost, in pages.
    pub(crate) high: usize,
    /// Pages in the zone.
    pub(crate) managed: usize,
    /// Pages in one of its pageblocks.
    pub(crate) block_pages: usize,
    /// `watermark_boost_factor`, in ten-thousandths of the high mark; 0 is off.
    pub(crate) factor: u64,
}

bitflags! {
    /// How far a request may go, derived from its [`Gfp`](crate::gfp::Gfp) flags (spec 2.6).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct AllocFlags: u16 {
        /// Stop at the low mark; without, at the minimum.
        const WMARK_LOW = 1 << 0;
        /// Stop at the high mark.
        const WMARK_HIGH = 1 << 1;
        /// Ignore the marks.
        const NO_WATERMARKS = 1 << 2;
        /// A victim of the shortage: half of the mark, and reserved blocks.
        const OOM = 1 << 3;
        /// A quarter less of the mark, and reserved blocks.
        const HARDER = 1 << 4;
        /// Half of the mark.
        const HIGH = 1 << 5;
        /// Mix no types in a pageblock.
        const NOFRAGMENT = 1 << 6;
        /// May wake the background reclaimer.
        const KSWAPD = 1 << 7;
        /// Take nothing of other types, not even whole pageblocks.
        const UNMIXED = 1 << 8;
    }
}

impl AllocFlags {
    /// The mark to stop at.
    pub(crate) const fn mark(self) -> Mark {
        if self.contains(AllocFlags::WMARK_HIGH) {
            Mark::High
        } else if self.contains(AllocFlags::WMARK_LOW) {
            Mark::Low
        } else {
            Mark::Min
        }
    }

    /// Whether the request may go below the marks that others must respect.
    pub(crate) const fn is_privileged(self) -> bool {
        let privileges = AllocFlags::NO_WATERMARKS
            .union(AllocFlags::OOM)
            .union(AllocFlags::HARDER)
            .union(AllocFlags::HIGH);
        self.intersects(privileges)
    }

    /// Whether blocks reserved for urgent requests may be used.
    pub(crate) const fn may_use_highatomic(self) -> bool {
        self.intersects(AllocFlags::HARDER.union(AllocFlags::OOM))
    }
}

/// What a zone has free, as the check sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeView {
    /// Pages free, exactly.
    pub(crate) free: usize,
    /// Those of them in reserved pageblocks.
    pub(crate) highatomic: usize,
    /// Of which type and order there is a free block.
    pub(crate) available: Availability,
}

/// Whether a request may pass, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may.
    Pass,
    /// Free memory stands at or below the mark.
    BelowMark,
    /// It would pass but for what is kept back for requests bound to lower zones.
    Reserved,
    /// Enough is free, but no block is large enough.
    Fragmented,
}

impl Verdict {
    /// Whether the request may pass.
    pub(crate) fn passes(self) -> bool {
        self == Verdict::Pass
    }
}

/// The watermark check (spec 2.5): may a block of `order` be taken without going below `mark` plus
/// `reserve`? Exactly at the mark fails.
pub(crate) fn check(
    view: FreeView,
    order: Order,
    mark: usize,
    reserve: usize,
    flags: AllocFlags,
) -> Verdict {
    let mut free = view.free as i64 - (order.pages() as i64 - 1);
    if !flags.may_use_highatomic() {
        free -= view.highatomic as i64;
    }
    let mark = reduced(mark, flags) as i64;
    if free <= mark {
        return Verdict::BelowMark;
    }
    if free <= mark + reserve as i64 {
        return Verdict::Reserved;
    }
    let regular = [
        Migratetype::Unmovable,
        Migratetype::Movable,
        Migratetype::Reclaimable,
    ];
    let usable = |mt| view.available.at_least(mt, order);
    let found = order == Order::ZERO
        || regular.into_iter().any(usable)
        || flags.may_use_highatomic() && usable(Migratetype::HighAtomic);
    if found {
        Verdict::Pass
    } else {
        Verdict::Fragmented
    }
}

/// The mark that a privileged request must respect; the reductions compound, each rounded by itself.
fn reduced(mark: usize, flags: AllocFlags) -> usize {
    let mut mark = mark;
    if flags.contains(AllocFlags::HIGH) {
        mark -= mark / 2;
    }
    if flags.contains(AllocFlags::OOM) {
        mark -= mark / 2;
    } else if flags.contains(AllocFlags::HARDER) {
        mark -= mark / 4;
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: AllocFlags = AllocFlags::empty();

    fn view(free: usize) -> FreeView {
        FreeView {
            free,
            highatomic: 0,
            available: Availability::from_raw(0),
        }
    }

    fn verdict(free: usize, mark: usize, reserve: usize, flags: AllocFlags) -> Verdict {
        check(view(free), Order::ZERO, mark, reserve, flags)
    }

    #[test]
    fn exactly_at_the_mark_fails() {
        assert_eq!(verdict(100, 100, 0, NOTHING), Verdict::BelowMark);
        assert_eq!(verdict(101, 100, 0, NOTHING), Verdict::Pass);
        assert_eq!(verdict(110, 100, 10, NOTHING), Verdict::Reserved);
        assert_eq!(verdict(111, 100, 10, NOTHING), Verdict::Pass);
    }

    #[test]
    fn atomic_requests_stop_at_three_eighths() {
        let atomic = AllocFlags::HIGH | AllocFlags::HARDER;
        assert_eq!(reduced(1024, atomic), 384);
        assert_eq!(
            reduced(5, atomic),
            3,
            "each step rounds by itself: 5 - 2 = 3, 3 - 0 = 3"
        );
        assert_eq!(reduced(1024, AllocFlags::OOM), 512);
        assert_eq!(
            reduced(1024, AllocFlags::OOM | AllocFlags::HARDER),
            512,
            "OOM wins"
        );
    }

    #[test]
    fn reserved_blocks_count_for_urgent_requests_only() {
        let view = FreeView {
            free: 100,
            highatomic: 60,
            available: Availability::default(),
        };
        assert_eq!(check(view, Order::ZERO, 50, 0, NOTHING), Verdict::BelowMark);
        assert_eq!(
            check(view, Order::ZERO, 50, 0, AllocFlags::HARDER),
            Verdict::Pass
        );
    }

    #[test]
    fn a_large_block_must_exist_as_well() {
        let order = Order::at(4);
        let with = |mt: Migratetype, order: usize| FreeView {
            free: 1000,
            highatomic: 0,
            available: Availability::from_raw(1 << (mt.idx() * 11 + order)),
        };
        assert_eq!(
            check(with(Migratetype::Movable, 3), order, 10, 0, NOTHING),
            Verdict::Fragmented
        );
        assert_eq!(
            check(with(Migratetype::Movable, 4), order, 10, 0, NOTHING),
            Verdict::Pass
        );
        assert_eq!(
            check(with(Migratetype::Unmovable, 9), order, 10, 0, NOTHING),
            Verdict::Pass
        );
        let reserved = with(Migratetype::HighAtomic, 9);
        assert_eq!(check(reserved, order, 10, 0, NOTHING), Verdict::Fragmented);
        assert_eq!(
            check(reserved, order, 10, 0, AllocFlags::HARDER),
            Verdict::Pass
        );
        // The block itself counts against the mark but for one page.
        assert_eq!(
            check(with(Migratetype::Movable, 4), order, 985, 0, NOTHING),
            Verdict::BelowMark
        );
        assert_eq!(
            check(with(Migratetype::Movable, 4), order, 984, 0, NOTHING),
            Verdict::Pass
        );
    }

    #[test]
    fn small_pools_keep_a_thirty_second_free() {
        assert_eq!(default_min_free_kbytes(64), 2);
        assert_eq!(default_min_free_kbytes(1 << 10), 32);
        assert_eq!(default_min_free_kbytes((16 << 10) - 1), 511);
        assert_eq!(
            default_min_free_kbytes(16 << 10),
            512,
            "from here on the kernel's root"
        );
    }

    #[test]
    fn movable_zones_keep_a_small_minimum() {
        let marks = |managed| {
            compute_marks(MarkInputs {
                pages_min: 1024,
                managed,
                lowmem: 262_144,
                is_movable: true,
                scale_factor: 10,
            })
        };
        assert_eq!(marks(16).get(Mark::Min), 2);
        assert_eq!(marks(4096).get(Mark::Min), 32);
        assert_eq!(marks(65_536).get(Mark::Min), 64);
        assert_eq!(marks(1 << 20).get(Mark::Min), 128);
    }

    #[test]
    fn marks_survive_the_word() {
        let marks = Marks {
            min: 1024,
            gap: 262,
        };
        assert_eq!(Marks::from_raw(marks.raw()), marks);
    }

    #[test]
    fn small_zones_are_never_boosted() {
        let inputs = BoostInputs {
            high: 1548,
            managed: 2047,
            block_pages: 512,
            factor: 15_000,
        };
        assert_eq!(boost_after_event(0, inputs), 0);
        assert_eq!(
            boost_after_event(
                0,
                BoostInputs {
                    managed: 2048,
                    ..inputs
                }
            ),
            512
        );
        assert_eq!(
            boost_after_event(
                0,
                BoostInputs {
                    managed: 2048,
                    factor: 0,
                    ..inputs
                }
            ),
            0
        );
    }

    mod tv {
        use super::*;

        #[test]
        fn s2_1_min_free_kbytes() {
            let v5_0 = MinFreeLimits {
                floor: 128,
                ceiling: 65_536,
            };
            let table = [
                (1, 128),
                (16, 512),
                (64, 1024),
                (256, 2048),
                (1024, 4096),
                (4096, 8192),
                (16_384, 16_384),
                (65_536, 32_768),
                (262_144, 65_536),
                (524_288, 65_536),
            ];
            for (lowmem_mib, min_free) in table {
                assert_eq!(
                    root_min_free_kbytes(lowmem_mib << 10, v5_0),
                    min_free,
                    "{lowmem_mib} MiB"
                );
            }
            // The later ceiling lets the root go on.
            assert_eq!(default_min_free_kbytes(524_288 << 10), 92_681);
            assert_eq!(default_min_free_kbytes(1 << 40), 262_144);
        }

        fn triple(pages_min: u64, managed: u64, lowmem: u64) -> [usize; 3] {
            let inputs = MarkInputs {
                pages_min,
                managed,
                lowmem,
                is_movable: false,
                scale_factor: 10,
            };
            let marks = compute_marks(inputs);
            [Mark::Min, Mark::Low, Mark::High].map(|mark| marks.get(mark))
        }

        #[test]
        fn s2_2_marks_of_one_zone() {
            assert_eq!(
                triple(4096 / PAGE_KIB, 262_144, 262_144),
                [1024, 1286, 1548]
            );
            assert_eq!(triple(512 / PAGE_KIB, 4096, 4096), [128, 160, 192]);
        }

        #[test]
        fn s2_2_marks_of_three_zones() {
            let managed = [4000, 500_000, 1_500_000];
            let lowmem = managed.iter().sum::<u64>();
            let min_free = root_min_free_kbytes(lowmem * PAGE_KIB, MinFreeLimits::KERNEL);
            assert_eq!(min_free, 11_325);
            let marks = managed.map(|managed| triple(min_free / PAGE_KIB, managed, lowmem));
            assert_eq!(marks, [[5, 9, 13], [706, 1206, 1706], [2119, 3619, 5119]]);
        }

        #[test]
        fn s2_4_boost_grows_to_its_limit() {
            let inputs = BoostInputs {
                high: 1548,
                managed: 262_144,
                block_pages: 512,
                factor: 15_000,
            };
            let mut boosts = vec![0];
            for _ in 0..6 {
                boosts.push(boost_after_event(*boosts.last().unwrap(), inputs));
            }
            assert_eq!(boosts, [0, 512, 1024, 1536, 2048, 2322, 2322]);
            let low = BoostInputs {
                high: 300,
                ..inputs
            };
            assert_eq!(boost_after_event(boost_after_event(0, low), low), 512);
        }
    }
}
