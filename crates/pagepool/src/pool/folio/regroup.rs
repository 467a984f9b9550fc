//! Moving folios and blocks from one group to another.
//!
//! *Kernel counterpart:* `mem_cgroup_move_account` (v5.0, of the older control groups).
//!
//! A folio in memory is pinned while its group changes, so that it is neither evicted nor moved; a copy that
//! was begun before ends, so that whoever evicts it later reads the new group. One that is away is in the
//! hands of who moves it, as if it were being brought back.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::Folio;
use crate::folio::{FolioId, Obstacle};
use crate::group::{Full, GroupError, GroupItem};
use crate::node::lru::kind_of;
use crate::node::lru_list::FolioKind;
use crate::pool::Inner;
use crate::pool::groups::Group;
use crate::pool::pages::Pages;
use crate::sync::clock::{self, Instant};
use crate::sync::thread;
use crate::types::{GroupId, Pfn};

/// How long somebody looks away who finds the folio in others' hands.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Folio {
    /// Moves the folio to another group, and its charge with it. If that is at its limit, something else of
    /// it is reclaimed first, for no longer than the pool's [deadline](crate::Builder::deadline).
    ///
    /// # Errors
    /// [`GroupError::Full`] and [`GroupError::OtherPool`]; the folio is where it was.
    pub fn move_to(&mut self, group: &Group) -> Result<(), GroupError> {
        self.pool().check_group(group)?;
        self.pool().move_folio(self.id(), group.id())
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.pool().folios.group(self.id())
    }
}

impl Pages {
    /// Moves the block to another group, and its charge with it; else as [`Folio::move_to`].
    ///
    /// # Errors
    /// As there.
    pub fn move_to(&mut self, group: &Group) -> Result<(), GroupError> {
        let (pfn, pages) = (self.pfn(), self.order().pages());
        let pool = self.pool();
        pool.check_group(group)?;
        let (from, to) = (pool.group_of_raw(pfn), group.id());
        if from == to {
            return Ok(());
        }
        let deadline = clock::deadline_after(pool.patience);
        pool.move_charge(from, to, pages, deadline)?;
        pool.regroup_raw(pfn, pages, from, to);
        self.set_charged(!to.is_root());
        Ok(())
    }
}

impl Inner {
    /// Whether a group is one of this pool's.
    fn check_group(&self, group: &Group) -> Result<(), GroupError> {
        let is_ours = std::ptr::eq::<Inner>(self, group.pool().inner());
        is_ours.then_some(()).ok_or(GroupError::OtherPool)
    }

    /// Charges a group for what another was charged for, and makes room in it if there is none.
    fn move_charge(
        &self,
        from: GroupId,
        to: GroupId,
        pages: usize,
        deadline: Option<Instant>,
    ) -> Result<(), GroupError> {
        if self.groups.move_charge(from, to, pages).is_ok() {
            return Ok(());
        }
        loop {
            self.gather_charges();
            let Err(Full(full)) = self.groups.move_charge(from, to, pages) else {
                return Ok(());
            };
            let is_hopeless = pages > self.groups.slot(full).max() || clock::is_over(deadline);
            if is_hopeless || self.reclaim_group(full, pages, deadline) == 0 {
                let path = self.groups.path(full);
                return Err(GroupError::Full { path });
            }
        }
    }

    fn regroup_raw(&self, pfn: Pfn, pages: usize, from: GroupId, to: GroupId) {
        let map = self.nodes.node(pfn.node()).map();
        if to.is_root() {
            let _ = map.take_group_of_raw(pfn);
        } else {
            map.set_group_of_raw(pfn, to);
        }
        self.note_regrouped(from, to, GroupItem::Raw, pages);
    }

    /// A member has gone from one group to another, with so many pages in memory.
    fn note_regrouped(&self, from: GroupId, to: GroupId, item: GroupItem, pages: usize) {
        let changes = [(to, pages as i64), (from, -(pages as i64))];
        for (group, change) in changes.into_iter().filter(|(group, _)| !group.is_root()) {
            let slot = self.groups.slot(group);
            slot.add(item, change);
            if group == to {
                slot.join();
            } else {
                slot.leave(1);
            }
        }
    }

    fn move_folio(&self, folio: FolioId, to: GroupId) -> Result<(), GroupError> {
        let from = self.folios.group(folio);
        if from == to {
            return Ok(());
        }
        let slot = self.folios.slot(folio);
        let deadline = clock::deadline_after(self.patience);
        loop {
            match slot.begin_pin() {
                Ok(word) => {
                    let pfn = Pfn::from_raw(word.location());
                    let moved = self.move_resident(folio, pfn, (from, to), deadline);
                    if slot.end_pin() {
                        self.note_unpinned(folio);
                    }
                    return moved;
                }
                Err(Obstacle::Away) if self.move_away(folio, from, to) => return Ok(()),
                Err(_) if clock::is_over(deadline) => {
                    let path = self.groups.path(to);
                    return Err(GroupError::Busy { path });
                }
                // Somebody brings it back ahead of a use, or a guard of it was leaked.
                Err(_) => thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// For a folio that is pinned.
    fn move_resident(
        &self,
        folio: FolioId,
        pfn: Pfn,
        (from, to): (GroupId, GroupId),
        deadline: Option<Instant>,
    ) -> Result<(), GroupError> {
        let pages = self.folios.slot(folio).order().pages();
        self.move_charge(from, to, pages, deadline)?;
        self.nodes
            .node(pfn.node())
            .regroup(&self.folios, folio, pfn, to);
        let item = match kind_of(&self.folios, folio) {
            FolioKind::Anon => GroupItem::Anon,
            FolioKind::File => GroupItem::File,
        };
        self.note_regrouped(from, to, item, pages);
        Ok(())
    }

    /// For one that is away; returns whether it was.
    fn move_away(&self, folio: FolioId, from: GroupId, to: GroupId) -> bool {
        let slot = self.folios.slot(folio);
        if slot.begin_fault().is_err() {
            return false;
        }
        self.folios.set_group(folio, to);
        self.note_regrouped(from, to, GroupItem::Anon, 0);
        let released = slot.abort_fault();
        if released.wake {
            self.folios.waiters().wake(folio);
        }
        true
    }
}
