//! A request, as the allocator sees it.

use std::time::Duration;

use super::{Allocator, class_of_raw, scope};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::{Nodes, Walk};
use crate::sync::cpu;
use crate::types::{GroupId, NodeId, NodeMask, Order, ZoneType};

/// What a block is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// For a caller that keeps its address.
    Raw,
    /// For a folio, which can be moved.
    Folio,
}

impl Purpose {
    /// The highest zone that such a block may come from.
    pub(crate) fn class(self, order: Order, gfp: Gfp) -> ZoneType {
        match self {
            Purpose::Raw => class_of_raw(order, gfp),
            Purpose::Folio => gfp.highest_zone(),
        }
    }
}

/// Where a caller wants a block, what for, and how long it waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// What the block is for.
    pub(crate) purpose: Purpose,
    /// The nodes it may come from.
    pub(crate) mask: NodeMask,
    /// The node it should come from; none is that of the CPU.
    pub(crate) preferred: Option<NodeId>,
    /// How long to wait; none is the pool's default.
    pub(crate) patience: Option<Duration>,
    /// Who is charged for it, by the caller of the allocator.
    pub(crate) group: GroupId,
    /// Whether it is for what was in memory before, and must come back.
    pub(crate) returns: bool,
}

impl Default for Placement {
    fn default() -> Placement {
        Placement {
            purpose: Purpose::Raw,
            mask: NodeMask::ALL,
            preferred: None,
            patience: None,
            group: GroupId::ROOT,
            returns: false,
        }
    }
}

impl Placement {
    /// Whether any node will do.
    pub(crate) fn is_anywhere(&self) -> bool {
        self.mask == NodeMask::ALL && self.preferred.is_none()
    }
}

/// A request that was checked and completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// What the caller asked for, less what the thread's scopes take away.
    pub(crate) gfp: Gfp,
    /// What to look for, and where.
    pub(crate) walk: Walk,
    /// What the block is for.
    pub(crate) purpose: Purpose,
    /// How long to wait.
    pub(crate) patience: Duration,
    /// Who it is for.
    pub(crate) group: GroupId,
    /// Whether it is for what was in memory before.
    pub(crate) returns: bool,
}

impl Request {
    /// Completes a request.
    ///
    /// # Errors
    /// If it contradicts itself, or if no zone that it may use can ever hold the block.
    pub(crate) fn new(
        order: Order,
        gfp: Gfp,
        placement: Placement,
        allocator: &Allocator<'_>,
    ) -> Result<Request, AllocError> {
        if gfp.is_contradictory() {
            return Err(AllocError::InvalidFlags);
        }
        let nodes = allocator.nodes;
        let preferred = placement
            .preferred
            .unwrap_or_else(|| nodes.of_cpu(cpu::current()));
        let mask = if gfp.contains(Gfp::THISNODE) {
            placement.mask & NodeMask::only(preferred)
        } else {
            placement.mask
        };
        let walk = Walk {
            order,
            want: super::grouping_of(gfp),
            class: nodes.class_or_above(placement.purpose.class(order, gfp)),
            preferred,
            mask,
        };
        let request = Request {
            gfp: scope::restrict(without_nonsense(gfp)),
            walk,
            purpose: placement.purpose,
            patience: placement.patience.unwrap_or(allocator.patience),
            group: placement.group,
            returns: placement.returns,
        };
        request.check_that_it_fits(nodes)?;
        Ok(request)
    }

    /// The order asked for.
    pub(crate) fn order(&self) -> Order {
        self.walk.order
    }

    /// Whether the request is content to be refused once it was tried: a costly raw block is a wish, but
    /// without its block a folio's contents are out of reach.
    pub(crate) fn is_content_with_one_try(&self) -> bool {
        self.order().is_costly() && self.purpose == Purpose::Raw
    }

    /// Whether the flag is set.
    pub(crate) fn has(&self, flag: Gfp) -> bool {
        self.gfp.contains(flag)
    }

    fn check_that_it_fits(&self, nodes: &Nodes) -> Result<(), AllocError> {
        // Every zone rather than the zonelist: that may be half written just now.
        let fits = |walk: &Walk| {
            let allowed = nodes.iter().filter(|node| walk.mask.contains(node.id()));
            allowed
                .flat_map(|node| node.zones()[..=walk.class.idx()].iter())
                .any(|zone| zone.is_managed() && walk.order <= zone.max_order())
        };
        if fits(&self.walk) {
            return Ok(());
        }
        if fits(&Walk {
            mask: NodeMask::ALL,
            ..self.walk
        }) {
            return Err(AllocError::NodeMask);
        }
        Err(AllocError::NeverFits)
    }
}

/// A request that says both "cannot wait" and "may reclaim" may reclaim (spec 3.8, S0).
fn without_nonsense(gfp: Gfp) -> Gfp {
    if gfp.contains(Gfp::HARDER | Gfp::DIRECT_RECLAIM) {
        gfp - Gfp::HARDER
    } else {
        gfp
    }
}
