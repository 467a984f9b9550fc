//! `.pga`: the page allocations of a kernel.
//!
//! ```text
//! A ID ORDER MIGRATETYPE GFP PFN DT     allocation; GFP and PFN in hexadecimal, DT in µs
//! F ID                                  free
//! S ID NEWORDER FIRSTID                 split into blocks FIRSTID, FIRSTID + 1, …
//! X ORDER MIGRATETYPE GFP               the kernel's allocation failed
//! ```
//!
//! Ids count up; a block that is live at the end simply stays.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use pagepool::{Gfp, Order};

use super::{
    blocks::{BlockTrace, BlockTraceBuilder},
    error::{Place, TraceError},
    gfp::{self, Column},
    lines::{Fields, for_each_line, quoted},
    source::Source,
};

/// Reads a trace of this format.
pub(crate) fn read(source: Source) -> Result<BlockTrace, TraceError> {
    let name = source.name.clone();
    let mut reader = Reader {
        blocks: BlockTraceBuilder::new(&name, None),
        live: HashMap::new(),
        next_id: 0,
    };
    for_each_line(source, |line| reader.line(line))?;
    reader
        .blocks
        .finish()
        .map_err(|what| TraceError::new(&name, Place::Whole, what))
}

struct Reader {
    blocks: BlockTraceBuilder,
    /// Slots by id.
    live: HashMap<u64, u32>,
    /// Ids below this one have been given.
    next_id: u64,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        self.blocks.read(line.len());
        let mut fields = Fields::blank(line);
        match fields.text("event")? {
            b"A" => self.alloc(&mut fields)?,
            b"F" => self.free(&mut fields)?,
            b"S" => self.split(&mut fields)?,
            b"X" => self.failure(&mut fields)?,
            other => return Err(format!("unknown event \"{}\"", quoted(other))),
        }
        fields.end()
    }

    fn alloc(&mut self, fields: &mut Fields<'_>) -> Result<(), String> {
        let id = fields.decimal("id")?;
        let (order, gfp) = request(fields)?;
        fields.hex("pfn")?;
        fields.decimal("time")?;
        self.take_ids(id, 1)?;
        let slot = self.blocks.alloc(order, gfp)?;
        self.live.insert(id, slot);
        Ok(())
    }

    fn free(&mut self, fields: &mut Fields<'_>) -> Result<(), String> {
        let slot = self.remove(fields.decimal("id")?)?;
        self.blocks.free(slot)
    }

    fn split(&mut self, fields: &mut Fields<'_>) -> Result<(), String> {
        let id = fields.decimal("id")?;
        let order = order(fields)?;
        let first_id = fields.decimal("first id")?;
        let slot = self.remove(id)?;
        let parts = self.blocks.split(slot, order)?;
        self.take_ids(first_id, parts.len() as u64)?;
        self.live.extend((first_id..).zip(parts));
        Ok(())
    }

    fn failure(&mut self, fields: &mut Fields<'_>) -> Result<(), String> {
        request(fields)?;
        self.blocks.note_failure();
        Ok(())
    }

    fn take_ids(&mut self, first: u64, count: u64) -> Result<(), String> {
        if first < self.next_id {
            return Err(format!("id {first} was given before"));
        }
        self.next_id = first
            .checked_add(count)
            .ok_or_else(|| format!("id {first} is out of range"))?;
        Ok(())
    }

    fn remove(&mut self, id: u64) -> Result<u32, String> {
        self.live
            .remove(&id)
            .ok_or_else(|| match id < self.next_id {
                true => format!("block {id} is not live: freed before, or never allocated"),
                false => format!("block {id} was never allocated"),
            })
    }
}

fn request(fields: &mut Fields<'_>) -> Result<(Order, Gfp), String> {
    let order = order(fields)?;
    let column = Column::new(fields.decimal("migratetype")?)?;
    let gfp = gfp::translate(fields.hex("flags")?, column)?;
    Ok((order, gfp))
}

fn order(fields: &mut Fields<'_>) -> Result<Order, String> {
    let order = fields.up_to("order", Order::MAX.get().into())?;
    Ok(Order::new(order as u8).expect("checked on the line before"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Trace, blocks::Action, test_support::*},
        *,
    };

    const GOOD: &str = "A 0 2 0 cc0 10 0\nA 1 0 1 140cca 20 5\nF 1\nS 0 1 2\nF 3\nX 9 1 1c20ca\n";

    fn blocks(text: &str) -> BlockTrace {
        match parse("t.pga", text.as_bytes()).unwrap() {
            Trace::Blocks(trace) => trace,
            Trace::References(_) => panic!("not a trace of blocks"),
        }
    }

    #[test]
    fn events_become_slots() {
        let trace = blocks(GOOD);
        assert_eq!(trace.events.len(), 5);
        assert_eq!(trace.peak_pages, 5);
        assert_eq!(trace.pages_at_end, 2);
        assert_eq!(trace.nr_failed_at_origin, 1);
        assert_eq!(trace.splits[0].parts.len(), 2);
        assert_eq!(trace.events[3].action, Action::Split);
        assert_eq!(trace.events[4].slot, trace.splits[0].parts[1]);
    }

    #[test]
    fn windows_line_breaks_do_no_harm() {
        assert_eq!(
            blocks(&GOOD.replace('\n', "\r\n")).events,
            blocks(GOOD).events
        );
    }

    #[test]
    fn broken_lines_are_named() {
        let refused = |text: &str, message| assert_refused("t.pga", text.as_bytes(), message);
        refused(
            "A 0 0 0 cc0 1 0\nF 0\nF 0\n",
            "line 3: block 0 is not live: freed before, or never allocated",
        );
        refused(
            "A 0 0 0 cc0 1 0\nF 9\n",
            "line 2: block 9 was never allocated",
        );
        refused(
            "A 0 0 0 cc0 1 0\nA 0 0 0 cc0 1 0\n",
            "line 2: id 0 was given before",
        );
        refused(
            "A 0 11 0 cc0 1 0\n",
            "line 1: order 11 is out of range: accepted is 0 to 10",
        );
        refused(
            "A 0 0 7 cc0 1 0\n",
            "line 1: migratetype 7 is out of range: accepted is 0 to 2",
        );
        refused("A 0 0 0 cc0\n", "line 1: the pfn is missing");
        refused(
            "A 0 0 0 cc0 1 0 9\n",
            "line 1: \"9\" follows the last field",
        );
        refused("A 0 0 0 zz 1 0\n", "line 1: flags \"zz\" is not a number");
        refused(
            "A 0 0 0 cc0 1 0\nS 5 0 1\n",
            "line 2: block 5 was never allocated",
        );
        refused(
            "A 0 1 0 cc0 1 0\nS 0 0 0\n",
            "line 2: id 0 was given before",
        );
        refused(
            "A 0 1 0 cc0 1 0\nS 0 1 1\n",
            "line 2: a block of order 1 cannot be split into order 1",
        );
        refused(
            "A 18446744073709551615 0 0 cc0 1 0\n",
            "line 1: id 18446744073709551615 is out of range",
        );
        refused("Q\n", "line 1: unknown event \"Q\"");
        refused("X 1 1 cc0\n", "the trace holds no allocation");
        refused("", "byte 0: the file is empty");
    }
}
