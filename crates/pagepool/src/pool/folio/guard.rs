//! Guards and pins: folios that stay where they are for the while.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr::NonNull;

use super::Folio;
use crate::folio::FolioWord;
use crate::types::Pfn;

impl Folio {
    /// The bytes of the folio, of which `word` says where they are.
    #[inline]
    fn bytes_at(&self, word: FolioWord) -> NonNull<[u8]> {
        let first = self.pool().frame_ptr(Pfn::from_raw(word.location()));
        NonNull::slice_from_raw_parts(first, self.len())
    }

    #[cold]
    pub(super) fn wake(&self) {
        self.pool().folios().waiters().wake(self.id());
    }

    #[inline]
    pub(super) fn end_read(&self) {
        if self.slot().end_read() {
            self.wake();
        }
    }

    #[inline]
    pub(super) fn end_write(&self) {
        if self.slot().end_write() {
            self.wake();
        }
    }
}

/// Shared access to the bytes of a folio, which stays in its place meanwhile.
#[must_use = "the folio is let go of when the guard is dropped"]
pub struct FolioRead<'a> {
    folio: &'a Folio,
    bytes: NonNull<[u8]>,
    /// Not `Send`: a thread that waits is told if it would wait for itself.
    _thread: PhantomData<*const ()>,
}

impl<'a> FolioRead<'a> {
    /// The caller has begun to read; `word` is what that gave.
    #[inline]
    pub(super) fn new(folio: &'a Folio, word: FolioWord) -> FolioRead<'a> {
        FolioRead {
            folio,
            bytes: folio.bytes_at(word),
            _thread: PhantomData,
        }
    }
}

impl Deref for FolioRead<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: (H2) the bytes stay here and (H3) nobody writes them; they were zeroed or written when
        // the folio came here.
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for FolioRead<'_> {
    #[inline]
    fn drop(&mut self) {
        self.folio.end_read();
    }
}

/// Exclusive access to the bytes of a folio, which stays in its place meanwhile.
#[must_use = "the folio is let go of when the guard is dropped"]
pub struct FolioWrite<'a> {
    folio: &'a Folio,
    bytes: NonNull<[u8]>,
    /// Not `Send`: see [`FolioRead`].
    _thread: PhantomData<*mut ()>,
}

impl<'a> FolioWrite<'a> {
    /// The caller has begun to write; `word` is what that gave.
    #[inline]
    pub(super) fn new(folio: &'a Folio, word: FolioWord) -> FolioWrite<'a> {
        FolioWrite {
            folio,
            bytes: folio.bytes_at(word),
            _thread: PhantomData,
        }
    }
}

impl Deref for FolioWrite<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: (H2, H3) the bytes stay here and are ours.
        unsafe { self.bytes.as_ref() }
    }
}

impl DerefMut for FolioWrite<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: (H2, H3) the bytes stay here and are ours. Those who copy racing bytes do so in a way
        // that the compiler does not see (`arena::racing`).
        unsafe { self.bytes.as_mut() }
    }
}

impl Drop for FolioWrite<'_> {
    #[inline]
    fn drop(&mut self) {
        self.folio.end_write();
    }
}

/// A folio that stays in its place, without a claim on its bytes.
#[must_use = "the folio is let go of when the pin is dropped"]
pub struct FolioPin<'a> {
    folio: &'a Folio,
    bytes: NonNull<[u8]>,
}

// SAFETY: a pin is a count in the folio's word; whichever thread drops it takes it off.
unsafe impl Send for FolioPin<'_> {}
// SAFETY: a shared pin gives an address.
unsafe impl Sync for FolioPin<'_> {}

impl<'a> FolioPin<'a> {
    /// The caller has begun to pin; `word` is what that gave.
    #[inline]
    #[track_caller]
    pub(super) fn new(folio: &'a Folio, word: FolioWord) -> FolioPin<'a> {
        if word.pins() == 1 {
            folio.pool().note_pinned(folio.id(), Location::caller());
        }
        FolioPin {
            folio,
            bytes: folio.bytes_at(word),
        }
    }

    /// The folio.
    #[inline]
    #[must_use]
    pub fn folio(&self) -> &'a Folio {
        self.folio
    }

    /// The address of the folio's first byte, the same until the pin is dropped. Who may access the
    /// bytes is said by guards, not by this.
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.bytes.cast().as_ptr()
    }
}

impl Drop for FolioPin<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.folio.slot().end_pin() {
            self.folio.pool().note_unpinned(self.folio.id());
        }
    }
}

macro_rules! debug_as_folio {
    ($($guard:ident)*) => {
        $(impl fmt::Debug for $guard<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($guard)).field(self.folio).finish()
            }
        })*
    };
}
debug_as_folio!(FolioRead FolioWrite FolioPin);
