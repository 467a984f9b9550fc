//! A handful of free pages for each thread, in front of the per-CPU caches.
//!
//! *Kernel counterpart:* none. In v5.0 a CPU takes pages from its `per_cpu_pages` with interrupts off, which
//! costs next to nothing; a thread of a process cannot do that, and the lock of a per-CPU slot costs it more than
//! all the rest. So each thread has a *magazine* (Bonwick and Adams, 2001) of a few single pages, which it uses
//! without a lock and without a locked instruction, and which it exchanges with the cache of its CPU by halves.
//!
//! **The hand-over.** A magazine belongs to a thread, but whoever drains the zone must get at it, whatever that
//! thread does or does not do. So its owner says before each use that it is *busy*, and looks whether the
//! magazine is *revoked*; whoever drains says that it is revoked, and looks whether its owner is busy. Of the
//! two, at least one sees the other; the barrier that this takes is [`asym`]'s, all of it paid by who drains:
//!
//! ```text
//!   owner                           who drains
//!   busy = 1                        revoked = 1
//!   light barrier ◄───── G2 ──────► heavy barrier
//!   revoked? ─► the slow way        busy? ─► a few more looks; then left revoked: its owner sees to it
//!   pop or push                     takes everything
//!   busy = 0                        empties the caches of the CPUs
//!   light barrier ◄───── G3 ──────► (the same heavy one)
//!   revoked? ─► empties it itself   revoked = 0
//! ```
//!
//! What moves between a magazine and the [depot](super::depot) or the cache of a CPU moves under that one's lock. So
//! a drain, which takes from the magazines, then from the depots and the caches, and keeps the magazines revoked
//! meanwhile, misses nothing that is on its way: only what a thread has that was stopped between `busy = 1` and
//! `busy = 0`, a page or a few.
//!
//! Beside them lies one block of several pages of each [kind](super::kind), which is put there and taken from there
//! the same way, and exchanged with nobody. As in the caches of CPUs, it is kept only if its pageblock is at least as
//! full as the one that such a block last came from: others had better become whole.
//!
//! **Watched.** While a pool is recorded, its magazines are *watched*: the word that says whether one is revoked says
//! so, too, so that the shortest path, which takes no magazine of which anything is said, has nothing more to test.
//! Its slow end opens a watched one all the same, and notes the page that passes.
//!
//! **Invariants**
//! - G1: a slot has one owner at a time, and only its owner opens it.
//! - G2: nobody takes a magazine's frames while its owner is busy with it.
//! - G3: what an owner has pushed, either the next drain finds, or its owner finds out that it is revoked.
//! - G4: the state of a frame in a magazine says that it is cached, at order 0 or that of the block that it heads.
//! - G5: all who take frames from magazines of a zone hold its `keeper`, and so does who revokes; only owners of
//!   opened ones do not.
//!
//! **Locking:** the keeper's lock is taken before a depot's, that before a cache's, and that before a zone's. It is held for a
//! whole drain: a heavy barrier, which takes microseconds, and emptying the caches. An owner who finds his magazine
//! revoked waits for that, as he would for the zone's lock.
//!
//! Not here: which thread has which magazine (`alloc::at_hand`), and what a page in it must not be there for: a
//! waiter, an isolated pageblock ([`put`](super::put)).

#![forbid(unsafe_code)]

use arrayvec::ArrayVec;
use crossbeam::utils::CachePadded;

use super::depots::Depots;
use super::kind::{Kind, NR_KINDS, NR_TYPES};
use super::pcp::{RETURN_BATCH, Returned};
use crate::arena::ZeroedTable;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::sync::fence::{mutated, ordering_at};
use crate::sync::{CoreMutex, Rank, asym, thread};
use crate::types::{Order, Pfn};

/// Frames of a type that a magazine can hold.
pub(crate) const MAX_DEPTH: usize = if cfg!(loom) { 2 } else { 16 };

const _: () = assert!(MAX_DEPTH * NR_TYPES + NR_KINDS <= RETURN_BATCH);

/// Looks at a busy magazine, with others let run between, before it is left to its owner.
const LOOKS: usize = if cfg!(loom) { 1 } else { 64 };

/// Half of them: what is exchanged at once.
pub(crate) type Half = ArrayVec<Pfn, { MAX_DEPTH / 2 }>;

/// A zone has a magazine for so many of its pages, and at most this many: what lies in them all, but for whole
/// pageblocks, is no more than a seventeenth of the zone.
const PAGES_PER_SLOT: usize = 1024;
const MAX_SLOTS: usize = 256;

/// What may be said of a magazine.
mod said {
    /// Somebody drains it: its owner keeps off.
    pub(super) const REVOKED: u8 = 1;
    /// What passes through it is noted.
    pub(super) const WATCHED: u8 = 2;
}

/// Which magazines their owner opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opens {
    /// Those of which nothing is said.
    Unwatched,
    /// Those that are not revoked.
    Any,
}

/// Pages that one may hold, but for a whole pageblock: single ones, and one block of each kind.
#[cfg(not(loom))]
const MOST_PAGES: usize = NR_TYPES * (MAX_DEPTH + 2 + 4 + 8);
#[cfg(not(loom))]
const _: () = assert!(17 * MOST_PAGES <= PAGES_PER_SLOT);

/// A thread's own pages, by type. In zero bytes it is an empty one that nothing is said of (said to be so in
/// `pool/at_hand`, where there may be unsafe code): whoever adds a field looks there.
#[derive(Debug, Default)]
pub(crate) struct Magazine {
    busy: AtomicBool,
    /// A set of [`said`]; written under the keeper's lock.
    said: AtomicU8,
    counts: [AtomicU32; NR_TYPES],
    /// By kind, the first frame of a block, plus one; or 0.
    blocks: [AtomicU32; NR_KINDS],
    /// By kind, how full the pageblock is to be, at the least, whose block is kept.
    levels: [AtomicU8; NR_KINDS],
    frames: [[AtomicU32; MAX_DEPTH]; NR_TYPES],
    /// Single pages that were handed out, and taken back.
    allocated: AtomicU64,
    freed: AtomicU64,
    /// Blocks that were handed out, and their pages.
    blocks_allocated: AtomicU64,
    block_pages_allocated: AtomicU64,
    /// Pages of blocks that were taken back.
    block_pages_freed: AtomicU64,
}

/// A magazine in the hands of its owner.
#[derive(Debug)]
#[must_use = "the magazine stays busy until it is closed"]
pub(crate) struct Open<'a> {
    magazine: &'a Magazine,
}

impl Magazine {
    /// Opens the magazine for its owner (G1), unless something is said of it that is in the way.
    #[inline(always)]
    pub(super) fn open(&self, opens: Opens) -> Option<Open<'_>> {
        let in_the_way = match opens {
            Opens::Unwatched => u8::MAX,
            Opens::Any => said::REVOKED,
        };
        // Relaxed: the barrier orders it before the look; pairs with the heavy one in `collect` (G2).
        self.busy.store(true, Ordering::Relaxed);
        asym::light("magazine.open");
        // Acquire: pairs with the Release in `Magazines::take_all`, so that the counts are those of after.
        let said = { &self.said }.load(ordering_at("magazine.see_open", Ordering::Acquire));
        if said & in_the_way != 0 {
            // Release: as in `close`. What was done before this look is to be seen by who sees this.
            self.busy.store(false, Ordering::Release);
            return None;
        }
        Some(Open { magazine: self })
    }

    /// Whether its owner is busy with it, if that does not pass within a few moments: he may have been stopped in
    /// the middle. It is revoked: nobody is who was not before.
    fn stays_busy(&self) -> bool {
        for look in 0..LOOKS {
            if look > 0 {
                thread::yield_now();
            }
            // Acquire: pairs with the Release in `close`.
            let order = ordering_at("magazine.see_close", Ordering::Acquire);
            if !self.busy.load(order) || mutated("magazine.busy") {
                return false;
            }
        }
        true
    }

    /// Sets how full a pageblock is to be, at the least, for a block of it to be kept. For its owner alone.
    pub(super) fn set_level(&self, kind: Kind, fullness: u8) {
        if let Some(level) = self.levels.get(kind.idx()) {
            // Relaxed: only its owner looks.
            level.store(fullness, Ordering::Relaxed);
        }
    }

    /// Whether its uses are to be noted.
    pub(crate) fn is_watched(&self) -> bool {
        // Relaxed: a hint; whether anything is noted says the recorder.
        self.said.load(Ordering::Relaxed) & said::WATCHED != 0
    }

    /// Whether it is revoked, once its owner has let it go: if it could not be [opened](Self::open), that is why, or it
    /// is watched. Revoked by somebody who found it busy, it stays so until its owner empties it.
    pub(crate) fn is_revoked(&self) -> bool {
        asym::light("magazine.look_again");
        // Relaxed: as in `close`.
        self.said.load(Ordering::Relaxed) & said::REVOKED != 0
    }

    /// Whether it is revoked, by somebody who said so before he gave back a lock that the caller holds now.
    pub(super) fn is_known_to_be_revoked(&self) -> bool {
        // Relaxed: the lock orders it.
        self.said.load(Ordering::Relaxed) & said::REVOKED != 0
    }

    /// Says something else of it. The caller holds the keeper.
    fn say(&self, said: u8) {
        // Release: who took the frames out is done with that. Pairs with the Acquire in `open`.
        let order = ordering_at("magazine.reopen", Ordering::Release);
        self.said.store(said, order);
    }

    /// Takes every frame out. The caller holds the keeper, and nobody is busy with it.
    fn take_all(&self, sink: &mut dyn FnMut(Pfn, Order)) {
        self.each(sink);
        // Relaxed: the owner is not busy, which was seen with Acquire.
        let words = self.counts.iter().chain(&self.blocks);
        words.for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Calls `look` with the first frame of all that is in it, and its order. Exact when nobody uses it.
    fn each(&self, look: &mut dyn FnMut(Pfn, Order)) {
        // Relaxed: as said.
        for (count, frames) in self.counts.iter().zip(&self.frames) {
            let nr = count.load(Ordering::Relaxed) as usize;
            for frame in &frames[..nr.min(MAX_DEPTH)] {
                look(Pfn::from_raw(frame.load(Ordering::Relaxed)), Order::ZERO);
            }
        }
        for (kind, block) in Kind::all().zip(&self.blocks) {
            if let Some(pfn) = block.load(Ordering::Relaxed).checked_sub(1) {
                look(Pfn::from_raw(pfn), kind.order());
            }
        }
    }

    /// How many single pages of a type it holds. Exact for its owner, unless it is being drained.
    pub(super) fn holds(&self, column: usize) -> usize {
        let count = self.counts.get(column);
        // Relaxed: a hint.
        count.map_or(0, |count| count.load(Ordering::Relaxed) as usize)
    }

    fn pages(&self) -> usize {
        let mut pages = 0;
        self.each(&mut |_, order| pages += order.pages());
        pages
    }
}

// Relaxed throughout: while the magazine is open, it is its owner's alone (G1, G2).
impl Open<'_> {
    /// Takes the page that was put in last.
    #[inline]
    pub(crate) fn pop(&self, column: usize) -> Option<Pfn> {
        let count = &self.magazine.counts[column];
        let left = count.load(Ordering::Relaxed).checked_sub(1)?;
        let frame = self.magazine.frames[column].get(left as usize)?;
        count.store(left, Ordering::Relaxed);
        Some(Pfn::from_raw(frame.load(Ordering::Relaxed)))
    }

    /// Puts a page in; false if there is no room below `depth`.
    #[inline]
    pub(crate) fn push(&self, column: usize, pfn: Pfn, depth: usize) -> bool {
        let count = &self.magazine.counts[column];
        let nr = count.load(Ordering::Relaxed) as usize;
        if nr >= depth {
            return false;
        }
        let frame = self.magazine.frames[column].get(nr);
        let Some(frame) = frame else { return false };
        frame.store(pfn.get(), Ordering::Relaxed);
        count.store(nr as u32 + 1, Ordering::Relaxed);
        true
    }

    /// Puts pages in, the first ones first, as far as there is room below `depth`; returns how many. Their states say
    /// already that they are cached (G4).
    #[inline]
    pub(super) fn push_some(&self, column: usize, pages: &[Pfn], depth: usize) -> usize {
        let (count, frames) = (&self.magazine.counts[column], &self.magazine.frames[column]);
        let held = count.load(Ordering::Relaxed) as usize;
        let room = frames.get(held..depth.min(MAX_DEPTH)).unwrap_or_default();
        for (frame, pfn) in room.iter().zip(pages) {
            frame.store(pfn.get(), Ordering::Relaxed);
        }
        let pushed = room.len().min(pages.len());
        count.store((held + pushed) as u32, Ordering::Relaxed);
        pushed
    }

    /// How full a pageblock is to be, at the least, for a block of it to be kept.
    #[inline]
    pub(super) fn level(&self, kind: Kind) -> u8 {
        let level = self.magazine.levels.get(kind.idx());
        level.map_or(u8::MAX, |level| level.load(Ordering::Relaxed))
    }

    /// Takes the block of a kind.
    #[inline]
    pub(super) fn pop_block(&self, kind: Kind) -> Option<Pfn> {
        let block = self.magazine.blocks.get(kind.idx())?;
        let pfn = block.load(Ordering::Relaxed).checked_sub(1)?;
        block.store(0, Ordering::Relaxed);
        Some(Pfn::from_raw(pfn))
    }

    /// Puts a block of a kind in; false if there is one.
    #[inline]
    pub(super) fn push_block(&self, kind: Kind, pfn: Pfn) -> bool {
        let block = self.magazine.blocks.get(kind.idx());
        let Some(block) = block.filter(|block| block.load(Ordering::Relaxed) == 0) else {
            return false;
        };
        // The first frame of a block is an even one.
        block.store(pfn.get() + 1, Ordering::Relaxed);
        true
    }

    /// Takes the half out that was put in first.
    pub(crate) fn take_half(&self, column: usize) -> Half {
        let (count, frames) = (&self.magazine.counts[column], &self.magazine.frames[column]);
        let nr = count.load(Ordering::Relaxed) as usize;
        let frame = |at: usize| frames[at].load(Ordering::Relaxed);
        let half = nr.div_ceil(2);
        let taken = (0..half).map(|at| Pfn::from_raw(frame(at))).collect();
        for at in half..nr {
            frames[at - half].store(frame(at), Ordering::Relaxed);
        }
        count.store((nr - half) as u32, Ordering::Relaxed);
        taken
    }

    /// Counts a page handed out.
    #[inline]
    pub(crate) fn count_allocated(&self) {
        add(&self.magazine.allocated, 1);
    }

    /// Counts a page taken back.
    #[inline]
    pub(crate) fn count_freed(&self) {
        add(&self.magazine.freed, 1);
    }

    /// Counts a block handed out.
    #[inline]
    pub(super) fn count_block_allocated(&self, order: Order) {
        add(&self.magazine.blocks_allocated, 1);
        add(&self.magazine.block_pages_allocated, order.pages() as u64);
    }

    /// Counts a block taken back.
    #[inline]
    pub(super) fn count_block_freed(&self, order: Order) {
        add(&self.magazine.block_pages_freed, order.pages() as u64);
    }

    /// Lets it go. Returns whether it was revoked meanwhile: then its owner has to
    /// [empty](Magazines::take_own) it.
    #[inline]
    pub(crate) fn close(self) -> bool {
        let Magazine { busy, said, .. } = self.magazine;
        // Release: who drains and sees it, with Acquire, sees what was done.
        busy.store(false, ordering_at("magazine.close", Ordering::Release));
        asym::light("magazine.look_again");
        // Relaxed: `take_own` takes the keeper's lock.
        let is_revoked = said.load(Ordering::Relaxed) & said::REVOKED != 0;
        is_revoked && !mutated("magazine.empty_own")
    }
}

/// Adds to a count of which the caller is the only writer.
#[inline]
fn add(count: &AtomicU64, more: u64) {
    // Relaxed: a count by itself.
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// Under the keeper's lock.
#[derive(Debug, Default)]
struct Keeper {
    /// A bit for each slot that has an owner.
    taken: [u64; MAX_SLOTS / 64],
    /// Slots that ever had one.
    used: usize,
    /// All stay revoked from now on.
    ended: bool,
    /// What passes through them is noted.
    watched: bool,
}

impl Keeper {
    /// What is said of a magazine.
    fn said(&self, is_revoked: bool) -> u8 {
        let of = |is_said, what| if is_said { what } else { 0 };
        of(is_revoked, said::REVOKED) | of(self.watched, said::WATCHED)
    }
}

/// The magazines in front of one zone. Shared with the threads that have one, which may end after the zone.
#[derive(Debug)]
pub(crate) struct Magazines {
    /// All zero at first: memory stands behind those only that were used.
    slots: ZeroedTable<CachePadded<Magazine>>,
    depth: AtomicU32,
    /// Of these, the first ones keep whole pageblocks as well.
    wholes: AtomicU32,
    keeper: CoreMutex<Keeper>,
    depots: Depots,
}

/// What passed through the magazines, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MagazineEvents {
    /// Times that something was handed out.
    pub(crate) hits: u64,
    /// Handed out.
    pub(crate) allocated: u64,
    /// Taken back.
    pub(crate) freed: u64,
    /// Left by one thread to another.
    pub(crate) exchanged: u64,
}

impl Magazines {
    /// How many there are in front of a zone of `pages`.
    const fn planned(pages: usize) -> usize {
        let slots = pages / PAGES_PER_SLOT;
        if slots < MAX_SLOTS { slots } else { MAX_SLOTS }
    }

    /// Bytes that those of a zone of `pages` take at most.
    pub(crate) fn estimate(pages: usize, nr_cpus: usize) -> usize {
        let slots = Magazines::planned(pages);
        Magazines::bytes_of(slots, Depots::planned(slots, nr_cpus))
    }

    /// Bytes that these take.
    pub(crate) fn bytes(&self) -> usize {
        Magazines::bytes_of(self.slots.len(), self.depots.nr())
    }

    fn bytes_of(slots: usize, depots: usize) -> usize {
        ZeroedTable::<CachePadded<Magazine>>::bytes_for(slots)
            + Depots::bytes_of(depots)
            + size_of::<Magazines>()
    }

    /// Makes those of a zone of `pages`, empty and switched off; none, where they cannot be drained. A model has
    /// none unless it [asks](Self::of) for them.
    pub(crate) fn new(pages: usize, nr_cpus: usize) -> Result<Magazines, BuildError> {
        let is_supported = asym::is_supported() && !cfg!(loom);
        let slots = if is_supported {
            Magazines::planned(pages)
        } else {
            0
        };
        Magazines::of(slots, Depots::planned(slots, nr_cpus))
    }

    /// Makes so many, with so many depots.
    pub(crate) fn of(slots: usize, depots: usize) -> Result<Magazines, BuildError> {
        Ok(Magazines {
            slots: ZeroedTable::new(slots, "magazines")?,
            keeper: CoreMutex::ranked(Rank::Magazines, Keeper::default()),
            depots: Depots::new(depots, slots),
            depth: AtomicU32::new(0),
            wholes: AtomicU32::new(0),
        })
    }

    /// Sets how many of them keep whole pageblocks from now on.
    pub(crate) fn set_wholes(&self, slots: usize) {
        // Relaxed: a number by itself.
        self.wholes
            .store(slots.min(MAX_SLOTS) as u32, Ordering::Relaxed);
    }

    /// Whether the magazine in a slot keeps blocks of this kind.
    #[inline]
    pub(super) fn keeps(&self, slot: usize, kind: Kind) -> bool {
        // Relaxed: as in `set_wholes`.
        self.depth() > 0
            && (!kind.is_whole() || slot < self.wholes.load(Ordering::Relaxed) as usize)
    }

    /// Sets how many pages of a type each may hold from now on; 0 switches them off. Those that hold more keep it
    /// until they are used or drained.
    pub(crate) fn set_depth(&self, depth: usize) {
        // Relaxed: a number by itself.
        self.depth
            .store(depth.min(MAX_DEPTH) as u32, Ordering::Relaxed);
    }

    /// How many pages of a type each may hold.
    #[inline]
    pub(crate) fn depth(&self) -> usize {
        // Relaxed: as in `set_depth`.
        self.depth.load(Ordering::Relaxed) as usize
    }

    /// The magazine in a slot that somebody has.
    pub(super) fn at(&self, slot: usize) -> &Magazine {
        &self.slots[slot]
    }

    /// The magazine in a slot.
    pub(crate) fn slot(&self, slot: usize) -> Option<&Magazine> {
        self.slots.get(slot).map(|magazine| &**magazine)
    }

    /// The depots behind them.
    pub(super) fn depots(&self) -> &Depots {
        &self.depots
    }

    /// Has what passes through them noted, or not any more. Who uses one after this sees it.
    pub(crate) fn watch(&self, watched: bool) {
        let mut keeper = self.keeper.lock();
        keeper.watched = watched;
        for magazine in self.slots.iter() {
            // Relaxed: it is written under the keeper's lock alone.
            let is_revoked = magazine.said.load(Ordering::Relaxed) & said::REVOKED != 0;
            magazine.say(keeper.said(is_revoked));
        }
    }

    /// How many there are.
    pub(crate) fn nr_slots(&self) -> usize {
        self.slots.len()
    }

    /// How many have an owner.
    pub(crate) fn nr_taken(&self) -> usize {
        let keeper = self.keeper.lock();
        let taken = keeper.taken.iter();
        taken.map(|word| word.count_ones() as usize).sum()
    }

    /// Gives a slot to a thread that has none, if one is left. What is in it comes with it.
    pub(crate) fn claim(&self) -> Option<usize> {
        let mut keeper = self.keeper.lock();
        let free = |slot: &usize| keeper.taken[slot / 64] >> (slot % 64) & 1 == 0;
        let slot = (0..self.slots.len()).find(free).filter(|_| !keeper.ended)?;
        keeper.taken[slot / 64] |= 1 << (slot % 64);
        keeper.used = keeper.used.max(slot + 1);
        Some(slot)
    }

    /// Takes a slot back from a thread that does not use it any more. What is in it stays.
    pub(crate) fn release(&self, slot: usize) {
        let mut keeper = self.keeper.lock();
        keeper.taken[slot / 64] &= !(1 << (slot % 64));
    }

    /// Takes every frame out of all of them, and has `rest` done before they are used again. What is pushed into
    /// one by somebody who is busy with it all the time, that one gives back himself.
    pub(crate) fn collect(&self, sink: &mut dyn FnMut(Pfn, Order), rest: impl FnOnce()) {
        if self.slots.is_empty() {
            return rest();
        }
        let keeper = self.keeper.lock();
        self.collect_locked(&keeper, sink, rest);
    }

    /// The same, and nothing goes into them any more.
    pub(crate) fn end(&self, sink: &mut dyn FnMut(Pfn, Order), rest: impl FnOnce()) {
        let mut keeper = self.keeper.lock();
        keeper.ended = true;
        self.collect_locked(&keeper, sink, rest);
    }

    fn collect_locked(
        &self,
        keeper: &Keeper,
        sink: &mut dyn FnMut(Pfn, Order),
        rest: impl FnOnce(),
    ) {
        let used = &self.slots[..keeper.used];
        if used.is_empty() {
            return rest();
        }
        if mutated("depot.while_revoked") {
            self.depots.empty(&mut |pfn| sink(pfn, Order::ZERO));
        }
        let is_revoked = self.revoke(keeper, used);
        let mut is_left = [true; MAX_SLOTS];
        if is_revoked {
            for (magazine, is_left) in used.iter().zip(&mut is_left) {
                *is_left = magazine.stays_busy();
                if !*is_left {
                    magazine.take_all(sink);
                }
            }
        }
        if !mutated("depot.while_revoked") {
            // Not before they are revoked (D2).
            self.depots.empty(&mut |pfn| sink(pfn, Order::ZERO));
        }
        rest();
        let mine = used.iter().zip(is_left).filter(|(_, is_left)| !is_left);
        mine.for_each(|(magazine, _)| reopen(keeper, magazine));
    }

    /// Says that these are revoked, to all who use one from now on. If the system refuses, they stay so, and
    /// nothing goes into any: their owners empty them.
    fn revoke(&self, keeper: &Keeper, used: &[CachePadded<Magazine>]) -> bool {
        for magazine in used {
            // Relaxed: the barrier orders it before the looks that follow.
            magazine.said.store(keeper.said(true), Ordering::Relaxed);
        }
        // Pairs with the light ones of the owners (G2, G3).
        let is_said = asym::heavy("magazine.revoke");
        if !is_said {
            self.set_depth(0);
        }
        is_said
    }

    /// Takes every frame out of the calling thread's own, which was revoked while it was busy with it.
    pub(crate) fn take_own(&self, slot: usize) -> Returned {
        let mut pages = Returned::new();
        let keeper = self.keeper.lock();
        let mut sink = |pfn, order| pages.push((pfn, order));
        self.slots[slot].take_all(&mut sink);
        reopen(&keeper, &self.slots[slot]);
        pages
    }

    /// Pages in all of them and in the depots; exact when nobody uses any.
    pub(crate) fn pages(&self) -> usize {
        let in_threads: usize = self.slots.iter().map(|magazine| magazine.pages()).sum();
        let mut in_depots = 0;
        self.depots.each_frame(&mut |_| in_depots += 1);
        in_threads + in_depots
    }

    /// What passed through them; exact when nobody uses any.
    pub(crate) fn events(&self) -> MagazineEvents {
        let mut sum = MagazineEvents::default();
        for magazine in self.slots.iter() {
            // Relaxed: counts by themselves.
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let pages = count(&magazine.allocated);
            sum.hits += pages + count(&magazine.blocks_allocated);
            sum.allocated += pages + count(&magazine.block_pages_allocated);
            sum.freed += count(&magazine.freed) + count(&magazine.block_pages_freed);
        }
        sum.exchanged = self.depots.exchanged();
        sum
    }

    /// Calls `look` with the first frame of all that is in them and in the depots, and its order. Nobody uses any
    /// meanwhile.
    pub(crate) fn each_frame(&self, mut look: impl FnMut(Pfn, Order)) {
        self.depots.each_frame(&mut |pfn| look(pfn, Order::ZERO));
        for magazine in self.slots.iter() {
            magazine.each(&mut look);
        }
    }
}

/// Lets the owner of an empty magazine use it again, unless that is over.
fn reopen(keeper: &Keeper, magazine: &Magazine) {
    if !keeper.ended {
        magazine.say(keeper.said(false));
    }
}
