//! What came of free memory in pieces: blocks by order, who moved what, and pageblocks before and after.
#![forbid(unsafe_code)]

use hdrhistogram::Histogram;
use pagepool::{AllocError, Order, Stats};
use serde::Serialize;

use super::{
    picture::Picture,
    table::Table,
    text::{line, percent},
};
use crate::{
    threads::Account,
    units::{grouped, human_ns, wide},
};

/// The load, and what came of it with daemons and without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FragmentReport {
    pub(crate) pattern: &'static str,
    /// Of each pageblock's folios, those that were kept.
    pub(crate) keep: f64,
    /// Of the pages that filled the pool, those that could not be moved.
    pub(crate) unmovable: f64,
    pub(crate) runs: Vec<FragmentRun>,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FragmentRun {
    /// `on` or `off`.
    pub(crate) daemons: &'static str,
    /// How kcompactd of each node stood at the end.
    pub(crate) kcompactd: Vec<String>,
    pub(crate) kept_folios: u64,
    pub(crate) kept_pages: u64,
    pub(crate) unmovable_pages: u64,
    pub(crate) settle: Settling,
    pub(crate) orders: Vec<Taking>,
    /// The pool when it was in pieces, after it had time to settle, and at the end, when all blocks were given
    /// back.
    pub(crate) before: Picture,
    pub(crate) settled: Picture,
    pub(crate) after: Picture,
}

/// What happened while nobody asked for anything.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Settling {
    pub(crate) settle_s: f64,
    pub(crate) compaction: Compaction,
    /// CPU time of the pool's threads in the second half of the time, as a share of one CPU; none where the
    /// system does not tell.
    pub(crate) late_cpu_share: Option<f64>,
    /// What they did then.
    pub(crate) late_threads: Vec<Account>,
}

/// Counters of compaction, by the kernel's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Compaction {
    /// Folios moved, by anybody.
    pub(crate) pgmigrate_success: u64,
    pub(crate) pgmigrate_fail: u64,
    /// Requests that compacted for themselves, and what came of that.
    pub(crate) compact_stall: u64,
    pub(crate) compact_success: u64,
    pub(crate) compact_fail: u64,
    /// Times that kcompactd set to work since somebody had asked; what it does of its own accord is not counted.
    pub(crate) compact_daemon_wake: u64,
    /// Frames looked at in search of folios: by anybody, and by kcompactd.
    pub(crate) compact_migrate_scanned: u64,
    pub(crate) compact_daemon_migrate_scanned: u64,
    pub(crate) compact_isolated: u64,
}

impl Compaction {
    pub(crate) fn of(stats: &Stats) -> Compaction {
        let event = |name| stats.vmstat.get(name).unwrap_or(0);
        Compaction {
            pgmigrate_success: event("pgmigrate_success"),
            pgmigrate_fail: event("pgmigrate_fail"),
            compact_stall: event("compact_stall"),
            compact_success: event("compact_success"),
            compact_fail: event("compact_fail"),
            compact_daemon_wake: event("compact_daemon_wake"),
            compact_migrate_scanned: event("compact_migrate_scanned"),
            compact_daemon_migrate_scanned: event("compact_daemon_migrate_scanned"),
            compact_isolated: event("compact_isolated"),
        }
    }

    /// What was counted since.
    pub(crate) fn since(self, before: Compaction) -> Compaction {
        Compaction {
            pgmigrate_success: self.pgmigrate_success - before.pgmigrate_success,
            pgmigrate_fail: self.pgmigrate_fail - before.pgmigrate_fail,
            compact_stall: self.compact_stall - before.compact_stall,
            compact_success: self.compact_success - before.compact_success,
            compact_fail: self.compact_fail - before.compact_fail,
            compact_daemon_wake: self.compact_daemon_wake - before.compact_daemon_wake,
            compact_migrate_scanned: self.compact_migrate_scanned - before.compact_migrate_scanned,
            compact_daemon_migrate_scanned: self.compact_daemon_migrate_scanned
                - before.compact_daemon_migrate_scanned,
            compact_isolated: self.compact_isolated - before.compact_isolated,
        }
    }
}

/// Latencies of requests that got their block, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BlockLatency {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    pub(crate) count: u64,
}

impl BlockLatency {
    pub(crate) fn of(latencies: &Histogram<u64>) -> BlockLatency {
        BlockLatency {
            p50: latencies.value_at_quantile(0.5),
            p95: latencies.value_at_quantile(0.95),
            p99: latencies.value_at_quantile(0.99),
            max: latencies.max(),
            count: latencies.len(),
        }
    }
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusal {
    pub(crate) cause: &'static str,
    pub(crate) remedy: &'static str,
    pub(crate) latency_ns: u64,
}

/// Blocks of one order, taken until one was refused.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Taking {
    pub(crate) order: u8,
    pub(crate) blocks: u64,
    pub(crate) pages: u64,
    /// Pages that nobody held before the first.
    pub(crate) free_pages: u64,
    /// Of these, those that came in blocks.
    pub(crate) share: f64,
    pub(crate) latency_ns: BlockLatency,
    pub(crate) compaction: Compaction,
    pub(crate) refusal: Option<Refusal>,
}

impl Taking {
    /// Nothing is taken yet of a pool that stands like this, and of which the load holds `held` pages.
    ///
    /// The pool's own count of free pages would not do: what compaction is copying to at the moment, or keeps from
    /// others while it empties a pageblock, is not in it, and is there all the same.
    pub(crate) fn begin(order: Order, held: u64, stats: &Stats) -> Taking {
        Taking {
            order: order.get(),
            blocks: 0,
            pages: 0,
            free_pages: wide(stats.managed_pages).saturating_sub(held),
            share: 0.0,
            latency_ns: BlockLatency::default(),
            compaction: Compaction::of(stats),
            refusal: None,
        }
    }

    /// The last request was refused, after so long.
    pub(crate) fn refused(&mut self, error: AllocError, latency_ns: u64) {
        self.refusal = Some(Refusal {
            cause: error.cause(),
            remedy: error.remedy(),
            latency_ns,
        });
    }

    /// So many blocks were taken, and the pool stands like this now.
    pub(crate) fn end(&mut self, blocks: u64, latency: BlockLatency, stats: &Stats) {
        self.blocks = blocks;
        self.pages = blocks << self.order;
        self.share = self.pages as f64 / self.free_pages.max(1) as f64;
        self.latency_ns = latency;
        self.compaction = Compaction::of(stats).since(self.compaction);
    }

    /// What is wrong if more was taken than there was.
    pub(crate) fn is_impossible(&self) -> Option<String> {
        (self.pages > self.free_pages).then(|| {
            format!(
                "{} blocks of order {} came out of {} pages that nobody held",
                self.blocks, self.order, self.free_pages
            )
        })
    }
}

/// Writes all of it.
pub(super) fn write(report: &FragmentReport, text: &mut String) {
    for run in &report.runs {
        text.push('\n');
        write_run(report, run, text);
    }
    text.push('\n');
    let legend = "pageblocks: . free, 1 up to a tenth in use, … 9, # full; \
                  share: of the memory that was free before the first block of the order";
    line(text, "", "legend", legend);
}

fn write_run(report: &FragmentReport, run: &FragmentRun, text: &mut String) {
    let kept = format!(
        "{}, daemons {}: {} folios of {} pages kept, {} pages that cannot be moved; kcompactd {}",
        report.pattern,
        run.daemons,
        grouped(run.kept_folios),
        grouped(run.kept_pages),
        grouped(run.unmovable_pages),
        run.kcompactd.join(", ")
    );
    line(text, "", "in pieces", &kept);
    write_picture("before", &run.before, text);
    write_settling(run, text);
    text.push('\n');
    write_orders(&run.orders, text);
    write_refusals(&run.orders, text);
    write_picture("after", &run.after, text);
}

pub(super) fn write_picture(name: &str, picture: &Picture, text: &mut String) {
    let [empty, partly, full] = picture.summary();
    let mut what = format!("pageblocks: {empty} free, {partly} partly in use, {full} full");
    if picture.per_sign > 1 {
        what += &format!("; {} to a character", picture.per_sign);
    }
    line(text, "  ", name, &what);
    for signs in &picture.lines {
        line(text, "  ", "", signs);
    }
}

fn write_settling(run: &FragmentRun, text: &mut String) {
    let Settling {
        settle_s,
        compaction,
        late_cpu_share,
        ..
    } = &run.settle;
    let [empty, ..] = run.settled.summary();
    let mut what = format!(
        "in {settle_s:.1} s: {} folios moved, kcompactd was asked {} times, {empty} pageblocks free",
        grouped(compaction.pgmigrate_success),
        grouped(compaction.compact_daemon_wake)
    );
    if let Some(share) = late_cpu_share {
        what += &format!(
            "; threads took {:.2} % of a CPU in the second half",
            share * 100.0
        );
    }
    line(text, "  ", "settled", &what);
}

fn write_orders(orders: &[Taking], text: &mut String) {
    let mut table = Table::new([
        "order", "blocks", "share", "p50", "p95", "p99", "max", "moved", "stalls", "asked",
    ]);
    for taking in orders {
        let BlockLatency {
            p50, p95, p99, max, ..
        } = taking.latency_ns;
        let counts = [taking.order.to_string(), grouped(taking.blocks)];
        let events = [
            taking.compaction.pgmigrate_success,
            taking.compaction.compact_stall,
            taking.compaction.compact_daemon_wake,
        ];
        let row = counts
            .into_iter()
            .chain([percent(taking.share)])
            .chain([p50, p95, p99, max].map(human_ns))
            .chain(events.map(grouped));
        table.row(row);
    }
    table.write("  ", text);
}

/// Why each order ended; orders that ended alike share a line.
fn write_refusals(orders: &[Taking], text: &mut String) {
    let mut causes: Vec<(&Refusal, Vec<String>)> = Vec::new();
    for taking in orders {
        let Some(refusal) = &taking.refusal else {
            continue;
        };
        let order = taking.order.to_string();
        let known = causes
            .iter_mut()
            .find(|(known, _)| known.cause == refusal.cause);
        match known {
            Some((_, orders)) => orders.push(order),
            None => causes.push((refusal, vec![order])),
        }
    }
    for (Refusal { cause, remedy, .. }, orders) in causes {
        let what = format!("{cause}: {remedy} (order {})", orders.join(", "));
        line(text, "  ", "refused", &what);
    }
}

#[cfg(test)]
mod tests {
    use pagepool::{Gfp, PagePool};

    use super::*;

    fn taking(order: u8, cause: &'static str) -> Taking {
        Taking {
            order,
            blocks: 3,
            pages: 3 << order,
            free_pages: 4 << order,
            share: 0.75,
            latency_ns: BlockLatency::default(),
            compaction: Compaction::default(),
            refusal: Some(Refusal {
                cause,
                remedy: "wait",
                latency_ns: 1,
            }),
        }
    }

    #[test]
    fn orders_that_end_alike_share_a_line() {
        let orders = [
            taking(10, "fragmented"),
            taking(9, "below_min"),
            taking(8, "fragmented"),
        ];
        let mut text = String::new();
        write_refusals(&orders, &mut text);
        assert!(text.contains("fragmented: wait (order 10, 8)"), "{text}");
        assert!(text.contains("below_min: wait (order 9)"), "{text}");
    }

    /// `fragment` once called it a violation that 5,632 pages came out of 5,631: kcompactd was copying to one of them
    /// when they were counted.
    #[test]
    fn what_nobody_holds_is_there_whatever_is_being_moved() {
        let pool = PagePool::builder().managed(16 << 20).build();
        let pool = pool.expect("a pool");
        let pages = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).expect("memory");
        let mut stats = pool.stats();
        assert_eq!(Taking::begin(Order::ZERO, 1, &stats).free_pages, 4095);
        stats.free_pages -= 1;
        assert_eq!(Taking::begin(Order::ZERO, 1, &stats).free_pages, 4095);
        drop(pages);
    }

    #[test]
    fn more_than_there_was_is_a_violation() {
        assert_eq!(taking(2, "fragmented").is_impossible(), None);
        let impossible = Taking {
            pages: 17,
            ..taking(2, "fragmented")
        };
        assert!(impossible.is_impossible().is_some());
    }
}
