//! Which slots a folio gets, case by case and against a map of chains.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::swap::slots::SlotMap;

fn lengths(map: &SlotMap, head: u32) -> Vec<u32> {
    let mut runs = vec![];
    let mut next = Some(head);
    while let Some(page) = next {
        let (run, after) = map.run(page, u32::MAX);
        runs.push(run.len);
        next = after;
    }
    runs
}

#[test]
fn slots_taken_one_after_another_lie_together_and_the_header_is_nobodys() {
    let mut map = SlotMap::new(1024, 2).expect("there is room");
    assert_eq!((map.nr_free(), map.owner(0)), (1023, None));
    let slots: Vec<_> = (0..300).map(|n| map.take(0, 1, n).expect("free")).collect();
    let expected: Vec<_> = (1..301).collect();
    assert_eq!(slots, expected);
    map.verify().expect("nothing is wrong");
}

#[test]
fn each_cpu_fills_a_cluster_of_its_own() {
    let mut map = SlotMap::new(1024, 2).expect("there is room");
    let first = [map.take(0, 1, 0), map.take(1, 1, 1), map.take(0, 1, 2)];
    assert_eq!(first, [Some(1), Some(256), Some(2)]);
}

#[test]
fn a_large_folio_begins_a_free_cluster_and_gets_whole_ones() {
    let mut map = SlotMap::new(2048, 1).expect("there is room");
    map.take(0, 200, 0).expect("free");
    let large = map.take(0, 512, 1).expect("free");
    assert_eq!((large, lengths(&map, large)), (256, vec![512]));
    // What the first cluster has left is found once there is nothing better.
    for n in 0..5 {
        map.take(0, 250, 2 + n).expect("free");
    }
    assert_eq!(map.nr_free(), 2047 - 200 - 512 - 5 * 250);
    let rest = map.take(0, map.nr_free(), 9).expect("free");
    assert!(lengths(&map, rest).len() > 1);
    assert_eq!(map.take(0, 1, 10), None);
    map.verify().expect("nothing is wrong");
}

#[test]
fn a_folio_never_fails_while_enough_slots_are_free() {
    let mut map = SlotMap::new(512, 1).expect("there is room");
    let singles: Vec<_> = (0..511).map(|n| map.take(0, 1, n).expect("free")).collect();
    for slot in singles.iter().step_by(2) {
        map.free(*slot);
    }
    let folio = map.take(0, 256, 7).expect("every second slot is free");
    assert_eq!(lengths(&map, folio), vec![1; 256]);
    map.verify().expect("nothing is wrong");
    assert_eq!(map.free(folio), 256);
    map.verify().expect("nothing is wrong");
}

#[test]
fn the_last_slots_are_found_in_the_clusters_of_other_cpus() {
    let mut map = SlotMap::new(512, 2).expect("there is room");
    map.take(1, 1, 0).expect("free");
    map.take(0, 1, 1).expect("free");
    let all = map.take(0, map.nr_free(), 2);
    assert!(all.is_some());
    assert_eq!(map.nr_free(), 0);
    map.verify().expect("nothing is wrong");
}

#[test]
fn a_slot_that_is_being_written_is_nobodys_until_the_write_ends() {
    let mut map = SlotMap::new(8, 1).expect("there is room");
    let head = map.take(0, 3, 5).expect("free");
    map.write_begins(head, 2);
    assert_eq!(map.free(head), 1);
    map.verify().expect("nothing is wrong");
    assert_eq!((map.owner(head), map.nr_free()), (None, 5));
    let taken = map.take(0, 5, 6).expect("the others are free");
    assert_eq!(map.take(0, 1, 7), None);
    assert_eq!(map.write_ends(head, 2), 2);
    map.verify().expect("nothing is wrong");
    assert_eq!(map.free(taken) + map.nr_free(), 12);
}

#[test]
#[should_panic(expected = "no chain begins at slot")]
fn a_chain_is_freed_once() {
    let mut map = SlotMap::new(8, 1).expect("there is room");
    let head = map.take(0, 3, 5).expect("free");
    map.free(head);
    map.free(head);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take { cpu: usize, nr: u32 },
    Free { nth: usize },
    Begin { nth: usize },
    End { nth: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop_oneof![4 => Just(1u32), 2 => 2u32..20, 1 => 200u32..600];
    let step = prop_oneof![
        5 => (0..3usize, sizes).prop_map(|(cpu, nr)| Step::Take { cpu, nr }),
        3 => any::<usize>().prop_map(|nth| Step::Free { nth }),
        1 => any::<usize>().prop_map(|nth| Step::Begin { nth }),
        1 => any::<usize>().prop_map(|nth| Step::End { nth }),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the slots ought to be: chains by their heads, and writes under way.
#[derive(Default)]
struct Model {
    chains: BTreeMap<u32, (u32, Vec<u32>)>,
    writes: Vec<Run>,
}

fn chain_of(map: &SlotMap, head: u32) -> Vec<u32> {
    let (mut slots, mut next) = (vec![], Some(head));
    while let Some(page) = next {
        let (run, after) = map.run(page, 32);
        slots.extend(run.page..run.page + run.len);
        next = after;
    }
    slots
}

impl Model {
    fn used(&self) -> std::collections::BTreeSet<u32> {
        let chained = self
            .chains
            .values()
            .flat_map(|(_, slots)| slots.iter().copied());
        let written = self
            .writes
            .iter()
            .flat_map(|run| run.page..run.page + run.len);
        chained.chain(written).collect()
    }

    fn step(&mut self, map: &mut SlotMap, step: Step, owner: u32) {
        match step {
            Step::Take { cpu, nr } => {
                let used = self.used();
                let head = map.take(cpu, nr, owner);
                assert_eq!(
                    head.is_some(),
                    map.nr_used() as usize == used.len() + nr as usize
                );
                let Some(head) = head else { return };
                let slots = chain_of(map, head);
                assert_eq!(slots.len(), nr as usize);
                assert!(slots.iter().all(|slot| *slot != 0 && !used.contains(slot)));
                self.chains.insert(head, (owner, slots));
            }
            Step::Free { nth } => {
                let Some((&head, _)) = self.chains.iter().nth(nth % self.chains.len().max(1))
                else {
                    return;
                };
                let before = map.nr_free();
                let nr_freed = map.free(head);
                self.chains.remove(&head);
                assert_eq!(map.nr_free(), before + nr_freed);
            }
            Step::Begin { nth } => {
                let Some((_, slots)) = self.chains.values().nth(nth % self.chains.len().max(1))
                else {
                    return;
                };
                let (run, _) = map.run(slots[0], 32);
                let overlaps = |other: &Run| {
                    run.page < other.page + other.len && other.page < run.page + run.len
                };
                if !self.writes.iter().any(overlaps) {
                    map.write_begins(run.page, run.len);
                    self.writes.push(run);
                }
            }
            Step::End { nth } => {
                if !self.writes.is_empty() {
                    let run = self.writes.swap_remove(nth % self.writes.len());
                    map.write_ends(run.page, run.len);
                }
            }
        }
    }

    fn check(&self, map: &SlotMap) {
        map.verify().expect("nothing is wrong");
        assert_eq!(map.nr_used() as usize, self.used().len());
        for (&head, (owner, slots)) in &self.chains {
            assert_eq!(&chain_of(map, head), slots);
            assert!(slots.iter().all(|&slot| map.owner(slot) == Some(*owner)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slots_behave_like_a_map_of_chains(steps in steps(), nr_pages in 2u32..2000) {
        let mut map = SlotMap::new(nr_pages, 3).expect("there is room");
        let mut model = Model::default();
        for (owner, step) in steps.into_iter().enumerate() {
            model.step(&mut map, step, owner as u32);
            model.check(&map);
        }
    }
}
