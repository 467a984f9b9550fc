//! Those who have a say in the moves of some folios.
//!
//! *Kernel counterpart:* `migratepage`, `isolate_page`, `putback_page` (v5.0). There every owner of pages is asked, since its tables hold
//! their addresses. Here almost nobody knows where a folio is, and almost nobody is asked.
//!
//! Whoever is asked may take locks of the application, and the thread that compacts may hold them: one that
//! needs a large block has come from anywhere. So such a thread asks nobody, nor does one that must not wait;
//! to them, folios that somebody has a say in are obstacles. Others wait for an answer, but not for long.

use crate::backing::{Entry, StoreId};
use crate::folio::{FolioId, FolioTable, Mark};
use crate::node::Node;
use crate::types::{Order, Pfn};

/// The owners of memory, as far as they want to be asked. Given from above, since they are the pool's users.
pub(crate) trait Owners: Sync {
    /// Whether a store is to be asked before one of its folios is moved.
    fn wants_to_be_asked(&self, store: StoreId) -> bool;

    /// Asks the store whether its folio that begins at this page may be moved. Waits for the answer, but not
    /// for long. Called with no lock held.
    fn may_move(&self, page: Entry) -> bool;

    /// Has its owner move an object out of a unit of this order; returns whether it is out of the way. Waits
    /// for that, but not for long. Called with no lock held, and while nobody has the folio isolated.
    fn move_object(&self, folio: FolioId, unit: Order) -> bool;
}

/// Who has a say in a folio's move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Say {
    /// Nobody.
    Nobody,
    /// The store of which this is a page.
    Store(Entry),
    /// A user whose object it is.
    Owner,
}

/// Who is asked during a run.
#[derive(Clone, Copy)]
pub(super) struct Consent<'a> {
    /// Who might be.
    pub(super) owners: &'a dyn Owners,
    /// Whether anybody is.
    pub(super) may_ask: bool,
}

impl Consent<'_> {
    /// Who has a say in the move of a folio, which is in the frame `pfn`.
    pub(super) fn say(self, node: &Node, folios: &FolioTable, folio: FolioId, pfn: Pfn) -> Say {
        if node.is_object(pfn) {
            return Say::Owner;
        }
        if !folios.slot(folio).is(Mark::Backed) {
            return Say::Nobody;
        }
        match Entry::from_raw(node.map().copy(pfn)) {
            Some(page) if self.owners.wants_to_be_asked(page.store()) => Say::Store(page),
            _ => Say::Nobody,
        }
    }

    /// Whether a folio is not to be moved since somebody would have to be asked.
    pub(super) fn forbids(
        self,
        node: &Node,
        folios: &FolioTable,
        folio: FolioId,
        pfn: Pfn,
    ) -> bool {
        !self.may_ask && self.say(node, folios, folio, pfn) != Say::Nobody
    }
}
