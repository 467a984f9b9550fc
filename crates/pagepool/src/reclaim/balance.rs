//! The background reclaimer's run: reclaim until the node is balanced for everybody who asked.
//!
//! *Kernel counterpart:* `balance_pgdat`, `kswapd_shrink_node` (v5.0), with the corrections of spec 9.3
//! and 9.6. What differs:
//! - What was asked for is a set, an order for each class, and the node is balanced when it is for each
//!   of them. v5.0 merges them into the highest order and the highest class, and may stop on account of
//!   a zone that half of the requesters cannot use.
//! - A run that was interrupted, or that began with a boost, is no failure.
//! - Shrinkers are not spared while a boost is answered.
//! - A pass tries for what is missing, not for all high marks together, so that little is reclaimed beyond
//!   them.
//!
//! ```text
//! priority 12 … 1:  balanced, no boost left?  done
//!                   not balanced, but in a boost's gentle mode?  leave it, begin again
//!                   age · shrink · release the throttled · interrupted?  leave
//!                   in gentle mode and nothing reclaimed?  leave
//!                   scanned too little, or nothing reclaimed?  next priority
//! ```
//!
//! **Invariants**
//! - L1: order falls to 0, for all who asked, once twice the largest block was reclaimed; it never rises.
//! - L2: after a run that saw boosts, each has been lowered by what was seen (INV-8).
//! - L3: each fruitless run counts as one failure at most.
//!
//! **Locking:** none; every step may sleep.

use crate::node::{Node, Nodes, StartBy, identity};
use crate::sync::Requests;
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NR_ZONES, Order, PAGEBLOCK_ORDER, ZoneType};
use crate::zone::Zone;
use crate::zone::fragmentation::compact_gap;
use crate::zone::vmstat::VmEvent;
use crate::zone::watermark::Mark;

use super::control::{DEF_PRIORITY, SWAP_CLUSTER_MAX};
use super::policy::throttle::Powers;
use super::{ScanControl, Shrink, Who};

use std::time::Duration;

/// Answering a boost never goes beyond this priority; real need writes out beyond it, whatever the
/// settings say (kernel: `DEF_PRIORITY - 2`).
const GENTLE_PRIORITY: u8 = DEF_PRIORITY - 2;

/// How long one pass waits for I/O (kernel: `HZ/10` in `congestion_wait`).
const IO_PATIENCE: Duration = Duration::from_millis(100);

/// What a run depends on beside the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// Dirty folios are written out only in need, so that a disk can rest (kernel: `laptop_mode`).
    pub(crate) laptop_mode: bool,
    /// The pool's tables are larger than they may be: reclaim from every zone, whatever was asked for
    /// (kernel: `buffer_heads_over_limit`).
    pub(crate) metadata_over_limit: bool,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The node is balanced.
    Balanced,
    /// The lowest priority was reached.
    Exhausted,
    /// It answered a boost, and found nothing more that is free for the taking.
    BoostAnswered,
    /// The reclaimer is asked to stop, or to stand still.
    Interrupted,
}

/// What came of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Balanced {
    /// What was looked for last: what was asked, or the same at order 0.
    pub(crate) left: Requests,
    /// How it ended.
    pub(crate) end: End,
}

/// Reclaims from one node.
pub(crate) struct Balance<'a> {
    /// The pool's nodes.
    pub(crate) nodes: &'a Nodes,
    /// This one.
    pub(crate) node: &'a Node,
    /// Who takes folios out of memory.
    pub(crate) shrinker: &'a dyn Shrink,
    /// Looked at before each pass.
    pub(crate) circumstances: &'a dyn Fn() -> Circumstances,
    /// Whether to leave soon.
    pub(crate) is_interrupted: &'a dyn Fn() -> bool,
}

/// The state of one run.
struct Run {
    class: ZoneType,
    left: Requests,
    /// What each zone's boost was when the run began.
    boosts: [usize; NR_ZONES],
    /// Pages still to be reclaimed on account of them.
    boost_left: usize,
    sc: ScanControl,
}

impl Run {
    fn is_gentle(&self) -> bool {
        self.boost_left > 0
    }

    /// Whether nothing was had because of low limits, and so they must be broken: a daemon that leaves it at
    /// that leaves memory short, and others to wait (kernel, later: `memcg_low_reclaim` in `balance_pgdat`).
    fn must_break_low(&self) -> bool {
        self.sc.nr_reclaimed == 0 && self.sc.low_spared && !self.sc.breaks_low
    }

    fn was_boosted(&self) -> bool {
        self.boosts != [0; NR_ZONES]
    }
}

/// What one pass says about the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pass {
    /// Reclaimed something, and scanned enough to go on like this.
    Same,
    /// Look harder.
    Harder,
    /// Leave.
    End(End),
}

impl Balance<'_> {
    /// Reclaims until the node is balanced for what was asked, or there is no point in going on.
    pub(crate) fn run(&self, asked: Requests) -> Balanced {
        let Some(class) = highest_class(asked) else {
            return Balanced {
                left: asked,
                end: End::Balanced,
            };
        };
        let _stall = self.nodes.stall(self.node.id());
        self.nodes.events().count(VmEvent::Pageoutrun);
        let mut run = self.begin(asked, class);
        let end = self.descend(&mut run);
        self.note(&run, end);
        if run.was_boosted() {
            self.lower_boosts(&run);
        }
        self.shrinker.snapshot_refaults(self.node);
        Balanced {
            left: run.left,
            end,
        }
    }

    fn begin(&self, asked: Requests, class: ZoneType) -> Run {
        identity::take_freed();
        let mut boosts = [0; NR_ZONES];
        for zone in self.node.managed_up_to(class) {
            boosts[zone.zone_type().idx()] = zone.boost();
        }
        Run {
            class,
            left: asked,
            boosts,
            boost_left: boosts.iter().sum(),
            sc: ScanControl {
                who: Who::Kswapd,
                target: GroupId::ROOT,
                breaks_low: false,
                low_spared: false,
                order: highest_order(asked),
                reclaim_idx: class,
                priority: DEF_PRIORITY,
                nr_to_reclaim: 0,
                may_writepage: false,
                may_swap: false,
                may_enter_fs: true,
                may_shrink_slab: true,
                powers: Powers::Full,
                deadline: None,
                nr_scanned: 0,
                nr_reclaimed: 0,
            },
        }
    }

    /// B2 to B16: from the lightest look at the lists to the hardest. Priority 0, all of every list, is
    /// for those who have nothing left to wait for.
    fn descend(&self, run: &mut Run) -> End {
        while run.sc.priority > 0 {
            let is_balanced = self.node.is_balanced_for(run.left);
            if !is_balanced && run.is_gentle() {
                // Real need outranks the prevention of fragmentation: begin again with all means.
                run.boost_left = 0;
                run.sc.priority = DEF_PRIORITY;
                continue;
            }
            if is_balanced && !run.is_gentle() {
                return End::Balanced;
            }
            match self.pass(run) {
                Pass::Same => {}
                Pass::Harder => run.sc.priority -= 1,
                Pass::End(end) => return end,
            }
            if run.sc.priority == 0 && run.must_break_low() {
                run.sc.breaks_low = true;
                run.sc.priority = DEF_PRIORITY;
            }
        }
        End::Exhausted
    }

    /// B6 to B16: one pass at the run's priority.
    fn pass(&self, run: &mut Run) -> Pass {
        let reclaimed_before = run.sc.nr_reclaimed;
        let may_go_lower = !(run.is_gentle() && run.sc.priority == GENTLE_PRIORITY);
        self.set_terms(run);

        if self.shrinker.has_swap() {
            self.shrinker.age_active_anon(self.node, &run.sc);
        }
        let scanned_enough = self.shrink(run);
        self.node
            .release_throttled(&|zone| self.shrinker.reclaimable_pages(zone));
        if (self.is_interrupted)() {
            return Pass::End(End::Interrupted);
        }

        let reclaimed = run.sc.nr_reclaimed - reclaimed_before;
        run.boost_left -= run.boost_left.min(reclaimed);
        if run.is_gentle() && reclaimed == 0 {
            // It may neither write nor swap, and would only spin.
            return Pass::End(End::BoostAnswered);
        }
        if reclaimed == 0 || (may_go_lower && !scanned_enough) {
            Pass::Harder
        } else {
            Pass::Same
        }
    }

    /// B3, B7, B9: what the pass may do.
    fn set_terms(&self, run: &mut Run) {
        let Circumstances {
            laptop_mode,
            metadata_over_limit,
        } = (self.circumstances)();
        let is_gentle = run.is_gentle();
        let widest = self.node.managed_up_to(ZoneType::Movable).next_back();
        let sc = &mut run.sc;
        sc.reclaim_idx = match widest {
            Some(zone) if metadata_over_limit => zone.zone_type(),
            Some(_) | None => run.class,
        };
        let in_trouble = sc.priority < GENTLE_PRIORITY;
        sc.may_writepage = in_trouble || !(laptop_mode || is_gentle);
        sc.may_swap = !is_gentle;
        sc.deadline = io_deadline();
    }

    /// Shrinks the node's lists; returns whether enough was scanned that, had all of it been reclaimed,
    /// the high marks would be met (kernel: `kswapd_shrink_node`, spec 4.12).
    fn shrink(&self, run: &mut Run) -> bool {
        let missing = self.missing(run);
        let sc = &mut run.sc;
        let high_marks: usize = self
            .node
            .managed_up_to(sc.reclaim_idx)
            .map(|zone| zone.mark(Mark::High).max(SWAP_CLUSTER_MAX))
            .sum();
        sc.nr_to_reclaim = missing.min(high_marks);
        sc.nr_scanned = 0;
        // B12: first from those who have more than they were meant to.
        let from_offenders = self.shrinker.shrink_beyond_soft(self.node, sc);
        sc.nr_scanned += from_offenders.scanned;
        sc.nr_reclaimed += from_offenders.reclaimed;
        if from_offenders.reclaimed < sc.nr_to_reclaim {
            self.shrinker.shrink_node(self.node, sc);
        }
        sc.nr_reclaimed += identity::take_freed();

        // Enough for the block twice over: if it is still not there, only compaction can build it.
        if sc.order > Order::ZERO && sc.nr_reclaimed >= compact_gap(sc.order) {
            sc.order = Order::ZERO;
            run.left = run.left.at_order_zero();
        }
        sc.nr_scanned >= sc.nr_to_reclaim
    }

    /// Pages that lift the zone that is nearest to its high mark above it, and what a block and a boost
    /// want on top. v5.0 lets each pass reclaim as much as all high marks together, and looks afterwards
    /// whether that was too much.
    fn missing(&self, run: &Run) -> usize {
        let short = |zone: &Zone| {
            let mark = zone.mark(Mark::High) + zone.reserve(run.class);
            (mark + 1).saturating_sub(zone.free_pages())
        };
        let zones = self.node.managed_up_to(run.sc.reclaim_idx);
        let nearest = zones.map(short).min().unwrap_or(0);
        let for_block = match run.sc.order {
            Order::ZERO => 0,
            order => compact_gap(order),
        };
        nearest
            .max(for_block)
            .max(run.boost_left)
            .max(SWAP_CLUSTER_MAX)
    }

    /// What the run says about the hope that there is in the node.
    fn note(&self, run: &Run, end: End) {
        let post = &self.node.kswapd;
        let is_balanced = || self.node.is_balanced_for(run.left);
        let has_failed = match end {
            End::Balanced | End::BoostAnswered | End::Interrupted => false,
            End::Exhausted => run.sc.nr_reclaimed == 0 && !run.was_boosted(),
        };
        if has_failed {
            post.note_failure(self.node.zones().iter(), is_balanced);
            tracing::event!(
                name: "mm_vmscan_kswapd_reclaim_fail",
                target: "pagepool::vmscan",
                tracing::Level::TRACE,
                nid = self.node.id().get(),
                failures = post.failures(),
            );
        } else {
            post.note_progress(is_balanced);
        }
    }

    /// Takes from each boost what was seen of it: what was added meanwhile stands. Then has whole blocks
    /// built in what was freed.
    fn lower_boosts(&self, run: &Run) {
        for (zone, seen) in self.node.zones().iter().zip(run.boosts) {
            if seen > 0 {
                zone.lower_boost(seen);
            }
        }
        // The marks fell.
        self.nodes.freed().wake_all();
        let events = self.nodes.events();
        self.node
            .wake_kcompactd(PAGEBLOCK_ORDER, run.class, StartBy::Caller, events);
    }
}

/// The highest class that anybody asked for.
fn highest_class(asked: Requests) -> Option<ZoneType> {
    asked
        .for_reclaim()
        .map(|pair| ZoneType::ALL[pair.class_idx])
}

/// The highest order that anybody asked for.
fn highest_order(asked: Requests) -> Order {
    let order = asked.for_reclaim().map_or(0, |pair| pair.order);
    Order::at(usize::from(order))
}

fn io_deadline() -> Option<Instant> {
    clock::deadline_after(IO_PATIENCE)
}

#[cfg(all(test, not(loom)))]
mod tests;
