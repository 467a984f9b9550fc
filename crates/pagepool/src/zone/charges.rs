//! Charges that wait at a cache for the next page of their group.
//!
//! *Kernel counterpart:* `struct memcg_stock_pcp`, `consume_stock`, `refill_stock`, `drain_all_stock` (v5.0).
//! There a CPU charges a batch in advance. Here it keeps what was charged for pages that were freed on it:
//! a thread that allocates and frees pays for neither, and a group is never charged for more than it had.
//!
//! A charge that waits counts like a page of its group, in every respect; who wants to know exactly, or has
//! no room, gives all of them back first.

use crate::sync::fence::mutated;
use crate::types::GroupId;

/// Charges of single pages that a cache keeps (kernel: `CHARGE_BATCH`).
pub(super) const MOST: u16 = 32;

/// Whether a charge is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// It is.
    Yes,
    /// It is not. Neither are these any more, which the caller gives back.
    No {
        /// Their group.
        group: GroupId,
        /// How many.
        pages: usize,
    },
}

impl Kept {
    /// It is not, and nothing else has changed.
    const NO: Kept = Kept::No {
        group: GroupId::ROOT,
        pages: 0,
    };
}

/// Charges of one group, each for a single page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Charges {
    group: GroupId,
    pages: u16,
}

impl Charges {
    /// Takes one for a page of a group, if there is one.
    #[inline]
    pub(crate) fn take(&mut self, group: GroupId) -> bool {
        let is_there = self.pages > 0 && self.group == group;
        self.pages -= u16::from(is_there);
        is_there
    }

    /// Keeps one of a page that is freed, unless there are enough, or somebody waits for the group to have
    /// less. That is asked here, under the cache's lock: whoever waits says so first, and then takes what
    /// every cache keeps; so either it finds this charge, or the look finds it.
    ///
    /// Those of another group make room for the next: they are handed out, and this one is not kept.
    #[inline]
    pub(crate) fn keep(&mut self, group: GroupId, nobody_waits: impl FnOnce() -> bool) -> Kept {
        if self.pages > 0 && self.group != group {
            let (group, pages) = self.take_all();
            return Kept::No { group, pages };
        }
        if nobody_waits() || mutated("group.look_at_waiters") {
            self.put(group)
        } else {
            Kept::NO
        }
    }

    /// Keeps one that was kept before, of the same group.
    #[inline]
    pub(super) fn put(&mut self, group: GroupId) -> Kept {
        self.group = group;
        if self.pages == MOST {
            return Kept::NO;
        }
        self.pages += 1;
        Kept::Yes
    }

    /// Takes all of them, with their group.
    pub(crate) fn take_all(&mut self) -> (GroupId, usize) {
        let Charges { group, pages } = std::mem::take(self);
        (group, usize::from(pages))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn charges_are_kept_of_one_group_and_give_way_to_the_next() {
        let [a, b] = [1, 2].map(GroupId::at);
        let mut charges = Charges::default();
        assert!(!charges.take(GroupId::ROOT) && !charges.take(a));
        assert_eq!([(); 3].map(|()| charges.keep(a, || true)), [Kept::Yes; 3]);
        assert!(!charges.take(b) && charges.take(a));
        assert_eq!(charges.keep(b, || true), Kept::No { group: a, pages: 2 });
        assert!(!charges.take(a));
        assert_eq!(charges.keep(b, || true), Kept::Yes);
        assert!(charges.take(b) && !charges.take(b));
        assert_eq!(charges.take_all().1, 0);
    }

    #[test]
    fn there_is_room_for_a_batch() {
        let group = GroupId::at(7);
        let mut charges = Charges::default();
        let keep = |_: &i32| charges.keep(group, || true) == Kept::Yes;
        assert_eq!((0..100).filter(keep).count(), 32);
        assert_eq!(charges.take_all(), (group, 32));
    }

    #[test]
    fn nothing_is_kept_from_those_who_wait() {
        let group = GroupId::at(7);
        let mut charges = Charges::default();
        assert_eq!(charges.keep(group, || false), Kept::NO);
        assert_eq!(charges.keep(group, || true), Kept::Yes);
        assert_eq!(charges.take_all().1, 1);
    }
}
