//! A pool as text, in the formats in which the kernel tells of its memory.
//!
//! *Kernel counterpart:* `/proc/vmstat`, `/proc/zoneinfo`, `/proc/buddyinfo`, `/proc/pagetypeinfo`
//! (`mm/vmstat.c`), `/proc/meminfo` (`fs/proc/meminfo.c`), `/proc/pressure/memory` (`kernel/sched/psi.c`) and
//! `extfrag` of debugfs, as v5.0 prints them (spec 7.5): the same headings, columns and order of lines. What a
//! pool counts and v5.0 does not stands beside its kind or at the end; counts of what a pool has none of are left
//! out, but for `meminfo`, whose readers want all of them.
//!
//! Each file here but [`write`] is policy: a snapshot in, text out.
//!
//! **Invariants**
//! - O2: a text has no number that is not in the snapshot, or computed from nothing else.
//! - O3: a file that [`write`] leaves under its name is whole, the old one or the new one.

#![forbid(unsafe_code)]

mod buddyinfo;
mod extfrag;
mod meminfo;
mod pagetypeinfo;
mod write;
mod zoneinfo;

#[cfg(all(test, not(loom)))]
mod tests;

use std::fmt;

use super::stats::Stats;

pub use write::{ProcStep, ProcWriteError};

/// A file in which the kernel tells of its memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProcFile {
    /// `/proc/vmstat`: all counts, a name and a number a line.
    Vmstat,
    /// `/proc/zoneinfo`: nodes and zones with their marks, counts and caches.
    Zoneinfo,
    /// `/proc/buddyinfo`: free blocks by order.
    Buddyinfo,
    /// `/proc/pagetypeinfo`: free blocks by migratetype and order, and pageblocks by migratetype.
    Pagetypeinfo,
    /// `/proc/meminfo`: the pool at large, in KiB.
    Meminfo,
    /// `/proc/pressure/memory`: for how long threads have waited.
    MemoryPressure,
    /// `extfrag/extfrag_index` of debugfs: why requests of each order would fail.
    ExtfragIndex,
    /// `extfrag/unusable_index` of debugfs: the part of what is free that each order cannot use.
    UnusableIndex,
}

impl ProcFile {
    /// All of them.
    pub const ALL: [ProcFile; 8] = [
        ProcFile::Vmstat,
        ProcFile::Zoneinfo,
        ProcFile::Buddyinfo,
        ProcFile::Pagetypeinfo,
        ProcFile::Meminfo,
        ProcFile::MemoryPressure,
        ProcFile::ExtfragIndex,
        ProcFile::UnusableIndex,
    ];

    /// Where it is below `/proc`; of the last two, below the mount of debugfs.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            ProcFile::Vmstat => "vmstat",
            ProcFile::Zoneinfo => "zoneinfo",
            ProcFile::Buddyinfo => "buddyinfo",
            ProcFile::Pagetypeinfo => "pagetypeinfo",
            ProcFile::Meminfo => "meminfo",
            ProcFile::MemoryPressure => "pressure/memory",
            ProcFile::ExtfragIndex => "extfrag/extfrag_index",
            ProcFile::UnusableIndex => "extfrag/unusable_index",
        }
    }
}

/// A snapshot in one of the kernel's formats: see [`Stats::proc`]. Prints as the whole file.
#[derive(Clone, Copy, Debug)]
pub struct ProcText<'a> {
    stats: &'a Stats,
    file: ProcFile,
}

impl Stats {
    /// Returns the snapshot as the text of one of the kernel's files, for tools and eyes that read those.
    ///
    /// The texts of one snapshot agree with each other and with it.
    ///
    /// ```
    /// use pagepool::{PagePool, ProcFile};
    /// let pool = PagePool::builder().memory(64 << 20).movable_share(0).build()?;
    /// let buddyinfo = pool.stats().proc(ProcFile::Buddyinfo).to_string();
    /// assert!(buddyinfo.starts_with("Node 0, zone   Normal "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn proc(&self, file: ProcFile) -> ProcText<'_> {
        ProcText { stats: self, file }
    }
}

impl fmt::Display for ProcText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats;
        match self.file {
            ProcFile::Vmstat => stats.vmstat.fmt(f),
            ProcFile::Zoneinfo => zoneinfo::print(stats, f),
            ProcFile::Buddyinfo => buddyinfo::print(stats, f),
            ProcFile::Pagetypeinfo => pagetypeinfo::print(stats, f),
            ProcFile::Meminfo => meminfo::print(stats, f),
            ProcFile::MemoryPressure => writeln!(f, "{}", stats.pressure),
            ProcFile::ExtfragIndex => extfrag::print_extfrag(stats, f),
            ProcFile::UnusableIndex => extfrag::print_unusable(stats, f),
        }
    }
}

/// How lines about a zone begin in most of the files.
fn begin_line(f: &mut fmt::Formatter<'_>, node: usize, zone: &str) -> fmt::Result {
    write!(f, "Node {node}, zone {zone:>8} ")
}
