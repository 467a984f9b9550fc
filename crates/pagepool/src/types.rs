//! The words everything else is spoken in: orders, frame numbers, zones, nodes, migratetypes.
//!
//! *Kernel counterpart:* `include/linux/mmzone.h` (v5.0), as newtypes: arithmetic that the kernel
//! does on bare integers lives on the type here, so that an order cannot be added to a frame number.
//!
//! **Invariants**
//! - T1: an [`Order`] is at most [`Order::MAX`].
//! - T2: a [`Pfn`] names one frame of one node: the node in its top bits, the index below.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::BitAnd;

use crate::error::OrderError;

/// Bytes in a page: the unit in which the pool manages memory, 4 KiB.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// Base-two logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// Number of block orders: orders run from 0 to `NR_ORDERS - 1` (kernel: `MAX_ORDER`, 11).
pub const NR_ORDERS: usize = 11;

/// Orders up to this one are expected to come back by reclaim alone; larger ones are "costly"
/// (kernel: `PAGE_ALLOC_COSTLY_ORDER`).
pub const COSTLY_ORDER: Order = Order(3);

/// The order of a pageblock in a zone of full size: 2 MiB, the unit of mobility grouping and of
/// huge pages. Zones smaller than four such blocks use a smaller one.
pub const PAGEBLOCK_ORDER: Order = Order(9);

/// The largest number of nodes in a pool.
pub const MAX_NODES: usize = 16;

/// The size of a block as a power of two of pages: order `n` is 2^n pages, 4 KiB to 4 MiB.
///
/// ```
/// use pagepool::Order;
/// let order = Order::new(3).unwrap();
/// assert_eq!(order.pages(), 8);
/// assert_eq!(order.bytes(), 32 << 10);
/// assert_eq!(Order::for_bytes(20_000), Some(order)); // 5 pages round up to 8
/// assert!(Order::new(11).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Order(u8);

impl Order {
    /// Order 0: one page, 4 KiB.
    pub const ZERO: Order = Order(0);
    /// The largest order, 10: 1024 pages, 4 MiB.
    pub const MAX: Order = Order(NR_ORDERS as u8 - 1);

    /// Returns the order `n`.
    ///
    /// # Errors
    /// [`OrderError`] if `n` is above 10.
    pub const fn new(n: u8) -> Result<Order, OrderError> {
        if n <= Self::MAX.0 {
            Ok(Order(n))
        } else {
            Err(OrderError::new(n))
        }
    }

    /// Returns the smallest order whose block holds `len` bytes, or `None` beyond 4 MiB.
    #[must_use]
    pub const fn for_bytes(len: usize) -> Option<Order> {
        let pages = len.div_ceil(PAGE_SIZE);
        let order = match pages {
            0 | 1 => 0,
            n => usize::BITS - (n - 1).leading_zeros(),
        };
        if order <= Self::MAX.0 as u32 {
            Some(Order(order as u8))
        } else {
            None
        }
    }

    /// Returns the order `n`, for `n` known to be in range.
    ///
    /// # Panics
    /// If `n` is above 10 (T1).
    #[must_use]
    pub(crate) const fn at(n: usize) -> Order {
        assert!(n < NR_ORDERS, "T1: an order is at most 10");
        Order(n as u8)
    }

    /// The order as a number, 0 to 10.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The order as an index.
    #[must_use]
    pub(crate) const fn idx(self) -> usize {
        self.0 as usize
    }

    /// Pages in a block of this order, 1 to 1024.
    #[must_use]
    pub const fn pages(self) -> usize {
        1 << self.0
    }

    /// The order of the largest block of `pages` pages at most, of which there is one.
    pub(crate) fn within(pages: usize) -> Order {
        Order::at((pages.max(1).ilog2() as usize).min(Order::MAX.idx()))
    }

    /// Bytes in a block of this order, 4 KiB to 4 MiB.
    #[must_use]
    pub const fn bytes(self) -> usize {
        PAGE_SIZE << self.0
    }

    /// Whether reclaim alone cannot be expected to form such a block (orders 4 and above).
    #[must_use]
    pub const fn is_costly(self) -> bool {
        self.0 > COSTLY_ORDER.0
    }

    /// All orders, from 0 to 10.
    pub fn all() -> impl DoubleEndedIterator<Item = Order> + ExactSizeIterator {
        (0..NR_ORDERS).map(Order::at)
    }

    /// The orders from `self` to `last`, both included; none when `last` is below `self`.
    pub(crate) fn up_to(self, last: Order) -> impl DoubleEndedIterator<Item = Order> {
        (self.0..=last.0).map(Order)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<u8> for Order {
    type Error = OrderError;

    fn try_from(n: u8) -> Result<Order, OrderError> {
        Order::new(n)
    }
}

/// A page frame number: which page of which node's arena.
///
/// The top four bits name the node, the rest the page within it, so that a node's frames are
/// contiguous, the buddy of a frame is one exclusive-or away, and a node holds up to 1 TiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Pfn(u32);

impl Pfn {
    /// Bits of a frame number below the node.
    const INDEX_BITS: u32 = 32 - MAX_NODES.ilog2();
    /// The largest number of pages in a node.
    pub const MAX_NODE_PAGES: usize = 1 << Self::INDEX_BITS;

    /// Returns the frame `index` of `node`.
    #[must_use]
    pub(crate) const fn new(node: NodeId, index: usize) -> Pfn {
        debug_assert!(index < Self::MAX_NODE_PAGES);
        Pfn((node.0 as u32) << Self::INDEX_BITS | index as u32)
    }

    /// Returns the frame with the number `raw`, as given by [`get`](Self::get).
    #[must_use]
    pub(crate) const fn from_raw(raw: u32) -> Pfn {
        Pfn(raw)
    }

    /// The frame number as an integer.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The node the frame belongs to.
    #[must_use]
    pub const fn node(self) -> NodeId {
        NodeId((self.0 >> Self::INDEX_BITS) as u8)
    }

    /// The frame's place in its node's arena, in pages.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & (Self::MAX_NODE_PAGES as u32 - 1)) as usize
    }

    /// The frame `pages` further on.
    #[must_use]
    pub(crate) const fn add(self, pages: usize) -> Pfn {
        Pfn(self.0 + pages as u32)
    }

    /// The distance to an earlier frame, in pages.
    #[must_use]
    pub(crate) const fn offset_from(self, earlier: Pfn) -> usize {
        debug_assert!(self.0 >= earlier.0);
        (self.0 - earlier.0) as usize
    }

    /// Whether a block of `order` may begin here.
    #[must_use]
    pub(crate) const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() as u32 - 1) == 0
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn:{:x}", self.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A node: an arena with zones, caches and daemons of its own, standing for a NUMA node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NodeId(u8);

impl NodeId {
    /// Returns the node with the number `n`, or `None` from [`MAX_NODES`] on.
    #[must_use]
    pub const fn new(n: usize) -> Option<NodeId> {
        if n < MAX_NODES {
            Some(NodeId(n as u8))
        } else {
            None
        }
    }

    /// Returns the node with the number `n`, known to be in range.
    #[must_use]
    pub(crate) const fn at(n: usize) -> NodeId {
        assert!(n < MAX_NODES);
        NodeId(n as u8)
    }

    /// The node's number, from 0.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The most groups that a pool can have, its root not counted.
pub const MAX_GROUPS: usize = 255;

/// A memory group of a pool, by its place in the pool's table. A place is used again once its group was
/// deleted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GroupId(u16);

impl GroupId {
    /// What belongs to no group in particular.
    pub const ROOT: GroupId = GroupId(0);

    /// Returns the group at a place of the table, known to be in range.
    #[must_use]
    pub(crate) const fn at(n: usize) -> GroupId {
        assert!(n <= MAX_GROUPS);
        GroupId(n as u16)
    }

    /// Its place in the table; the root's is 0.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// Whether it is the root.
    #[must_use]
    pub const fn is_root(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group{}", self.0)
    }
}

/// A set of nodes, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeMask(u16);

const _: () = assert!(MAX_NODES <= u16::BITS as usize);

impl NodeMask {
    /// Every node.
    pub const ALL: NodeMask = NodeMask(u16::MAX);
    /// No node.
    pub const NONE: NodeMask = NodeMask(0);

    /// Returns the set of just `node`.
    #[must_use]
    pub const fn only(node: NodeId) -> NodeMask {
        NodeMask(1 << node.0)
    }

    /// Returns this set with `node` added.
    #[must_use]
    pub const fn with(self, node: NodeId) -> NodeMask {
        NodeMask(self.0 | 1 << node.0)
    }

    /// Whether `node` is in the set.
    #[must_use]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node.0) != 0
    }

    /// Whether the two sets share a node.
    #[must_use]
    pub const fn intersects(self, other: NodeMask) -> bool {
        self.0 & other.0 != 0
    }
}

/// The nodes that are in both sets.
impl BitAnd for NodeMask {
    type Output = NodeMask;

    fn bitand(self, other: NodeMask) -> NodeMask {
        NodeMask(self.0 & other.0)
    }
}

impl FromIterator<NodeId> for NodeMask {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> NodeMask {
        nodes.into_iter().fold(NodeMask::NONE, NodeMask::with)
    }
}

impl fmt::Debug for NodeMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nodes:{:b}", self.0)
    }
}

/// What a zone is for, from the most to the least constrained (kernel: `enum zone_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(u8)]
pub enum ZoneType {
    /// Low in the arena and locked in memory: fit for buffers registered with devices. Optional.
    #[cfg_attr(feature = "serde", serde(rename = "DMA"))]
    Dma = 0,
    /// General memory.
    Normal = 1,
    /// Only memory that can be moved, and whole pageblocks: it can always be emptied.
    Movable = 2,
}

/// Number of zone types.
pub const NR_ZONES: usize = 3;

impl ZoneType {
    /// All zone types, from the lowest.
    pub const ALL: [ZoneType; NR_ZONES] = [ZoneType::Dma, ZoneType::Normal, ZoneType::Movable];

    /// The zone's index within its node.
    #[must_use]
    pub const fn idx(self) -> usize {
        self as usize
    }

    /// The kernel's name: `DMA`, `Normal`, `Movable`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ZoneType::Dma => "DMA",
            ZoneType::Normal => "Normal",
            ZoneType::Movable => "Movable",
        }
    }
}

impl fmt::Display for ZoneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What may happen to the contents of a pageblock (kernel: `enum migratetype`).
///
/// `MIGRATE_CMA` has no counterpart: nothing in a process needs physically contiguous devices'
/// memory. `MIGRATE_ISOLATE` is a mark beside the type, so that ending an isolation restores it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[repr(u8)]
pub enum Migratetype {
    /// Stays where it is until its owner frees it.
    Unmovable = 0,
    /// May be moved or reclaimed.
    Movable = 1,
    /// Cannot be moved, but its owner can be asked to free it.
    Reclaimable = 2,
    /// Reserved for high-priority requests of order 1 and above.
    HighAtomic = 3,
}

/// Number of migratetypes that requests may ask for, and that per-CPU lists exist for.
pub const NR_PCP_TYPES: usize = 3;

/// Number of migratetypes a pageblock may have.
pub const NR_MIGRATETYPES: usize = 4;

impl Migratetype {
    /// All migratetypes, by index.
    pub const ALL: [Migratetype; NR_MIGRATETYPES] = [
        Migratetype::Unmovable,
        Migratetype::Movable,
        Migratetype::Reclaimable,
        Migratetype::HighAtomic,
    ];

    /// The type's index.
    #[must_use]
    pub const fn idx(self) -> usize {
        self as usize
    }

    /// The kernel's name, as in pagetypeinfo.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Migratetype::Unmovable => "Unmovable",
            Migratetype::Movable => "Movable",
            Migratetype::Reclaimable => "Reclaimable",
            Migratetype::HighAtomic => "HighAtomic",
        }
    }

    /// The letter that stands for it where there is room for no more: `U`, `M`, `E`, `H` (kernel: as
    /// `show_mem` prints them).
    ///
    /// ```
    /// # use pagepool::Migratetype;
    /// assert_eq!(Migratetype::ALL.map(Migratetype::letter), ['U', 'M', 'E', 'H']);
    /// ```
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Migratetype::Unmovable => 'U',
            Migratetype::Movable => 'M',
            Migratetype::Reclaimable => 'E',
            Migratetype::HighAtomic => 'H',
        }
    }
}

impl fmt::Display for Migratetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
