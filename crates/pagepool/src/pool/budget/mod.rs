//! The budget of a pool while it runs: brought down, and up again.
//!
//! *Kernel counterpart:* `memory_max_write`, `mem_cgroup_resize_max` for the limit, `offline_pages` and
//! `online_pages` for the memory (v5.0). There a limit that cannot be met in time is refused, or somebody is killed.
//! Here whatever could be gained stays gained, and the answer says what is missing and why.
//!
//! **Invariants**
//! - U1: what is in service, and the tables, are at most the budget in force (K2 at any time). A pageblock leaves
//!   service before the budget falls by it, and comes back after there is room for it.
//! - U2: the budget in force is never above what the pool was built with, nor above its target unless something
//!   is missing, which is recorded.
//! - U3: one thread at a time changes it.
//! - U4: a pageblock that the budget took comes back by the budget, one that a user took by
//!   [`online`](PagePool::online), and neither beyond the target.
//!
//! **Locking:** the turn is waited for with a deadline, and held for a whole change, in which folios are written out
//! and owners are called. The other locks are taken under it: that of what is out of service for each step, that of
//! the aims for a few words.
//!
//! `shrink` takes memory out of service; `policy` (pure) says from where; `container` follows the limit of the
//! process.

#![forbid(unsafe_code)]

pub(in crate::pool) mod container;
mod policy;
mod shrink;

use std::fmt;
use std::time::Duration;

use super::{Inner, PagePool};
use crate::error::RangeError;
use crate::node::{DaemonState, MarkSettings};
use crate::pool::tunables::check;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sync::clock::{self, Instant};
use crate::sync::{Mutex, Turn};
use crate::types::{PAGE_SIZE, ZoneType};
use crate::zone::Zone;

/// What came of a change of the budget. In bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Resized {
    /// The budget in force now. It falls in whole pageblocks, so that it may be less than was aimed at.
    pub budget_bytes: usize,
    /// What was aimed at: what was asked for, or less if the pool follows its container and that allows less.
    pub target_bytes: usize,
    /// Why the budget in force is above that, if it is.
    pub obstacle: Option<ResizeObstacle>,
}

impl Resized {
    /// How much of the budget in force should go and could not.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        self.budget_bytes.saturating_sub(self.target_bytes)
    }
}

/// Why a pool could not become as small as it should.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ResizeObstacle {
    /// It would be less than every pool needs: a pageblock a zone, locked memory and the tables.
    Minimum,
    /// Somebody else changes the budget, or the pool is frozen: see [`freeze`](PagePool::freeze).
    Busy,
    /// Enough is free, but in every pageblock there is something that cannot be moved: raw blocks, pinned folios.
    /// What is free there stays with the pool, since less than a pageblock (2 MiB) is not given back.
    Unmovable,
    /// Too much is in use that cannot leave memory: raw blocks, locked or pinned folios, or folios for which there
    /// is no swap.
    InUse,
    /// The time was up.
    Late,
}

impl ResizeObstacle {
    /// What can be done about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            ResizeObstacle::Minimum => "build the pool with fewer tables (max_folios, swap_limit)",
            ResizeObstacle::Busy => "wait for the other, or thaw the pool",
            ResizeObstacle::Unmovable => {
                "free raw blocks, unpin folios, or keep what cannot be moved in a pool of its own"
            }
            ResizeObstacle::InUse => "add swap, free blocks, or unlock folios",
            ResizeObstacle::Late => "try again with more patience",
        }
    }
}

impl fmt::Display for ResizeObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResizeObstacle::Minimum => "a pool needs that much",
            ResizeObstacle::Busy => "somebody else was at it",
            ResizeObstacle::Unmovable => "what is free lies beside what cannot be moved",
            ResizeObstacle::InUse => "too much is in use that cannot leave memory",
            ResizeObstacle::Late => "the time was up",
        })
    }
}

/// The budget of a pool at a moment. In bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BudgetStats {
    /// What the pool was built with: the most that it can have.
    pub built_bytes: usize,
    /// The least that it can have.
    pub least_bytes: usize,
    /// What it should have at most.
    pub target_bytes: usize,
    /// Why it has more, if it does, as of the last attempt.
    pub obstacle: Option<ResizeObstacle>,
    /// Changes of the budget so far that were begun.
    pub resizes: u64,
    /// The container, if the pool follows it.
    pub container: Option<ContainerStats>,
}

/// The memory limit of the process, as the pool that [follows](crate::Builder::follow_container) it sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ContainerStats {
    /// What the thread is doing that follows it.
    pub follower: DaemonState,
    /// The limit that was read last, in bytes.
    pub limit_bytes: u64,
    /// How often it was another than before.
    pub changes: u64,
    /// Looks at it that failed.
    pub errors: u64,
    /// Why the last look failed, if it did. The limit that was read before it is in force.
    pub error: Option<String>,
}

/// Who took a pageblock out of service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taker {
    /// A user, by name.
    User,
    /// A budget that had to fall.
    Budget,
}

/// What the budget should be, in bytes.
#[derive(Clone, Copy, Debug)]
struct Aims {
    /// What a user wants.
    asked: usize,
    /// What the container allows.
    allowed: usize,
}

/// How the last attempt ended.
#[derive(Clone, Copy, Default, Debug)]
struct Last {
    obstacle: Option<ResizeObstacle>,
    resizes: u64,
}

/// A pool's budget, as far as it can change.
#[derive(Debug)]
pub(super) struct Budget {
    turn: Turn,
    aims: Mutex<Aims>,
    last: Mutex<Last>,
    /// Whether the pool has more than it should: then it keeps no free memory that it can give back.
    is_short: AtomicBool,
}

impl Budget {
    pub(super) fn new(built: usize) -> Budget {
        Budget {
            turn: Turn::default(),
            aims: Mutex::new(Aims {
                asked: built,
                allowed: built,
            }),
            last: Mutex::new(Last::default()),
            is_short: AtomicBool::new(false),
        }
    }

    /// Whose turn it is to change the budget.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The settings, as they are in force while the pool has more than it should.
    pub(super) fn adapt(&self, settings: &MarkSettings) -> MarkSettings {
        let mut settings = *settings;
        // Relaxed: whoever changes it applies the settings afterwards.
        if self.is_short.load(Relaxed) {
            settings.keep_resident = Some(0);
        }
        settings
    }
}

impl PagePool {
    /// Changes the budget while the pool runs: what it may take from the system, in bytes, its tables included.
    /// Returns after `patience` at the latest, but for I/O under way; what was gained until then stays.
    ///
    /// Down: folios leave memory, whatever they are (clean ones are dropped, others written to their stores or to
    /// swap), users' caches are asked, the rest is moved together, and whole pageblocks (2 MiB in zones of 8 MiB and
    /// more) leave service, a few MiB a step; their memory goes to the system. Zones shrink in proportion, marks,
    /// reserves and cache sizes follow. Requests and accesses go on meanwhile. What cannot leave stays and is
    /// [missing](Resized::missing_bytes); calling again goes on. Until then the pool keeps no free memory
    /// that it could give back, whatever [`trim_threshold`](crate::Tunables::trim_threshold) says.
    ///
    /// Up: pageblocks come back, never beyond what the pool was built with.
    ///
    /// The range is what [`BudgetStats`] says. Of a pool that follows its container the smaller of the two counts.
    ///
    /// Owners of [movable blocks](crate::MovableOwner), stores and shrinkers are called, and waited for: hold no lock
    /// that they need.
    ///
    /// *Kernel counterpart:* writing `memory.max`; memory hotplug.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pagepool::{PagePool, SwapFile};
    ///
    /// let swap = SwapFile::temporary(64 << 20)?;
    /// let pool = PagePool::builder().memory(64 << 20).swap(swap).build()?;
    /// let resized = pool.resize_budget(32 << 20, Duration::from_secs(1))?;
    /// assert_eq!(resized.missing_bytes(), 0);
    /// assert!(pool.stats().budget_bytes <= 32 << 20);
    /// let error = pool.resize_budget(1 << 30, Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(error.field(), "resize_budget");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Outside the range; nothing is changed. That something is missing is no error.
    pub fn resize_budget(&self, bytes: usize, patience: Duration) -> Result<Resized, RangeError> {
        let inner = &*self.inner;
        let range = inner.least_budget()..=inner.config.budget_bytes();
        check(range.contains(&bytes), "resize_budget", bytes, || {
            format!(
                "{} to {} bytes, what the pool was built with",
                range.start(),
                range.end()
            )
        })?;
        let deadline = clock::deadline_after(patience);
        Ok(inner.change_budget(deadline, |aims| aims.asked = bytes))
    }
}

impl Inner {
    /// What arena and tables may take now, in bytes.
    pub(super) fn budget_in_force(&self) -> usize {
        let out = |zone: &Zone| zone.present() - zone.managed();
        let out: usize = self.nodes.zones().map(out).sum();
        self.config.budget_bytes() - out * PAGE_SIZE
    }

    /// The least that the budget can be, in bytes.
    fn least_budget(&self) -> usize {
        let zones = self.nodes.zones().filter(|zone| shrink::gives(zone));
        let whole = |zone: &Zone| policy::ZoneView {
            in_service: zone.present(),
            ..self.view_of(zone)
        };
        let most: usize = zones.map(|zone| whole(zone).to_give()).sum();
        self.config.budget_bytes() - most * PAGE_SIZE
    }

    /// Pages that a zone must keep: a pageblock, and twice the minimum where a user has set one, as
    /// `set_min_free_kbytes` asks for.
    fn least_of(&self, zone: &Zone) -> usize {
        let block = zone.block_order().pages().min(zone.present());
        let min_free = { self.settings.lock() }.min_free_kbytes;
        let (Some(kbytes), false) = (min_free, zone.zone_type() == ZoneType::Movable) else {
            return block;
        };
        let lower = { self.nodes.zones() }.filter(|zone| zone.zone_type() != ZoneType::Movable);
        let built: usize = lower.map(Zone::present).sum();
        let wanted = kbytes as usize * 1024 / PAGE_SIZE * 2;
        let share = (wanted as u128 * zone.present() as u128).div_ceil(built.max(1) as u128);
        block.max(share as usize)
    }

    /// The target under the aims.
    fn target(&self, aims: Aims) -> usize {
        aims.asked.min(aims.allowed)
    }

    /// Pages that must be out of service for the target to be met.
    pub(super) fn pages_to_keep_out(&self) -> usize {
        let target = self.target(*self.budget.aims.lock());
        let beyond = self.config.budget_bytes().saturating_sub(target);
        beyond.div_ceil(PAGE_SIZE)
    }

    /// Changes an aim, and brings the budget to what follows from it.
    fn change_budget(&self, deadline: Option<Instant>, change: impl FnOnce(&mut Aims)) -> Resized {
        let aims = {
            let mut aims = self.budget.aims.lock();
            change(&mut aims);
            *aims
        };
        let target = self.target(aims);
        let Some(turn) = self.budget.turn.take(deadline) else {
            return Resized {
                budget_bytes: self.budget_in_force(),
                target_bytes: target,
                obstacle: Some(ResizeObstacle::Busy),
            };
        };
        let before = self.budget_in_force();
        let obstacle = self.approach(target, deadline);
        self.set_short(obstacle.is_some());
        {
            let mut last = self.budget.last.lock();
            last.obstacle = obstacle;
            last.resizes += 1;
        }
        drop(turn);
        let resized = Resized {
            budget_bytes: self.budget_in_force(),
            target_bytes: target,
            obstacle,
        };
        if before != resized.budget_bytes || obstacle.is_some() {
            tracing::debug!(
                target: "pagepool::limit",
                before,
                budget = resized.budget_bytes,
                target_bytes = target,
                obstacle = obstacle.map(tracing::field::display),
                "the budget has changed"
            );
        }
        resized
    }

    fn approach(&self, target: usize, deadline: Option<Instant>) -> Option<ResizeObstacle> {
        let least = self.least_budget();
        if self.budget_in_force() <= target {
            self.bring_back((target - self.budget_in_force()) / PAGE_SIZE);
            return None;
        }
        let obstacle = self.shrink_budget(target.max(least), deadline);
        obstacle.or((target < least).then_some(ResizeObstacle::Minimum))
    }

    /// Puts pageblocks back into service that the budget took, up to `pages`, the last that went first: as zones
    /// gave in proportion, they get in proportion.
    fn bring_back(&self, pages: usize) {
        let mut offline = self.offline.lock();
        let mut left = pages;
        let mut kept = Vec::with_capacity(offline.len());
        let mut is_changed = false;
        while let Some(entry) = offline.pop() {
            if entry.is_by(Taker::Budget) && entry.pages() <= left {
                left -= entry.pages();
                is_changed = true;
                self.reinstate(entry);
            } else {
                kept.push(entry);
            }
        }
        offline.extend(kept.into_iter().rev());
        if is_changed {
            self.renew(offline);
        }
    }

    /// Keeps no free memory while something is missing, and as much as usual when nothing is.
    fn set_short(&self, is_short: bool) {
        // Relaxed: under the turn; the settings are applied below, and by whoever changes them.
        let was_short = self.budget.is_short.swap(is_short, Relaxed);
        if was_short != is_short {
            self.apply(&self.settings.lock());
        }
        if is_short {
            self.trim();
        }
    }

    /// Puts settings in force.
    pub(super) fn apply(&self, settings: &MarkSettings) {
        self.nodes.apply(&self.budget.adapt(settings));
    }

    pub(super) fn budget_stats(&self) -> BudgetStats {
        let last = *self.budget.last.lock();
        let aims = *self.budget.aims.lock();
        BudgetStats {
            built_bytes: self.config.budget_bytes(),
            least_bytes: self.least_budget(),
            target_bytes: self.target(aims),
            obstacle: last.obstacle,
            resizes: last.resizes,
            container: self.container_stats(),
        }
    }
}
