//! Every kind of request at random: orders, flags, nodes, bulk calls, splits, frees by others.
//!
//! The memory held swings between a third and all of the player's share, so that the pool is
//! often near its marks and sometimes has to refuse. Some blocks are handed to whichever player
//! takes them next, which then verifies and frees them.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use crossbeam::queue::ArrayQueue;
use pagepool::{Gfp, NodeId, NodeMask, Order, Pages};

use super::{Played, Player, Stage, bag::Bag};
use crate::{
    content::{Depth, Held, Tag},
    control::EVENTS_PER_LOOK,
    rng::Rng,
    tally::{Tally, record},
};

/// How long a blocking request may wait: short, since memory comes and goes all the time.
const DEADLINE: Duration = Duration::from_micros(200);

/// Flags that are asked for, each as often as it stands here.
const KINDS: [Gfp; 12] = [
    Gfp::NOWAIT,
    Gfp::NOWAIT,
    Gfp::ATOMIC,
    Gfp::KERNEL,
    Gfp::KERNEL.union(Gfp::NORETRY),
    Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    Gfp::NOFS.union(Gfp::RETRY_MAYFAIL),
    Gfp::NOIO,
    Gfp::HIGHUSER_MOVABLE,
    Gfp::HIGHUSER_MOVABLE.difference(Gfp::DIRECT_RECLAIM),
    Gfp::TRANSHUGE_LIGHT,
    Gfp::USER.union(Gfp::ZERO),
];

/// One request in so many is of an order drawn evenly from all; the others are of order 0 to 3.
const REQUESTS_PER_LARGE: usize = 128;

/// Blocks in a bulk call.
const BULK: usize = 24;

/// Events in one swing of the memory held.
const SWING: u64 = 100_000;

/// Blocks on their way from one player to another.
pub(crate) type Exchange = Arc<ArrayQueue<Held>>;

/// An exchange with room for a few blocks of each of `players` players.
pub(crate) fn exchange(players: usize) -> Exchange {
    Arc::new(ArrayQueue::new(players * 256))
}

/// A player of random requests.
pub(crate) struct MixedPlayer {
    share_pages: usize,
    held_pages: usize,
    nr_nodes: usize,
    events: u64,
    next: u64,
    seed: u64,
    rng: Rng,
    bag: Bag,
    bulk: Vec<Pages>,
    exchange: Exchange,
    tally: Tally,
}

/// What a player is to play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Pages in the player's share of the pool.
    pub(crate) share_pages: usize,
    pub(crate) nr_nodes: usize,
    pub(crate) events: u64,
}

impl MixedPlayer {
    pub(crate) fn new(load: Load, exchange: Exchange, seed: u64) -> MixedPlayer {
        MixedPlayer {
            share_pages: load.share_pages,
            held_pages: 0,
            nr_nodes: load.nr_nodes,
            events: load.events,
            next: 0,
            seed,
            rng: Rng::new(seed),
            bag: Bag::new(load.share_pages.max(1)),
            bulk: Vec::with_capacity(BULK),
            exchange,
            tally: Tally::new(),
        }
    }

    fn step(&mut self, stage: &Stage) {
        self.next += 1;
        // Three allocations to one free below the target, three frees to one allocation above.
        let grow = match self.held_pages < self.target_pages() {
            true => self.rng.below(4) > 0,
            false => self.rng.below(4) == 0,
        };
        match (grow, self.rng.below(64)) {
            (true, 0) => self.alloc_bulk(stage),
            (true, _) => self.alloc(stage),
            (false, 0) => self.free_bulk(stage),
            (false, 1) => self.split(),
            (false, 2 | 3) => self.hand_over(),
            (false, 4 | 5) => self.take_over(),
            (false, _) => self.free(),
        }
    }

    /// Pages to hold now: a triangle between a third and all of the share.
    fn target_pages(&self) -> usize {
        let phase = (self.next % SWING) as usize * 2;
        let height = phase.min(2 * SWING as usize - phase);
        let least = self.share_pages / 3;
        least + (self.share_pages - least) * height / SWING as usize
    }

    fn alloc(&mut self, stage: &Stage) {
        if self.bag.room() == 0 {
            return;
        }
        let gfp = KINDS[self.rng.below(KINDS.len())];
        let order = self.any_order();
        let mask = self.any_mask();
        let mut request = stage
            .pool
            .request(order, gfp)
            .deadline(DEADLINE)
            .nodes(mask);
        if self.rng.one_in(4) {
            request = request.prefer(self.any_node());
        }
        let begin = std::time::Instant::now();
        let pages = request.alloc_uninit();
        record(&mut self.tally.alloc_ns, begin);
        match pages {
            Ok(pages) => {
                let pages = pages.zeroed();
                self.tally.arrived(&pages, order, Depth::Edges);
                self.check_node(&pages, mask);
                self.keep(pages);
            }
            Err(error) => self.tally.refused(error),
        }
    }

    fn alloc_bulk(&mut self, stage: &Stage) {
        let count = self.bag.room().min(1 + self.rng.below(BULK));
        let gfp = KINDS[self.rng.below(KINDS.len())].difference(Gfp::DIRECT_RECLAIM);
        let mut bulk = std::mem::take(&mut self.bulk);
        let added = stage.pool.alloc_bulk(Order::ZERO, gfp, count, &mut bulk);
        let nr_added = added.unwrap_or_else(|error| {
            self.tally.refused(error);
            0
        });
        if nr_added != bulk.len() || nr_added > count {
            self.tally.violations.add(format_args!(
                "a bulk call for {count} blocks said {nr_added} and brought {}",
                bulk.len()
            ));
        }
        for pages in bulk.drain(..) {
            self.tally.arrived(&pages, Order::ZERO, Depth::Edges);
            self.keep(pages);
        }
        self.bulk = bulk;
    }

    fn free_bulk(&mut self, stage: &Stage) {
        let count = self.bag.len().min(1 + self.rng.below(BULK));
        for _ in 0..count {
            let Some(held) = self.take() else { break };
            self.tally.verified(held.check(Depth::Edges));
            self.tally.ops += 1;
            self.tally.nr_frees += 1;
            self.bulk.push(held.into_pages());
        }
        stage.pool.free_bulk(self.bulk.drain(..));
    }

    fn free(&mut self) {
        if let Some(held) = self.take() {
            self.tally.check_and_free(held, Depth::Edges);
        }
    }

    fn split(&mut self) {
        let Some(held) = self.take() else { return };
        let whole = held.order().get();
        let part = Order::new(whole - self.rng.below(usize::from(whole) + 1) as u8)
            .expect("not above the whole");
        if part == held.order() || self.bag.room() < held.nr_pages() {
            return self.put(held);
        }
        held.split(part).for_each(|part| self.put(part));
        self.tally.ops += 1;
        self.tally.nr_splits += 1;
    }

    /// Leaves a block to another player, or frees it if none has room.
    fn hand_over(&mut self) {
        let Some(held) = self.take() else { return };
        if let Err(held) = self.exchange.push(held) {
            self.tally.check_and_free(held, Depth::Edges);
        }
    }

    /// Verifies and frees a block that another player left.
    fn take_over(&mut self) {
        if let Some(held) = self.exchange.pop() {
            self.tally.check_and_free(held, Depth::Edges);
        }
    }

    fn keep(&mut self, pages: Pages) {
        let tag = Tag::new(self.seed, self.tally.nr_allocs);
        self.put(Held::fill(pages, tag, Depth::Edges));
    }

    fn put(&mut self, held: Held) {
        self.held_pages += held.nr_pages();
        self.bag.push(held);
    }

    fn take(&mut self) -> Option<Held> {
        let held = self.bag.take_any(&mut self.rng)?;
        self.held_pages -= held.nr_pages();
        Some(held)
    }

    fn check_node(&mut self, pages: &Pages, mask: NodeMask) {
        let node = pages.node();
        if !mask.contains(node) {
            let pfn = pages.pfn();
            self.tally
                .violations
                .add(format_args!("{pfn}: from {node:?}, which {mask:?} forbids"));
        }
    }

    fn any_order(&mut self) -> Order {
        let order = match self.rng.below(REQUESTS_PER_LARGE) {
            0 => self.rng.below(usize::from(Order::MAX.get()) + 1),
            1..32 => 1 + self.rng.below(3),
            _ => 0,
        };
        Order::new(order as u8).expect("at most the largest order")
    }

    fn any_node(&mut self) -> NodeId {
        NodeId::new(self.rng.below(self.nr_nodes)).expect("below the number of nodes")
    }

    fn any_mask(&mut self) -> NodeMask {
        match self.rng.one_in(8) {
            true => NodeMask::only(self.any_node()),
            false => NodeMask::ALL,
        }
    }
}

impl Player for MixedPlayer {
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let mut left = events.min(self.events - self.next);
        while left > 0 {
            let burst = left.min(EVENTS_PER_LOOK);
            (0..burst).for_each(|_| self.step(stage));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        match self.next == self.events {
            true => Played::Finished,
            false => Played::Paused,
        }
    }

    fn release(&mut self, _stage: &Stage) {
        while let Some(held) = self.bag.pop() {
            self.tally.check_and_free(held, Depth::Edges);
        }
        self.held_pages = 0;
        while let Some(held) = self.exchange.pop() {
            self.tally.check_and_free(held, Depth::Edges);
        }
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
