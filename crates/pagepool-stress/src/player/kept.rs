//! Folios with contents that follow from the order of their birth, in a pool without swap: written when
//! they come, verified when they go.
#![forbid(unsafe_code)]

use std::time::Instant;

use pagepool::{Folio, PAGE_SIZE};

use super::access::{ATTEMPTS, Trust};
use crate::{
    content::{Depth, Tag, check_bytes, fill_bytes},
    tally::{Tally, record},
};

/// A folio with its contents.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) folio: Folio,
    /// Its number in the order of birth, which its contents follow from.
    pub(super) birth: u32,
}

/// The contents of what was born as number `birth`.
pub(super) fn birth_tag(seed: u64, birth: u32) -> Tag {
    Tag::new(seed, u64::from(birth))
}

impl Tally {
    /// Writes a new folio's contents; false if that cannot be done, which is a violation.
    pub(super) fn write_birth(
        &mut self,
        folio: &mut Folio,
        seed: u64,
        birth: u32,
        depth: Depth,
    ) -> bool {
        let tag = birth_tag(seed, birth);
        let fill = |_: &mut Tally, bytes: &mut [u8]| fill_bytes(bytes, tag, depth);
        let written = self.write_folio(folio, ATTEMPTS, Trust::Sound, fill);
        if let Err(error) = written {
            let what = format_args!("a new folio cannot be written: {error}");
            self.violations.add(what);
            return false;
        }
        true
    }

    /// Compares a folio's bytes with what was written.
    pub(super) fn verify_kept(&mut self, seed: u64, kept: &Kept, depth: Depth) {
        let tag = birth_tag(seed, kept.birth);
        let check = |tally: &mut Tally, bytes: &[u8]| {
            let compared = (bytes.len() / PAGE_SIZE) as u64 * depth.bytes();
            let verdict = check_bytes(bytes, tag, depth).map(|_| compared);
            tally.verified(verdict.map_err(|difference| {
                format!(
                    "corruption: folio {} of {} bytes: {difference}",
                    kept.birth,
                    bytes.len()
                )
            }));
        };
        if let Err(error) = self.read_folio(&kept.folio, ATTEMPTS, Trust::Sound, check) {
            self.unreadable(error);
        }
    }

    /// Verifies a folio and drops it, timing the pool's part.
    pub(super) fn free_kept(&mut self, seed: u64, kept: Kept, depth: Depth) {
        self.verify_kept(seed, &kept, depth);
        let begin = Instant::now();
        drop(kept);
        record(&mut self.free_ns, begin);
        self.ops += 1;
        self.nr_frees += 1;
    }

    /// There is no swap, so that every folio is in memory.
    #[cold]
    pub(super) fn unreadable(&mut self, error: impl std::fmt::Display) {
        let what = format_args!("a folio that is in memory cannot be read: {error}");
        self.violations.add(what);
    }
}
