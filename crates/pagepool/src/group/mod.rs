//! Memory groups: a tree of those who share a pool, what each has, and what it may have.
//!
//! *Kernel counterpart:* `struct mem_cgroup` (v5.0), as the second version of control groups has it, with
//! the soft limit of the first. A group is charged for folios in memory and for raw blocks; so are all
//! groups above it. The root is not: what it has is all that the pool has handed out.
//!
//! Key types: [`Groups`], the table; [`PageCounter`], a group's count against its limit; [`GroupLimits`];
//! [`Protection`](protection::Protection).
//!
//! **Invariants**
//! - G3: a group is charged for its resident folios and raw blocks, and for those of the groups below it.
//! - G4: a place in the table is used again only when its group has no member (folio, away or not, or raw
//!   block), no group below it and no handle.
//!
//! **Locking:** the tree has a lock for those who make, find and delete groups. Charges take none: a group
//! with a member stays where it is (G4).
//!
//! Not here: which folios a group loses when it is at its limit (`reclaim`), how long a request waits for
//! that (`alloc`).

#![forbid(unsafe_code)]

mod counter;
mod error;
pub(crate) mod limits;
pub(crate) mod protection;
mod slot;
mod tree;

#[cfg(all(test, not(loom)))]
mod properties;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(loom)]
pub(crate) use counter::PageCounter;
pub use error::GroupError;
pub use limits::GroupLimits;
pub(crate) use slot::{GroupItem, GroupSlot};

use self::protection::{Claim, Protection};
use self::tree::Tree;
use crate::error::Violation;
use crate::psi::worker::{self, Change, Registered};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::clock::Instant;
use crate::sync::{CoreMutex, WaitQueue};
use crate::types::{GroupId, MAX_GROUPS};

/// Groups above each other, at most.
pub(crate) const MAX_DEPTH: u8 = 8;

/// A group that has no room for what would be charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full(pub(crate) GroupId);

/// The groups of a pool.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The root is the first.
    slots: Box<[GroupSlot]>,
    tree: CoreMutex<Tree>,
    /// Places that were ever used: those beyond hold nothing.
    nr_used: AtomicUsize,
    /// Groups for which something is protected.
    nr_protecting: AtomicUsize,
    /// Groups that have a soft limit.
    nr_soft: AtomicUsize,
    /// Where requests sleep that wait for pages of a group to be given back.
    uncharged: WaitQueue,
}

impl Groups {
    /// A table for so many groups beside the root.
    ///
    /// # Panics
    /// If it is more than [`MAX_GROUPS`].
    pub(crate) fn new(max_groups: usize) -> Groups {
        assert!(max_groups <= MAX_GROUPS, "{max_groups} groups");
        Groups {
            slots: (0..=max_groups).map(|_| GroupSlot::default()).collect(),
            tree: CoreMutex::new(Tree::default()),
            nr_used: AtomicUsize::new(1),
            nr_protecting: AtomicUsize::new(0),
            nr_soft: AtomicUsize::new(0),
            uncharged: WaitQueue::unfenced(),
        }
    }

    /// Bytes that a table for so many groups takes.
    pub(crate) fn bytes_for(max_groups: usize) -> usize {
        size_of::<Groups>() + (max_groups + 1) * (size_of::<GroupSlot>() + Tree::BYTES_PER_GROUP)
    }

    /// How many threads wait for pages of a group to be given back.
    pub(crate) fn nr_sleepers(&self) -> u32 {
        self.uncharged.nr_sleepers()
    }

    /// How many groups there can be beside the root.
    pub(crate) fn limit(&self) -> usize {
        self.slots.len() - 1
    }

    /// What is known of a group.
    #[inline]
    pub(crate) fn slot(&self, group: GroupId) -> &GroupSlot {
        &self.slots[group.get()]
    }

    /// The group and those above it, up to the root, which is left out.
    pub(crate) fn chain(&self, group: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        std::iter::successors(Some(group), |group| Some(self.slot(*group).parent()))
            .take_while(|group| !group.is_root())
    }

    /// Whether a group is `above`, or below it.
    pub(crate) fn is_under(&self, group: GroupId, above: GroupId) -> bool {
        above.is_root() || self.chain(group).any(|one| one == above)
    }

    /// The group `above` and all below it, in no particular order.
    pub(crate) fn under(&self, above: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        // Relaxed: who is new is looked at next time.
        let nr_used = self.nr_used.load(Ordering::Relaxed);
        (0..nr_used).map(GroupId::at).filter(move |group| {
            (group.is_root() || self.slot(*group).is_live()) && self.is_under(*group, above)
        })
    }

    /// Whether there is any group beside the root, or ever was.
    pub(crate) fn is_trivial(&self) -> bool {
        // Relaxed: as in `under`.
        self.nr_used.load(Ordering::Relaxed) == 1
    }

    /// Charges a group and all above it, if all of them have room.
    ///
    /// # Errors
    /// The first that has not; nothing is charged then.
    pub(crate) fn try_charge(&self, group: GroupId, pages: usize) -> Result<(), Full> {
        for one in self.chain(group) {
            if !self.slot(one).counter.try_charge(pages) {
                self.uncharge_below(group, one, pages);
                return Err(Full(one));
            }
        }
        Ok(())
    }

    /// Gives pages of a group back.
    pub(crate) fn uncharge(&self, group: GroupId, pages: usize) {
        self.uncharge_below(group, GroupId::ROOT, pages);
    }

    /// Gives back what was charged from `group` up to the one below `end`.
    fn uncharge_below(&self, group: GroupId, end: GroupId, pages: usize) {
        let mut wakes = false;
        for one in self.chain(group).take_while(|one| *one != end) {
            wakes |= self.slot(one).counter.uncharge(pages);
        }
        if wakes {
            self.uncharged.wake_published();
        }
    }

    /// Charges `to` for what is then no longer charged to `from`. Groups above both are left alone.
    ///
    /// # Errors
    /// The first that has no room; nothing has changed then.
    pub(crate) fn move_charge(&self, from: GroupId, to: GroupId, pages: usize) -> Result<(), Full> {
        let common = self.nearest_above_both(from, to);
        for one in self.chain(to).take_while(|one| *one != common) {
            if !self.slot(one).counter.try_charge(pages) {
                self.uncharge_below(to, one, pages);
                return Err(Full(one));
            }
        }
        self.uncharge_below(from, common, pages);
        Ok(())
    }

    fn nearest_above_both(&self, a: GroupId, b: GroupId) -> GroupId {
        let common = self.chain(a).find(|one| self.is_under(b, *one));
        common.unwrap_or(GroupId::ROOT)
    }

    /// Sleeps until pages of a group that was full are given back, or its limit is raised, or the deadline
    /// passes.
    pub(crate) fn wait_for_room(
        &self,
        full: Full,
        pages: usize,
        deadline: Option<Instant>,
        gather: impl FnOnce(),
    ) {
        let counter = &self.slot(full.0).counter;
        counter.wait(&self.uncharged, pages, deadline, gather);
    }

    /// Whether a group may keep the charge of a page that was freed: nobody waits for it, or one above it, to
    /// have less, and each has no more than it may.
    #[inline]
    pub(crate) fn may_keep_charges(&self, group: GroupId) -> bool {
        self.chain(group).all(|one| {
            let slot = self.slot(one);
            !slot.counter.has_waiters() && slot.pages() <= slot.high().min(slot.max())
        })
    }

    /// A raw block of a group has been handed out, which is charged for it.
    pub(crate) fn join_raw(&self, group: GroupId, pages: usize) {
        let slot = self.slot(group);
        slot.join();
        slot.add(GroupItem::Raw, pages as i64);
    }

    /// Raw blocks of a group have come back, with so many pages together.
    pub(crate) fn leave_raw(&self, group: GroupId, blocks: usize, pages: usize) {
        let slot = self.slot(group);
        slot.add(GroupItem::Raw, -(pages as i64));
        self.uncharge(group, pages);
        slot.leave(blocks);
    }

    /// Makes this thread a worker of a group and those above it; returns of how many, from the nearest on.
    pub(crate) fn enlist_worker(&self, group: GroupId) -> usize {
        let mut nr = 0;
        for one in self.chain(group) {
            let psi = self.slot(one).psi();
            match worker::register(psi) {
                Registered::First => psi.change(Change::Join),
                Registered::Again => {}
                Registered::TooMany => break,
            }
            nr += 1;
        }
        nr
    }

    /// Takes back what [`enlist_worker`](Self::enlist_worker) has done, on the same thread.
    pub(crate) fn dismiss_worker(&self, group: GroupId, nr: usize) {
        for one in self.chain(group).take(nr) {
            let psi = self.slot(one).psi();
            if worker::unregister(psi) {
                psi.change(Change::Leave);
            }
        }
    }

    /// Checks that pressure adds up, and that nobody waits if nothing runs.
    pub(crate) fn verify_psi(&self, is_quiescent: bool) -> Result<(), Violation> {
        let mut states = self.slots.iter().map(GroupSlot::psi);
        states.try_for_each(|psi| psi.verify(is_quiescent))
    }

    /// Of a group and those above it, the nearest that has more than it may for long, and by how much.
    pub(crate) fn beyond_high(&self, group: GroupId) -> Option<(GroupId, usize)> {
        self.chain(group).find_map(|one| {
            let slot = self.slot(one);
            let beyond = slot.counter.pages().saturating_sub(slot.high());
            (beyond > 0).then_some((one, beyond))
        })
    }

    /// Sets a group's limits, which were checked. Who waits for more sees to it.
    pub(crate) fn set_limits(&self, group: GroupId, limits: &GroupLimits) {
        let wakes = {
            let _tree = self.tree.lock();
            self.apply_limits(group, limits)
        };
        if wakes {
            self.uncharged.wake_published();
        }
    }

    /// The same, under the tree's lock; returns whether waiters must be woken.
    fn apply_limits(&self, group: GroupId, limits: &GroupLimits) -> bool {
        let slot = self.slot(group);
        let before = slot.limits();
        let wakes = slot.set_limits(limits);
        let changed = |was: bool, is: bool, nr: &AtomicUsize| {
            // Relaxed: advice to reclaim; written under the lock.
            if is && !was {
                nr.fetch_add(1, Ordering::Relaxed);
            } else if was && !is {
                nr.fetch_sub(1, Ordering::Relaxed);
            }
        };
        changed(before.protects(), limits.protects(), &self.nr_protecting);
        let has_soft = |limits: &GroupLimits| limits.soft_limit_bytes() != limits::UNLIMITED;
        changed(has_soft(&before), has_soft(limits), &self.nr_soft);
        wakes
    }

    /// Whether any group has a soft limit.
    pub(crate) fn has_soft_limits(&self) -> bool {
        // Relaxed: advice.
        self.nr_soft.load(Ordering::Relaxed) > 0
    }

    /// What of a group is left to it when reclaim works on `target` and all below that.
    pub(crate) fn protection(&self, group: GroupId, target: GroupId) -> Protection {
        self.protection_of(group, target).0
    }

    /// The same, with the pages that it goes by: a group is never protected for more, and with another count
    /// one that is wholly protected would seem to have some beyond.
    pub(crate) fn protection_of(&self, group: GroupId, target: GroupId) -> (Protection, usize) {
        // Relaxed: advice.
        if self.nr_protecting.load(Ordering::Relaxed) == 0 || group == target || group.is_root() {
            return (Protection::default(), self.slot(group).pages());
        }
        let parent = self.slot(group).parent();
        let given = if parent == target || parent.is_root() {
            // What reclaim works on has all to give.
            Protection {
                min: usize::MAX,
                low: usize::MAX,
            }
        } else {
            self.protection(parent, target)
        };
        let own = self.slot(group).claims();
        let mut all = Protection::default();
        for sibling in self.children(parent) {
            let [min, low] = self.slot(sibling).claims().map(Claim::claimed);
            all.min = all.min.saturating_add(min);
            all.low = all.low.saturating_add(low);
        }
        let protection = Protection {
            min: own[0].granted(given.min, all.min),
            low: own[1].granted(given.low, all.low),
        };
        (protection, own[0].usage)
    }

    /// The groups directly below one.
    pub(crate) fn children(&self, parent: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        // Relaxed: as in `under`.
        let nr_used = self.nr_used.load(Ordering::Relaxed);
        (1..nr_used).map(GroupId::at).filter(move |group| {
            let slot = self.slot(*group);
            slot.is_live() && slot.parent() == parent
        })
    }

    /// The group that is the farthest beyond its soft limit, but for those in `passed`, and by how many
    /// pages.
    pub(crate) fn worst_offender(&self, passed: &[GroupId]) -> Option<(GroupId, usize)> {
        self.under(GroupId::ROOT)
            .filter(|group| !group.is_root() && !passed.contains(group))
            .map(|group| (group, self.slot(group).beyond_soft()))
            .filter(|(_, beyond)| *beyond > 0)
            .max_by_key(|(_, beyond)| *beyond)
    }
}
