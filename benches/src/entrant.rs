//! Who takes part in a work: every subject, its type erased, with what its lanes share and its account.
//!
//! **Invariants**
//! - H2: after a work, a subject that counts has counted exactly the pages the lanes asked for, and has
//!   all of them back. One that also has its own use for pages has counted at least as many.

#![forbid(unsafe_code)]

use crate::Failure;
use crate::harness::{Round, Seat, Work};
use crate::meet::Meet;
use crate::subject::{
    Alone, BuddyAlloc, BuddySystem, CLibrary, Events, Heap, InArena, Jemalloc, Keeper, Locked,
    Mimalloc, Null, OffsetAllocator, Rlsf, Rpmalloc, Subject, Talc,
};
use crate::tally::Tally;

/// A subject entered for a work: one virtual call per round.
pub(crate) trait Entrant: Sync {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Sets a lane up and returns its round.
    fn lane<'a>(&'a self, lane: usize, meet: &'a Meet) -> Round<'a>;

    /// Checks H2, all lanes being done.
    fn check(&self) -> Result<(), Failure>;

    /// What the lanes asked for.
    fn tally(&self) -> &Tally;

    /// What else there is to say about its figures.
    fn remark(&self) -> Option<String>;
}

/// Threads beyond which allocators that stand behind a mutex take no part: it is the mutex that would be timed then,
/// and with 16 threads for minutes.
pub(crate) const MOST_LOCKED: usize = 2;

/// Everyone who takes part in a work.
pub(crate) type Entrants<'w> = Vec<Box<dyn Entrant + 'w>>;

/// Enters all subjects for `work`, pagepool as the subject `P`.
pub(crate) fn enter_all<P: Subject, W: Work>(work: &W) -> Result<Entrants<'_>, Failure> {
    let mut entrants: Entrants<'_> = vec![
        enter::<Null, W>(work)?,
        enter::<P, W>(work)?,
        enter::<Heap<Jemalloc>, W>(work)?,
        enter::<Heap<Mimalloc>, W>(work)?,
        enter::<Heap<Rpmalloc>, W>(work)?,
        enter::<Heap<CLibrary>, W>(work)?,
    ];
    entrants.append(&mut match work.users() {
        0 | 1 => enter_arenas::<Alone, W>(work)?,
        MOST_LOCKED => enter_arenas::<Locked, W>(work)?,
        _ => Entrants::new(),
    });
    Ok(entrants)
}

/// Enters the allocators that one thread at a time may use.
fn enter_arenas<K: Keeper, W: Work>(work: &W) -> Result<Entrants<'_>, Failure> {
    Ok(vec![
        enter::<InArena<OffsetAllocator, K>, W>(work)?,
        enter::<InArena<BuddySystem, K>, W>(work)?,
        enter::<InArena<BuddyAlloc, K>, W>(work)?,
        enter::<InArena<Talc, K>, W>(work)?,
        enter::<InArena<Rlsf, K>, W>(work)?,
    ])
}

struct Entered<'w, S: Subject, W: Work> {
    work: &'w W,
    subject: S,
    shared: W::Shared<S>,
    before: Option<Events>,
    tally: Tally,
}

fn enter<S: Subject, W: Work>(work: &W) -> Result<Box<dyn Entrant + '_>, Failure> {
    let subject = S::open(work.memory()).map_err(|why| {
        let bytes = work.memory();
        let rows = work.rows().join(", ");
        Failure::broken(format!(
            "{} cannot be opened with {bytes} bytes for {rows}: {why}",
            S::NAME
        ))
    })?;
    Ok(Box::new(Entered {
        work,
        shared: work.share::<S>(),
        before: subject.events(),
        subject,
        tally: Tally::default(),
    }))
}

impl<S: Subject, W: Work> Entrant for Entered<'_, S, W> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn lane<'a>(&'a self, lane: usize, meet: &'a Meet) -> Round<'a> {
        self.work.lane(Seat {
            subject: &self.subject,
            shared: &self.shared,
            lane,
            meet,
            tally: &self.tally,
        })
    }

    fn check(&self) -> Result<(), Failure> {
        let wrong = |what: String| {
            let rows = self.work.rows().join(", ");
            Failure::broken(format!("{} in {rows}: {what}", S::NAME))
        };
        self.subject.check().map_err(wrong)?;
        let (Some(before), Some(after)) = (self.before, self.subject.events()) else {
            return Ok(());
        };
        let asked = self.tally.total().pages;
        let counted = Events {
            allocated: after.allocated - before.allocated,
            freed: after.freed - before.freed,
        };
        let is_right = if S::HAS_OWN_USE {
            counted.allocated >= asked && counted.freed >= asked
        } else {
            counted.allocated == asked && counted.freed == asked
        };
        if !is_right {
            return Err(wrong(format!(
                "{asked} pages were allocated and freed, but it counted {} and {}",
                counted.allocated, counted.freed
            )));
        }
        Ok(())
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn remark(&self) -> Option<String> {
        self.subject.remark()
    }
}
