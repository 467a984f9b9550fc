//! Each policy beside a model that is plain enough to be believed.

use proptest::prelude::*;

use super::{Policy, Stream, misses};
use crate::trace::references::{Access, ReferenceTrace, ReferenceTraceBuilder};

/// References to keys of one page.
fn pages(keys: &[u64]) -> ReferenceTrace {
    let mut builder = ReferenceTraceBuilder::new("t");
    for key in keys {
        builder.page(*key, Access::Read).unwrap();
    }
    builder.finish().unwrap()
}

/// References to keys of one to four pages.
fn objects(keys: &[u64]) -> ReferenceTrace {
    let mut builder = ReferenceTraceBuilder::new("t");
    for key in keys {
        builder.object(*key, (key % 3 + 1) * 4096).unwrap();
    }
    builder.finish().unwrap()
}

fn count(policy: Policy, trace: &ReferenceTrace, capacity: u64) -> u64 {
    let pages = Stream::pages_of(trace);
    misses(policy, Stream::new(trace, &pages), capacity, || true).expect("goes on")
}

/// What a model holds, the oldest first: key, pages, used.
type Queue = Vec<(u32, u64, bool)>;

fn size(queue: &Queue) -> u64 {
    queue.iter().map(|(_, pages, _)| pages).sum()
}

/// Plays a trace through a model: `hit` is told where the key is, `make_room` frees something.
fn play(
    trace: &ReferenceTrace,
    capacity: u64,
    hit: impl Fn(&mut Queue, usize),
    make_room: impl Fn(&mut Queue, usize),
) -> u64 {
    let mut held = Queue::new();
    let mut nr_misses = 0;
    for (at, reference) in trace.references.iter().enumerate() {
        let key = reference.key();
        if let Some(found) = held.iter().position(|entry| entry.0 == key) {
            hit(&mut held, found);
            continue;
        }
        nr_misses += 1;
        let pages = trace.orders[key as usize].pages() as u64;
        if pages <= capacity {
            while size(&held) + pages > capacity {
                make_room(&mut held, at);
            }
            held.push((key, pages, false));
        }
    }
    nr_misses
}

fn naive_lru(trace: &ReferenceTrace, capacity: u64) -> u64 {
    let hit = |held: &mut Queue, found| {
        let entry = held.remove(found);
        held.push(entry);
    };
    play(trace, capacity, hit, |held, _| {
        held.remove(0);
    })
}

fn naive_clock(trace: &ReferenceTrace, capacity: u64) -> u64 {
    let hit = |held: &mut Queue, found: usize| held[found].2 = true;
    let make_room = |held: &mut Queue, _| {
        let (key, pages, used) = held.remove(0);
        if used {
            held.push((key, pages, false));
        }
    };
    play(trace, capacity, hit, make_room)
}

/// The same as a ring of frames with a hand, for keys of one page.
fn ring_clock(trace: &ReferenceTrace, capacity: usize) -> u64 {
    let mut frames: Vec<(u32, bool)> = Vec::new();
    let (mut hand, mut nr_misses) = (0, 0);
    for reference in &trace.references {
        let key = reference.key();
        if let Some(frame) = frames.iter_mut().find(|frame| frame.0 == key) {
            frame.1 = true;
            continue;
        }
        nr_misses += 1;
        if frames.len() < capacity {
            frames.push((key, false));
            continue;
        }
        while frames[hand].1 {
            frames[hand].1 = false;
            hand = (hand + 1) % capacity;
        }
        frames[hand] = (key, false);
        hand = (hand + 1) % capacity;
    }
    nr_misses
}

fn naive_opt(trace: &ReferenceTrace, capacity: u64) -> u64 {
    let make_room = |held: &mut Queue, at: usize| {
        let next = |key| {
            let rest = trace.references[at..].iter();
            rest.map(|reference| reference.key())
                .position(|other| other == key)
                .unwrap_or(usize::MAX)
        };
        // Of those that are never used again the same one as in the heap.
        let furthest = held.iter().map(|(key, _, _)| (next(*key), *key)).max();
        let (_, key) = furthest.expect("something is held");
        held.retain(|entry| entry.0 != key);
    };
    play(trace, capacity, |_, _| {}, make_room)
}

/// The fewest misses of all choices there are, for keys of one page.
fn fewest_misses(keys: &[u32], held: &[u32], capacity: usize) -> u64 {
    let Some((key, rest)) = keys.split_first() else {
        return 0;
    };
    if held.contains(key) {
        return fewest_misses(rest, held, capacity);
    }
    let with = |held: &[u32]| {
        let held: Vec<u32> = held.iter().chain([key]).copied().collect();
        fewest_misses(rest, &held, capacity)
    };
    if held.len() < capacity {
        return 1 + with(held);
    }
    let without = |victim: &u32| {
        let left: Vec<u32> = held.iter().copied().filter(|key| key != victim).collect();
        with(&left)
    };
    1 + held.iter().map(without).min().expect("something is held")
}

fn naive_two_lists(trace: &ReferenceTrace, capacity: u64) -> u64 {
    let (mut active, mut inactive) = (Queue::new(), Queue::new());
    let mut nr_misses = 0;
    for reference in &trace.references {
        let key = reference.key();
        let mut all = inactive.iter_mut().chain(&mut active);
        if let Some(entry) = all.find(|entry| entry.0 == key) {
            entry.2 = true;
            continue;
        }
        nr_misses += 1;
        let pages = trace.orders[key as usize].pages() as u64;
        if pages > capacity {
            continue;
        }
        while size(&active) + size(&inactive) + pages > capacity {
            while size(&inactive) < size(&active) {
                let (key, pages, used) = active.remove(0);
                let list = if used { &mut active } else { &mut inactive };
                list.push((key, pages, false));
            }
            let (key, pages, used) = inactive.remove(0);
            if used {
                active.push((key, pages, false));
            }
        }
        inactive.push((key, pages, false));
    }
    nr_misses
}

/// Some keys often, most rarely.
fn keys(most: usize) -> impl Strategy<Value = Vec<u64>> {
    let key = prop_oneof![3 => 0..4_u64, 2 => 0..20_u64];
    prop::collection::vec(key, 1..most)
}

proptest! {
    #[test]
    fn each_policy_is_its_model(keys in keys(300), capacity in 1..16_u64) {
        for trace in [pages(&keys), objects(&keys)] {
            prop_assert_eq!(count(Policy::Lru, &trace, capacity), naive_lru(&trace, capacity));
            prop_assert_eq!(count(Policy::Clock, &trace, capacity), naive_clock(&trace, capacity));
            prop_assert_eq!(count(Policy::Opt, &trace, capacity), naive_opt(&trace, capacity));
            prop_assert_eq!(count(Policy::TwoLists, &trace, capacity), naive_two_lists(&trace, capacity));
        }
    }

    #[test]
    fn a_clock_is_a_ring_with_a_hand(keys in keys(300), capacity in 1..16_usize) {
        let trace = pages(&keys);
        prop_assert_eq!(count(Policy::Clock, &trace, capacity as u64), ring_clock(&trace, capacity));
    }

    #[test]
    fn nobody_misses_less_than_opt(keys in keys(14), capacity in 1..4_usize) {
        let trace = pages(&keys);
        let numbers: Vec<u32> = trace.references.iter().map(|reference| reference.key()).collect();
        let fewest = fewest_misses(&numbers, &[], capacity);
        prop_assert_eq!(count(Policy::Opt, &trace, capacity as u64), fewest);
        for policy in [Policy::Lru, Policy::Clock, Policy::TwoLists] {
            prop_assert!(count(policy, &trace, capacity as u64) >= fewest);
        }
    }

    #[test]
    fn a_memory_for_everything_misses_each_key_once(keys in keys(300)) {
        let trace = objects(&keys);
        for policy in [Policy::Opt, Policy::Lru, Policy::Clock, Policy::TwoLists] {
            let nr_misses = count(policy, &trace, trace.footprint_pages);
            prop_assert_eq!(nr_misses, trace.orders.len() as u64);
        }
    }
}

#[test]
fn a_loop_is_missed_by_all_but_opt() {
    let keys: Vec<u64> = (0..10).cycle().take(100).collect();
    let trace = pages(&keys);
    assert_eq!(count(Policy::Lru, &trace, 9), 100);
    assert_eq!(count(Policy::Clock, &trace, 9), 100);
    assert!(count(Policy::Opt, &trace, 9) < 25);
}

#[test]
fn it_ends_when_it_is_told_to() {
    let trace = pages(&[1, 2, 3]);
    let sizes = Stream::pages_of(&trace);
    let stream = Stream::new(&trace, &sizes);
    assert_eq!(misses(Policy::Lru, stream, 1, || false), None);
}

/// The references that are part of the program; a model of these policies in another language counted the same.
#[test]
fn sqlite_misses_what_it_misses() {
    let trace = crate::trace::shipped::sqlite_pages().unwrap();
    for (policy, expected) in [
        (Policy::Opt, [22_799, 13_912, 9_114]),
        (Policy::Lru, [27_178, 19_315, 14_328]),
        (Policy::Clock, [27_225, 18_976, 14_509]),
        (Policy::TwoLists, [27_265, 19_004, 14_756]),
    ] {
        assert_eq!(
            [27, 266, 666].map(|size| count(policy, &trace, size)),
            expected,
            "{policy:?}"
        );
    }
}
