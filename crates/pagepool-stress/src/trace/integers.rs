//! `.u32le`, `.u32be`, `.u64be`: raw integers, each a reference to the page of that number.
#![forbid(unsafe_code)]

use std::io::BufRead;

use super::{
    error::{Place, TraceError},
    references::{Access, ReferenceTrace, ReferenceTraceBuilder},
    source::{self, Source},
};

/// How an integer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    U32Le,
    U32Be,
    U64Be,
}

impl Layout {
    fn width(self) -> usize {
        match self {
            Layout::U32Le | Layout::U32Be => 4,
            Layout::U64Be => 8,
        }
    }

    fn decode(self, bytes: &[u8]) -> u64 {
        let big = bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        match self {
            Layout::U32Le => u64::from((big as u32).swap_bytes()),
            Layout::U32Be | Layout::U64Be => big,
        }
    }
}

/// Reads a trace of this format.
pub(crate) fn read(source: Source, layout: Layout) -> Result<ReferenceTrace, TraceError> {
    let Source {
        name, mut bytes, ..
    } = source;
    let mut builder = ReferenceTraceBuilder::new(&name);
    let mut integer = Vec::with_capacity(layout.width());
    let mut offset: u64 = 0;
    loop {
        let fail = |what: String| TraceError::new(&name, Place::Byte(offset), what);
        let chunk = bytes
            .fill_buf()
            .map_err(|error| fail(source::explain(&error)))?;
        if chunk.is_empty() {
            break;
        }
        for byte in chunk {
            integer.push(*byte);
            if integer.len() == layout.width() {
                builder.read(layout.width());
                builder
                    .page(layout.decode(&integer), Access::Read)
                    .map_err(fail)?;
                integer.clear();
            }
        }
        let nr_read = chunk.len();
        offset += nr_read as u64;
        bytes.consume(nr_read);
    }
    if !integer.is_empty() {
        let place = Place::Byte(offset - integer.len() as u64);
        let what = format!(
            "cut short: {} bytes of a {}-byte integer",
            integer.len(),
            layout.width()
        );
        return Err(TraceError::new(&name, place, what));
    }
    builder
        .finish()
        .map_err(|what| TraceError::new(&name, Place::Whole, what))
}

#[cfg(test)]
mod tests {
    use super::super::{Trace, test_support::*};

    #[track_caller]
    fn assert_keys(name: &str, bytes: &[u8], keys: &[u32]) {
        let Trace::References(trace) = parse(name, bytes).unwrap() else {
            panic!()
        };
        assert_eq!(
            trace.references.iter().map(|r| r.key()).collect::<Vec<_>>(),
            keys
        );
    }

    #[test]
    fn byte_order_tells_keys_apart() {
        assert_keys("t.u32le", &[1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0], &[0, 1, 0]);
        assert_keys("t.u32be", &[1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0], &[0, 1, 0]);
        assert_keys("t.u64be", &[[0; 8], [255; 8], [0; 8]].concat(), &[0, 1, 0]);
    }

    #[test]
    fn a_cut_integer_is_named_by_its_offset() {
        assert_refused(
            "t.u32le",
            &[0; 7],
            "byte 4: cut short: 3 bytes of a 4-byte integer",
        );
        assert_refused(
            "t.u64be",
            &[0; 4],
            "byte 0: cut short: 4 bytes of a 8-byte integer",
        );
    }
}
