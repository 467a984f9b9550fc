//! What threads do: the same code on real CPUs and on played ones.

#![forbid(unsafe_code)]

use std::hint::black_box;

use crossbeam::queue::ArrayQueue;
use pagepool::{BuildError, Gfp, Order, PagePool, PagesUninit};

use crate::Failure;
use crate::directory::MAX_CPUS;

/// Memory of a pool: enough for every load of every number of threads, clear of all marks. Hardly any is touched.
const POOL_BYTES: usize = 8 << 30;

/// Pages that a thread holds at most, of [`Kind::Held`].
const HELD: usize = 512;

/// Blocks that a thread holds, of [`Kind::Mixed`].
const BLOCKS: usize = 32;

/// Pages handed over at once, and how many such batches are between two threads at most.
const BATCH: usize = 32;
const DEPTH: usize = 4;

/// A thread's part of a load.
pub(crate) trait Worker {
    /// How many operations it takes to get warm.
    fn warm_operations(&self) -> usize;

    /// Does one operation, and returns how many allocations and frees that were. It takes no memory from the heap.
    fn operate(&mut self) -> usize;
}

/// Loads, by what each thread does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It allocates a page and frees it.
    Pair,
    /// It allocates 512 pages, frees them in random order, and so on; threads are at different points of that.
    Held,
    /// It allocates pages for its neighbour, and frees what its other neighbour has allocated, 32 at a time.
    Handover,
    /// It has 32 blocks of orders 0 to 10 alike, frees one and allocates another.
    Mixed,
}

/// A load in a pool of so many nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) nodes: usize,
}

pub(crate) const ALL: [Load; 7] = [
    Load::of(Kind::Pair, 1),
    Load::of(Kind::Held, 1),
    Load::of(Kind::Handover, 1),
    Load::of(Kind::Mixed, 1),
    Load::of(Kind::Held, 4),
    Load::of(Kind::Handover, 4),
    Load::of(Kind::Mixed, 4),
];

impl Load {
    const fn of(kind: Kind, nodes: usize) -> Load {
        Load { kind, nodes }
    }

    pub(crate) fn name(self) -> String {
        let kind = match self.kind {
            Kind::Pair => "pair",
            Kind::Held => "held",
            Kind::Handover => "handover",
            Kind::Mixed => "mixed",
        };
        match self.nodes {
            1 => kind.to_owned(),
            nodes => format!("{kind}/{nodes}-nodes"),
        }
    }

    /// Operations of each of so many threads that are counted: one after the other, they are at all points of what
    /// they do.
    pub(crate) fn counted_operations(self, threads: usize) -> usize {
        let (of_all, least) = match self.kind {
            Kind::Pair => (1024, 16),
            Kind::Held => (4 * HELD, 32),
            Kind::Handover => (16, 1),
            Kind::Mixed => (256, 24),
        };
        (of_all / threads).max(least)
    }

    /// The CPU that a thread is on: of several nodes, each has a thread before one has two.
    pub(crate) fn cpu_of(self, thread: usize) -> usize {
        let of_node = MAX_CPUS / self.nodes;
        thread % self.nodes * of_node + thread / self.nodes
    }

    /// Opens the pool.
    pub(crate) fn open(self) -> Result<PagePool, BuildError> {
        let of_node = MAX_CPUS / self.nodes;
        let cpus = (0..self.nodes).map(|node| (node * of_node..(node + 1) * of_node).collect());
        PagePool::builder()
            .managed(POOL_BYTES)
            .nodes(self.nodes)
            .cpus(cpus.collect())
            .movable_share(0)
            .trim_threshold(POOL_BYTES)
            .daemons(false)
            .build()
    }
}

/// What the threads of a load share.
#[derive(Debug)]
pub(crate) struct Scene {
    kind: Kind,
    threads: usize,
    pool: PagePool,
    rings: Vec<Ring>,
}

/// Pages on their way from one thread to the next, and the vectors on their way back.
#[derive(Debug)]
struct Ring {
    full: ArrayQueue<Vec<PagesUninit>>,
    empty: ArrayQueue<Vec<PagesUninit>>,
}

impl Ring {
    fn new() -> Ring {
        let empty = ArrayQueue::new(DEPTH);
        for _ in 0..DEPTH {
            put(&empty, Vec::with_capacity(BATCH));
        }
        Ring {
            full: ArrayQueue::new(DEPTH),
            empty,
        }
    }
}

fn put(queue: &ArrayQueue<Vec<PagesUninit>>, batch: Vec<PagesUninit>) {
    let put = queue.push(batch);
    assert!(put.is_ok(), "there are no more batches than places");
}

impl Scene {
    pub(crate) fn new(load: Load, threads: usize) -> Result<Scene, BuildError> {
        Ok(Scene {
            kind: load.kind,
            threads,
            pool: load.open()?,
            rings: (0..threads).map(|_| Ring::new()).collect(),
        })
    }

    /// Checks, when all threads have given back what they had, that nothing is missing and all is as it must be.
    pub(crate) fn check(mut self) -> Result<(), Failure> {
        self.rings.clear();
        { self.pool.verify() }.map_err(|violation| Failure::broken(violation.to_string()))?;
        self.pool.drain();
        let stats = self.pool.stats();
        if stats.free_pages == stats.managed_pages {
            return Ok(());
        }
        Err(Failure::broken(format!(
            "{} of {} pages are free after everything was freed and drained",
            stats.free_pages, stats.managed_pages
        )))
    }

    /// A thread's part.
    pub(crate) fn worker(&self, thread: usize) -> Part<'_> {
        let held = match self.kind {
            Kind::Pair | Kind::Handover => 0,
            Kind::Held => HELD,
            Kind::Mixed => BLOCKS,
        };
        Part {
            scene: self,
            thread,
            held: Vec::with_capacity(held),
            is_filling: true,
            rng: fastrand::Rng::with_seed(thread as u64),
        }
    }
}

/// What a thread has at hand.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    scene: &'a Scene,
    thread: usize,
    held: Vec<PagesUninit>,
    is_filling: bool,
    rng: fastrand::Rng,
}

impl Worker for Part<'_> {
    fn warm_operations(&self) -> usize {
        match self.scene.kind {
            Kind::Pair => 4,
            Kind::Held => 2 * HELD + self.thread * 2 * HELD / self.scene.threads,
            Kind::Handover => 2 * DEPTH,
            Kind::Mixed => 4 * BLOCKS,
        }
    }

    fn operate(&mut self) -> usize {
        match self.scene.kind {
            Kind::Pair => self.pair(),
            Kind::Held => self.fill_and_drain(),
            Kind::Handover => self.hand_over(),
            Kind::Mixed => self.replace(),
        }
    }
}

impl Part<'_> {
    #[inline]
    fn take(&self, order: Order) -> PagesUninit {
        match self.scene.pool.alloc_pages_uninit(order, Gfp::KERNEL) {
            Ok(block) => block,
            Err(error) => panic!("the pool has room for a block of {order:?}: {error}"),
        }
    }

    fn pair(&self) -> usize {
        drop(black_box(self.take(Order::ZERO)));
        2
    }

    fn fill_and_drain(&mut self) -> usize {
        if self.is_filling {
            let page = self.take(Order::ZERO);
            self.held.push(page);
            self.is_filling = self.held.len() < HELD;
            return 1;
        }
        let victim = self.rng.usize(0..self.held.len());
        drop(self.held.swap_remove(victim));
        self.is_filling = self.held.is_empty();
        1
    }

    fn hand_over(&self) -> usize {
        let rings = &self.scene.rings;
        let (to, from) = (&rings[self.thread], &rings[(self.thread + 1) % rings.len()]);
        let mut done = 0;
        if let Some(mut batch) = to.empty.pop() {
            for _ in 0..BATCH {
                batch.push(self.take(Order::ZERO));
            }
            put(&to.full, batch);
            done += BATCH;
        }
        if let Some(mut batch) = from.full.pop() {
            batch.clear();
            put(&from.empty, batch);
            done += BATCH;
        }
        if done == 0 {
            // The neighbours are not so far: they are left alone for a while.
            (0..64).for_each(|_| std::hint::spin_loop());
        }
        done
    }

    fn replace(&mut self) -> usize {
        let order = Order::new(self.rng.u8(0..=Order::MAX.get())).expect("drawn in range");
        let has_all = self.held.len() == BLOCKS;
        if has_all {
            let victim = self.rng.usize(0..BLOCKS);
            drop(self.held.swap_remove(victim));
        }
        let block = self.take(order);
        self.held.push(block);
        if has_all { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_thread_before_one_has_two() {
        let load = Load::of(Kind::Held, 4);
        let cpus: Vec<usize> = (0..5).map(|thread| load.cpu_of(thread)).collect();
        assert_eq!(cpus, [0, 16, 32, 48, 1]);
        assert_eq!(load.cpu_of(63), 63);
        assert_eq!(Load::of(Kind::Pair, 1).cpu_of(63), 63);
    }

    #[test]
    fn every_load_gives_back_what_it_takes() {
        for load in ALL {
            let scene = Scene::new(load, 2).unwrap();
            let done: usize = {
                let mut parts = [scene.worker(0), scene.worker(1)];
                let mut operate = || parts.iter_mut().map(Worker::operate).sum::<usize>();
                (0..2 * HELD + 1).map(|_| operate()).sum()
            };
            assert!(done >= 4 * HELD, "{}: {done}", load.name());
            scene.check().unwrap();
        }
    }
}
