//! The bytes of folios that somebody may be writing.

use std::mem::MaybeUninit;

use crate::arena::Arena;
use crate::types::Pfn;

/// Copies bytes of a folio out, from `offset` bytes into the frame `pfn` on, while its owner may be
/// writing to them. What is copied means something only if the folio's word and sequence say afterwards
/// that nobody did.
pub(crate) fn copy_racing<'d>(
    arena: &Arena,
    pfn: Pfn,
    offset: usize,
    dst: &'d mut [MaybeUninit<u8>],
) -> &'d mut [u8] {
    arena.copy_racing(pfn.index(), offset, dst);
    // SAFETY: every byte was filled, with some value; all values are bytes.
    unsafe { dst.assume_init_mut() }
}
