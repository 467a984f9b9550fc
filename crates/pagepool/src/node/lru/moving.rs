//! Folios that are taken off their lists by their place, in order to be moved, and listed again where they
//! have come to.
//!
//! *Kernel counterpart:* the LRU part of `isolate_migratepages_block`, `putback_movable_pages` (v5.0).
//!
//! ```text
//!            old frame              the folio's word      new frame
//!            ─────────              ────────────────      ─────────
//!  isolate   listed → isolated      at the old one        off
//!  begin     isolated               at the old one        off → batched, with owner and copy
//!  relocate  isolated               at the new one        batched
//!  forget    → off                  at the new one        batched
//!  list      –                      at the new one        batched → listed
//! ```
//!
//! The new frame is batched before the word says that the folio is there, so that an owner who drops it
//! from then on finds it in no list, and frees it himself. Until then he finds the old one isolated, and
//! leaves it to the isolator.

use arrayvec::ArrayVec;

use super::{Addition, ISOLATE_MAX, Isolated, Locked, is_at, kind_of, list_at};
use crate::folio::{Custody, CustodyFlag, FolioId, FolioTable, Place};
use crate::node::Node;
use crate::node::lru_list::LruList;
use crate::sync::atomic::Ordering;
use crate::types::Pfn;

impl Node {
    /// Where the lists have a frame; a moment ago, since no lock is taken.
    pub(crate) fn place_hint(&self, pfn: Pfn) -> Place {
        // Relaxed: a hint; who acts on it looks again under the lock.
        Custody::from_bits(self.map().lru_cell(pfn).load(Ordering::Relaxed)).place()
    }

    /// Whether the folio in this frame is an object of a user's. Known to its isolator; to others a hint, as
    /// `place_hint` is.
    pub(crate) fn is_object(&self, pfn: Pfn) -> bool {
        // Relaxed: set before the folio was in memory, and carried along under the lock.
        let custody = Custody::from_bits(self.map().lru_cell(pfn).load(Ordering::Relaxed));
        custody.has(CustodyFlag::Owned)
    }

    /// Takes the folios in these frames off their lists, as far as they are on one and `taken` has room.
    /// Those that reclaim has set aside only if `unevictable` says so.
    pub(crate) fn isolate_at(
        &self,
        folios: &FolioTable,
        frames: &[Pfn],
        unevictable: bool,
        taken: &mut ArrayVec<Isolated, ISOLATE_MAX>,
    ) {
        let before = taken.len();
        {
            let mut locked = self.lock_lists(folios);
            let room = taken.remaining_capacity();
            let isolate = |pfn: &Pfn| locked.isolate_one(*pfn, unevictable);
            taken.extend(frames.iter().filter_map(isolate).take(room));
        }
        for one in &taken[before..] {
            self.count_isolated(one, 1);
        }
    }

    /// Prepares a frame for an isolated folio that is about to be there: see the head.
    pub(crate) fn begin_move(&self, one: &Isolated, to: Pfn) {
        let map = self.map();
        map.set_owner(to, Some(one.folio.get()));
        self.set_copy(one.kind, to, one.order, map.copy(one.pfn));
        let custody = self.custody_of(one).moved();
        // Release: as in `expect_on_lru`.
        map.lru_cell(to).store(custody.bits(), Ordering::Release);
    }

    /// Takes that back: the folio has stayed where it was.
    pub(crate) fn abort_move(&self, one: &Isolated, to: Pfn) {
        self.map().set_owner(to, None);
        self.set_copy(one.kind, to, one.order, 0);
        self.clear_lru(to);
    }

    /// Lists folios where they have come to, unless they have gone already.
    pub(crate) fn list_moved(&self, folios: &FolioTable, moved: &[Isolated]) {
        let mut locked = self.lock_lists(folios);
        for one in moved {
            locked.add(Addition {
                pfn: one.pfn,
                folio: one.folio,
                list: one.list,
            });
        }
    }
}

impl Locked<'_> {
    /// Takes the folio in a frame off its list, if it is on one.
    fn isolate_one(&mut self, pfn: Pfn, unevictable: bool) -> Option<Isolated> {
        let folios = self.folios;
        let custody = self.custody(pfn);
        let Place::Listed(from) = custody.place() else {
            return None;
        };
        let list = list_at(from);
        let folio = self.map().owner(pfn).map(FolioId::from_raw)?;
        // One that has ended is its owner's, who is on his way to the lock.
        if !is_at(folios.slot(folio).word(), pfn) || (list == LruList::Unevictable && !unevictable)
        {
            return None;
        }
        self.unlink(pfn, list);
        self.set_custody(pfn, custody.isolated()?);
        Some(Isolated {
            folio,
            pfn,
            order: self.order(pfn),
            kind: kind_of(folios, folio),
            list,
        })
    }
}
