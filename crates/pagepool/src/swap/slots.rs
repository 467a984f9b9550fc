//! Which slots of a swap area hold what (pure).
//!
//! *Kernel counterpart:* `swap_info_struct: swap_map` (v5.0). There, a slot has a reference count, since
//! processes share pages; and a huge page needs a whole cluster, or is split. Here a folio's slots are a
//! chain, as in a file allocation table, so that a folio of any size goes out whole as long as enough
//! slots are free, wherever they are.
//!
//! ```text
//!  a folio of 4 pages in two runs:  3 → 4,  8 → 9 → end
//!
//!  link   31  30    29       28     27  26               0
//!        +------+---------+------+------+------------------+
//!        |      | writing | dead | head |    next, or 0    |     all 0: free
//!        +------+---------+------+------+------------------+
//! ```
//!
//! **Invariants** (A1 to A3 are those of [`Clusters`])
//! - A4: each used slot but the header belongs to one chain, which begins at a slot marked head; or it
//!   is dead. Slots that are not used have link and owner 0.
//! - A5: a slot that a device may still write is marked writing. If it is freed meanwhile it is dead: in
//!   no chain, without an owner, and free when the write ends. So a slot is never given to somebody
//!   else while an abandoned write may still reach it.

use super::clusters::{CLUSTER, Clusters, Run};
use crate::arena::ZeroedTable;
use crate::backing::Entry;
use crate::error::{BuildError, Violation, ensure};
use crate::sync::fence::mutated;

const NEXT: u32 = (1 << 27) - 1;
const HEAD: u32 = 1 << 27;
const DEAD: u32 = 1 << 28;
const WRITING: u32 = 1 << 29;

const _: () = assert!(Entry::MAX_PAGES <= NEXT as usize + 1);

/// Slots looked at under one hold of the area's lock.
const SCAN: u32 = 4 * CLUSTER;

/// How far a search for chains came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A chain that begins here, and whose it is.
    Head { page: u32, owner: u32 },
    /// None up to here.
    NotYet { next: u32 },
    /// None at all.
    Nothing,
}

/// The slots of an area.
#[derive(Debug)]
pub(super) struct SlotMap {
    clusters: Clusters,
    links: ZeroedTable<u32>,
    /// Owners and 1, so that 0 is nobody.
    owners: ZeroedTable<u32>,
}

impl SlotMap {
    /// Returns the slots of an area of `nr_pages`, all free but for the header.
    pub(super) fn new(nr_pages: u32, nr_cpus: usize) -> Result<SlotMap, BuildError> {
        Ok(SlotMap {
            clusters: Clusters::new(nr_pages, nr_cpus)?,
            links: ZeroedTable::new(nr_pages as usize, "the chains of swap slots")?,
            owners: ZeroedTable::new(nr_pages as usize, "the owners of swap slots")?,
        })
    }

    /// Bytes that the tables for so many slots may come to take.
    pub(super) fn bytes_for(nr_pages: usize) -> usize {
        Clusters::bytes_for(nr_pages) + 2 * ZeroedTable::<u32>::bytes_for(nr_pages)
    }

    /// Slots that can be taken.
    pub(super) fn nr_free(&self) -> u32 {
        self.clusters.nr_free()
    }

    /// Slots that are in use or still being written.
    pub(super) fn nr_used(&self) -> u32 {
        self.clusters.nr_pages() - 1 - self.clusters.nr_free()
    }

    /// Takes a chain of `nr` slots for somebody on this CPU; none if there are not so many.
    pub(super) fn take(&mut self, cpu: usize, nr: u32, owner: u32) -> Option<u32> {
        assert!(nr > 0, "a chain has slots");
        if self.nr_free() < nr {
            return None;
        }
        let (mut head, mut last, mut left) = (0, 0, nr);
        while left > 0 {
            let run = self.clusters.take_run(cpu, left);
            let run = run.expect("A2: so many slots are free");
            if head == 0 {
                head = run.page;
            } else {
                self.links[last as usize] |= run.page;
            }
            for page in run.page..run.page + run.len {
                debug_assert_eq!(self.links[page as usize], 0, "A4: slot {page} was free");
                self.links[page as usize] = page + 1;
                self.owners[page as usize] = owner + 1;
            }
            last = run.page + run.len - 1;
            self.links[last as usize] = 0;
            left -= run.len;
        }
        self.links[head as usize] |= HEAD;
        Some(head)
    }

    /// Frees the chain that begins at `head`; returns how many slots became free. Those that are being
    /// written follow later (A5).
    ///
    /// # Panics
    /// If no chain begins there.
    pub(super) fn free(&mut self, head: u32) -> u32 {
        let link = self.links[head as usize];
        assert!(
            link & HEAD != 0,
            "no chain begins at slot {head}: {link:#x}"
        );
        let (mut page, mut nr_freed) = (head, 0);
        loop {
            let link = self.links[page as usize];
            self.owners[page as usize] = 0;
            if link & WRITING != 0 && !mutated("swap.held_by_write") {
                self.links[page as usize] = WRITING | DEAD;
            } else {
                self.links[page as usize] = 0;
                self.clusters.give(page);
                nr_freed += 1;
            }
            page = link & NEXT;
            if page == 0 {
                return nr_freed;
            }
        }
    }

    /// The device may write these slots from now on.
    pub(super) fn write_begins(&mut self, page: u32, nr: u32) {
        for page in page..page + nr {
            let link = &mut self.links[page as usize];
            debug_assert!(*link & WRITING == 0, "A5: slot {page} is being written");
            debug_assert!(self.clusters.is_used(page), "A5: slot {page} is free");
            *link |= WRITING;
        }
    }

    /// It does not any more; returns how many slots became free by that.
    pub(super) fn write_ends(&mut self, page: u32, nr: u32) -> u32 {
        let mut nr_freed = 0;
        for page in page..page + nr {
            let link = &mut self.links[page as usize];
            debug_assert!(*link & WRITING != 0, "A5: slot {page} is not being written");
            *link &= !WRITING;
            if *link == DEAD {
                *link = 0;
                self.clusters.give(page);
                nr_freed += 1;
            }
        }
        nr_freed
    }

    /// The slots of a chain that follow each other from `page` on, at most `max`, and the chain's next
    /// slot after them.
    pub(super) fn run(&self, page: u32, max: u32) -> (Run, Option<u32>) {
        let mut len = 1;
        loop {
            let next = self.links[(page + len - 1) as usize] & NEXT;
            if next != page + len || len == max {
                let next = (next != 0).then_some(next);
                return (Run { page, len }, next);
            }
            len += 1;
        }
    }

    /// Whose slot it is, if anybody's.
    pub(super) fn owner(&self, page: u32) -> Option<u32> {
        self.owners[page as usize].checked_sub(1)
    }

    /// Looks for the first chain that begins at slot `from` or after, for a while.
    pub(super) fn find_head(&self, from: u32) -> Found {
        let nr_pages = self.clusters.nr_pages();
        let until = nr_pages.min(from.saturating_add(SCAN));
        let head = (from..until).find(|&page| self.links[page as usize] & HEAD != 0);
        match head {
            Some(page) => Found::Head {
                page,
                owner: self.owner(page).expect("A4: chains have owners"),
            },
            None if until < nr_pages => Found::NotYet { next: until },
            None => Found::Nothing,
        }
    }

    /// Checks A1 to A5.
    pub(super) fn verify(&self) -> Result<(), Violation> {
        self.clusters.verify()?;
        let mut nr_chained = 0;
        let mut nr_dead = 0;
        for page in 1..self.clusters.nr_pages() {
            let (link, owner) = (self.links[page as usize], self.owners[page as usize]);
            let is_used = self.clusters.is_used(page);
            let is_dead = link & DEAD != 0;
            ensure!(
                is_used || (link == 0 && owner == 0),
                "A4",
                "slot {page} is free, with link {link:#x} and owner {owner}"
            );
            ensure!(
                !is_dead || (link == DEAD | WRITING && owner == 0),
                "A5",
                "slot {page} is dead, with link {link:#x} and owner {owner}"
            );
            nr_dead += u32::from(is_dead);
            if link & HEAD != 0 {
                nr_chained += self.verify_chain(page)?;
            }
        }
        ensure!(
            nr_chained + nr_dead == self.nr_used(),
            "A4",
            "{nr_chained} slots in chains, {nr_dead} dead, {} used",
            self.nr_used()
        );
        Ok(())
    }

    /// Returns the length of a chain.
    fn verify_chain(&self, head: u32) -> Result<u32, Violation> {
        let owner = self.owners[head as usize];
        let (mut page, mut len) = (head, 0);
        loop {
            let link = self.links[page as usize];
            let is_head = link & HEAD != 0;
            ensure!(
                self.clusters.is_used(page)
                    && owner != 0
                    && self.owners[page as usize] == owner
                    && is_head == (page == head)
                    && link & DEAD == 0
                    && len < self.nr_used(),
                "A4",
                "slot {page} in the chain of {head}: link {link:#x}, owner {}",
                self.owners[page as usize]
            );
            len += 1;
            page = link & NEXT;
            if page == 0 {
                return Ok(len);
            }
        }
    }
}
