//! What is run, where, and at which size.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::works::{self, Entry};

/// Rounds that are run however long they take.
const MIN_ROUNDS: usize = 3;

/// What is run, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Only works whose name contains this.
    pub(crate) filter: String,
    /// The CPUs that lanes are pinned to.
    pub(crate) cpus: Vec<usize>,
    /// Whether lanes may share a CPU.
    pub(crate) oversubscribes: bool,
    /// Where files are made, for works that need a disk.
    pub(crate) directory: PathBuf,
    /// How long and how large the works are.
    pub(crate) scale: Scale,
}

/// How long and how large the works are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Timed rounds per work.
    pub(crate) rounds: usize,
    /// After this long a work starts no further round.
    pub(crate) limit: Duration,
    /// Pairs of one page, and pages handed over, in a round.
    pub(crate) pairs: usize,
    /// Pairs of order 9 in a round.
    pub(crate) huge_pairs: usize,
    /// Pages held at once by each lane.
    pub(crate) held: usize,
    /// Memory of the mixed work, in bytes.
    pub(crate) mixed_bytes: usize,
    /// Allocations and frees of the mixed work in a round.
    pub(crate) mixed_ops: usize,
    /// Memory of the mixed work beside busy daemons, in bytes.
    pub(crate) busy_bytes: usize,
    /// Allocations and frees in a round there.
    pub(crate) busy_ops: usize,
    /// Processes started to open a pool.
    pub(crate) opens: usize,
    /// Guards taken and let go of in a round.
    pub(crate) holds: usize,
    /// Folios that are read at random.
    pub(crate) scattered: usize,
    /// Bytes that are swapped out in a round.
    pub(crate) swapped_bytes: usize,
    /// Faults in a round.
    pub(crate) faults: usize,
    /// Wakes in a round.
    pub(crate) wakes: usize,
    /// Memory in pieces, in bytes.
    pub(crate) compacted_bytes: usize,
    /// Reads in a round of a folio that is being moved.
    pub(crate) moved_reads: usize,
}

impl Scale {
    /// The whole table.
    pub(crate) const FULL: Scale = Scale {
        rounds: 31,
        limit: Duration::from_secs(60),
        pairs: 1_000_000,
        huge_pairs: 100_000,
        held: 100_000,
        mixed_bytes: 1 << 30,
        mixed_ops: 100_000,
        busy_bytes: 256 << 20,
        busy_ops: 400_000,
        opens: 31,
        holds: 1_000_000,
        scattered: 256 << 10,
        swapped_bytes: 128 << 20,
        faults: 2_000,
        wakes: 2_000,
        compacted_bytes: 256 << 20,
        moved_reads: 2_000_000,
    };

    /// What shows the order of things: all works in two minutes. As many pages are held, and the memory
    /// is as large, as in the full run.
    pub(crate) const QUICK: Scale = Scale {
        rounds: 9,
        limit: Duration::from_secs(2),
        pairs: 200_000,
        huge_pairs: 20_000,
        mixed_ops: 20_000,
        busy_ops: 40_000,
        opens: 11,
        holds: 200_000,
        swapped_bytes: 32 << 20,
        faults: 500,
        wakes: 500,
        compacted_bytes: 128 << 20,
        moved_reads: 200_000,
        ..Scale::FULL
    };
}

impl Plan {
    /// The works that the filter leaves.
    pub(crate) fn works(&self) -> impl Iterator<Item = &'static Entry> {
        works::ALL
            .iter()
            .filter(|entry| entry.rows.iter().any(|row| self.selects(row)))
    }

    /// Whether the filter leaves a row of this name.
    pub(crate) fn selects(&self, row: &str) -> bool {
        row.contains(&self.filter)
    }

    /// The CPU of a lane.
    pub(crate) fn cpu_of(&self, lane: usize) -> usize {
        self.cpus[lane % self.cpus.len()]
    }

    /// Whether there is time for round `number` of a work that was begun then.
    pub(crate) fn may_go_on(&self, number: usize, begun: Instant) -> bool {
        number < MIN_ROUNDS || begun.elapsed() <= self.scale.limit
    }

    /// Whether a work that was begun then, and has run so many rounds, runs another.
    pub(crate) fn has_another_round(&self, rounds: usize, begun: Instant) -> bool {
        rounds < self.scale.rounds && self.may_go_on(rounds, begun)
    }
}
