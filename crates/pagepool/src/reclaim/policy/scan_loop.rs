//! In what order a pass works off its targets, and when it drops the rest (spec 5.6).
//!
//! *Kernel counterpart:* the loop of `shrink_node_memcg` (v5.0). It goes round the lists, a batch from
//! each. Once enough was reclaimed it finishes in proportion: the kind of which less is left is
//! dropped, and the other is cut so that of both the same part will have been looked at.
//!
//! A batch is 32 pages, or fewer if fewer are to be reclaimed: the kernel's threads always want 32, ours
//! may have a short stint (see `direct`), and should not look at more than it takes.
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
    /// That of a pass over a node. A thread that reclaims for itself looks at everything at first if it
    /// was given a full stint, since the background reclaimer is evidently behind.
    pub(crate) fn of(who: Who, priority: u8, nr_to_reclaim: usize) -> Thoroughness {
        let is_behind = who == Who::Direct && nr_to_reclaim >= SWAP_CLUSTER_MAX;
        if is_behind && priority == DEF_PRIORITY {
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
            nr_to_reclaim: nr_to_reclaim.max(1),
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
            let pages = self.left[list].min(self.nr_to_reclaim.min(SWAP_CLUSTER_MAX));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(pages: [usize; 4]) -> PerList<usize> {
        PerList::each(|list| pages[list.idx()])
    }

    /// Works off a pass of which each batch brings so many pages; returns the batches.
    fn work_off(scan: &mut ScanLoop, per_batch: usize) -> Vec<(LruList, usize)> {
        let mut batches = vec![];
        while let Some(Batch { list, pages }) = scan.next_batch() {
            batches.push((list, pages));
            scan.note_reclaimed(per_batch.min(pages));
        }
        batches
    }

    fn looked_at(batches: &[(LruList, usize)]) -> [usize; 4] {
        LruList::EVICTABLE.map(|wanted| {
            let of_list = batches.iter().filter(|(list, _)| *list == wanted);
            of_list.map(|(_, pages)| pages).sum()
        })
    }

    fn enough(pages: [usize; 4], nr_to_reclaim: usize) -> ScanLoop {
        ScanLoop::new(targets(pages), nr_to_reclaim, Thoroughness::Enough)
    }

    #[test]
    fn lists_take_turns_of_a_batch() {
        let batches = work_off(&mut enough([40, 0, 70, 10], 1000), 0);
        let expected = [
            (LruList::InactiveAnon, 32),
            (LruList::InactiveFile, 32),
            (LruList::ActiveFile, 10),
            (LruList::InactiveAnon, 8),
            (LruList::InactiveFile, 32),
            (LruList::InactiveFile, 6),
        ];
        assert_eq!(batches, expected);
    }

    #[test]
    fn a_short_stint_has_short_batches() {
        let mut scan = enough([100, 100, 100, 100], 4);
        assert_eq!(scan.next_batch().map(|batch| batch.pages), Some(4));
    }

    #[test]
    fn active_anonymous_folios_alone_are_not_worth_a_round() {
        assert_eq!(work_off(&mut enough([0, 100, 0, 0], 32), 0), []);
        let batches = work_off(&mut enough([0, 100, 40, 0], 32), 0);
        assert_eq!(looked_at(&batches), [0, 64, 40, 0]);
    }

    #[test]
    fn a_round_is_finished_even_if_its_first_batch_brought_enough() {
        let mut scan = enough([32, 32, 32, 32], 8);
        scan.next_batch();
        scan.note_reclaimed(32);
        let round: Vec<_> = (0..3).filter_map(|_| scan.next_batch()).collect();
        assert_eq!(round.len(), 3);
    }

    #[test]
    fn once_enough_was_reclaimed_the_rest_is_cut_in_proportion() {
        // After a round 136 of 200 anonymous pages are left, 67 in a hundred of 201: so much of the
        // files is not to be looked at, of each list 330 are, 32 of them are done.
        let mut scan = enough([100, 100, 1000, 1000], 32);
        for _ in 0..4 {
            scan.next_batch();
            scan.note_reclaimed(10);
        }
        assert!(scan.next_batch().is_some());
        assert_eq!(scan.left.of_kind(FolioKind::Anon), 0);
        assert_eq!(scan.left[LruList::InactiveFile], 298 - 32);
        assert_eq!(scan.left[LruList::ActiveFile], 298);
        work_off(&mut scan, 32);
        assert_eq!(scan.left, targets([0; 4]), "it is cut once only");
    }

    #[test]
    fn where_as_much_is_left_of_both_the_files_are_dropped() {
        // After four rounds 744 pages are left of each kind. Of the files that is 74 in a hundred of
        // 1001; of the 872 anonymous pages 226 are to be looked at, and 128 are done.
        let mut scan = enough([872, 0, 500, 500], 32);
        for _ in 0..4 * 3 {
            scan.next_batch();
        }
        scan.note_reclaimed(32);
        assert_eq!(scan.next_batch().map(|batch| batch.pages), Some(32));
        assert_eq!(scan.left, targets([226 - 128 - 32, 0, 0, 0]));
    }

    #[test]
    fn a_pass_for_no_page_tries_for_one() {
        let batches = work_off(&mut enough([2, 0, 2, 0], 0), 1);
        assert_eq!(looked_at(&batches), [1, 0, 1, 0]);
    }

    #[test]
    fn a_pass_ends_when_enough_was_reclaimed_and_one_kind_is_done() {
        let batches = work_off(&mut enough([32, 0, 1000, 0], 32), 16);
        assert_eq!(looked_at(&batches), [32, 0, 32, 0]);
    }

    #[test]
    fn what_was_looked_at_too_much_is_not_looked_at_again() {
        // All but one of 33 files are done, which leaves 2 in a hundred of 34; of the 64 anonymous
        // pages that is 62, and 32 are done.
        let mut scan = enough([64, 0, 33, 0], 32);
        for _ in 0..2 {
            scan.next_batch();
            scan.note_reclaimed(16);
        }
        let rest = scan.next_batch().map(|batch| (batch.list, batch.pages));
        assert_eq!(rest, Some((LruList::InactiveAnon, 30)));
        assert_eq!(scan.next_batch(), None);
    }

    #[test]
    fn a_thread_with_a_full_stint_looks_at_everything_at_first() {
        let of = Thoroughness::of;
        assert_eq!(of(Who::Direct, 12, 32), Thoroughness::All);
        assert_eq!(of(Who::Direct, 12, 8), Thoroughness::Enough);
        assert_eq!(of(Who::Direct, 11, 32), Thoroughness::Enough);
        assert_eq!(of(Who::Kswapd, 12, 32), Thoroughness::Enough);
        let mut scan = ScanLoop::new(targets([99; 4]), 32, Thoroughness::All);
        assert_eq!(looked_at(&work_off(&mut scan, 32)), [99; 4]);
        assert_eq!(scan.reclaimed, 4 * 99);
    }

    proptest! {
        #[test]
        fn no_list_is_looked_at_beyond_its_target(
            pages in any::<[u16; 4]>(),
            nr_to_reclaim in 0..3000_usize,
            per_batch in 0..40_usize,
        ) {
            let pages = pages.map(|pages| usize::from(pages) / 8);
            let mut scan = enough(pages, nr_to_reclaim);
            let batches = work_off(&mut scan, per_batch);
            prop_assert!(batches.iter().all(|(_, pages)| (1..=32).contains(pages)));
            let seen = looked_at(&batches);
            prop_assert!((0..4).all(|list| seen[list] <= pages[list]), "{seen:?}");
            if scan.reclaimed < nr_to_reclaim {
                prop_assert_eq!((seen[0], seen[2], seen[3]), (pages[0], pages[2], pages[3]));
            }
        }
    }
}
