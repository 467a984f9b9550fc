//! The bytes of folios that somebody may be writing.

use std::mem::MaybeUninit;

use crate::arena::{Arena, Bases};
use crate::types::Pfn;

/// Fills `dst` with bytes of a folio, from `offset` bytes into the frame `pfn` on, while its owner may be
/// writing to them. What is copied means something only if the folio's word and sequence say afterwards
/// that nobody did.
#[inline]
pub(crate) fn copy_racing(arena: &Arena, pfn: Pfn, offset: usize, dst: &mut [u8]) {
    arena.copy_racing(pfn.index(), offset, as_target(dst));
}

/// The same for a frame of any node.
#[inline]
pub(crate) fn copy_racing_at(bases: &Bases, pfn: Pfn, offset: usize, dst: &mut [u8]) {
    bases.copy_racing(pfn, offset, as_target(dst));
}

#[inline]
fn as_target(dst: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let dst = std::ptr::from_mut(dst) as *mut [MaybeUninit<u8>];
    // SAFETY: the same memory, borrowed as long, into which only initialised bytes are written.
    unsafe { &mut *dst }
}
