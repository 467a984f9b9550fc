//! A count with its name and what it says, as `/proc/vmstat`, programs and Prometheus get it (pure).

#![forbid(unsafe_code)]

/// What becomes of a figure as time goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FigureKind {
    /// It rises and falls.
    Gauge,
    /// It only rises, while the pool lives.
    Counter,
}

/// A count at a moment, with all that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Figure {
    /// The kernel's name, or ours where there is none.
    pub(crate) name: &'static str,
    /// What it counts: a sentence.
    pub(crate) help: &'static str,
    /// Whether it only rises.
    pub(crate) kind: FigureKind,
    /// The count.
    pub(crate) value: u64,
}

impl Figure {
    /// A figure that rises and falls.
    pub(crate) const fn gauge(name: &'static str, help: &'static str, value: u64) -> Figure {
        let kind = FigureKind::Gauge;
        Figure {
            name,
            help,
            kind,
            value,
        }
    }

    /// A figure that only rises.
    pub(crate) const fn counter(name: &'static str, help: &'static str, value: u64) -> Figure {
        let kind = FigureKind::Counter;
        Figure {
            name,
            help,
            kind,
            value,
        }
    }
}
