//! Memory that is asked of the system before its first use, so that no first touch pays for it.
//!
//! *Kernel counterpart:* none; a process has `MAP_POPULATE` and `madvise(MADV_POPULATE_WRITE)`. Free blocks leave
//! their zone one at a time, get their memory while no lock is held, and come back [blank](crate::buddy): free as
//! before, with memory behind them that reads as zeros.
//!
//! **Whom it disturbs:** nobody. One block of at most 4 MiB is missing at a time, and only where the high mark holds
//! without it. Who waits for memory is woken by the block's return, and ends it all: what is free is then needed
//! more than what it saves.
//!
//! Not here: when such memory goes back to the system (`zone`).

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use super::{Inner, PagePool, pages};
use crate::arena::Arena;
use crate::buddy::{IdleBlock, Residency};
use crate::error::PrefaultError;
use crate::node::{FrameSink, Node};
use crate::sync::clock::{self, Instant};
use crate::types::{PAGE_SIZE, ZoneType};
use crate::zone::Zone;
use crate::zone::idle::Vacancy;
use crate::zone::vmstat::VmEvent;

/// What [`PagePool::prefault`] did, and what it cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Prefaulted {
    /// Bytes that are resident now and were not before.
    pub bytes: usize,
    /// Of these, bytes in huge pages that the pool asked for: see [`HugePages`](crate::HugePages).
    pub huge_bytes: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it ended.
    pub end: PrefaultEnd,
}

/// Why [`PagePool::prefault`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PrefaultEnd {
    /// As much as was asked for is resident.
    Done,
    /// Of what is free in whole pageblocks, everything has memory.
    NothingLeft,
    /// The pool has none to spare: somebody waits for memory, or the high mark would not hold.
    Short,
    /// The time was over.
    TimeOver,
}

impl fmt::Display for PrefaultEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefaultEnd::Done => "done",
            PrefaultEnd::NothingLeft => "nothing left that is free and has no memory",
            PrefaultEnd::Short => "ended, since the pool is short of memory",
            PrefaultEnd::TimeOver => "ended, since the time was over",
        })
    }
}

impl fmt::Display for Prefaulted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prefaulted {
            bytes,
            huge_bytes,
            elapsed,
            end,
        } = self;
        write!(
            f,
            "{bytes} bytes, {huge_bytes} of them in huge pages, in {elapsed:.1?}: {end}"
        )
    }
}

impl PagePool {
    /// Makes up to `bytes` of the free memory resident, so that whoever uses it first does not pay for that;
    /// [`usize::MAX`] asks for all there is. Says what that cost. Begins nothing more after `patience`: a step, a
    /// block of 4 MiB or less, takes some milliseconds.
    ///
    /// What is asked for is rounded up to whole pageblocks (2 MiB in zones of 8 MiB and more), which alone are
    /// looked at: memory that is in use or free in parts of a pageblock has mostly been touched anyway. Nodes get
    /// equal shares, in each the Normal zone before the Movable one. The first block out of such a pageblock is
    /// also known to read as zeros, and is not cleared.
    ///
    /// The memory stays, whatever [`trim_threshold`](crate::Tunables::trim_threshold) says, until it was used and
    /// freed, or is given back by [`trim`](Self::trim). (A threshold of 0 gives it back as well.) It is within the
    /// budget like all memory of the pool. Requests go on meanwhile; once memory is short, this ends.
    ///
    /// # Errors
    /// [`PrefaultError::TooMuch`] if the pool does not have so much, used or not, and [`PrefaultError::System`] if
    /// the system has none left; what was done by then stays.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pagepool::{PagePool, PrefaultEnd};
    /// let pool = PagePool::builder().managed(64 << 20).build()?;
    /// let cost = pool.prefault(16 << 20, Duration::from_secs(10))?;
    /// println!("{cost}"); // 16777216 bytes, 0 of them in huge pages, in 6.1ms: done
    /// assert_eq!((cost.bytes, cost.end), (16 << 20, PrefaultEnd::Done));
    /// assert_eq!(pool.trim(), 16 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefault(&self, bytes: usize, patience: Duration) -> Result<Prefaulted, PrefaultError> {
        let deadline = clock::deadline_after(patience);
        self.inner.prefault(bytes, deadline, &pages::populate)
    }
}

/// What asks the system for the memory of a withdrawn block; returns how many pages are parts of huge ones.
pub(super) type Populate<'a> = dyn Fn(&Arena, &IdleBlock) -> io::Result<usize> + 'a;

/// The zones of a node that may have vacant blocks, the next one first.
struct Turn<'a> {
    zones: VecDeque<&'a Zone>,
}

impl<'a> Turn<'a> {
    fn of(node: &'a Node) -> Turn<'a> {
        let zones = node.zones().iter();
        Turn {
            // The DMA zone is locked in memory, which populates it.
            zones: zones
                .filter(|zone| zone.zone_type() != ZoneType::Dma && zone.is_managed())
                .collect(),
        }
    }

    /// Withdraws a vacant block of its zones, of about `most` pages; notes if one has to be left where it is.
    fn withdraw(&mut self, most: usize, is_short: &mut bool) -> Option<(&'a Zone, IdleBlock)> {
        while let Some(zone) = self.zones.front().copied() {
            match zone.withdraw_vacant(most) {
                Vacancy::Block(idle) => return Some((zone, idle)),
                Vacancy::None => {}
                Vacancy::Short => *is_short = true,
            }
            self.zones.pop_front();
        }
        None
    }
}

/// What came of a block.
struct Populated {
    huge_pages: usize,
    /// Somebody waited for memory when it came back.
    is_awaited: bool,
}

/// How it stands with a call.
struct Progress {
    begun: Instant,
    wanted_pages: usize,
    pages: usize,
    huge_pages: usize,
}

impl Progress {
    fn left(&self) -> usize {
        self.wanted_pages.saturating_sub(self.pages)
    }

    fn ended(&self, end: PrefaultEnd) -> Prefaulted {
        Prefaulted {
            bytes: self.pages * PAGE_SIZE,
            huge_bytes: self.huge_pages * PAGE_SIZE,
            elapsed: clock::now().saturating_duration_since(self.begun),
            end,
        }
    }
}

impl Inner {
    /// Makes free memory resident by `populate`, a block of each node in turn.
    pub(super) fn prefault(
        &self,
        bytes: usize,
        deadline: Option<Instant>,
        populate: &Populate<'_>,
    ) -> Result<Prefaulted, PrefaultError> {
        let mut progress = Progress {
            begun: clock::now(),
            wanted_pages: self.pages_to_prefault(bytes)?,
            pages: 0,
            huge_pages: 0,
        };
        let mut turns: VecDeque<Turn<'_>> = self.nodes.iter().map(Turn::of).collect();
        let mut is_short = false;
        while progress.left() > 0 {
            if clock::is_over(deadline) {
                return Ok(progress.ended(PrefaultEnd::TimeOver));
            }
            let Some(mut turn) = turns.pop_front() else {
                let end = if is_short {
                    PrefaultEnd::Short
                } else {
                    PrefaultEnd::NothingLeft
                };
                return Ok(progress.ended(end));
            };
            let Some((zone, idle)) = turn.withdraw(progress.left(), &mut is_short) else {
                continue;
            };
            turns.push_back(turn);
            let pages = idle.order().pages();
            let populated = self.populate_idle(zone, idle, populate);
            let populated = populated.map_err(|source| PrefaultError::System {
                bytes: progress.pages * PAGE_SIZE,
                source,
            })?;
            progress.pages += pages;
            progress.huge_pages += populated.huge_pages;
            if populated.is_awaited {
                return Ok(progress.ended(PrefaultEnd::Short));
            }
        }
        Ok(progress.ended(PrefaultEnd::Done))
    }

    /// How many pages are asked for.
    fn pages_to_prefault(&self, bytes: usize) -> Result<usize, PrefaultError> {
        let managed = self.nodes.zones().map(Zone::managed).sum::<usize>() * PAGE_SIZE;
        if bytes > managed && bytes != usize::MAX {
            return Err(PrefaultError::TooMuch { bytes, managed });
        }
        Ok(bytes.div_ceil(PAGE_SIZE))
    }

    /// Asks for the memory of a withdrawn block and puts it back.
    fn populate_idle(
        &self,
        zone: &Zone,
        idle: IdleBlock,
        populate: &Populate<'_>,
    ) -> io::Result<Populated> {
        let pages = idle.order().pages();
        let outcome = populate(self.arena_of(idle.pfn()), &idle);
        // Also where it failed: some of it may have memory.
        let freed = zone.return_idle(idle, Residency::Blank);
        let is_awaited = freed.waiters.is_some();
        self.see_to(zone, freed);
        let huge_pages = outcome?;
        self.nodes.events().add(VmEvent::Prefaulted, pages as u64);
        Ok(Populated {
            huge_pages,
            is_awaited,
        })
    }
}
