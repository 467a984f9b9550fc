//! The public interface, from the outside.

#![expect(clippy::disallowed_types, reason = "these threads are not modelled")]

#[cfg(feature = "allocator-api2")]
mod collections;
mod folios;
mod mapping;
mod memory;
mod model;
mod stress;
mod swap;

use pagepool::Order;

fn order(n: u8) -> Order {
    Order::new(n).unwrap()
}

/// Writes a mark at both ends of each page.
fn mark(block: &mut [u8], mark: u8) {
    for page in block.chunks_mut(pagepool::PAGE_SIZE) {
        (page[0], page[pagepool::PAGE_SIZE - 1]) = (mark, mark);
    }
}

#[track_caller]
fn assert_marked(block: &[u8], mark: u8) {
    for page in block.chunks(pagepool::PAGE_SIZE) {
        assert_eq!((page[0], page[pagepool::PAGE_SIZE - 1]), (mark, mark));
    }
}
