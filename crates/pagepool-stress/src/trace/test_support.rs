//! Traces in memory, for the readers' tests.

use super::{Format, Trace, error::TraceError, read, source::Source};

/// Reads `bytes` as a file called `name`.
pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Trace, TraceError> {
    read(Source::of_bytes(name, bytes.to_vec())?, None::<Format>)
}

/// Makes sure that `bytes` are refused with exactly `message`.
#[track_caller]
pub(crate) fn assert_refused(name: &str, bytes: &[u8], message: &str) {
    match parse(name, bytes) {
        Ok(_) => panic!("accepted, expected: {message}"),
        Err(error) => assert_eq!(error.to_string(), format!("{name}: {message}")),
    }
}
