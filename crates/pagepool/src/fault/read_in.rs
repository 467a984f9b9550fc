//! Reading a folio's contents back, with what lies around it in swap.
//!
//! *Kernel counterpart:* `swap_readpage`, `swapin_readahead`, `swap_cluster_readahead` (v5.0).
//!
//! What was swapped out together lies together, so one transfer brings the slot that is needed and its
//! neighbours. Those are claimed before they are read: a folio on its way back keeps its slot. They
//! come to rest on the inactive list, marked as read ahead.

use arrayvec::ArrayVec;

use super::{Fault, Faulter, FreshFrames, Terms};
use crate::backing::{Completed, Direction, Entry, IO_PAGES, Store, StoreError};
use crate::error::AccessError;
use crate::folio::{FolioId, Frames, Landing, Mark};
use crate::gfp::Gfp;
use crate::swap::Area;
use crate::types::{Order, PAGE_SIZE};
use crate::zone::vmstat::VmEvent;

/// A folio that is brought back ahead of any request.
struct Neighbour<'a> {
    frames: FreshFrames<'a>,
    fault: Fault<'a>,
    page: u32,
}

/// Neighbours on one side, the nearest first.
type Side<'a> = ArrayVec<Neighbour<'a>, IO_PAGES>;

/// Neighbours that were read together with a folio, and are to be published after it.
pub(super) struct ReadAhead<'a> {
    read: ArrayVec<Neighbour<'a>, IO_PAGES>,
}

impl<'a> Faulter<'a> {
    /// Fills `frames` with what is kept at `entry`; returns what was read with it.
    pub(super) fn read_in(
        &self,
        entry: Entry,
        frames: &mut Frames<'_>,
        terms: Terms,
    ) -> Result<ReadAhead<'a>, AccessError> {
        let store = self.reclaimer.stores.get(entry.store());
        let store = store.ok_or(AccessError::StoreFailed)?;
        let area = self.reclaimer.swap.area(entry.store());
        let events = self.allocator.nodes.events();
        events.count(VmEvent::Pgmajfault);
        match area {
            Some(area) if frames.order() == Order::ZERO => {
                self.read_around(&store, &area, entry, frames, terms)
            }
            area => {
                if area.is_some() {
                    events.add(VmEvent::Pswpin, frames.order().pages() as u64);
                }
                self.read_runs(&store, entry, frames, terms)?;
                Ok(ReadAhead::none())
            }
        }
    }

    /// Reads a folio of any size, run by run.
    fn read_runs(
        &self,
        store: &Store,
        entry: Entry,
        frames: &mut Frames<'_>,
        terms: Terms,
    ) -> Result<(), AccessError> {
        let total = frames.order().pages();
        let mut next = Some(entry);
        let mut done = 0;
        while done < total {
            let entry = next.ok_or(AccessError::StoreFailed)?;
            let left = (total - done).min(IO_PAGES);
            let (nr, after) = self.reclaimer.run(entry, left);
            let read = self.transfer(store, entry.page(), nr, terms)?;
            read.outcome.of(0, nr).map_err(read_error)?;
            frames.copy_in(done * PAGE_SIZE, read.buf.pages(0, nr));
            done += nr;
            next = after;
        }
        Ok(())
    }

    /// Reads `nr` pages of a store.
    fn transfer(
        &self,
        store: &Store,
        page: u32,
        nr: usize,
        terms: Terms,
    ) -> Result<Completed, AccessError> {
        let buf = store.take_buf(Direction::Read, terms.deadline);
        let read = store.read(buf.map_err(read_error)?, page.into(), nr, terms.deadline);
        read.map_err(read_error)
    }

    /// Reads one page of swap, and its neighbours.
    fn read_around(
        &self,
        store: &Store,
        area: &Area,
        entry: Entry,
        frames: &mut Frames<'_>,
        terms: Terms,
    ) -> Result<ReadAhead<'a>, AccessError> {
        let events = self.allocator.nodes.events();
        let window = self
            .read_ahead
            .window(entry.page(), area.total_pages() as u32 + 1);
        let before = self.claim(area, (window.first..entry.page()).rev(), terms);
        let after = self.claim(area, entry.page() + 1..=window.last, terms);
        let first = entry.page() - before.len() as u32;
        let nr = before.len() + 1 + after.len();
        events.add(VmEvent::Pswpin, nr as u64);
        events.add(VmEvent::SwapRa, nr as u64 - 1);

        let read = self.transfer(store, first, nr, terms)?;
        let place = |page: u32| (page - first) as usize;
        let mut ahead = ReadAhead::none();
        for mut neighbour in before.into_iter().chain(after) {
            let at = place(neighbour.page);
            // Where it failed, the folio's own fault will find out.
            if read.outcome.of(at, 1).is_ok() {
                neighbour.frames.copy_in(0, read.buf.pages(at, 1));
                ahead.read.push(neighbour);
            }
        }
        let at = place(entry.page());
        match read.outcome.of(at, 1) {
            Ok(()) => {
                frames.copy_in(0, read.buf.pages(at, 1));
                Ok(ahead)
            }
            Err(error) => {
                self.publish_ahead(ahead);
                Err(read_error(error))
            }
        }
    }

    /// Takes it upon this thread to bring the folios back that are in these slots, up to the first that
    /// is not to be had for nothing.
    fn claim(&self, area: &Area, pages: impl Iterator<Item = u32>, terms: Terms) -> Side<'a> {
        let mut side = Side::new();
        for page in pages {
            let entry = Entry::new(area.id(), page);
            let owner = area.owner(page).map(FolioId::from_raw);
            let Some(fault) = owner.and_then(|folio| self.begin_ahead(folio, entry)) else {
                break;
            };
            let gfp = (terms.gfp | Gfp::NOWARN | Gfp::NORETRY) - Gfp::DIRECT_RECLAIM;
            let Ok(frames) = self.take_frames(&fault, Terms { gfp, ..terms }) else {
                break; // and the fault is taken back
            };
            side.push(Neighbour {
                frames,
                fault,
                page,
            });
        }
        side
    }

    fn begin_ahead(&self, folio: FolioId, entry: Entry) -> Option<Fault<'a>> {
        let slot = self.custodian.folios.slot(folio);
        slot.begin_fault_at(entry.raw()).ok()?;
        let fault = Fault::new(self.custodian, folio, slot, entry.raw());
        // A larger folio is brought back as a whole, by whoever needs it.
        (slot.order() == Order::ZERO).then_some(fault)
    }

    /// Publishes what was read ahead.
    pub(super) fn publish_ahead(&self, ahead: ReadAhead<'_>) {
        for Neighbour { fault, frames, .. } in ahead.read {
            fault.slot.set(Mark::ReadAhead);
            self.publish(fault, frames, Landing::Idle);
        }
    }
}

impl ReadAhead<'_> {
    pub(super) fn none() -> Self {
        ReadAhead {
            read: ArrayVec::new(),
        }
    }
}

/// What a failed read means to who wants the bytes.
fn read_error(error: StoreError) -> AccessError {
    match error {
        StoreError::Stalled => AccessError::StoreStalled,
        StoreError::Late => AccessError::TimedOut,
        StoreError::Corrupt => AccessError::Corrupt,
        StoreError::Failed
        | StoreError::Full
        | StoreError::Held
        | StoreError::Panicked
        | StoreError::Closed => AccessError::StoreFailed,
    }
}
