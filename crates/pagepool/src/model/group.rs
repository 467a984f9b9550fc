//! A group's room, and a folio that belongs to one group or another.

use crate::folio::{FolioId, FolioSlot, FolioTable, Landing};
use crate::group::PageCounter;
use crate::sync::{CoreMutex, WaitQueue, clock};
use crate::types::{GroupId, Order};
use crate::zone::charges::{Charges, Kept};

/// The group that charges are kept of.
const GROUP: GroupId = GroupId::ROOT;

/// A count of pages with a limit, and the queue of those who wait for room.
#[derive(Debug)]
pub struct Room {
    /// The count.
    pub counter: PageCounter,
    queue: WaitQueue,
    /// What a CPU's cache keeps.
    kept: CoreMutex<Charges>,
}

impl Room {
    /// Returns room for so many pages.
    pub fn new(max: usize) -> Room {
        let room = Room {
            counter: PageCounter::default(),
            queue: WaitQueue::unfenced(),
            kept: CoreMutex::new(Charges::default()),
        };
        assert!(!room.counter.set_max(max), "nobody waits yet");
        room
    }

    /// Charges a page, and waits for room until that is possible.
    pub fn charge(&self) {
        while !self.counter.try_charge(1) {
            self.counter.wait(&self.queue, 1, None, || self.gather());
        }
    }

    /// The same, but gives up when the model fires the time-out; returns whether it is charged.
    pub fn charge_in_time(&self) -> bool {
        if self.counter.try_charge(1) {
            return true;
        }
        let gather = || self.gather();
        self.counter
            .wait(&self.queue, 1, Some(clock::now()), gather);
        self.counter.try_charge(1)
    }

    /// Gives a page back.
    pub fn uncharge(&self) {
        self.wake_if(self.counter.uncharge(1));
    }

    /// Gives a page back whose charge may be kept for the next one.
    pub fn uncharge_or_keep(&self) {
        let nobody_waits = || !self.counter.has_waiters();
        let kept = self.kept.lock().keep(GROUP, nobody_waits);
        if kept != Kept::Yes {
            self.uncharge();
        }
    }

    /// Gives back what is kept.
    fn gather(&self) {
        let (_, pages) = self.kept.lock().take_all();
        if pages > 0 {
            self.wake_if(self.counter.uncharge(pages));
        }
    }

    /// Sets the limit.
    pub fn set_max(&self, max: usize) {
        self.wake_if(self.counter.set_max(max));
    }

    /// Lets one timed wait run out.
    pub fn fire_timeout(&self) {
        self.queue.fire_timeout();
    }

    /// How often threads have slept until there was room.
    pub fn nr_sleeps(&self) -> u32 {
        self.queue.nr_sleeps()
    }

    fn wake_if(&self, wakes: bool) {
        if wakes {
            self.queue.wake_published();
        }
    }
}

/// A folio in memory, with its group.
#[derive(Debug)]
pub struct GroupedFolio {
    table: FolioTable,
    id: FolioId,
}

impl GroupedFolio {
    /// Returns a clean folio of group 0 in the frame `frame`.
    pub fn resident(frame: u32) -> GroupedFolio {
        let table = FolioTable::new(1).expect("the heap has room");
        let opened = table.open(Order::ZERO, &[], 0, GroupId::ROOT);
        let (id, _) = opened.expect("it is the first");
        let slot = table.slot(id);
        slot.begin_fault().expect("a new folio is away");
        let released = slot.end_fault(frame, Landing::Idle);
        assert!(!released.wake, "nobody waits for a new folio");
        GroupedFolio { table, id }
    }

    /// The word and all that can be done with it.
    pub fn slot(&self) -> &FolioSlot {
        self.table.slot(self.id)
    }

    /// Its group.
    pub fn group(&self) -> usize {
        self.table.group(self.id).get()
    }

    /// Moves it to a group, for an owner who has it pinned.
    pub fn set_group_of_pinned(&self, group: usize) {
        self.table.set_group_of_pinned(self.id, GroupId::at(group));
    }
}
