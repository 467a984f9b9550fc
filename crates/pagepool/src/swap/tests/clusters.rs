//! The clusters of an area against a set of numbers; windows of read-ahead against what they are for.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::clusters::{CLUSTER, Clusters, Run};
use super::super::readahead::{MAX_PAGE_CLUSTER, ReadAhead};

#[derive(Clone, Debug)]
enum Op {
    Take { cpu: usize, want: u32 },
    Give(prop::sample::Index),
    GiveCluster(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4usize, prop_oneof![1..33u32, 1..=CLUSTER]).prop_map(|(cpu, want)| Op::Take { cpu, want }),
        6 => any::<prop::sample::Index>().prop_map(Op::Give),
        1 => (0..6u32).prop_map(Op::GiveCluster),
    ]
}

/// An area, and which of its slots are out.
struct Model {
    clusters: Clusters,
    nr_pages: u32,
    out: BTreeSet<u32>,
}

impl Model {
    fn take(&mut self, cpu: usize, want: u32) {
        let Some(Run { page, len }) = self.clusters.take_run(cpu, want) else {
            assert_eq!(self.out.len() as u32, self.nr_pages - 1, "slots are left");
            return;
        };
        assert!((1..=want).contains(&len));
        assert!(page > 0, "the header is nobody's");
        assert!(page + len <= self.nr_pages, "within the area");
        assert_eq!(page / CLUSTER, (page + len - 1) / CLUSTER, "one cluster");
        for page in page..page + len {
            assert!(self.out.insert(page), "slot {page} is given out twice");
        }
    }

    fn give(&mut self, page: u32) {
        assert!(self.out.remove(&page));
        let cluster = page / CLUSTER * CLUSTER;
        let is_free = self.out.range(cluster..cluster + CLUSTER).next().is_none();
        // The header, and what no slot is behind the end, keep a cluster from being free.
        let is_whole = cluster > 0 && cluster + CLUSTER <= self.nr_pages;
        assert_eq!(self.clusters.give(page), is_free && is_whole);
    }

    fn check(&self) {
        self.clusters.verify().unwrap();
        let used = (1..self.nr_pages).filter(|page| self.clusters.is_used(*page));
        assert!(used.eq(self.out.iter().copied()));
        assert_eq!(
            self.clusters.nr_free() as usize,
            self.nr_pages as usize - 1 - self.out.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_out_once_and_none_is_forgotten(
        nr_pages in 2..1500u32, ops in prop::collection::vec(op(), 1..80),
    ) {
        let clusters = Clusters::new(nr_pages, 3).unwrap();
        let mut model = Model { clusters, nr_pages, out: BTreeSet::new() };
        for op in ops {
            match op {
                Op::Take { cpu, want } => model.take(cpu, want),
                Op::Give(_) if model.out.is_empty() => {}
                Op::Give(which) => {
                    let page = *model.out.iter().nth(which.index(model.out.len())).unwrap();
                    model.give(page);
                }
                Op::GiveCluster(cluster) => {
                    let range = cluster * CLUSTER..(cluster + 1) * CLUSTER;
                    for page in model.out.range(range).copied().collect::<Vec<_>>() {
                        model.give(page);
                    }
                }
            }
            model.check();
        }
        // The last slot can be had.
        while model.out.len() as u32 + 1 < nr_pages {
            model.take(0, CLUSTER);
            model.check();
        }
        model.take(0, 1);
    }

    #[test]
    fn a_window_is_around_its_page_and_shrinks_by_degrees(
        page_cluster in 0..=MAX_PAGE_CLUSTER, nr_slots in 2..5000u32,
        faults in prop::collection::vec((any::<prop::sample::Index>(), 0..40u32), 1..40),
    ) {
        let ahead = ReadAhead::new(page_cluster);
        let mut before = None;
        for (page, hits) in faults {
            let page = 1 + page.index(nr_slots as usize - 1) as u32;
            (0..hits).for_each(|_| ahead.hit());
            let window = ahead.window(page, nr_slots);
            prop_assert!((window.first..=window.last).contains(&page));
            prop_assert!(window.first > 0 && window.last < nr_slots);
            let len = window.last - window.first + 1;
            prop_assert!(len <= 1 << page_cluster);
            // In the middle of an area, nothing is cut off.
            let is_cut = window.first == 1 || window.last == nr_slots - 1;
            if !is_cut {
                prop_assert!(len.is_power_of_two() && window.first.is_multiple_of(len));
                prop_assert!(before.is_none_or(|before: u32| len >= before / 2));
                prop_assert!(hits == 0 || len >= 4.min(1 << page_cluster));
            }
            before = (!is_cut).then_some(len);
        }
    }
}
