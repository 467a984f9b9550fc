//! A zone beside a model of it, whatever is done with it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::zone::exchange::FreedOfHalf;
use crate::zone::idle::Vacancy;

#[derive(Clone, Debug)]
enum Op {
    Take {
        cpu: usize,
        order: usize,
        want: Migratetype,
        urgent: bool,
        strict: bool,
    },
    Bulk {
        order: usize,
        want: Migratetype,
        count: usize,
    },
    Put {
        cpu: usize,
        which: prop::sample::Index,
    },
    /// The same block, taken past and put into another's cache.
    Contended {
        cpu: usize,
        which: prop::sample::Index,
    },
    /// Single pages, without the zone's lock.
    PutUnmerged {
        which: prop::sample::Index,
        count: usize,
    },
    Drain,
    Isolate(prop::sample::Index),
    Unisolate(prop::sample::Index),
    Reserve(prop::sample::Index),
    Unreserve {
        want: Migratetype,
        force: bool,
    },
    Idle {
        from: Residency,
        to: Residency,
    },
    Populate {
        most: usize,
    },
    Keep(usize),
    Sizes {
        batch: u16,
        high: u32,
        blocks: u16,
    },
}

fn residency() -> impl Strategy<Value = Residency> {
    prop::sample::select(vec![Residency::Vacant, Residency::Blank, Residency::Used])
}

fn op() -> impl Strategy<Value = Op> {
    let want = || prop::sample::select(vec![UNMOVABLE, MOVABLE, RECLAIMABLE]);
    let order = || prop_oneof![6 => 0..4usize, 2 => 4..11usize, 1 => Just(9)];
    let which = any::<prop::sample::Index>;
    prop_oneof![
        10 => (0..NR_CPUS, order(), want(), any::<bool>(), any::<bool>()).prop_map(
            |(cpu, order, want, urgent, strict)| Op::Take { cpu, order, want, urgent, strict }),
        2 => (order(), want(), 0..20usize)
            .prop_map(|(order, want, count)| Op::Bulk { order, want, count }),
        10 => (0..NR_CPUS, which()).prop_map(|(cpu, which)| Op::Put { cpu, which }),
        1 => (0..NR_CPUS, which()).prop_map(|(cpu, which)| Op::Contended { cpu, which }),
        4 => (which(), 1..40usize).prop_map(|(which, count)| Op::PutUnmerged { which, count }),
        1 => Just(Op::Drain),
        1 => which().prop_map(Op::Isolate),
        1 => which().prop_map(Op::Unisolate),
        1 => which().prop_map(Op::Reserve),
        1 => (want(), any::<bool>()).prop_map(|(want, force)| Op::Unreserve { want, force }),
        1 => (residency(), residency()).prop_map(|(from, to)| Op::Idle { from, to }),
        1 => (0..3000usize).prop_map(|most| Op::Populate { most }),
        1 => (0..3000usize).prop_map(Op::Keep),
        2 => (1..16u16, 0..40u32, 0..2u16)
            .prop_map(|(batch, high, blocks)| Op::Sizes { batch, high, blocks }),
    ]
}

/// The blocks that are out, by their first page.
#[derive(Default)]
struct Model(BTreeMap<usize, usize>);

impl Model {
    fn insert(&mut self, zone: &Zone, pfn: Pfn, order: usize) {
        let offset = pfn.offset_from(zone.start());
        assert!(offset + (1 << order) <= zone.managed(), "inside the zone");
        assert_eq!(offset % (1 << order), 0, "aligned");
        let before = self.0.range(..offset + (1 << order)).next_back();
        if let Some((start, order)) = before {
            assert!(start + (1 << order) <= offset, "two blocks overlap");
        }
        self.0.insert(offset, order);
    }

    fn nth(&self, which: prop::sample::Index) -> Option<(usize, usize)> {
        let nth = (!self.0.is_empty()).then(|| which.index(self.0.len()))?;
        self.0
            .iter()
            .nth(nth)
            .map(|(offset, order)| (*offset, *order))
    }

    fn pages(&self) -> usize {
        self.0.values().map(|order| 1 << order).sum()
    }
}

fn settle(zone: &Zone, freed: Freed) {
    if let Some(idle) = freed.idle {
        settle(zone, zone.return_idle(idle, Residency::Vacant));
    }
}

fn step(zone: &Zone, model: &mut Model, op: &Op) {
    let at = |which: &prop::sample::Index| zone.start().add(which.index(zone.managed()));
    match op {
        Op::Take {
            cpu,
            order,
            want,
            urgent,
            strict,
        } => {
            let mut request = request(*order, *want);
            request.flags.set(AllocFlags::HARDER, *urgent);
            request.flags.set(AllocFlags::NOFRAGMENT, *strict);
            if let Some(taken) = with_cpu(*cpu, || zone.take(request)) {
                model.insert(zone, taken.pfn, *order);
            }
        }
        Op::Bulk { order, want, count } => {
            let mut taken = vec![];
            let request = request(*order, *want);
            let nr = zone.take_bulk(request, NORMAL, *count, &mut |run| taken.extend(run.pfns()));
            assert_eq!(nr, taken.len());
            taken
                .iter()
                .for_each(|pfn| model.insert(zone, *pfn, *order));
        }
        Op::Put { cpu, which } => {
            if let Some((offset, order)) = model.nth(*which) {
                model.0.remove(&offset);
                let pfn = zone.start().add(offset);
                settle(zone, with_cpu(*cpu, || zone.put(pfn, Order::at(order))));
            }
        }
        Op::Contended { cpu, which } => {
            if let Some((offset, order)) = model.nth(*which) {
                model.0.remove(&offset);
                let slot = zone.pcp.try_of(*cpu);
                let pfn = zone.start().add(offset);
                let freed = with_cpu(*cpu, || zone.put(pfn, Order::at(order)));
                drop(slot);
                settle(zone, freed);
            }
        }
        Op::PutUnmerged { which, count } => {
            let first = model.nth(*which).map_or(0, |(offset, _)| offset);
            let singles = model.0.range(first..).filter(|(_, order)| **order == 0);
            let singles: Vec<_> = singles.map(|(offset, _)| *offset).take(*count).collect();
            singles
                .iter()
                .for_each(|offset| assert_eq!(model.0.remove(offset), Some(0)));
            let pages = singles.iter().map(|offset| zone.start().add(*offset));
            let mut freed = FreedOfHalf::new();
            zone.put_unmerged(singles.len(), pages, &mut freed);
            freed.into_iter().for_each(|freed| settle(zone, freed));
        }
        Op::Drain => {
            zone.drain();
            assert_eq!(zone.cached(), 0);
        }
        Op::Isolate(which) => {
            zone.isolate(at(which));
            assert_eq!(zone.cached_in_block_of_checked(at(which)), 0);
        }
        Op::Unisolate(which) => drop(zone.unisolate(at(which))),
        Op::Reserve(which) => {
            if let Some((offset, _)) = model.nth(*which) {
                zone.reserve_highatomic(zone.start().add(offset));
            }
        }
        Op::Unreserve { want, force } => {
            let _ = zone.unreserve_highatomic(*want, Order::ZERO, *force);
        }
        Op::Idle { from, to } => {
            if let Some(idle) = zone.withdraw_idle(*from) {
                zone.verify().unwrap();
                settle(zone, zone.return_idle(idle, *to));
            }
        }
        Op::Populate { most } => {
            if let Vacancy::Block(idle) = zone.withdraw_vacant(*most) {
                assert!(idle.order().pages() <= (*most).max(zone.block_order().pages()));
                zone.verify().unwrap();
                settle(zone, zone.return_idle(idle, Residency::Blank));
            }
        }
        Op::Keep(pages) => zone.set_keep_resident(*pages),
        Op::Sizes {
            batch,
            high,
            blocks,
        } => zone.set_pcp_sizes(PcpSizes {
            batch: *batch,
            high: *high,
            // A cache of whole pageblocks makes sense where they have the full size.
            blocks: if zone.block_order() == PAGEBLOCK_ORDER {
                *blocks
            } else {
                0
            },
        }),
    }
}

impl Zone {
    /// As `cached_in_block_of`, for a last pageblock that the zone may end in.
    fn cached_in_block_of_checked(&self, pfn: Pfn) -> usize {
        let pages = self.block_order().pages();
        let first = pfn.offset_from(self.start()) / pages * pages;
        (first..(first + pages).min(self.managed()))
            .filter(|offset| self.map.state(self.start().add(*offset)).is_cached())
            .count()
    }
}

fn run(pages: usize, ops: &[Op]) {
    let zone = zone(pages);
    zone.set_boost_factor(15_000);
    let mut model = Model::default();
    for op in ops {
        step(&zone, &mut model, op);
        let withheld = zone.core.lock().buddy.isolated_free_pages();
        let kept = zone.free_pages() + zone.cached() + withheld;
        assert_eq!(kept + model.pages(), pages, "after {op:?}");
        if matches!(op, Op::PutUnmerged { .. }) {
            // Whoever looks at all of the zone merges first; the next step finds it as it is.
            continue;
        }
        zone.verify()
            .unwrap_or_else(|violation| panic!("after {op:?}: {violation}"));
        assert_eq!(zone.outstanding(), model.pages());
        let areas = zone.free_areas();
        let counted: u64 = areas
            .by_order()
            .iter()
            .enumerate()
            .map(|(o, nr)| nr << o)
            .sum();
        assert_eq!(counted as usize, zone.free_pages(), "nr_free");
    }
    for (offset, order) in std::mem::take(&mut model.0) {
        settle(&zone, zone.put(zone.start().add(offset), Order::at(order)));
    }
    zone.drain();
    for offset in 0..pages {
        zone.unisolate(zone.start().add(offset));
    }
    zone.verify().unwrap();
    assert_eq!(zone.free_pages(), pages, "everything came back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_small_zone_follows_its_model(
        pages in 16..300usize,
        ops in prop::collection::vec(op(), 1..100),
    ) {
        run(pages, &ops);
    }

    #[test]
    fn a_zone_of_full_pageblocks_follows_its_model(
        pages in 2048..5000usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(pages, &ops);
    }
}
