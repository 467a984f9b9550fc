//! Single zones with marks and caches that a test sets.

#![allow(
    unused_must_use,
    reason = "zones are thrown away with what was taken from them"
)]

mod caches;
mod closing;
mod unmerged;
mod depots;
mod isolation;
mod marks;
mod model;
mod properties;
mod verify;

use std::sync::Arc;

use super::*;
use crate::sync::FenceNames;
use crate::sync::cpu::with_cpu;

const UNMOVABLE: Migratetype = Migratetype::Unmovable;
const MOVABLE: Migratetype = Migratetype::Movable;
const RECLAIMABLE: Migratetype = Migratetype::Reclaimable;
const NONE: AllocFlags = AllocFlags::empty();
const NORMAL: ZoneType = ZoneType::Normal;
const NR_CPUS: usize = 3;

/// A Normal zone of `pages` whose caches are off and whose marks are zero.
fn zone(pages: usize) -> Zone {
    let node = NodeId::at(0);
    let geometry = Geometry {
        start: Pfn::new(node, 1024),
        pages,
    };
    let map = Arc::new(Memmap::new(node, 1024 + pages).unwrap());
    let freed = Arc::new(WaitQueue::new(FenceNames {
        waker: "freed.waker",
        sleeper: "freed.sleeper",
    }));
    Zone::new((node, NORMAL), geometry, map, NR_CPUS, freed).unwrap()
}

fn sizes(batch: u16, high: u32) -> PcpSizes {
    PcpSizes {
        batch,
        high,
        blocks: 0,
    }
}

fn cached_zone(pages: usize, batch: u16, high: u32) -> Zone {
    let zone = zone(pages);
    zone.set_pcp_sizes(sizes(batch, high));
    zone
}

fn marks(min: u64, gap: u64) -> Marks {
    Marks::from_raw(gap << 32 | min)
}

fn request(order: usize, want: Migratetype) -> ZoneRequest {
    ZoneRequest {
        order: Order::at(order),
        want,
        flags: NONE,
    }
}

impl Zone {
    #[track_caller]
    fn pop(&self, cpu: usize, order: usize, want: Migratetype) -> Pfn {
        let taken = with_cpu(cpu, || self.take(request(order, want)));
        self.verify().unwrap();
        taken.expect("a block is free").pfn
    }

    #[track_caller]
    fn push(&self, cpu: usize, pfn: Pfn, order: usize) -> Freed {
        let freed = with_cpu(cpu, || self.put(pfn, Order::at(order)));
        self.verify().unwrap();
        freed
    }

    fn cached(&self) -> usize {
        self.cached_by_cpu().iter().sum()
    }

    /// Frames of a pageblock that are in a cache.
    fn cached_in_block_of(&self, pfn: Pfn) -> usize {
        let pages = self.block_order().pages();
        let first = pfn.offset_from(self.start()) / pages * pages;
        (first..first + pages)
            .filter(|offset| self.map.state(self.start().add(*offset)).is_cached())
            .count()
    }
}
