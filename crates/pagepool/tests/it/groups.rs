//! Memory groups: what each is charged for, what it may have, and what is left to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AllocError, Folio, Gfp, Group, GroupError, GroupLimits, LimitsOutcome, Order, PAGE_SIZE,
    PagePool, SwapFile,
};

use super::{assert_filled, fill, order};

const MIB: usize = 1 << 20;

fn pool(memory: usize, swap: usize) -> PagePool {
    let builder = PagePool::builder().memory(memory);
    let builder = builder.deadline(Duration::from_secs(10));
    let builder = match swap {
        0 => builder,
        bytes => builder.swap(SwapFile::temporary(bytes as u64).unwrap()),
    };
    builder.build().unwrap()
}

fn filled(group: &Group, seed: usize) -> Folio {
    let mut folio = group.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
    fill(&mut folio.write().unwrap(), seed as u64);
    folio
}

fn current(group: &Group) -> usize {
    group.stats().current_bytes
}

/// Bytes of these folios that are in memory.
fn resident(folios: &[Folio]) -> usize {
    folios.iter().filter(|folio| folio.is_resident()).count() * PAGE_SIZE
}

/// Says so when a thread ends, also by a panic.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn a_group_is_charged_for_folios_in_memory_and_for_raw_blocks_and_so_is_all_above_it() {
    let pool = pool(32 * MIB, 0);
    let top = pool.create_group("top", GroupLimits::new()).unwrap();
    let below = top.create_group("below", GroupLimits::new()).unwrap();
    assert_eq!(below.path(), "top/below");
    let mut folio = below.blank_folio(10 * PAGE_SIZE).unwrap();
    assert_eq!(current(&below), 0, "it takes no memory yet");
    folio.write().unwrap().fill(1);
    let block = below.alloc_pages(order(3), Gfp::KERNEL).unwrap();
    assert_eq!(
        (current(&below), current(&top)),
        (24 * PAGE_SIZE, 24 * PAGE_SIZE)
    );
    let stats = below.stats();
    assert_eq!(
        (stats.anon_bytes, stats.raw_bytes),
        (16 * PAGE_SIZE, 8 * PAGE_SIZE)
    );
    assert_eq!((stats.members, top.stats().members), (2, 0));
    pool.verify().unwrap();

    folio.discard().unwrap();
    assert_eq!(current(&top), 8 * PAGE_SIZE, "a blank folio takes none");
    let parts: Vec<_> = block.split(Order::ZERO).collect();
    assert_eq!(below.stats().members, 9);
    pool.verify().unwrap();
    let mut parts = parts.into_iter();
    let raw = parts.next().unwrap().into_raw();
    drop(parts);
    assert_eq!((current(&top), below.stats().members), (PAGE_SIZE, 2));
    // SAFETY: it came from `into_raw` just now, and was zeroed.
    drop(unsafe { pool.from_raw(raw) });
    assert_eq!((current(&top), current(&below)), (0, 0));
    drop(folio);
    pool.verify().unwrap();
    let peak = top.stats().peak_bytes;
    assert_eq!(peak, 24 * PAGE_SIZE);
}

/// The charge of a page that was freed waits at the cache for the next one. No test did that: the caches of small pools
/// are off, and the pools of tests are small. What waits must be in nobody's way.
#[test]
fn charges_that_wait_at_the_caches_come_back_when_they_are_needed() {
    let builder = PagePool::builder().managed(16 * MIB).daemons(false);
    let builder = builder
        .percpu_pagelist_fraction(8)
        .deadline(Duration::from_secs(1));
    let pool = builder.build().unwrap();
    let max = 8 * PAGE_SIZE;
    let limits = GroupLimits::new().max(max);
    let [a, b] = ["a", "b"].map(|name| pool.create_group(name, limits).unwrap());
    let page = |group: &Group| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    let cached = || pool.stats().cached_pages;
    for group in [&a, &b, &a] {
        // One after the other, and all that a group may have at once.
        for _ in 0..100 {
            drop(page(group));
        }
        let blocks: Vec<_> = (0..8).map(|_| page(group)).collect();
        assert_eq!(current(group), max);
        let error = group.alloc_pages(Order::ZERO, Gfp::NOWAIT).unwrap_err();
        assert_eq!(error, AllocError::GroupLimit);
        drop(blocks);
        assert!(cached() > 0, "the caches are on");
        assert_eq!(current(group), 0, "nobody has anything");
        pool.verify().unwrap();
    }
    // The charges of single pages make room for a large block, and for the other group.
    drop((0..8).map(|_| page(&a)).collect::<Vec<_>>());
    let large = a.alloc_pages(order(3), Gfp::KERNEL).unwrap();
    assert_eq!((current(&a), current(&b)), (max, 0));
    drop(large);
    drop(page(&a));
    for group in [a, b] {
        group.delete().unwrap();
    }
    pool.verify().unwrap();
}

#[test]
fn a_group_never_has_more_than_its_max_and_loses_nothing() {
    let pool = pool(64 * MIB, 64 * MIB);
    let max = 4 * MIB;
    let group = pool
        .create_group("tenant", GroupLimits::new().max(max))
        .unwrap();
    let working = AtomicUsize::new(2);
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while working.load(SeqCst) > 0 {
                most.fetch_max(current(&group), SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let threads: Vec<_> = (0..2)
            .map(|n| {
                let (group, working) = (&group, &working);
                scope.spawn(move || {
                    let _end = Leaves(working);
                    let range = || n * 2048..(n + 1) * 2048;
                    let folios: Vec<_> = range().map(|seed| filled(group, seed)).collect();
                    for (folio, seed) in folios.iter().zip(range()) {
                        assert_filled(&folio.read().unwrap(), seed as u64);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    let most = most.load(SeqCst);
    assert!(most <= max, "{most} of {max}");
    assert!(most > max - 64 * PAGE_SIZE, "it was used: {most} of {max}");
    let stats = group.stats();
    assert!(stats.max_events > 0 && stats.pgsteal > 2048, "{stats:?}");
    assert_eq!((stats.refusals, stats.current_bytes), (0, 0));
    pool.verify().unwrap();
}

#[test]
fn without_a_way_out_a_request_is_refused_at_its_deadline_and_names_the_group() {
    let deadline = Duration::from_millis(300);
    let builder = PagePool::builder().memory(32 * MIB).deadline(deadline);
    let pool = builder.build().unwrap();
    let group = pool
        .create_group("tenant", GroupLimits::new().max(MIB))
        .unwrap();
    let blocks: Vec<_> = (0..256)
        .map(|_| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap())
        .collect();
    let begin = Instant::now();
    let refused = group.alloc_pages(Order::ZERO, Gfp::KERNEL);
    let waited = begin.elapsed();
    assert_eq!(refused.unwrap_err(), AllocError::GroupLimit);
    assert_eq!(AllocError::GroupLimit.cause(), "group_limit");
    assert!(waited >= deadline && waited < 4 * deadline, "{waited:?}");

    let begin = Instant::now();
    for gfp in [Gfp::ATOMIC, Gfp::NOWAIT, Gfp::KERNEL | Gfp::NORETRY] {
        let refused = group.alloc_pages(Order::ZERO, gfp);
        assert_eq!(refused.unwrap_err(), AllocError::GroupLimit);
    }
    assert!(group.alloc_folio(PAGE_SIZE, Gfp::NOWAIT).is_err());
    // What is larger than the limit is not waited for.
    let refused = group.alloc_pages(order(9), Gfp::KERNEL);
    assert_eq!(refused.unwrap_err(), AllocError::GroupLimit);
    assert!(begin.elapsed() < 2 * deadline);
    assert_eq!(group.stats().refusals, 6);
    assert!(
        pool.alloc_pages(order(9), Gfp::KERNEL).is_ok(),
        "the pool has memory"
    );
    drop(blocks);
    assert!(group.alloc_pages(Order::ZERO, Gfp::KERNEL).is_ok());
}

#[test]
fn a_request_that_waits_gets_what_is_freed_or_granted() {
    let pool = PagePool::builder()
        .memory(32 * MIB)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    let limits = GroupLimits::new().max(MIB);
    let group = pool.create_group("tenant", limits).unwrap();
    let mut blocks: Vec<_> = (0..256)
        .map(|_| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap())
        .collect();
    let wait = |then: &mut dyn FnMut()| {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let begin = Instant::now();
                let block = group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
                (block, begin.elapsed())
            });
            thread::sleep(Duration::from_millis(60));
            then();
            waiter.join().unwrap()
        })
    };
    let (block, waited) = wait(&mut || drop(blocks.pop()));
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    blocks.push(block);
    let (_block, waited) = wait(&mut || {
        let outcome = group.set_limits(limits.max(2 * MIB)).unwrap();
        assert_eq!(outcome, LimitsOutcome::Met);
    });
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn who_goes_beyond_high_reclaims_at_once_and_may_go_on() {
    let pool = pool(64 * MIB, 64 * MIB);
    let high = 2 * MIB;
    let group = pool
        .create_group("tenant", GroupLimits::new().high(high))
        .unwrap();
    let mut most = 0;
    let folios: Vec<_> = (0..2048)
        .map(|seed| {
            let folio = filled(&group, seed);
            most = most.max(current(&group));
            folio
        })
        .collect();
    assert!(most <= high + 32 * PAGE_SIZE, "{most} against {high}");
    assert!(group.stats().high_events > 0);
    for (seed, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), seed as u64);
    }
}

#[test]
fn beyond_high_without_a_way_out_one_is_slowed_down_but_not_refused() {
    let builder = PagePool::builder().memory(32 * MIB);
    let pool = builder
        .deadline(Duration::from_millis(300))
        .build()
        .unwrap();
    let group = pool
        .create_group("tenant", GroupLimits::new().high(MIB))
        .unwrap();
    let begin = Instant::now();
    let _blocks: Vec<_> = (0..257 + 64)
        .map(|_| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap())
        .collect();
    let waited = begin.elapsed();
    assert!(waited > Duration::from_millis(100), "{waited:?}");
    assert_eq!(group.stats().refusals, 0);
    assert!(current(&group) > MIB);
}

/// A neighbour that needs more than the pool has takes what is not protected, and nothing else.
#[test]
fn what_low_protects_stays_in_memory_while_a_neighbour_thrashes() {
    let pool = pool(32 * MIB, 128 * MIB);
    let low = GroupLimits::new().low(8 * MIB);
    let protected = pool.create_group("protected", low).unwrap();
    let neighbour = pool.create_group("neighbour", GroupLimits::new()).unwrap();
    let kept: Vec<_> = (0..2000).map(|seed| filled(&protected, seed)).collect();
    let mut taken = Vec::new();
    for seed in 0..16_384 {
        taken.push(filled(&neighbour, seed));
    }
    for (seed, folio) in taken.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), seed as u64);
    }
    assert_eq!(resident(&kept), 2000 * PAGE_SIZE);
    assert!(neighbour.stats().pgsteal > 8192);
    assert_eq!(
        (protected.stats().pgsteal, protected.stats().low_events),
        (0, 0)
    );

    // Without the protection it is the first to go: nobody has used it for long.
    protected.set_limits(GroupLimits::new()).unwrap();
    for (seed, folio) in taken.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), seed as u64);
    }
    assert!(resident(&kept) < 1000 * PAGE_SIZE, "{}", resident(&kept));
    pool.verify().unwrap();
}

#[test]
fn low_gives_way_where_there_is_nothing_else_and_min_does_not() {
    let pool = pool(16 * MIB, 64 * MIB);
    let limits = GroupLimits::new().low(64 * MIB);
    let group = pool.create_group("all", limits).unwrap();
    let folios: Vec<_> = (0..6000).map(|seed| filled(&group, seed)).collect();
    assert!(resident(&folios) < 16 * MIB);
    assert!(group.stats().low_events > 0);
    drop(folios);

    let pool = self::pool(16 * MIB, 64 * MIB);
    let limits = GroupLimits::new().min(64 * MIB);
    let group = pool.create_group("all", limits).unwrap();
    let mut folios = Vec::new();
    let error = loop {
        match group.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) {
            Ok(folio) => folios.push(folio),
            Err(error) => break error,
        }
    };
    assert_eq!(resident(&folios), folios.len() * PAGE_SIZE);
    assert!(
        matches!(error, AllocError::BelowMin | AllocError::SwapFull),
        "{error:?}"
    );
}

#[test]
fn who_is_beyond_its_soft_limit_gives_first() {
    let pool = pool(32 * MIB, 128 * MIB);
    let soft = GroupLimits::new().soft_limit(MIB);
    let modest = pool.create_group("modest", GroupLimits::new()).unwrap();
    let greedy = pool.create_group("greedy", soft).unwrap();
    let theirs: Vec<_> = (0..3000).map(|seed| filled(&greedy, seed)).collect();
    let ours: Vec<_> = (0..6000).map(|seed| filled(&modest, seed)).collect();
    let (ours, theirs) = (resident(&ours), resident(&theirs));
    // They have to give what the pool lacks, and no more than that.
    assert!(theirs < 6 * MIB, "{theirs} of the greedy are left");
    assert!(
        ours > 6000 * PAGE_SIZE * 98 / 100,
        "{ours} of the modest are left"
    );
}

#[test]
fn groups_of_a_size_give_alike_and_larger_ones_more() {
    let pool = pool(32 * MIB, 128 * MIB);
    let make = |name| pool.create_group(name, GroupLimits::new()).unwrap();
    let groups = [make("a"), make("b"), make("c")];
    let sizes = [1500, 1500, 4500];
    let folios: Vec<Vec<_>> = groups
        .iter()
        .zip(sizes)
        .map(|(group, size)| (0..size).map(|seed| filled(group, seed)).collect())
        .collect();
    // Somebody else needs half of the memory.
    let other = make("other");
    let _others: Vec<_> = (0..4000).map(|seed| filled(&other, seed)).collect();
    let left = |n: usize| resident(&folios[n]) as f64 / (sizes[n] * PAGE_SIZE) as f64;
    let lefts = [left(0), left(1), left(2)];
    let (least, most) = (
        lefts.into_iter().fold(1.0, f64::min),
        lefts.into_iter().fold(0.0, f64::max),
    );
    assert!(most < 0.9 && most - least < 0.25, "{lefts:?}");
}

#[test]
fn a_folio_and_a_block_move_to_another_group_with_their_charge() {
    let pool = pool(32 * MIB, 32 * MIB);
    let a = pool.create_group("a", GroupLimits::new()).unwrap();
    let b = pool.create_group("b", GroupLimits::new().max(MIB)).unwrap();
    let mut folio = filled(&a, 7);
    let mut block = a.alloc_pages(order(2), Gfp::KERNEL).unwrap();
    folio.move_to(&b).unwrap();
    block.move_to(&b).unwrap();
    assert_eq!((current(&a), current(&b)), (0, 5 * PAGE_SIZE));
    assert_eq!((a.stats().members, b.stats().members), (0, 2));
    assert_eq!(folio.group(), b.id());
    pool.verify().unwrap();

    // Away it moves as well, and is charged when it comes back.
    b.reclaim(PAGE_SIZE, Duration::from_secs(5));
    assert!(!folio.is_resident());
    folio.move_to(&a).unwrap();
    assert_eq!((current(&a), a.stats().members), (0, 1));
    assert_filled(&folio.read().unwrap(), 7);
    assert_eq!(current(&a), PAGE_SIZE);
    block.move_to(&pool.root_group()).unwrap();
    assert_eq!((current(&b), b.stats().members), (0, 0));
    pool.verify().unwrap();
    drop((folio, block));
    pool.verify().unwrap();

    let mut large = a.alloc_pages(order(9), Gfp::KERNEL).unwrap();
    let full = large.move_to(&b).unwrap_err();
    assert_eq!(full, GroupError::Full { path: "b".into() });
    assert_eq!(current(&a), 2 * MIB);
    let other = PagePool::builder().memory(16 * MIB).build().unwrap();
    let theirs = other.create_group("theirs", GroupLimits::new()).unwrap();
    assert_eq!(large.move_to(&theirs), Err(GroupError::OtherPool));
}

#[test]
fn a_lower_limit_is_approached_and_says_how_far_it_came() {
    let pool = pool(32 * MIB, 32 * MIB);
    let group = pool.create_group("tenant", GroupLimits::new()).unwrap();
    let folios: Vec<_> = (0..1024).map(|seed| filled(&group, seed)).collect();
    let outcome = group.set_limits(GroupLimits::new().max(MIB)).unwrap();
    assert_eq!(outcome, LimitsOutcome::Met);
    assert!(current(&group) <= MIB);
    for (seed, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), seed as u64);
    }
    drop(folios);
    let _blocks: Vec<_> = (0..256)
        .map(|_| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap())
        .collect();
    let outcome = group.set_limits(GroupLimits::new().max(MIB / 2)).unwrap();
    assert_eq!(outcome, LimitsOutcome::Above { by: MIB / 2 });
    assert_eq!(group.limits().max_bytes(), MIB / 2);
}

#[test]
fn what_is_wrong_with_a_limit_or_a_group_is_said() {
    let pool = PagePool::builder()
        .memory(16 * MIB)
        .max_groups(2)
        .build()
        .unwrap();
    let low = GroupLimits::new().max(MIB).low(2 * MIB);
    let error = pool.create_group("a", low).unwrap_err().to_string();
    assert!(error.starts_with("low = 2097152 is out of range: accepted is 0 to 1048576"));
    let a = pool.create_group("a", GroupLimits::new()).unwrap();
    let error = a
        .set_limits(GroupLimits::new().max(0))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("max = 0 is out of range"), "{error}");
    assert_eq!(a.limits(), GroupLimits::new(), "the old ones stay");
    let root = pool.root_group().set_limits(GroupLimits::new());
    assert_eq!(root, Err(GroupError::Root));
    let folio = a.blank_folio(1).unwrap();
    let (a, error) = a.delete().unwrap_err();
    assert!(
        error.to_string().contains("1 folios and raw blocks"),
        "{error}"
    );
    drop(folio);
    let again = pool.group("a").unwrap();
    let (a, _) = a.delete().unwrap_err();
    drop(again);
    a.delete().map_err(|(_, error)| error).unwrap();
    assert!(pool.group("a").is_none());
    assert_eq!(pool.groups(), []);
    let builder = PagePool::builder().memory(16 * MIB).max_groups(256);
    let error = builder.build().unwrap_err().to_string();
    assert_eq!(
        error,
        "max_groups = 256 is out of range: accepted is 0 to 255"
    );
}

/// All that can be done to groups at once, by several threads, under pressure.
#[test]
fn charges_are_exact_after_everything_at_once() {
    let pool = pool(32 * MIB, 128 * MIB);
    let top = pool
        .create_group("top", GroupLimits::new().max(20 * MIB))
        .unwrap();
    let groups: Arc<Vec<Group>> = Arc::new(
        (0..4)
            .map(|n| {
                let limits = GroupLimits::new().high((n + 2) * 2 * MIB).low(n * MIB);
                top.create_group(&format!("tenant{n}"), limits).unwrap()
            })
            .collect(),
    );
    thread::scope(|scope| {
        for n in 0..3 {
            let groups = Arc::clone(&groups);
            scope.spawn(move || {
                let mut folios: Vec<(Folio, u64)> = Vec::new();
                let mut blocks = Vec::new();
                let mut random = 7 + n as u64;
                for step in 0..6000_u64 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let group = &groups[(random >> 33) as usize % 4];
                    let at = |len: usize| (random >> 40) as usize % len;
                    match (random >> 60) % 8 {
                        0..=3 => folios.push((filled(group, step as usize), step)),
                        4 if !folios.is_empty() => drop(folios.swap_remove(at(folios.len()))),
                        5 if !folios.is_empty() => {
                            let moved = at(folios.len());
                            folios[moved].0.move_to(group).unwrap();
                        }
                        6 if blocks.len() < 200 => {
                            blocks.push(group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
                        }
                        7 if !blocks.is_empty() => drop(blocks.swap_remove(at(blocks.len()))),
                        _ => {
                            if let Some((folio, seed)) = folios.last() {
                                assert_filled(&folio.read().unwrap(), *seed);
                            }
                        }
                    }
                }
                for (folio, seed) in &folios {
                    assert_filled(&folio.read().unwrap(), *seed);
                }
            });
        }
    });
    pool.verify().unwrap();
    assert_eq!(current(&top), 0);
    assert!(top.stats().peak_bytes <= 20 * MIB);
}

#[test]
fn what_is_freed_here_is_room_for_others_there() {
    let pool = pool(32 * MIB, 0);
    let parent = { pool.create_group("parent", GroupLimits::new().max(64 * PAGE_SIZE)) }.unwrap();
    let [a, b] = ["a", "b"].map(|name| parent.create_group(name, GroupLimits::new()).unwrap());
    let fill = |group: &Group| {
        let pages = (0..64).map(|_| group.alloc_pages(Order::ZERO, Gfp::NOWAIT).unwrap());
        pages.collect::<Vec<_>>()
    };
    // On two threads, so that what is freed on one is in another's cache, if CPUs are as they may be.
    thread::scope(|scope| {
        for group in [&a, &b, &a, &b] {
            scope.spawn(|| drop(fill(group))).join().unwrap();
            assert_eq!(
                current(&parent),
                0,
                "what waits for the next page is nobody's"
            );
            drop(fill(if std::ptr::eq(group, &a) { &b } else { &a }));
        }
    });
    let blocks = fill(&a);
    assert_eq!(current(&a), 64 * PAGE_SIZE);
    assert!(b.alloc_pages(Order::ZERO, Gfp::NOWAIT).is_err());
    drop(blocks);
    // A group is not held up by what waits for it.
    for group in [a, b, parent] {
        group.delete().unwrap();
    }
    pool.verify().unwrap();
}

#[test]
fn a_group_above_its_limit_gets_nothing_however_often_it_frees_a_page() {
    let pool = pool(32 * MIB, 0);
    let group = pool.create_group("cut", GroupLimits::new()).unwrap();
    let mut blocks: Vec<_> = (0..100)
        .map(|_| group.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap())
        .collect();
    let limits = GroupLimits::new().max(50 * PAGE_SIZE);
    assert!(matches!(
        group.set_limits(limits).unwrap(),
        LimitsOutcome::Above { .. }
    ));
    for _ in 0..50 {
        drop(blocks.pop());
        assert!(group.alloc_pages(Order::ZERO, Gfp::NOWAIT).is_err());
    }
    assert_eq!(current(&group), 50 * PAGE_SIZE);
    drop(blocks.pop());
    assert!(group.alloc_pages(Order::ZERO, Gfp::NOWAIT).is_ok());
}

#[test]
fn a_soft_limit_takes_nothing_that_min_protects() {
    let pool = pool(16 * MIB, 64 * MIB);
    let error = { pool.create_group("wrong", GroupLimits::new().min(2 * MIB).soft_limit(MIB)) };
    assert!(error.unwrap_err().to_string().contains("soft_limit"));
    let limits = GroupLimits::new().min(2 * MIB).soft_limit(2 * MIB);
    let group = pool.create_group("group", limits).unwrap();
    let theirs: Vec<_> = (0..700).map(|seed| filled(&group, seed)).collect();
    let ours: Vec<_> = (0..6000)
        .map(|_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap())
        .collect();
    assert!(resident(&ours) < 6000 * PAGE_SIZE);
    // To a batch: what is taken is looked at 32 pages at a time.
    let left = resident(&theirs);
    assert!(left >= 2 * MIB - 32 * PAGE_SIZE, "{left} are left");
}
