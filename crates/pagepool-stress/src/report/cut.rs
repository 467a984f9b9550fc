//! A container's limit that was cut under load.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::text::line;
use crate::{container::Followed, units::human_bytes};

/// What came of the cut. Sizes are in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CutReport {
    pub(crate) limit_before: u64,
    pub(crate) limit_after: u64,
    /// What the pool may have of the new limit.
    pub(crate) share_bytes: u64,
    /// What it had when it was within, or at the end.
    pub(crate) budget_bytes: u64,
    /// From the cut until the pool was within its share; none if it did not come there.
    pub(crate) seconds_until_within: Option<f64>,
    /// What went back to the system meanwhile.
    pub(crate) given_back_bytes: u64,
    /// What was in the way, if it did not come there.
    pub(crate) obstacle: Option<String>,
}

impl From<Followed> for CutReport {
    fn from(followed: Followed) -> CutReport {
        CutReport {
            limit_before: followed.limit_before,
            limit_after: followed.limit_after,
            share_bytes: followed.share,
            budget_bytes: followed.budget,
            seconds_until_within: followed.within.map(|time| time.as_secs_f64()),
            given_back_bytes: followed.given_back,
            obstacle: followed.obstacle.map(|obstacle| obstacle.to_string()),
        }
    }
}

/// Writes it in two lines.
pub(super) fn write(cut: &CutReport, text: &mut String) {
    let what = format!(
        "the container's limit from {} to {}, the pool's share {}",
        human_bytes(cut.limit_before),
        human_bytes(cut.limit_after),
        human_bytes(cut.share_bytes)
    );
    line(text, "", "cut", &what);
    let obstacle = cut.obstacle.as_deref().unwrap_or("nobody knows why");
    let outcome = match cut.seconds_until_within {
        Some(seconds) => format!("within it after {seconds:.3} s"),
        None => format!("NOT within it: {obstacle}"),
    };
    let budget = human_bytes(cut.budget_bytes);
    let given_back = human_bytes(cut.given_back_bytes);
    let what = format!("{outcome}; budget {budget}, {given_back} given back to the system");
    line(text, "", "followed", &what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_that_was_not_followed_stands_out() {
        let mut cut = CutReport {
            limit_before: 2 << 20,
            limit_after: 1 << 20,
            share_bytes: 1 << 19,
            budget_bytes: 1 << 19,
            seconds_until_within: Some(0.25),
            given_back_bytes: 1 << 19,
            obstacle: None,
        };
        let mut text = String::new();
        write(&cut, &mut text);
        assert!(text.contains("within it after 0.250 s"), "{text}");
        cut.seconds_until_within = None;
        cut.obstacle = Some("the time was up".to_owned());
        write(&cut, &mut text);
        assert!(text.contains("NOT within it: the time was up"), "{text}");
    }
}
