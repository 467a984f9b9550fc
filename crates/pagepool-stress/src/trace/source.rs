//! Opens a trace and takes its compression off: zstd, xz and gzip, told by their first bytes.
//!
//! A file named for a compression that its bytes do not show is refused, so that a damaged file is
//! never read as another format.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::{
    error::{Place, TraceError},
    zstd::ZstdReader,
};

/// A trace's bytes after decompression, with the name to report it by.
pub(crate) struct Source {
    /// The name as the user gave it.
    pub(crate) name: String,
    /// The file's name without folders and without a compression suffix; tells the format.
    pub(crate) stem: String,
    /// The bytes.
    pub(crate) bytes: Box<dyn BufRead>,
}

/// A compression: file suffix and first bytes.
struct Compression {
    suffix: &'static str,
    magic: &'static [u8],
    open: fn(Box<dyn BufRead>) -> Box<dyn Read>,
}

const COMPRESSIONS: [Compression; 3] = [
    Compression {
        suffix: ".zst",
        magic: &[0x28, 0xb5, 0x2f, 0xfd],
        open: |bytes| Box::new(ZstdReader::new(bytes)),
    },
    Compression {
        suffix: ".xz",
        magic: &[0xfd, b'7', b'z', b'X', b'Z', 0],
        open: |bytes| Box::new(XzReader::new(bytes, true)),
    },
    Compression {
        suffix: ".gz",
        magic: &[0x1f, 0x8b],
        open: |bytes| Box::new(MultiGzDecoder::new(bytes)),
    },
];

/// Bytes decoded at a time: large enough that the calls do not show, small enough for the cache.
const BUFFER: usize = 64 << 10;

impl Source {
    /// Opens the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Source, TraceError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| TraceError::new(&name, Place::Whole, error))?;
        Source::new(name, Box::new(BufReader::with_capacity(BUFFER, file)))
    }

    /// Reads bytes that are in memory already, under the name `name`.
    pub(crate) fn in_memory(name: &str, bytes: &'static [u8]) -> Result<Source, TraceError> {
        Source::new(name.to_owned(), Box::new(bytes))
    }

    /// Reads bytes that somebody made up, as a file called `name`.
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, TraceError> {
        Source::new(name.to_owned(), Box::new(Cursor::new(bytes)))
    }

    fn new(name: String, mut bytes: Box<dyn BufRead>) -> Result<Source, TraceError> {
        let fail = |place, what: String| TraceError::new(&name, place, what);
        let start = bytes
            .fill_buf()
            .map_err(|error| fail(Place::Byte(0), error.to_string()))?;
        if start.is_empty() {
            return Err(fail(Place::Byte(0), "the file is empty".to_owned()));
        }
        let found = COMPRESSIONS.iter().find(|c| start.starts_with(c.magic));
        let named = COMPRESSIONS.iter().find(|c| name.ends_with(c.suffix));
        if let (None, Some(named)) = (found, named) {
            let what = format!("named {} but does not begin like such a file", named.suffix);
            return Err(fail(Place::Byte(0), what));
        }
        let bytes = match found {
            Some(found) => Box::new(BufReader::with_capacity(BUFFER, (found.open)(bytes))),
            None => bytes,
        };
        Ok(Source {
            stem: stem(&name),
            name,
            bytes,
        })
    }
}

/// The last part of a path, without the suffix of a compression.
pub(crate) fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let suffix = COMPRESSIONS
        .iter()
        .find_map(|c| name.strip_suffix(c.suffix));
    suffix.unwrap_or(name).to_owned()
}

/// Says what an input error means to someone who wanted to replay a trace.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed data is cut short".to_owned(),
        _ => format!("cannot be decompressed: {error}"),
    }
}
