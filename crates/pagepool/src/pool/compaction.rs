//! Compaction by a pool's users: threads that need a large block, and whoever asks for it.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::{Inner, PagePool};
use crate::alloc::{Compact, Request};
use crate::backing::{Entry, StoreId};
use crate::compact::{CompactPriority, Compactor, DirectRun, Owners};
use crate::folio::FolioId;
use crate::reclaim::Shrink;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::clock::{self, Instant};
use crate::types::{NodeId, Order};
use crate::zone::Zone;
use crate::zone::watermark::AllocFlags;

impl PagePool {
    /// Moves folios together, in all nodes, so that as much of the free memory as possible is there in whole
    /// pageblocks (kernel: `compact_memory`). Owners go on reading and writing meanwhile; what they pin or
    /// write to just then stays where it is. Returns when there is nothing more to gain, or after
    /// `patience`.
    ///
    /// Owners of [movable blocks](crate::MovableOwner) are called, and stores that
    /// [want to be asked](crate::Backing::asks_to_migrate) are: who holds locks that they need for an answer
    /// waits a tenth of a second for it in vain.
    ///
    /// There is no need to call it: `kcompactd` does what is asked for, and requests for large blocks
    /// compact for themselves.
    pub fn compact(&self, patience: Duration) {
        let deadline = clock::deadline_after(patience);
        self.inner.compactor().compact_everything(None, deadline);
    }

    /// The same for one node. A node that does not exist has nothing to compact.
    pub fn compact_node(&self, node: NodeId, patience: Duration) {
        let deadline = clock::deadline_after(patience);
        let compactor = self.inner.compactor();
        compactor.compact_everything(Some(node), deadline);
    }
}

impl Inner {
    /// What moves folios together.
    pub(super) fn compactor(&self) -> Compactor<'_> {
        Compactor {
            custodian: self.custodian(),
            state: &self.compact,
            hardened: self.hardened,
            owners: self,
        }
    }
}

/// How long somebody who has a say in a move may take to answer. What he has to do is a call or two; whoever
/// waits for him holds back memory meanwhile.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_millis(100);

impl Owners for Inner {
    #[inline]
    fn wants_to_be_asked(&self, store: StoreId) -> bool {
        // Relaxed: set before the store has folios.
        self.stores_to_ask.load(Relaxed) >> store.idx() & 1 != 0
    }

    fn may_move(&self, page: Entry) -> bool {
        let Some(store) = self.stores.get(page.store()) else {
            return false;
        };
        let deadline = clock::deadline_after(ANSWER_WITHIN);
        store.ask(page.page().into(), deadline).is_ok()
    }

    fn move_object(&self, folio: FolioId, unit: Order) -> bool {
        self.movables.have_moved(folio, unit)
    }
}

impl Compact for Inner {
    fn compact(
        &self,
        request: &Request,
        flags: AllocFlags,
        priority: CompactPriority,
        deadline: Option<Instant>,
    ) -> DirectRun {
        self.compactor()
            .compact_direct(&request.walk, flags, priority, deadline)
    }

    fn note_success(&self, request: &Request, zone: &Zone) {
        let hints = self.compact.zone(zone.node(), zone.zone_type());
        hints.note_allocated(request.order());
    }

    fn would_help(&self, request: &Request, flags: AllocFlags) -> bool {
        let reclaimer = self.reclaimer();
        let reclaimable = |zone: &Zone| reclaimer.reclaimable_pages(zone);
        self.compactor()
            .would_help(&request.walk, flags, &reclaimable)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::compact::CompactNode;
    use crate::psi::PressureKind;
    use crate::sync::Requests;
    use crate::types::ZoneType;

    #[test]
    fn s4_16_kcompactd_is_stalled_while_it_does_what_was_asked_for() {
        let pool = PagePool::builder()
            .managed(16 << 20)
            .daemons(false)
            .build()
            .unwrap();
        let (nodes, compactor) = (&pool.inner.nodes, pool.inner.compactor());
        let node = nodes.node(NodeId::at(0));
        let seen = Cell::new(None);
        let look_and_interrupt = || {
            let states = [nodes.psi(), node.psi()];
            seen.set(Some(states.map(|psi| psi.is_stalled(PressureKind::Some))));
            true
        };
        let asked = Requests::NONE.with(ZoneType::Normal.idx(), 1).unwrap();
        compactor.compact_node(node, asked, &look_and_interrupt);
        assert_eq!(seen.take(), Some([true; 2]));
        compactor.compact_proactively(node, &look_and_interrupt);
        assert_eq!(seen.take(), Some([false; 2]), "nobody asked for that");
        nodes.verify_psi(true).unwrap();
    }
}
