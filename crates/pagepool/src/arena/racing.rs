//! Reading bytes that somebody may be writing.
//!
//! A mover, the writer to swap and an optimistic reader copy bytes out of frames whose owner may write
//! to them at the same moment, and find out afterwards whether he did: then the copy is thrown away.
//! All of them copy by [`copy`].
//!
//! **Why this holds.** Such a race lies outside the formal model of the language, which knows no read of
//! plain memory that may be concurrent with a write to it. So the loads are made where the compiler
//! cannot see them: in assembler on the machines that are supported, by relaxed atomic loads elsewhere.
//! What the compiler sees is a call that fills `dst` with bytes of its own choosing; it can neither
//! repeat the loads nor conclude anything from them. The machine, for its part, gives each byte some
//! value that was stored there. Nothing is done with the bytes before they were validated, and they are
//! bytes: every value is valid.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Whether the loads are made in assembler. AddressSanitizer does not look into that, and must not: who reads
/// optimistically may find the folio gone and its frames free, which he is told afterwards. Who has made sure
/// that it stays asks it [before](super::Arena::copy_racing).
const IN_ASSEMBLER: bool = cfg!(target_arch = "x86_64") && !cfg!(any(loom, miri));

/// From this length on, a string instruction is faster than words (4 KiB: 32 ns against 70).
#[cfg(target_arch = "x86_64")]
const LONG: usize = 256;

/// Copies `dst.len()` bytes from `src` to `dst`.
///
/// # Safety
/// The bytes from `src` on are mapped, readable and initialised during the call. They may be written
/// meanwhile by another thread; `dst` then receives, byte by byte, what was there before or after.
#[inline]
pub(super) unsafe fn copy(src: NonNull<u8>, dst: &mut [MaybeUninit<u8>]) {
    // A word is what is mostly read of a folio that is not held: a load, without a call.
    if ANY_ALIGNMENT && dst.len() == WORD {
        // SAFETY: the caller's promise, for a word; any alignment will do.
        let value = unsafe { load_word(src.cast()) };
        dst.copy_from_slice(&value.to_ne_bytes().map(MaybeUninit::new));
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { copy_any(src, dst) }
}

/// The same for every length.
///
/// # Safety
/// As [`copy`].
#[inline(never)]
unsafe fn copy_any(src: NonNull<u8>, dst: &mut [MaybeUninit<u8>]) {
    #[cfg(target_arch = "x86_64")]
    if dst.len() >= LONG && IN_ASSEMBLER {
        // SAFETY: (1) the caller answers for the source; (2) `dst` is ours for as long; (3) the
        // direction flag is clear on entry to assembler, by the ABI.
        unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") dst.len() => _,
                inout("rsi") src.as_ptr() => _,
                inout("rdi") dst.as_mut_ptr() => _,
                options(nostack, preserves_flags),
            );
        }
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { copy_words(src, dst) }
}

/// The same by words, for short copies and other machines.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_words(src: NonNull<u8>, dst: &mut [MaybeUninit<u8>]) {
    let head = if ANY_ALIGNMENT {
        0
    } else {
        src.align_offset(WORD).min(dst.len())
    };
    let (head, rest) = dst.split_at_mut(head);
    // SAFETY: `head` is a part of what the caller answers for.
    unsafe { copy_bytes(src, head) };
    // SAFETY: the source is as long as `dst`.
    let mut at = unsafe { src.add(head.len()) };
    let mut words = rest.chunks_exact_mut(WORD);
    for word in &mut words {
        // SAFETY: the word lies within the source, and is aligned where it must be.
        let value = unsafe { load_word(at.cast()) };
        word.copy_from_slice(&value.to_ne_bytes().map(MaybeUninit::new));
        // SAFETY: as above.
        at = unsafe { at.add(WORD) };
    }
    // SAFETY: as above.
    unsafe { copy_bytes(at, words.into_remainder()) };
}

/// The same byte by byte, for the ends.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_bytes(src: NonNull<u8>, dst: &mut [MaybeUninit<u8>]) {
    for (offset, byte) in dst.iter_mut().enumerate() {
        // SAFETY: the byte lies within the source.
        let at = unsafe { src.add(offset) };
        // SAFETY: as above. Volatile: one load, here.
        byte.write(unsafe { at.as_ptr().read_volatile() });
    }
}

/// Bytes that are loaded at once.
const WORD: usize = size_of::<u64>();

/// Whether [`load_word`] can do without alignment.
const ANY_ALIGNMENT: bool = IN_ASSEMBLER;

/// Loads one word: all its bytes at once if it is aligned, else each for itself.
///
/// # Safety
/// As [`copy`], for a word that is aligned, or wherever [`ANY_ALIGNMENT`].
#[inline]
unsafe fn load_word(src: NonNull<u64>) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if IN_ASSEMBLER {
        let value: u64;
        // SAFETY: the caller answers for the source; the load has no other effect.
        unsafe {
            std::arch::asm!(
                "mov {value}, qword ptr [{src}]",
                value = lateout(reg) value,
                src = in(reg) src.as_ptr(),
                options(nostack, preserves_flags, readonly),
            );
        }
        return value;
    }
    // SAFETY: the caller answers for the source. Volatile: one load, here.
    unsafe { src.as_ptr().read_volatile() }
}

/// Returns the number, as one of which the compiler knows nothing. Where it is compared with another it
/// cannot conclude that one may stand for the other, and make what follows wait for the wrong one.
#[inline]
pub(crate) fn opaque(number: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if IN_ASSEMBLER {
        let same: u32;
        // SAFETY: a comment is no instruction; the number stays in its register.
        unsafe {
            std::arch::asm!(
                "/* {0:e} */",
                inout(reg) number => same,
                options(nomem, nostack, preserves_flags),
            );
        }
        return same;
    }
    std::hint::black_box(number)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied() {
        let source: Vec<u8> = (0..1024).map(|n| (n * 7 % 251) as u8).collect();
        for start in 0..9 {
            for len in (0..40).chain([255, 256, 257, 1000]) {
                let mut copied = vec![MaybeUninit::new(0xee); len + 2];
                let src = NonNull::from(&source[start]);
                // SAFETY: 9 + 1000 bytes lie within the source, which nobody writes.
                unsafe { copy(src, &mut copied[1..=len]) };
                // SAFETY: each byte was initialised above, or copied.
                let copied: Vec<u8> = copied
                    .iter()
                    .map(|byte| unsafe { byte.assume_init() })
                    .collect();
                assert_eq!(copied[1..=len], source[start..start + len]);
                assert_eq!((copied[0], copied[len + 1]), (0xee, 0xee));
            }
        }
    }
}
