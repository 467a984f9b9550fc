//! What a user of a store has in hand: a staging buffer, then a transfer under way, then what came of it.

#![forbid(unsafe_code)]

use std::sync::Arc;

#[cfg(test)]
use super::ops::Stage;
use super::shared::Shared;
use crate::backing::buffer::Buffer;
use crate::backing::counters::Counter;
use crate::backing::outcome::{Outcome, StoreError};
use crate::sync::clock::{self, Instant};
use crate::types::PAGE_SIZE;

/// A staging buffer in somebody's hands; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct IoBuf {
    pub(super) shared: Arc<Shared>,
    pub(super) op: usize,
    /// None only while it is being passed on.
    pub(super) buffer: Option<Buffer>,
}

impl IoBuf {
    /// Takes the buffer out of the hands of whoever has this, to be passed on with its op.
    pub(in crate::backing) fn into_parts(mut self) -> (usize, Buffer) {
        let buffer = self.buffer.take();
        (self.op, buffer.expect("a buffer in hand has its memory"))
    }

    pub(in crate::backing) fn buffer_mut(&mut self) -> &mut Buffer {
        let buffer = self.buffer.as_mut();
        buffer.expect("a buffer in hand has its memory")
    }

    fn buffer(&self) -> &Buffer {
        self.buffer
            .as_ref()
            .expect("a buffer in hand has its memory")
    }

    /// All bytes, those of [`IO_PAGES`](crate::backing::IO_PAGES) pages.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer().bytes()
    }

    /// All bytes, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer_mut().bytes_mut()
    }

    /// The bytes of `nr` pages from page `first` of the buffer on.
    pub(crate) fn pages(&self, first: usize, nr: usize) -> &[u8] {
        &self.bytes()[first * PAGE_SIZE..(first + nr) * PAGE_SIZE]
    }

    /// The same, to be filled.
    pub(crate) fn pages_mut(&mut self, first: usize, nr: usize) -> &mut [u8] {
        &mut self.bytes_mut()[first * PAGE_SIZE..(first + nr) * PAGE_SIZE]
    }
}

impl Drop for IoBuf {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.shared.give_back(self.op, buffer);
        }
    }
}

/// A transfer under way; dropping it abandons it. The buffer stays with the transfer until that ends.
#[must_use = "a transfer that is dropped is abandoned"]
#[derive(Debug)]
pub(crate) struct InFlight {
    /// None once it has ended.
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) op: usize,
    /// When it was asked for.
    pub(super) since: Instant,
}

/// A transfer that has ended, with its buffer.
#[derive(Debug)]
pub(crate) struct Completed {
    /// The buffer: what was read, or what was written.
    pub(crate) buf: IoBuf,
    /// Which of its pages were transferred.
    pub(crate) outcome: Outcome,
}

impl InFlight {
    /// Whether the transfer has ended: then [`wait`](Self::wait) does not sleep.
    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.shared().state.lock();
        matches!(state.ops[self.op].stage, Stage::Done(_))
    }

    fn shared(&self) -> &Arc<Shared> {
        self.shared
            .as_ref()
            .expect("a transfer in hand was not waited for")
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`StoreError::Stalled`] or [`StoreError::Late`] if that did not come before the deadline: the transfer is
    /// abandoned.
    pub(crate) fn wait(mut self, deadline: Option<Instant>) -> Result<Completed, StoreError> {
        let shared = self.shared();
        let mut done = None;
        loop {
            let look = shared.next_look(deadline);
            let take = || {
                done = shared.take_done(self.op);
                done.is_some()
            };
            if shared.ended[self.op].wait_until(look, take) {
                break;
            }
            if deadline.is_some_and(|deadline| clock::now() >= deadline) {
                return Err(shared.gave_up(self.since)); // and dropped: abandoned
            }
            Shared::see_to_workers(shared);
        }

        let (buffer, outcome) = done.expect("it has ended");
        let shared = self.shared.take().expect("it was there just now");
        let buf = IoBuf {
            shared,
            op: self.op,
            buffer: Some(buffer),
        };
        Ok(Completed { buf, outcome })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.counters.add(Counter::Abandoned, 1);
            shared.abandon(self.op);
        }
    }
}
