//! Where a copy of a page's contents is kept, in 32 bits (pure).
//!
//! *Kernel counterpart:* `swp_entry_t` (v5.0). There, pages of files are found by mapping and index, and
//! swapped pages by entry; here both are entries.
//!
//! ```text
//!  31        27 26                                    0
//! +------------+---------------------------------------+
//! |   store    |                 page                  |     0: nowhere
//! +------------+---------------------------------------+
//! ```

#![forbid(unsafe_code)]

use std::fmt;

const PAGE_BITS: u32 = 27;
const MAX_PAGE: u32 = (1 << PAGE_BITS) - 1;

/// The number of a store, 1 to 31: a swap area, or a backing that a user attached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct StoreId(u8);

impl StoreId {
    /// How many stores a pool can have.
    pub(crate) const MAX: usize = 31;

    /// The number of what is no store of contents and only has a store's workers: it is in no table, and no
    /// entry names it.
    pub(crate) const OUTSIDE: StoreId = StoreId(0);

    /// All numbers.
    pub(crate) fn all() -> impl Iterator<Item = StoreId> {
        (1..=Self::MAX).map(|n| StoreId(n as u8))
    }

    /// The number as an index, 0 to 30.
    pub(crate) const fn idx(self) -> usize {
        self.0 as usize - 1
    }
}

/// A page of a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry(u32);

impl Entry {
    /// Pages that a store can have: 512 GiB.
    pub(crate) const MAX_PAGES: usize = 1 << PAGE_BITS;

    /// The page `page` of a store.
    ///
    /// # Panics
    /// If no store can have so many pages.
    pub(crate) fn new(store: StoreId, page: u32) -> Entry {
        assert!(page <= MAX_PAGE, "page {page} of {store:?}");
        Entry((u32::from(store.0) << PAGE_BITS) | page)
    }

    /// The entry that a number stands for; 0 is none.
    pub(crate) fn from_raw(raw: u32) -> Option<Entry> {
        let store = (raw >> PAGE_BITS) as u8;
        debug_assert!(raw == 0 || store > 0, "no store has {raw:#x}");
        (store > 0).then_some(Entry(raw))
    }

    /// The page that lies `pages` further on, if a store can have it.
    pub(crate) fn further(self, pages: usize) -> Option<Entry> {
        let page = self.page() as usize + pages;
        (page <= MAX_PAGE as usize).then(|| Entry::new(self.store(), page as u32))
    }

    /// The number of this entry, never 0.
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// The store.
    pub(crate) const fn store(self) -> StoreId {
        StoreId((self.0 >> PAGE_BITS) as u8)
    }

    /// The page within it.
    pub(crate) const fn page(self) -> u32 {
        self.0 & MAX_PAGE
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store{}:{:x}", self.store().0, self.page())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_packing_and_are_never_zero() {
        for store in StoreId::all() {
            for page in [0, 1, 77, MAX_PAGE] {
                let entry = Entry::new(store, page);
                assert_eq!((entry.store(), entry.page()), (store, page));
                assert_eq!(Entry::from_raw(entry.raw()), Some(entry));
            }
        }
        assert_eq!(Entry::from_raw(0), None);
    }

    #[test]
    fn behind_the_last_page_there_is_none() {
        for store in StoreId::all() {
            let last = Entry::new(store, MAX_PAGE);
            assert_eq!(Entry::new(store, MAX_PAGE - 2).further(2), Some(last));
            assert_eq!(last.further(1), None);
            assert_eq!(last.further(1024), None);
        }
    }

    #[test]
    fn there_are_as_many_numbers_as_bits_allow() {
        assert_eq!(StoreId::all().count(), StoreId::MAX);
    }
}
