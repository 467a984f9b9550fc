//! A pool that becomes smaller while it runs, step by step.
//!
//! *Kernel counterpart:* `mem_cgroup_resize_max` (v5.0), which reclaims until a group fits into its new limit;
//! and `offline_pages`, since here the memory is to leave the process.
//!
//! ```text
//!   a zone is chosen ─► room is made for a step above its high mark: reclaim
//!                    ─► its free pageblocks leave service, as long as its minimum holds
//!                    ─► if there is none, one is emptied by moving, and leaves
//!   some have left: their memory goes to the system, marks follow, the next step
//!   none has:       the zone is passed over, until something was reclaimed or all were passed over a few times
//! ```
//!
//! Every step is complete in itself: whatever ends the work, what was gained before stays.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::policy::{self, ZoneView};
use super::{ResizeObstacle, Taker};
use crate::alloc::scope::{self, ScopeKind};
use crate::compact::{NotEmptied, Passed};
use crate::gfp::Gfp;
use crate::node::Node;
use crate::pool::Inner;
use crate::pool::hotplug::OfflineEntry;
use crate::reclaim::GroupTerms;
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeMask, PAGE_SIZE, ZoneType};
use crate::zone::Zone;
use crate::zone::hotplug::OfflineBlock;
use crate::zone::watermark::Mark;

/// How often all zones are gone through again because something was reclaimed, although none has given anything:
/// others take what is reclaimed, or it lies where nothing can be emptied. And for how long, with a pause each time:
/// where threads are many, those who have what is in the way may be about to run.
const ROUNDS_IN_VAIN: usize = 16;
const TIME_IN_VAIN: Duration = Duration::from_secs(1);

/// How often, and for how long, it is tried again although nothing was reclaimed either; and after how long each time,
/// unless somebody frees memory.
const PAUSES: usize = 3;
const TIME_IDLE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(10);

/// A zone, and what was learnt of it.
struct Giver<'a> {
    node: &'a Node,
    zone: &'a Zone,
    /// Pageblocks that cannot be emptied.
    stuck: Passed,
    /// Why it gives nothing at present.
    passed: Option<ResizeObstacle>,
}

/// A pool on its way to a smaller budget.
struct Shrinking<'a> {
    pool: &'a Inner,
    givers: Vec<Giver<'a>>,
    deadline: Option<Instant>,
    /// Pages reclaimed since anything was last gained.
    reclaimed: usize,
    rounds: usize,
    /// When that was.
    gained: Instant,
    /// Pauses made since anything was last reclaimed.
    pauses: usize,
    /// When that was.
    moved: Instant,
}

impl Inner {
    /// Brings the budget down to `target` bytes; returns what stands in the way, if anything does. The caller has
    /// the turn.
    pub(super) fn shrink_budget(
        &self,
        target: usize,
        deadline: Option<Instant>,
    ) -> Option<ResizeObstacle> {
        let givers = { self.nodes.iter() }.flat_map(|node| {
            let zones = node.zones().iter().filter(|zone| gives(zone));
            zones.map(move |zone| Giver {
                node,
                zone,
                stuck: Passed::none(zone),
                passed: None,
            })
        });
        let mut shrinking = Shrinking {
            pool: self,
            givers: givers.collect(),
            deadline,
            reclaimed: 0,
            rounds: 0,
            gained: clock::now(),
            pauses: 0,
            moved: clock::now(),
        };
        shrinking.go(target)
    }

    /// How much of a zone there is to give.
    pub(super) fn view_of(&self, zone: &Zone) -> ZoneView {
        ZoneView {
            built: zone.present(),
            in_service: zone.managed(),
            least: self.least_of(zone),
            block: zone.block_order().pages(),
        }
    }
}

/// Whether a zone's memory can leave at all: that of the DMA zone is locked.
pub(super) fn gives(zone: &Zone) -> bool {
    zone.zone_type() != ZoneType::Dma && zone.present() > 0
}

impl Shrinking<'_> {
    fn go(&mut self, target: usize) -> Option<ResizeObstacle> {
        // It must get through when everybody else waits for memory.
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        loop {
            let missing = self.pool.budget_in_force().saturating_sub(target);
            if missing == 0 {
                return None;
            }
            if clock::is_over(self.deadline) {
                return Some(ResizeObstacle::Late);
            }
            let Some(n) = self.next_giver() else {
                return Some(self.obstacle());
            };
            let missing = missing.div_ceil(PAGE_SIZE);
            let gained = self.step(n, missing);
            self.givers[n].passed = gained.err();
            if gained.is_ok() {
                (self.reclaimed, self.rounds, self.pauses) = (0, 0, 0);
                (self.gained, self.moved) = (clock::now(), clock::now());
                // There is other room now.
                self.givers.iter_mut().for_each(|giver| giver.passed = None);
            }
        }
    }

    /// The zone whose turn it is. When all were passed over, they are gone through again: if something was
    /// reclaimed since, for it may have been in another zone; and otherwise a few times after a pause, for others
    /// may have been at what there is, or have held it for a moment.
    fn next_giver(&mut self) -> Option<usize> {
        let next = self.choose();
        let is_long = self.rounds >= ROUNDS_IN_VAIN;
        let since = |when| clock::now().saturating_duration_since(when);
        if next.is_some() || is_long && since(self.gained) >= TIME_IN_VAIN {
            return next;
        }
        if self.reclaimed > 0 {
            (self.pauses, self.moved) = (0, clock::now());
        } else if self.pauses >= PAUSES && since(self.moved) >= TIME_IDLE {
            return None;
        }
        if self.reclaimed == 0 || is_long {
            self.pause();
        }
        self.rounds += 1;
        self.reclaimed = 0;
        let again = |giver: &mut Giver<'_>| giver.passed = None;
        self.givers.iter_mut().for_each(again);
        self.choose()
    }

    /// Waits for a moment, or until somebody frees memory; what was in the way then may be so no more.
    fn pause(&mut self) {
        self.pauses += 1;
        let soon = clock::deadline_after(PAUSE);
        let soon = [soon, self.deadline].into_iter().flatten().min();
        self.pool.nodes.freed().wait(soon, || false);
        let forget = |giver: &mut Giver<'_>| giver.stuck = Passed::none(giver.zone);
        self.givers.iter_mut().for_each(forget);
    }

    fn choose(&self) -> Option<usize> {
        let views = { self.givers.iter() }.map(|giver| self.pool.view_of(giver.zone));
        policy::next_zone(views, |n| self.givers[n].passed.is_some())
    }

    /// What is in the way of all of them: memory in use rather than memory in pieces.
    fn obstacle(&self) -> ResizeObstacle {
        let found = self.givers.iter().filter_map(|giver| giver.passed);
        found.max().unwrap_or(ResizeObstacle::Minimum)
    }

    /// Takes a step's worth of memory of a zone out of service, or why not.
    fn step(&mut self, n: usize, missing: usize) -> Result<(), ResizeObstacle> {
        let pool = self.pool;
        let zone = self.givers[n].zone;
        let pages = policy::step(missing, pool.view_of(zone));
        self.make_room(n, pages);
        let free = zone.offline_above(Mark::Min, pages);
        if !free.is_empty() {
            pool.retire(zone, free);
            return Ok(());
        }
        // While a pageblock is emptied its whole size is missing, and the minimum holds.
        let room = zone.free_pages().saturating_sub(zone.mark(Mark::Min));
        if room < zone.block_order().pages() {
            return Err(ResizeObstacle::InUse);
        }
        let is_late = || clock::is_over(self.deadline);
        let Giver { node, stuck, .. } = &mut self.givers[n];
        match { pool.compactor() }.take_block_out(node, zone, stuck, &is_late) {
            Ok(block) => {
                pool.retire(zone, vec![block]);
                Ok(())
            }
            Err(NotEmptied::Obstructed) => Err(ResizeObstacle::Unmovable),
            Err(NotEmptied::NotNow) => Err(ResizeObstacle::InUse),
        }
    }

    /// Reclaims so much that a zone would stand at its high mark after a step.
    fn make_room(&mut self, n: usize, pages: usize) {
        let Giver { node, zone, .. } = self.givers[n];
        let wanted = zone.mark(Mark::High) + pages;
        let short = wanted.saturating_sub(zone.free_pages());
        if short == 0 {
            return;
        }
        node.drain_lru_all(self.pool.folios());
        let terms = GroupTerms {
            nodes: NodeMask::ALL,
            group: GroupId::ROOT,
            pages: short,
            gfp: Gfp::KERNEL,
            deadline: self.deadline,
        };
        let reclaimer = self.pool.reclaimer();
        self.reclaimed += reclaimer.try_to_free_node_pages(node, zone.zone_type(), terms);
    }
}

impl Inner {
    /// Gives the memory of pageblocks that have left service to the system, and has everything follow.
    fn retire(&self, zone: &Zone, blocks: Vec<OfflineBlock>) {
        let mut offline = self.offline.lock();
        for block in blocks {
            self.vacate(zone, &block);
            offline.push(OfflineEntry::new(zone, block, Taker::Budget));
        }
        self.renew(offline);
    }
}
