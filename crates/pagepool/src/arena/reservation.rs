//! One range of address space that the system has set aside for an arena.
//!
//! The range is reserved without access, longer than needed, and an aligned part of it is then
//! opened for reading and writing; what stays closed at both ends are the guards. That is two calls
//! instead of one, and buys the alignment, the guards and independence of the overcommit mode:
//! memory without access is never charged, and with `MAP_NORESERVE` opening it is charged only
//! where the host promises every byte that it maps (`overcommit_memory=2`), and then exactly the
//! part in use. `memmap2` maps neither without access nor aligned, hence `libc` here.
//!
//! **Invariants**
//! - R1: `[start, start + len)` is mapped by us, and by nobody else, until drop.
//! - R2: `[base, base + bytes)` lies within it, readable and writable, with at least one closed
//!   page on either side; `base` and `bytes` are multiples of the page size.

use std::{
    ffi::{c_int, c_ulong, c_void},
    io,
    ptr::{self, NonNull},
};

use crate::types::PAGE_SIZE;

/// Bytes closed to access at either end, at the least.
const GUARD: usize = PAGE_SIZE;

/// Pages per call of `mincore`, which wants a byte for each.
const RESIDENCY_BATCH: usize = 16 << 10;

/// As young as Linux 6.1, and not known to every C library that there is.
const MADV_COLLAPSE: c_int = 25;

/// The largest node number of a host, exclusive (kernel: `1 << CONFIG_NODES_SHIFT` is at most 1024).
const MAX_HOST_NODES: usize = 1024;

/// A range of address space, mapped until dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    start: NonNull<c_void>,
    len: usize,
    base: NonNull<u8>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes`, a multiple of the page size, aligned to `align`, a power of two.
    pub(super) fn new(bytes: usize, align: usize) -> io::Result<Reservation> {
        debug_assert!(align.is_power_of_two() && align >= PAGE_SIZE);
        refuse_large_host_pages()?;

        let len = bytes
            .checked_add(align + 2 * GUARD)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let start = map_without_access(len)?;
        // Less than a guard and `align` is skipped, so a guard and more remains at the end (R2).
        let skipped = (start.addr().get() + GUARD).next_multiple_of(align) - start.addr().get();
        let base = start
            .cast::<u8>()
            .map_addr(|start| start.saturating_add(skipped));

        // From here on, an early return unmaps (R1).
        let reservation = Reservation {
            start,
            len,
            base,
            bytes,
        };
        reservation.open()?;
        Ok(reservation)
    }

    /// The first byte that may be accessed.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Makes the part between the guards readable and writable.
    fn open(&self) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is ours (R1) and nobody has an address in it yet.
        check(unsafe { libc::mprotect(self.at(0, self.bytes), self.bytes, access) })
    }

    /// Gives a piece of advice on the whole that changes no contents.
    pub(super) fn advise(&self, advice: c_int) -> io::Result<()> {
        debug_assert!(advice != libc::MADV_DONTNEED && advice != libc::MADV_FREE);
        // SAFETY: the range is ours (R1), and the advice is not one that discards.
        check(unsafe { libc::madvise(self.at(0, self.bytes), self.bytes, advice) })
    }

    /// Asks that pages come from the host's NUMA node `node` as long as it has some.
    pub(super) fn prefer_node(&self, node: usize) -> io::Result<()> {
        const BITS: usize = c_ulong::BITS as usize;
        const NO_FLAGS: c_ulong = 0;

        if node >= MAX_HOST_NODES {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut mask = [0; MAX_HOST_NODES / BITS];
        mask[node / BITS] = (1 as c_ulong) << (node % BITS);

        // SAFETY: the range is ours (R1), a policy changes no contents, and the mask has the bits
        // that it is said to have: the kernel reads one fewer than it is told.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.at(0, self.bytes),
                self.bytes,
                libc::MPOL_PREFERRED as c_ulong,
                mask.as_ptr(),
                MAX_HOST_NODES + 1,
                NO_FLAGS,
            )
        };
        check(rc as c_int)
    }

    /// Populates a part and locks it in memory.
    pub(super) fn lock(&self, offset: usize, bytes: usize) -> io::Result<()> {
        // SAFETY: `at` has checked the range; locking changes no contents.
        check(unsafe { libc::mlock(self.at(offset, bytes), bytes) })
    }

    /// Populates a part. `EINVAL` says that the system cannot.
    pub(super) fn populate(&self, offset: usize, bytes: usize) -> io::Result<()> {
        loop {
            // SAFETY: `at` has checked the range; populating changes no contents.
            let rc =
                unsafe { libc::madvise(self.at(offset, bytes), bytes, libc::MADV_POPULATE_WRITE) };
            match check(rc) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Has the memory of a part, a whole number of huge pages, become huge pages. `EINVAL` says that the system
    /// cannot, or that nothing is there.
    pub(super) fn collapse(&self, offset: usize, bytes: usize) -> io::Result<()> {
        // SAFETY: `at` has checked the range; contents stay.
        check(unsafe { libc::madvise(self.at(offset, bytes), bytes, MADV_COLLAPSE) })
    }

    /// Drops the contents of a part, which then reads as zeros.
    ///
    /// # Safety
    /// Nobody else accesses the part meanwhile, and nobody relies on its contents.
    pub(super) unsafe fn discard(&self, offset: usize, bytes: usize) -> io::Result<()> {
        // SAFETY: `at` has checked the range, and the caller answers for the contents.
        check(unsafe { libc::madvise(self.at(offset, bytes), bytes, libc::MADV_DONTNEED) })
    }

    /// Counts the pages of a part that take memory.
    pub(super) fn resident(&self, offset: usize, bytes: usize) -> io::Result<usize> {
        let mut marks = vec![0_u8; RESIDENCY_BATCH.min(bytes / PAGE_SIZE)];
        let mut resident = 0;
        for batch in (0..bytes).step_by(RESIDENCY_BATCH * PAGE_SIZE) {
            let len = (bytes - batch).min(RESIDENCY_BATCH * PAGE_SIZE);
            let start = self.at(offset + batch, len);
            // SAFETY: `at` has checked the range, and there is a mark for each of its pages.
            check(unsafe { libc::mincore(start, len, marks.as_mut_ptr()) })?;
            // The other bits of a mark are undefined.
            resident += marks[..len / PAGE_SIZE]
                .iter()
                .filter(|mark| **mark & 1 != 0)
                .count();
        }
        Ok(resident)
    }

    /// The address of a part, in the words of `libc`.
    ///
    /// # Panics
    /// If the part is not within what was asked for: a call would reach a guard, or a stranger.
    #[track_caller]
    fn at(&self, offset: usize, bytes: usize) -> *mut c_void {
        assert!(
            offset <= self.bytes && bytes <= self.bytes - offset,
            "R2: bytes {offset}+{bytes} of {}",
            self.bytes
        );
        self.base.as_ptr().wrapping_add(offset).cast()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours (R1), and whoever drops it says that no address is in use.
        let unmapped = check(unsafe { libc::munmap(self.start.as_ptr(), self.len) });
        debug_assert!(unmapped.is_ok(), "R1: {unmapped:?}");
    }
}

/// Maps `len` bytes, private, anonymous and closed to access.
fn map_without_access(len: usize) -> io::Result<NonNull<c_void>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without `MAP_FIXED`, a new mapping replaces no other.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(start).expect("without a hint, the system maps nothing at address 0"))
}

/// Refuses hosts whose pages are larger than ours: a frame could be neither given back nor locked
/// without its neighbours.
fn refuse_large_host_pages() -> io::Result<()> {
    // SAFETY: reads a constant of the system.
    let host = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if host == PAGE_SIZE as libc::c_long {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the host has pages of {host} bytes, the pool {PAGE_SIZE}"),
    ))
}

/// The error of the last call, if it returned anything but 0.
fn check(rc: c_int) -> io::Result<()> {
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
