//! `.mtr`: the malloc calls of a program.
//!
//! ```text
//! a ID SIZE            malloc          r ID SIZE    realloc; the object keeps its id
//! c ID SIZE            calloc          f ID         free
//! m ID SIZE LOG2ALIGN  aligned         t N          the following calls are thread N's
//! ```
//!
//! Ids count up. Threads are read and not told apart.
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
    let mut fields = Fields::blank(line);
    let call = fields.text("call")?;
    match call {
        b"t" => drop(fields.decimal("thread")?),
        b"f" => objects.free(fields.decimal("id")?)?,
        b"a" | b"c" | b"m" | b"r" => {
            let id = fields.decimal("id")?;
            let size = fields.decimal("size")?;
            match call {
                b"m" => objects.alloc(id, size, fields.decimal("alignment")?)?,
                b"r" => objects.realloc(id, size)?,
                _ => objects.alloc(id, size, 0)?,
            }
        }
        other => return Err(format!("unknown call \"{}\"", quoted(other))),
    }
    fields.end()
}

#[cfg(test)]
mod tests {
    use super::super::{Trace, test_support::*};

    #[test]
    fn calls_become_blocks() {
        let text = b"t 1\na 0 5000\nc 1 24\nm 2 100 13\nr 0 20000\nf 1\n";
        let Trace::Blocks(trace) = parse("t.mtr", text).unwrap() else {
            panic!()
        };
        assert_eq!(trace.nr_allocs, 4);
        assert_eq!(trace.pages_at_end, 2 + 8);
    }

    #[test]
    fn broken_lines_are_named() {
        let refused = |text: &[u8], message| assert_refused("t.mtr", text, message);
        refused(
            b"a 0 10\nf 0\nf 0\n",
            "line 3: object 0 is not live: freed before, or never allocated",
        );
        refused(b"f 0\n", "line 1: object 0 was never allocated");
        refused(b"r 3 10\n", "line 1: object 3 was never allocated");
        refused(b"a 0 10\na 0 10\n", "line 2: id 0 was given before");
        refused(
            b"a 0 99999999999999\n",
            "line 1: size 99999999999999 is out of range: accepted is 0 to 1099511627776",
        );
        refused(
            b"m 0 1 40\n",
            "line 1: alignment 2^40 is out of range: accepted is 2^0 to 2^22",
        );
        refused(b"a 0\n", "line 1: the size is missing");
        refused(b"z 0\n", "line 1: unknown call \"z\"");
        refused(b"t 1\n", "the trace holds no allocation");
    }
}
