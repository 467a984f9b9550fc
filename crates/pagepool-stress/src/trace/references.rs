//! A trace of references to pages or objects, replayed through a cache of bounded size.
//!
//! Keys become small numbers in order of their first use, so that a cache needs no hashing. An
//! object whose size moves it to another order counts as another object from then on.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use pagepool::Order;

use super::allowance::Allowance;

/// Pages that one request may touch: 1 GiB.
const MAX_REQUEST_PAGES: u64 = 1 << 18;

/// One reference: a key and whether it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference(u32);

impl Reference {
    const MAX_KEY: u32 = u32::MAX >> 1;

    fn new(key: u32, access: Access) -> Reference {
        Reference(key << 1 | (access == Access::Write) as u32)
    }

    /// The key's number, from 0 in order of first use.
    pub(crate) fn key(self) -> u32 {
        self.0 >> 1
    }

    /// What is done to the page.
    pub(crate) fn access(self) -> Access {
        match self.0 & 1 {
            0 => Access::Read,
            _ => Access::Write,
        }
    }
}

/// What a reference does to its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A trace of references, and what was counted while it was read.
#[derive(Debug, Default)]
pub(crate) struct ReferenceTrace {
    pub(crate) name: String,
    pub(crate) references: Vec<Reference>,
    /// The order of each key's block.
    pub(crate) orders: Vec<Order>,
    /// Pages of all keys together.
    pub(crate) footprint_pages: u64,
    /// Lines that reference no memory, or objects larger than the largest block; left out.
    pub(crate) nr_skipped: u64,
}

/// Builds a [`ReferenceTrace`].
#[derive(Debug, Default)]
pub(crate) struct ReferenceTraceBuilder {
    trace: ReferenceTrace,
    keys: HashMap<(u64, Order), u32>,
    allowance: Allowance,
}

impl ReferenceTraceBuilder {
    pub(crate) fn new(name: &str) -> ReferenceTraceBuilder {
        let trace = ReferenceTrace {
            name: name.to_owned(),
            ..ReferenceTrace::default()
        };
        ReferenceTraceBuilder {
            trace,
            ..ReferenceTraceBuilder::default()
        }
    }

    /// So many bytes of the trace were read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.allowance.read(bytes);
    }

    /// Adds a reference to one page.
    pub(crate) fn page(&mut self, page: u64, access: Access) -> Result<(), String> {
        self.block(page, Order::ZERO, access)
    }

    /// Adds references to `count` pages in a row.
    pub(crate) fn pages(&mut self, first: u64, count: u64, access: Access) -> Result<(), String> {
        if count > MAX_REQUEST_PAGES {
            return Err(format!(
                "a request of {count} pages; accepted is {MAX_REQUEST_PAGES}"
            ));
        }
        if first.checked_add(count).is_none() {
            return Err(format!("page {first} is out of range"));
        }
        (first..first + count).try_for_each(|page| self.page(page, access))
    }

    /// Adds a reference to an object of `size` bytes.
    pub(crate) fn object(&mut self, id: u64, size: u64) -> Result<(), String> {
        match usize::try_from(size).ok().and_then(Order::for_bytes) {
            Some(order) => self.block(id, order, Access::Read),
            None => {
                self.skip();
                Ok(())
            }
        }
    }

    /// Notes a line that is left out.
    pub(crate) fn skip(&mut self) {
        self.trace.nr_skipped += 1;
    }

    /// Ends the trace.
    pub(crate) fn finish(mut self) -> Result<ReferenceTrace, String> {
        if self.trace.references.is_empty() {
            return Err("the trace holds no reference".to_owned());
        }
        self.trace.references.shrink_to_fit();
        Ok(self.trace)
    }

    fn block(&mut self, id: u64, order: Order, access: Access) -> Result<(), String> {
        let trace = &mut self.trace;
        self.allowance.check(trace.references.len(), "references")?;
        let next = trace.orders.len() as u32;
        let key = *self.keys.entry((id, order)).or_insert(next);
        if key == next {
            if key > Reference::MAX_KEY {
                return Err(format!("more than {} keys", Reference::MAX_KEY));
            }
            trace.orders.push(order);
            trace.footprint_pages += order.pages() as u64;
        }
        trace.references.push(Reference::new(key, access));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_by_first_use() {
        let mut builder = ReferenceTraceBuilder::new("t");
        builder.pages(1 << 40, 2, Access::Write).unwrap();
        builder.page(7, Access::Read).unwrap();
        builder.page(1 << 40, Access::Read).unwrap();
        let trace = builder.finish().unwrap();
        let keys: Vec<u32> = trace.references.iter().map(|r| r.key()).collect();
        assert_eq!(keys, [0, 1, 2, 0]);
        assert_eq!(trace.references[0].access(), Access::Write);
        assert_eq!(trace.references[3].access(), Access::Read);
        assert_eq!(trace.footprint_pages, 3);
    }

    #[test]
    fn objects_have_orders_and_giants_are_left_out() {
        let mut builder = ReferenceTraceBuilder::new("t");
        builder.object(1, 0).unwrap();
        builder.object(2, 9000).unwrap();
        builder.object(3, u64::MAX).unwrap();
        let trace = builder.finish().unwrap();
        assert_eq!(trace.orders, [Order::ZERO, Order::new(2).unwrap()]);
        assert_eq!(trace.nr_skipped, 1);
    }

    #[test]
    fn absurd_requests_are_refused() {
        let mut builder = ReferenceTraceBuilder::new("t");
        assert!(builder.pages(0, u64::MAX, Access::Read).is_err());
        assert!(builder.pages(u64::MAX, 2, Access::Read).is_err());
        assert!(builder.finish().is_err());
    }
}
