//! The memory of a node: one reservation of address space, and what the system is asked about it.
//!
//! *Kernel counterpart:* `mm/memblock.c` and the direct map (v5.0). The kernel is told which memory
//! exists; a process asks for addresses, and gets memory behind each page at the first touch.
//!
//! ```text
//!  start            base                                       base + pages
//!    |  no access     |  Pfn 0   1   2   ...   (read, write)      |  no access  |
//!    |  >= 1 page     |  aligned to 4 MiB                         |  >= 1 page  |
//! ```
//!
//! Key types: [`Arena`], one node's pages; [`Bases`], those of all nodes; [`ZeroedTable`], a table that costs memory only where it
//! is written; [`Topology`], what the host says of its NUMA nodes.
//!
//! **Invariants**
//! - A1: the pages of an arena are contiguous; the first is aligned to the largest block, or, on
//!   the heap, to the arena's own size rounded up to a power of two, if that is less.
//! - A2: on the system source, the page before the first and the page after the last are mapped
//!   without access, so that a run over either end faults instead of hitting a stranger's memory.
//! - A3: pages stay mapped, private, anonymous and readable as long as the arena lives. A page
//!   given back keeps its address and reads as zeros.
//! - A4: nothing that this module does on its own touches a page: memory is spent by whoever
//!   writes first. The exceptions are asked for: [`populate`](Arena::populate),
//!   [`back_hugely`](Arena::back_hugely) and [`locked`](ArenaOptions::locked).
//! - A5: an arena that could not be built leaves nothing mapped.
//!
//! **Locking and ordering:** none. An arena is immutable but for counters; its bytes belong to whoever holds the
//! frames, and functions that touch bytes are `unsafe` and ask for that ownership.
//!
//! **Fork:** the mapping is inherited, copy on write. A child keeps reading what it had, and its
//! writes are its own; `MADV_DONTFORK` would instead turn every pointer that the child holds into
//! a fault. The child has no daemons, and locked pages are not locked in it. **Core dumps:**
//! the arena is part of them, since it holds the application's data.
//!
//! Not here: which frame is free (`memmap`, `buddy`), and when to give memory back (`zone`).

mod asan;
mod bases;
mod heap;
mod huge;
mod poison;
mod racing;
mod reservation;
mod table;
mod topology;

#[cfg(all(test, not(loom)))]
mod tests;

use std::{io, mem::MaybeUninit, ops::Range, ptr::NonNull, slice};

use crate::{
    error::BuildError,
    types::{Order, PAGE_SIZE},
};

use self::{heap::HeapBlock, huge::Huge, reservation::Reservation};

pub use self::huge::HugePages;
pub(crate) use self::{
    bases::Bases,
    racing::opaque,
    table::{Zeroable, ZeroedTable},
    topology::Topology,
};

/// Where an arena's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Source {
    /// A mapping of its own, with guard pages, given back page by page.
    #[default]
    System,
    /// One zeroed block of the global allocator, for models, sanitizers and simulations: no system
    /// call, and tools that watch the heap see it.
    Heap,
}

impl Source {
    /// The source in this build: tools that know the heap only always get the heap.
    const fn in_this_build(self) -> Source {
        if HEAP_ONLY { Source::Heap } else { self }
    }
}

/// Whether this build runs under a tool that cannot follow mappings.
const HEAP_ONLY: bool = cfg!(any(loom, shuttle, pagepool_asan, miri));

/// How an arena is to be reserved. The heap source ignores all but `source`.
#[derive(Clone, Default, Debug)]
pub(crate) struct ArenaOptions {
    /// Where the memory comes from.
    pub(crate) source: Source,
    /// Whether huge pages are wanted.
    pub(crate) huge_pages: HugePages,
    /// The host's NUMA node that pages should come from. Preferred, not enforced: under a strict
    /// binding a full node ends in the system's OOM killer, while another node has memory.
    pub(crate) host_node: Option<usize>,
    /// Pages to lock in memory, by index. They are populated at once, and cannot be given back.
    pub(crate) locked: Option<Range<usize>>,
}

/// The memory of one node: contiguous pages at fixed addresses, numbered from 0.
#[derive(Debug)]
pub(crate) struct Arena {
    base: NonNull<u8>,
    pages: usize,
    memory: Memory,
    huge: Huge,
}

/// What keeps an arena's addresses alive.
#[derive(Debug)]
enum Memory {
    System(Reservation),
    Heap(#[expect(dead_code, reason = "held for its end, when it frees the memory")] HeapBlock),
}

// SAFETY: an arena owns its memory, whichever thread drops it; `mmap`, `munmap` and the global
// allocator do not care which thread calls them.
unsafe impl Send for Arena {}
// SAFETY: through `&Arena` a thread gets addresses and system calls, which are thread-safe. The
// functions that access bytes are `unsafe` and require that the caller owns the frames.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves `pages` pages. None of them costs memory before it is touched (A4).
    ///
    /// # Errors
    /// [`BuildError::Map`] if there is no room, [`BuildError::Place`] if an option is refused.
    /// Nothing stays mapped then (A5).
    ///
    /// # Panics
    /// If `pages` is 0, or `options.locked` reaches beyond the last page.
    pub(crate) fn new(pages: usize, options: &ArenaOptions) -> Result<Arena, BuildError> {
        assert!(pages > 0, "an arena has at least one page");
        let bytes = pages.saturating_mul(PAGE_SIZE);
        let cannot_map = |source| BuildError::Map {
            what: "an arena",
            bytes,
            source,
        };

        match options.source.in_this_build() {
            Source::System => {
                let reservation =
                    Reservation::new(bytes, Order::MAX.bytes()).map_err(cannot_map)?;
                place(&reservation, pages, options)?;

                Ok(Arena {
                    base: reservation.base(),
                    pages,
                    memory: Memory::System(reservation),
                    huge: Huge::new(options.huge_pages),
                })
            }
            Source::Heap => {
                let align = Order::MAX.pages().min(pages.next_power_of_two()) * PAGE_SIZE;
                let block = HeapBlock::new(bytes, align).map_err(cannot_map)?;

                Ok(Arena {
                    base: block.base(),
                    pages,
                    memory: Memory::Heap(block),
                    huge: Huge::new(options.huge_pages),
                })
            }
        }
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// The address of the first page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address of page `index`.
    #[inline]
    pub(crate) fn ptr(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.pages, "A1: page {index} of {}", self.pages);
        // Saturating keeps this safe for an index that no arena has; for others it is a plain add.
        self.base
            .map_addr(|base| base.saturating_add(index * PAGE_SIZE))
    }

    /// The page that holds `addr`, or `None` when that is not in this arena.
    #[inline]
    pub(crate) fn index_of(&self, addr: *const u8) -> Option<usize> {
        // An address below the base wraps to an index beyond every arena.
        let index = addr.addr().wrapping_sub(self.base.addr().get()) / PAGE_SIZE;
        (index < self.pages).then_some(index)
    }

    /// Gives the memory of pages back to the system. They stay mapped and read as zeros (A3).
    ///
    /// `MADV_DONTNEED` and not `MADV_FREE`: lazily freed pages turn into zeros at a time of the
    /// system's choosing, under whoever has them by then, and do not lower the resident size.
    ///
    /// # Errors
    /// What the system says; `EINVAL` for locked pages.
    ///
    /// # Safety
    /// The caller owns the frames, and nobody needs their contents.
    pub(crate) unsafe fn give_back(&self, index: usize, pages: usize) -> io::Result<()> {
        let (start, bytes) = self.span(index, pages);
        match &self.memory {
            // SAFETY: the caller owns the frames and lets go of their contents.
            Memory::System(reservation) => unsafe { reservation.discard(index * PAGE_SIZE, bytes) },
            Memory::Heap(_) => {
                let was_poisoned = asan::is_poisoned(start, bytes);
                asan::unpoison(start, bytes);
                // SAFETY: `span` has checked the range, and the caller owns the frames.
                unsafe { start.write_bytes(0, bytes) };
                if was_poisoned {
                    asan::poison(start, bytes);
                }
                Ok(())
            }
        }
    }

    /// Makes pages resident, so that the first touch is not the one that pays. Contents stay.
    ///
    /// # Errors
    /// What the system says, when it has no memory for them.
    ///
    /// # Safety
    /// The caller owns the frames: where the system cannot populate, they are read and written.
    pub(crate) unsafe fn populate(&self, index: usize, pages: usize) -> io::Result<()> {
        let (start, bytes) = self.span(index, pages);
        let Memory::System(reservation) = &self.memory else {
            return Ok(());
        };
        match reservation.populate(index * PAGE_SIZE, bytes) {
            // The advice is as young as Linux 5.14.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // SAFETY: `span` has checked the range, and the caller owns the frames.
                unsafe { touch(start, pages) };
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Counts the pages that take memory now: a walk of the system's tables, for statistics and
    /// tests. On the heap every page counts.
    ///
    /// # Errors
    /// What the system says.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(crate) fn resident_pages(&self, index: usize, pages: usize) -> io::Result<usize> {
        let (_, bytes) = self.span(index, pages);
        match &self.memory {
            Memory::System(reservation) => reservation.resident(index * PAGE_SIZE, bytes),
            Memory::Heap(_) => Ok(pages),
        }
    }

    /// Fills pages with zeros.
    ///
    /// # Safety
    /// The caller owns the frames.
    #[inline]
    pub(crate) unsafe fn zero(&self, index: usize, pages: usize) {
        let (start, bytes) = self.span(index, pages);
        // SAFETY: `span` has checked the range, and the caller owns the frames.
        unsafe { start.write_bytes(0, bytes) };
    }

    /// Copies bytes out from `offset` bytes into page `index`, which somebody may be writing meanwhile, but
    /// nobody frees: see [`racing`]. Fills `dst`.
    ///
    /// # Panics
    /// If the bytes are not all in the arena; where AddressSanitizer was told what is free, also if they are.
    #[inline]
    pub(crate) fn copy_racing(&self, index: usize, offset: usize, dst: &mut [MaybeUninit<u8>]) {
        let start = index * PAGE_SIZE + offset;
        let bytes = self.pages * PAGE_SIZE;
        assert!(
            start <= bytes && dst.len() <= bytes - start,
            "A1: {} bytes at {start} of {bytes}",
            dst.len()
        );
        let src = self.base.map_addr(|base| base.saturating_add(start));
        asan_expect_open(src, dst.len());
        // SAFETY: the bytes lie in the arena, which stays mapped and readable (A3), and anonymous memory
        // is initialised.
        unsafe { racing::copy(src, dst) }
    }

    /// Copies bytes into page `index`, from `offset` bytes into it.
    ///
    /// # Safety
    /// The caller owns the frames.
    pub(crate) unsafe fn copy_in(&self, index: usize, offset: usize, src: &[u8]) {
        let pages = (offset + src.len()).div_ceil(PAGE_SIZE);
        let (start, _) = self.span(index, pages);
        // SAFETY: `span` has checked the range.
        let start = unsafe { start.add(offset) };
        // SAFETY: the caller owns the frames, so that `src`, a borrow, is not in them.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(src).cast(), src.len()) };
    }

    /// Copies `len` bytes, from `offset` bytes into page `from` on, to the same place of page `to`. Somebody
    /// may be writing to the former meanwhile: see [`racing`].
    ///
    /// # Safety
    /// The caller owns the frames that are copied to.
    pub(crate) unsafe fn copy_racing_to(&self, from: usize, to: usize, offset: usize, len: usize) {
        let (start, _) = self.span(to, (offset + len).div_ceil(PAGE_SIZE));
        // SAFETY: `span` has checked the range.
        let start = unsafe { start.add(offset) };
        asan_expect_open(start, len);
        // SAFETY: the caller owns these bytes, of which none is read before it was written.
        let dst = unsafe { slice::from_raw_parts_mut(start.as_ptr().cast(), len) };
        self.copy_racing(from, offset, dst);
    }

    /// Fills pages that are being freed with a pattern, for [`check_poison`](Self::check_poison).
    ///
    /// # Safety
    /// The caller owns the frames.
    pub(crate) unsafe fn poison(&self, index: usize, pages: usize) {
        // SAFETY: the caller owns the frames.
        poison::fill(unsafe { self.words_mut(index, pages) });
    }

    /// Checks that nobody has written to freed pages: each is the pattern throughout, or zero
    /// throughout, since a page that was [given back](Self::give_back) reads as zeros.
    ///
    /// # Errors
    /// The offset of the first byte that was written, from the start of page `index`.
    ///
    /// # Safety
    /// The caller owns the frames. Whoever wrote to them regardless is found if the write was over
    /// before the call.
    pub(crate) unsafe fn check_poison(&self, index: usize, pages: usize) -> Result<(), usize> {
        // SAFETY: the caller owns the frames.
        poison::check(unsafe { self.words_mut(index, pages) })
    }

    /// Tells AddressSanitizer that a touch of these pages is an error. Nothing in other builds.
    #[inline]
    pub(crate) fn asan_poison(&self, index: usize, pages: usize) {
        if cfg!(pagepool_asan) {
            let (start, bytes) = self.span(index, pages);
            asan::poison(start, bytes);
        }
    }

    /// Tells AddressSanitizer that these pages may be touched. Nothing in other builds.
    #[inline]
    pub(crate) fn asan_unpoison(&self, index: usize, pages: usize) {
        if cfg!(pagepool_asan) {
            let (start, bytes) = self.span(index, pages);
            asan::unpoison(start, bytes);
        }
    }

    /// The first of these pages of which AddressSanitizer was told otherwise: that a touch of it is an error,
    /// or is none. Nobody was told anything in other builds.
    pub(crate) fn asan_first_unlike(
        &self,
        index: usize,
        pages: usize,
        poisoned: bool,
    ) -> Option<usize> {
        if !cfg!(pagepool_asan) {
            return None;
        }
        let _ = self.span(index, pages);
        (index..index + pages).find(|page| {
            // All of a page is told at once.
            let bytes = if poisoned { 1 } else { PAGE_SIZE };
            asan::is_poisoned(self.ptr(*page), bytes) != poisoned
        })
    }

    /// The address and length in bytes of `pages` pages from `index`.
    ///
    /// # Panics
    /// If they are not all in the arena: what follows would corrupt memory.
    #[inline]
    #[track_caller]
    fn span(&self, index: usize, pages: usize) -> (NonNull<u8>, usize) {
        assert!(
            index <= self.pages && pages <= self.pages - index,
            "A1: pages {index}+{pages} of {}",
            self.pages
        );
        (
            self.base
                .map_addr(|base| base.saturating_add(index * PAGE_SIZE)),
            pages * PAGE_SIZE,
        )
    }

    /// The contents of pages as words.
    ///
    /// # Safety
    /// The caller owns the frames as long as the words are borrowed.
    #[expect(
        clippy::mut_from_ref,
        reason = "ownership of frames is tracked by the caller"
    )]
    unsafe fn words_mut(&self, index: usize, pages: usize) -> &mut [u64] {
        let (start, bytes) = self.span(index, pages);
        // SAFETY: (1) `span` has checked the range; (2) pages are aligned beyond a word (A1);
        // (3) anonymous memory is initialised: zero, or what was written; (4) the caller owns the
        // frames, so nobody else accesses them.
        unsafe { slice::from_raw_parts_mut(start.cast().as_ptr(), bytes / size_of::<u64>()) }
    }
}

/// Applies the options to a reservation: bind first, since locking populates.
fn place(
    reservation: &Reservation,
    pages: usize,
    options: &ArenaOptions,
) -> Result<(), BuildError> {
    let cannot = |what| move |source| BuildError::Place { what, source };

    if let Some(node) = options.host_node {
        reservation
            .prefer_node(node)
            .map_err(cannot("place an arena on a host node"))?;
    }
    match options.huge_pages {
        HugePages::AsHost | HugePages::WhenWhole => {}
        HugePages::Always => reservation
            .advise(libc::MADV_HUGEPAGE)
            .or_else(unless_absent)
            .map_err(cannot("ask for huge pages"))?,
        HugePages::Never => reservation
            .advise(libc::MADV_NOHUGEPAGE)
            .or_else(unless_absent)
            .map_err(cannot("do without huge pages"))?,
    }
    if let Some(locked) = &options.locked {
        assert!(
            locked.start <= locked.end && locked.end <= pages,
            "locked pages {locked:?} of {pages}"
        );
        reservation
            .lock(locked.start * PAGE_SIZE, locked.len() * PAGE_SIZE)
            .map_err(cannot(
                "lock pages in memory (`ulimit -l` says how many may be)",
            ))?;
    }
    Ok(())
}

/// Passes an error on unless it says that the kernel was built without huge pages: then there is
/// nothing to want or to avoid.
fn unless_absent(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

/// Bytes that are copied where AddressSanitizer does not look: it is asked before.
#[track_caller]
fn asan_expect_open(start: NonNull<u8>, bytes: usize) {
    if cfg!(pagepool_asan) {
        assert!(
            !asan::is_poisoned(start, bytes),
            "a copy from or to free pages"
        );
    }
}

/// Writes to each page what it reads there.
///
/// # Safety
/// `start` is the first of `pages` mapped pages that nobody else accesses meanwhile.
unsafe fn touch(start: NonNull<u8>, pages: usize) {
    for index in 0..pages {
        // SAFETY: `index` is below `pages`, so the page is mapped.
        let page = unsafe { start.add(index * PAGE_SIZE) };
        // SAFETY: the page is mapped and nobody else accesses it.
        let byte = unsafe { page.read_volatile() };
        // SAFETY: as for the read. Volatile, so that the write of what is there already remains.
        unsafe { page.write_volatile(byte) };
    }
}
