//! What is wrong with a trace, and where.
#![forbid(unsafe_code)]

use std::fmt;

/// A trace that cannot be replayed: the file, the place in it, and what is wrong there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}{what}")]
pub(crate) struct TraceError {
    file: String,
    place: Place,
    what: String,
}

/// A place in a trace, in the text or bytes that remain after decompression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The file as a whole.
    Whole,
    /// A line, counted from 1.
    Line(u64),
    /// A byte offset, counted from 0.
    Byte(u64),
}

impl TraceError {
    pub(crate) fn new(file: &str, place: Place, what: impl fmt::Display) -> TraceError {
        TraceError {
            file: file.to_owned(),
            place,
            what: what.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => Ok(()),
            Place::Line(line) => write!(f, "line {line}: "),
            Place::Byte(offset) => write!(f, "byte {offset}: "),
        }
    }
}
