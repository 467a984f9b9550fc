//! In what order a pass works off its targets, and when it drops the rest (spec 5.6).
//!
//! *Kernel counterpart:* the loop of `shrink_node_memcg` (v5.0). It goes round the lists, a batch from
//! each. Once enough was reclaimed it finishes in proportion: the kind of which less is left is
//! dropped, and the other is cut so that of both the same part will have been looked at.
//!
//! The caller skips a batch of an active list whose inactive one is not low. Afterwards it ages up to
//! a batch of anonymous folios if their inactive list is low, even if none were to be evicted.

use super::tables::PerList;
use crate::node::lru_list::{FolioKind, LruList};
use crate::reclaim::Who;
use crate::reclaim::control::{DEF_PRIORITY, SWAP_CLUSTER_MAX};

/// Pages at the tail of a list to be looked at now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// The list.
    pub(crate) list: LruList,
    /// How many pages, 1 to 32.
    pub(crate) pages: usize,
}

/// Whether a pass may stop before it has looked at all that it set out to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Thoroughness {
    /// It stops in proportion once it has reclaimed enough.
    Enough,
    /// It looks at everything.
    All,
}

impl Thoroughness {
    /// That of a pass over a node. A thread that reclaims for itself looks at everything at first, since
    /// the background reclaimer is evidently behind.
    pub(crate) fn of(who: Who, priority: u8) -> Thoroughness {
        if who == Who::Direct && priority == DEF_PRIORITY {
            Thoroughness::All
        } else {
            Thoroughness::Enough
        }
    }
}

/// A pass over the lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanLoop {
    targets: PerList<usize>,
    left: PerList<usize>,
    nr_to_reclaim: usize,
    reclaimed: usize,
    /// The next list of this round, as an index of `LruList::EVICTABLE`.
    next: usize,
    /// Whether the rest is what it should be.
    is_settled: bool,
}

impl ScanLoop {
    /// Sets out to look at `targets` in order to reclaim `nr_to_reclaim` pages.
    pub(crate) fn new(
        targets: PerList<usize>,
        nr_to_reclaim: usize,
        thoroughness: Thoroughness,
    ) -> ScanLoop {
        ScanLoop {
            targets,
            left: targets,
            nr_to_reclaim,
            reclaimed: 0,
            next: LruList::EVICTABLE.len(),
            is_settled: thoroughness == Thoroughness::All,
        }
    }

    /// The next batch, which counts as looked at; nothing when the pass is over.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        loop {
            if self.next == LruList::EVICTABLE.len() {
                if !self.begin_round() {
                    return None;
                }
                self.next = 0;
            }
            let list = LruList::EVICTABLE[self.next];
            self.next += 1;
            let pages = self.left[list].min(SWAP_CLUSTER_MAX);
            if pages > 0 {
                self.left[list] -= pages;
                return Some(Batch { list, pages });
            }
        }
    }

    /// Says how many pages the last batch brought.
    pub(crate) fn note_reclaimed(&mut self, pages: usize) {
        self.reclaimed += pages;
    }

    /// Pages reclaimed so far.
    pub(crate) fn reclaimed(&self) -> usize {
        self.reclaimed
    }

    /// Whether there is another round; settles the rest if enough was reclaimed.
    fn begin_round(&mut self) -> bool {
        if self.reclaimed >= self.nr_to_reclaim && !self.is_settled && !self.settle() {
            return false;
        }
        // What is left of the active anonymous list alone is not worth a round.
        self.left[LruList::InactiveAnon] > 0 || self.left.of_kind(FolioKind::File) > 0
    }

    /// Cuts the rest in proportion; returns whether anything is left. If one kind is done, the other
    /// has been looked at for longer than its share.
    fn settle(&mut self) -> bool {
        let (anon, file) = (
            self.left.of_kind(FolioKind::Anon),
            self.left.of_kind(FolioKind::File),
        );
        if anon == 0 || file == 0 {
            return false;
        }
        let (smaller, left) = if file > anon {
            (FolioKind::Anon, anon)
        } else {
            (FolioKind::File, file)
        };
        let percentage = 100 * left / (self.targets.of_kind(smaller) + 1);
        self.drop_rest(smaller);
        self.cut(smaller.other(), percentage);
        self.is_settled = true;
        true
    }

    fn drop_rest(&mut self, kind: FolioKind) {
        for list in [kind.inactive(), kind.active()] {
            self.left[list] = 0;
        }
    }

    /// Leaves so much of a kind that `percentage` of it will not have been looked at.
    fn cut(&mut self, kind: FolioKind, percentage: usize) {
        for list in [kind.inactive(), kind.active()] {
            let scanned = self.targets[list] - self.left[list];
            let share = self.targets[list] * (100 - percentage) / 100;
            self.left[list] = share.saturating_sub(scanned);
        }
    }
}
