//! Requests in trouble: who is asked to give memory up, and in what order.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::groups::Group;
use super::{Inner, PagePool};
use crate::alloc::scope::{self, ScopeKind};
use crate::alloc::{Distress, Overseer, Reclaim};
use crate::diagnosis::ReportParts;
use crate::error::RangeError;
use crate::gfp::Gfp;
use crate::group::GroupError;
use crate::node::Node;
use crate::oom::{ADJ_RANGE, Candidate, OomHandler, OomStats, OutOfMemory};
use crate::reclaim::policy::thrashing::Sample;
use crate::sync::clock::{self, Instant};
use crate::types::GroupId;
use crate::zone::Zone;
use crate::zone::vmstat::{NodeItem, VmEvent};

impl PagePool {
    /// Sets who is asked to give memory up when a request would be refused or is about to be late although
    /// everything else was tried: clean folios, users' caches, write-out and swap, groups beyond their
    /// `high`. `None` asks nobody, which is the default.
    ///
    /// Only requests for which the kernel would kill a process ask: those that wait (not
    /// [`Gfp::NORETRY`] or [`Gfp::RETRY_MAYFAIL`], nor costly raw blocks), with [`Gfp::FS`].
    ///
    /// ```
    /// use std::sync::Mutex;
    /// use pagepool::{Gfp, OomAnswer, Order, OutOfMemory, PagePool, Pages};
    ///
    /// let pool = PagePool::builder().memory(16 << 20).build()?;
    /// let cache = std::sync::Arc::new(Mutex::new(Vec::<Pages>::new()));
    /// let theirs = cache.clone();
    /// pool.set_oom_handler(move |situation: &OutOfMemory| {
    ///     println!("{}: {:?}", situation.cause, situation.victims());
    ///     theirs.lock().unwrap().clear();
    ///     OomAnswer::Released
    /// });
    /// while let Ok(block) = pool.alloc_pages(Order::ZERO, Gfp::NOWAIT) {
    ///     cache.lock().unwrap().push(block);
    /// }
    /// assert!(pool.alloc_pages(Order::ZERO, Gfp::KERNEL).is_ok());
    /// assert_eq!(pool.oom_stats().released, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_oom_handler(&self, handler: impl OomHandler) {
        // Dropped here, by who replaces it, and with no lock held.
        let before = self.inner.oom.set_handler(Some(Arc::new(handler)));
        drop(before);
    }

    /// Asks nobody any more. A call that is under way goes on.
    pub fn clear_oom_handler(&self) {
        let before = self.inner.oom.set_handler(None);
        drop(before);
    }

    /// What was asked of the handler so far.
    #[must_use]
    pub fn oom_stats(&self) -> OomStats {
        self.inner.oom.stats()
    }
}

impl Group {
    /// How readily the group is named when memory must be given up, -1000 to 1000: each point counts as a
    /// thousandth of the pool; -1000 exempts it.
    #[must_use]
    pub fn oom_score_adj(&self) -> i16 {
        self.slot().oom_score_adj()
    }

    /// Sets [`oom_score_adj`](Self::oom_score_adj). Default 0.
    ///
    /// # Errors
    /// [`GroupError::OutOfRange`] outside -1000 to 1000.
    pub fn set_oom_score_adj(&self, adj: i16) -> Result<(), GroupError> {
        if !ADJ_RANGE.contains(&adj) {
            let accepted = format_args!("{} to {}", ADJ_RANGE.start(), ADJ_RANGE.end());
            return Err(RangeError::new("oom_score_adj", adj, accepted).into());
        }
        self.slot().set_oom_score_adj(adj);
        Ok(())
    }
}

impl Inner {
    /// Takes from the groups that have more than they may for long; returns whether that brought anything.
    fn trim_groups_beyond_high(&self, within: GroupId, deadline: Option<Instant>) -> bool {
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        let freed = |group| {
            let slot = self.groups.slot(group);
            match slot.pages().saturating_sub(slot.high()) {
                0 => 0,
                beyond => self.reclaim_from(group, beyond, Gfp::KERNEL, deadline),
            }
        };
        { self.groups.under(within) }.map(freed).sum::<usize>() > 0
    }

    fn situation(&self, distress: &Distress) -> OutOfMemory {
        OutOfMemory::new(
            distress.cause,
            distress.order,
            distress.group,
            distress.within,
            { self.groups.under(distress.within) }.map(|group| self.candidate(group)),
            self.nodes.zones().map(Zone::managed).sum(),
        )
    }

    fn candidate(&self, group: GroupId) -> Candidate {
        let slot = self.groups.slot(group);
        let below = { self.groups.children(group) }
            .map(|child| self.groups.slot(child).pages())
            .sum::<usize>();
        let all = if group.is_root() {
            self.pages_in_use()
        } else {
            slot.pages()
        };
        Candidate {
            group,
            pages: all.saturating_sub(below),
            protected: self.groups.protection(group, GroupId::ROOT).min,
            beyond_high: slot.pages().saturating_sub(slot.high()),
            adj: slot.oom_score_adj(),
        }
    }

    /// Whether memory thrashes, and the group has more than is protected for it. Who has no more is not the
    /// cause.
    fn is_thrashing_now(&self, group: GroupId) -> bool {
        if !group.is_root() {
            let protection = self.groups.protection(group, GroupId::ROOT);
            let protected = protection.min.max(protection.low);
            if self.groups.slot(group).pages() < protected {
                return false;
            }
        }
        self.thrashing.look(self.thrashing_sample())
    }

    fn thrashing_sample(&self) -> Sample {
        let events = self.nodes.events();
        let refaults = |node: &Node| {
            let [anon, file] = [
                NodeItem::WorkingsetRefaultAnon,
                NodeItem::WorkingsetRefaultFile,
            ];
            node.counter(anon) + node.counter(file)
        };
        Sample {
            at: clock::now(),
            stalled: self.nodes.psi().pressure().full.total,
            refaulted: self.nodes.iter().map(refaults).sum(),
            evicted: events.sum(VmEvent::PgstealKswapd) + events.sum(VmEvent::PgstealDirect),
        }
    }

    fn pages_in_use(&self) -> usize {
        let in_use = |zone: &Zone| zone.managed().saturating_sub(zone.free_pages());
        self.nodes.zones().map(in_use).sum()
    }
}

impl Overseer for Inner {
    fn report(&self, parts: &ReportParts) {
        self.make_report(parts);
    }

    fn report_after(&self) -> Option<Duration> {
        self.failures.report_after()
    }

    fn relieve(&self, distress: &Distress) -> bool {
        if self.trim_groups_beyond_high(distress.within, distress.deadline) {
            return true;
        }
        distress.may_call && self.oom.ask(|| self.situation(distress), distress.deadline)
    }

    fn is_thrashing(&self, group: GroupId) -> bool {
        self.thrashing.is_on() && self.is_thrashing_now(group)
    }
}
