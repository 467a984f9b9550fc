//! Random operations, with every invariant checked after each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Alloc {
        order: usize,
        want: Migratetype,
        strict: bool,
        urgent: bool,
    },
    Fill {
        want: Migratetype,
        filler: usize,
        count: usize,
    },
    Free(prop::sample::Index),
    Isolate(usize),
    Unisolate(usize),
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
        most: Order,
    },
}

fn residency() -> impl Strategy<Value = Residency> {
    prop::sample::select(&[VACANT, BLANK, USED][..])
}

fn op() -> impl Strategy<Value = Op> {
    let want = prop::sample::select(&[UNMOVABLE, MOVABLE, RECLAIMABLE][..]);
    prop_oneof![
        8 => (0..11usize, want.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(order, want, strict, urgent)| Op::Alloc {
                order: order * order / 10, want, strict, urgent
            }),
        2 => (want.clone(), 0..4usize, 1..70usize)
            .prop_map(|(want, filler, count)| Op::Fill { want, filler, count }),
        7 => any::<prop::sample::Index>().prop_map(Op::Free),
        1 => (0..5000usize).prop_map(Op::Isolate),
        1 => (0..5000usize).prop_map(Op::Unisolate),
        1 => any::<prop::sample::Index>().prop_map(Op::Reserve),
        1 => (want, any::<bool>()).prop_map(|(want, force)| Op::Unreserve { want, force }),
        1 => (residency(), residency()).prop_map(|(from, to)| Op::Idle { from, to }),
        1 => (0..11usize).prop_map(|most| Op::Populate { most: Order::at(most) }),
    ]
}

/// Blocks handed out, by first page, and the pages that were written to since they were last empty.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, Order>,
    pages: usize,
    written: BTreeSet<usize>,
}

impl Model {
    fn nth(&self, index: &prop::sample::Index) -> Option<(usize, Order)> {
        (!self.live.is_empty()).then(|| {
            let (offset, order) = self.live.iter().nth(index.index(self.live.len())).unwrap();
            (*offset, *order)
        })
    }

    fn hand_out(&mut self, offset: usize, order: Order) {
        assert_eq!(
            offset % order.pages(),
            0,
            "{offset} is not aligned to {order:?}"
        );
        if let Some((before, order)) = self.live.range(..=offset).next_back() {
            assert!(
                before + order.pages() <= offset,
                "{offset} was handed out twice"
            );
        }
        if let Some((after, _)) = self.live.range(offset..).next() {
            assert!(
                offset + order.pages() <= *after,
                "{offset} overlaps {after}"
            );
        }
        self.live.insert(offset, order);
        self.pages += order.pages();
        self.set_memory(offset, order, USED);
    }

    /// Notes what is in pages now; what use leaves behind is written.
    fn set_memory(&mut self, offset: usize, order: Order, residency: Residency) {
        for page in offset..offset + order.pages() {
            if residency == USED {
                self.written.insert(page);
            } else {
                self.written.remove(&page);
            }
        }
    }

    fn assert_zeroed(&self, offset: usize, order: Order) {
        let written = self.written.range(offset..offset + order.pages()).next();
        assert_eq!(written, None, "{offset} is said to read as zeros");
    }
}

/// Runs the operations and checks every invariant after each; at the end nothing may be missing.
fn run(pages: usize, managed: usize, ops: &[Op]) {
    let mut b = buddy(pages);
    let mut model = Model::default();
    let start = b.start;
    for op in ops {
        match op {
            Op::Alloc {
                order,
                want,
                strict,
                urgent,
            } => {
                let fallback = if *strict {
                    Fallback::WholeBlocks
                } else {
                    Fallback::Any
                };
                let demand = Demand {
                    fallback,
                    highatomic: *urgent,
                    ..demand(*order, *want)
                };
                if let Some(grant) = b.alloc(demand, &nothing_movable) {
                    let (offset, order) = (grant.pfn.offset_from(start), Order::at(*order));
                    if grant.residency.reads_as_zeros() {
                        model.assert_zeroed(offset, order);
                    }
                    model.hand_out(offset, order);
                }
            }
            Op::Fill {
                want,
                filler,
                count,
            } => {
                let free = b.free_pages();
                let mut hand_out = |first: Pfn, nr| {
                    let first = first.offset_from(start);
                    (first..first + nr).for_each(|offset| model.hand_out(offset, Order::ZERO));
                };
                let taken = b.fill(*want, *filler, *count, &mut hand_out);
                assert!(taken <= *count);
                assert_eq!(b.free_pages(), free - taken);
            }
            Op::Free(index) => {
                if let Some((offset, order)) = model.nth(index) {
                    model.live.remove(&offset);
                    model.pages -= order.pages();
                    b.free(start.add(offset), order);
                }
            }
            Op::Isolate(page) => drop(b.isolate(start.add(page % pages))),
            Op::Unisolate(page) => drop(b.unisolate(start.add(page % pages))),
            Op::Reserve(index) => {
                if let Some((offset, _)) = model.nth(index) {
                    b.reserve_highatomic(start.add(offset), managed);
                }
            }
            Op::Unreserve { want, force } => {
                let _ = b.unreserve_highatomic(*want, Order::ZERO, *force);
            }
            Op::Idle { from, to } => {
                if let Some(idle) = b.withdraw_idle(*from) {
                    model.set_memory(idle.pfn().offset_from(start), idle.order(), *to);
                    b.return_idle(idle, *to);
                }
            }
            Op::Populate { most } => {
                if let Some(idle) = b.withdraw_vacant(*most) {
                    assert!(idle.order() <= *most && idle.residency() == VACANT);
                    let offset = idle.pfn().offset_from(start);
                    model.assert_zeroed(offset, idle.order());
                    model.set_memory(offset, idle.order(), BLANK);
                    b.return_idle(idle, BLANK);
                }
            }
        }
        b.verify().unwrap();
        assert_eq!(
            b.free_pages() + b.isolated_free_pages() + model.pages,
            pages
        );
    }
    for (offset, order) in model.live {
        b.free(start.add(offset), order);
    }
    for page in 0..pages {
        b.unisolate(start.add(page));
    }
    while b.unreserve_highatomic(MOVABLE, Order::ZERO, true) {}
    b.verify().unwrap();
    assert_eq!(b.free_pages(), pages);
    let largest = b.max_order;
    let nr_largest: usize = Migratetype::ALL
        .iter()
        .map(|mt| b.nr_free(*mt, largest))
        .sum();
    assert_eq!(
        nr_largest,
        pages >> largest.get(),
        "everything merged again"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn small_zones_keep_every_invariant(
        pages in 1..200usize,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(pages, 1 << 20, &ops);
    }

    #[test]
    fn a_full_size_zone_keeps_every_invariant(
        pages in 2048..5000usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(pages, 1 << 20, &ops);
    }
}

/// A zone in whose first pageblock the pages are free for which `is_free` says so, and all others behind it.
fn with_holes(is_free: &[bool]) -> Buddy {
    let mut b = buddy(4096);
    let taken: Vec<Pfn> = is_free.iter().map(|_| b.take_quietly(MOVABLE)).collect();
    for (pfn, _) in taken.iter().zip(is_free).filter(|(_, is_free)| **is_free) {
        b.free(*pfn, Order::ZERO);
    }
    b.verify().unwrap();
    b
}

impl Buddy {
    fn take_quietly(&mut self, want: Migratetype) -> Pfn {
        self.alloc(demand(0, want), &nothing_movable).unwrap().pfn
    }

    fn free_by_order(&self) -> Vec<usize> {
        let orders = Order::ZERO.up_to(self.max_order);
        orders.map(|order| self.nr_free(MOVABLE, order)).collect()
    }
}

proptest! {
    #[test]
    fn many_at_once_are_those_of_single_calls(
        is_free in prop::collection::vec(any::<bool>(), 512),
        order in 0usize..4,
        count in 1usize..700,
    ) {
        let (mut single, mut bulk) = (with_holes(&is_free), with_holes(&is_free));
        let mut one_by_one = vec![];
        for _ in 0..count {
            one_by_one.extend(single.alloc(demand(order, MOVABLE), &nothing_movable));
        }
        let mut at_once = vec![];
        let taken = bulk.alloc_bulk(demand(order, MOVABLE), count, &nothing_movable, &mut |first, nr| {
            let pfns = (0..nr).map(|block| first.pfn.add(block << order));
            at_once.extend(pfns.map(|pfn| Grant { pfn, ..first }));
        });
        prop_assert_eq!(taken, at_once.len());
        let pfns = |grants: &[Grant]| grants.iter().map(|grant| grant.pfn).collect::<Vec<_>>();
        prop_assert_eq!(pfns(&one_by_one), pfns(&at_once));
        bulk.verify().unwrap();
        prop_assert_eq!(single.free_by_order(), bulk.free_by_order());

        // And back, in another order.
        let mut back: Vec<_> = at_once.iter().map(|grant| (grant.pfn, Order::at(order))).collect();
        back.reverse();
        bulk.free_bulk(&mut back);
        for grant in &one_by_one {
            single.free(grant.pfn, Order::at(order));
        }
        bulk.verify().unwrap();
        prop_assert_eq!(single.free_by_order(), bulk.free_by_order());
    }

    #[test]
    fn what_is_given_back_at_once_merges_as_one_by_one(
        orders in prop::collection::vec(0usize..=10, 1..60),
        kept in prop::collection::vec(any::<bool>(), 60),
    ) {
        let (mut single, mut bulk) = (buddy(8192), buddy(8192));
        let mut out = vec![];
        for (order, kept) in orders.iter().zip(kept) {
            let grant = single.alloc(demand(*order, MOVABLE), &nothing_movable);
            let other = bulk.alloc(demand(*order, MOVABLE), &nothing_movable);
            prop_assert_eq!(grant.map(|grant| grant.pfn), other.map(|grant| grant.pfn));
            let block = grant.map(|grant| (grant.pfn, Order::at(*order)));
            out.extend(block.filter(|_| !kept));
        }
        for (pfn, order) in &out {
            single.free(*pfn, *order);
        }
        bulk.free_bulk(&mut out);
        bulk.verify().unwrap();
        prop_assert_eq!(single.free_by_order(), bulk.free_by_order());
    }
}
