//! How much a per-CPU cache may hold, and how much it exchanges with the zone at once.
//!
//! *Kernel counterpart:* `zone_batchsize`, `pageset_set_high_and_batch`,
//! `percpu_pagelist_fraction` (v5.0). Pure.

#![forbid(unsafe_code)]

use crate::types::{PAGE_SIZE, PAGEBLOCK_ORDER};

/// The sizes of one zone's caches.
///
/// They are kept in one word, so that nobody ever sees a batch beside another setting's limit (the
/// kernel orders three stores for that).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PcpSizes {
    /// Pages moved between cache and zone at once; at least 1.
    pub(crate) batch: u16,
    /// Pages of small orders in a cache at which a batch is returned; 0 switches the cache off.
    pub(crate) high: u32,
    /// Whole pageblocks that a cache may hold.
    pub(crate) blocks: u16,
}

/// Largest batch under a fraction (kernel: `PAGE_SHIFT * 8`).
const MAX_FRACTION_BATCH: usize = 96;

/// Of a zone, this part at most is whole pageblocks in caches.
const BLOCKS_SHARE: usize = 64;

/// Pages in a pageblock of full size.
const BLOCK_PAGES: usize = PAGEBLOCK_ORDER.pages();

impl PcpSizes {
    /// Returns the sizes stored as `raw`.
    pub(crate) const fn from_raw(raw: u64) -> PcpSizes {
        PcpSizes {
            batch: raw as u16,
            blocks: (raw >> 16) as u16,
            high: (raw >> 32) as u32,
        }
    }

    /// The sizes as one word.
    pub(crate) const fn raw(self) -> u64 {
        self.batch as u64 | (self.blocks as u64) << 16 | (self.high as u64) << 32
    }

    /// Whether anything is cached at all.
    pub(crate) const fn is_on(self) -> bool {
        self.high > 0
    }

    /// How many threads may keep a whole pageblock, in a zone of `managed` pages: all of them together no more than
    /// the caches of the CPUs, a sixty-fourth of it.
    pub(crate) fn wholes_at_hand(self, managed: usize) -> usize {
        match self.blocks {
            0 => 0,
            _ => managed / (BLOCKS_SHARE * BLOCK_PAGES),
        }
    }

    /// The sizes for a zone of `managed` pages shared by `nr_cpus` CPUs (spec 3.6). `fraction` is
    /// `percpu_pagelist_fraction`: 0, or the share of the zone that one cache may hold.
    pub(crate) fn new(managed: usize, fraction: u32, nr_cpus: usize) -> PcpSizes {
        let (batch, high) = match fraction {
            0 => default_batch_and_high(managed),
            fraction => fraction_batch_and_high(managed, fraction as usize),
        };
        PcpSizes {
            batch: batch as u16,
            high: u32::try_from(high).unwrap_or(u32::MAX),
            blocks: cached_blocks(managed, nr_cpus),
        }
    }
}

fn default_batch_and_high(managed: usize) -> (usize, usize) {
    let pages_in_mib = (1 << 20) / PAGE_SIZE;
    let b = ((managed / 1024).min(pages_in_mib) / 4).max(1);
    // One less than a power of two: two CPUs taking turns do not meet in the same cache sets.
    let b = (1usize << (b + b / 2).ilog2()) - 1;
    (b.max(1), 6 * b)
}

fn fraction_batch_and_high(managed: usize, fraction: usize) -> (usize, usize) {
    let high = managed / fraction;
    ((high / 4).clamp(1, MAX_FRACTION_BATCH), high)
}

/// One whole pageblock for each CPU, in zones where all of them together are a small part.
fn cached_blocks(managed: usize, nr_cpus: usize) -> u16 {
    u16::from(managed >= BLOCKS_SHARE * nr_cpus * BLOCK_PAGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_survive_the_word() {
        let sizes = PcpSizes {
            batch: 63,
            high: 378,
            blocks: 1,
        };
        assert_eq!(PcpSizes::from_raw(sizes.raw()), sizes);
    }

    #[test]
    fn pageblocks_are_cached_where_they_are_plenty() {
        assert_eq!(PcpSizes::new(64 * 2 * 512, 0, 2).blocks, 1);
        assert_eq!(PcpSizes::new(64 * 2 * 512 - 1, 0, 2).blocks, 0);
    }

    mod tv {
        use super::*;

        #[test]
        fn s3_6_batch_and_high() {
            let sizes = |managed, fraction| {
                let sizes = PcpSizes::new(managed, fraction, 1);
                (sizes.batch, sizes.high)
            };
            assert_eq!(
                sizes(4096, 0),
                (1, 0),
                "every free goes straight to the zone"
            );
            assert_eq!(sizes(16_384, 0), (3, 18));
            assert_eq!(sizes(65_536, 0), (15, 90));
            assert_eq!(sizes(262_144, 0), (63, 378));
            assert_eq!(sizes(1 << 24, 0), (63, 378));
            assert_eq!(sizes(262_144, 8), (96, 32_768));
        }
    }
}
