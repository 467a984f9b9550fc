//! Tables whose entries change hands: folios, frames, groups, and what reclaim remembers.

use crate::backing::{StoreError, StoreId};
use crate::folio::{FolioId, FolioSlot, FolioTable, Mark};
use crate::group::{GroupItem, GroupLimits, Groups};
use crate::memmap::{FrameState, Memmap};
use crate::reclaim::ReclaimState;
use crate::sync::atomic::AtomicU32;
use crate::types::{GroupId, Migratetype, NodeId, Order, Pfn};

/// A table for one folio, which is not there at first.
#[derive(Debug)]
pub struct Opening(FolioTable);

impl Default for Opening {
    fn default() -> Opening {
        Opening(FolioTable::new(1).expect("the heap has room"))
    }
}

impl Opening {
    /// Makes the folio, backed by a store that has it at `location`.
    ///
    /// # Panics
    /// If it is there already.
    pub fn open(&self, location: u32) {
        let opened = self
            .0
            .open(Order::ZERO, &[Mark::Backed], location, GroupId::ROOT);
        assert!(opened.is_some(), "there is room for it");
    }

    /// Its slot, by number, for who has no handle.
    pub fn slot(&self) -> &FolioSlot {
        self.0.slot(FolioId::from_raw(0))
    }
}

/// A frame that somebody was given as a raw pointer.
#[derive(Debug)]
pub struct RawFrame {
    map: Memmap,
}

impl Default for RawFrame {
    fn default() -> RawFrame {
        let map = Memmap::new(NodeId::at(0), 1).expect("the heap has room");
        let frame = RawFrame { map };
        frame.map.set_state(frame.pfn(), RawFrame::GIVEN);
        frame
    }
}

impl RawFrame {
    const GIVEN: FrameState = FrameState::allocated(Order::ZERO, Migratetype::Unmovable);

    fn pfn(&self) -> Pfn {
        Pfn::new(NodeId::at(0), 0)
    }

    /// Takes it back; returns whether it was out.
    pub fn free(&self) -> bool {
        self.map
            .transition(self.pfn(), RawFrame::GIVEN, FrameState::FREE)
            .is_ok()
    }
}

/// A pool's groups, of which there are two at most.
#[derive(Debug)]
pub struct Family(Groups);

impl Default for Family {
    fn default() -> Family {
        Family(Groups::new(2))
    }
}

impl Family {
    fn id(group: usize) -> GroupId {
        GroupId::at(group)
    }

    /// Makes a group below another; returns its number.
    ///
    /// # Panics
    /// If there is no place.
    pub fn create(&self, parent: usize, name: &str) -> usize {
        let created = self.0.create(Self::id(parent), name, &GroupLimits::new());
        created.expect("there is a place").get()
    }

    /// The groups right below another.
    pub fn children(&self, parent: usize) -> Vec<usize> {
        self.0
            .children(Self::id(parent))
            .map(GroupId::get)
            .collect()
    }

    /// Deletes a group, if nobody has anything to do with it; returns what was counted of it.
    pub fn delete(&self, group: usize) -> Option<u64> {
        self.0.delete(Self::id(group)).ok()?;
        Some(self.0.slot(Self::id(group)).item(GroupItem::Stolen))
    }

    /// A folio belongs to it.
    pub fn join(&self, group: usize) {
        self.0.slot(Self::id(group)).join();
    }

    /// Its one page is reclaimed, and the folio belongs to it no more.
    pub fn reclaim_and_leave(&self, group: usize) {
        let slot = self.0.slot(Self::id(group));
        slot.add(GroupItem::Stolen, 1);
        slot.leave(1);
    }

    /// Another handle to it.
    pub fn take_handle(&self, group: usize) {
        self.0.slot(Self::id(group)).take_handle();
    }

    /// Something is counted by who has a handle, who then drops it.
    pub fn count_and_drop_handle(&self, group: usize) {
        let slot = self.0.slot(Self::id(group));
        slot.add(GroupItem::Stolen, 1);
        slot.drop_handle();
    }
}

/// What reclaim remembers of one node and one store.
#[derive(Debug)]
pub struct Memory(ReclaimState);

impl Default for Memory {
    fn default() -> Memory {
        Memory(ReclaimState::new(1, 1, 0))
    }
}

impl Memory {
    /// Reclaims from the node alone, as long as `f` takes, unless somebody does so already.
    pub fn if_asked_first(&self, f: impl FnOnce()) -> bool {
        let asked = self.0.node(NodeId::at(0)).enter_asked();
        let is_first = asked.is_some();
        if is_first {
            f();
        }
        is_first
    }

    fn store() -> StoreId {
        StoreId::all().next().expect("there are numbers")
    }

    /// The store has failed to write.
    pub fn note_write_error(&self) {
        self.0.write_errors(Self::store()).note(StoreError::Failed);
    }

    /// Whether it has since `seen` was brought up to date, which is done.
    pub fn has_new_write_error(&self, seen: &AtomicU32) -> bool {
        self.0.write_errors(Self::store()).check(seen).is_err()
    }
}
