//! A folio that its owner has locked in memory, or unlocked, goes to the list where it belongs.
//!
//! *Kernel counterpart:* `mlock_vma_page`, `munlock_vma_page`, `lru_cache_add`, `putback_lru_page` (v5.0). There
//! both sides store one flag and load the other's, with barriers between. Here the side that puts a folio on a
//! list looks at the mark under the lists' lock, and the owner comes by when he has changed it:
//!
//! ```text
//!  owner                                         who lists it (a fault, reclaim, a move)
//!  ─────                                         ───────────────────────────────────────
//!  change the mark                               takes it elsewhere: a step of the word
//!  a step of the word: where is it?              lists' lock { where by its mark? put it there }
//!  lists' lock { is it on a list? put it anew }
//! ```
//!
//! If the owner has the lock first, the other sees the mark; if the other has it first, the owner finds the folio on
//! a list and puts it right. If the folio is elsewhere by then, the other's step of the word came after the
//! owner's, and with that the change of the mark. So a folio is on the list of the unevictable ones if and only if
//! it is locked (spec 10.3, R21).

use super::{LruList, Place, is_at, kind_of, list_at};
use crate::folio::{FolioId, FolioTable};
use crate::node::{Node, Nodes};
use crate::types::Pfn;

impl Nodes {
    /// Moves a folio to where its marks now say that it belongs, for its owner, who has changed them: out of
    /// reclaim's sight and back. Returns whether it was on a list.
    pub(crate) fn relist(&self, folios: &FolioTable, folio: FolioId) -> bool {
        let word = folios.slot(folio).word_after_mark();
        if !word.is_resident() {
            return false; // its list is chosen when it comes back
        }
        let pfn = Pfn::from_raw(word.location());
        self.node(pfn.node()).relist(folios, folio, pfn)
    }
}

impl Node {
    fn relist(&self, folios: &FolioTable, folio: FolioId, pfn: Pfn) -> bool {
        let mut locked = self.lock_lists(folios);
        if !is_at(folios.slot(folio).word(), pfn) {
            return false; // its list is chosen where it has come to
        }
        let Place::Listed(from) = locked.custody(pfn).place() else {
            return false; // its list is chosen when it is put there
        };
        locked.unlink(pfn, list_at(from));
        let list: LruList = kind_of(folios, folio).inactive();
        let to = locked.list_for(folio, list);
        locked.link(pfn, to);
        true
    }
}
