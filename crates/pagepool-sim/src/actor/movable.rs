//! Blocks that their owner is asked to move: each has its own address in its first word.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use pagepool::{Gfp, Immovable, MovableBlock, MovableOwner, MoveOutcome, Order, Relocation};

use super::Actor;
use crate::shadow::{self, Shadow};

/// Who owns the movable blocks of an actor. Now and then it refuses.
#[derive(Default)]
pub(crate) struct Owner {
    calls: AtomicU64,
    /// Blocks that it consented to have moved, and was not given back.
    isolated: AtomicI64,
}

impl Owner {
    // Relaxed, as all here: the tasks of a simulation share one real thread.
    fn is_willing(&self) -> bool {
        !(self.calls.fetch_add(1, Relaxed) + 1).is_multiple_of(5)
    }

    /// Panics unless each call that it consented to was followed by one that gave the block back.
    pub(crate) fn assert_whole(&self) {
        let isolated = self.isolated.load(Relaxed);
        assert_eq!(isolated, 0, "blocks that their owner was not given back");
    }
}

impl MovableOwner for Owner {
    fn isolate(&self, _key: u64) -> bool {
        let is_willing = self.is_willing();
        self.isolated.fetch_add(i64::from(is_willing), Relaxed);
        is_willing
    }

    fn migrate(&self, _key: u64, relocation: &mut Relocation<'_>) -> Result<(), Immovable> {
        let (from, to) = (relocation.from_addr(), relocation.to_addr());
        if !self.is_willing() {
            return Err(Immovable);
        }
        let (word, _) = relocation
            .bytes()
            .split_first_chunk_mut()
            .ok_or(Immovable)?;
        // It may have been written to meanwhile, and is then not moved.
        if usize::from_le_bytes(*word) == from {
            *word = to.to_le_bytes();
        }
        Ok(())
    }

    fn put_back(&self, _key: u64, _outcome: MoveOutcome) {
        self.isolated.fetch_sub(1, Relaxed);
    }
}

impl Actor {
    pub(super) fn movable(&mut self, order: u8, group: u8) {
        let Ok(order) = Order::new(order) else { return };
        let owner = Arc::clone(&self.scene.owners[self.number]);
        let fill = self.next_fill();
        let made = self
            .group(group)
            .alloc_movable(order, Gfp::KERNEL, owner, fill);
        match made {
            Ok(block) => {
                self.movables.push((block, Shadow::Zeros));
                self.refill(self.movables.len() - 1);
            }
            Err(error) => self.note_refusal(error),
        }
    }

    /// Compares a block with its shadow, and fills it anew or frees it.
    pub(super) fn moved(&mut self, which: u16, frees: bool) {
        if self.movables.is_empty() {
            return;
        }
        let index = usize::from(which) % self.movables.len();
        let (block, shadow) = &self.movables[index];
        match block.read() {
            Ok(bytes) => compare_bytes(&bytes, *shadow),
            Err(error) => self.note_access(error),
        }
        if frees {
            drop(self.movables.swap_remove(index));
        } else {
            self.refill(index);
        }
    }

    fn refill(&mut self, index: usize) {
        let fill = self.next_fill();
        let (block, shadow) = &mut self.movables[index];
        let written = block.write().map(|mut bytes| {
            shadow::fill(&mut bytes, fill);
            let address = bytes.as_ptr().addr();
            bytes[..8].copy_from_slice(&address.to_le_bytes());
            *shadow = Shadow::Filled(fill);
        });
        if let Err(error) = written {
            self.note_access(error);
        }
    }
}

/// Compares a block unless it is about to be moved.
pub(super) fn compare(block: &MovableBlock, shadow: Shadow) {
    if let Ok(bytes) = block.read() {
        compare_bytes(&bytes, shadow);
    }
}

/// Panics unless the block knows where it is, and all after that is as it ought to be.
fn compare_bytes(bytes: &[u8], shadow: Shadow) {
    let mut copy = bytes.to_vec();
    if let Shadow::Filled(fill) = shadow {
        let place = bytes.as_ptr().addr().to_le_bytes();
        assert_eq!(copy[..8], place, "a movable block knows where it is");
        copy[..8].copy_from_slice(&shadow::first_word(fill));
    }
    shadow::compare("a movable block", &copy, shadow, 0);
}
