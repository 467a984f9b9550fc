//! Reading a file without a thread in between: a small io_uring for each buffer.
//!
//! *Kernel counterpart:* none; there, who faults submits the read itself (`swap_readpage`, v5.0), which
//! is what this comes to.
//!
//! A ring carries one read at a time, into the buffer that it belongs to, and one thread at a time owns
//! the two. So a completion needs no routing: who owns the ring submits and waits in one system call,
//! and with a deadline.
//!
//! **Invariants**
//! - U1: between [`Flight::prepare`] and its landing, nobody but the kernel touches the buffer's bytes:
//!   the [`Flight`] owns the buffer and lends it to nobody.
//! - U2: a ring has at most one entry, submitted or not: only a flight puts one in, and only for a ring
//!   that it then owns until that one has ended or never began.
//! - U3: a buffer's memory outlives what the kernel may write to it. The ring, which knows the memory, is
//!   dropped before it; and if a read is still under way then, the memory is never given back.
//!
//! Not here: what is done about a read that failed, or that nobody waits for any more (`bypass`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use super::buffer::Buffer;
use crate::sync::clock::{self, Instant};
use crate::sync::thread;
use crate::types::PAGE_SIZE;

/// Entries of a ring: one read.
const ENTRIES: u32 = 1;

/// How long to wait before the kernel is asked again that could not say how a read is coming along.
const PAUSE: Duration = Duration::from_millis(1);

/// A ring, for reading one file into one buffer.
pub(super) struct Ring {
    uring: IoUring,
    /// Whether the kernel keeps the buffer's pages at hand, which saves it a look-up for each read.
    is_buffer_known: bool,
}

impl Ring {
    /// Whether the system lets this process have rings. Many containers do not; models and interpreters
    /// know nothing of them.
    pub(super) fn is_available() -> bool {
        !cfg!(any(loom, shuttle, miri)) && Ring::new().is_ok()
    }

    fn new() -> io::Result<Ring> {
        let mut builder = IoUring::builder();
        // A child that was forked must not see the ring: the two would take each other's entries.
        builder.dontfork();
        // Nobody needs to be interrupted for a completion: who submitted sleeps for it, or will enter the
        // system for another reason. Saves one or two in a hundred of a read. Linux before 5.19 does without.
        let cooperative = builder.clone().setup_coop_taskrun().build(ENTRIES);
        let uring = cooperative.or_else(|_| builder.build(ENTRIES))?;
        if !uring.params().is_feature_ext_arg() {
            // Linux before 5.11, which cannot wait with a deadline.
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Ring {
            uring,
            is_buffer_known: false,
        })
    }

    /// Makes a ring for the buffer whose memory is `bytes`. It is the buffer's part, and dropped with it.
    pub(super) fn for_buffer(file: &File, bytes: &mut [u8]) -> io::Result<Ring> {
        let mut ring = Ring::new()?;
        let submitter = ring.uring.submitter();
        submitter.register_files(&[file.as_raw_fd()])?;
        let iovec = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: the memory is the buffer's that the ring is a part of, and outlives it (U3).
        let known = unsafe { submitter.register_buffers(&[iovec]) };
        // Not where the limit on locked memory is too low. That costs a microsecond, and no more.
        ring.is_buffer_known = known.is_ok();
        Ok(ring)
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> squeue::Entry {
        const FILE: Fixed = Fixed(0);
        const BUFFER: u16 = 0;
        let (start, len) = (bytes.as_mut_ptr(), bytes.len() as u32);
        if self.is_buffer_known {
            opcode::ReadFixed::new(FILE, start, len, BUFFER)
                .offset(offset)
                .build()
        } else {
            opcode::Read::new(FILE, start, len).offset(offset).build()
        }
    }

    /// Submits what is not submitted yet, and waits for its end, or for the deadline.
    fn enter(&self, deadline: Option<Instant>) -> io::Result<()> {
        let submitter = self.uring.submitter();
        let Some(deadline) = deadline else {
            return submitter.submit_and_wait(1).map(drop);
        };
        let left = Timespec::from(deadline.saturating_duration_since(clock::now()));
        let args = SubmitArgs::new().timespec(&left);
        submitter.submit_with_args(1, &args).map(drop)
    }

    /// What came of the read, if it has ended: a number of bytes, or an error below zero.
    fn take_result(&mut self) -> Option<i32> {
        Some(self.uring.completion().next()?.result())
    }

    /// Whether the kernel has not taken the read yet.
    fn is_unsubmitted(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("fd", &self.uring.as_raw_fd())
            .field("is_buffer_known", &self.is_buffer_known)
            .finish()
    }
}

/// A read that has ended.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) buffer: Buffer,
    /// Whether all of the bytes came that were asked for.
    pub(super) is_whole: bool,
}

/// A read into a buffer that has a ring, and the buffer.
#[derive(Debug)]
pub(super) struct Flight {
    /// None only once it has landed.
    buffer: Option<Buffer>,
    len: usize,
}

impl Flight {
    /// Prepares to fill the first `nr` pages of a buffer with a file's from its page `page` on. Nothing
    /// happens before somebody waits.
    ///
    /// # Panics
    /// If the buffer has no ring.
    pub(super) fn prepare(mut buffer: Buffer, page: u64, nr: usize) -> Flight {
        let len = nr * PAGE_SIZE;
        let mut ring = buffer.ring.take().expect("who reads by a ring has one");
        let read = ring.read(&mut buffer.bytes_mut()[..len], page * PAGE_SIZE as u64);
        // SAFETY: the bytes stay valid and nobody else's until the read has ended (U1, U3), and the file
        // is the ring's own.
        let pushed = unsafe { ring.uring.submission().push(&read) };
        pushed.expect("U2: the ring has room for the only entry");
        buffer.ring = Some(ring);
        Flight {
            buffer: Some(buffer),
            len,
        }
    }

    /// Waits for the read's end; gives the flight back if that did not come before the deadline. Without
    /// one, it comes.
    pub(super) fn wait(mut self, deadline: Option<Instant>) -> Result<Landed, Flight> {
        loop {
            let entered = self.ring().enter(deadline);
            if let Some(result) = self.ring().take_result() {
                return Ok(self.land(usize::try_from(result).ok()));
            }
            match entered.map_err(|error| error.raw_os_error()) {
                Ok(()) | Err(Some(libc::EINTR | libc::ETIME)) => {}
                Err(_) if self.ring().is_unsubmitted() => return Ok(self.call_off()),
                Err(_) => thread::sleep(PAUSE),
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Err(self);
            }
        }
    }

    fn ring(&mut self) -> &mut Ring {
        let ring = self.buffer.as_mut().and_then(|buffer| buffer.ring.as_mut());
        ring.expect("a flight that has not landed has its buffer and its ring")
    }

    fn land(&mut self, nr_read: Option<usize>) -> Landed {
        let buffer = self.buffer.take();
        Landed {
            buffer: buffer.expect("a flight lands once"),
            is_whole: nr_read == Some(self.len),
        }
    }

    /// Takes back what the kernel did not take, for want of memory: the entry goes with its ring (U2).
    #[cold]
    fn call_off(&mut self) -> Landed {
        let mut landed = self.land(None);
        landed.buffer.ring = None;
        landed
    }
}

impl Drop for Flight {
    /// The kernel may write to the memory until the device answers. It is leaked (U3).
    fn drop(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            buffer.ring = None;
            std::mem::forget(buffer);
        }
    }
}
