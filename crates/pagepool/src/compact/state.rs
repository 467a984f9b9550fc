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

use super::CompactResult;
use super::policy::defer::{Deferral, Evidence};
use super::policy::positions::Positions;
use super::policy::terms::{Lesson, MigrateMode, Terms};
use crate::arena::ZeroedTable;
use crate::buddy::Geometry;
use crate::error::BuildError;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
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
}

impl NodeHints {
    fn new([dma, normal, movable]: [usize; NR_ZONES]) -> Result<NodeHints, BuildError> {
        Ok(NodeHints {
            zones: [
                ZoneHints::new(dma)?,
                ZoneHints::new(normal)?,
                ZoneHints::new(movable)?,
            ],
        })
    }

    /// What is remembered of one of its zones.
    pub(crate) fn zone(&self, zone: ZoneType) -> &ZoneHints {
        &self.zones[zone.idx()]
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
    /// Goes up when something that was in the way is so no longer: what was learnt before counts no more.
    epoch: AtomicU32,
    /// A bit a pageblock: it could not be emptied lately.
    skips: ZeroedTable<AtomicU32>,
}

impl ZoneHints {
    fn new(pages: usize) -> Result<ZoneHints, BuildError> {
        Ok(ZoneHints {
            deferral: AtomicU32::new(0),
            positions: AtomicU64::new(0),
            flush: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
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

    /// What a run notes at its beginning, for [`learn`](Self::learn).
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// Learns from the result of a run that began in `epoch`.
    pub(crate) fn learn(&self, terms: &Terms, result: CompactResult, epoch: u32) {
        let Some(order) = terms.order.filter(|_| epoch == self.epoch()) else {
            return;
        };
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
    #[cfg(test)]
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

    /// A pageblock may well be emptied now: it bears no mark any more, and nothing is put off because of it.
    pub(crate) fn unskip(&self, block: usize) {
        self.epoch.fetch_add(1, Relaxed);
        let (word, bit) = bit_of(block);
        self.skips[word].fetch_and(!bit, Relaxed);
        self.positions.store(0, Relaxed);
        self.deferral.store(Deferral::default().raw(), Relaxed);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::CompactPriority;
    use super::super::policy::choose::Chooser;
    use super::super::policy::positions::Coverage;
    use super::*;
    use crate::types::Migratetype;

    /// Two nodes: a Normal zone of 100 pageblocks; a Normal one of 70, a Movable one of 40,000.
    fn state() -> CompactState {
        CompactState::new(NODES).unwrap()
    }

    const NODES: [[usize; NR_ZONES]; 2] = [[0, 100 << 9, 0], [0, 70 << 9, 40_000 << 9]];

    fn normal(state: &CompactState) -> &ZoneHints {
        state.zone(NodeId::at(0), ZoneType::Normal)
    }

    fn direct(priority: CompactPriority) -> Terms {
        let order = Order::at(9);
        Terms::direct(priority, order, ZoneType::Normal, Migratetype::Movable)
    }

    const LIGHT: CompactPriority = CompactPriority::SyncLight;
    const NINE: Order = Order::at(9);

    fn starts_at_zone_start(hints: &ZoneHints) -> bool {
        let geometry = Geometry {
            start: Pfn::from_raw(0),
            pages: 100 << 9,
        };
        let chooser = Chooser::begin(&direct(LIGHT), geometry, hints.positions());
        chooser.coverage() == Coverage::WholeZone
    }

    #[test]
    fn a_failure_puts_attempts_off_and_a_served_request_ends_that() {
        let state = state();
        let hints = normal(&state);
        assert!(!hints.is_deferred(NINE));
        hints.learn(&direct(CompactPriority::Async), CompactResult::Complete, 0);
        assert!(!hints.is_deferred(NINE), "weak evidence");
        for _ in 0..2 {
            hints.learn(&direct(LIGHT), CompactResult::PartialSkipped, 0);
        }
        let put_off = (0..10).take_while(|_| hints.is_deferred(NINE)).count();
        assert_eq!(put_off, 3);

        hints.learn(&direct(LIGHT), CompactResult::Complete, 0);
        hints.note_allocated(NINE);
        assert!(!hints.is_deferred(NINE) && !hints.is_deferred(Order::MAX));
        hints.learn(&direct(LIGHT), CompactResult::Complete, 0);
        hints.learn(&direct(LIGHT), CompactResult::Success, 0);
        assert!(!hints.is_deferred(NINE) && hints.is_deferred(Order::MAX));
    }

    #[test]
    fn a_zone_put_off_as_long_as_can_be_starts_anew() {
        let state = state();
        let hints = normal(&state);
        for _ in 0..6 {
            hints.learn(&direct(LIGHT), CompactResult::Complete, 0);
        }
        assert!(!hints.is_restarting(NINE));
        while hints.is_deferred(NINE) {}
        assert!(hints.is_restarting(NINE));
        hints.learn(&direct(LIGHT), CompactResult::Complete, 0);
        assert!(!hints.is_restarting(NINE));
    }

    #[test]
    fn runs_begin_where_the_last_got_to_until_one_has_met_the_end() {
        let state = state();
        let hints = normal(&state);
        assert!(starts_at_zone_start(hints));
        hints.note_passed(MigrateMode::SyncLight, 50);
        assert!(!starts_at_zone_start(hints));
        hints.note_met(&Terms::kcompactd(NINE, ZoneType::Normal));
        assert!(starts_at_zone_start(hints));
    }

    #[test]
    fn only_who_needs_a_block_has_marks_cleared_and_only_until_he_is_served() {
        let state = state();
        let hints = normal(&state);
        hints.note_met(&Terms::kcompactd(NINE, ZoneType::Normal));
        assert!(!hints.wants_flush());
        hints.note_met(&direct(LIGHT));
        assert!(hints.wants_flush());
        hints.note_allocated(NINE);
        assert!(!hints.wants_flush());
    }

    #[test]
    fn marks_are_one_bit_each_and_are_forgotten_but_where_nothing_can_change() {
        let state = state();
        let hints = normal(&state);
        let marked = [0, 31, 32, 63, 99];
        for block in marked {
            hints.skip(block);
        }
        for block in 0..100 {
            assert_eq!(hints.is_skipped(block), marked.contains(&block));
        }
        hints.note_passed(MigrateMode::Async, 50);
        hints.forget(|block| block == 32 || block == 7);
        for block in 0..100 {
            assert_eq!(hints.is_skipped(block), block == 32, "{block}");
        }
        assert_eq!(hints.positions(), Positions::default());
    }

    #[test]
    fn a_flush_forgets_the_hints_of_zones_that_want_it() {
        let state = state();
        let node = state.node(NodeId::at(1));
        let (normal, movable) = (node.zone(ZoneType::Normal), node.zone(ZoneType::Movable));
        normal.skip(69);
        movable.skip(39_999);
        movable.note_met(&direct(LIGHT));
        node.flush(|_, _| false);
        assert!(normal.is_skipped(69) && !movable.is_skipped(39_999));
        assert!(!movable.wants_flush());
    }

    #[test]
    fn the_estimate_is_exact() {
        let state = state();
        assert_eq!(state.bytes(), CompactState::estimate(NODES));
        // A bit a pageblock: 16, 12 and 5000 bytes, of which the last are whole pages if mapped.
        let tables = state.bytes() - 2 * size_of::<NodeHints>();
        assert!((5028..=8220).contains(&tables), "{tables}");
    }
}
