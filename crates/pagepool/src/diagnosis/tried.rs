//! What was tried for a request.

use std::fmt;

/// What was tried for a request on the slow path, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Tried {
    /// Rounds of walking, compacting and reclaiming.
    pub rounds: u32,
    /// Times that it reclaimed for itself.
    pub reclaims: u32,
    /// Pages that this freed, for it or for others who were faster.
    pub reclaimed_pages: u64,
    /// Times that it compacted for itself.
    pub compactions: u32,
    /// What came of the last time (kernel: `enum compact_result`).
    pub last_compaction: Option<&'static str>,
    /// Times that the caches of all CPUs were emptied for it.
    pub drains: u32,
    /// Times that it slept until somebody freed memory.
    pub waits: u32,
    /// Times that the pool's owner was asked to give memory up.
    pub last_resorts: u32,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Tried::default() {
            return f.write_str("nothing");
        }
        let Tried {
            rounds,
            reclaims,
            reclaimed_pages,
            compactions,
            last_compaction,
            drains,
            waits,
            last_resorts,
        } = self;
        write!(
            f,
            "{rounds} rounds, {reclaims} reclaims ({reclaimed_pages} pages)"
        )?;
        write!(f, ", {compactions} compactions")?;
        if let Some(result) = last_compaction {
            write!(f, " (the last: {result})")?;
        }
        write!(f, ", {drains} drains of all caches, {waits} waits")?;
        match last_resorts {
            0 => Ok(()),
            times => write!(f, ", {times} calls for help"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_said_in_a_line() {
        assert_eq!(Tried::default().to_string(), "nothing");
        let tried = Tried {
            rounds: 2,
            reclaims: 1,
            reclaimed_pages: 32,
            compactions: 1,
            last_compaction: Some("complete"),
            drains: 1,
            ..Tried::default()
        };
        assert_eq!(
            tried.to_string(),
            "2 rounds, 1 reclaims (32 pages), 1 compactions (the last: complete), 1 drains of all caches, 0 waits"
        );
    }
}
