//! The blocks of a subject that follows a [`Script`].

#![forbid(unsafe_code)]

use std::hint::black_box;

use super::script::{Script, Step};
use crate::harness::Seat;
use crate::subject::Subject;
use crate::tally::Answers;

/// What is done around each allocation.
pub(super) trait Watch {
    /// Does it, with whatever the figures need before and after.
    fn allocation<R>(&mut self, allocate: impl FnOnce() -> R) -> R;
}

/// Nothing: the work is timed as a whole.
#[derive(Debug)]
pub(super) struct Unwatched;

impl Watch for Unwatched {
    #[inline]
    fn allocation<R>(&mut self, allocate: impl FnOnce() -> R) -> R {
        allocate()
    }
}

/// The live blocks of one subject. A refused block leaves its slot empty.
pub(super) struct Live<'a, S: Subject, T> {
    pub(super) seat: Seat<'a, S, T>,
    script: Script,
    /// The steps that are next.
    steps: Vec<Step>,
    blocks: Vec<Option<S::Block>>,
}

impl<'a, S: Subject, T> Live<'a, S, T> {
    /// Fills a memory of `pages` pages to the lower mark, and touches it.
    pub(super) fn fill(seat: Seat<'a, S, T>, pages: usize) -> Live<'a, S, T> {
        let mut live = Live {
            seat,
            script: Script::new(pages),
            steps: Vec::new(),
            blocks: Vec::new(),
        };
        while live.script.percent_in_use() < 70 {
            live.prepare(1);
            let answers = live.follow(&mut Unwatched);
            live.seat.tally.add(answers);
        }
        for block in live.blocks.iter_mut().flatten() {
            live.seat.subject.touch(block);
        }
        live
    }

    /// Writes the next `count` steps, and makes room for their blocks.
    pub(super) fn prepare(&mut self, count: usize) {
        self.script.write(count, &mut self.steps);
        let slots = self.script.slots().max(self.blocks.len());
        self.blocks.resize_with(slots, || None);
    }

    /// Does the steps, and returns what came of the allocations among them.
    pub(super) fn follow(&mut self, watch: &mut impl Watch) -> Answers {
        let mut answers = Answers::default();
        for &step in &self.steps {
            match step {
                Step::Alloc { slot, order } => {
                    let subject = self.seat.subject;
                    let block = watch.allocation(|| subject.alloc(order));
                    // By reference, as in `pair`.
                    black_box(&block);
                    answers.add(order, block.is_some());
                    self.blocks[slot as usize] = block;
                }
                Step::Free { slot } => {
                    if let Some(block) = self.blocks[slot as usize].take() {
                        self.seat.subject.free(block);
                    }
                }
            }
        }
        answers
    }
}

impl<S: Subject, T> Drop for Live<'_, S, T> {
    fn drop(&mut self) {
        for block in self.blocks.drain(..).flatten() {
            self.seat.subject.free(block);
        }
    }
}
