//! What a pool does with its folios behind their owners' backs, and on their advice.

#![forbid(unsafe_code)]

use std::panic::Location;
use std::ptr::NonNull;

use super::{Inner, pages};
use crate::alloc::scope::{self, ScopeKind};
use crate::alloc::{Reclaim, Request};
use crate::backing::{Entry, callback};
use crate::error::{AllocError, Violation, ensure};
use crate::fault::Faulter;
use crate::folio::{FolioId, FolioTable, Mark, Vacated, copy_racing_at};
use crate::gfp::Gfp;
use crate::node::StartBy;
use crate::node::lru::kind_of;
use crate::node::lru_list::LruList;
use crate::node::{CopySink, Custodian, FrameSink, Node, Walk, identity};
use crate::reclaim::{DirectTerms, GroupTerms, Obstacle, Reclaimer, Shrink};
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeMask, Pfn, ZoneType};
use crate::zone::evacuate::{EmptyUnit, Vacant};
use crate::zone::vmstat::VmEvent;
use crate::zone::{Freed, Zone};

impl Inner {
    pub(super) fn folios(&self) -> &FolioTable {
        &self.folios
    }

    /// What takes folios into memory and out of it.
    pub(super) fn custodian(&self) -> Custodian<'_> {
        Custodian {
            nodes: &self.nodes,
            folios: &self.folios,
            groups: &self.groups,
            frames: self,
            copies: self,
        }
    }

    /// What takes folios out of memory when it is needed for others.
    pub(super) fn reclaimer(&self) -> Reclaimer<'_> {
        Reclaimer {
            custodian: self.custodian(),
            swap: &self.swap,
            stores: &self.stores,
            state: &self.reclaim,
            shrinkers: &self.shrinkers,
        }
    }

    /// What brings folios back.
    pub(super) fn faulter(&self) -> Faulter<'_> {
        Faulter {
            allocator: self.allocator(),
            custodian: self.custodian(),
            reclaimer: self.reclaimer(),
            read_ahead: &self.read_ahead,
            hardened: self.hardened,
        }
    }

    /// The address of a frame.
    #[inline]
    pub(super) fn frame_ptr(&self, pfn: Pfn) -> NonNull<u8> {
        self.bases.ptr(pfn)
    }

    /// Copies bytes out of a folio that may be written to meanwhile.
    #[inline]
    pub(super) fn copy_racing(&self, pfn: Pfn, offset: usize, dst: &mut [u8]) {
        copy_racing_at(&self.bases, pfn, offset, dst);
    }

    /// Ends a folio, for its owner.
    pub(super) fn end_folio(&self, folio: FolioId) {
        let end = || self.custodian().end_folio(folio);
        if identity::is_measured(|| self.tag()) && self.folios.slot(folio).is(Mark::Backed) {
            identity::note_file_freed(end);
        } else {
            end();
        }
    }

    /// Notes that a folio is used (kernel: the accessed bit).
    pub(super) fn note_use(&self, folio: FolioId) {
        let slot = self.folios.slot(folio);
        if slot.note_use() {
            self.nodes.events().count(VmEvent::SwapRaHit);
            self.read_ahead.hit();
        }
    }

    /// Somebody has come to a slow path: from time to time, what is pinned grows older.
    pub(super) fn note_time(&self) {
        self.pins.tick();
    }

    /// A folio has its first pin, taken at `site`.
    #[inline]
    pub(super) fn note_pinned(&self, folio: FolioId, site: &'static Location<'static>) {
        self.pins.note(folio, site);
    }

    /// The last pin of a folio has gone that compaction would have moved: it may look again.
    #[cold]
    pub(super) fn note_unpinned(&self, folio: FolioId) {
        if let Some((node, pfn)) = self.place_of(folio) {
            self.compactor().note_unpinned(node, pfn);
        }
    }

    /// Makes a folio the next of its kind to leave memory.
    pub(super) fn cool(&self, folio: FolioId) {
        let slot = self.folios.slot(folio);
        slot.clear(Mark::Accessed);
        slot.set(Mark::Cold);
        if let Some((node, pfn)) = self.place_of(folio) {
            let kind = kind_of(&self.folios, folio);
            if node.cool(&self.folios, folio, pfn, kind) {
                let pages = slot.order().pages() as u64;
                self.nodes.events().add(VmEvent::Pgrotated, pages);
            }
        }
    }

    /// Keeps a folio out of reclaim's sight, or puts it back there.
    pub(super) fn set_locked(&self, folio: FolioId, locked: bool) {
        let slot = self.folios.slot(folio);
        let changed = if locked { slot.lock() } else { slot.unlock() };
        if !changed {
            return;
        }
        let pages = slot.order().pages() as u64;
        self.nodes.events().add(
            if locked {
                VmEvent::UnevictablePgsMlocked
            } else {
                VmEvent::UnevictablePgsMunlocked
            },
            pages,
        );
        // What waits in a batch is put where it belongs when the batch is emptied.
        let is_listed = self.nodes.relist(&self.folios, folio);
        if is_listed && !locked {
            self.nodes
                .events()
                .add(VmEvent::UnevictablePgsRescued, pages);
        }
    }

    /// Takes a folio out of memory without keeping what is in it; returns whether that could be done.
    pub(super) fn discard(&self, folio: FolioId) -> bool {
        let slot = self.folios.slot(folio);
        if slot.is(Mark::Backed) {
            return false;
        }
        let Some((node, pfn)) = self.place_of(folio) else {
            return self.custodian().discard_away(folio);
        };
        let Some(isolated) = node.isolate_folio(&self.folios, folio, pfn) else {
            return false;
        };
        self.custodian().discard_isolated(isolated)
    }

    /// Where a folio is, if it is in memory.
    pub(super) fn place_of(&self, folio: FolioId) -> Option<(&Node, Pfn)> {
        let word = self.folios.slot(folio).word();
        let pfn = word.is_resident().then(|| Pfn::from_raw(word.location()))?;
        Some((self.nodes.node(pfn.node()), pfn))
    }

    /// Reclaims pages that a group has beyond its limits, as long as there is progress; returns how many.
    pub(super) fn reclaim_group(
        &self,
        group: GroupId,
        pages: usize,
        deadline: Option<Instant>,
    ) -> usize {
        // It might wait for the call that it comes from.
        if callback::is_inside(self.tag()) {
            return 0;
        }
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        let mut freed = 0;
        while freed < pages {
            let now = self.reclaim_from(group, pages - freed, Gfp::KERNEL, deadline);
            freed += now;
            if now == 0 || clock::is_over(deadline) {
                break;
            }
        }
        freed
    }

    /// Reclaims from a group in some nodes, those of its folios included that wait in batches; returns pages.
    pub(super) fn reclaim_confined(&self, terms: GroupTerms) -> usize {
        for node in self.nodes.iter() {
            node.drain_lru_all(&self.folios);
        }
        self.reclaimer().try_to_free_group_pages(terms)
    }

    /// Checks the invariants of folios and lists. Exact while nothing else runs.
    pub(super) fn verify_folios(&self) -> Result<(), Violation> {
        for node in self.nodes.iter() {
            node.verify_lru(&self.folios)?;
        }
        for (id, slot) in self.folios.iter() {
            let word = slot.word();
            if word.is_dead() || !word.is_resident() {
                continue;
            }
            let pfn = Pfn::from_raw(word.location());
            let owner = self.nodes.node(pfn.node()).map().owner(pfn);
            ensure!(
                owner == Some(id.get()),
                "S3",
                "{id:?} is in {pfn}, whose owner is {owner:?}"
            );
        }
        Ok(())
    }
}

impl FrameSink for Inner {
    fn free_frames(&self, frames: Vacated) {
        if identity::is_measured(|| self.tag()) {
            identity::note_freed(frames.order().pages());
        }
        self.obliterate(&frames);
        let zone = self.zone_of(frames.pfn());
        let freed = zone.put(frames.pfn(), frames.order());
        self.see_to(zone, freed);
    }

    fn free_vacated(&self, zone: &Zone, frames: &[Vacated]) {
        frames.iter().for_each(|frames| self.obliterate(frames));
        let blocks = frames.iter().map(|frames| Vacant {
            pfn: frames.pfn(),
            order: frames.order(),
            moved_to: frames.moved_to(),
        });
        let freed = zone.put_vacated(blocks);
        self.see_to(zone, freed);
    }

    fn back_hugely(&self, unit: &EmptyUnit) {
        let (pfn, _) = unit.frames();
        pages::back_hugely(self.arena_of(pfn), unit);
    }

    /// The pool is alive, since somebody has a handle who gave them back.
    fn see_to(&self, zone: &Zone, freed: Freed) {
        let Freed {
            mut waiters,
            idle,
            closing_pages,
        } = freed;
        debug_assert_eq!(closing_pages, 0, "L5: folios have a handle");
        self.nodes.tell_of_fragmentation(zone, StartBy::Caller);
        if let Some(idle) = idle {
            waiters = waiters.or(self.give_back(zone, idle).waiters);
        }
        if let Some(waiters) = waiters {
            waiters.wake_all();
        }
    }
}

impl CopySink for Inner {
    fn drop_copy(&self, copy: u32) {
        let entry = Entry::from_raw(copy).expect("a copy is somewhere");
        if self.swap.area(entry.store()).is_some() {
            self.swap.free(entry);
        } else {
            self.mapped.remove(entry);
        }
    }
}

impl Reclaim for Inner {
    fn reclaim(&self, request: &Request, deadline: Option<Instant>) -> usize {
        self.pins.tick();
        let reclaimer = self.reclaimer();
        let reclaimable = |zone: &Zone| reclaimer.reclaimable_pages(zone);
        let walk = &request.walk;
        let may_shrink_slab = request.gfp.contains(Gfp::FS);
        let is_of_use =
            self.has_reclaimable(walk) || may_shrink_slab && self.shrinkers.is_any_ready();
        if !is_of_use {
            return 0;
        }
        self.nodes
            .throttle_direct_reclaim(walk, request.gfp, deadline, &reclaimable);
        reclaimer.try_to_free_pages(DirectTerms {
            walk,
            gfp: request.gfp,
            deadline,
            may_enter_fs: false,
            may_shrink_slab,
        })
    }

    fn obstacle(&self, _request: &Request) -> Option<AllocError> {
        let pages = |list| {
            let sizes = self
                .nodes
                .iter()
                .map(|node| node.lru().size(list, ZoneType::Movable));
            sizes.sum::<usize>()
        };
        let anon = pages(LruList::InactiveAnon) + pages(LruList::ActiveAnon);
        let file = pages(LruList::InactiveFile) + pages(LruList::ActiveFile);
        match self.reclaim.obstacle() {
            Some(Obstacle::Stalled) => Some(AllocError::StoreStalled),
            _ if anon > 0 && self.swap.has_area() && self.swap.free_pages() == 0 => {
                Some(AllocError::SwapFull)
            }
            Some(Obstacle::Pinned) => Some(AllocError::AllPinned),
            None if anon + file == 0 && pages(LruList::Unevictable) > 0 => {
                Some(AllocError::AllPinned)
            }
            None => None,
        }
    }

    fn reclaim_from(
        &self,
        group: GroupId,
        pages: usize,
        gfp: Gfp,
        deadline: Option<Instant>,
    ) -> usize {
        self.reclaim_confined(GroupTerms {
            group,
            nodes: NodeMask::ALL,
            pages,
            gfp,
            deadline,
        })
    }

    fn reclaimable_pages(&self, zone: &Zone) -> usize {
        self.reclaimer().reclaimable_pages(zone)
    }
}

impl Inner {
    /// Whether any folio could be reclaimed for a request, those included that wait in batches.
    fn has_reclaimable(&self, walk: &Walk) -> bool {
        let reclaimer = self.reclaimer();
        let is_there = || {
            let mut zones = self.nodes.eligible(walk);
            zones.any(|zone| reclaimer.reclaimable_pages(zone) > 0)
        };
        is_there() || {
            for node in self.nodes.iter() {
                node.drain_lru_all(&self.folios);
            }
            is_there()
        }
    }

    /// Fills frames that are about to be free with what shows that somebody uses them all the same.
    fn obliterate(&self, frames: &Vacated) {
        let arena = self.arena_of(frames.pfn());
        if self.hardened {
            frames.poison(arena);
        }
        arena.asan_poison(frames.pfn().index(), frames.order().pages());
    }
}
