//! Reads a trace line by line and field by field, and says where it went wrong.
#![forbid(unsafe_code)]

use std::io::{BufRead, Read};

use super::{
    error::{Place, TraceError},
    source::{self, Source},
};

/// Bytes in a line beyond which a file is not taken for text; the formats need less than 100.
const MAX_LINE: usize = 4096;

/// Calls `take` with each line that is not blank, without its line break.
///
/// What `take` returns as an error is reported with the line's number.
pub(crate) fn for_each_line(
    source: Source,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), TraceError> {
    let Source {
        name, mut bytes, ..
    } = source;
    let mut line = Vec::with_capacity(MAX_LINE);
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let fail = |what: String| TraceError::new(&name, Place::Line(number), what);
        (&mut bytes)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .map_err(|error| fail(source::explain(&error)))?;
        if line.is_empty() {
            return Ok(());
        }
        if line.len() == MAX_LINE && !line.ends_with(b"\n") {
            return Err(fail(format!(
                "longer than {MAX_LINE} bytes: not a text trace"
            )));
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            take(text).map_err(fail)?;
        }
    }
}

/// The fields of a line, taken one after the other.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    separator: Separator,
}

/// What stands between two fields.
#[derive(Clone, Copy)]
pub(crate) enum Separator {
    Blank,
    Comma,
}

impl<'a> Fields<'a> {
    /// The fields of a line that blanks separate.
    pub(crate) fn blank(line: &'a [u8]) -> Fields<'a> {
        Fields {
            rest: line.trim_ascii(),
            separator: Separator::Blank,
        }
    }

    /// The fields of a line that commas separate.
    pub(crate) fn comma(line: &'a [u8]) -> Fields<'a> {
        Fields {
            rest: line,
            separator: Separator::Comma,
        }
    }

    /// Takes the next field, called `name` in the error when there is none.
    pub(crate) fn text(&mut self, name: &str) -> Result<&'a [u8], String> {
        let is_separator = |byte: &u8| match self.separator {
            Separator::Blank => byte.is_ascii_whitespace(),
            Separator::Comma => *byte == b',',
        };
        let end = self
            .rest
            .iter()
            .position(is_separator)
            .unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        self.rest = match self.separator {
            Separator::Blank => rest.trim_ascii_start(),
            Separator::Comma => rest.get(1..).unwrap_or_default(),
        };
        match field.trim_ascii() {
            [] => Err(format!("the {name} is missing")),
            field => Ok(field),
        }
    }

    /// Takes a decimal number.
    pub(crate) fn decimal(&mut self, name: &str) -> Result<u64, String> {
        self.number(name, 10)
    }

    /// Takes a hexadecimal number.
    pub(crate) fn hex(&mut self, name: &str) -> Result<u64, String> {
        self.number(name, 16)
    }

    /// Takes a decimal number of at most `max`.
    pub(crate) fn up_to(&mut self, name: &str, max: u64) -> Result<u64, String> {
        match self.decimal(name)? {
            number if number <= max => Ok(number),
            number => Err(format!(
                "{name} {number} is out of range: accepted is 0 to {max}"
            )),
        }
    }

    fn number(&mut self, name: &str, radix: u32) -> Result<u64, String> {
        let field = self.text(name)?;
        std::str::from_utf8(field)
            .ok()
            .filter(|text| !text.starts_with('+'))
            .and_then(|text| u64::from_str_radix(text, radix).ok())
            .ok_or_else(|| format!("{name} \"{}\" is not a number", quoted(field)))
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.rest.trim_ascii() {
            [] => Ok(()),
            rest => Err(format!("\"{}\" follows the last field", quoted(rest))),
        }
    }
}

/// Shows bytes of a file in an error: printable, and not more than a few.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    match bytes.len() {
        0..=SHOWN => shown,
        _ => shown + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_in_order() {
        let mut fields = Fields::blank(b"A 12  ff");
        assert_eq!(fields.text("kind").unwrap(), b"A");
        assert_eq!(fields.decimal("id"), Ok(12));
        assert!(fields.end().is_err());
        assert_eq!(fields.hex("flags"), Ok(255));
        assert_eq!(fields.end(), Ok(()));
        assert_eq!(
            fields.decimal("more"),
            Err("the more is missing".to_owned())
        );
    }

    #[test]
    fn numbers_out_of_range_name_the_range() {
        let error = Fields::blank(b"11").up_to("order", 10).unwrap_err();
        assert_eq!(error, "order 11 is out of range: accepted is 0 to 10");
        assert!(
            Fields::blank(b"99999999999999999999")
                .decimal("id")
                .is_err()
        );
        assert!(Fields::blank(b"-1").decimal("id").is_err());
        assert!(Fields::blank(b"+1").decimal("id").is_err());
    }

    #[test]
    fn errors_show_a_few_printable_bytes() {
        assert_eq!(quoted(b"a\x00b"), "a\\x00b");
        assert!(quoted(&[b'x'; 100]).len() < 40);
    }
}
