//! A value for each kind of folio, and for each list that reclaim scans.

use std::ops::{Index, IndexMut};

use crate::node::lru_list::{FolioKind, LruList};

/// A value for each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PerKind<T> {
    /// That of anonymous folios.
    pub(crate) anon: T,
    /// That of backed ones.
    pub(crate) file: T,
}

impl<T> PerKind<T> {
    /// What `value` says of each kind.
    pub(crate) fn each(mut value: impl FnMut(FolioKind) -> T) -> PerKind<T> {
        PerKind {
            anon: value(FolioKind::Anon),
            file: value(FolioKind::File),
        }
    }
}

impl<T> Index<FolioKind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: FolioKind) -> &T {
        match kind {
            FolioKind::Anon => &self.anon,
            FolioKind::File => &self.file,
        }
    }
}

impl<T> IndexMut<FolioKind> for PerKind<T> {
    fn index_mut(&mut self, kind: FolioKind) -> &mut T {
        match kind {
            FolioKind::Anon => &mut self.anon,
            FolioKind::File => &mut self.file,
        }
    }
}

/// A value for each list that reclaim scans; none for the unevictable one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PerList<T>([T; LruList::EVICTABLE.len()]);

impl<T> PerList<T> {
    /// What `value` says of each list.
    pub(crate) fn each(value: impl FnMut(LruList) -> T) -> PerList<T> {
        PerList(LruList::EVICTABLE.map(value))
    }
}

impl PerList<usize> {
    /// Pages on both lists of a kind.
    pub(crate) fn of_kind(&self, kind: FolioKind) -> usize {
        self[kind.inactive()] + self[kind.active()]
    }

    /// Pages on all lists.
    pub(crate) fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

impl<T> Index<LruList> for PerList<T> {
    type Output = T;

    /// # Panics
    /// If reclaim does not scan the list.
    fn index(&self, list: LruList) -> &T {
        &self.0[list.idx()]
    }
}

impl<T> IndexMut<LruList> for PerList<T> {
    fn index_mut(&mut self, list: LruList) -> &mut T {
        &mut self.0[list.idx()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_under_their_lists_and_summed_by_kind() {
        let sizes = PerList::each(|list| 10_usize.pow(list.idx() as u32));
        assert_eq!(sizes[LruList::ActiveAnon], 10);
        assert_eq!(sizes.of_kind(FolioKind::Anon), 11);
        assert_eq!(sizes.of_kind(FolioKind::File), 1100);
        assert_eq!(sizes.total(), 1111);
        let kinds = PerKind::each(|kind| sizes.of_kind(kind));
        assert_eq!((kinds[FolioKind::Anon], kinds[FolioKind::File]), (11, 1100));
    }
}
