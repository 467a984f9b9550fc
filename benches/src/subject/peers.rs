//! The peers, and how each is told to keep idle memory.
//!
//! A pool keeps its memory and the works use the same memory round after round, so a peer that
//! returns it to the system in between would be measured by its page faults. The C library can be
//! told in part only: the arenas of further threads still unmap what falls empty. Nor can rpmalloc be
//! told for blocks of 4 MiB, which it maps and unmaps each time.

use std::alloc::{GlobalAlloc, System};

pub(crate) use mimalloc::MiMalloc as Mimalloc;
pub(crate) use rpmalloc::RpMalloc as Rpmalloc;
pub(crate) use tikv_jemallocator::Jemalloc;

/// A general allocator and the name it has in the table.
pub(crate) trait Peer: GlobalAlloc + Sync + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// The allocator. It is an object here, not the process's allocator.
    const INSTANCE: Self;

    /// Tells the allocator not to give idle memory back to the system.
    fn keep_idle_memory();
}

/// The C library's `malloc`.
pub(crate) type CLibrary = System;

/// jemalloc reads its options before `main`: neither kind of idle page ever decays.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub(crate) static JEMALLOC_OPTIONS: &[u8; 36] = b"dirty_decay_ms:-1,muzzy_decay_ms:-1\0";

impl Peer for Jemalloc {
    const NAME: &'static str = "jemalloc";
    const INSTANCE: Jemalloc = Jemalloc;

    fn keep_idle_memory() {}
}

impl Peer for Mimalloc {
    const NAME: &'static str = "mimalloc";
    const INSTANCE: Mimalloc = Mimalloc;

    fn keep_idle_memory() {
        /// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
        const PURGE_DELAY: libmimalloc_sys::mi_option_t =
            libmimalloc_sys::mi_option_use_numa_nodes - 1;
        const NEVER: libc::c_long = -1;
        // SAFETY: (1) the option exists; (2) no other thread is setting or reading options: subjects
        // are opened on the main thread, before the lanes start and after the last have ended.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, NEVER) };
    }
}

/// Built with `unlimited_cache`: nothing below 4 MiB is unmapped.
impl Peer for Rpmalloc {
    const NAME: &'static str = "rpmalloc";
    const INSTANCE: Rpmalloc = Rpmalloc;

    fn keep_idle_memory() {}
}

impl Peer for CLibrary {
    const NAME: &'static str = "libc";
    const INSTANCE: CLibrary = System;

    #[cfg(target_env = "gnu")]
    fn keep_idle_memory() {
        // The largest threshold glibc takes: blocks below it come from the heap.
        const MMAP_THRESHOLD: libc::c_int = 32 << 20;
        // SAFETY: takes two integers, and locks what it changes.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD) };
        // SAFETY: likewise.
        unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) };
    }

    #[cfg(not(target_env = "gnu"))]
    fn keep_idle_memory() {}
}
