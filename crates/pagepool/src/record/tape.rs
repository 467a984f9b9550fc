//! A whole recording: what the pool was, what happened to it, and whether that is all.
//!
//! ```text
//!  magic 8 | version 2 | event size 2 | page size 4 | text length 4 | flags 4 | 0 8      the header, 32 bytes
//!  text: a line `name = value` for each setting of the pool                              UTF-8, padded by blanks to 32
//!  events, 32 bytes each, in the order in which they were handed over                    sorted by number when read
//!  the end: how many events there are, how long was recorded, how many were lost         32 bytes
//! ```
//!
//! All numbers are little-endian. A file without its end was cut off, or its program did not stop the recording.
//!
//! **Invariants**
//! - X1: whatever the bytes are, reading them takes no more memory than four times their number, and ends in a tape
//!   whose events all decode, or in a line that says what is wrong.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;

use super::code::{EVENT_BYTES, End, EventBytes};
use super::event::Event;
use super::stock::{Find, Stock};
use crate::error::Printable;
use crate::types::PAGE_SIZE;

/// What a recording begins with.
const MAGIC: [u8; 8] = *b"PPRECORD";
/// The format that this version writes, and reads.
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;
/// Settings of a pool are some hundred bytes.
const MAX_TEXT: usize = 64 << 10;
/// Events that are read: 2 GiB of them.
const MAX_EVENTS: u64 = 1 << 26;

/// Why bytes are no recording that can be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TapeError {
    /// The system's answer.
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("not a recording: it does not begin with {}", MAGIC.escape_ascii())]
    Foreign,
    /// It was written by another version.
    #[error(
        "a recording in format {found}: this version reads format {VERSION}; record it anew, or use the version that wrote it"
    )]
    Version {
        /// The format's number.
        found: u16,
    },
    /// It was made for other pages or other events.
    #[error("a recording with {what} of {found} bytes: this version has {expected}")]
    Size {
        /// Of what.
        what: &'static str,
        /// What the file says.
        found: u32,
        /// What it should be.
        expected: u32,
    },
    /// It ends before its first event.
    #[error("a recording that ends within its header: the file was cut off")]
    HeaderCutOff,
    /// What it says about the pool is not what a pool is.
    #[error("a recording whose description of the pool is damaged: {}", Printable(.what))]
    Text {
        /// What is wrong.
        what: String,
    },
    /// An event says nothing.
    #[error("a recording that is damaged: event {index} has no valid {field}")]
    Event {
        /// Which, from 0, in the order of the file.
        index: u64,
        /// Which of its fields.
        field: &'static str,
    },
    /// The end says something else than what is there.
    #[error(
        "a recording that is damaged: its end says that there are {said} events, but there are {found}"
    )]
    Count {
        /// What its end says.
        said: u64,
        /// What there is.
        found: u64,
    },
    /// There is more than a tape can hold.
    #[error(
        "a recording of {found} events: no more than {MAX_EVENTS} are read at once; record a shorter time"
    )]
    TooLong {
        /// How many there are.
        found: u64,
    },
}

/// How a recording ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// As it should.
    Whole(End),
    /// Without its end.
    CutOff,
}

/// A recording in memory.
///
/// ```
/// # use pagepool::{Gfp, Order, PagePool, RecordOptions, Tape};
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let recording = pool.record(RecordOptions::ring(1 << 20))?;
/// drop(pool.alloc_pages(Order::ZERO, Gfp::KERNEL)?);
/// let tape = recording.stop()?.tape.unwrap();
/// let mut bytes = Vec::new();
/// tape.write_to(&mut bytes)?;
/// assert_eq!(Tape::from_bytes(&bytes)?.events(), tape.events());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tape {
    settings: Vec<(String, String)>,
    events: Vec<Event>,
    ending: Ending,
}

impl Tape {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TapeError`], which says what is wrong with it. That it was cut off somewhere among its events is no error:
    /// [`is_cut_off`](Self::is_cut_off).
    pub fn open(path: impl AsRef<Path>) -> Result<Tape, TapeError> {
        let mut file = File::open(path)?;
        let mut header = [0; HEADER_BYTES];
        let read = read_up_to(&mut file, &mut header)?;
        parse_header(&header[..read])?;
        let rest = file.metadata()?.len().saturating_sub(HEADER_BYTES as u64);
        check_count(rest / EVENT_BYTES as u64)?;
        let mut bytes = header.to_vec();
        // A file may grow meanwhile.
        file.take(rest).read_to_end(&mut bytes)?;
        Tape::from_bytes(&bytes)
    }

    /// Whether bytes begin as a recording does, of whatever version.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads a recording from memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8]) -> Result<Tape, TapeError> {
        let text_len = parse_header(bytes)?;
        let text = { bytes[HEADER_BYTES..].get(..text_len) }.ok_or(TapeError::HeaderCutOff)?;
        let settings = parse_text(text)?;
        let (events, ending) = parse_events(&bytes[HEADER_BYTES + text_len..])?;
        Ok(Tape {
            settings,
            events,
            ending,
        })
    }

    /// Writes it, as a file has it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_to(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&header(&self.settings))?;
        for event in &self.events {
            to.write_all(&event.encode())?;
        }
        match self.ending {
            Ending::Whole(end) => to.write_all(&end.encode()),
            Ending::CutOff => Ok(()),
        }
    }

    /// Writes it to a file, which is made or replaced.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity((self.events.len() + 64) * EVENT_BYTES);
        self.write_to(&mut bytes)?;
        fs::write(path, bytes)
    }

    /// Takes what a ring has kept.
    pub(crate) fn of_ring(settings: Vec<(String, String)>, stock: &Stock, end: End) -> Tape {
        let mut events = Vec::new();
        while let Find::Chunk(chunk) = stock.find() {
            let each = chunk.bytes().chunks_exact(EVENT_BYTES);
            let decoded = each.map(|bytes| Event::decode(bytes.try_into().expect("as long")));
            events.extend(decoded.map(|event| event.expect("V1: it was encoded here")));
        }
        events.sort_unstable_by_key(|event| event.number);
        let ending = Ending::Whole(End {
            events: events.len() as u64,
            ..end
        });
        Tape {
            settings,
            events,
            ending,
        }
    }

    /// What the pool was when the recording began, by name: `memory`, `nodes` and so on, and all its
    /// [tunables](crate::Tunables::all).
    pub fn settings(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let settings = self.settings.iter();
        settings.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One of them.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// What happened, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether the end is missing: the file was cut off, or its program ended without stopping the recording.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.ending == Ending::CutOff
    }

    /// Events that happened and are not here: the writer did not keep up, or a ring was too small.
    #[must_use]
    pub fn lost(&self) -> u64 {
        match self.ending {
            Ending::Whole(end) => end.lost,
            Ending::CutOff => 0,
        }
    }

    /// How long was recorded, in nanoseconds.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        match self.ending {
            Ending::Whole(end) => end.time_ns,
            Ending::CutOff => self.events.last().map_or(0, |event| event.time_ns),
        }
    }
}

/// The header and the text, as a file begins.
pub(crate) fn header(settings: &[(String, String)]) -> Vec<u8> {
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    let mut text: String = lines.collect();
    let padding = text.len().next_multiple_of(HEADER_BYTES) - text.len();
    text.extend(std::iter::repeat_n(' ', padding));
    let mut bytes = Vec::with_capacity(HEADER_BYTES + text.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((EVENT_BYTES as u16).to_le_bytes());
    bytes.extend((PAGE_SIZE as u32).to_le_bytes());
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(text.as_bytes());
    bytes
}

/// Sees whether this is a recording that can be read; returns the length of the text.
fn parse_header(bytes: &[u8]) -> Result<usize, TapeError> {
    if !Tape::is_one(bytes) {
        return Err(TapeError::Foreign);
    }
    let header = bytes.get(..HEADER_BYTES).ok_or(TapeError::HeaderCutOff)?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| header[at + n]));
    let found = u16_at(8);
    if found != VERSION {
        return Err(TapeError::Version { found });
    }
    let sizes = [
        ("events", u32::from(u16_at(10)), EVENT_BYTES as u32),
        ("pages", u32_at(12), PAGE_SIZE as u32),
    ];
    for (what, found, expected) in sizes {
        if found != expected {
            return Err(TapeError::Size {
                what,
                found,
                expected,
            });
        }
    }
    let text_len = u32_at(16) as usize;
    if text_len > MAX_TEXT {
        return Err(damaged(format!("{text_len} bytes, of {MAX_TEXT} at most")));
    }
    Ok(text_len)
}

fn damaged(what: impl Into<String>) -> TapeError {
    TapeError::Text { what: what.into() }
}

fn parse_text(text: &[u8]) -> Result<Vec<(String, String)>, TapeError> {
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is no text"))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let setting = |line: &str| {
        let (name, value) = line.split_once(" = ").ok_or_else(|| damaged(line))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    lines.map(setting).collect()
}

fn check_count(found: u64) -> Result<(), TapeError> {
    if found > MAX_EVENTS {
        return Err(TapeError::TooLong { found });
    }
    Ok(())
}

fn parse_events(bytes: &[u8]) -> Result<(Vec<Event>, Ending), TapeError> {
    check_count((bytes.len() / EVENT_BYTES) as u64)?;
    let mut events = Vec::with_capacity(bytes.len() / EVENT_BYTES);
    let mut ending = Ending::CutOff;
    for (index, bytes) in (0..).zip(bytes.chunks_exact(EVENT_BYTES)) {
        let bytes: &EventBytes = bytes.try_into().expect("as long");
        if let Some(end) = End::decode(bytes) {
            if end.events != index {
                return Err(TapeError::Count {
                    said: end.events,
                    found: index,
                });
            }
            ending = Ending::Whole(end);
            break;
        }
        let event = Event::decode(bytes).map_err(|field| TapeError::Event { index, field })?;
        events.push(event);
    }
    events.sort_unstable_by_key(|event: &Event| event.number);
    Ok((events, ending))
}

/// As much as there is, up to the length of `bytes`; returns how much.
fn read_up_to(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match from.read(&mut bytes[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::code::tests::one_of_each;
    use super::*;

    fn tape() -> Tape {
        let settings = [("memory", "67108864"), ("lowmem_reserve_ratio", "256 32 0")];
        let events = one_of_each();
        let end = End {
            events: events.len() as u64,
            time_ns: 99,
            lost: 3,
        };
        Tape {
            settings: settings
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            events,
            ending: Ending::Whole(end),
        }
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        tape().write_to(&mut bytes).unwrap();
        bytes
    }

    /// What is said of a recording of which these bytes were changed.
    fn complaint(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = bytes();
        change(&mut bytes);
        Tape::from_bytes(&bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let read = Tape::from_bytes(&bytes()).unwrap();
        assert_eq!(read, tape());
        assert_eq!(read.setting("lowmem_reserve_ratio"), Some("256 32 0"));
        assert_eq!(
            (read.lost(), read.time_ns(), read.is_cut_off()),
            (3, 99, false)
        );
    }

    #[test]
    fn events_are_sorted_by_number() {
        let mut bytes = bytes();
        let first = bytes.len() - (one_of_each().len() + 1) * EVENT_BYTES;
        let (one, other) = bytes[first..].split_at_mut(EVENT_BYTES);
        one.swap_with_slice(&mut other[..EVENT_BYTES]);
        assert_eq!(Tape::from_bytes(&bytes).unwrap(), tape());
    }

    /// At whatever byte a file is cut off, what is left is told to be so, and no event is made up.
    #[test]
    fn a_tail_that_is_missing_is_detected() {
        let all = bytes();
        let first_event = all.len() - (one_of_each().len() + 1) * EVENT_BYTES;
        for len in 0..all.len() {
            let read = Tape::from_bytes(&all[..len]);
            match read {
                Ok(tape) => {
                    assert!(len >= first_event && tape.is_cut_off());
                    let whole = (len - first_event) / EVENT_BYTES;
                    assert_eq!(tape.events(), &one_of_each()[..whole]);
                }
                Err(TapeError::Foreign) => assert!(len < 8, "{len}"),
                Err(error) => assert!(
                    matches!(error, TapeError::HeaderCutOff) && len < first_event,
                    "{len}: {error}"
                ),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(complaint(|bytes| bytes[0] = b'Q').starts_with("not a recording"));
        assert!(complaint(|bytes| bytes[8] = 9).contains("in format 9"));
        assert!(complaint(|bytes| bytes[10] = 64).contains("events of 64 bytes"));
        assert!(complaint(|bytes| bytes[13] = 0x40).contains("pages of 16384 bytes"));
        assert!(complaint(|bytes| bytes[18] = 0x40).contains("4194"));
        assert!(complaint(|bytes| bytes[32] = 0xff).contains("no text"));
        assert!(complaint(|bytes| bytes[39] = b'-').contains("memory"));
        let at = |bytes: &Vec<u8>, n: usize| bytes.len() - n * EVENT_BYTES;
        let no_kind = complaint(|bytes| {
            let at = at(bytes, 2) + 28;
            bytes[at] = 0;
        });
        assert!(no_kind.contains("event 13 has no valid kind"), "{no_kind}");
        let count = complaint(|bytes| {
            let at = at(bytes, 1);
            bytes[at] = 15;
        });
        assert!(count.contains("15 events, but there are 14"), "{count}");
    }

    #[test]
    fn a_file_is_read_as_its_bytes_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ppr");
        tape().save(&path).unwrap();
        assert_eq!(Tape::open(&path).unwrap(), tape());
        fs::write(&path, b"short").unwrap();
        assert!(matches!(Tape::open(&path), Err(TapeError::Foreign)));
        assert!(matches!(
            Tape::open(folder.path().join("b")),
            Err(TapeError::Io(_))
        ));
    }
}
