//! A pool against a plain model: a list of live blocks and what was written into them.

use std::collections::BTreeMap;
use std::time::Duration;

use pagepool::{AllocError, Gfp, NodeId, NodeMask, PAGE_SIZE, PagePool, Pages};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{assert_marked, eventually, mark, order};

#[derive(Clone, Debug)]
enum Op {
    Alloc { order: u8, gfp: Gfp },
    AllocOn { order: u8, gfp: Gfp, nodes: u8 },
    Bulk { order: u8, count: usize },
    Free(Index),
    FreeAll,
    Split { which: Index, order: u8 },
    Raw(Index),
    Trim,
    Drain,
    MinFree(u64),
    Scale(u32),
    Fraction(u32),
    TrimThreshold(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let gfp = || {
        prop::sample::select(vec![
            Gfp::KERNEL,
            Gfp::ATOMIC,
            Gfp::NOWAIT,
            Gfp::USER_MOVABLE,
            Gfp::KERNEL | Gfp::RECLAIMABLE,
            Gfp::KERNEL | Gfp::NORETRY | Gfp::ZERO,
            Gfp::MEMALLOC,
            Gfp::TRANSHUGE_LIGHT,
        ])
    };
    let order = || prop_oneof![4 => 0..4u8, 1 => 0..=10u8];
    let which = any::<Index>;
    prop_oneof![
        8 => (order(), gfp()).prop_map(|(order, gfp)| Op::Alloc { order, gfp }),
        4 => (order(), gfp(), 0..8u8)
            .prop_map(|(order, gfp, nodes)| Op::AllocOn { order, gfp, nodes }),
        1 => (0..4u8, 0..40usize).prop_map(|(order, count)| Op::Bulk { order, count }),
        8 => which().prop_map(Op::Free),
        1 => Just(Op::FreeAll),
        2 => (which(), 0..10u8).prop_map(|(which, order)| Op::Split { which, order }),
        1 => which().prop_map(Op::Raw),
        1 => Just(Op::Trim),
        1 => Just(Op::Drain),
        1 => (0..400u64).prop_map(Op::MinFree),
        1 => (0..1100u32).prop_map(Op::Scale),
        1 => (0..20u32).prop_map(Op::Fraction),
        1 => (0..(8usize << 20)).prop_map(Op::TrimThreshold),
    ]
}

struct Model {
    pool: PagePool,
    managed: usize,
    live: Vec<(Pages, u8)>,
    next_mark: u8,
}

impl Model {
    fn keep(&mut self, mut block: Pages) {
        assert!(block.iter().all(|byte| *byte == 0), "handed out zeroed");
        assert_eq!(block.as_ptr().addr() % block.len(), 0, "aligned");
        assert!(self.pool.owns(&block));
        self.next_mark = self.next_mark.wrapping_add(1).max(1);
        mark(&mut block, self.next_mark);
        self.live.push((block, self.next_mark));
    }

    fn take(&mut self, which: Index) -> Option<(Pages, u8)> {
        let at = (!self.live.is_empty()).then(|| which.index(self.live.len()))?;
        let (block, mark) = self.live.swap_remove(at);
        assert_marked(&block, mark);
        Some((block, mark))
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Alloc { order: n, gfp } => {
                if let Ok(block) = self.pool.alloc_pages(order(n), gfp) {
                    self.keep(block);
                }
            }
            Op::AllocOn {
                order: n,
                gfp,
                nodes,
            } => {
                let allowed = (0..3).filter(|node| nodes >> node & 1 != 0);
                let mask: NodeMask = allowed.filter_map(NodeId::new).collect();
                let request = self.pool.request(order(n), gfp).nodes(mask);
                match request.alloc() {
                    Ok(block) => {
                        assert!(mask.contains(block.node()));
                        self.keep(block);
                    }
                    Err(error) if nodes == 0 => {
                        let never = [AllocError::NodeMask, AllocError::NeverFits];
                        assert!(never.contains(&error), "{error}");
                    }
                    Err(_) => {}
                }
            }
            Op::Bulk { order: n, count } => {
                let mut blocks = vec![];
                let got = self
                    .pool
                    .alloc_bulk(order(n), Gfp::KERNEL, count, &mut blocks);
                assert_eq!(got.unwrap_or(0), blocks.len());
                blocks.into_iter().for_each(|block| self.keep(block));
            }
            Op::Free(which) => drop(self.take(which)),
            Op::FreeAll => self
                .pool
                .free_bulk(self.live.drain(..).map(|(block, _)| block)),
            Op::Split { which, order: n } => {
                if let Some((block, mark)) = self.take(which) {
                    let order = order(n).min(block.order());
                    // Every other part is freed at once.
                    let parts = block.split(order).step_by(2);
                    self.live.extend(parts.map(|part| (part, mark)));
                }
            }
            Op::Raw(which) => {
                if let Some((block, mark)) = self.take(which) {
                    // SAFETY: given up right here.
                    let block = unsafe { self.pool.from_raw(block.into_raw()) };
                    self.live.push((block, mark));
                }
            }
            Op::Trim => drop(self.pool.trim()),
            Op::Drain => drop(self.pool.drain()),
            // What is out of range is refused and changes nothing.
            Op::MinFree(kbytes) => drop(self.pool.tunables().set_min_free_kbytes(kbytes)),
            Op::Scale(factor) => drop(self.pool.tunables().set_watermark_scale_factor(factor)),
            Op::Fraction(f) => drop(self.pool.tunables().set_percpu_pagelist_fraction(f)),
            Op::TrimThreshold(bytes) => drop(self.pool.tunables().set_trim_threshold(bytes)),
        }
    }

    fn check(&self, op: &Op) {
        self.pool
            .verify()
            .unwrap_or_else(|violation| panic!("after {op:?}: {violation}"));
        let out: usize = self
            .live
            .iter()
            .map(|(block, _)| block.order().pages())
            .sum();
        // What a request has woken kcompactd for goes on beside us: pageblocks that it empties are withheld meanwhile.
        eventually(&format!("all is there after {op:?}"), || {
            let stats = self.pool.stats();
            stats.free_pages + stats.cached_pages + out == self.managed
        });
        let ranges: BTreeMap<_, _> = self
            .live
            .iter()
            .map(|(block, _)| (block.as_ptr().addr(), block.len()))
            .collect();
        assert_eq!(ranges.len(), self.live.len());
        let mut end = 0;
        for (start, len) in ranges {
            assert!(start >= end, "two blocks overlap");
            end = start + len;
        }
    }
}

fn run(nodes: usize, pages: usize, movable: u8, hardened: bool, ops: &[Op]) {
    let pool = PagePool::builder()
        .managed(nodes * pages * PAGE_SIZE)
        .nodes(nodes)
        .movable_share(movable)
        .hardened(hardened)
        .deadline(Duration::ZERO)
        .build()
        .unwrap();
    let mut model = Model {
        managed: pool.stats().managed_pages,
        pool,
        live: vec![],
        next_mark: 0,
    };
    assert_eq!(model.managed, nodes * pages);
    for op in ops {
        model.step(op);
        model.check(op);
    }
    for (block, mark) in model.live.drain(..) {
        assert_marked(&block, mark);
    }
    eventually("all is back", || {
        model.pool.drain();
        model.pool.stats().free_pages == model.managed
    });
    model.pool.close(Duration::ZERO).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_follows_its_model(
        nodes in 1..4usize,
        pages in prop_oneof![16..200usize, 1000..6000usize],
        movable in prop::sample::select(vec![0u8, 50]),
        hardened in any::<bool>(),
        ops in prop::collection::vec(op(), 1..50),
    ) {
        run(nodes, pages, movable, hardened, &ops);
    }
}
