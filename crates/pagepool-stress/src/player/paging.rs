//! Touches more folios than there is memory, and knows what each of them must hold.
//!
//! The players share one set of slots. A slot has a folio and the version that was written last; what
//! the bytes must be follows from both, so that a read tells wrong bytes and an older version from the
//! right ones. A slot's lock orders its version and its bytes: readers share it, and so fault the same
//! folio in at the same time.
#![forbid(unsafe_code)]

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Instant,
};

use pagepool::{AccessError, Folio, Gfp, Group, Order};

pub(crate) use super::access::Trust;
use super::{Played, Player, Stage, access::ATTEMPTS};
use crate::{
    content::{Depth, Tag, check_bytes, fill_bytes},
    pattern::Touches,
    posts::Place,
    rng::Rng,
    tally::{Tally, record},
};

/// Touches between two looks at the clock: an access to a slow device may take a second.
const TOUCHES_PER_LOOK: u64 = 16;

/// Reads compare the first and last word of each page; one in so many compares all.
const READS_PER_FULL: usize = 8;

/// How often the last access to a folio is tried.
const LAST_ATTEMPTS: u32 = 20;

/// Writes that go wrong on purpose: a folio that is away may be freed unread, and its plant with it.
const PLANTS: u32 = 16;

/// Versions back in which a lost write is looked for.
const VERSIONS_BACK: u32 = 64;

/// Which orders folios have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orders {
    /// All the same.
    All(Order),
    /// Three in four are single pages, the others up to 64 KiB.
    Mixed,
}

impl Orders {
    fn draw(self, rng: &mut Rng) -> Order {
        let order = match self {
            Orders::All(order) => return order,
            Orders::Mixed => match rng.below(100) {
                0..75 => 0,
                75..85 => 1,
                85..93 => 2,
                93..98 => 3,
                _ => 4,
            },
        };
        Order::new(order).expect("in range")
    }
}

/// A folio and what was written to it last.
struct Slot {
    folio: Option<Folio>,
    /// Goes up with each write; a folio that is made anew goes on counting.
    version: u32,
}

/// The folios of all players.
pub(crate) struct WorkingSet {
    slots: Box<[RwLock<Slot>]>,
    orders: Box<[Order]>,
    seed: u64,
}

impl WorkingSet {
    /// Slots for about `pages` pages, all of their memory touched.
    pub(crate) fn new(pages: u64, orders: Orders, seed: u64) -> WorkingSet {
        let mut rng = Rng::new(seed);
        let mut all = Vec::new();
        let mut left = pages;
        while left > 0 {
            let order = orders.draw(&mut rng);
            left = left.saturating_sub(order.pages() as u64);
            all.push(order);
        }
        let slot = |_: &Order| {
            RwLock::new(Slot {
                folio: None,
                version: 0,
            })
        };
        WorkingSet {
            slots: all.iter().map(slot).collect(),
            orders: all.into_boxed_slice(),
            seed,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Pages of all folios.
    pub(crate) fn pages(&self) -> u64 {
        self.orders.iter().map(|order| order.pages() as u64).sum()
    }

    /// Locks folios in memory, until one cannot be.
    pub(crate) fn lock_all(&self) {
        for n in 0..self.len() {
            if let Some(folio) = &self.share(n).folio
                && folio.lock().is_err()
            {
                // It cannot come to memory: all of that is locked.
                return;
            }
        }
    }

    /// Takes the locks of [`lock_all`](Self::lock_all) off again.
    pub(crate) fn unlock_all(&self) {
        for n in 0..self.len() {
            if let Some(folio) = &self.share(n).folio {
                folio.unlock();
            }
        }
    }

    fn share(&self, n: usize) -> RwLockReadGuard<'_, Slot> {
        // A player that panics is reported; what it held is looked at all the same.
        self.slots[n].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, n: usize) -> RwLockWriteGuard<'_, Slot> {
        self.slots[n]
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, n: usize, version: u32) -> Tag {
        Tag::new(self.seed, (n as u64) << 32 | u64::from(version))
    }

    /// What is wrong with bytes that are not those of `version`, if anything is.
    fn check(&self, bytes: &[u8], n: usize, version: u32, depth: Depth) -> Result<u64, String> {
        let Err(difference) = check_bytes(bytes, self.tag(n, version), depth) else {
            return Ok(bytes.len() as u64 / pagepool::PAGE_SIZE as u64 * depth.bytes());
        };
        let older = (1..=VERSIONS_BACK.min(version)).map(|back| version - back);
        let is_of = |older: &u32| check_bytes(bytes, self.tag(n, *older), Depth::Edges).is_ok();
        Err(if let Some(older) = older.into_iter().find(is_of) {
            format!("lost write: folio {n} reads as version {older}, version {version} was written")
        } else if bytes.iter().all(|byte| *byte == 0) {
            format!("lost contents: folio {n} reads as zeros, version {version} was written")
        } else {
            format!("corruption: folio {n} of version {version}: {difference}")
        })
    }
}

/// Something wrong that is done on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// A write is counted and not done.
    LostWrite,
    /// A bit is changed after a write.
    Flip,
    /// A thread stops for ever.
    Hang,
}

/// What is done to folios.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Of the touches, those that write, as a share of 1.
    pub(crate) write_share: f64,
    /// Of the touches, those that free the folio and allocate another.
    pub(crate) churn_share: f64,
    pub(crate) trust: Trust,
    pub(crate) plant: Option<Plant>,
}

/// One thread's touches.
pub(crate) struct PagingPlayer {
    set: Arc<WorkingSet>,
    habits: Habits,
    touches: Touches,
    /// Number of this player, and of all.
    seat: (usize, usize),
    /// Whose memory the folios are; the pool's if nobody's.
    home: Option<Group>,
    is_filled: bool,
    plants_left: u32,
    rng: Rng,
    tally: Tally,
}

impl PagingPlayer {
    pub(crate) fn new(
        set: Arc<WorkingSet>,
        habits: Habits,
        touches: Touches,
        seat: (usize, usize),
        seed: u64,
    ) -> PagingPlayer {
        PagingPlayer {
            set,
            habits,
            touches,
            seat,
            home: None,
            is_filled: false,
            plants_left: PLANTS,
            rng: Rng::new(seed),
            tally: Tally::new(),
        }
    }

    /// From now on folios are allocated for `group`.
    pub(super) fn settle(&mut self, group: Option<Group>) {
        self.home = group;
    }

    /// The slots that this player fills at first and empties at last.
    fn own_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let (n, of) = self.seat;
        (n..self.set.len()).step_by(of)
    }

    fn fill(&mut self, stage: &Stage) -> Played {
        self.is_filled = true;
        let set = Arc::clone(&self.set);
        for n in self.own_slots() {
            self.stock(stage, &set, n);
            if stage.control.look(1) {
                return Played::Stopped;
            }
        }
        Played::Paused
    }

    fn touch(&mut self, stage: &Stage, set: &WorkingSet) {
        let n = self.touches.next(&mut self.rng);
        self.tally.ops += 1;
        stage.stand(Place::Queueing(n as u32));
        if self.chance(self.habits.churn_share) {
            self.replace(stage, set, n);
        } else if self.chance(self.habits.write_share) {
            self.write(stage, set, n);
        } else {
            self.read(stage, set, n);
        }
        stage.step();
    }

    fn chance(&mut self, share: f64) -> bool {
        ((self.rng.next() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    fn depth(&mut self) -> Depth {
        match self.rng.one_in(READS_PER_FULL) {
            true => Depth::Full,
            false => Depth::Edges,
        }
    }

    fn read(&mut self, stage: &Stage, set: &WorkingSet, n: usize) {
        let depth = self.depth();
        let slot = set.share(n);
        let Some(folio) = &slot.folio else {
            drop(slot);
            return self.stock(stage, set, n);
        };
        stage.stand(Place::Reading(n as u32));
        let version = slot.version;
        let trust = self.habits.trust;
        let read = self
            .tally
            .read_folio(folio, ATTEMPTS, trust, |tally, bytes| {
                tally.verified(set.check(bytes, n, version, depth));
            });
        drop(slot);
        if read == Err(AccessError::Corrupt) {
            self.remake(stage, set, n, version);
        }
    }

    fn write(&mut self, stage: &Stage, set: &WorkingSet, n: usize) {
        let depth = self.depth();
        let mut guard = set.take(n);
        let slot = &mut *guard;
        let Some(folio) = &mut slot.folio else {
            drop(guard);
            return self.stock(stage, set, n);
        };
        stage.stand(Place::Writing(n as u32));
        let version = slot.version;
        let next = set.tag(n, version + 1);
        let planted = self.planted();
        let trust = self.habits.trust;
        let written = self
            .tally
            .write_folio(folio, ATTEMPTS, trust, |tally, bytes| {
                tally.verified(set.check(bytes, n, version, depth));
                if planted != Some(Plant::LostWrite) {
                    fill_bytes(bytes, next, Depth::Full);
                }
                if planted == Some(Plant::Flip) {
                    bytes[0] ^= 1;
                }
            });
        match written {
            Ok(()) => slot.version += 1,
            Err(AccessError::Corrupt) => {
                drop(guard);
                self.remake(stage, set, n, version);
            }
            Err(_) => {}
        }
    }

    /// What goes wrong this time; a thread that is to hang does so here.
    fn planted(&mut self) -> Option<Plant> {
        let planted = self.habits.plant.filter(|_| self.seat.0 == 0)?;
        if planted == Plant::Hang {
            loop {
                thread::park();
            }
        }
        self.plants_left = self.plants_left.checked_sub(1)?;
        Some(planted)
    }

    /// Frees a folio and allocates another in its place. One that is away goes without being read.
    fn replace(&mut self, stage: &Stage, set: &WorkingSet, n: usize) {
        let depth = self.depth();
        let mut slot = set.take(n);
        stage.stand(Place::Freeing(n as u32));
        if let Some(folio) = slot.folio.take() {
            if let Ok(bytes) = folio.try_read() {
                self.tally
                    .verified(set.check(&bytes, n, slot.version, depth));
            }
            self.free(folio);
        }
        self.allocate(stage, set, n, &mut slot);
    }

    fn free(&mut self, folio: Folio) {
        let begin = Instant::now();
        drop(folio);
        record(&mut self.tally.free_ns, begin);
        self.tally.nr_frees += 1;
    }

    /// Gives up what cannot be read back, as the error says, and makes other contents.
    fn remake(&mut self, stage: &Stage, set: &WorkingSet, n: usize, version: u32) {
        let mut slot = set.take(n);
        // Somebody else may have seen to it meanwhile.
        if slot.version == version
            && let Some(folio) = slot.folio.take()
        {
            self.tally.nr_remade += 1;
            self.free(folio);
            self.allocate(stage, set, n, &mut slot);
        }
    }

    /// Gives a slot a folio if it has none.
    fn stock(&mut self, stage: &Stage, set: &WorkingSet, n: usize) {
        let mut slot = set.take(n);
        if slot.folio.is_none() {
            self.allocate(stage, set, n, &mut slot);
        }
        stage.step();
    }

    fn allocate(&mut self, stage: &Stage, set: &WorkingSet, n: usize, slot: &mut Slot) {
        stage.stand(Place::Allocating(n as u32));
        let len = set.orders[n].bytes();
        let begin = Instant::now();
        let folio = match &self.home {
            Some(group) => group.alloc_folio(len, Gfp::USER_MOVABLE),
            None => stage.pool.alloc_folio(len, Gfp::USER_MOVABLE),
        };
        record(&mut self.tally.alloc_ns, begin);
        let mut folio = match folio {
            Ok(folio) => folio,
            Err(error) => return self.tally.refused(error),
        };
        self.tally.nr_allocs += 1;
        let tag = set.tag(n, slot.version + 1);
        let trust = self.habits.trust;
        let written = self
            .tally
            .write_folio(&mut folio, ATTEMPTS, trust, |tally, bytes| {
                if bytes.iter().any(|byte| *byte != 0) {
                    tally.violations.add(format_args!(
                        "folio {n} was not zeros when it was allocated"
                    ));
                }
                fill_bytes(bytes, tag, Depth::Full);
            });
        if written.is_ok() {
            slot.version += 1;
            slot.folio = Some(folio);
        } else {
            self.free(folio);
        }
    }

    /// Reads a folio for the last time, all of it, and frees it.
    fn retire(&mut self, stage: &Stage, set: &WorkingSet, n: usize) {
        let mut slot = set.take(n);
        let Some(folio) = slot.folio.take() else {
            return;
        };
        stage.stand(Place::Reading(n as u32));
        let (version, trust) = (slot.version, self.habits.trust);
        let read = self
            .tally
            .read_folio(&folio, LAST_ATTEMPTS, trust, |tally, bytes| {
                tally.verified(set.check(bytes, n, version, Depth::Full));
            });
        if read.is_err() {
            self.tally.nr_remade += 1;
        }
        stage.stand(Place::Freeing(n as u32));
        self.free(folio);
        stage.step();
    }
}

impl Player for PagingPlayer {
    /// The first call fills the set, whatever the number of events.
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        if !self.is_filled {
            return self.fill(stage);
        }
        let set = Arc::clone(&self.set);
        let mut left = events;
        while left > 0 {
            let burst = left.min(TOUCHES_PER_LOOK);
            (0..burst).for_each(|_| self.touch(stage, &set));
            left -= burst;
            if stage.control.look(burst) {
                return Played::Stopped;
            }
        }
        Played::Paused
    }

    fn release(&mut self, stage: &Stage) {
        let set = Arc::clone(&self.set);
        self.own_slots().for_each(|n| self.retire(stage, &set, n));
    }

    fn rewind(&mut self) {
        self.is_filled = false;
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> WorkingSet {
        WorkingSet::new(4, Orders::All(Order::ZERO), 7)
    }

    fn page(set: &WorkingSet, n: usize, version: u32) -> Vec<u8> {
        let mut bytes = vec![0; pagepool::PAGE_SIZE];
        fill_bytes(&mut bytes, set.tag(n, version), Depth::Full);
        bytes
    }

    #[test]
    fn the_checker_tells_a_lost_write_lost_contents_and_corruption() {
        let set = set();
        let check = |bytes: &[u8]| set.check(bytes, 2, 9, Depth::Full);
        assert_eq!(check(&page(&set, 2, 9)), Ok(4096));
        let lost = check(&page(&set, 2, 8)).unwrap_err();
        assert!(
            lost.starts_with("lost write: folio 2 reads as version 8"),
            "{lost}"
        );
        let lost = check(&[0; 4096]).unwrap_err();
        assert!(lost.starts_with("lost contents"), "{lost}");
        let other = check(&page(&set, 1, 9)).unwrap_err();
        assert!(
            other.starts_with("corruption: folio 2 of version 9"),
            "{other}"
        );
        let mut flipped = page(&set, 2, 9);
        flipped[1000] ^= 1;
        assert!(check(&flipped).unwrap_err().contains("byte 1000"));
    }

    #[test]
    fn a_mixed_set_has_the_pages_it_was_asked_for() {
        let set = WorkingSet::new(10_000, Orders::Mixed, 1);
        assert!((10_000..10_016).contains(&set.pages()));
        assert!(set.orders.iter().any(|order| order.get() == 4));
    }
}
