//! The names of a node's five lists of folios (pure).
//!
//! *Kernel counterpart:* `enum lru_list` (v5.0). Which lists there are is known here; what moves a
//! folio from one to another is the policy of reclaim.

/// What a folio's contents come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum FolioKind {
    /// From nowhere: if they leave memory, they go to swap (kernel: swap-backed).
    Anon,
    /// From a backing store that keeps them: if they are clean, they need only be dropped.
    File,
}

impl FolioKind {
    /// Both kinds.
    pub(crate) const ALL: [FolioKind; 2] = [FolioKind::Anon, FolioKind::File];

    /// The other kind.
    pub(crate) const fn other(self) -> FolioKind {
        match self {
            FolioKind::Anon => FolioKind::File,
            FolioKind::File => FolioKind::Anon,
        }
    }

    /// The list of this kind for folios that were not used lately.
    pub(crate) const fn inactive(self) -> LruList {
        match self {
            FolioKind::Anon => LruList::InactiveAnon,
            FolioKind::File => LruList::InactiveFile,
        }
    }

    /// The list of this kind for folios in use.
    pub(crate) const fn active(self) -> LruList {
        match self {
            FolioKind::Anon => LruList::ActiveAnon,
            FolioKind::File => LruList::ActiveFile,
        }
    }
}

/// A list of folios. New ones come in at the head, reclaim takes from the tail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub(crate) enum LruList {
    /// Anonymous folios that were not used lately.
    InactiveAnon = 0,
    /// Anonymous folios in use.
    ActiveAnon = 1,
    /// Backed folios that were not used lately.
    InactiveFile = 2,
    /// Backed folios in use.
    ActiveFile = 3,
    /// Folios of both kinds that must stay in memory.
    Unevictable = 4,
}

impl LruList {
    /// All lists, by index.
    pub(crate) const ALL: [LruList; 5] = [
        LruList::InactiveAnon,
        LruList::ActiveAnon,
        LruList::InactiveFile,
        LruList::ActiveFile,
        LruList::Unevictable,
    ];

    /// The lists that reclaim scans, by index and in the order in which it does.
    pub(crate) const EVICTABLE: [LruList; 4] = [
        LruList::InactiveAnon,
        LruList::ActiveAnon,
        LruList::InactiveFile,
        LruList::ActiveFile,
    ];

    /// The list's index.
    pub(crate) const fn idx(self) -> usize {
        self as usize
    }

    /// What is on the list; nothing for the one that takes both kinds.
    pub(crate) const fn kind(self) -> Option<FolioKind> {
        match self {
            LruList::InactiveAnon | LruList::ActiveAnon => Some(FolioKind::Anon),
            LruList::InactiveFile | LruList::ActiveFile => Some(FolioKind::File),
            LruList::Unevictable => None,
        }
    }

    /// Whether folios in use are on it.
    pub(crate) const fn is_active(self) -> bool {
        matches!(self, LruList::ActiveAnon | LruList::ActiveFile)
    }

    /// The active or the inactive list of the same kind; the unevictable one has no other.
    #[must_use]
    pub(crate) const fn with_active(self, active: bool) -> LruList {
        match (self.kind(), active) {
            (Some(kind), true) => kind.active(),
            (Some(kind), false) => kind.inactive(),
            (None, _) => self,
        }
    }

    /// The kernel's name of the list's length.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            LruList::InactiveAnon => "nr_inactive_anon",
            LruList::ActiveAnon => "nr_active_anon",
            LruList::InactiveFile => "nr_inactive_file",
            LruList::ActiveFile => "nr_active_file",
            LruList::Unevictable => "nr_unevictable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_stand_at_their_indexes() {
        for (idx, list) in LruList::ALL.into_iter().enumerate() {
            assert_eq!(list.idx(), idx);
        }
        assert_eq!(LruList::ALL[..4], LruList::EVICTABLE);
    }

    #[test]
    fn a_list_keeps_its_kind_whatever_its_activity() {
        for list in LruList::EVICTABLE {
            for active in [false, true] {
                let other = list.with_active(active);
                assert_eq!(other.kind(), list.kind());
                assert_eq!(other.is_active(), active);
            }
            assert_eq!(list.with_active(list.is_active()), list);
        }
        let unevictable = LruList::Unevictable;
        assert_eq!(unevictable.with_active(true), unevictable);
        assert_eq!(unevictable.kind(), None);
    }

    #[test]
    fn names_are_the_kernels() {
        let names = LruList::ALL.map(LruList::name);
        assert_eq!(
            names,
            [
                "nr_inactive_anon",
                "nr_active_anon",
                "nr_inactive_file",
                "nr_active_file",
                "nr_unevictable"
            ]
        );
    }
}
