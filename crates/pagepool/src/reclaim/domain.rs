//! What a pass looks at: the lists of one group in one node.
//!
//! *Kernel counterpart:* `struct lruvec` (v5.0), as `shrink_node_memcg` gets it.

use super::policy::{PerKind, PerList};
use crate::node::Node;
use crate::node::lru::LruVec;
use crate::node::lru_list::{FolioKind, LruList};
use crate::types::{GroupId, ZoneType};

/// The lists of a group in a node.
#[derive(Clone, Copy)]
pub(super) struct Domain<'a> {
    /// The node.
    pub(super) node: &'a Node,
    /// The group.
    pub(super) group: GroupId,
}

impl<'a> Domain<'a> {
    /// What is known of them.
    pub(super) fn vec(self) -> &'a LruVec {
        self.node.lru().of(self.group)
    }

    /// Pages on each list, in zones up to `up_to`.
    pub(super) fn sizes(self, up_to: ZoneType) -> PerList<usize> {
        PerList::each(|list| self.vec().size(list, up_to))
    }

    /// Pages on each list, in all zones.
    pub(super) fn all_sizes(self) -> PerList<usize> {
        self.sizes(ZoneType::Movable)
    }

    /// The same, of both lists of a kind.
    pub(super) fn kind_sizes(self) -> PerKind<usize> {
        let sizes = self.all_sizes();
        PerKind::each(|kind| sizes.of_kind(kind))
    }

    /// Pages on a list, in all zones.
    pub(super) fn size(self, list: LruList) -> usize {
        self.vec().size(list, ZoneType::Movable)
    }

    /// Pages that could be taken, of zones up to `up_to`; anonymous ones only if `can_swap` says that there
    /// is room for them.
    pub(super) fn evictable(self, up_to: ZoneType, can_swap: bool) -> usize {
        let sizes = self.sizes(up_to);
        let file = sizes.of_kind(FolioKind::File);
        if can_swap {
            file + sizes.of_kind(FolioKind::Anon)
        } else {
            file
        }
    }
}
