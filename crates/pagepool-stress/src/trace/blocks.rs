//! A trace of blocks: allocations, frees and splits, ready to be replayed without look-ups.
//!
//! While a trace is read, every live block gets a *slot*, a small number that is used again once
//! the block is gone. A replay's table therefore has as many entries as blocks were ever live at
//! once, and an event is eight bytes.
//!
//! **Invariants**
//! - B1: an allocation names a slot that is empty, a free or a split one that is taken.
//! - B2: a split's children have slots of their own, in address order.
#![forbid(unsafe_code)]

use pagepool::{Gfp, Order};

use super::allowance::Allowance;

/// What happens to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A block of `order` is allocated with the flags of `kinds[kind]`.
    Alloc { order: Order, kind: u8 },
    /// The block is freed.
    Free,
    /// The block is split; the event's slot is an index into `splits`.
    Split,
}

/// One line of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) slot: u32,
    pub(crate) action: Action,
}

const _: () = assert!(
    size_of::<Event>() == 8,
    "a trace of a million events stays at 8 MB"
);

/// A block that becomes several smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The block's slot.
    pub(crate) slot: u32,
    /// The order of the parts.
    pub(crate) order: Order,
    /// The parts' slots, in address order.
    pub(crate) parts: Box<[u32]>,
}

/// A trace of blocks, and what was counted while it was read.
#[derive(Debug, Default)]
pub(crate) struct BlockTrace {
    pub(crate) name: String,
    pub(crate) events: Vec<Event>,
    /// The request flags that occur.
    pub(crate) kinds: Vec<Gfp>,
    pub(crate) splits: Vec<Split>,
    /// Slots that a replay needs.
    pub(crate) nr_slots: usize,
    pub(crate) nr_allocs: u64,
    pub(crate) nr_allocs_by_order: [u64; pagepool::NR_ORDERS],
    /// The largest number of pages live at once.
    pub(crate) peak_pages: u64,
    /// Pages live after the last event.
    pub(crate) pages_at_end: u64,
    /// Allocations that failed where the trace was recorded; not replayed.
    pub(crate) nr_failed_at_origin: u64,
    /// How the trace's events become blocks, where that needs saying.
    pub(crate) mapping: Option<&'static str>,
}

/// Builds a [`BlockTrace`], giving out slots.
#[derive(Debug, Default)]
pub(crate) struct BlockTraceBuilder {
    trace: BlockTrace,
    /// The order of the block in each slot, if there is one.
    orders: Vec<Option<Order>>,
    vacant: Vec<u32>,
    allowance: Allowance,
}

impl BlockTraceBuilder {
    pub(crate) fn new(name: &str, mapping: Option<&'static str>) -> BlockTraceBuilder {
        let trace = BlockTrace {
            name: name.to_owned(),
            mapping,
            ..BlockTrace::default()
        };
        BlockTraceBuilder {
            trace,
            ..BlockTraceBuilder::default()
        }
    }

    /// So many bytes of the trace were read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.allowance.read(bytes);
    }

    /// Allocates a block and returns its slot.
    pub(crate) fn alloc(&mut self, order: Order, gfp: Gfp) -> Result<u32, String> {
        let kind = self.kind(gfp)?;
        let slot = self.occupy(order);
        self.push(Event {
            slot,
            action: Action::Alloc { order, kind },
        })?;
        let trace = &mut self.trace;
        trace.nr_allocs += 1;
        trace.nr_allocs_by_order[usize::from(order.get())] += 1;
        trace.pages_at_end += order.pages() as u64;
        trace.peak_pages = trace.peak_pages.max(trace.pages_at_end);
        Ok(slot)
    }

    /// Frees the block in `slot`.
    pub(crate) fn free(&mut self, slot: u32) -> Result<(), String> {
        let order = self.vacate(slot);
        self.trace.pages_at_end -= order.pages() as u64;
        self.push(Event {
            slot,
            action: Action::Free,
        })
    }

    /// Splits the block in `slot` into parts of `order` and returns their slots.
    pub(crate) fn split(&mut self, slot: u32, order: Order) -> Result<Box<[u32]>, String> {
        let whole = self.order(slot);
        if order >= whole {
            return Err(format!(
                "a block of order {whole} cannot be split into order {order}"
            ));
        }
        self.vacate(slot);
        let nr_parts = whole.pages() / order.pages();
        let parts: Box<[u32]> = (0..nr_parts).map(|_| self.occupy(order)).collect();
        let index = self.trace.splits.len() as u32;
        self.trace.splits.push(Split {
            slot,
            order,
            parts: parts.clone(),
        });
        self.push(Event {
            slot: index,
            action: Action::Split,
        })?;
        Ok(parts)
    }

    /// Notes an allocation that failed where the trace was recorded.
    pub(crate) fn note_failure(&mut self) {
        self.trace.nr_failed_at_origin += 1;
    }

    /// Ends the trace.
    pub(crate) fn finish(mut self) -> Result<BlockTrace, String> {
        if self.trace.nr_allocs == 0 {
            return Err("the trace holds no allocation".to_owned());
        }
        self.trace.nr_slots = self.orders.len();
        self.trace.events.shrink_to_fit();
        Ok(self.trace)
    }

    fn push(&mut self, event: Event) -> Result<(), String> {
        self.allowance.check(self.trace.events.len(), "events")?;
        self.trace.events.push(event);
        Ok(())
    }

    fn kind(&mut self, gfp: Gfp) -> Result<u8, String> {
        let kinds = &mut self.trace.kinds;
        let kind = kinds
            .iter()
            .position(|known| *known == gfp)
            .unwrap_or_else(|| {
                kinds.push(gfp);
                kinds.len() - 1
            });
        u8::try_from(kind).map_err(|_| "more than 256 combinations of flags".to_owned())
    }

    fn order(&self, slot: u32) -> Order {
        self.orders[slot as usize].expect("B1: only live blocks have a slot")
    }

    fn occupy(&mut self, order: Order) -> u32 {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.orders.push(None);
            self.orders.len() as u32 - 1
        });
        self.orders[slot as usize] = Some(order);
        slot
    }

    fn vacate(&mut self, slot: u32) -> Order {
        self.vacant.push(slot);
        self.orders[slot as usize]
            .take()
            .expect("B1: only live blocks have a slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(n: u8) -> Order {
        Order::new(n).unwrap()
    }

    #[test]
    fn slots_are_used_again() {
        let mut builder = BlockTraceBuilder::new("t", None);
        let a = builder.alloc(order(0), Gfp::KERNEL).unwrap();
        builder.free(a).unwrap();
        let b = builder.alloc(order(3), Gfp::KERNEL).unwrap();
        assert_eq!(a, b);
        let trace = builder.finish().unwrap();
        assert_eq!(
            (trace.nr_slots, trace.peak_pages, trace.pages_at_end),
            (1, 8, 8)
        );
        assert_eq!(trace.kinds, [Gfp::KERNEL]);
    }

    #[test]
    fn parts_of_a_split_keep_the_pages() {
        let mut builder = BlockTraceBuilder::new("t", None);
        let whole = builder.alloc(order(3), Gfp::KERNEL).unwrap();
        let parts = builder.split(whole, order(1)).unwrap();
        assert_eq!(parts.len(), 4);
        for &part in &parts {
            builder.free(part).unwrap();
        }
        let trace = builder.finish().unwrap();
        assert_eq!((trace.peak_pages, trace.pages_at_end), (8, 0));
    }

    #[test]
    fn a_split_must_make_smaller_blocks() {
        let mut builder = BlockTraceBuilder::new("t", None);
        let whole = builder.alloc(order(1), Gfp::KERNEL).unwrap();
        assert!(builder.split(whole, order(1)).is_err());
        assert!(builder.split(whole, order(2)).is_err());
    }
}
