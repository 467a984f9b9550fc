//! Putting settings in force: marks, reserves and cache sizes of all zones.
//!
//! *Kernel counterpart:* `init_per_zone_wmark_min`, `setup_per_zone_wmarks`,
//! `setup_per_zone_lowmem_reserve` (v5.0).

use super::{Nodes, StartBy};
use crate::types::{NR_MIGRATETYPES, NR_ZONES, PAGE_SIZE, ZoneType};
use crate::zone::Zone;
use crate::zone::lowmem;
use crate::zone::sizing::PcpSizes;
use crate::zone::watermark::{MarkInputs, compute_marks, default_min_free_kbytes};

/// The lowmem reserve ratio of each zone.
pub(crate) type Ratios = [u32; NR_ZONES];

/// What all marks, reserves and cache sizes are computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MarkSettings {
    /// `min_free_kbytes`; none computes it from the memory there is.
    pub(crate) min_free_kbytes: Option<u64>,
    /// `watermark_scale_factor`, in ten-thousandths.
    pub(crate) watermark_scale_factor: u32,
    /// `watermark_boost_factor`, in ten-thousandths.
    pub(crate) watermark_boost_factor: u32,
    /// `lowmem_reserve_ratio`.
    pub(crate) lowmem_reserve_ratio: Ratios,
    /// `percpu_pagelist_fraction`.
    pub(crate) percpu_pagelist_fraction: u32,
    /// `compaction_proactiveness`, in percent.
    pub(crate) compaction_proactiveness: u8,
    /// `extfrag_threshold`, in thousandths.
    pub(crate) extfrag_threshold: u32,
    /// Pages of whole free blocks of each zone that keep their memory.
    pub(crate) keep_resident: Option<usize>,
}

const PAGE_KIB: u64 = PAGE_SIZE as u64 / 1024;

impl Nodes {
    /// Pages in all zones but the Movable ones: the memory that the minimum is kept free in.
    pub(crate) fn lowmem_pages(&self) -> u64 {
        let lower = self
            .zones()
            .filter(|zone| zone.zone_type() != ZoneType::Movable);
        lower.map(|zone| zone.managed() as u64).sum()
    }

    /// The value of `min_free_kbytes` that is in force under these settings.
    pub(crate) fn min_free_kbytes(&self, settings: &MarkSettings) -> u64 {
        let computed = || default_min_free_kbytes(self.lowmem_pages() * PAGE_KIB);
        settings.min_free_kbytes.unwrap_or_else(computed)
    }

    /// Puts the settings in force in every zone.
    pub(crate) fn apply(&self, settings: &MarkSettings) {
        let pages_min = self.min_free_kbytes(settings) / PAGE_KIB;
        let lowmem = self.lowmem_pages();
        let nr_cpus = self.cpu_nodes.len();
        for node in &self.nodes {
            let managed = std::array::from_fn(|zone| node.zones[zone].managed());
            let reserves = lowmem::reserves(managed, settings.lowmem_reserve_ratio);
            for (zone, reserves) in node.zones.iter().zip(reserves) {
                zone.set_marks(compute_marks(MarkInputs {
                    pages_min,
                    managed: zone.managed() as u64,
                    lowmem,
                    is_movable: zone.zone_type() == ZoneType::Movable,
                    scale_factor: u64::from(settings.watermark_scale_factor),
                }));
                zone.set_boost_factor(settings.watermark_boost_factor);
                zone.set_reserves(reserves);
                let fraction = settings.percpu_pagelist_fraction;
                zone.set_pcp_sizes(PcpSizes::new(zone.managed(), fraction, nr_cpus));
                zone.set_proactiveness(settings.compaction_proactiveness);
                zone.set_extfrag_threshold(settings.extfrag_threshold);
                zone.set_keep_resident(keep_resident(zone.zone_type(), settings));
            }
        }
        self.set_grouping();
        self.zones()
            .for_each(|zone| self.tell_of_fragmentation(zone, StartBy::Caller));
    }

    /// Stops telling types apart where fewer pageblocks are in service than there are types: grouping
    /// would only waste memory (spec 1.6). Since small zones have small pageblocks, that happens only
    /// when most of a pool is taken out of service.
    fn set_grouping(&self) {
        let in_service = |zone: &Zone| zone.managed() >> zone.block_order().get();
        let nr_blocks: usize = self.zones().map(in_service).sum();
        for zone in self.zones() {
            zone.set_grouping(nr_blocks >= NR_MIGRATETYPES);
        }
    }
}

/// Memory of the DMA zone is locked and stays.
fn keep_resident(zone: ZoneType, settings: &MarkSettings) -> usize {
    match (zone, settings.keep_resident) {
        (ZoneType::Normal | ZoneType::Movable, Some(pages)) => pages,
        (ZoneType::Dma, _) | (_, None) => usize::MAX,
    }
}
