//! The bytes of folios that somebody may be writing.

use std::mem::MaybeUninit;
use std::ptr;

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
    // SAFETY: (1) every byte was filled, with some value; all values are bytes. (2) The bytes are laid out
    // as before, and the new slice takes the place of the old one, for as long.
    unsafe { &mut *(ptr::from_mut(dst) as *mut [u8]) }
}
