//! What compaction remembers of each zone between two runs.
//!
//! *Kernel counterpart:* `compact_cached_migrate_pfn`, `compact_considered`, `compact_defer_shift`,
//! `compact_order_failed`, `compact_blockskip_flush` of `struct zone`, and the skip bits of its
//! pageblocks (v5.0; spec 6.4, 6.5).
//!
//! Nothing here is allocated once the pool is built, and nothing is locked: all of it is hints. What
//! two threads write at once, one of them may lose, and that costs a rescan, or an attempt too many or
//! too few. So every access is Relaxed: a hint publishes nothing but itself. What belongs together is one
//! word, so that nobody sees half of it.

#![expect(dead_code, reason = "the background compactor asks")]

use super::CompactResult;
use super::policy::defer::{Deferral, Evidence};
use super::policy::positions::Positions;
use super::policy::score::Backoff;
use super::policy::terms::{Lesson, MigrateMode, Terms};
use crate::arena::ZeroedTable;
use crate::buddy::Geometry;
use crate::error::BuildError;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use crate::types::{NR_ZONES, NodeId, Order, Pfn, ZoneType};

/// Compaction's memory of a pool.
#[derive(Debug)]
pub(crate) struct CompactState {
    nodes: Vec<NodeHints>,
}

impl CompactState {
    /// For nodes whose zones have so many pages.
    ///
    /// # Errors
    /// [`BuildError::Map`] if the system has no room for the marks.
    pub(crate) fn new(
        nodes: impl IntoIterator<Item = [usize; NR_ZONES]>,
    ) -> Result<CompactState, BuildError> {
        let nodes: Result<_, _> = nodes.into_iter().map(NodeHints::new).collect();
        Ok(CompactState { nodes: nodes? })
    }

    /// What is remembered of a node.
    pub(crate) fn node(&self, id: NodeId) -> &NodeHints {
        &self.nodes[id.get()]
    }

    /// What is remembered of a zone.
    pub(crate) fn zone(&self, node: NodeId, zone: ZoneType) -> &ZoneHints {
        self.node(node).zone(zone)
    }

    /// Bytes of it.
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self
            .nodes
            .iter()
            .flat_map(|node| &node.zones)
            .map(|zone| zone.skips.bytes())
            .sum();
        self.nodes.len() * size_of::<NodeHints>() + tables
    }

    /// What [`bytes`](Self::bytes) is for nodes whose zones have so many pages.
    pub(crate) fn estimate(nodes: impl IntoIterator<Item = [usize; NR_ZONES]>) -> usize {
        let of_zone = |pages| ZeroedTable::<AtomicU32>::bytes_for(nr_words(nr_blocks(pages)));
        nodes
            .into_iter()
            .map(|pages| size_of::<NodeHints>() + pages.map(of_zone).iter().sum::<usize>())
            .sum()
    }
}

/// What is remembered of a node.
#[derive(Debug)]
pub(crate) struct NodeHints {
    zones: [ZoneHints; NR_ZONES],
    backoff: AtomicU8,
}

impl NodeHints {
    fn new([dma, normal, movable]: [usize; NR_ZONES]) -> Result<NodeHints, BuildError> {
        Ok(NodeHints {
            zones: [
                ZoneHints::new(dma)?,
                ZoneHints::new(normal)?,
                ZoneHints::new(movable)?,
            ],
            backoff: AtomicU8::new(0),
        })
    }

    /// What is remembered of one of its zones.
    pub(crate) fn zone(&self, zone: ZoneType) -> &ZoneHints {
        &self.zones[zone.idx()]
    }

    /// How long proactive compaction waits.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::from_raw(self.backoff.load(Relaxed))
    }

    /// Sets it: after a run, or to the default when somebody asks for compaction.
    pub(crate) fn set_backoff(&self, backoff: Backoff) {
        self.backoff.store(backoff.raw(), Relaxed);
    }

    /// Before the background reclaimer sleeps: forgets the hints of the zones in which somebody who
    /// needed a block has met the end (kernel: `reset_isolation_suitable`). `is_taken` as in
    /// [`ZoneHints::forget`].
    pub(crate) fn flush(&self, is_taken: impl Fn(ZoneType, usize) -> bool) {
        for zone in ZoneType::ALL {
            let hints = self.zone(zone);
            if hints.flush.load(Relaxed) {
                hints.forget(|block| is_taken(zone, block));
            }
        }
    }
}

/// What is remembered of a zone.
#[derive(Debug)]
pub(crate) struct ZoneHints {
    /// A [`Deferral`].
    deferral: AtomicU32,
    /// [`Positions`].
    positions: AtomicU64,
    /// Somebody who needed a block has met the zone's end: the marks may be what hides it.
    flush: AtomicBool,
    /// A bit a pageblock: it could not be emptied lately.
    skips: ZeroedTable<AtomicU32>,
}

impl ZoneHints {
    fn new(pages: usize) -> Result<ZoneHints, BuildError> {
        Ok(ZoneHints {
            deferral: AtomicU32::new(0),
            positions: AtomicU64::new(0),
            flush: AtomicBool::new(false),
            skips: ZeroedTable::new(nr_words(nr_blocks(pages)), "compaction's skip marks")?,
        })
    }

    /// Whether earlier failures put an attempt off. Counts it.
    pub(crate) fn is_deferred(&self, order: Order) -> bool {
        let (after, is_deferred) = self.deferral().consider(order);
        self.deferral.store(after.raw(), Relaxed);
        is_deferred
    }

    /// Whether an attempt is to [`forget`](Self::forget) every hint first.
    pub(crate) fn is_restarting(&self, order: Order) -> bool {
        self.deferral().is_restarting(order)
    }

    /// Learns from the result of a run.
    pub(crate) fn learn(&self, terms: &Terms, result: CompactResult) {
        let Some(order) = terms.order else { return };
        let before = self.deferral();
        let after = match terms.lesson(result) {
            Lesson::Reset => before.reset(order, Evidence::Compacted),
            Lesson::Defer => before.failed(order),
            Lesson::None => return,
        };
        self.deferral.store(after.raw(), Relaxed);
    }

    /// Somebody was served a block of `order` after compaction: it works, and no hint hides anything.
    pub(crate) fn note_allocated(&self, order: Order) {
        let after = self.deferral().reset(order, Evidence::Allocated);
        self.deferral.store(after.raw(), Relaxed);
        self.flush.store(false, Relaxed);
    }

    fn deferral(&self) -> Deferral {
        Deferral::from_raw(self.deferral.load(Relaxed))
    }

    /// Where runs begin.
    pub(crate) fn positions(&self) -> Positions {
        Positions::from_raw(self.positions.load(Relaxed))
    }

    /// A run found that there is nothing to gain before `block`.
    pub(crate) fn note_passed(&self, mode: MigrateMode, block: usize) {
        let after = self.positions().advanced(mode, block);
        self.positions.store(after.raw(), Relaxed);
    }

    /// A run has met the zone's end: the next one begins at its start. Only who needs a block justifies
    /// that the marks are cleared.
    pub(crate) fn note_met(&self, terms: &Terms) {
        self.positions.store(0, Relaxed);
        if terms.is_direct() {
            self.flush.store(true, Relaxed);
        }
    }

    /// Whether the marks are to be cleared before the background reclaimer sleeps.
    pub(crate) fn wants_flush(&self) -> bool {
        self.flush.load(Relaxed)
    }

    /// Whether a pageblock could not be emptied lately.
    pub(crate) fn is_skipped(&self, block: usize) -> bool {
        let (word, bit) = bit_of(block);
        self.skips[word].load(Relaxed) & bit != 0
    }

    /// Marks a pageblock that could not be emptied.
    pub(crate) fn skip(&self, block: usize) {
        let (word, bit) = bit_of(block);
        // An addition to the word, so that marks of its neighbours are not lost for nothing.
        self.skips[word].fetch_or(bit, Relaxed);
    }

    /// Forgets marks, positions and the wish for it. Marks stay on pageblocks that `is_taken` says are
    /// wholly taken by one block of at least their order: until that is freed nothing changes there.
    pub(crate) fn forget(&self, is_taken: impl Fn(usize) -> bool) {
        self.flush.store(false, Relaxed);
        self.positions.store(0, Relaxed);
        for (nr, word) in self.skips.iter().enumerate() {
            let marks = word.load(Relaxed);
            if marks == 0 {
                continue;
            }
            let first = nr * BITS;
            let kept = (0..BITS)
                .filter(|bit| marks >> bit & 1 != 0 && is_taken(first + bit))
                .fold(0, |kept, bit| kept | 1 << bit);
            // Marks that came meanwhile stay.
            word.fetch_and(!(marks & !kept), Relaxed);
        }
    }
}

/// Marks in a word.
const BITS: usize = u32::BITS as usize;

fn bit_of(block: usize) -> (usize, u32) {
    (block / BITS, 1 << (block % BITS))
}

fn nr_words(nr_blocks: usize) -> usize {
    nr_blocks.div_ceil(BITS)
}

/// Pageblocks of a zone.
fn nr_blocks(pages: usize) -> usize {
    let geometry = Geometry {
        start: Pfn::from_raw(0),
        pages,
    };
    pages.div_ceil(geometry.block_order().pages())
}
