//! Which CPU has which cache line: a directory of last writers and of sharers, as MESI protocols keep one.
//!
//! What counts is a *transfer*: a line is read after another CPU wrote to it, or written to after another CPU had
//! it. A line that nobody wrote to may be everywhere and costs nothing, and no line is ever evicted: caches are
//! endless here, so that what is counted is sharing alone.
//!
//! **Invariants**
//! - E1: the last writer of a line has a copy of it.
//! - E2: right after a write, the writer is the only one who has.

use std::collections::HashMap;

/// Bytes of a cache line.
pub(crate) const LINE_BYTES: u64 = 64;

/// CPUs that there may be.
pub(crate) const MAX_CPUS: usize = 64;

/// What an access does to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What an access takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The CPU has the line as it needs it.
    Hit,
    /// Nobody had it, or nobody wrote to it: it comes from memory, and from nobody.
    Cold,
    /// It comes from that CPU, or that one has to give it up.
    Transfer { from: usize },
}

/// Who has a line.
#[derive(Clone, Copy, Default, Debug)]
struct Line {
    writer: Option<u8>,
    sharers: u64,
}

impl Line {
    fn read(&mut self, cpu: usize) -> Outcome {
        let own = 1 << cpu;
        if self.sharers & own != 0 {
            return Outcome::Hit;
        }
        self.sharers |= own;
        match self.writer {
            Some(from) => Outcome::Transfer { from: from.into() },
            None => Outcome::Cold,
        }
    }

    fn write(&mut self, cpu: usize) -> Outcome {
        let own = 1 << cpu;
        let before = std::mem::replace(
            self,
            Line {
                writer: Some(cpu as u8),
                sharers: own,
            },
        );
        let others = before.sharers & !own;
        match before.writer {
            Some(from) if usize::from(from) != cpu => Outcome::Transfer { from: from.into() },
            _ if others != 0 => Outcome::Transfer {
                from: others.trailing_zeros() as usize,
            },
            _ if before.sharers == own => Outcome::Hit,
            _ => Outcome::Cold,
        }
    }
}

/// The lines of a memory, by number.
#[derive(Default, Debug)]
pub(crate) struct Directory {
    lines: HashMap<u64, Line>,
}

impl Directory {
    /// Notes an access of `cpu` to a line, and says what it took.
    ///
    /// # Panics
    /// In debug builds, if there is no such CPU: they are 0 to 63.
    pub(crate) fn access(&mut self, cpu: usize, line: u64, access: Access) -> Outcome {
        debug_assert!(cpu < MAX_CPUS);
        let line = self.lines.entry(line).or_default();
        match access {
            Access::Read => line.read(cpu),
            Access::Write => line.write(cpu),
        }
    }

    /// Whether an access of `cpu` to the line can neither be felt by another CPU nor feel one: nobody else has it,
    /// or nobody ever wrote to it and this one does not.
    pub(crate) fn is_private(&self, cpu: usize, line: u64, access: Access) -> bool {
        let Some(line) = self.lines.get(&line) else {
            return true;
        };
        let is_alone = line.sharers & !(1 << cpu) == 0;
        is_alone || (line.writer.is_none() && access == Access::Read)
    }
}

/// The lines that `size` bytes from `address` on lie in.
pub(crate) fn lines_of(address: u64, size: u64) -> std::ops::RangeInclusive<u64> {
    let last = address.saturating_add(size.max(1) - 1);
    address / LINE_BYTES..=last / LINE_BYTES
}

#[cfg(test)]
mod tests {
    use super::Access::{Read, Write};
    use super::Outcome::{Cold, Hit, Transfer};
    use super::*;

    #[track_caller]
    fn assert_story(story: &[(usize, Access, Outcome)]) {
        let mut directory = Directory::default();
        for (step, (cpu, access, expected)) in story.iter().enumerate() {
            let outcome = directory.access(*cpu, 7, *access);
            assert_eq!(outcome, *expected, "step {step}");
        }
    }

    #[test]
    fn a_line_of_one_cpu_never_moves() {
        assert_story(&[
            (3, Read, Cold),
            (3, Write, Hit),
            (3, Read, Hit),
            (3, Write, Hit),
        ]);
        assert_story(&[(3, Write, Cold), (3, Write, Hit)]);
    }

    #[test]
    fn what_nobody_writes_to_is_everywhere_for_nothing() {
        assert_story(&[
            (0, Read, Cold),
            (1, Read, Cold),
            (2, Read, Cold),
            (0, Read, Hit),
        ]);
    }

    #[test]
    fn a_word_that_goes_to_and_fro_moves_at_each_write() {
        assert_story(&[
            (0, Write, Cold),
            (1, Write, Transfer { from: 0 }),
            (0, Write, Transfer { from: 1 }),
        ]);
    }

    #[test]
    fn each_reader_fetches_a_write_once_and_the_writer_takes_it_back_once() {
        assert_story(&[
            (0, Write, Cold),
            (1, Read, Transfer { from: 0 }),
            (2, Read, Transfer { from: 0 }),
            (1, Read, Hit),
            (0, Read, Hit),
            (0, Write, Transfer { from: 1 }),
            (0, Write, Hit),
            (2, Read, Transfer { from: 0 }),
        ]);
    }

    #[test]
    fn a_write_to_what_others_only_read_takes_it_from_them() {
        assert_story(&[
            (0, Read, Cold),
            (1, Read, Cold),
            (1, Write, Transfer { from: 0 }),
        ]);
    }

    #[test]
    fn what_others_have_is_not_private_unless_nobody_writes() {
        let mut directory = Directory::default();
        assert!(directory.is_private(0, 1, Write));
        directory.access(1, 1, Read);
        assert!(directory.is_private(0, 1, Read));
        assert!(!directory.is_private(0, 1, Write));
        directory.access(1, 1, Write);
        assert!(!directory.is_private(0, 1, Read));
        assert!(directory.is_private(1, 1, Write));
    }

    #[test]
    fn an_access_across_a_border_has_two_lines() {
        assert_eq!(lines_of(64, 8).collect::<Vec<_>>(), [1]);
        assert_eq!(lines_of(124, 8).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lines_of(63, 0).collect::<Vec<_>>(), [0]);
    }
}
