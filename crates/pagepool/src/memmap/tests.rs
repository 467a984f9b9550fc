//! The frame table and its lists, on tables of 16 to 64 frames.

use std::{collections::VecDeque, thread};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::types::{MAX_NODES, Order};

const MOVABLE: Migratetype = Migratetype::Movable;
const UNMOVABLE: Migratetype = Migratetype::Unmovable;

fn map(pages: usize) -> Memmap {
    Memmap::new(NodeId::at(1), pages).unwrap()
}

fn pfn(index: usize) -> Pfn {
    Pfn::new(NodeId::at(1), index)
}

fn allocated(order: usize, mobility: Migratetype) -> FrameState {
    FrameState::allocated(Order::at(order), mobility)
}

#[track_caller]
fn assert_list(list: &PfnList, map: &Memmap, expected: &[usize]) {
    list.verify(map).unwrap();
    assert_eq!(list.iter(map).map(Pfn::index).collect::<Vec<_>>(), expected);
    assert_eq!(list.len(), expected.len());
    assert_eq!(list.is_empty(), expected.is_empty());
}

#[test]
fn frames_are_free_at_first() {
    let map = map(16);
    assert!(
        (0..16).all(|index| map.state(pfn(index)) == FrameState::FREE),
        "M3"
    );
    map.verify().unwrap();
}

#[test]
fn table_contains_the_frames_of_its_node_only() {
    let map = map(16);
    assert_eq!((map.node(), map.frames()), (NodeId::at(1), 16));
    assert!(map.contains(pfn(0)) && map.contains(pfn(15)));
    assert!(!map.contains(pfn(16)));
    assert!(!map.contains(Pfn::new(NodeId::at(0), 3)));
}

#[test]
fn table_takes_eighteen_bytes_a_frame() {
    let pages = 1 << 20;
    assert_eq!(map(pages).bytes(), 18 * pages);
}

#[test]
fn racing_double_free_is_caught_once() {
    let map = map(16);
    let held = allocated(2, UNMOVABLE);
    for _ in 0..100 {
        map.set_state(pfn(4), held);
        let free = || map.transition(pfn(4), held, FrameState::FREE);
        let outcomes = thread::scope(|scope| {
            let other = scope.spawn(free);
            [free(), other.join().unwrap()]
        });
        assert!(
            outcomes == [Ok(()), Err(FrameState::FREE)]
                || outcomes == [Err(FrameState::FREE), Ok(())],
            "{outcomes:?}"
        );
    }
}

#[test]
fn transition_names_the_state_that_it_found() {
    let map = map(16);
    map.set_state(pfn(8), allocated(0, MOVABLE));
    let found = map
        .transition(pfn(8), allocated(1, MOVABLE), FrameState::FREE)
        .unwrap_err();
    assert_eq!(found.to_string(), "allocated at o0, movable");
    assert_eq!(map.state(pfn(8)), found, "nothing has changed");
}

/// ```text
///  0      4  5  6     8           12          16
///  [A o2 m][A][C o0]  [A o2 unm  ][C o2 mov  ][A o3 mov ...
/// ```
#[test]
fn kinds_are_those_of_allocated_blocks() {
    let map = map(32);
    map.set_state(pfn(0), allocated(2, MOVABLE));
    map.set_state(pfn(4), allocated(0, MOVABLE));
    map.set_state(pfn(5), FrameState::cached(Order::ZERO, MOVABLE));
    map.set_state(pfn(8), allocated(2, UNMOVABLE));
    map.set_state(pfn(12), FrameState::cached(Order::at(2), MOVABLE));
    map.set_state(pfn(16), allocated(3, MOVABLE));
    map.set_state(pfn(24), FrameState::special(Special::Isolated));
    map.verify().unwrap();

    assert_eq!(map.kinds(pfn(0), 16).movable, 5);
    assert_eq!(map.kinds(pfn(0), 32).movable, 13);
    assert_eq!(
        map.kinds(pfn(0), 18).movable,
        7,
        "a block counts as far as the range goes"
    );
    assert_eq!(
        map.kinds(pfn(2), 4).movable,
        1,
        "a block is seen by its head"
    );
    assert_eq!(map.kinds(pfn(8), 0), Kinds::default());
    assert_eq!(map.kinds(pfn(0), 16).others, 4);
    assert!(map.kinds(pfn(0), 16).are_mixed());
    assert!(!map.kinds(pfn(0), 8).are_mixed() && !map.kinds(pfn(8), 8).are_mixed());
}

#[test]
fn head_inside_a_block_violates_m1() {
    let map = map(16);
    map.set_state(pfn(5), allocated(0, MOVABLE));
    map.set_state(pfn(4), allocated(2, UNMOVABLE));
    let violation = map.verify().unwrap_err();
    assert_eq!(violation.invariant(), "M1");
    assert_eq!(
        violation.to_string(),
        "M1: pfn:10000005 is allocated at o0, movable, inside the block that ends at 8"
    );
}

#[test]
#[should_panic(expected = "M2")]
#[cfg(debug_assertions)]
fn misaligned_head_is_refused() {
    map(16).set_state(pfn(2), allocated(2, MOVABLE));
}

#[test]
fn lists_keep_their_order() {
    let map = map(16);
    let mut list = PfnList::default();
    assert_list(&list, &map, &[]);

    list.push_back(&map, pfn(3));
    list.push_back(&map, pfn(0));
    list.push_front(&map, pfn(15));
    assert_list(&list, &map, &[15, 3, 0]);

    list.remove(&map, pfn(3));
    assert_list(&list, &map, &[15, 0]);
    assert_eq!(list.pop_back(&map), Some(pfn(0)));
    assert_eq!(list.pop_front(&map), Some(pfn(15)));
    assert_eq!((list.pop_front(&map), list.pop_back(&map)), (None, None));
    assert_list(&list, &map, &[]);
}

#[test]
fn splicing_moves_every_frame() {
    let map = map(16);
    let (mut list, mut other) = (PfnList::default(), PfnList::default());
    other.push_back(&map, pfn(1));
    other.push_back(&map, pfn(2));
    list.splice_back(&map, &mut other);
    assert_list(&list, &map, &[1, 2]);
    assert_list(&other, &map, &[]);

    list.splice_back(&map, &mut other);
    assert_list(&list, &map, &[1, 2]);

    let mut third = PfnList::default();
    third.push_back(&map, pfn(9));
    list.splice_back(&map, &mut third);
    assert_list(&list, &map, &[1, 2, 9]);
}

/// Its number is the one that stands for "none" in a list, which therefore holds indexes.
#[test]
#[cfg_attr(
    any(pagepool_asan, miri),
    ignore = "on the heap, a table for 1 TiB is not free"
)]
fn last_frame_of_the_last_node_can_be_listed() {
    let node = NodeId::at(MAX_NODES - 1);
    let last = Pfn::new(node, Pfn::MAX_NODE_PAGES - 1);
    assert_eq!(last.get(), u32::MAX);

    let map = Memmap::new(node, Pfn::MAX_NODE_PAGES).unwrap();
    let mut list = PfnList::default();
    list.push_back(&map, last);
    list.verify(&map).unwrap();
    assert_eq!(list.pop_front(&map), Some(last));
}

type Damage = fn(&Memmap);

#[test]
fn broken_links_violate_the_lists_invariants() {
    let three = |map: &Memmap| {
        let mut list = PfnList::default();
        (0..3).for_each(|index| list.push_back(map, pfn(index)));
        list
    };
    // Relaxed: nobody else is looking.
    let breaks: [(&str, Damage); 4] = [
        ("L1", |map| map.link(1)[NEXT].store(u32::MAX, Relaxed)),
        ("L1", |map| map.link(1)[NEXT].store(16, Relaxed)),
        ("L2", |map| map.link(2)[PREV].store(0, Relaxed)),
        ("L1", |map| map.link(2)[NEXT].store(1, Relaxed)),
    ];
    for (place, (invariant, damage)) in breaks.into_iter().enumerate() {
        let map = map(16);
        let list = three(&map);
        damage(&map);
        let found = list.verify(&map).map_err(|violation| violation.invariant());
        assert_eq!(found, Err(invariant), "break {place}");
    }
}

#[test]
#[should_panic(expected = "L4")]
#[cfg(debug_assertions)]
fn removing_a_frame_of_another_list_is_refused() {
    let map = map(16);
    let (mut list, mut other) = (PfnList::default(), PfnList::default());
    list.push_back(&map, pfn(1));
    other.push_back(&map, pfn(2));
    list.remove(&map, pfn(2));
}

#[derive(Clone, Debug)]
enum Op {
    PushFront(usize),
    PushBack(usize),
    PopFront,
    PopBack,
    Remove(usize),
    Splice,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..32_usize).prop_map(Op::PushFront),
        (0..32_usize).prop_map(Op::PushBack),
        Just(Op::PopFront),
        Just(Op::PopBack),
        (0..32_usize).prop_map(Op::Remove),
        Just(Op::Splice),
    ]
}

proptest! {
    /// Two lists and two `VecDeque`s: each operation goes to the one that its number says, except
    /// that a frame on a list is left where it is, and one on none is not removed.
    #[test]
    fn lists_do_as_a_deque_does(ops in vec((any::<bool>(), op()), 0..200)) {
        let map = map(32);
        let mut lists = [PfnList::default(), PfnList::default()];
        let mut models = [VecDeque::new(), VecDeque::new()];

        for (second, op) in ops {
            let which = usize::from(second);
            let is_listed = |index| models.iter().any(|model| model.contains(&index));
            match op {
                Op::PushFront(index) if !is_listed(index) => {
                    lists[which].push_front(&map, pfn(index));
                    models[which].push_front(index);
                }
                Op::PushBack(index) if !is_listed(index) => {
                    lists[which].push_back(&map, pfn(index));
                    models[which].push_back(index);
                }
                Op::PopFront => {
                    let popped = lists[which].pop_front(&map).map(Pfn::index);
                    prop_assert_eq!(popped, models[which].pop_front());
                }
                Op::PopBack => {
                    let popped = lists[which].pop_back(&map).map(Pfn::index);
                    prop_assert_eq!(popped, models[which].pop_back());
                }
                Op::Remove(index) => {
                    if let Some(place) = models[which].iter().position(|listed| *listed == index) {
                        lists[which].remove(&map, pfn(index));
                        models[which].remove(place);
                    }
                }
                Op::Splice => {
                    let [first, last] = &mut lists;
                    let (to, from) = if second { (last, first) } else { (first, last) };
                    to.splice_back(&map, from);
                    let mut other = std::mem::take(&mut models[1 - which]);
                    models[which].append(&mut other);
                }
                Op::PushFront(_) | Op::PushBack(_) => {}
            }
            for (list, model) in lists.iter().zip(&models) {
                prop_assert_eq!(list.verify(&map), Ok(()));
                prop_assert!(list.iter(&map).map(Pfn::index).eq(model.iter().copied()));
                prop_assert_eq!(list.len(), model.len());
            }
        }
    }
}

#[test]
fn states_of_a_run_are_set_one_by_one_and_no_others() {
    let map = Memmap::new(NodeId::at(0), 2 * GROUP + 77).unwrap();
    let cached = FrameState::cached(Order::ZERO, Migratetype::Unmovable);
    let frame = |index| Pfn::new(NodeId::at(0), index);
    for (first, nr) in [
        (0, 1),
        (31, 2),
        (100, 0),
        (120, 300),
        (GROUP - 5, 10),
        (2 * GROUP, 77),
    ] {
        map.set_states(frame(first), nr, Order::ZERO, cached);
        let set: Vec<_> = (0..map.frames())
            .filter(|index| map.state(frame(*index)) == cached)
            .collect();
        assert!(
            set.into_iter().eq(first..first + nr),
            "{nr} from {first} on"
        );
        (first..first + nr).for_each(|index| map.set_state(frame(index), FrameState::FREE));
    }
}

#[test]
fn states_of_blocks_that_follow_each_other_are_those_of_their_first_frames() {
    let map = Memmap::new(NodeId::at(0), GROUP).unwrap();
    let order = Order::at(2);
    let cached = FrameState::cached(order, Migratetype::Movable);
    map.set_states(Pfn::new(NodeId::at(0), 8), 3, order, cached);
    let set = (0..map.frames()).filter(|index| {
        let state = map.state(Pfn::new(NodeId::at(0), *index));
        assert!(state == cached || state.is_free());
        state == cached
    });
    assert!(set.eq([8, 12, 16]));
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Frames of two CPUs that fill one pageblock shared cache lines of the columns, and each allocation
/// and free waited for the other CPU.
#[test]
fn entries_of_neighbours_are_lines_apart_and_never_meet() {
    let at: Vec<_> = (0..2 * GROUP).map(scattered).collect();
    let mut places = at.clone();
    places.sort_unstable();
    let each = places.into_iter().eq(0..2 * GROUP);
    assert!(each, "each has a place of its own");
    let is_apart = |n: usize| (at[n] < GROUP) == (n < GROUP);
    assert!((0..2 * GROUP).all(is_apart), "groups are lines apart");
    // Entries in a cache line: states, numbers, links.
    for per_line in [
        LINE,
        LINE / size_of::<AtomicU32>(),
        LINE / size_of::<Link>(),
    ] {
        let round = [31, 32, 63, 64, 128, 256, 512, 1024, 1536];
        for apart in (1..25).chain(round) {
            let meet = |n: &usize| at[*n] / per_line == at[n + apart] / per_line;
            assert_eq!((0..GROUP - apart).filter(meet).count(), 0, "{apart} apart");
        }
    }
    // The first frames of the halves of magazines that threads have from pageblocks of a group.
    for (blocks, threads) in [(4, 8), (1, 24)] {
        let block = |n| n * PAGEBLOCK_ORDER.pages();
        let firsts = (0..blocks).flat_map(|n| (0..threads).map(move |half| block(n) + 8 * half));
        let mut lines: Vec<_> = firsts.map(|n| scattered(n) / LINE).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), blocks * threads);
    }
}
