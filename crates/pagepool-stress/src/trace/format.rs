//! Which format a trace is in: told by the file's name, else by its first line.
#![forbid(unsafe_code)]

use std::io::BufRead;

use clap::ValueEnum;

use super::{
    error::{Place, TraceError},
    source::Source,
};

/// A format that a trace can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Page allocations of a kernel.
    Pga,
    /// Malloc calls with ids.
    Mtr,
    /// `Alloc(SIZE),` and `Free(N),`.
    Malloc,
    /// Page references, `R` or `W` and a number.
    Pages,
    /// Page numbers, one a line.
    Key,
    /// Block requests of a virtual machine.
    Vscsi,
    /// Block ranges in 512-byte sectors (ARC).
    Lis,
    /// Block ranges in pages (ARC's OLTP).
    LisPages,
    /// Objects with sizes.
    Obj,
    /// Page numbers as 32-bit little-endian integers.
    U32le,
    /// Page numbers as 32-bit big-endian integers.
    U32be,
    /// Page numbers as 64-bit big-endian integers.
    U64be,
}

/// Endings of names, the longer of two that match first.
const SUFFIXES: [(&str, Format); 14] = [
    (".malloc.txt", Format::Malloc),
    (".vscsi.csv", Format::Vscsi),
    (".vscsi", Format::Vscsi),
    (".key.txt", Format::Key),
    (".obj.txt", Format::Obj),
    (".pga", Format::Pga),
    (".mtr", Format::Mtr),
    (".pages", Format::Pages),
    (".key", Format::Key),
    (".obj", Format::Obj),
    (".lis", Format::Lis),
    (".u32le", Format::U32le),
    (".u32be", Format::U32be),
    (".u64be", Format::U64be),
];

impl Format {
    /// The format that a file's name, without a compression suffix, says.
    pub(crate) fn of_name(stem: &str) -> Option<Format> {
        let lower = stem.to_ascii_lowercase();
        let named = SUFFIXES.iter().find(|(suffix, _)| lower.ends_with(suffix));
        match named?.1 {
            Format::Lis if lower.starts_with("oltp") => Some(Format::LisPages),
            format => Some(format),
        }
    }

    /// The format that the first line shows.
    fn of_content(start: &[u8]) -> Option<Format> {
        let line = start
            .split(|byte| *byte == b'\n')
            .find(|line| !line.trim_ascii().is_empty())?;
        let line = std::str::from_utf8(line).ok()?.trim();
        if line.starts_with("Alloc(") {
            return Some(Format::Malloc);
        }
        if line.starts_with("version,") {
            return Some(Format::Vscsi);
        }
        if line.starts_with('*') {
            return Some(Format::Key);
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let numbers = fields
            .iter()
            .filter(|field| field.parse::<u64>().is_ok())
            .count();
        // A line that is blank to Rust and not to ASCII, such as a vertical tab, has no field.
        match (*fields.first()?, fields.len(), numbers) {
            ("A", 7, _) | ("X", 4, _) => Some(Format::Pga),
            ("R" | "W", 2, 1) => Some(Format::Pages),
            ("t", 2, 1) | ("a" | "c", 3, 2) | ("m", 4, 3) => Some(Format::Mtr),
            (_, 1, 1) => Some(Format::Key),
            (_, 3, 3) => Some(Format::Obj),
            (_, 4, 4) => Some(Format::Lis),
            _ => None,
        }
    }

    /// The format of `source`.
    pub(crate) fn recognise(source: &mut Source) -> Result<Format, TraceError> {
        if let Some(format) = Format::of_name(&source.stem) {
            return Ok(format);
        }
        let fail = |what: String| TraceError::new(&source.name, Place::Byte(0), what);
        let start = source
            .bytes
            .fill_buf()
            .map_err(|error| fail(super::source::explain(&error)))?;
        Format::of_content(start).ok_or_else(|| {
            let names = Format::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
            fail(format!(
                "neither the name nor the first line tells the format; give --format, one of {}",
                names.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("guest-a.pga", Format::Pga),
            ("wee-gcc-hello.malloc.txt", Format::Malloc),
            ("cloudphysics-io.vscsi.csv", Format::Vscsi),
            ("lirs-loop.key.txt", Format::Key),
            ("OLTP.lis", Format::LisPages),
            ("P1.lis", Format::Lis),
        ] {
            assert_eq!(Format::of_name(name), Some(format), "{name}");
        }
        assert_eq!(Format::of_name("trace.txt"), None);
    }

    #[test]
    fn first_lines_tell_formats() {
        for (line, format) in [
            ("A 0 2 2 d2050 5990 0", Some(Format::Pga)),
            ("t 1", Some(Format::Mtr)),
            ("a 0 48", Some(Format::Mtr)),
            ("Alloc(552),", Some(Format::Malloc)),
            ("W 16435", Some(Format::Pages)),
            ("version,time,op,size,lbn", Some(Format::Vscsi)),
            ("\r\n17\r\n", Some(Format::Key)),
            ("1 0 68", Some(Format::Obj)),
            ("6 4 0 1", Some(Format::Lis)),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(Format::of_content(line.as_bytes()), format, "{line}");
        }
        assert_eq!(Format::of_content(&[0xff, 0, 1]), None);
        // A vertical tab is a blank to `str::trim`, and none to `trim_ascii`: the first field was asked for
        // in a line that had none, and the tool died of it.
        assert_eq!(Format::of_content(b"\x0b\n"), None);
    }
}
