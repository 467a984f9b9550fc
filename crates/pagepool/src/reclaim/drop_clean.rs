//! Everything that can be had again leaves memory, on somebody's request: clean folios of mappings.
//!
//! *Kernel counterpart:* `drop_pagecache_sb`, `invalidate_mapping_pages`, `invalidate_inode_page` (v5.0).
//! The lists of files are gone round instead of the files themselves, since a folio's owner has no more than
//! one. As there, nothing is written, nobody is waited for, and no trace is left that the folio was evicted:
//! one that comes back says nothing about how short memory is.
//!
//! Users' caches are dropped in [`slab`](super::slab).

use super::shrink::{Batch, Reclaimer};
use crate::folio::Mark;
use crate::node::lru::{ISOLATE_MAX, Isolated};
use crate::node::lru_list::{FolioKind, LruList};
use crate::node::{Custodian, Node, identity};
use crate::sync::clock::{self, Instant};
use crate::types::{GroupId, ZoneType};
use crate::zone::vmstat::VmEvent;

/// The lists that are gone round. Locked folios are on another.
const LISTS: [LruList; 2] = [LruList::InactiveFile, LruList::ActiveFile];

impl Reclaimer<'_> {
    /// Takes every folio of a mapping out of memory that is clean and that nobody uses, has pinned or
    /// locked; returns the pages freed. Stops when the deadline has passed.
    pub(crate) fn drop_clean(&self, deadline: Option<Instant>) -> usize {
        let Custodian {
            nodes,
            folios,
            groups,
            ..
        } = self.custodian;
        let not_ours = identity::take_freed();
        let mut pages = 0;
        for node in nodes.iter() {
            node.drain_lru_all(folios);
            for group in groups.under(GroupId::ROOT) {
                for list in LISTS {
                    pages += self.go_round(node, group, list, deadline);
                }
            }
        }
        nodes.events().count(VmEvent::DropPagecache);
        pages += identity::take_freed();
        identity::note_freed(not_ours);
        pages
    }

    /// Goes round a list once. What stays comes to its head again, so that the order is the old one
    /// afterwards.
    fn go_round(
        &self,
        node: &Node,
        group: GroupId,
        list: LruList,
        deadline: Option<Instant>,
    ) -> usize {
        let Custodian { nodes, folios, .. } = self.custodian;
        let mut left = node.lru().of(group).size(list, ZoneType::Movable);
        let mut dropped = 0;
        while left > 0 && !clock::is_over(deadline) {
            let mut batch = Batch::new();
            let from = (group, list);
            let (nr, everywhere) = (left.min(ISOLATE_MAX), ZoneType::Movable);
            let found =
                node.isolate_from_lru(folios, from, nr, everywhere, nodes.events(), &mut batch);
            if found.taken == 0 {
                break;
            }
            left = left.saturating_sub(found.taken);
            let mut back = Batch::new();
            for one in batch {
                match self.drop_if_clean(one) {
                    Ok(pages) => dropped += pages,
                    Err(one) => back.push(one),
                }
            }
            self.put_back(node, &back);
        }
        dropped
    }

    /// Takes a folio out of memory that is what its store holds. Returns its pages; or itself, if it is not,
    /// or if somebody has it.
    fn drop_if_clean(&self, one: Isolated) -> Result<usize, Isolated> {
        debug_assert_eq!(one.kind, FolioKind::File, "{one:?}");
        let slot = self.custodian.folios.slot(one.folio);
        if !slot.begin_copy() {
            return Err(one);
        }
        // Looked at after the copy was begun: who dirties or locks it from here on ends the copy.
        if slot.is(Mark::Dirty) || slot.is_locked() {
            slot.end_copy();
            return Err(one);
        }
        slot.expect_no_use();
        let group = self.custodian.folios.group(one.folio);
        let home = self
            .custodian
            .nodes
            .node(one.pfn.node())
            .map()
            .copy(one.pfn);
        if !slot.evict(home) {
            slot.end_copy();
            return Err(one);
        }
        let pages = one.order.pages();
        self.custodian.free_evicted(one, group);
        Ok(pages)
    }
}
