//! How things stood during a soak, and what grew.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::text::line;
use crate::units::{grouped, human_bytes};

/// How things stood after a turn.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SoakState {
    /// Seconds since the pool was built.
    pub(crate) at_s: f64,
    pub(crate) events: u64,
    /// Memory of the process, in bytes.
    pub(crate) rss: Option<u64>,
    /// Of that, what is not the pool's memory: its metadata, and everything else.
    pub(crate) beside_pool: Option<u64>,
    pub(crate) metadata_bytes: u64,
    pub(crate) free_pages: u64,
    pub(crate) swap_used_pages: u64,
    /// Threads and open files of the process.
    pub(crate) threads: Option<u64>,
    pub(crate) files: Option<u64>,
    /// Percent of the last minute that somebody waited for memory.
    pub(crate) pressure_avg60: f64,
    pub(crate) violations: u64,
}

/// How much a figure grew, by the line through what was seen of it after the first quarter.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) bytes_per_hour: f64,
    pub(crate) grown_bytes: f64,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SoakReport {
    /// Turns after which the pool was verified and looked at.
    pub(crate) turns: u64,
    pub(crate) turn_s: f64,
    /// Null if the run was too short, or the system does not tell.
    pub(crate) beside_pool: Option<Growth>,
    pub(crate) rss: Option<Growth>,
    /// What may be grown beside the pool before that counts as a leak.
    pub(crate) allowed_bytes: f64,
    pub(crate) first: Option<SoakState>,
    pub(crate) last: Option<SoakState>,
}

impl SoakState {
    /// A line for people.
    pub(crate) fn line(&self, growth: Option<Growth>) -> String {
        let seconds = self.at_s as u64;
        let clock = format!(
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), human_bytes);
        let slope = growth.map_or_else(String::new, |growth| format!(" ({})", per_hour(growth)));
        let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), grouped);
        format!(
            "{clock}  {} events; rss {}, {} beside the pool{slope}; {} pages free, {} in swap; waiting {:.1} % of the last minute; {} threads, {} files; {} violation(s)\n",
            grouped(self.events),
            bytes(self.rss),
            bytes(self.beside_pool),
            grouped(self.free_pages),
            grouped(self.swap_used_pages),
            self.pressure_avg60,
            count(self.threads),
            count(self.files),
            self.violations
        )
    }
}

fn per_hour(growth: Growth) -> String {
    let sign = if growth.bytes_per_hour < 0.0 {
        '-'
    } else {
        '+'
    };
    format!(
        "{sign}{}/h",
        human_bytes(growth.bytes_per_hour.abs() as u64)
    )
}

/// Writes what grew.
pub(super) fn write(report: &SoakReport, text: &mut String) {
    text.push('\n');
    let turns = format!(
        "{} turns of {:.1} s, the pool verified after each",
        grouped(report.turns),
        report.turn_s
    );
    line(text, "", "turns", &turns);
    let growth = |growth: Option<Growth>| growth.map_or_else(|| "not known".to_owned(), per_hour);
    let verdict = match report.beside_pool {
        None => "",
        Some(growth) if growth.grown_bytes > report.allowed_bytes => ", a LEAK",
        Some(_) => ", flat",
    };
    let slope = format!(
        "beside the pool {}{verdict} ({} in all may be noise); rss {}",
        growth(report.beside_pool),
        human_bytes(report.allowed_bytes as u64),
        growth(report.rss)
    );
    line(text, "", "growth", &slope);
    if let (Some(first), Some(last)) = (report.first, report.last) {
        let change = |name: &str, of: fn(SoakState) -> Option<u64>| {
            let show = |state| of(state).map_or_else(|| "?".to_owned(), grouped);
            format!("{name} {} to {}", show(first), show(last))
        };
        let all = [
            change("metadata", |state| Some(state.metadata_bytes)),
            change("threads", |state| state.threads),
            change("open files", |state| state.files),
        ];
        line(text, "", "from, to", &all.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_line_with_the_slope() {
        let state = SoakState {
            at_s: 3725.5,
            events: 1_000,
            rss: Some(70 << 20),
            beside_pool: Some(6 << 20),
            ..SoakState::default()
        };
        let growth = Growth {
            bytes_per_hour: -2048.0,
            grown_bytes: 0.0,
        };
        let line = state.line(Some(growth));
        assert!(
            line.starts_with(
                "1:02:05  1,000 events; rss 70.0 MiB, 6.0 MiB beside the pool (-2.0 KiB/h)"
            ),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_leak_stands_out_and_what_is_not_known_is_not_flat() {
        let mut report = SoakReport {
            turns: 20,
            turn_s: 5.0,
            beside_pool: None,
            rss: None,
            allowed_bytes: 100.0,
            first: None,
            last: None,
        };
        let mut growth = |grown_bytes: Option<f64>| {
            let growth = |grown_bytes| Growth {
                bytes_per_hour: 1024.0,
                grown_bytes,
            };
            report.beside_pool = grown_bytes.map(growth);
            let mut text = String::new();
            write(&report, &mut text);
            text
        };
        assert!(growth(None).contains("beside the pool not known ("));
        assert!(growth(Some(100.0)).contains("+1.0 KiB/h, flat"));
        assert!(growth(Some(101.0)).contains("+1.0 KiB/h, a LEAK"));
    }
}
