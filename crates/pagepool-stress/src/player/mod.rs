//! Players: each plays a load against the pool on a thread of its own, and verifies it.
#![forbid(unsafe_code)]

mod access; // the bytes of folios, and what goes wrong on the way to them
pub(crate) mod arrivals; // asks when a schedule says so
pub(crate) mod bag; // a bounded collection of held blocks
pub(crate) mod blocks; // replays a trace of blocks
pub(crate) mod cache; // replays a trace of references
pub(crate) mod churn; // frees and allocates blocks of one order
pub(crate) mod fragment; // breaks free memory into pieces, and takes large blocks
mod kept; // folios whose contents follow from the order of their birth
mod live; // all of a kind of memory that is held
pub(crate) mod machine; // replays a kernel's blocks, the movable ones as folios
pub(crate) mod member; // touches the folios of a group
pub(crate) mod mixed; // every kind of request at random
pub(crate) mod recorded; // plays a recording of a pool
pub(crate) mod residence; // replays a trace of references with folios
pub(crate) mod paging; // touches more folios than there is memory
pub(crate) mod turn; // for a time, whatever it does
mod turnover; // what comes and goes next, of two kinds
pub(crate) mod two_kinds; // movable and unmovable memory side by side

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pagepool::{Gfp, Order, PagePool, Pages};

use crate::{
    content::{Depth, Held, check_zeroed},
    control::Control,
    posts::Place,
    tally::{Tally, record},
};

/// Where players meet: the pool they play against, and the word when to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) pool: PagePool,
    pub(crate) control: Arc<Control>,
    /// The thread's number, whose post is `control`'s.
    pub(crate) worker: usize,
}

impl Stage {
    /// Says where the thread stands.
    #[inline]
    fn stand(&self, place: Place) {
        self.control.posts().stand(self.worker, place);
    }

    /// Counts a step of the thread.
    #[inline]
    fn step(&self) {
        self.control.posts().step(self.worker);
    }
}

/// How playing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Played {
    /// There is more to play.
    Paused,
    /// The load is played to its end.
    Finished,
    /// The time is up.
    Stopped,
}

/// A load against a pool.
///
/// The conductor calls `play` until all players are finished, looks at the pool, calls `release`,
/// and begins the next round with `rewind`. Between calls the player does nothing, so that the
/// pool is quiescent.
pub(crate) trait Player: Send {
    /// Plays up to `events` events.
    fn play(&mut self, stage: &Stage, events: u64) -> Played;

    /// Verifies and frees all that is held.
    fn release(&mut self, stage: &Stage);

    /// Goes back to the beginning, with other contents.
    fn rewind(&mut self);

    /// What was counted.
    fn tally(&self) -> &Tally;
}

/// One allocation to make.
#[derive(Clone, Copy, Debug)]
struct Wish {
    order: Order,
    gfp: Gfp,
    /// How long a blocking request may wait.
    deadline: Duration,
    depth: Depth,
}

impl Tally {
    /// Allocates a zeroed block, timing the pool's part.
    ///
    /// A request with [`Gfp::ZERO`] is zeroed by the pool. Whatever is verified in full is also
    /// looked at on arrival.
    fn allocate(&mut self, pool: &PagePool, wish: Wish) -> Option<Pages> {
        let Wish {
            order,
            gfp,
            deadline,
            depth,
        } = wish;
        let request = pool.request(order, gfp).deadline(deadline);
        let begin = Instant::now();
        let pages = match gfp.contains(Gfp::ZERO) {
            true => {
                let pages = request.alloc();
                record(&mut self.alloc_ns, begin);
                pages
            }
            false => {
                let pages = request.alloc_uninit();
                record(&mut self.alloc_ns, begin);
                pages.map(pagepool::PagesUninit::zeroed)
            }
        };
        match pages {
            Ok(pages) => {
                self.arrived(&pages, order, depth);
                Some(pages)
            }
            Err(error) => {
                self.refused(error);
                None
            }
        }
    }

    fn arrived(&mut self, pages: &Pages, order: Order, depth: Depth) {
        self.ops += 1;
        self.nr_allocs += 1;
        if pages.order() != order {
            self.violations.add(format_args!(
                "{}: a block of order {} for a request of order {order}",
                pages.pfn(),
                pages.order()
            ));
        }
        if depth == Depth::Full {
            self.verified(check_zeroed(pages));
        }
    }

    /// Verifies the whole of a block and frees it, timing the pool's part.
    fn check_and_free(&mut self, held: Held, depth: Depth) {
        self.verified(held.check(depth));
        let pages = held.into_pages();
        let begin = Instant::now();
        drop(pages);
        record(&mut self.free_ns, begin);
        self.ops += 1;
        self.nr_frees += 1;
    }
}
