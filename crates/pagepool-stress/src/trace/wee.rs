//! `.malloc.txt`: `Alloc(SIZE),` and `Free(N),` where N counts the allocations from 0.
#![forbid(unsafe_code)]

use super::{
    blocks::BlockTrace,
    error::{Place, TraceError},
    lines::{Fields, for_each_line, quoted},
    objects::ObjectMapper,
    source::Source,
};

/// Reads a trace of this format.
pub(crate) fn read(source: Source) -> Result<BlockTrace, TraceError> {
    let name = source.name.clone();
    let mut objects = ObjectMapper::new(&name);
    for_each_line(source, |line| {
        objects.read(line.len());
        read_line(line, &mut objects)
    })?;
    objects
        .finish()
        .map_err(|what| TraceError::new(&name, Place::Whole, what))
}

fn read_line(line: &[u8], objects: &mut ObjectMapper) -> Result<(), String> {
    let line = line.strip_suffix(b",").unwrap_or(line);
    let Some(call) = line.strip_suffix(b")") else {
        return Err(format!(
            "\"{}\" is neither Alloc(SIZE) nor Free(N)",
            quoted(line)
        ));
    };
    if let Some(size) = call.strip_prefix(b"Alloc(") {
        return objects.alloc(objects.next_id(), only(size, "size")?, 0);
    }
    match call.strip_prefix(b"Free(") {
        Some(id) => objects.free(only(id, "number")?),
        None => Err(format!(
            "\"{}\" is neither Alloc(SIZE) nor Free(N)",
            quoted(line)
        )),
    }
}

/// The number that all of `text` is.
fn only(text: &[u8], name: &str) -> Result<u64, String> {
    let mut fields = Fields::blank(text);
    let number = fields.decimal(name)?;
    fields.end()?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::super::{Trace, test_support::*};

    #[test]
    fn objects_are_counted_from_zero() {
        let text = b"Alloc(552),\nAlloc(9000),\nFree(1),\nAlloc(1),\nFree(0),";
        let Trace::Blocks(trace) = parse("t.malloc.txt", text).unwrap() else {
            panic!()
        };
        assert_eq!((trace.nr_allocs, trace.pages_at_end), (3, 1));
    }

    #[test]
    fn broken_lines_are_named() {
        let refused = |text: &[u8], message| assert_refused("t.malloc.txt", text, message);
        refused(b"Alloc(5 6),\n", "line 1: \"6\" follows the last field");
        refused(
            b"Alloc(5),\nFree(1),\n",
            "line 2: object 1 was never allocated",
        );
        refused(
            b"Alloc(5),\nFree(0),\nFree(0),\n",
            "line 3: object 0 is not live: freed before, or never allocated",
        );
        refused(b"Alloc(x),\n", "line 1: size \"x\" is not a number");
        refused(
            b"Alloc(5),\nAllo",
            "line 2: \"Allo\" is neither Alloc(SIZE) nor Free(N)",
        );
    }
}
