//! Charging a group for what is about to be allocated, and what to do when it has no room.
//!
//! *Kernel counterpart:* `try_charge`, `mem_cgroup_handle_over_high` (v5.0). A charge comes before the
//! memory, so that a group never has more than its limit, not even for a moment.
//!
//! ```text
//!  room in the group and all above it? ─► charged ─► beyond high? reclaim from it, else wait a little
//!    │ no
//!    ▼  may reclaim?  from the group that is full, and below ──► room? again
//!    │ no, or nothing came of it
//!    ▼  may wait?     for pages to be given back, at most to the deadline ──► again
//!    │ no
//!    ▼  refused
//! ```
//!
//! **Invariants**
//! - A4: a charge that is not kept is given back, whatever happens.

use std::time::Duration;

use super::Allocator;
use super::overseer::{Distress, End};
use super::retry::{MAX_RECLAIM_RETRIES, high_penalty};
use super::scope::{self, ScopeKind};
use crate::diagnosis::{Outcome, Tried};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::group::{Full, GroupItem, Groups};
use crate::psi::Stall;
use crate::sync::clock::{self, Instant};
use crate::sync::cpu;
use crate::sync::thread;
use crate::types::{GroupId, NodeMask, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// How long a charge waits for others before it reclaims anew.
const RECLAIM_AGAIN: Duration = Duration::from_millis(50);

/// How long a charge that must not fail has for I/O, at least.
const MIN_NOFAIL_WAIT: Duration = Duration::from_millis(100);

/// How far beyond its high limit a group may be without anybody waiting, in pages: what is reclaimed at
/// once.
const BATCH: usize = 32;

/// Pages that a group is charged for, until somebody has them.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub(crate) struct Charge<'a> {
    groups: &'a Groups,
    group: GroupId,
    pages: usize,
}

impl Charge<'_> {
    /// Somebody has the pages, and gives the charge back with them. Returns the group.
    pub(crate) fn keep(self) -> GroupId {
        let group = self.group;
        std::mem::forget(self);
        group
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.groups.uncharge(self.group, self.pages);
    }
}

/// What a charge may do to be granted.
#[derive(Clone, Copy, Debug)]
struct Terms {
    group: GroupId,
    pages: usize,
    gfp: Gfp,
    begin: Instant,
    patience: Duration,
    deadline: Option<Instant>,
}

impl Terms {
    fn may_reclaim(self) -> bool {
        self.gfp.contains(Gfp::DIRECT_RECLAIM) && !scope::is_memalloc()
    }

    fn may_wait(self) -> bool {
        !self.gfp.intersects(Gfp::NORETRY)
    }

    fn must_not_fail(self) -> bool {
        self.gfp.contains(Gfp::NOFAIL)
    }

    fn is_late(self) -> bool {
        clock::is_over(self.deadline) && !self.must_not_fail()
    }

    fn order(self) -> Order {
        Order::at(self.pages.next_power_of_two().ilog2() as usize)
    }

    /// How it ended; `full` is the group that is to blame.
    fn end(self, outcome: Outcome, full: GroupId) -> End {
        End {
            outcome,
            order: self.order(),
            class: ZoneType::Movable,
            nodes: NodeMask::ALL,
            gfp: self.gfp,
            group: full,
            begin: self.begin,
            tried: Tried::default(),
        }
    }
}

impl<'a> Allocator<'a> {
    /// Charges a group for so many pages that are about to be allocated. What of its patience the caller needs
    /// for that is taken off.
    ///
    /// # Errors
    /// [`AllocError::GroupLimit`] if it has no room for them, and none could be made in time.
    #[inline]
    pub(crate) fn charge(
        &self,
        group: GroupId,
        pages: usize,
        gfp: Gfp,
        patience: &mut Duration,
    ) -> Result<Charge<'a>, AllocError> {
        let charge = || Charge {
            groups: self.groups,
            group,
            pages,
        };
        if group.is_root() {
            return Ok(charge());
        }
        let mut at_once = self.groups.try_charge(group, pages).is_ok().then(charge);
        let is_well = |_: &mut Charge<'_>| self.groups.beyond_high(group).is_none();
        if let Some(charge) = at_once.take_if(is_well) {
            return Ok(charge);
        }
        let begin = clock::now();
        let terms = Terms {
            group,
            pages,
            gfp: scope::restrict(gfp),
            begin,
            patience: *patience,
            deadline: begin.checked_add(*patience),
        };
        self.check(terms)?;
        let charge = match at_once {
            Some(charge) => charge,
            None => {
                self.charge_slow(terms)?;
                charge()
            }
        };
        self.mind_high(terms);
        *patience = patience.saturating_sub(clock::now().saturating_duration_since(begin));
        let full = self
            .groups
            .beyond_high(group)
            .map_or(group, |(over, _)| over);
        self.report_end(terms.end(Outcome::Late, full), || AllocError::GroupLimit);
        Ok(charge)
    }

    /// What no group could grant is refused before anything is taken from one.
    fn check(&self, terms: Terms) -> Result<(), AllocError> {
        let error = if self.is_reentrant() {
            AllocError::Reentrant
        } else if terms.gfp.is_contradictory() {
            AllocError::InvalidFlags
        } else if !self.nodes.zones().any(|zone| {
            // Every zone rather than those of the request: what none can hold, the group is not to give for.
            zone.is_managed() && terms.order() <= zone.max_order()
        }) {
            AllocError::NeverFits
        } else {
            return Ok(());
        };
        self.report_end(terms.end(Outcome::Refused, terms.group), || error);
        Err(error)
    }

    #[cold]
    fn charge_slow(&self, mut terms: Terms) -> Result<(), AllocError> {
        let Terms { group, pages, .. } = terms;
        let mut rounds = 0;
        let mut fruitless = 0;
        let _stall = self.stall_here(group);
        loop {
            // What is kept for pages to come first.
            self.nodes.return_charges(self.groups);
            let Err(full) = self.groups.try_charge(group, pages) else {
                return Ok(());
            };
            let slot = self.groups.slot(full.0);
            slot.add(GroupItem::MaxReached, 1);
            // What is larger than the limit itself is not waited for.
            let in_vain = pages > slot.max() && !terms.must_not_fail();
            // Who does not wait has two tries, whatever others do with what these free.
            let has_tried = !terms.may_wait() && rounds > 1;
            if !terms.may_reclaim() || in_vain || has_tried {
                return Err(self.refuse(full, terms));
            }
            rounds += 1;
            if self.reclaim_from(full.0, pages, terms) > 0 {
                fruitless = 0;
            } else {
                fruitless += 1;
                let helped = self.call_for_help(full, terms);
                if helped && self.groups.try_charge(group, pages).is_ok() {
                    return Ok(());
                }
                self.wait_for_room(full, pages, fruitless, terms);
            }
            if clock::is_over(terms.deadline) {
                if !terms.must_not_fail() {
                    // Somebody may have given pages back while we looked at the time.
                    let charged = self.groups.try_charge(group, pages);
                    return charged.map_err(|full| self.refuse(full, terms));
                }
                // It tries anew, with as much time for I/O as before.
                terms.deadline = clock::deadline_after(terms.patience.max(MIN_NOFAIL_WAIT));
            }
        }
    }

    /// Has others of the group give memory up (kernel: `mem_cgroup_oom`).
    fn call_for_help(&self, full: Full, terms: Terms) -> bool {
        let gives_up = Gfp::NORETRY | Gfp::RETRY_MAYFAIL;
        let may_ask = !terms.gfp.intersects(gives_up) && !scope::is_exempt();
        let Some(overseer) = self.overseer.filter(|_| may_ask) else {
            return false;
        };
        overseer.relieve(&Distress {
            cause: AllocError::GroupLimit,
            within: full.0,
            group: terms.group,
            order: terms.order(),
            gfp: terms.gfp,
            deadline: terms.deadline,
        })
    }

    fn wait_for_room(&self, full: Full, pages: usize, fruitless: u32, terms: Terms) {
        let content = Gfp::RETRY_MAYFAIL;
        if terms.gfp.contains(content) && fruitless <= MAX_RECLAIM_RETRIES {
            thread::yield_now();
            return;
        }
        let soon = clock::deadline_after(RECLAIM_AGAIN);
        let until = match terms.must_not_fail() {
            true => soon,
            false => [soon, terms.deadline].into_iter().flatten().min(),
        };
        let gather = || self.nodes.return_charges(self.groups);
        self.groups.wait_for_room(full, pages, until, gather);
    }

    fn stall_here(&self, group: GroupId) -> Stall<'a> {
        self.stall(self.nodes.of_cpu(cpu::current()), group)
    }

    /// Reclaims from a group; returns the pages that were freed.
    fn reclaim_from(&self, group: GroupId, pages: usize, terms: Terms) -> usize {
        let Some(reclaimer) = self.reclaimer.filter(|_| !scope::is_exempt()) else {
            return 0;
        };
        let _memalloc = scope::enter(ScopeKind::Memalloc);
        reclaimer.reclaim_from(group, pages, terms.gfp, terms.deadline)
    }

    /// Who took a group beyond its high limit reclaims from it, and is slowed down if that does not help.
    #[cold]
    fn mind_high(&self, terms: Terms) {
        let group = terms.group;
        let mut fruitless = false;
        let _stall = self.stall_here(group);
        while let Some((over, beyond)) = self.groups.beyond_high(group) {
            let slot = self.groups.slot(over);
            slot.add(GroupItem::HighReached, 1);
            if !terms.may_reclaim() {
                return;
            }
            if fruitless {
                if beyond > BATCH && terms.may_wait() {
                    self.pay_penalty(beyond, slot.high(), terms);
                }
                return;
            }
            fruitless = self.reclaim_from(over, beyond.max(BATCH), terms) == 0;
            if terms.is_late() {
                return;
            }
        }
    }

    fn pay_penalty(&self, beyond: usize, high: usize, terms: Terms) {
        let penalty = clock::deadline_after(high_penalty(beyond, high));
        let until = [penalty, terms.deadline].into_iter().flatten().min();
        if let Some(until) = until {
            thread::sleep(until.saturating_duration_since(clock::now()));
        }
    }

    /// Says why, and counts it, unless nobody expected more.
    fn refuse(&self, full: Full, terms: Terms) -> AllocError {
        if !terms.gfp.contains(Gfp::NOWARN) {
            self.groups.slot(full.0).add(GroupItem::Refused, 1);
            self.nodes.events().count(VmEvent::Refusals);
            let end = terms.end(Outcome::Refused, full.0);
            self.report_end(end, || AllocError::GroupLimit);
        }
        AllocError::GroupLimit
    }
}
