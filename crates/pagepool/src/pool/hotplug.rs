//! Memory that leaves service and comes back while the pool runs.

#![forbid(unsafe_code)]

use super::budget::Taker;
use super::{Inner, PagePool, pages};
use crate::sync::MutexGuard;
use crate::types::{NodeId, PAGE_SIZE, ZoneType};
use crate::zone::Zone;
use crate::zone::hotplug::OfflineBlock;
use crate::zone::vmstat::VmEvent;

/// A pageblock out of service, and where it belongs.
#[derive(Debug)]
pub(super) struct OfflineEntry {
    node: NodeId,
    zone: ZoneType,
    block: OfflineBlock,
    by: Taker,
}

impl OfflineEntry {
    pub(super) fn new(zone: &Zone, block: OfflineBlock, by: Taker) -> OfflineEntry {
        OfflineEntry {
            node: zone.node(),
            zone: zone.zone_type(),
            block,
            by,
        }
    }

    /// Whether it was taken by a user, or for the budget.
    pub(super) fn is_by(&self, taker: Taker) -> bool {
        self.by == taker
    }

    /// The pages that it has.
    pub(super) fn pages(&self) -> usize {
        self.block.pages()
    }
}

impl PagePool {
    /// Takes up to `bytes` of a zone out of service and gives them back to the system; returns how
    /// many bytes that were.
    ///
    /// Only pageblocks (2 MiB in zones of 8 MiB and more) of which nothing is in use can go, so the
    /// result may be less than asked for, and 0 where the node does not exist. Marks, reserves and
    /// cache sizes follow; a zone that has lost its last memory is not tried any more. Memory comes
    /// back by [`online`](Self::online). The DMA zone's memory leaves service but stays locked.
    ///
    /// ```
    /// # use pagepool::{NodeId, PagePool, ZoneType};
    /// # let pool = PagePool::builder().managed(64 << 20).build()?;
    /// let node = NodeId::new(0).unwrap();
    /// assert_eq!(pool.offline(node, ZoneType::Normal, 16 << 20), 16 << 20);
    /// assert_eq!(pool.stats().managed_pages, 48 << 8);
    /// assert_eq!(pool.online(node, ZoneType::Normal, usize::MAX), 16 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn offline(&self, node: NodeId, zone: ZoneType, bytes: usize) -> usize {
        let Some(home) = self.inner.nodes.get(node) else {
            return 0;
        };
        let home = home.zone(zone);
        let mut offline = self.inner.offline.lock();
        let blocks = home.offline(bytes / PAGE_SIZE);
        let pages: usize = blocks.iter().map(OfflineBlock::pages).sum();
        for block in blocks {
            self.inner.vacate(home, &block);
            offline.push(OfflineEntry::new(home, block, Taker::User));
        }
        self.inner.renew(offline);
        pages * PAGE_SIZE
    }

    /// Puts up to `bytes` of a zone back into service that were taken [out of it](Self::offline);
    /// returns how many bytes that were: no more than the [budget](Self::resize_budget) allows.
    pub fn online(&self, node: NodeId, zone: ZoneType, bytes: usize) -> usize {
        let Some(home) = self.inner.nodes.get(node) else {
            return 0;
        };
        let to_keep_out = self.inner.pages_to_keep_out();
        let mut onlined = 0;
        let mut offline = self.inner.offline.lock();
        let out: usize = offline.iter().map(OfflineEntry::pages).sum();
        let mut left = (bytes / PAGE_SIZE).min(out.saturating_sub(to_keep_out));
        let chosen = offline.extract_if(.., |entry| {
            let is_meant = (entry.node, entry.zone, entry.by) == (node, zone, Taker::User);
            let fits = is_meant && entry.block.pages() <= left;
            left -= if fits { entry.block.pages() } else { 0 };
            fits
        });
        for entry in chosen {
            onlined += entry.block.pages();
            home.zone(zone).online(entry.block);
        }
        self.inner.renew(offline);
        onlined * PAGE_SIZE
    }
}

impl Inner {
    /// Gives an offline pageblock's memory back; where the system will not, it stays, and is not used.
    pub(super) fn vacate(&self, zone: &Zone, block: &OfflineBlock) {
        let locked = zone.zone_type() == ZoneType::Dma;
        if !locked && pages::give_back(self.arena_of(block.pfn()), block) {
            self.nodes
                .events()
                .add(VmEvent::GivenBack, block.pages() as u64);
            zone.note_vacant(block);
        }
    }

    /// Puts a pageblock back into service.
    pub(super) fn reinstate(&self, entry: OfflineEntry) {
        let zone = self.nodes.node(entry.node).zone(entry.zone);
        zone.online(entry.block);
    }

    /// Renews what is derived from the memory in service, before the next change can begin.
    pub(super) fn renew(&self, turn: MutexGuard<'_, Vec<OfflineEntry>>) {
        self.apply(&self.settings.lock());
        self.nodes.rebuild_zonelists();
        drop(turn);
        // Memory may have come that somebody waits for.
        self.nodes.freed().wake_all();
    }
}
