//! What the allocator asks of the pool when a request is in trouble.

use std::time::Duration;

use super::{Allocator, Placement};
use crate::diagnosis::{Outcome, ReportParts, Tried};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, NodeMask, Order, ZoneType};
use crate::zone::vmstat::VmEvent;

/// Somebody who has nothing left to try but to ask others to give memory up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Distress {
    /// Why the request would be refused.
    pub(crate) cause: AllocError,
    /// The group that has no room, or the root: then the pool has none.
    pub(crate) within: GroupId,
    /// The group that the request is for.
    pub(crate) group: GroupId,
    /// The order asked for.
    pub(crate) order: Order,
    /// What the request may do, and have others do.
    pub(crate) gfp: Gfp,
    /// When the request gives up.
    pub(crate) deadline: Option<Instant>,
}

/// Sees to requests in trouble: a parameter from above. Without one they are refused as they are.
pub(crate) trait Overseer: Sync {
    /// Makes a report.
    fn report(&self, parts: &ReportParts);

    /// A request that takes longer is reported even if it is granted; none never is.
    fn report_after(&self) -> Option<Duration>;

    /// Has others give memory up; returns whether it is worth to look again at once.
    fn relieve(&self, distress: &Distress) -> bool;

    /// Whether whatever a group is given would be taken from what is needed at once.
    fn is_thrashing(&self, group: GroupId) -> bool;
}

impl Allocator<'_> {
    /// Reports and counts a request that got no further than its first checks.
    #[cold]
    pub(super) fn report_early(
        &self,
        order: Order,
        gfp: Gfp,
        placement: Placement,
        error: AllocError,
    ) -> AllocError {
        self.nodes.events().count(VmEvent::Refusals);
        if let Some(overseer) = self.overseer.filter(|_| !gfp.contains(Gfp::NOWARN)) {
            overseer.report(&ReportParts {
                outcome: Outcome::Refused,
                cause: error,
                order,
                gfp,
                class: placement.purpose.class(order, gfp),
                nodes: placement.mask,
                group: placement.group,
                waited: Duration::ZERO,
                tried: Tried::default(),
            });
        }
        error
    }

    /// Reports a request that ended, unless it ended well and in time. What it was refused for, or waited
    /// for, is asked only if it is needed.
    pub(super) fn report_end(&self, end: End, cause: impl FnOnce() -> AllocError) {
        let Some(overseer) = self.overseer.filter(|_| !end.gfp.contains(Gfp::NOWARN)) else {
            return;
        };
        let waited = clock::now().saturating_duration_since(end.begin);
        let is_late = overseer.report_after().is_some_and(|limit| waited > limit);
        if end.outcome == Outcome::Late && !is_late {
            return;
        }
        overseer.report(&ReportParts {
            outcome: end.outcome,
            cause: cause(),
            order: end.order,
            gfp: end.gfp,
            class: end.class,
            nodes: end.nodes,
            group: end.group,
            waited,
            tried: end.tried,
        });
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Granted requests are late, or not reported.
    pub(super) outcome: Outcome,
    /// The order asked for.
    pub(super) order: Order,
    /// The highest zone that it may use.
    pub(super) class: ZoneType,
    /// The nodes that it may use.
    pub(super) nodes: NodeMask,
    /// Its flags.
    pub(super) gfp: Gfp,
    /// Who it is for.
    pub(super) group: GroupId,
    /// When it began.
    pub(super) begin: Instant,
    /// What was tried for it.
    pub(super) tried: Tried,
}
