//! Reclaim by a thread that needs memory itself.
//!
//! *Kernel counterpart:* `try_to_free_pages`, `do_try_to_free_pages`, `shrink_zones`, `compaction_ready`
//! (v5.0). A thread takes on no more than its share of what is missing, and only so many reclaim from a
//! node at once as it has CPUs; the others wait for what these bring.

use std::time::Duration;

use super::control::{ScanControl, Shrink, Who};
use super::policy::direct::{After, DirectRounds, RoundEnd, Shortfall};
use super::policy::throttle::Powers;
use super::shrink::Reclaimer;
use super::state::Direct;
use super::trace;
use crate::gfp::Gfp;
use crate::node::{Node, Walk, identity};
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeMask, Order};
use crate::zone::Zone;
use crate::zone::fragmentation::{Suitability, compact_gap};
use crate::zone::watermark::{AllocFlags, Mark};

/// How long a thread waits for those who reclaim already before it looks around again.
const TURN_PATIENCE: Duration = Duration::from_millis(20);

/// What a thread reclaims for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectTerms<'a> {
    /// The request.
    pub(crate) walk: &'a Walk,
    /// Its flags.
    pub(crate) gfp: Gfp,
    /// Its end.
    pub(crate) deadline: Option<Instant>,
    /// Whether a user's backing may be written to.
    pub(crate) may_enter_fs: bool,
    /// Whether users' shrinkers may be called.
    pub(crate) may_shrink_slab: bool,
}

impl Reclaimer<'_> {
    /// Reclaims on behalf of a request, from the nodes that it may use. Returns pages reclaimed, or 1 if
    /// something else makes it worth to look again; 0 is failure.
    pub(crate) fn try_to_free_pages(&self, terms: DirectTerms<'_>) -> usize {
        let nodes = self.custodian.nodes;
        let Some(first) = nodes.eligible(terms.walk).next() else {
            return 0;
        };
        let home = nodes.node(first.node());
        let Some(direct) = self.enter_direct(home, terms) else {
            // Others are at it, and something may have come of that.
            return 1;
        };
        self.reclaim_in_rounds(home, terms, direct.nr())
    }

    /// Waits for this thread's turn to reclaim from a node; none if it did not come.
    fn enter_direct(&self, home: &Node, terms: DirectTerms<'_>) -> Option<Direct<'_>> {
        let most = home.cpus().len().max(1);
        let memory = self.memory(home);
        memory.enter_direct(most).or_else(|| {
            // Whoever frees memory wakes this queue; who leaves without does not, hence the short wait.
            let soon = clock::deadline_after(TURN_PATIENCE);
            let soon = [soon, terms.deadline].into_iter().flatten().min();
            self.custodian.nodes.freed().wait(soon, || false);
            memory.enter_direct(most)
        })
    }

    fn reclaim_in_rounds(&self, home: &Node, terms: DirectTerms<'_>, reclaimers: usize) -> usize {
        let stint = shortfall(home, terms.walk, reclaimers).stint();
        let is_spared = self.state.laptop_mode() != 0;
        let mut rounds = DirectRounds::start(stint, !is_spared);
        let mut sc = ScanControl {
            who: Who::Direct,
            target: GroupId::ROOT,
            breaks_low: false,
            low_spared: false,
            order: terms.walk.order,
            reclaim_idx: terms.walk.class,
            priority: rounds.priority(),
            nr_to_reclaim: stint.nr_to_reclaim,
            may_writepage: rounds.may_writepage(),
            may_swap: terms.gfp.contains(Gfp::IO),
            may_enter_fs: terms.may_enter_fs,
            may_shrink_slab: terms.may_shrink_slab,
            powers: if terms.gfp.contains(Gfp::IO | Gfp::FS) {
                Powers::Full
            } else {
                Powers::Restricted
            },
            deadline: terms.deadline,
            nr_scanned: 0,
            nr_reclaimed: 0,
        };
        // What a callback of another pool's freed before, on this thread, is that pool's to count.
        let not_ours = identity::take_freed();
        trace::direct_reclaim_begin(&sc, terms.gfp);
        let first = rounds;
        let progress = loop {
            let end = self.round(terms.walk, &mut sc);
            match rounds.after(end) {
                After::Again(next) if !sc.is_late() => rounds = next,
                After::Again(_) => break sc.nr_reclaimed,
                // Nothing but what low limits protect: then that.
                After::Done(0) if sc.low_spared && !sc.breaks_low && !sc.is_late() => {
                    sc.breaks_low = true;
                    rounds = first;
                }
                After::Done(progress) => break progress,
            }
            sc.priority = rounds.priority();
            sc.may_writepage = rounds.may_writepage();
        };
        for node in self.nodes_of(terms.walk) {
            self.snapshot_refaults(node);
        }
        trace::direct_reclaim_end(sc.nr_reclaimed);
        identity::note_freed(not_ours);
        progress
    }

    /// Each node that the request may use, once, in its order.
    fn nodes_of<'w>(&'w self, walk: &'w Walk) -> impl Iterator<Item = &'w Node> {
        let nodes = self.custodian.nodes;
        let mut seen = NodeMask::NONE;
        nodes.eligible(walk).filter_map(move |zone| {
            let id = zone.node();
            let is_new = !seen.contains(id);
            seen = seen.with(id);
            is_new.then(|| nodes.node(id))
        })
    }

    /// One round over the nodes.
    fn round(&self, walk: &Walk, sc: &mut ScanControl) -> RoundEnd {
        let before = sc.nr_reclaimed;
        let mut compaction_ready = false;
        for node in self.nodes_of(walk) {
            // With enough free already, reclaiming more would not make a large block; moving might.
            let is_ready = |zone: &Zone| is_ready_to_compact(zone, walk);
            if walk.order.is_costly() && node.managed_up_to(walk.class).any(is_ready) {
                compaction_ready = true;
                continue;
            }
            let reclaimed_before = sc.nr_reclaimed;
            let from_offenders = self.shrink_beyond_soft(node, sc).reclaimed;
            sc.nr_reclaimed += from_offenders;
            if from_offenders < sc.nr_to_reclaim {
                self.shrink_node(node, sc);
            }
            sc.nr_reclaimed += identity::take_freed();
            if sc.nr_reclaimed > reclaimed_before {
                node.note_progress(walk.order, walk.class);
            }
            if sc.is_late() {
                break;
            }
        }
        RoundEnd {
            reclaimed: sc.nr_reclaimed - before,
            compaction_ready,
        }
    }
}

/// How short the best zone of the node is that a request looks at first.
fn shortfall(home: &Node, walk: &Walk, reclaimers: usize) -> Shortfall {
    let zones = home.managed_up_to(walk.class);
    let best = zones.max_by_key(|zone| zone.free_pages() as isize - zone.mark(Mark::Min) as isize);
    let mark = |mark| best.map_or(0, |zone| zone.mark(mark));
    Shortfall {
        free: best.map_or(0, Zone::free_pages),
        min: mark(Mark::Min),
        low: mark(Mark::Low),
        high: mark(Mark::High),
        reclaimers,
    }
}

/// Whether compaction could make the block now, or would have the room to (kernel: `compaction_ready`).
fn is_ready_to_compact(zone: &Zone, walk: &Walk) -> bool {
    match zone.compaction_suitable(walk.order, walk.class) {
        Suitability::Success => true,
        Suitability::Skipped => false,
        Suitability::Continue => {
            let room = zone.mark(Mark::High) + compact_gap(walk.order);
            let none = AllocFlags::empty();
            zone.check_against(room, Order::ZERO, walk.class, none)
                .passes()
        }
    }
}
