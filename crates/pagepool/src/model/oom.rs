//! The desk where the pool's owner is asked for memory, with a handler that only counts.

use std::sync::Arc;

use crate::backing::{PoolTag, Spawn};
use crate::error::AllocError;
use crate::oom::{OomAnswer, OomDesk, OutOfMemory};
use crate::sync::{atomic, thread};
use crate::types::{GroupId, Order};

/// Calls of the handler.
#[derive(Debug, Default)]
struct Calls {
    nr_inside: atomic::AtomicUsize,
    nr: atomic::AtomicUsize,
}

impl Calls {
    /// The handler.
    fn answer(&self, answer: OomAnswer) -> OomAnswer {
        let inside = self.nr_inside.fetch_add(1, atomic::Ordering::Relaxed);
        assert_eq!(inside, 0, "O1: one call at a time");
        self.nr.fetch_add(1, atomic::Ordering::Relaxed);
        self.nr_inside.fetch_sub(1, atomic::Ordering::Relaxed);
        answer
    }
}

/// A desk whose worker starts when it is first needed, if the system has threads.
#[derive(Debug)]
pub struct Desk {
    desk: OomDesk,
    calls: Arc<Calls>,
}

impl Desk {
    /// Returns a desk with a handler that always gives something up, or never.
    #[must_use]
    pub fn new(has_threads: bool, gives_up: bool) -> Desk {
        let calls = Arc::new(Calls::default());
        let spawn: Spawn = if has_threads {
            |name, work| thread::spawn(name, work)
        } else {
            |_, _| Err(std::io::ErrorKind::WouldBlock.into())
        };
        let desk = OomDesk::new(PoolTag::of(&*calls), spawn);
        let counted = Arc::clone(&calls);
        let answer = if gives_up {
            OomAnswer::Released
        } else {
            OomAnswer::Declined
        };
        desk.set_handler(Some(Arc::new(move |_: &OutOfMemory| {
            counted.answer(answer)
        })));
        Desk { desk, calls }
    }

    /// Has the owner called, and waits for the answer, however long it takes; returns whether memory was
    /// given up.
    #[must_use]
    pub fn ask(&self) -> bool {
        let root = GroupId::ROOT;
        let situation = || {
            let cause = AllocError::BelowMin;
            OutOfMemory::new(cause, Order::ZERO, root, root, std::iter::empty(), 1)
        };
        self.desk.ask(root, situation, None)
    }

    /// Calls that there were.
    pub fn nr_calls(&self) -> usize {
        self.calls.nr.load(atomic::Ordering::Relaxed)
    }

    /// How often somebody who asked slept until a call had ended.
    pub fn nr_waits(&self) -> u32 {
        self.desk.nr_waits()
    }
}
