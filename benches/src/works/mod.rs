//! The works: one question to a file, stated in its first line with what we expect.

mod bulk;
mod busy;
mod charge;
mod compact_move;
mod compact_oracle;
mod compact_reader;
mod companion;
mod fault_in;
mod first_touch;
mod folio_optimistic;
mod folio_pin;
pub(crate) mod handover;
pub(crate) mod held;
mod live;
mod mixed;
mod move_huge;
pub(crate) mod open;
pub(crate) mod pair;
mod pieces;
mod recorded;
mod scratch;
mod script;
mod swap_out;
mod wake;

use std::time::{Duration, Instant};

pub(crate) use scratch::at_share;

use pagepool::{Folio, Gfp, Order, PagePool};

use crate::Failure;
use crate::harness::measure;
use crate::machine::cpu_time;
use crate::plan::Plan;
use crate::report::Outcome;

/// A work in the table.
pub(crate) struct Entry {
    /// A short name, for the progress line.
    pub(crate) name: &'static str,
    /// What is done, for a reader of the table.
    pub(crate) title: &'static str,
    /// The names of its rows.
    pub(crate) rows: &'static [&'static str],
    /// Runs it with all subjects.
    pub(crate) run: fn(&Plan) -> Result<Outcome, Failure>,
}

/// All works, in the order of the table.
pub(crate) const ALL: &[Entry] = &[
    Entry {
        name: "pair, 1 thread",
        title: "Allocate one page and free it, 1 thread: ns per pair",
        rows: pair::ONE_PAGE,
        run: |plan| measure(&pair::one_page(plan, 1), plan),
    },
    Entry {
        name: "pair, 2 threads",
        title: "The same, 2 threads at once: ns per pair, as each thread sees it",
        rows: pair::ONE_PAGE_TWICE,
        run: |plan| measure(&pair::one_page(plan, 2), plan),
    },
    Entry {
        name: "order-9 pair",
        title: "Allocate 2 MiB (order 9) and free it, 1 thread: ns per pair",
        rows: pair::HUGE,
        run: |plan| measure(&pair::huge(plan), plan),
    },
    Entry {
        name: "held, 1 thread",
        title: "100,000 pages allocated, all held, then freed in random order, 1 thread: ns per page",
        rows: held::ONE,
        run: |plan| measure(&held::Held::new(plan.scale.held, 1), plan),
    },
    Entry {
        name: "held, 2 threads",
        title: "The same, 2 threads at once with 100,000 each: ns per page, as each thread sees it",
        rows: held::TWO,
        run: |plan| measure(&held::Held::new(plan.scale.held, 2), plan),
    },
    Entry {
        name: "bulk",
        title: "100,000 zeroed pages asked for at once, and one by one, 1 thread: ns per page",
        rows: bulk::ROWS,
        run: bulk::measure,
    },
    Entry {
        name: "bulk, not zeroed",
        title: "The same as they are, one by one and at once: ns per page",
        rows: bulk::UNINIT_ROWS,
        run: bulk::measure_uninit,
    },
    Entry {
        name: "mixed",
        title: "Orders 0 to 10 alike, 70 to 90 % of the memory in use, 1 thread: ns per operation, \
                net of the harness",
        rows: mixed::ROWS,
        run: |plan| measure(&mixed::Mixed::new(plan), plan),
    },
    Entry {
        name: "mixed, busy",
        title: "An allocation in that mix while daemons or others are busy: ns, percentiles of each round, \
                two looks at the clock included",
        rows: busy::ROWS,
        run: busy::measure,
    },
    Entry {
        name: "hand-over",
        title: "One thread allocates pages, another frees them, 64 at a time: ns per page",
        rows: handover::ROWS,
        run: |plan| measure(&handover::Handover::new(plan, 2), plan),
    },
    Entry {
        name: "open",
        title: "Open a pool of 8 GiB and get the first page, fresh process: ns",
        rows: open::ROWS,
        run: open::measure_opening,
    },
    Entry {
        name: "first touch",
        title: "Allocate blocks of 2 MiB that have no memory yet, and write to each page: ns per 4 KiB",
        rows: first_touch::TOUCH,
        run: first_touch::measure_touching,
    },
    Entry {
        name: "prefault",
        title: "Make 64 MiB of a pool resident ahead: ns per 4 KiB",
        rows: first_touch::PREFAULT,
        run: first_touch::measure_prefaulting,
    },
    Entry {
        name: "charge a group",
        title: "Allocate one page for a group and free it, 1 thread: ns per pair",
        rows: charge::ROWS,
        run: charge::measure,
    },
    Entry {
        name: "record",
        title: "A pair of one page, and a step that also fills or reads memory, of a pool that is recorded: ns of CPU",
        rows: recorded::ROWS,
        run: recorded::measure,
    },
    Entry {
        name: "hold a folio",
        title: "Take hold of a folio and let go of it, 1 thread: ns per pair",
        rows: folio_pin::ROWS,
        run: folio_pin::measure_holding,
    },
    Entry {
        name: "read a folio",
        title: "Read 8 bytes of one folio without a trace: ns per read",
        rows: folio_optimistic::HOT,
        run: folio_optimistic::measure_hot,
    },
    Entry {
        name: "read scattered folios",
        title: "Read 8 bytes of one of 262,144 folios, drawn at random: ns per read",
        rows: folio_optimistic::SCATTERED,
        run: folio_optimistic::measure_scattered,
    },
    Entry {
        name: "read a folio twice",
        title: "Read 8 bytes of one folio while another thread does the same: ns per read",
        rows: folio_optimistic::TWICE,
        run: folio_optimistic::measure_twice,
    },
    Entry {
        name: "swap out",
        title: "Fill a full pool anew, so that what is in it is swapped out: ns per 64 KiB written",
        rows: swap_out::ROWS,
        run: swap_out::measure_swap_out,
    },
    Entry {
        name: "fault in",
        title: "Read a folio that is in swap: ns, the median and the 99th percentile of each round",
        rows: fault_in::ROWS,
        run: fault_in::measure_fault_in,
    },
    Entry {
        name: "move folios",
        title: "Move the pages of a checkerboard together, cold: ns per page moved",
        rows: compact_move::ROWS,
        run: compact_move::measure_moving,
    },
    Entry {
        name: "move folios of 2 MiB",
        title: "Ask for blocks of 4 MiB between folios of 2 MiB, which have to be moved: ns per folio moved",
        rows: move_huge::ROWS,
        run: move_huge::measure_moving,
    },
    Entry {
        name: "gain blocks",
        title: "Pages (not ns) moved for each 2 MiB gained: on request, and by those who need the blocks",
        rows: compact_oracle::ROWS,
        run: compact_oracle::measure_choosing,
    },
    Entry {
        name: "read while moved, 4 KiB",
        title: "Read 64 bytes of a folio of 4 KiB that is moved without pause: ns, the 99.99th percentile and \
                the maximum of each round",
        rows: compact_reader::PAGE,
        run: |plan| compact_reader::measure_reading(plan, 0, compact_reader::PAGE),
    },
    Entry {
        name: "read while moved, 128 KiB",
        title: "The same of 128 KiB",
        rows: compact_reader::CHUNK,
        run: |plan| compact_reader::measure_reading(plan, 5, compact_reader::CHUNK),
    },
    Entry {
        name: "read while moved, 2 MiB",
        title: "The same of 2 MiB",
        rows: compact_reader::HUGE,
        run: |plan| compact_reader::measure_reading(plan, 9, compact_reader::HUGE),
    },
    // Last: from here on somebody listens to the library's events.
    Entry {
        name: "wake",
        title: "Wake a thread, and kswapd by an allocation: ns until it runs, the median and the 90th \
                percentile of each round",
        rows: wake::ROWS,
        run: wake::measure_wake,
    },
];

/// Nanoseconds of each of `operations` that took `elapsed` together.
fn per_operation(elapsed: Duration, operations: usize) -> f64 {
    elapsed.as_nanos() as f64 / operations as f64
}

/// Runs `operations` operations in one go and returns nanoseconds of each.
#[inline]
fn timed(operations: usize, run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    per_operation(begun.elapsed(), operations)
}

/// A pool of so many bytes without swap, for folios.
fn pool_of(bytes: usize) -> Result<PagePool, Failure> {
    let built = PagePool::builder().managed(bytes).build();
    built.map_err(|error| Failure::broken(format!("a pool of {bytes} bytes: {error}")))
}

/// A folio that was written to, and so is in memory in every sense.
fn folio_of(pool: &PagePool, bytes: usize) -> Result<Folio, Failure> {
    let broken = |error: &dyn std::error::Error| Failure::broken(format!("a folio: {error}"));
    let mut folio = pool
        .alloc_folio(bytes, Gfp::USER_MOVABLE)
        .map_err(|error| broken(&error))?;
    folio.write().map_err(|error| broken(&error))?.fill(1);
    Ok(folio)
}

/// As [`timed`], by the time that this thread had a CPU: for work that never waits, so that what others
/// do on the machine is left out.
#[inline]
fn timed_on_cpu(operations: usize, run: impl FnOnce()) -> f64 {
    let begun = cpu_time();
    run();
    per_operation(cpu_time() - begun, operations)
}

/// The order of a block of 2 MiB.
pub(crate) fn huge_order() -> Order {
    Order::new(9).expect("9 is an order")
}
