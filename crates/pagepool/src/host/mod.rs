//! What the host lets this process have: the memory limit in force, wherever it is set.
//!
//! *Kernel counterpart:* the reader's side of `proc_cgroup_show`, `show_mountinfo`, `memory_max_show`,
//! `memory_high_show`, `mem_cgroup_read_u64`, `memcg_stat_show` and `meminfo_proc_show` (v5.0). The host's kernel
//! enforces the limits; a pool that is larger than one is killed, or throttled, together with its process.
//!
//! ```text
//!   /proc/self/cgroup ──────┐ whereabouts (pure)         limits (pure)
//!                           ├───► directories ─► files ──────► numbers ─► the smallest one
//!   /proc/self/mountinfo ───┘      LimitReader::resolve         LimitReader::read_limit
//! ```
//!
//! - [`LimitReader`]: the files that say a limit, found once and held open; read as often as one likes.
//! - [`MemoryLimit`]: how much, and which file says so.
//!
//! **Invariants**
//! - H1: every limit on the way from the process's group up to the mount counts, of both versions where both are
//!   mounted, and the physical memory counts as well; the smallest wins, of equals the nearest.
//! - H2: what is not there limits nothing; what is there and cannot be read or understood is an error, never "no
//!   limit".
//! - H3: [`LimitReader::read_limit`] takes nothing from the heap unless it fails, so that reclaim may call it.
//!
//! **Locking:** none.
//!
//! It is a module of its own and not part of `arena`: it knows nothing of mapped memory, and whoever follows the
//! limit while a pool runs needs this and no arena. Layer 2, since errors are all that it is made of.
//!
//! Not here: what a pool makes of the limit (`pool/builder`), and who looks again when it may have changed.

#![forbid(unsafe_code)]

mod limits; // what the files say (pure)
mod reader;
mod whereabouts; // where the files are (pure)

#[cfg(all(test, not(loom)))]
mod properties;
#[cfg(test)]
mod tests;

pub use limits::LimitKind;
pub use reader::MemoryLimit;
pub(crate) use reader::{HOST_ROOT, LimitReader};
