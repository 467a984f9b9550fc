//! Swap areas that come and go while a pool runs.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, PagePool};
use crate::backing::{Counter, Entry, IoEngine, Store, StoreId};
use crate::fault::Terms;
use crate::folio::FolioId;
use crate::gfp::Gfp;
use crate::swap::{Area, SwapDevice, SwapError};
use crate::sync::clock::{self, Instant};
use crate::sync::thread;

/// A swap area of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SwapArea(StoreId);

/// A swap area at a moment.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SwapAreaStats {
    /// Which area.
    pub area: SwapArea,
    /// What its device is called.
    pub name: String,
    /// Areas of higher priority are filled first.
    pub priority: i16,
    /// How pages are read back.
    pub engine: IoEngine,
    /// Pages that it has room for.
    pub total_pages: usize,
    /// Pages that it holds.
    pub used_pages: usize,
    /// Pages read so far.
    pub pages_read: u64,
    /// Pages written so far.
    pub pages_written: u64,
    /// Reads and writes of pages that failed for good.
    pub errors: u64,
    /// Pages that came back damaged.
    pub corrupt: u64,
    /// Times that somebody gave up waiting for the device.
    pub stalls: u64,
}

/// How long who takes an area away looks away between two looks at what is in others' hands.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How it stands about what is in an area that is going away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Emptied {
    /// It is not there any more, or cannot be brought back.
    Done,
    /// Somebody else had it for the moment.
    Look,
}

impl PagePool {
    /// Adds a swap area while the pool runs; of higher `priority`, it is filled before others. Those that
    /// the pool was built with have the priorities -2, -3 and so on.
    ///
    /// # Errors
    /// [`SwapError`] says what to change: above all, room for it must have been planned by
    /// [`swap_limit`](super::Builder::swap_limit) and [`max_stores`](super::Builder::max_stores).
    pub fn swap_on(&self, device: impl SwapDevice, priority: i16) -> Result<SwapArea, SwapError> {
        let _turn = self.inner.store_turn.lock();
        self.inner.check_room_for_store()?;
        let id = self.inner.swap.swap_on(Arc::new(device), priority)?;
        // Memory may be had from now on that somebody waits for.
        self.inner.nodes.freed().wake_all();
        Ok(SwapArea(id))
    }

    /// Takes a swap area away: what it holds is brought back to memory, or written to other areas as
    /// memory gets short.
    ///
    /// # Errors
    /// [`SwapError::InUse`] with the pages that do not fit, or could not be read, when `patience` ends;
    /// the area then stays in use. [`SwapError::Busy`] if it is empty, but the device has not returned from a call:
    /// the area then stays, and takes nothing more, until this is called again. [`SwapError::Leaving`] at once, if
    /// another thread takes it away.
    pub fn swap_off(&self, area: SwapArea, patience: Duration) -> Result<(), SwapError> {
        let inner = &*self.inner;
        let deadline = clock::deadline_after(patience);
        let _turn = inner.swap.turn_to_leave(area.0)?;
        let off = inner.swap.begin_swap_off(area.0)?;
        while inner.empty_area(&off, deadline) == Emptied::Look {
            thread::sleep(LOOK_AGAIN);
        }
        let finished = inner.swap.finish_swap_off(area.0, deadline);
        if finished.is_err() {
            // An area that waits for its device only is not used again, and why is what `finished` says.
            let _ = inner.swap.cancel_swap_off(area.0);
        }
        finished
    }

    /// The swap areas, in the order in which they are filled.
    #[must_use]
    pub fn swap_areas(&self) -> Vec<SwapAreaStats> {
        let inner = &*self.inner;
        let areas = inner.swap.areas();
        let errors = [Counter::ReadErrors, Counter::WriteErrors, Counter::Full];
        areas
            .iter()
            .map(|area| {
                let store = inner.stores.get(area.id());
                let counts = store.as_ref().map(Store::counts).unwrap_or_default();
                SwapAreaStats {
                    area: SwapArea(area.id()),
                    name: area.device().name().to_owned(),
                    priority: area.priority(),
                    engine: store.map_or(IoEngine::Threads, |store| store.engine()),
                    total_pages: area.total_pages(),
                    used_pages: area.used_pages(),
                    pages_read: counts.get(Counter::PagesRead),
                    pages_written: counts.get(Counter::PagesWritten),
                    errors: errors.map(|counter| counts.get(counter)).iter().sum(),
                    corrupt: counts.get(Counter::Corrupt),
                    stalls: counts.get(Counter::Stalls),
                }
            })
            .collect()
    }
}

impl Inner {
    pub(super) fn check_room_for_store(&self) -> Result<(), SwapError> {
        if self.stores.iter().count() < self.max_stores {
            Ok(())
        } else {
            Err(SwapError::NoRoom {
                limit: self.max_stores,
            })
        }
    }

    /// Brings back what is in an area that is going away, each folio once.
    fn empty_area(&self, area: &Area, deadline: Option<Instant>) -> Emptied {
        let mut emptied = Emptied::Done;
        let mut from = 1;
        while let Some((entry, owner)) = area.next_chain(from) {
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Emptied::Done;
            }
            if self.bring_back_from(entry, FolioId::from_raw(owner), deadline) == Emptied::Look {
                emptied = Emptied::Look;
            }
            from = entry.page() + 1;
        }
        emptied
    }

    /// Brings a folio back from an area that is going away, and gives up what it holds there. What does
    /// not come back is counted by the caller, as pages that the area still holds. What somebody else
    /// brings back, writes out or isolates at the moment is worth another look.
    fn bring_back_from(&self, entry: Entry, folio: FolioId, deadline: Option<Instant>) -> Emptied {
        let patience = deadline.map_or(self.patience, |deadline| {
            deadline.saturating_duration_since(clock::now())
        });
        let terms = Terms {
            gfp: Gfp::USER_MOVABLE,
            patience,
            deadline,
            is_object: false,
        };
        let back = self.faulter().bring_back_from(folio, entry, terms);
        if back.is_err() || self.give_up_copy(folio, entry) {
            Emptied::Done
        } else {
            Emptied::Look
        }
    }

    /// Gives up a resident folio's copy, which makes it dirty; unless it has another copy by now, or
    /// somebody is about to write it. Returns whether it did.
    fn give_up_copy(&self, folio: FolioId, entry: Entry) -> bool {
        let Some((node, pfn)) = self.place_of(folio) else {
            return false;
        };
        node.drain_lru_all(&self.folios);
        let Some(isolated) = node.isolate_folio(&self.folios, folio, pfn) else {
            return false;
        };
        let custodian = self.custodian();
        let has_it = node.map().copy(pfn) == entry.raw();
        if has_it {
            custodian.give_up_copy(&isolated);
        }
        node.put_back_on_lru(&self.folios, &[isolated], |ended| {
            custodian.end_isolated(ended);
        });
        has_it
    }
}
