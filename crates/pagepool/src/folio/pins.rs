//! Since when folios are pinned, and in hardened pools by whom: for reports.
//!
//! *Kernel counterpart:* `page_owner` (v5.0), for pins instead of allocations.
//!
//! Written by whoever takes the first pin of a folio, after it was taken; so a look may find the record of
//! an earlier pin. That is a wrong age in a report, and nothing else.

use std::panic::Location;
use std::ptr;

use super::table::FolioId;
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::clock;

/// A record of each folio's first pin.
#[derive(Debug)]
pub(crate) struct PinRecords {
    /// Hundredths of a second on the coarse clock; 0 is no pin so far.
    since: ZeroedTable<AtomicU32>,
    /// Where it was taken: the address of the place.
    sites: Option<ZeroedTable<AtomicUsize>>,
}

impl PinRecords {
    /// For so many folios, and with the places of those who pin, or without.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for it.
    pub(crate) fn new(max_folios: usize, with_sites: bool) -> Result<PinRecords, BuildError> {
        let sites = with_sites.then(|| ZeroedTable::new(max_folios, "the record of pins"));
        Ok(PinRecords {
            since: ZeroedTable::new(max_folios, "the record of pins")?,
            sites: sites.transpose()?,
        })
    }

    /// Bytes that it may come to take.
    pub(crate) fn bytes_for(max_folios: usize, with_sites: bool) -> usize {
        let sites = if with_sites {
            ZeroedTable::<AtomicUsize>::bytes_for(max_folios)
        } else {
            0
        };
        ZeroedTable::<AtomicU32>::bytes_for(max_folios) + sites
    }

    /// A folio has its first pin.
    #[inline]
    pub(crate) fn note(&self, folio: FolioId, site: &'static Location<'static>) {
        let idx = folio.get() as usize;
        // Relaxed, here and below: for a report (see the head of the module).
        self.since[idx].store(clock::coarse_centis(), Ordering::Relaxed);
        if let Some(sites) = &self.sites {
            sites[idx].store(ptr::from_ref(site).expose_provenance(), Ordering::Relaxed);
        }
    }

    /// Since when a folio is pinned, in hundredths of a second on the coarse clock, and by whom.
    pub(crate) fn of(&self, folio: FolioId) -> (u32, Option<&'static Location<'static>>) {
        let idx = folio.get() as usize;
        let since = self.since[idx].load(Ordering::Relaxed);
        let site = { self.sites.as_ref() }.and_then(|sites| {
            let site = sites[idx].load(Ordering::Relaxed);
            // SAFETY: the table holds 0, and addresses that `note` has exposed: of places that live for ever.
            unsafe { ptr::with_exposed_provenance::<Location<'static>>(site).as_ref() }
        });
        (since, site)
    }
}
