//! What stands in a unit, and which part of it is emptied most cheaply.
//!
//! *Kernel counterpart:* the frame tests of `isolate_migratepages_block` (v5.0). There they are made while
//! pages are isolated, and what was moved before an obstacle was met was moved in vain. Here a unit is looked
//! over first: a look costs a thousandth of a move.
//!
//! Nothing is locked, so that what is seen may have changed since. Whoever acts on it looks again: the lists
//! under their lock, the folio at its word.

use super::consent::Consent;
use crate::folio::{FolioId, FolioTable, Place};
use crate::node::Node;
use crate::types::{Migratetype, Order, Pfn};
use crate::zone::evacuate::Unit;

/// What begins at a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Occupant {
    /// Nothing: a page of a free block.
    None,
    /// A block in a CPU's cache.
    Cached,
    /// A folio on a list, or on its way to one.
    Folio,
    /// A folio that somebody has pinned.
    Pinned,
    /// A folio in the hands of somebody else, for a moment.
    Busy,
    /// Memory at a fixed address, or of one who cannot be asked.
    Fixed,
}

/// A part of a unit that is to be one free block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chunk {
    /// The first frame.
    pub(super) pfn: Pfn,
    /// Its size.
    pub(super) order: Order,
    /// Pages that must be moved.
    pub(super) occupied: usize,
}

/// How a unit is looked at.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    /// The node.
    pub(super) node: &'a Node,
    /// Its folios.
    pub(super) folios: &'a FolioTable,
    /// Who is asked before they are moved.
    pub(super) consent: Consent<'a>,
}

/// What was seen of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Survey {
    /// The cheapest part of the wanted size with nothing in the way.
    pub(super) chunk: Option<Chunk>,
    /// Whether blocks in CPUs' caches were in the way.
    pub(super) has_cached: bool,
    /// The first folio that was in the way since it is pinned, and where it is.
    pub(super) pinned: Option<(Pfn, FolioId)>,
    /// The first block that was in the way for good.
    pub(super) fixed: Option<Pfn>,
    /// Frames looked at.
    pub(super) scanned: usize,
}

/// Looks a unit over for a part of the given order, which is no larger than the unit.
pub(super) fn survey(sight: Sight<'_>, unit: Unit, order: Order) -> Survey {
    let node = sight.node;
    let mut found = Survey::default();
    if is_inside_a_block(node, unit) {
        return found;
    }
    let mut part = Part::at(unit.pfn, order);
    for (pfn, occupant, pages) in walk(sight, unit.pfn, unit.order.pages()) {
        found.scanned += 1;
        part.advance_to(pfn, &mut found);
        match occupant {
            Occupant::None => {}
            Occupant::Folio if pages < order.pages() => part.occupied += pages,
            // A folio as large as the part needs a free block as large as what is to be made.
            Occupant::Folio | Occupant::Busy => part.is_blocked = true,
            Occupant::Cached => {
                found.has_cached = true;
                part.is_blocked = true;
            }
            Occupant::Pinned => {
                let owner = node.map().owner(pfn).map(FolioId::from_raw);
                found.pinned = found.pinned.or(owner.map(|folio| (pfn, folio)));
                part.is_blocked = true;
            }
            Occupant::Fixed => {
                found.fixed = found.fixed.or(Some(pfn));
                part.is_blocked = true;
            }
        }
        part.covered_to = pfn.index() + pages;
    }
    part.close(&mut found);
    found
}

/// Passes the folios of a chunk to `sink`, as they stand there now, from the frame `from` on, until it says
/// that it has enough. Returns where to go on, if there is anything left.
pub(super) fn folios_in(
    sight: Sight<'_>,
    chunk: Chunk,
    from: Pfn,
    mut sink: impl FnMut(Pfn) -> bool,
) -> Option<Pfn> {
    let end = chunk.pfn.index() + chunk.order.pages();
    let mut left = walk(sight, from, end - from.index());
    left.find(|(pfn, occupant, _)| *occupant == Occupant::Folio && !sink(*pfn))
        .map(|(pfn, ..)| pfn)
}

/// Whether a block that begins before the unit reaches into it.
fn is_inside_a_block(node: &Node, unit: Unit) -> bool {
    let map = node.map();
    let mut larger = (unit.order.idx() + 1..=Order::MAX.idx()).map(Order::at);
    larger.any(|order| {
        let head = Pfn::new(unit.pfn.node(), unit.pfn.index() & !(order.pages() - 1));
        let reaches =
            |(len, _): (Order, Migratetype)| head.index() + len.pages() > unit.pfn.index();
        head != unit.pfn && map.state(head).block().is_some_and(reaches)
    })
}

/// The blocks of a range that begins with one, each with its length; free pages one by one.
fn walk(
    sight: Sight<'_>,
    start: Pfn,
    pages: usize,
) -> impl Iterator<Item = (Pfn, Occupant, usize)> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset >= pages {
            return None;
        }
        let pfn = start.add(offset);
        let (occupant, pages) = occupant(sight, pfn);
        offset += pages;
        Some((pfn, occupant, pages))
    })
}

fn occupant(sight: Sight<'_>, pfn: Pfn) -> (Occupant, usize) {
    let Sight {
        node,
        folios,
        consent,
    } = sight;
    let state = node.map().state(pfn);
    let Some((order, _)) = state.block() else {
        let occupant = if state.is_free() {
            Occupant::None
        } else {
            Occupant::Fixed
        };
        return (occupant, 1);
    };
    let occupant = if !state.is_allocated() {
        Occupant::Cached
    } else {
        match (node.place_hint(pfn), node.map().owner(pfn)) {
            (Place::Listed(_) | Place::Batched, Some(owner)) => {
                let folio = FolioId::from_raw(owner);
                let word = folios.slot(folio).word();
                if word.pins() > 0 && word.location() == pfn.get() {
                    Occupant::Pinned
                } else if consent.forbids(node, folios, folio, pfn) {
                    Occupant::Fixed
                } else {
                    Occupant::Folio
                }
            }
            (Place::Isolated, _) => Occupant::Busy,
            _ => Occupant::Fixed,
        }
    };
    (occupant, order.pages())
}

/// The part of a unit that is being looked at.
struct Part {
    pfn: Pfn,
    order: Order,
    occupied: usize,
    is_blocked: bool,
    /// The index of the frame after the last block that was seen.
    covered_to: usize,
}

impl Part {
    fn at(pfn: Pfn, order: Order) -> Part {
        Part {
            pfn,
            order,
            occupied: 0,
            is_blocked: false,
            covered_to: pfn.index(),
        }
    }

    /// Goes on to the part that `pfn` lies in, if that is another.
    fn advance_to(&mut self, pfn: Pfn, found: &mut Survey) {
        let start = pfn.index() & !(self.order.pages() - 1);
        if start == self.pfn.index() {
            return;
        }
        self.close(found);
        let covered_to = self.covered_to;
        *self = Part::at(Pfn::new(pfn.node(), start), self.order);
        // The end of a larger block lies in it.
        self.is_blocked = covered_to > start;
        self.covered_to = covered_to;
    }

    /// Notes the part if it is the cheapest until now.
    fn close(&self, found: &mut Survey) {
        let is_cheaper = |chunk: Chunk| self.occupied < chunk.occupied;
        if !self.is_blocked && found.chunk.is_none_or(is_cheaper) {
            found.chunk = Some(Chunk {
                pfn: self.pfn,
                order: self.order,
                occupied: self.occupied,
            });
        }
    }
}
