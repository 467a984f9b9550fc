//! What a pass learns about how stores keep up, and what kswapd makes of it (spec 5.7).
//!
//! *Kernel counterpart:* `struct reclaim_stat`, `PGDAT_WRITEBACK`, `PGDAT_CONGESTED`, `PGDAT_DIRTY` and the
//! end of `shrink_node` (v5.0).

use bitflags::bitflags;

bitflags! {
    /// What a decision counts for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Notes: u8 {
        /// It was looked at.
        const SCANNED = 1 << 0;
        /// It is dirty.
        const DIRTY = 1 << 1;
        /// It is dirty and nobody writes it.
        const UNQUEUED_DIRTY = 1 << 2;
        /// It waits for a store that is behind.
        const CONGESTED = 1 << 3;
        /// It is being written.
        const WRITEBACK = 1 << 4;
        /// It came round again before it was written.
        const IMMEDIATE = 1 << 5;
        /// It is backed.
        const FILE = 1 << 6;
    }
}

bitflags! {
    /// What kswapd found out about a node, until it finds it balanced.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct NodeBits: u8 {
        /// All that is taken from the lists is being written already.
        const WRITEBACK = 1 << 0;
        /// All that is dirty waits for a store that is behind.
        const CONGESTED = 1 << 1;
        /// All files that are taken are dirty, and none of them is being written.
        const DIRTY = 1 << 2;
    }
}

/// What a pass counted, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PassStats {
    /// Pages taken from the lists.
    pub(crate) taken: usize,
    /// Of these, pages of files.
    pub(crate) file_taken: usize,
    /// Pages looked at.
    pub(crate) scanned: usize,
    /// Pages that are dirty or being written.
    pub(crate) dirty: usize,
    /// Pages that are dirty and not being written.
    pub(crate) unqueued_dirty: usize,
    /// Pages that wait for a store that is behind.
    pub(crate) congested: usize,
    /// Pages being written.
    pub(crate) writeback: usize,
    /// Pages that came round again before they were written.
    pub(crate) immediate: usize,
}

impl PassStats {
    /// Counts a folio of `pages` pages by its first decision.
    pub(crate) fn add(&mut self, notes: Notes, pages: usize) {
        let if_noted = |note| if notes.contains(note) { pages } else { 0 };
        self.taken += pages;
        self.file_taken += if_noted(Notes::FILE);
        self.scanned += if_noted(Notes::SCANNED);
        self.dirty += if_noted(Notes::DIRTY);
        self.unqueued_dirty += if_noted(Notes::UNQUEUED_DIRTY);
        self.congested += if_noted(Notes::CONGESTED);
        self.writeback += if_noted(Notes::WRITEBACK);
        self.immediate += if_noted(Notes::IMMEDIATE);
    }

    /// What kswapd knows of the node after a pass. Nothing follows from nothing (v5.0 takes a pass
    /// without files for one in which all were dirty).
    pub(crate) fn node_bits(&self) -> NodeBits {
        let all_of = |some: usize, all: usize| some != 0 && some == all;
        let mut bits = NodeBits::empty();
        bits.set(NodeBits::WRITEBACK, all_of(self.writeback, self.taken));
        bits.set(NodeBits::CONGESTED, all_of(self.congested, self.dirty));
        bits.set(
            NodeBits::DIRTY,
            all_of(self.unqueued_dirty, self.file_taken),
        );
        bits
    }

    /// Whether kswapd should wait for writes before its next pass: it goes round faster than the stores.
    pub(crate) fn should_nap(&self) -> bool {
        self.immediate != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(folios: &[(Notes, usize)]) -> PassStats {
        let mut stats = PassStats::default();
        folios
            .iter()
            .for_each(|(notes, pages)| stats.add(*notes, *pages));
        stats
    }

    const CLEAN: Notes = Notes::SCANNED.union(Notes::FILE);
    const DIRTY: Notes = CLEAN.union(Notes::DIRTY).union(Notes::UNQUEUED_DIRTY);
    const IN_FLIGHT: Notes = CLEAN.union(Notes::DIRTY).union(Notes::WRITEBACK);

    #[test]
    fn folios_count_by_their_pages() {
        let stats = stats(&[(DIRTY, 4), (CLEAN, 1), (Notes::empty(), 2)]);
        assert_eq!((stats.taken, stats.scanned, stats.file_taken), (7, 5, 5));
        assert_eq!((stats.dirty, stats.unqueued_dirty), (4, 4));
        assert_eq!((stats.writeback, stats.immediate), (0, 0));
    }

    #[test]
    fn a_bit_is_set_if_all_pages_were_so() {
        let bits = |folios: &[_]| stats(folios).node_bits();
        assert_eq!(bits(&[(DIRTY, 1), (DIRTY, 8)]), NodeBits::DIRTY);
        assert_eq!(bits(&[(DIRTY, 1), (CLEAN, 1)]), NodeBits::empty());
        assert_eq!(bits(&[(IN_FLIGHT, 1)]), NodeBits::WRITEBACK);
        assert_eq!(bits(&[(IN_FLIGHT, 1), (CLEAN, 1)]), NodeBits::empty());
        let stuck = DIRTY | Notes::CONGESTED;
        let both = NodeBits::CONGESTED | NodeBits::DIRTY;
        assert_eq!(bits(&[(stuck, 1)]), both);
        assert_eq!(bits(&[(stuck, 1), (IN_FLIGHT, 1)]), NodeBits::empty());
    }

    #[test]
    fn nothing_follows_from_a_pass_without_files() {
        assert_eq!(stats(&[]).node_bits(), NodeBits::empty());
        assert_eq!(stats(&[(Notes::SCANNED, 5)]).node_bits(), NodeBits::empty());
    }

    #[test]
    fn kswapd_naps_after_it_met_a_page_twice() {
        assert!(!stats(&[(IN_FLIGHT, 1)]).should_nap());
        assert!(stats(&[(CLEAN | Notes::IMMEDIATE, 1)]).should_nap());
    }
}
