//! Since when folios are pinned, and in hardened pools by whom: for reports.
//!
//! *Kernel counterpart:* `page_owner` (v5.0), for pins instead of allocations.
//!
//! Whoever pins has no time to look at a clock. It notes the number of the current *tick* instead; ticks begin
//! when somebody waits for a folio, reclaims or makes a report, a tenth of a second after the one before at the earliest.
//! So it is known that the folio has been pinned since the tick after that began, at least.
//!
//! The note is written after the pin was taken, and by the first pin alone; so a look may find that of an
//! earlier pin. That is a wrong age in a report, and nothing else.

use std::panic::Location;
use std::ptr;

use super::table::FolioId;
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::clock;

/// Hundredths of a second that a tick lasts, at least.
const TICK: u32 = 10;

/// Ticks whose beginning is remembered: what has been pinned for longer has been for these, at least.
const REMEMBERED: usize = 1024;

/// A record of each folio's first pin.
#[derive(Debug)]
pub(crate) struct PinRecords {
    /// The tick in which it was taken.
    ticks: ZeroedTable<AtomicU32>,
    /// Where it was taken: the address of the place.
    sites: Option<ZeroedTable<AtomicUsize>>,
    /// The current tick.
    now: AtomicU32,
    /// When the last ticks began, in hundredths of a second on the coarse clock, by their number.
    began: CoreMutex<Box<[u32; REMEMBERED]>>,
}

impl PinRecords {
    /// For so many folios, and with the places of those who pin, or without.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for it.
    pub(crate) fn new(max_folios: usize, with_sites: bool) -> Result<PinRecords, BuildError> {
        let sites = with_sites.then(|| ZeroedTable::new(max_folios, "the record of pins"));
        Ok(PinRecords {
            ticks: ZeroedTable::new(max_folios, "the record of pins")?,
            sites: sites.transpose()?,
            now: AtomicU32::new(0),
            began: CoreMutex::new(Box::new([clock::coarse_centis(); REMEMBERED])),
        })
    }

    /// Bytes that it may come to take.
    pub(crate) fn bytes_for(max_folios: usize, with_sites: bool) -> usize {
        let sites = if with_sites {
            ZeroedTable::<AtomicUsize>::bytes_for(max_folios)
        } else {
            0
        };
        let ticks = ZeroedTable::<AtomicU32>::bytes_for(max_folios);
        ticks + sites + size_of::<[u32; REMEMBERED]>()
    }

    /// A folio has its first pin.
    #[inline]
    pub(crate) fn note(&self, folio: FolioId, site: &'static Location<'static>) {
        let idx = folio.get() as usize;
        // Relaxed, here and below: for a report (see the head of the module).
        let now = self.now.load(Ordering::Relaxed);
        self.ticks[idx].store(now, Ordering::Relaxed);
        if let Some(sites) = &self.sites {
            sites[idx].store(ptr::from_ref(site).expose_provenance(), Ordering::Relaxed);
        }
    }

    /// Begins a tick, if the current one has lasted long enough. For slow paths.
    pub(crate) fn tick(&self) {
        let Some(mut began) = self.began.try_lock() else {
            return;
        };
        let now = self.now.load(Ordering::Relaxed);
        let time = clock::coarse_centis();
        if time.wrapping_sub(began[now as usize % REMEMBERED]) >= TICK {
            let next = now.wrapping_add(1);
            began[next as usize % REMEMBERED] = time;
            self.now.store(next, Ordering::Relaxed);
        }
    }

    /// For how many hundredths of a second a folio has been pinned, at least, and by whom.
    pub(crate) fn of(&self, folio: FolioId) -> (u32, Option<&'static Location<'static>>) {
        let idx = folio.get() as usize;
        let tick = self.ticks[idx].load(Ordering::Relaxed);
        let site = { self.sites.as_ref() }.and_then(|sites| {
            let site = sites[idx].load(Ordering::Relaxed);
            // SAFETY: the table holds 0, and addresses that `note` has exposed: of places that live for ever.
            unsafe { ptr::with_exposed_provenance::<Location<'static>>(site).as_ref() }
        });
        (self.since(tick), site)
    }

    /// Hundredths of a second since the tick after `tick` began.
    fn since(&self, tick: u32) -> u32 {
        let began = self.began.lock();
        let now = self.now.load(Ordering::Relaxed);
        let passed = now.wrapping_sub(tick).min(REMEMBERED as u32);
        if passed == 0 {
            return 0;
        }
        let after = now.wrapping_sub(passed - 1);
        clock::coarse_centis().wrapping_sub(began[after as usize % REMEMBERED])
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::folio::FolioTable;
    use std::time::Duration;

    #[test]
    fn a_pin_is_as_old_as_the_tick_after_it() {
        let table = FolioTable::new(4).unwrap();
        let records = PinRecords::new(4, true).unwrap();
        let wait = || crate::sync::thread::sleep(Duration::from_millis(150));
        let site = Location::caller();
        records.note(table.at(0), site);
        assert_eq!(records.of(table.at(0)), (0, Some(site)));
        records.tick();
        assert_eq!(records.of(table.at(0)).0, 0, "the tick is too young");
        wait();
        records.tick();
        records.note(table.at(1), site);
        wait();
        records.tick();
        let [first, second, none] = [0, 1, 2].map(|at| records.of(table.at(at)));
        assert!(first.0 >= 14 && first.0 < 500, "{first:?}");
        assert!(second.0 < first.0, "{second:?}");
        assert_eq!(none.1, None);
    }

    #[test]
    fn what_is_pinned_for_ever_is_as_old_as_memory_goes() {
        let table = FolioTable::new(1).unwrap();
        let records = PinRecords::new(1, false).unwrap();
        records.note(table.at(0), Location::caller());
        for _ in 0..3 * REMEMBERED {
            // As if a tick had passed.
            let mut began = records.began.lock();
            let now = records.now.load(Ordering::Relaxed);
            began[now as usize % REMEMBERED] = began[now as usize % REMEMBERED].wrapping_sub(TICK);
            drop(began);
            records.tick();
        }
        assert!(records.now.load(Ordering::Relaxed) >= 2 * REMEMBERED as u32);
        let (age, site) = records.of(table.at(0));
        assert!(age < 500 && site.is_none(), "{age}");
    }
}
