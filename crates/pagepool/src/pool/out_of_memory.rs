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
use crate::reclaim::SWAP_CLUSTER_MAX;
use crate::reclaim::policy::thrashing::Sample;
use crate::sync::clock;
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

/// What the groups below one have together.
#[derive(Default)]
struct Below {
    pages: usize,
    protected: usize,
}

impl Inner {
    /// Takes from the groups that have more than they may for long, no more than the request needs and by no
    /// means that it may not use; returns pages.
    fn trim_groups_beyond_high(&self, distress: &Distress) -> usize {
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        let needed = distress.order.pages().max(SWAP_CLUSTER_MAX);
        let mut freed = 0;
        for group in self.groups.under(distress.within) {
            let slot = self.groups.slot(group);
            let beyond = slot.pages().saturating_sub(slot.high());
            if beyond > 0 && freed < needed {
                let pages = beyond.min(needed - freed);
                freed += self.reclaim_from(group, pages, distress.gfp, distress.deadline);
            }
        }
        freed
    }

    fn situation(&self, distress: &Distress) -> OutOfMemory {
        OutOfMemory::new(
            distress.cause,
            distress.order,
            distress.group,
            distress.within,
            { self.groups.under(distress.within) }
                .map(|group| self.candidate(group, distress.within)),
            self.nodes.zones().map(Zone::managed).sum(),
        )
    }

    /// What a group has by itself, for who is short of memory within another.
    fn candidate(&self, group: GroupId, within: GroupId) -> Candidate {
        let slot = self.groups.slot(group);
        let protected = |group| self.groups.protection(group, within).min;
        let mut below = Below::default();
        for child in self.groups.children(group) {
            below.pages += self.groups.slot(child).pages();
            below.protected += protected(child);
        }
        let all = if group.is_root() {
            self.pages_in_use()
        } else {
            slot.pages()
        };
        let pages = all.saturating_sub(below.pages);
        Candidate {
            group,
            pages,
            protected: protected(group).saturating_sub(below.protected).min(pages),
            beyond_high: slot.pages().saturating_sub(slot.high()),
            adj: slot.oom_score_adj(),
        }
    }

    /// Whether memory thrashes, and the group has more than is protected for it. Who has no more is not the
    /// cause.
    fn is_thrashing_now(&self, group: GroupId) -> bool {
        if !group.is_root() {
            let (protection, pages) = self.groups.protection_of(group, GroupId::ROOT);
            let protected = protection.min.max(protection.low);
            // It is never protected for more than it has.
            if protected > 0 && pages <= protected {
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
        let freed = self.trim_groups_beyond_high(distress);
        if freed >= distress.order.pages() {
            return true;
        }
        let may_call = distress.gfp.contains(Gfp::FS);
        let ask = || {
            self.oom.ask(
                distress.within,
                || self.situation(distress),
                distress.deadline,
            )
        };
        may_call && ask() || freed > 0
    }

    fn is_thrashing(&self, group: GroupId) -> bool {
        self.thrashing.is_on() && self.is_thrashing_now(group)
    }
}
