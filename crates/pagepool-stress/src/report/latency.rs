//! What requests took that were due by a schedule.
#![forbid(unsafe_code)]

use pagepool::NR_ORDERS;
use serde::Serialize;

use super::{
    phase::Latency,
    table::Table,
    text::{line, write_latency},
};
use crate::{
    hdr_log::Written,
    ledger::Account,
    units::{grouped, human_ns},
};

/// Of the requests that were due, those that may not have been begun when the time was up, if the rate was kept; or
/// those of so many seconds, since the end may come at a bad moment.
const LEFT_OVER: f64 = 0.01;
const LEFT_OVER_S: f64 = 0.1;

/// What was measured. Times are in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LatencyReport {
    /// Requests a second that were due.
    pub(crate) rate: u64,
    pub(crate) arrivals: &'static str,
    pub(crate) orders: String,
    pub(crate) raw_share: f64,
    pub(crate) fill: f64,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    /// Requests that were due, and of these those that were served or refused.
    pub(crate) due: u64,
    pub(crate) done: u64,
    pub(crate) done_per_s: f64,
    pub(crate) kept: bool,
    /// From when a request was due until it was begun, at most.
    pub(crate) behind_ns_max: u64,
    /// From when requests were due.
    pub(crate) latency_ns: Latency,
    /// From when they were begun.
    pub(crate) service_ns: Latency,
    /// The same, by order.
    pub(crate) by_order: Vec<OrderLatency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<LogFacts>,
}

/// Requests of one order.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OrderLatency {
    pub(crate) order: usize,
    pub(crate) service_ns: Latency,
}

/// The log that was written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LogFacts {
    pub(crate) file: String,
    pub(crate) intervals: u64,
    /// Why the rest is missing, if it is.
    pub(crate) error: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) rate: u64,
    pub(crate) arrivals: &'static str,
    pub(crate) orders: String,
    pub(crate) raw_share: f64,
    pub(crate) fill: f64,
    pub(crate) threads: usize,
}

impl LatencyReport {
    /// What all threads together did.
    pub(crate) fn new(asked: Asked, account: &Account, log: Option<Written>) -> LatencyReport {
        let Asked {
            rate,
            arrivals,
            orders,
            raw_share,
            fill,
            threads,
        } = asked;
        let due = account.done + account.unbegun;
        let seconds = account.elapsed_ns as f64 / 1e9;
        let by_order = (0..NR_ORDERS).map(|order| OrderLatency {
            order,
            service_ns: Latency::of(&account.by_order[order]),
        });
        LatencyReport {
            rate,
            arrivals,
            orders,
            raw_share,
            fill,
            threads,
            seconds,
            due,
            done: account.done,
            done_per_s: account.done as f64 / seconds.max(1e-9),
            kept: account.unbegun as f64 <= (due as f64 * LEFT_OVER).max(rate as f64 * LEFT_OVER_S),
            behind_ns_max: account.behind_ns,
            latency_ns: Latency::of(&account.times.latency),
            service_ns: Latency::of(&account.times.service),
            by_order: by_order.filter(|row| row.service_ns.count > 0).collect(),
            log: log.map(|written| LogFacts {
                file: written.path.display().to_string(),
                intervals: written.intervals,
                error: written.error,
            }),
        }
    }
}

/// Writes all of it.
pub(super) fn write(report: &LatencyReport, text: &mut String) {
    text.push('\n');
    let asked = format!(
        "{} requests/s, {}, of {} thread(s); orders {}, {:.0} % raw; {} x the pool held",
        grouped(report.rate),
        report.arrivals,
        report.threads,
        report.orders,
        report.raw_share * 100.0,
        report.fill
    );
    line(text, "", "requests", &asked);
    line(text, "", "rate", &verdict(report));
    write_latency(
        [
            ("from due", report.latency_ns),
            ("service", report.service_ns),
        ],
        text,
    );
    text.push('\n');
    let mut table = Table::new(["service by order", "p50", "p99", "p99.9", "max", "requests"]);
    for OrderLatency { order, service_ns } in &report.by_order {
        let Latency {
            p50,
            p99,
            p999,
            max,
            count,
            ..
        } = *service_ns;
        let cells = [p50, p99, p999, max].map(human_ns);
        let cells = cells.into_iter().chain([grouped(count)]);
        table.row([format!("order {order}")].into_iter().chain(cells));
    }
    table.write("  ", text);
    if let Some(log) = &report.log {
        let what = match &log.error {
            None => format!("{}: {} intervals", log.file, grouped(log.intervals)),
            Some(error) => format!("{}: NOT WRITTEN to its end: {error}", log.file),
        };
        line(text, "", "log", &what);
    }
}

fn verdict(report: &LatencyReport) -> String {
    let counts = format!(
        "{} due, {} done in {:.2} s = {} per second; at most {} behind",
        grouped(report.due),
        grouped(report.done),
        report.seconds,
        grouped(report.done_per_s as u64),
        human_ns(report.behind_ns_max)
    );
    match report.kept {
        true => format!("kept: {counts}"),
        false => {
            format!("NOT KEPT: {counts}; what was not begun counts with the time it had waited")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(done: u64, unbegun: u64) -> LatencyReport {
        let mut account = Account::new();
        (account.done, account.unbegun, account.elapsed_ns) = (done, unbegun, 2_000_000_000);
        let asked = Asked {
            rate: 500,
            arrivals: "even",
            orders: "0:1".to_owned(),
            raw_share: 0.5,
            fill: 1.2,
            threads: 1,
        };
        LatencyReport::new(asked, &account, None)
    }

    #[test]
    fn a_rate_that_was_not_kept_is_said() {
        let mut text = String::new();
        // 50 are those of a tenth of a second.
        let kept = report(950, 50);
        assert!(kept.kept && kept.due == 1000 && kept.done_per_s == 475.0);
        write(&kept, &mut text);
        assert!(text.contains("kept: 1,000 due, 950 done"), "{text}");
        let missed = report(949, 51);
        assert!(!missed.kept);
        write(&missed, &mut text);
        assert!(text.contains("NOT KEPT: 1,000 due, 949 done"), "{text}");
        // 100 are one in a hundred.
        assert!(report(9_900, 100).kept && !report(9_899, 101).kept);
    }
}
