//! For how long threads waited for memory.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::text::line;
use crate::units::human_ns;

/// Pressure by the kernel's names; players are the workers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Pressure {
    /// While at least one thread waited.
    pub(crate) some: Line,
    /// While at least one did, and no player did anything else.
    pub(crate) full: Line,
}

/// One kind of pressure.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Line {
    /// The part of the last 10 seconds, in percent.
    pub(crate) avg10: f64,
    /// The whole time, in microseconds.
    pub(crate) total: u64,
}

impl From<pagepool::PressureLine> for Line {
    fn from(line: pagepool::PressureLine) -> Line {
        Line {
            avg10: line.avg10,
            total: u64::try_from(line.total.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl From<pagepool::Pressure> for Pressure {
    fn from(pressure: pagepool::Pressure) -> Pressure {
        Pressure {
            some: pressure.some.into(),
            full: pressure.full.into(),
        }
    }
}

/// Writes it in one line.
pub(super) fn write(pressure: Pressure, text: &mut String) {
    let [some, full] = [pressure.some, pressure.full].map(|Line { avg10, total }| {
        format!("{} ({avg10:.2} % of the last 10 s)", human_ns(total * 1000))
    });
    line(text, "  ", "pressure", &format!("some {some}, full {full}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_one_line() {
        let mut text = String::new();
        let some = Line {
            avg10: 12.345,
            total: 1_500,
        };
        let full = Line::default();
        write(Pressure { some, full }, &mut text);
        assert_eq!(text.lines().count(), 1);
        assert!(
            text.contains("12.35 %") && text.contains("1.50 ms"),
            "{text}"
        );
    }
}
