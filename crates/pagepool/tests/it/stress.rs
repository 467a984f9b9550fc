//! Real threads on two nodes: still consistent, still alive, nothing lost.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{Gfp, NodeId, NodeMask, PagePool, Pages};

use crate::{assert_marked, mark, order};

const RUN: Duration = Duration::from_secs(2);

/// Numbers that look random, from a seed that is printed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ x >> 27) % n
    }
}

type Marked = (Pages, u8);

#[test]
fn stress_on_two_nodes_loses_nothing() {
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let pool = PagePool::builder()
        .managed(24 << 20)
        .nodes(2)
        .hardened(true)
        .trim_threshold(2 << 20)
        .percpu_pagelist_fraction(64)
        .deadline(Duration::from_millis(2))
        .build()
        .unwrap();
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel()).unzip();
        for (n, inbox) in receivers.into_iter().enumerate() {
            let (pool, next) = (&pool, senders[(n + 1) % 4].clone());
            scope.spawn(move || work(pool, Rng(seed + n as u64), &next, &inbox));
        }
        drop(senders);
        scope.spawn(|| disturb(&pool));
    });
    pool.verify().unwrap();
    pool.drain();
    assert_eq!(pool.stats().free_pages, pool.stats().managed_pages);
    let count = |name| pool.stats().vmstat.get(name).unwrap();
    assert_eq!(count("pgalloc_normal"), count("pgfree"));
    assert!(count("pgfree") > 10_000, "{}", count("pgfree"));
}

/// Allocates, keeps, frees, and hands blocks to the next thread, which frees them.
fn work(
    pool: &PagePool,
    mut rng: Rng,
    next: &mpsc::Sender<Marked>,
    inbox: &mpsc::Receiver<Marked>,
) {
    let start = Instant::now();
    let mut live: Vec<Marked> = vec![];
    while start.elapsed() < RUN {
        for (block, was) in inbox.try_iter() {
            assert_marked(&block, was);
        }
        let free = live.len() > 400 || rng.below(100) < 45;
        if free && !live.is_empty() {
            let (block, was) = live.swap_remove(rng.below(live.len() as u64) as usize);
            assert_marked(&block, was);
            match rng.below(4) {
                0 => drop(next.send((block, was))),
                1 => {
                    let half = order(block.order().get().saturating_sub(1));
                    live.extend(block.split(half).skip(1).map(|part| (part, was)));
                }
                _ => drop(block),
            }
            continue;
        }
        if let Some(mut block) = alloc(pool, &mut rng) {
            let id = rng.below(255) as u8;
            mark(&mut block, id);
            live.push((block, id));
        }
    }
}

fn alloc(pool: &PagePool, rng: &mut Rng) -> Option<Pages> {
    let order = order([0, 0, 0, 0, 1, 2, 3, 4, 6, 9][rng.below(10) as usize]);
    let gfp = [Gfp::KERNEL, Gfp::NOWAIT, Gfp::ATOMIC, Gfp::USER_MOVABLE][rng.below(4) as usize];
    let only = NodeId::new(rng.below(2) as usize)?;
    match rng.below(3) {
        0 => {
            let block = pool
                .request(order, gfp)
                .nodes(NodeMask::only(only))
                .alloc()
                .ok()?;
            assert_eq!(block.node(), only);
            Some(block)
        }
        1 => pool.request(order, gfp).prefer(only).alloc().ok(),
        _ => pool.alloc_pages(order, gfp).ok(),
    }
}

/// Changes everything that may be changed while others work.
fn disturb(pool: &PagePool) {
    let start = Instant::now();
    let mut round = 0u64;
    while start.elapsed() < RUN {
        round += 1;
        let tunables = pool.tunables();
        tunables.set_min_free_kbytes(128 + round % 7 * 100).unwrap();
        let fraction = [0, 8, 64, 1000][round as usize % 4];
        tunables.set_percpu_pagelist_fraction(fraction).unwrap();
        pool.drain();
        pool.trim();
        let stats = pool.stats();
        assert!(stats.free_pages <= stats.managed_pages);
        thread::sleep(Duration::from_millis(1));
    }
}
