//! Reads traces of what real systems asked for, in every format that the project knows.
//!
//! A trace is one of two kinds: *blocks*, which say what to allocate and when to free it, and
//! *references*, which say what is used and leave it to a cache what to keep.
#![forbid(unsafe_code)]

mod allowance; // how many events a file may stand for
pub(crate) mod blocks; // a trace of blocks
mod error; // what is wrong, and where
mod format; // which format a file is in
mod gfp; // a kernel's request flags
mod integers; // .u32le .u32be .u64be
pub(crate) mod kernel; // how a real kernel stood at the end
mod lines; // text, line by line
mod mtr; // .mtr
mod objects; // malloc calls, mapped to blocks
mod pga; // .pga
pub(crate) mod references; // a trace of references
pub(crate) mod recorded; // a recording of a pool, as a script
mod requests; // .key.txt .pages .vscsi.csv .lis .obj.txt
pub(crate) mod shipped; // the traces that are part of the binary
pub(crate) mod source; // files and compression
#[cfg(test)]
mod test_support;
mod wee; // .malloc.txt
mod zstd; // frames of zstd

use std::path::Path;

pub(crate) use self::{
    blocks::BlockTrace, error::TraceError, format::Format, references::ReferenceTrace,
};
use self::{integers::Layout, source::Source};

/// A trace, ready to be replayed.
#[derive(Debug)]
pub(crate) enum Trace {
    Blocks(BlockTrace),
    References(ReferenceTrace),
}

/// Reads the file at `path`, in `format` or the one that the file shows.
pub(crate) fn open(path: &Path, format: Option<Format>) -> Result<Trace, TraceError> {
    read(Source::open(path)?, format)
}

/// Reads `source`, in `format` or the one that it shows.
pub(crate) fn read(mut source: Source, format: Option<Format>) -> Result<Trace, TraceError> {
    let format = match format {
        Some(format) => format,
        None => Format::recognise(&mut source)?,
    };
    let blocks = |trace: Result<_, _>| trace.map(Trace::Blocks);
    let references = |trace: Result<_, _>| trace.map(Trace::References);
    match format {
        Format::Pga => blocks(pga::read(source)),
        Format::Mtr => blocks(mtr::read(source)),
        Format::Malloc => blocks(wee::read(source)),
        Format::Pages => references(requests::read(source, requests::pages)),
        Format::Key => references(requests::read(source, requests::key)),
        Format::Vscsi => references(requests::read(source, requests::vscsi)),
        Format::Lis => references(requests::read(source, requests::lis)),
        Format::LisPages => references(requests::read(source, requests::lis_pages)),
        Format::Obj => references(requests::read(source, requests::object)),
        Format::U32le => references(integers::read(source, Layout::U32Le)),
        Format::U32be => references(integers::read(source, Layout::U32Be)),
        Format::U64be => references(integers::read(source, Layout::U64Be)),
    }
}
