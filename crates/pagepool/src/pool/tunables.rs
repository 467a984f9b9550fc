//! Settings that can be changed while the pool runs, by their kernel names.

#![forbid(unsafe_code)]

mod by_name;

use std::time::Duration;

pub use by_name::Tunable;

use super::Inner;
use crate::error::RangeError;
use crate::node::{MarkSettings, Ratios};
use crate::reclaim::policy::history::MAX_SWAPPINESS;
use crate::swap::MAX_PAGE_CLUSTER;
use crate::sync::clock;
use crate::types::PAGE_SIZE;
use crate::zone::fragmentation::MAX_EXTFRAG_THRESHOLD;

/// The accepted range of `watermark_scale_factor`.
const SCALE_RANGE: std::ops::RangeInclusive<u32> = 1..=1000;

/// The smallest `percpu_pagelist_fraction` but 0.
const MIN_FRACTION: u32 = 8;

/// Bits of `drop_caches`.
const DROP_FOLIOS: u32 = 1;
const DROP_SLAB: u32 = 2;

/// Settings of a pool that can be read and changed at any time.
///
/// A change recomputes the marks, reserves or cache sizes of every zone. A value out of range is
/// refused and the old one stays. [`all`](Self::all) lists them, [`set`](Self::set) takes name and value as
/// text.
///
/// ```
/// # use pagepool::PagePool;
/// # let pool = PagePool::builder().memory(64 << 20).build()?;
/// let tunables = pool.tunables();
/// tunables.set_min_free_kbytes(2048)?;
/// assert_eq!(tunables.min_free_kbytes(), 2048);
/// let error = tunables.set_watermark_scale_factor(5000).unwrap_err();
/// assert_eq!(error.accepted(), "1 to 1000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tunables<'a> {
    inner: &'a Inner,
}

impl<'a> Tunables<'a> {
    pub(super) fn new(inner: &'a Inner) -> Tunables<'a> {
        Tunables { inner }
    }

    fn get(&self) -> MarkSettings {
        *self.inner.settings.lock()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut MarkSettings, &Inner) -> Result<(), RangeError>,
    ) -> Result<(), RangeError> {
        // Held until the settings are in force: two changes do not overtake each other.
        let mut settings = self.inner.settings.lock();
        let mut changed = *settings;
        change(&mut changed, self.inner)?;
        *settings = changed;
        self.inner.apply(&settings);
        drop(settings);
        // Marks and reserves may stand lower now, and let somebody pass who waits.
        self.inner.nodes.freed().wake_all();
        Ok(())
    }

    /// KiB that are kept free below the Movable zones, divided among the zones as their minimum
    /// marks.
    #[must_use]
    pub fn min_free_kbytes(&self) -> u64 {
        self.inner.nodes.min_free_kbytes(&self.get())
    }

    /// Sets `min_free_kbytes`. Default: four times the square root of the lower zones' KiB, between
    /// 128 and 262144; a thirty-second of them in pools below 16 MiB.
    ///
    /// # Errors
    /// Above half of the lower zones.
    pub fn set_min_free_kbytes(&self, kbytes: u64) -> Result<(), RangeError> {
        self.change(|settings, inner| {
            check_min_free(kbytes, inner.nodes.lowmem_pages())?;
            settings.min_free_kbytes = Some(kbytes);
            Ok(())
        })
    }

    /// The distance between the marks, in ten-thousandths of a zone.
    #[must_use]
    pub fn watermark_scale_factor(&self) -> u32 {
        self.get().watermark_scale_factor
    }

    /// Sets `watermark_scale_factor`. Default 10, a thousandth of each zone; in pools that were built with
    /// swap, 100.
    ///
    /// # Errors
    /// Outside 1 to 1000.
    pub fn set_watermark_scale_factor(&self, factor: u32) -> Result<(), RangeError> {
        check_scale_factor(factor)?;
        self.change(|settings, _| {
            settings.watermark_scale_factor = factor;
            Ok(())
        })
    }

    /// How much of what is free the pool keeps in whole pageblocks without being asked, in percent.
    #[must_use]
    pub fn compaction_proactiveness(&self) -> u8 {
        self.get().compaction_proactiveness
    }

    /// Sets `compaction_proactiveness`. `kcompactd` begins when less of a zone's free memory is in whole
    /// pageblocks than this, by a margin, and goes on until it is as much; a pageblock is only
    /// emptied for it if a third of it is free. 0 leaves it to those who need a block.
    /// Default 90. Takes effect at once.
    ///
    /// # Errors
    /// Above 100.
    pub fn set_compaction_proactiveness(&self, percent: u8) -> Result<(), RangeError> {
        check_proactiveness(percent)?;
        self.change(|settings, _| {
            settings.compaction_proactiveness = percent;
            Ok(())
        })
    }

    /// The fragmentation index, in thousandths, up to which a large block is missing for lack of memory, and
    /// not since free memory is in pieces.
    #[must_use]
    pub fn extfrag_threshold(&self) -> u32 {
        self.get().extfrag_threshold
    }

    /// Sets `extfrag_threshold`. Zones whose [index](crate::ZoneStats::fragmentation_index) for a block of
    /// order 4 and above is not higher are not compacted for it: reclaim is to make it. Default 500; 0
    /// compacts nearly whenever there is room to, 1000 never does.
    ///
    /// # Errors
    /// Above 1000.
    pub fn set_extfrag_threshold(&self, threshold: u32) -> Result<(), RangeError> {
        check(
            threshold <= MAX_EXTFRAG_THRESHOLD,
            "extfrag_threshold",
            threshold,
            accepted_extfrag_threshold,
        )?;
        self.change(|settings, _| {
            settings.extfrag_threshold = threshold;
            Ok(())
        })
    }

    /// How far fragmentation may raise the marks, in ten-thousandths of the high mark.
    #[must_use]
    pub fn watermark_boost_factor(&self) -> u32 {
        self.get().watermark_boost_factor
    }

    /// Sets `watermark_boost_factor`. Default 15000; 0 switches boosting off.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_watermark_boost_factor(&self, factor: u32) -> Result<(), RangeError> {
        self.change(|settings, _| {
            settings.watermark_boost_factor = factor;
            Ok(())
        })
    }

    /// For the DMA, Normal and Movable zone: one page in so many of the zones above is kept back
    /// from requests that could use those; 0 keeps back nothing.
    #[must_use]
    pub fn lowmem_reserve_ratio(&self) -> [u32; 3] {
        self.get().lowmem_reserve_ratio
    }

    /// Sets `lowmem_reserve_ratio`. Default 256, 32, 0.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_lowmem_reserve_ratio(&self, ratios: Ratios) -> Result<(), RangeError> {
        self.change(|settings, _| {
            settings.lowmem_reserve_ratio = ratios;
            Ok(())
        })
    }

    /// The share of a zone that one CPU's cache may hold, as a divisor; 0 leaves it to the pool.
    #[must_use]
    pub fn percpu_pagelist_fraction(&self) -> u32 {
        self.get().percpu_pagelist_fraction
    }

    /// Sets `percpu_pagelist_fraction`. Default 0.
    ///
    /// # Errors
    /// 1 to 7.
    pub fn set_percpu_pagelist_fraction(&self, fraction: u32) -> Result<(), RangeError> {
        check_fraction(fraction)?;
        self.change(|settings, _| {
            settings.percpu_pagelist_fraction = fraction;
            Ok(())
        })
    }

    /// How willingly anonymous folios are swapped, against dropping backed ones: 0 (only if there is
    /// nothing else) to 200 (rather than anything else); at 100 both cost the same.
    #[must_use]
    pub fn swappiness(&self) -> u8 {
        self.inner.reclaim.swappiness()
    }

    /// Sets `swappiness`. Default 60.
    ///
    /// # Errors
    /// Above 200.
    pub fn set_swappiness(&self, swappiness: u8) -> Result<(), RangeError> {
        check(
            swappiness <= MAX_SWAPPINESS,
            "swappiness",
            swappiness,
            accepted_swappiness,
        )?;
        self.inner.reclaim.set_swappiness(swappiness);
        Ok(())
    }

    /// Base-two logarithm of the pages that are read at once when one comes back from swap, 0 to 5.
    #[must_use]
    pub fn page_cluster(&self) -> u32 {
        self.inner.read_ahead.page_cluster()
    }

    /// Sets `page_cluster`. Default 2 in pools below 16 MiB, else 3; 0 reads nothing ahead.
    ///
    /// # Errors
    /// Above 5.
    pub fn set_page_cluster(&self, page_cluster: u32) -> Result<(), RangeError> {
        check(
            page_cluster <= MAX_PAGE_CLUSTER,
            "page_cluster",
            page_cluster,
            accepted_page_cluster,
        )?;
        self.inner.read_ahead.set_page_cluster(page_cluster);
        Ok(())
    }

    /// Seconds for which reclaim lets the device rest: other than 0, nothing is written out unless
    /// memory cannot be had otherwise.
    #[must_use]
    pub fn laptop_mode(&self) -> u32 {
        self.inner.reclaim.laptop_mode()
    }

    /// Sets `laptop_mode`. Default 0. The pool has no timer that would write everything at once, as the
    /// kernel has: any other number means the same.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_laptop_mode(&self, seconds: u32) -> Result<(), RangeError> {
        self.inner.reclaim.set_laptop_mode(seconds);
        Ok(())
    }

    /// What a shrinker's count counts for, in percent: how willingly objects of users' caches are freed,
    /// against folios.
    #[must_use]
    pub fn vfs_cache_pressure(&self) -> u32 {
        self.inner.reclaim.vfs_cache_pressure()
    }

    /// Sets `vfs_cache_pressure`. Default 100: counts count as they are; with 0 no shrinker is asked to
    /// free anything.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_vfs_cache_pressure(&self, percent: u32) -> Result<(), RangeError> {
        self.inner.reclaim.set_vfs_cache_pressure(percent);
        Ok(())
    }

    /// Has what can be had again leave memory at once; returns the bytes that were freed (kernel:
    /// `vm.drop_caches`). `what` is 1 for the folios of [mappings](crate::Mapping), 2 for the caches of
    /// [shrinkers](crate::PagePool::drop_slab), 3 for both. Ends when `patience` does.
    ///
    /// Of folios those go that are clean, and that nobody reads, has pinned or locked; whether they were used
    /// lately is not asked. Nothing is written: who wants dirty ones gone as well [flushes](crate::Folio::flush)
    /// them first. It is for measurements that are to begin with nothing in memory, not for tuning; who wants
    /// room takes [`reclaim`](crate::PagePool::reclaim), which spares what is in use.
    ///
    /// # Errors
    /// Another `what` than 1, 2 or 3.
    pub fn drop_caches(&self, what: u32, patience: Duration) -> Result<usize, RangeError> {
        check((1..=3).contains(&what), "drop_caches", what, || {
            "1 to 3".into()
        })?;
        let deadline = clock::deadline_after(patience);
        let reclaimer = self.inner.reclaimer();
        let mut pages = 0;
        if what & DROP_FOLIOS != 0 {
            pages += reclaimer.drop_clean(deadline);
        }
        if what & DROP_SLAB != 0 {
            pages += reclaimer.drop_slab(deadline);
        }
        Ok(pages * PAGE_SIZE)
    }

    /// How long a request takes that is [reported](crate::PagePool::failures) although it got its memory;
    /// `None` reports refusals only.
    #[must_use]
    pub fn report_after(&self) -> Option<Duration> {
        self.inner.failures.report_after()
    }

    /// Sets `report_after`. Default 1 s.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_report_after(&self, after: Option<Duration>) -> Result<(), RangeError> {
        self.inner.failures.set_report_after(after);
        Ok(())
    }

    /// The share of a second, in percent, for which all [workers](crate::PagePool::register_worker) have
    /// waited for memory when requests are refused at once with [`AllocError::Thrashing`]; 0 is never.
    ///
    /// [`AllocError::Thrashing`]: crate::AllocError::Thrashing
    #[must_use]
    pub fn thrashing_limit(&self) -> u8 {
        self.inner.thrashing.percent()
    }

    /// Sets `thrashing_limit`. Default 0. What else it takes is that half of what was evicted came back. Then
    /// new memory would be taken from what is in use: requests that may wait are refused before they do, but
    /// for folios that come back, and for groups that have less than is protected for them.
    ///
    /// Of the time that workers wait for folios to come back, only that counts for which they wait for what
    /// was in use lately; so 10 to 30 is much, and more than 50 is never reached by reading alone.
    ///
    /// A limit makes sense in pools whose workers are registered: a thread that is not counts as one while it
    /// waits, and so one that reads at random from a large swap area seems to thrash.
    ///
    /// # Errors
    /// Above 100.
    pub fn set_thrashing_limit(&self, percent: u8) -> Result<(), RangeError> {
        check(
            percent <= 100,
            "thrashing_limit",
            percent,
            accepted_thrashing_limit,
        )?;
        self.inner.thrashing.set_percent(percent);
        Ok(())
    }

    /// Bytes of free blocks of 2 MiB and more of each zone that keep their memory; what is beyond
    /// goes back to the system as it is freed. `usize::MAX` keeps all.
    #[must_use]
    pub fn trim_threshold(&self) -> usize {
        self.get()
            .keep_resident
            .map_or(usize::MAX, |pages| pages.saturating_mul(PAGE_SIZE))
    }

    /// Sets the trim threshold, in bytes.
    ///
    /// # Errors
    /// None at present: every value is accepted.
    pub fn set_trim_threshold(&self, bytes: usize) -> Result<(), RangeError> {
        self.change(|settings, _| {
            settings.keep_resident = (bytes != usize::MAX).then_some(bytes / PAGE_SIZE);
            Ok(())
        })
    }
}

pub(super) fn check_min_free(kbytes: u64, lowmem_pages: u64) -> Result<(), RangeError> {
    let most = most_min_free(lowmem_pages);
    check(kbytes <= most, "min_free_kbytes", kbytes, || {
        accepted_min_free(most)
    })
}

fn accepted_min_free(most: u64) -> String {
    format!("0 to {most}, half of the memory below the Movable zones")
}

fn most_min_free(lowmem_pages: u64) -> u64 {
    lowmem_pages * (PAGE_SIZE as u64 / 1024) / 2
}

pub(super) fn check_scale_factor(factor: u32) -> Result<(), RangeError> {
    check(
        SCALE_RANGE.contains(&factor),
        "watermark_scale_factor",
        factor,
        accepted_scale_factor,
    )
}

fn accepted_scale_factor() -> String {
    format!("{} to {}", SCALE_RANGE.start(), SCALE_RANGE.end())
}

pub(super) fn check_proactiveness(percent: u8) -> Result<(), RangeError> {
    check(
        percent <= 100,
        "compaction_proactiveness",
        percent,
        accepted_proactiveness,
    )
}

fn accepted_proactiveness() -> String {
    "0 to 100 percent".into()
}

pub(super) fn check_fraction(fraction: u32) -> Result<(), RangeError> {
    check(
        fraction == 0 || fraction >= MIN_FRACTION,
        "percpu_pagelist_fraction",
        fraction,
        accepted_fraction,
    )
}

fn accepted_fraction() -> String {
    format!("0, or {MIN_FRACTION} and above")
}

fn accepted_swappiness() -> String {
    format!("0 to {MAX_SWAPPINESS}")
}

fn accepted_page_cluster() -> String {
    format!("0 to {MAX_PAGE_CLUSTER}")
}

fn accepted_extfrag_threshold() -> String {
    format!("0 to {MAX_EXTFRAG_THRESHOLD}")
}

fn accepted_thrashing_limit() -> String {
    "0 (never) to 100 percent".into()
}

pub(super) fn check(
    ok: bool,
    field: &'static str,
    value: impl std::fmt::Display,
    accepted: impl FnOnce() -> String,
) -> Result<(), RangeError> {
    if ok {
        Ok(())
    } else {
        Err(RangeError::new(field, value, accepted()))
    }
}
