//! The bytes of folios that somebody may be writing.

use std::mem::MaybeUninit;
use std::ptr;

use crate::arena::Arena;
use crate::types::Pfn;

/// Fills `dst` with bytes of a folio, from `offset` bytes into the frame `pfn` on, while its owner may be
/// writing to them. What is copied means something only if the folio's word and sequence say afterwards
/// that nobody did.
#[inline]
pub(crate) fn copy_racing(arena: &Arena, pfn: Pfn, offset: usize, dst: &mut [u8]) {
    let dst = std::ptr::from_mut(dst) as *mut [MaybeUninit<u8>];
    // SAFETY: the same memory, borrowed as long, into which only initialised bytes are written.
    let dst = unsafe { &mut *dst };
    arena.copy_racing(pfn.index(), offset, dst);
}
