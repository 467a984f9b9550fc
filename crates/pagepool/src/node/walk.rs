//! Trying the zones in order.
//!
//! *Kernel counterpart:* `get_page_from_freelist`, `alloc_flags_nofragment`, `zone_statistics`
//! (v5.0), with the rule of NOFRAGMENT that v5.0 lost (spec 2.6). The spread of dirty pages and
//! `node_reclaim` are left out.

use super::{Nodes, StartBy};
use crate::gfp::Gfp;
use crate::sync::cpu;
use crate::types::{Migratetype, NodeId, NodeMask, Order, Pfn, ZoneType};
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::{AllocFlags, Verdict};
use crate::zone::zonelist::ZoneRef;
use crate::zone::{Taken, Zone, ZoneRequest};

/// What a request looks for, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// The size of the block.
    pub(crate) order: Order,
    /// The type of pageblock it belongs in.
    pub(crate) want: Migratetype,
    /// The highest zone it may use.
    pub(crate) class: ZoneType,
    /// The node it should come from.
    pub(crate) preferred: NodeId,
    /// The nodes it may come from.
    pub(crate) mask: NodeMask,
}

impl Walk {
    fn request(&self, flags: AllocFlags) -> ZoneRequest {
        ZoneRequest {
            order: self.order,
            want: self.want,
            flags,
        }
    }
}

/// A block that was found.
#[derive(Debug)]
pub(crate) struct Granted {
    /// The block.
    pub(crate) taken: Taken,
    /// Whether it came from the reserves, and should only be used to free more.
    pub(crate) from_reserve: bool,
}

/// Why nothing was found: the most hopeful verdict of all zones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shortage {
    /// No zone may be used, or none is as large as the block.
    NoZone,
    /// Free memory is at or below the mark.
    BelowMark,
    /// It is kept back for requests bound to lower zones.
    Reserved,
    /// It is in pieces.
    Fragmented,
}

impl Nodes {
    /// Takes a block from the first zone that may give one (spec 3.3).
    pub(crate) fn walk(&self, walk: &Walk, flags: AllocFlags, gfp: Gfp) -> Option<Granted> {
        if flags.contains(AllocFlags::NOFRAGMENT) {
            // Staying local matters more than leaving pageblocks unmixed, so the strict attempt
            // ends at the preferred node's zones.
            let local = Walk {
                mask: walk.mask & NodeMask::only(walk.preferred),
                ..*walk
            };
            if let Some(granted) = self.try_zones(&local, flags, gfp) {
                return Some(granted);
            }
        }
        self.try_zones(walk, flags - AllocFlags::NOFRAGMENT, gfp)
    }

    fn try_zones(&self, walk: &Walk, flags: AllocFlags, gfp: Gfp) -> Option<Granted> {
        self.eligible(walk).find_map(|zone| {
            let free_to_take = flags.contains(AllocFlags::NO_WATERMARKS)
                || zone.may_take(walk.order, walk.class, flags);
            let taken = if free_to_take {
                zone.take(walk.request(flags))
            } else {
                None
            };
            self.tell_of_boost(zone, flags, gfp);
            let taken = taken?;
            self.after_take(zone, walk, taken.pfn(), flags, gfp);
            Some(Granted {
                taken,
                from_reserve: flags.contains(AllocFlags::NO_WATERMARKS),
            })
        })
    }

    /// The zones that the request may use, in order.
    pub(crate) fn eligible<'a>(&'a self, walk: &'a Walk) -> impl Iterator<Item = &'a Zone> {
        self.zonelists
            .of(walk.preferred, walk.class)
            .filter(|entry| walk.mask.contains(entry.node))
            .map(|ZoneRef { node, zone }| self.node(node).zone(zone))
    }

    /// If the zone's marks were raised and the request may wake the reclaimer, it does.
    pub(crate) fn tell_of_boost(&self, zone: &Zone, flags: AllocFlags, gfp: Gfp) {
        if flags.contains(AllocFlags::KSWAPD) && zone.consume_boosted() {
            self.wake_kswapd(zone.node(), Order::ZERO, zone.zone_type(), gfp);
        }
    }

    /// If a zone's free memory has come to be in pieces, the background compactor is told to look.
    pub(crate) fn tell_of_fragmentation(&self, zone: &Zone, by: StartBy) {
        if zone.consume_fragmented() {
            self.node(zone.node()).kcompactd.ring(by);
        }
    }

    fn after_take(&self, zone: &Zone, walk: &Walk, pfn: Pfn, flags: AllocFlags, gfp: Gfp) {
        self.tell_of_fragmentation(zone, StartBy::of(gfp));
        if walk.order > Order::ZERO && flags.contains(AllocFlags::HARDER) {
            zone.reserve_highatomic(pfn);
        }
        self.count_origin(zone, walk, 1);
    }

    /// Counts where `nr` blocks came from (spec 3.4). The preferred node is that of the first zone
    /// that the request may use: a mask that excludes the nearest node makes no misses.
    pub(crate) fn count_origin(&self, zone: &Zone, walk: &Walk, nr: u64) {
        let from = zone.node();
        let preferred = self.eligible(walk).next().map(Zone::node);
        if preferred == Some(from) {
            self.events.add(VmEvent::NumaHit, nr);
        } else {
            self.events.add(VmEvent::NumaMiss, nr);
            self.events.add(VmEvent::NumaForeign, nr);
        }
        let local = from == self.of_cpu(cpu::current());
        let event = if local {
            VmEvent::NumaLocal
        } else {
            VmEvent::NumaOther
        };
        self.events.add(event, nr);
    }

    /// Whether the first attempt keeps types apart: where the preferred zone is Normal and another
    /// local zone, or at least no remote one, could serve instead.
    pub(crate) fn nofragment(&self, walk: &Walk) -> AllocFlags {
        let Some(first) = self.eligible(walk).next() else {
            return AllocFlags::empty();
        };
        let is_local = first.node() == walk.preferred;
        let dma = self.node(walk.preferred).zone(ZoneType::Dma);
        let alternative = self.len() == 1 || dma.is_managed();
        if is_local && first.zone_type() == ZoneType::Normal && alternative {
            AllocFlags::NOFRAGMENT
        } else {
            AllocFlags::empty()
        }
    }

    /// Why a walk with these flags would find nothing now; none if it might.
    pub(crate) fn shortage(&self, walk: &Walk, flags: AllocFlags) -> Option<Shortage> {
        let verdicts = self
            .eligible(walk)
            .filter(|zone| walk.order <= zone.max_order());
        let mut worst_case = Shortage::NoZone;
        for zone in verdicts {
            let verdict = if flags.contains(AllocFlags::NO_WATERMARKS) {
                zone.check_unmarked(walk.order)
            } else {
                zone.check(walk.order, walk.class, flags)
            };
            let shortage = match verdict {
                Verdict::Pass => return None,
                Verdict::BelowMark => Shortage::BelowMark,
                Verdict::Reserved => Shortage::Reserved,
                Verdict::Fragmented => Shortage::Fragmented,
            };
            worst_case = worst_case.max(shortage);
        }
        Some(worst_case)
    }

    /// A cookie for [`zonelists_are_current`](Self::zonelists_are_current).
    pub(crate) fn zonelist_sequence(&self) -> u32 {
        self.zonelists.sequence()
    }

    /// Whether no zone has received its first memory or lost its last since the cookie was taken.
    pub(crate) fn zonelists_are_current(&self, cookie: u32) -> bool {
        self.zonelists.is_current(cookie)
    }
}
