//! The text formats that list references: one request a line.
//!
//! | format | line |
//! |---|---|
//! | `.key.txt` | a page number; lines that begin with `*` are comments |
//! | `.pages` | `R` or `W`, a page number |
//! | `.vscsi.csv` | a header, then `version,time,op,size,lbn`: SCSI code, bytes, 512-byte sector |
//! | `.lis` | `first count ignored seq` in 512-byte blocks; in `OLTP.lis` in pages |
//! | `.obj.txt` | `time id size` |
//!
//! A request on sectors references every page that it overlaps.
#![forbid(unsafe_code)]

use pagepool::PAGE_SIZE;

use super::{
    error::{Place, TraceError},
    lines::{Fields, for_each_line, quoted},
    references::{Access, ReferenceTrace, ReferenceTraceBuilder},
    source::Source,
};

const SECTOR: u64 = 512;
const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR;

/// What a line says: adds its references.
pub(crate) type LineReader = fn(&[u8], &mut ReferenceTraceBuilder) -> Result<(), String>;

/// Reads a trace whose lines `read_line` understands.
pub(crate) fn read(source: Source, read_line: LineReader) -> Result<ReferenceTrace, TraceError> {
    let name = source.name.clone();
    let mut builder = ReferenceTraceBuilder::new(&name);
    for_each_line(source, |line| {
        builder.read(line.len());
        read_line(line, &mut builder)
    })?;
    builder
        .finish()
        .map_err(|what| TraceError::new(&name, Place::Whole, what))
}

/// `.key.txt`
pub(crate) fn key(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    if line.starts_with(b"*") {
        return Ok(());
    }
    let mut fields = Fields::blank(line);
    references.page(fields.decimal("page number")?, Access::Read)?;
    fields.end()
}

/// `.pages`
pub(crate) fn pages(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    let mut fields = Fields::blank(line);
    let access = match fields.text("access")? {
        b"R" => Access::Read,
        b"W" => Access::Write,
        other => return Err(format!("access \"{}\" is neither R nor W", quoted(other))),
    };
    references.page(fields.decimal("page number")?, access)?;
    fields.end()
}

/// `.vscsi.csv`
pub(crate) fn vscsi(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    if line.starts_with(b"version") {
        return Ok(());
    }
    let mut fields = Fields::comma(line);
    fields.decimal("version")?;
    fields.decimal("time")?;
    let access = access_of_scsi(fields.hex("op")?);
    let size = fields.decimal("size")?;
    let sector = fields.decimal("lbn")?;
    fields.end()?;
    match access {
        Some(access) if size > 0 => sectors(references, sector, size.div_ceil(SECTOR), access),
        _ => {
            references.skip();
            Ok(())
        }
    }
}

/// What a SCSI command does: READ and WRITE of 6, 10, 12 and 16 bytes; none for any other.
fn access_of_scsi(op: u64) -> Option<Access> {
    match op {
        0x08 | 0x28 | 0xa8 | 0x88 => Some(Access::Read),
        0x0a | 0x2a | 0xaa | 0x8a => Some(Access::Write),
        _ => None,
    }
}

/// `.lis` in sectors
pub(crate) fn lis(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    let (first, count) = first_and_count(line)?;
    sectors(references, first, count, Access::Read)
}

/// `.lis` in pages
pub(crate) fn lis_pages(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    let (first, count) = first_and_count(line)?;
    references.pages(first, count, Access::Read)
}

fn first_and_count(line: &[u8]) -> Result<(u64, u64), String> {
    let mut fields = Fields::blank(line);
    let first = fields.decimal("first block")?;
    let count = fields.decimal("count")?;
    fields.text("third field")?;
    fields.decimal("sequence number")?;
    fields.end()?;
    match count {
        0 => Err("a count of 0 blocks".to_owned()),
        count => Ok((first, count)),
    }
}

fn sectors(
    references: &mut ReferenceTraceBuilder,
    first: u64,
    count: u64,
    access: Access,
) -> Result<(), String> {
    let Some(last) = first.checked_add(count - 1) else {
        return Err(format!("sector {first} is out of range"));
    };
    let page = first / SECTORS_PER_PAGE;
    references.pages(page, last / SECTORS_PER_PAGE - page + 1, access)
}

/// `.obj.txt`
pub(crate) fn object(line: &[u8], references: &mut ReferenceTraceBuilder) -> Result<(), String> {
    let mut fields = Fields::blank(line);
    fields.text("time")?;
    let id = fields.decimal("id")?;
    references.object(id, fields.decimal("size")?)?;
    fields.end()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Trace, test_support::*},
        *,
    };

    #[track_caller]
    fn references(name: &str, text: &str) -> ReferenceTrace {
        match parse(name, text.as_bytes()).unwrap() {
            Trace::References(trace) => trace,
            Trace::Blocks(_) => panic!("not a trace of references"),
        }
    }

    #[test]
    fn keys_skip_comments() {
        assert_eq!(
            references("t.key.txt", "*\n5\r\n6\n5\n").references.len(),
            3
        );
        assert_refused(
            "t.key.txt",
            b"5\nfive\n",
            "line 2: page number \"five\" is not a number",
        );
        assert_refused("t.key.txt", b"*\n", "the trace holds no reference");
    }

    #[test]
    fn pages_know_writes() {
        let trace = references("t.pages", "R 1\nW 1\n");
        assert_eq!(trace.references[1].access(), Access::Write);
        assert_refused(
            "t.pages",
            b"R 1\nQ 1\n",
            "line 2: access \"Q\" is neither R nor W",
        );
        assert_refused("t.pages", b"R\n", "line 1: the page number is missing");
    }

    #[test]
    fn sectors_touch_every_page_they_overlap() {
        let text = "version,time,op,size,lbn\n1,5,2a,4096,7\n1,6,28,512,8\n1,7,35,0,0\n";
        let trace = references("t.vscsi.csv", text);
        assert_eq!(trace.references.len(), 3);
        assert_eq!(trace.footprint_pages, 2);
        assert_eq!(trace.nr_skipped, 1);
        let refused = |text: &[u8], message| assert_refused("t.vscsi.csv", text, message);
        refused(
            b"version,time,op,size,lbn\n1,5,2a,4096\n",
            "line 2: the lbn is missing",
        );
        refused(
            b"1,5,2a,4096,18446744073709551615\n",
            "line 1: sector 18446744073709551615 is out of range",
        );
        refused(
            b"1,5,28,99999999999999,1\n",
            "line 1: a request of 24414062501 pages; accepted is 262144",
        );
        refused(
            b"version,time,op,size,lbn\n",
            "the trace holds no reference",
        );
    }

    #[test]
    fn lis_counts_sectors_and_oltp_pages() {
        assert_eq!(references("P1.lis", "6 4 0 1\n").references.len(), 2);
        assert_eq!(references("OLTP.lis", "6 4 0 1\n").references.len(), 4);
        assert_refused("P1.lis", b"6 0 0 1\n", "line 1: a count of 0 blocks");
        assert_refused(
            "P1.lis",
            b"6 1 0\n",
            "line 1: the sequence number is missing",
        );
    }

    #[test]
    fn objects_have_sizes() {
        let trace = references("t.obj.txt", "1 7 68\n2 8 7454\n3 7 68\n");
        assert_eq!(trace.footprint_pages, 3);
        assert_refused("t.obj.txt", b"1 7\n", "line 1: the size is missing");
    }
}
