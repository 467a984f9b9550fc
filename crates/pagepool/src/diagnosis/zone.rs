//! How a zone stands to a request.

use std::fmt;

use crate::types::{Migratetype, NR_MIGRATETYPES, NR_ORDERS, NodeId, Order, ZoneType};
use crate::zone::Zone;
use crate::zone::fragmentation;
use crate::zone::watermark::{AllocFlags, Mark, Verdict};

/// Whether a zone could serve a request, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// It could.
    Passes,
    /// It has enough, but no free block is large enough.
    Fragmented,
    /// It would, but for what it keeps back for requests that cannot use a higher zone.
    Reserved,
    /// What is free stands at or below the mark that the request must respect.
    BelowMark,
    /// It can never hold the block.
    TooSmall,
}

/// How a zone stands to a request. Sizes are in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ZoneReport {
    /// Its node.
    pub node: NodeId,
    /// Which zone of it.
    pub zone: ZoneType,
    /// Pages that it can hand out.
    pub managed: usize,
    /// Pages free, without those in caches of CPUs.
    pub free: usize,
    /// Pages free in caches of CPUs.
    pub cached: usize,
    /// Where ordinary requests stop, as it was set.
    pub min: usize,
    /// Where kswapd is woken, as it was set.
    pub low: usize,
    /// Where kswapd stops, as it was set.
    pub high: usize,
    /// By how much fragmentation has raised all three.
    pub boost: usize,
    /// What is kept back from the request for those who cannot use a higher zone.
    pub reserve: usize,
    /// Pages that are missing until the request could pass, if there were a block for it.
    pub shortfall: usize,
    /// Free blocks, by type and order.
    pub nr_free: [[u32; NR_ORDERS]; NR_MIGRATETYPES],
    /// Why the zone would refuse the order: towards 0 for lack of memory, towards 1000 because what is free
    /// is in pieces; -1000 if it would not (kernel: `extfrag_index`, in thousandths).
    pub fragmentation_index: i64,
    /// How it stands to the request.
    pub standing: Standing,
}

impl ZoneReport {
    /// How a zone stands to a request of `order` by those who may use zones up to `class`.
    pub(crate) fn of(zone: &Zone, order: Order, class: ZoneType, flags: AllocFlags) -> ZoneReport {
        let marks = zone.marks();
        let areas = zone.free_areas();
        let mut report = ZoneReport {
            node: zone.node(),
            zone: zone.zone_type(),
            managed: zone.managed(),
            free: zone.free_pages(),
            cached: zone.cached_pages(),
            min: marks.get(Mark::Min),
            low: marks.get(Mark::Low),
            high: marks.get(Mark::High),
            boost: zone.boost(),
            reserve: zone.reserve(class),
            shortfall: 0,
            nr_free: areas.nr_free.map(|row| row.map(|nr| nr as u32)),
            fragmentation_index: fragmentation::fragmentation_index(&areas.by_order(), order),
            standing: standing(zone, order, class, flags),
        };
        report.shortfall = report.missing(order, flags);
        report
    }

    /// Pages below what a request of `order` needs: the mark and the reserve stay, and the block comes off
    /// what is free beyond.
    fn missing(&self, order: Order, flags: AllocFlags) -> usize {
        if self.standing == Standing::TooSmall || flags.contains(AllocFlags::NO_WATERMARKS) {
            return 0;
        }
        let mark = match flags.mark() {
            Mark::Min => self.min,
            Mark::Low => self.low,
            Mark::High => self.high,
        };
        let needed = mark + self.boost + self.reserve + order.pages();
        needed.saturating_sub(self.free)
    }

    /// The order of the largest free block, if anything is free.
    #[must_use]
    pub fn largest_free(&self) -> Option<Order> {
        let has = |order: &usize| self.nr_free.iter().any(|row| row[*order] > 0);
        (0..NR_ORDERS).rev().find(has).map(Order::at)
    }
}

fn standing(zone: &Zone, order: Order, class: ZoneType, flags: AllocFlags) -> Standing {
    if order > zone.max_order() {
        return Standing::TooSmall;
    }
    let verdict = if flags.contains(AllocFlags::NO_WATERMARKS) {
        zone.check_unmarked(order)
    } else {
        zone.check(order, class, flags)
    };
    match verdict {
        Verdict::Pass => Standing::Passes,
        Verdict::BelowMark => Standing::BelowMark,
        Verdict::Reserved => Standing::Reserved,
        Verdict::Fragmented => Standing::Fragmented,
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Passes => "passes",
            Standing::Fragmented => "fragmented",
            Standing::Reserved => "reserved for lower zones",
            Standing::BelowMark => "below its mark",
            Standing::TooSmall => "too small",
        })
    }
}

impl fmt::Display for ZoneReport {
    /// Three lines: figures, free blocks by order, and by type what is free at each order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ZoneReport {
            node,
            zone,
            managed,
            free,
            cached,
            min,
            low,
            high,
            boost,
            reserve,
            shortfall,
            nr_free,
            fragmentation_index,
            standing,
        } = self;
        write!(
            f,
            "node {node} {zone}: {standing}; free {free} cached {cached} min {min} low {low} high {high} boost {boost} reserve {reserve} managed {managed}"
        )?;
        write!(f, " shortfall {shortfall} index {fragmentation_index}")?;
        for (mt, row) in Migratetype::ALL.iter().zip(nr_free) {
            if row.iter().any(|nr| *nr > 0) {
                write!(f, "\n    {mt}:")?;
                row.iter().try_for_each(|nr| write!(f, " {nr}"))?;
            }
        }
        Ok(())
    }
}
