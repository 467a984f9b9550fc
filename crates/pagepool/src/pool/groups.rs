//! Memory groups, as users have them.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::folio::{Folio, MovableBlock, MovableOwner};
use super::pages::{Pages, PagesUninit};
use super::request::AllocRequest;
use super::{Inner, PagePool};
use crate::error::{AllocError, Violation};
use crate::gfp::Gfp;
use crate::group::{GroupError, GroupItem, GroupLimits};
use crate::reclaim::policy::history::History;
use crate::sync::clock;
use crate::types::{GroupId, NodeMask, Order, PAGE_SIZE, Pfn};

/// A group of those who share a pool: what is allocated through it is charged to it, and to all groups
/// above it.
///
/// Cloning gives another handle to the same group. A group outlives its handles: it is found again by
/// [`PagePool::group`], and goes by [`delete`](Self::delete).
///
/// *Kernel counterpart:* a memory control group (`struct mem_cgroup`, v5.0).
///
/// ```
/// use pagepool::{AllocError, Gfp, GroupLimits, Order, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let tenant = pool.create_group("tenant", GroupLimits::new().max(1 << 20))?;
/// let block = tenant.alloc_pages(Order::new(7)?, Gfp::KERNEL)?; // 512 KiB
/// let more = tenant.alloc_pages(Order::new(8)?, Gfp::KERNEL | Gfp::NORETRY);
/// assert_eq!(more.unwrap_err(), AllocError::GroupLimit);
/// assert_eq!(tenant.stats().current_bytes, 512 << 10);
/// drop(block);
/// tenant.delete().map_err(|(_, error)| error)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Group {
    pool: PagePool,
    id: GroupId,
}

/// A group at a moment. Sizes are in bytes and, unless they say otherwise, those of the group and all below
/// it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupStats {
    /// The names on the way to it, separated by `/`.
    pub path: String,
    /// What it has (kernel: `memory.current`).
    pub current_bytes: usize,
    /// The most that it ever had (kernel: `memory.peak`).
    pub peak_bytes: usize,
    /// Its limits.
    pub limits: GroupLimits,
    /// Of its own, without groups below it: anonymous folios in memory.
    pub anon_bytes: usize,
    /// Of its own: folios of mappings in memory.
    pub file_bytes: usize,
    /// Of its own: raw blocks.
    pub raw_bytes: usize,
    /// Of its own: folios, in memory or away, and raw blocks.
    pub members: usize,
    /// Pages of its own looked at by reclaim so far (kernel: `pgscan`).
    pub pgscan: u64,
    /// Pages of its own reclaimed so far (kernel: `pgsteal`).
    pub pgsteal: u64,
    /// Pages of its own that came back although they had been evicted (kernel: `workingset_refault`).
    pub workingset_refault: u64,
    /// Times that something was taken of it although it had no more than its low limit (kernel:
    /// `memory.events`, `low`).
    pub low_events: u64,
    /// Times that somebody who took it beyond its high limit had to reclaim from it.
    pub high_events: u64,
    /// Times that it was at its limit when somebody wanted more.
    pub max_events: u64,
    /// Requests that were refused for that.
    pub refusals: u64,
}

/// What came of a change of limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitsOutcome {
    /// The group has no more than its limits allow.
    Met,
    /// It has more: nothing could be reclaimed in time. It gets nothing until it has less, and what is
    /// freed comes off first.
    Above {
        /// What it has beyond its `max`, or, if that is met, its `high`, in bytes.
        by: usize,
    },
}

impl PagePool {
    /// Makes a group below the root.
    ///
    /// `name` has 1 to 64 bytes, none of them `/` or unprintable.
    ///
    /// # Errors
    /// [`GroupError`]: a name that is taken or none, limits that contradict each other, no room for another
    /// group.
    pub fn create_group(&self, name: &str, limits: GroupLimits) -> Result<Group, GroupError> {
        self.root_group().create_group(name, limits)
    }

    /// Finds a group by the names on the way to it, separated by `/`.
    #[must_use]
    pub fn group(&self, path: &str) -> Option<Group> {
        let id = self.inner.groups.find(path)?;
        Some(Group {
            pool: self.clone(),
            id,
        })
    }

    /// The group above all others. It is not charged for anything, and has no limits: it is the pool.
    #[must_use]
    pub fn root_group(&self) -> Group {
        Group {
            pool: self.clone(),
            id: GroupId::ROOT,
        }
    }

    /// All groups but the root, each after the one above it.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStats> {
        self.inner.group_stats()
    }
}

impl Group {
    /// Its place in the pool's table. A place is used again once its group was deleted.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The pool that it shares.
    #[must_use]
    pub fn pool(&self) -> &PagePool {
        &self.pool
    }

    /// The names on the way to it, separated by `/`; that of the root is empty.
    #[must_use]
    pub fn path(&self) -> String {
        self.pool.inner.groups.path(self.id)
    }

    /// Makes a group below this one. What it is charged for, this one is charged for as well.
    ///
    /// # Errors
    /// As [`PagePool::create_group`], and if groups would be more than 8 deep.
    pub fn create_group(&self, name: &str, limits: GroupLimits) -> Result<Group, GroupError> {
        let id = self.pool.inner.groups.create(self.id, name, &limits)?;
        self.pool.inner.forget_group(id);
        Ok(Group {
            pool: self.pool.clone(),
            id,
        })
    }

    /// Deletes the group. It must have nothing, and no group below it, and this must be the last handle.
    ///
    /// # Errors
    /// This handle, and [`GroupError::InUse`], which says what is in the way.
    pub fn delete(mut self) -> Result<(), (Group, GroupError)> {
        self.pool.inner.gather_charges();
        match self.pool.inner.groups.delete(self.id) {
            Ok(()) => {
                // Its place may be another's already: this is a handle to nothing in particular.
                self.id = GroupId::ROOT;
                Ok(())
            }
            Err(error) => Err((self, error)),
        }
    }

    /// Its limits, in whole pages.
    #[must_use]
    pub fn limits(&self) -> GroupLimits {
        self.slot().limits()
    }

    /// Sets its limits. They hold at once for what is allocated from now on; what the group has beyond them is
    /// reclaimed, for no longer than the pool's [deadline](crate::Builder::deadline).
    ///
    /// # Errors
    /// [`GroupError::OutOfRange`] if they contradict each other, and [`GroupError::Root`]; the old ones stay.
    pub fn set_limits(&self, limits: GroupLimits) -> Result<LimitsOutcome, GroupError> {
        if self.id.is_root() {
            return Err(GroupError::Root);
        }
        limits.check()?;
        let inner = &*self.pool.inner;
        inner.groups.set_limits(self.id, &limits);
        inner.gather_charges();
        Ok(inner.approach_limits(self.id))
    }

    /// Takes folios of the group, and of those below it, out of memory until so many bytes were freed,
    /// nothing more can be, or `patience` ends (kernel: `memory.reclaim`). Returns how many were.
    pub fn reclaim(&self, bytes: usize, patience: Duration) -> usize {
        let deadline = clock::deadline_after(patience);
        let inner = &self.pool.inner;
        inner.reclaim_asked(self.id, NodeMask::ALL, bytes, deadline)
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> GroupStats {
        self.pool.inner.stats_of_group(self.id)
    }

    /// As [`PagePool::alloc_pages`], for this group.
    ///
    /// # Errors
    /// As there, and [`AllocError::GroupLimit`].
    pub fn alloc_pages(&self, order: Order, gfp: Gfp) -> Result<Pages, AllocError> {
        self.request(order, gfp).alloc()
    }

    /// As [`PagePool::alloc_pages_uninit`], for this group.
    ///
    /// # Errors
    /// As there, and [`AllocError::GroupLimit`].
    pub fn alloc_pages_uninit(&self, order: Order, gfp: Gfp) -> Result<PagesUninit, AllocError> {
        self.request(order, gfp).alloc_uninit()
    }

    /// As [`PagePool::request`], for this group.
    pub fn request(&self, order: Order, gfp: Gfp) -> AllocRequest<'_> {
        AllocRequest::new(&self.pool, order, gfp).for_group(self.id)
    }

    /// As [`PagePool::alloc_folio`], for this group.
    ///
    /// # Errors
    /// As there, and [`AllocError::GroupLimit`].
    pub fn alloc_folio(&self, len: usize, gfp: Gfp) -> Result<Folio, AllocError> {
        self.pool.alloc_folio_in(self.id, len, gfp)
    }

    /// As [`PagePool::blank_folio`], for this group. It is charged when the folio is touched.
    ///
    /// # Errors
    /// As there.
    pub fn blank_folio(&self, len: usize) -> Result<Folio, AllocError> {
        self.pool.blank_folio_in(self.id, len)
    }

    /// As [`PagePool::alloc_movable`], for this group.
    ///
    /// # Errors
    /// As there, and [`AllocError::GroupLimit`].
    pub fn alloc_movable(
        &self,
        order: Order,
        gfp: Gfp,
        owner: Arc<dyn MovableOwner>,
        key: u64,
    ) -> Result<MovableBlock, AllocError> {
        self.pool
            .alloc_movable_in(self.id, order, gfp, (owner, key))
    }

    pub(super) fn slot(&self) -> &crate::group::GroupSlot {
        self.pool.inner.groups.slot(self.id)
    }

    pub(super) fn check_pool(&self, pool: &PagePool) -> Result<(), GroupError> {
        let is_ours = std::ptr::eq::<Inner>(self.pool.inner(), pool.inner());
        is_ours.then_some(()).ok_or(GroupError::OtherPool)
    }
}

impl Clone for Group {
    fn clone(&self) -> Group {
        if !self.id.is_root() {
            self.slot().take_handle();
        }
        Group {
            pool: self.pool.clone(),
            id: self.id,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.id.is_root() {
            self.slot().drop_handle();
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Forgets what reclaim knows of whoever had this place before.
    fn forget_group(&self, group: GroupId) {
        for node in self.nodes.iter() {
            node.lru().of(group).set_credit(0);
            let memory = self.reclaim.node(node.id());
            memory.history(group, |history| *history = History::default());
        }
    }

    /// Gives back the charges that wait at caches for the next page of their group.
    pub(super) fn gather_charges(&self) {
        self.nodes.return_charges(&self.groups);
    }

    fn stats_of_group(&self, group: GroupId) -> GroupStats {
        self.gather_charges();
        let slot = self.groups.slot(group);
        let bytes = |item| slot.item(item) as usize * PAGE_SIZE;
        GroupStats {
            path: self.groups.path(group),
            current_bytes: slot.pages() * PAGE_SIZE,
            peak_bytes: slot.peak() * PAGE_SIZE,
            limits: slot.limits(),
            anon_bytes: bytes(GroupItem::Anon),
            file_bytes: bytes(GroupItem::File),
            raw_bytes: bytes(GroupItem::Raw),
            members: slot.members(),
            pgscan: slot.item(GroupItem::Scanned),
            pgsteal: slot.item(GroupItem::Stolen),
            workingset_refault: slot.item(GroupItem::Refaulted),
            low_events: slot.item(GroupItem::LowBroken),
            high_events: slot.item(GroupItem::HighReached),
            max_events: slot.item(GroupItem::MaxReached),
            refusals: slot.item(GroupItem::Refused),
        }
    }

    fn group_stats(&self) -> Vec<GroupStats> {
        let groups = self.groups.all().into_iter();
        groups.map(|group| self.stats_of_group(group)).collect()
    }

    /// Reclaims what a group has beyond its limits.
    fn approach_limits(&self, group: GroupId) -> LimitsOutcome {
        let slot = self.groups.slot(group);
        let deadline = clock::deadline_after(self.patience);
        loop {
            let beyond = slot.pages().saturating_sub(slot.max().min(slot.high()));
            if beyond == 0 {
                return LimitsOutcome::Met;
            }
            if self.reclaim_group(group, beyond, deadline) == 0 || clock::is_over(deadline) {
                let pages = slot.pages();
                let by = match pages.saturating_sub(slot.max()) {
                    0 => pages.saturating_sub(slot.high()),
                    by => by,
                };
                return match by {
                    0 => LimitsOutcome::Met,
                    by => LimitsOutcome::Above { by: by * PAGE_SIZE },
                };
            }
        }
    }

    /// Checks that every group is charged for exactly what it has. Exact while nothing else runs.
    pub(super) fn verify_groups(&self) -> Result<(), Violation> {
        self.gather_charges();
        let mut held = vec![0; self.groups.limit() + 1];
        for (id, slot) in self.folios.iter() {
            let word = slot.word();
            if !word.is_dead() && word.is_resident() {
                held[self.folios.group(id).get()] += slot.order().pages();
            }
        }
        for node in self.nodes.iter() {
            for zone in node.zones() {
                for (pfn, order) in zone.blocks_out() {
                    held[node.map().group_of_raw(pfn).get()] += order.pages();
                }
            }
        }
        // What belongs to the root is charged to nobody.
        held[0] = 0;
        self.groups.verify(&held)
    }

    /// The group of the raw block at a frame.
    pub(super) fn group_of_raw(&self, pfn: Pfn) -> GroupId {
        self.nodes.node(pfn.node()).map().group_of_raw(pfn)
    }
}
