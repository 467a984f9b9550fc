//! A block's address, and what its owner has to know of it, in one word.
//!
//! A block begins at a page, so that the lower twelve bits of its address are free for that. With them a handle is
//! two words, which a function returns in registers: were it larger, every allocation would write it to memory in
//! pieces and read it back in others, for which a CPU has to wait.
//!
//! | bits  | what it says |
//! |-------|--------------|
//! | 0–3   | the [`Order`] |
//! | 4–7   | the number of the node |
//! | 8–11  | the [`Mark`]s |
//!
//! **Invariant**
//! - B10: the word is the address of a block's first byte plus these bits, so that it points into the block.

use std::fmt;
use std::ptr::NonNull;

use crate::types::{MAX_NODES, NR_ORDERS, NodeId, Order, PAGE_SIZE};

/// What may be particular about a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Mark {
    /// It came from the reserves.
    FromReserve = 1 << 8,
    /// It went through a raw pointer: whether it is still out is settled by an exchange.
    WasRaw = 1 << 9,
    /// It belongs to a group, which the frame table knows.
    Charged = 1 << 10,
    /// It is known to read as zeros.
    Blank = 1 << 11,
}

const ORDER: usize = 0xf;
const NODE_SHIFT: u32 = 4;
const ALL: usize = PAGE_SIZE - 1;

const _: () =
    assert!(NR_ORDERS <= ORDER + 1 && MAX_NODES << NODE_SHIFT <= Mark::FromReserve as usize);

/// See the head of the module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockPtr(NonNull<u8>);

impl BlockPtr {
    /// That of a block of this order at `start`, in a node's memory; nothing is particular about it.
    ///
    /// # Safety
    /// `start` is the first byte of such a block, which is mapped.
    #[inline(always)]
    pub(super) unsafe fn new(start: NonNull<u8>, node: NodeId, order: Order) -> BlockPtr {
        debug_assert!(start.addr().get() & ALL == 0, "B10: {start:p}");
        let bits = order.idx() | node.get() << NODE_SHIFT;
        // SAFETY: the bits are less than a page, and the block is a page at least.
        BlockPtr(unsafe { start.byte_add(bits) })
    }

    /// The word as it is.
    pub(super) fn into_raw(self) -> *mut u8 {
        self.0.as_ptr()
    }

    /// The word that this is.
    ///
    /// # Safety
    /// It is what [`into_raw`](Self::into_raw) returned, and the block's memory is still mapped.
    #[inline(always)]
    pub(super) unsafe fn from_raw(raw: *mut u8) -> BlockPtr {
        // SAFETY: by the caller's promise it is not null.
        BlockPtr(unsafe { NonNull::new_unchecked(raw) })
    }

    /// The block of `order` that begins `bytes` after this one, in the same node's memory. It says the same.
    ///
    /// # Safety
    /// There is such a block, and `bytes` are whole pages.
    #[inline(always)]
    pub(super) unsafe fn at(self, bytes: usize, order: Order) -> BlockPtr {
        debug_assert!(bytes & ALL == 0, "B10: {bytes} bytes");
        let bits = self.bits() & !ORDER | order.idx();
        // SAFETY: by the caller's promise the node's memory goes on from here to there.
        BlockPtr(unsafe { self.start().byte_add(bytes + bits) })
    }

    /// The block that follows this one, of the same order. It says the same.
    ///
    /// # Safety
    /// There is such a block.
    #[inline(always)]
    pub(super) unsafe fn next(self) -> BlockPtr {
        // SAFETY: as in `at`; what is said is in the bits that stay.
        BlockPtr(unsafe { self.0.byte_add(self.bytes()) })
    }

    /// The same for a block of one page and its neighbours.
    ///
    /// # Safety
    /// As [`at`](Self::at); this one is of order 0.
    #[inline(always)]
    pub(super) unsafe fn neighbour(self, bytes: usize, order: Order) -> BlockPtr {
        debug_assert!(
            bytes & ALL == 0 && self.bits() & ORDER == 0,
            "B10: {bytes} bytes"
        );
        // SAFETY: by the caller's promise the node's memory goes on from here to there.
        BlockPtr(unsafe { self.0.byte_add(bytes + order.idx()) })
    }

    #[inline(always)]
    fn bits(self) -> usize {
        self.0.addr().get() & ALL
    }

    /// The first byte.
    #[inline(always)]
    pub(super) fn start(self) -> NonNull<u8> {
        // SAFETY: (B10) the start is so many bytes before, and both are in the block.
        unsafe { self.0.byte_sub(self.bits()) }
    }

    /// The block's order.
    #[inline(always)]
    pub(super) fn order(self) -> Order {
        Order::at(self.bits() & ORDER)
    }

    /// The block's length in bytes.
    #[inline(always)]
    pub(super) fn bytes(self) -> usize {
        PAGE_SIZE << (self.bits() & ORDER)
    }

    /// The block's node.
    #[inline(always)]
    pub(super) fn node(self) -> NodeId {
        NodeId::at(self.bits() >> NODE_SHIFT & (MAX_NODES - 1))
    }

    /// Whether something is particular about it.
    #[inline(always)]
    pub(super) fn is(self, mark: Mark) -> bool {
        self.bits() & mark as usize != 0
    }

    /// The same block, of which this is said or not.
    #[inline(always)]
    #[must_use]
    pub(super) fn with(self, mark: Mark, is_so: bool) -> BlockPtr {
        let others = self.bits() & !(mark as usize);
        let bits = if is_so {
            others | mark as usize
        } else {
            others
        };
        // SAFETY: (B10) the bits are less than a page, and the block is a page at least.
        BlockPtr(unsafe { self.start().byte_add(bits) })
    }

    /// Whether it is a block of this order, of nobody's, that was in its owner's hands all the time: one test for the
    /// three.
    #[inline(always)]
    pub(super) fn is_plain(self, order: Order) -> bool {
        self.bits() & (ORDER | Mark::WasRaw as usize | Mark::Charged as usize) == order.idx()
    }

    /// How many pages after a page of the same node this block begins; a large number, if it begins before that. Of a
    /// block of another node, what comes out is a page wrong at most, since the lower bits differ as well: but the
    /// memory of nodes is at least a page apart (A2; on the heap, by what it has in front of each block).
    #[inline(always)]
    pub(super) fn pages_after(self, page: BlockPtr) -> usize {
        debug_assert!(
            page.bits() & !(ORDER << NODE_SHIFT) == 0,
            "nothing is particular about it"
        );
        self.0.addr().get().wrapping_sub(page.0.addr().get()) / PAGE_SIZE
    }
}

impl fmt::Debug for BlockPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p} {:?}", self.start(), self.order())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Memory([u8; 4 * PAGE_SIZE]);

    #[test]
    fn what_is_said_does_not_touch_the_address() {
        let mut memory = Box::new(Memory([0; 4 * PAGE_SIZE]));
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        let (node, order) = (NodeId::at(MAX_NODES - 1), Order::at(2));
        // SAFETY: it is a block of four pages.
        let plain = unsafe { BlockPtr::new(start, node, order) };
        let marks = [Mark::FromReserve, Mark::WasRaw, Mark::Charged, Mark::Blank];
        for mark in marks {
            let marked = plain.with(mark, true);
            assert_eq!(
                (marked.start(), marked.order(), marked.node()),
                (start, order, node)
            );
            assert!(
                marks.iter().all(|one| marked.is(*one) == (*one == mark)),
                "{mark:?}"
            );
            assert_eq!(marked.with(mark, false), plain);
        }
        assert_eq!(plain.bytes(), memory.0.len());
    }

    #[test]
    fn a_part_is_of_the_same_node_and_says_the_same() {
        let mut memory = Box::new(Memory([0; 4 * PAGE_SIZE]));
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: as above.
        let whole = unsafe { BlockPtr::new(start, NodeId::at(3), Order::at(2)) };
        // SAFETY: these pages are the block's last.
        let part = unsafe {
            whole
                .with(Mark::Charged, true)
                .at(2 * PAGE_SIZE, Order::at(1))
        };
        assert_eq!(
            part.start().addr().get(),
            start.addr().get() + 2 * PAGE_SIZE
        );
        assert_eq!((part.node().get(), part.order()), (3, Order::at(1)));
        assert!(part.is(Mark::Charged) && !part.is_plain(part.order()));
        assert!(part.with(Mark::Charged, false).bytes() == 2 * PAGE_SIZE);
    }

    #[test]
    fn neighbours_are_found_and_counted_from_a_page() {
        let mut memory = Box::new(Memory([0; 4 * PAGE_SIZE]));
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: its first page is a block.
        let page = unsafe { BlockPtr::new(start, NodeId::at(7), Order::ZERO) };
        // SAFETY: its last two pages are one.
        let last = unsafe { page.neighbour(2 * PAGE_SIZE, Order::at(1)) };
        assert_eq!((last.order(), last.node().get()), (Order::at(1), 7));
        assert_eq!(last.with(Mark::WasRaw, true).pages_after(page), 2);
        // SAFETY: its second page is another.
        let next = unsafe { page.with(Mark::Blank, true).next() };
        assert_eq!((next.order(), next.node().get()), (Order::ZERO, 7));
        assert!(next.is(Mark::Blank) && next.pages_after(page) == 1);
        // SAFETY: its first two pages are a block.
        let two = unsafe { page.neighbour(0, Order::at(1)) };
        // SAFETY: the other two are the next.
        let next = unsafe { two.next() };
        assert_eq!((next.order(), next.pages_after(page)), (Order::at(1), 2));
        // SAFETY: its last page is another.
        let later = unsafe { page.neighbour(3 * PAGE_SIZE, Order::ZERO) };
        assert!(page.pages_after(later) > memory.0.len());
    }

    #[test]
    fn a_plain_block_is_of_its_order_and_was_nowhere_else() {
        let mut memory = Box::new(Memory([0; 4 * PAGE_SIZE]));
        let start = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: its first page is a block.
        let page = unsafe { BlockPtr::new(start, NodeId::at(5), Order::ZERO) };
        // SAFETY: so are its first two.
        let two = unsafe { BlockPtr::new(start, NodeId::at(5), Order::at(1)) };
        for block in [page, two] {
            let order = block.order();
            assert!(block.is_plain(order) && !block.is_plain(Order::at(order.idx() ^ 1)));
            assert!(
                { block.with(Mark::Blank, true) }
                    .with(Mark::FromReserve, true)
                    .is_plain(order)
            );
            assert!(!block.with(Mark::WasRaw, true).is_plain(order));
            assert!(!block.with(Mark::Charged, true).is_plain(order));
        }
    }
}
