//! A folio's slot: its word, its write sequence and its marks, with every transition on real atomics.
//!
//! **Ordering.** Whoever is let at the bytes (reader, writer, pin, isolator) takes the word with Acquire
//! and leaves it with Release, so that bytes written by one holder are seen by the next. The loop is
//! [`FolioSlot::change`]; the rules are in [`word`](super::word).
//!
//! **Optimistic readers** store nothing (P5 of the design). They copy bytes that may be changing, and
//! find out afterwards:
//!
//! ```text
//! writer                               optimistic reader
//! ──────                               ─────────────────
//! EXCL (AcqRel)                        sequence even? (Acquire)   resident, no writer? (Acquire)
//! sequence odd                         copy bytes out
//! fence(Release)   [folio.writer]      fence(Acquire)             [folio.optimistic]
//! bytes                                the same place? (Acquire)  the same sequence?
//! sequence even (Release)              no: the copy is worth nothing
//! EXCL off (Release)
//!
//! next owner of the frame: takes it; fence(Release) [frame.next_owner]; bytes
//! ```
//!
//! If the copy holds one byte of a later write, the fences order the odd sequence, or for another owner
//! of the frame the folio's new word, before the second look. The sequence has 32 bits; each change of
//! return to memory counts in it as well as in the word's generation, so that the two together do not
//! come round within a copy.
//!
//! **`Dirty` and copies.** A writer sets [`Mark::Dirty`] after it has taken STABLE off the word. An
//! isolator looks at the mark, and clears it, only after it has begun its copy, and before it reads the
//! bytes:
//!
//! ```text
//! isolator                                 writer
//! ────────                                 ──────
//! begin_copy: STABLE                       begin_write: EXCL, not STABLE any more
//! Dirty? clear it; copy the bytes          Dirty, unless it is set already
//! evict or end_copy: does STABLE stand?    bytes
//! no, or the copy failed: Dirty again      end_write
//! ```
//!
//! A writer that finds the mark set and passes it by may find it cleared a moment later. But it has
//! taken STABLE off before it looked, so the isolator is told that its copy does not stand, and sets the
//! mark again. Whoever judges the folio by a mark that is clear must know that nobody has it isolated: an
//! owner that drops it, for one, asks for the frame's custody first.
//!
//! **`Locked` and copies.** An owner locks a folio that it has pinned, so that it is in memory:
//!
//! ```text
//! owner                                    isolator
//! ─────                                    ────────
//! pin                                      begin_copy: STABLE
//! Locked                                   Locked? then it stays
//! not STABLE any more                      evict: does STABLE stand, is there no pin?
//! unpin
//! ```
//!
//! Of the owner's last look at STABLE and `begin_copy`, both read-modify-writes, the second sees the
//! first: either the copy was begun before, and has ended, or the isolator sees the mark. Who finds the
//! mark set may go by it: whoever set it keeps the pin until STABLE is off.
//!
//! **The end.** [`kill`](FolioSlot::kill) may meet somebody who brings the folio back (BUSY). Then the
//! owner leaves everything to that one, who learns of it from the word that
//! [`end_fault`](FolioSlot::end_fault) or [`abort_fault`](FolioSlot::abort_fault) returns: one of two
//! read-modify-writes is the second. If it meets an isolator, see
//! [`custody`](super::custody).

use std::convert::Infallible;

use super::word::{Courtesy, FolioWord, Landing, Obstacle, Released};
use crate::arena::Zeroable;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::fence::{acq_rel_at, acquire_fence_at, mutated, ordering_at, release_fence_at};
use crate::types::{MAX_NODES, Order};

/// What is remembered about a folio beside its word.
///
/// ```text
///  31       17     16     15   12 11    8 7                                   0
/// +-----------+---------+-------+-------+-------------------------------------+
/// |  shadow   | watched | node  | order | backed, locked, dirty, accessed ... |
/// +-----------+---------+-------+-------+-------------------------------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// It was used since reclaim last looked (the kernel's accessed bit).
    Accessed = 1 << 0,
    /// It was written to since its copy was made, or has none.
    Dirty = 1 << 1,
    /// It must stay in memory.
    Locked = 1 << 2,
    /// A backing store holds its contents, and not swap.
    Backed = 1 << 3,
    /// Its owner said that it will not be needed soon.
    Cold = 1 << 4,
    /// It was brought back ahead of a request and not used yet.
    ReadAhead = 1 << 5,
    /// It came to memory for a use that is still to come, and is no evidence of another.
    Awaited = 1 << 6,
    /// It was evicted, and its shadow says when.
    Evicted = 1 << 7,
    /// Each use of it is recorded, so that none is known before.
    Watched = 1 << 16,
}

const ORDER_SHIFT: u32 = 8;
const ORDER_MASK: u32 = 0xf;
const NODE_SHIFT: u32 = 12;
const NODE_MASK: u32 = 0xf;
const SHADOW_SHIFT: u32 = 17;
/// A shadow is less than this.
pub(crate) const SHADOWS: u32 = 1 << (u32::BITS - SHADOW_SHIFT);

const _: () = assert!(MAX_NODES - 1 <= NODE_MASK as usize);

/// The slot of one folio: 16 bytes, four to a cache line.
#[derive(Debug)]
pub struct FolioSlot {
    word: AtomicU64,
    /// Odd while somebody writes; for optimistic readers.
    sequence: AtomicU32,
    marks: AtomicU32,
}

const _: () = assert!(cfg!(loom) || size_of::<FolioSlot>() == 16);

// SAFETY: three atomics, each of which is 0 in zero bytes and by default, with nothing to drop.
unsafe impl Zeroable for FolioSlot {}

impl Default for FolioSlot {
    /// A slot that holds no folio yet. All zeros, as fresh tables are.
    fn default() -> FolioSlot {
        FolioSlot {
            word: AtomicU64::new(0),
            sequence: AtomicU32::new(0),
            marks: AtomicU32::new(0),
        }
    }
}

/// A look at a folio without holding it.
#[derive(Clone, Copy, Debug)]
struct Look {
    word: FolioWord,
    sequence: u32,
}

impl FolioSlot {
    /// Makes this the slot of a new folio, away at `location`; 0 is blank. The caller owns the slot.
    pub(super) fn open(&self, order: Order, marks: &[Mark], location: u32) {
        let marks = marks.iter().fold(0, |all, mark| all | *mark as u32);
        let order = u32::from(order.get()) << ORDER_SHIFT;
        // Relaxed: ordered by the word.
        self.marks.store(order | marks, Ordering::Relaxed);
        let generation = self.word().generation();
        // Release: who comes by the slot's number, without a handle, takes the word with Acquire and
        // sees the marks. A store is enough: nobody changes the word of a slot that holds no folio (F4).
        self.word.store(
            FolioWord::away(location, generation).bits(),
            ordering_at("folio.open", Ordering::Release),
        );
    }

    /// Notes a use. That for which the folio came to memory leaves no trace; returns whether the folio was
    /// read ahead of it.
    pub fn note_use(&self) -> bool {
        let was_ahead = self.clear(Mark::ReadAhead);
        if !self.clear(Mark::Awaited) {
            self.set(Mark::Accessed);
        }
        was_ahead
    }

    /// Sees to it that the use for which the folio comes to memory leaves no trace, whether that one has
    /// been noted already, or is still to come.
    pub fn expect_use(&self, landing: Landing) {
        match landing {
            Landing::Idle => self.set(Mark::Awaited),
            Landing::Read | Landing::Write | Landing::Pin => self.clear(Mark::Accessed),
        };
    }

    /// Forgets a use that is still to come, since it will not before the folio leaves memory.
    pub fn expect_no_use(&self) {
        self.clear(Mark::ReadAhead);
        self.clear(Mark::Awaited);
    }

    /// Links this slot, which holds no folio any more, to another such slot. Under the table's lock.
    pub(super) fn vacate(&self, link: u32) {
        let vacant = FolioWord::vacant(link, self.word().generation() + 1);
        // Relaxed: the table's lock orders it.
        self.word.store(vacant.bits(), Ordering::Relaxed);
    }

    /// The word. Whoever needs the bytes takes it by a transition instead.
    #[inline]
    pub fn word(&self) -> FolioWord {
        // Relaxed: a hint, or the word of somebody who owns the transition.
        FolioWord::from_bits(self.word.load(Ordering::Relaxed))
    }

    /// The folio's size.
    #[inline]
    pub fn order(&self) -> Order {
        // Relaxed: written before the handle was passed on.
        let marks = self.marks.load(Ordering::Relaxed);
        Order::at((marks >> ORDER_SHIFT & ORDER_MASK) as usize)
    }

    /// Whether a use leaves no new trace: it [is used](Self::is_used), and nobody wants to know of each use.
    #[inline]
    pub fn is_known_used(&self) -> bool {
        const ALL: u32 = Mark::Accessed as u32 | Mark::ReadAhead as u32 | Mark::Watched as u32;
        // Relaxed: hints.
        self.marks.load(Ordering::Relaxed) & ALL == Mark::Accessed as u32
    }

    /// Whether it was used since reclaim last looked, and was not brought back ahead of that use.
    pub fn is_used(&self) -> bool {
        const BOTH: u32 = Mark::Accessed as u32 | Mark::ReadAhead as u32;
        // Relaxed: hints.
        self.marks.load(Ordering::Relaxed) & BOTH == Mark::Accessed as u32
    }

    /// What was left about the folio when it was last evicted: the node's number, and the shadow.
    pub fn shadow(&self) -> (u8, u16) {
        // Relaxed: written by who evicted it, before the word said so. Who only waits for the folio takes it
        // as a hint; the node is one of the pool's at any moment.
        let marks = self.marks.load(Ordering::Relaxed);
        (
            (marks >> NODE_SHIFT & NODE_MASK) as u8,
            (marks >> SHADOW_SHIFT) as u16,
        )
    }

    /// Leaves something about the folio for when it comes back. For who is about to evict it.
    pub fn set_shadow(&self, node: u8, shadow: u16) {
        const LEFT: u32 = NODE_MASK << NODE_SHIFT | (SHADOWS - 1) << SHADOW_SHIFT;
        debug_assert!(u32::from(shadow) < SHADOWS, "{shadow} is no shadow");
        let left = u32::from(shadow) << SHADOW_SHIFT | u32::from(node) << NODE_SHIFT;
        // Relaxed: as in `shadow`. Two steps, since only one thread does this.
        self.marks.fetch_and(!LEFT, Ordering::Relaxed);
        self.marks
            .fetch_or(left | Mark::Evicted as u32, Ordering::Relaxed);
    }

    /// Whether a mark is set.
    #[inline]
    pub fn is(&self, mark: Mark) -> bool {
        // Relaxed: `Dirty` is ordered by the word (see `begin_write`), the others are hints.
        self.marks.load(Ordering::Relaxed) & mark as u32 != 0
    }

    /// Sets a mark; returns whether it was clear. A mark that is set already is not stored again, so that
    /// a folio that is read all the time stays free of shared stores.
    #[inline]
    pub fn set(&self, mark: Mark) -> bool {
        if self.is(mark) {
            return false;
        }
        if mutated("folio.marks_in_one") {
            let marks = self.marks.load(Ordering::Relaxed);
            self.marks.store(marks | mark as u32, Ordering::Relaxed);
            return true;
        }
        // Relaxed: as in `is`.
        self.marks.fetch_or(mark as u32, Ordering::Relaxed) & mark as u32 == 0
    }

    /// Clears a mark; returns whether it was set.
    pub fn clear(&self, mark: Mark) -> bool {
        if !self.is(mark) {
            return false;
        }
        // Relaxed: as in `is`.
        self.marks.fetch_and(!(mark as u32), Ordering::Relaxed) & mark as u32 != 0
    }

    /// The compare-exchange loop of all transitions. Returns the word before and the word after.
    #[inline]
    fn change<E>(
        &self,
        transition: impl Fn(FolioWord) -> Result<FolioWord, E>,
    ) -> Result<(FolioWord, FolioWord), E> {
        let mut before = self.word();
        loop {
            let after = transition(before)?;
            // AcqRel: takes over the bytes from who held the folio before, and passes on what this
            // thread did with them. Pairs with itself, and with the Release in `leave`. Relaxed on
            // failure: tried again with the new word.
            if mutated("folio.one_step") {
                self.word.store(after.bits(), Ordering::Release);
                return Ok((before, after));
            }
            match self.word.compare_exchange_weak(
                before.bits(),
                after.bits(),
                acq_rel_at("folio.take_over", "folio.pass_on"),
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok((before, after)),
                Err(found) => before = FolioWord::from_bits(found),
            }
        }
    }

    /// As [`change`](Self::change) for those who leave: always permitted. Returns the word as it was
    /// published.
    #[inline]
    fn release(&self, transition: impl Fn(FolioWord) -> Released) -> Released {
        let Ok((before, _)) = self.change(|word| Ok::<_, Infallible>(transition(word).word));
        transition(before)
    }

    /// Begins to read. Returns the word, whose location is a frame until the end.
    #[inline]
    pub fn begin_read(&self, courtesy: Courtesy) -> Result<FolioWord, Obstacle> {
        let (_, word) = self.change(|word| word.begin_read(courtesy))?;
        Ok(word)
    }

    /// Ends to read; returns whether waiters must be woken.
    #[inline]
    #[must_use = "threads sleep on until they are woken"]
    pub fn end_read(&self) -> bool {
        // Release: what this reader read comes before what the next writer writes. Pairs with the
        // Acquire in `change`.
        let release = ordering_at("folio.end_read", Ordering::Release);
        let before = self.word.fetch_sub(FolioWord::READER_LEAVES, release);
        let before = FolioWord::from_bits(before);
        debug_assert!(before.readers() > 0, "F1: {before:?} has no reader");
        before.owes_wake_after_reader() && !mutated("folio.call_waiters") && self.call_waiters()
    }

    /// Takes WAITERS off; returns whether it was set, and the waiters must be woken.
    #[cold]
    #[inline(never)]
    #[must_use = "threads sleep on until they are woken"]
    pub(super) fn call_waiters(&self) -> bool {
        let Ok((before, after)) = self.change(|word| Ok::<_, Infallible>(word.call_waiters()));
        before != after
    }

    /// Begins to write as the only one who knows the folio.
    /// Returns the word, and whether the folio was clean until now.
    #[inline]
    pub fn begin_write_owned(&self) -> Result<(FolioWord, bool), Obstacle> {
        let (_, word) = self.change(FolioWord::begin_write_owned)?;
        Ok((word, self.begin_sequence()))
    }

    /// Begins to write among others.
    #[inline]
    pub fn begin_write(&self) -> Result<(FolioWord, bool), Obstacle> {
        let (_, word) = self.change(FolioWord::begin_write)?;
        Ok((word, self.begin_sequence()))
    }

    /// Says to optimistic readers that the bytes change from here on, and to reclaim that the copy is out
    /// of date. Who sees the word after this writer sees `Dirty`. Returns whether this has set it.
    #[inline]
    fn begin_sequence(&self) -> bool {
        let was_clean = self.set(Mark::Dirty);
        // Relaxed: only the writer stores it, and there is one. Odd also if a guard was leaked before.
        let sequence = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence.store(sequence, Ordering::Relaxed);
        // Orders the odd sequence before the bytes. Pairs with the fence in `read_optimistic`.
        release_fence_at("folio.writer");
        was_clean
    }

    /// Ends to write; returns whether waiters must be woken.
    #[inline]
    #[must_use = "threads sleep on until they are woken"]
    pub fn end_write(&self) -> bool {
        // Relaxed: as in `begin_sequence`.
        let sequence = self.sequence.load(Ordering::Relaxed);
        debug_assert!(sequence & 1 == 1, "nobody writes");
        // Release: the bytes come before the even sequence. Pairs with the Acquire in `look`.
        let release = ordering_at("folio.sequence_even", Ordering::Release);
        self.sequence.store(sequence.wrapping_add(1), release);
        self.release(FolioWord::end_write).wake
    }

    /// Pins the folio in its place. Returns the word, whose location is a frame until the end.
    #[inline]
    pub fn begin_pin(&self) -> Result<FolioWord, Obstacle> {
        let (_, word) = self.change(FolioWord::begin_pin)?;
        Ok(word)
    }

    /// Asks to be told when the last pin goes, if there is one now.
    #[must_use]
    pub fn want(&self) -> bool {
        self.change(|word| word.want().ok_or(())).is_ok()
    }

    /// Ends a pin. Nobody waits for pins; but returns whether somebody wants to be told that none is left.
    #[inline]
    #[must_use = "who would have moved the folio does not look again until it is told"]
    pub fn end_pin(&self) -> bool {
        // Release: what went on through the pin comes before the next holder. Pairs with the Acquire in
        // `change`.
        let release = ordering_at("folio.end_pin", Ordering::Release);
        let before = self.word.fetch_sub(FolioWord::PIN_GOES, release);
        let before = FolioWord::from_bits(before);
        debug_assert!(before.pins() > 0, "F1: no pin");
        before.owes_news_after_pin() && !mutated("folio.pin_tells") && self.tell()
    }

    /// Takes WANTED off, unless somebody has pinned the folio again: then it falls to him.
    #[cold]
    #[inline(never)]
    fn tell(&self) -> bool {
        self.change(|word| word.tell().ok_or(())).is_ok()
    }

    /// Takes it upon this thread to bring the folio back. Returns the word, whose location says from
    /// where.
    pub fn begin_fault(&self) -> Result<FolioWord, Obstacle> {
        let (_, word) = self.change(FolioWord::begin_fault)?;
        Ok(word)
    }

    /// The same ahead of any request, if the folio is away at `location`.
    pub fn begin_fault_at(&self, location: u32) -> Result<FolioWord, Obstacle> {
        let (_, word) = self.change(|word| word.begin_fault_at(location))?;
        Ok(word)
    }

    /// The folio is in the frame `location`, with all its bytes. Returns the word as it was published: if
    /// it is dead, its owner has left it to this thread, frame and all; and whether waiters must be woken.
    pub fn end_fault(&self, location: u32, landing: Landing) -> Released {
        // Relaxed: only who brings the folio back stores it now; optimistic readers see it after the
        // word, which they load with Acquire.
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(2) & !1, Ordering::Relaxed);
        let released = self.release(|word| word.end_fault(location, landing));
        if landing == Landing::Write {
            self.begin_sequence();
        }
        released
    }

    /// The folio could not be brought back. Returns the word as it was published: if it is dead, its owner
    /// has left it to this thread; and whether waiters must be woken.
    pub fn abort_fault(&self) -> Released {
        self.release(FolioWord::abort_fault)
    }

    /// The folio's contents are given up, for its owner, who has begun a fault.
    pub fn blank_fault(&self) -> Released {
        self.release(FolioWord::blank_fault)
    }

    /// Begins to copy, for the isolator; returns whether that is permitted.
    #[must_use]
    pub fn begin_copy(&self) -> bool {
        self.change(|word| word.begin_copy().ok_or(())).is_ok()
    }

    /// The same for a copy after which the folio stays where it is.
    #[must_use]
    pub fn begin_copy_in_place(&self) -> bool {
        self.change(|word| word.begin_copy_in_place().ok_or(()))
            .is_ok()
    }

    /// Whether nobody has begun to write since the copy was begun, so that what was copied until now is
    /// what the folio holds.
    pub fn is_stable(&self) -> bool {
        // A compare-exchange with the same word: its release half keeps the copying before it, as a load
        // would not.
        self.change(|word| if word.is_stable() { Ok(word) } else { Err(()) })
            .is_ok()
    }

    /// Has done with the copy, and leaves the folio where it is; returns whether the copy stands: nobody
    /// has begun to write since it was begun.
    pub fn end_copy(&self) -> bool {
        let Ok((before, _)) = self.change(|word| Ok::<_, Infallible>(word.end_copy()));
        before.is_stable()
    }

    /// Keeps the folio in memory, for its owner, who has it pinned; returns whether it was not kept before.
    pub fn lock(&self) -> bool {
        let is_new = self.set(Mark::Locked);
        if is_new && !mutated("folio.lock_ends_copy") {
            // A copy that was begun before does not let it leave memory any more.
            self.end_copy();
        }
        is_new
    }

    /// Lets it leave memory again; returns whether it was kept.
    pub fn unlock(&self) -> bool {
        self.clear(Mark::Locked)
    }

    /// The word, for somebody who has changed a mark that says where the folio belongs: whoever takes the folio
    /// elsewhere, or brings it back, from here on sees the change.
    pub fn word_after_mark(&self) -> FolioWord {
        if mutated("folio.word_after_mark") {
            return self.word();
        }
        // A compare-exchange with the same word: its release half publishes the mark to the next step, its
        // acquire half takes over what the last one left.
        let Ok((_, word)) = self.change(Ok::<_, Infallible>);
        word
    }

    /// Whether its owner keeps it in memory, for the isolator, which has begun its copy before it asks.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is(Mark::Locked) && !mutated("folio.look_at_locked")
    }

    /// Takes the folio out of memory, for the isolator: its contents are at `location`. Returns whether
    /// that was permitted; then the frame is the isolator's.
    #[must_use]
    pub fn evict(&self, location: u32) -> bool {
        self.change(|word| word.evict(location).ok_or(())).is_ok()
    }

    /// Says that the folio is in the frame `location`, for the isolator, which has copied it there. Returns
    /// whether that was permitted; then the frame that it was in is the isolator's.
    #[must_use]
    pub fn relocate(&self, location: u32) -> bool {
        self.change(|word| word.relocate(location).ok_or(()))
            .is_ok()
    }

    /// Its owner drops it; returns the word before.
    pub fn kill(&self) -> FolioWord {
        let Ok((before, _)) = self.change(|word| Ok::<_, Infallible>(word.kill()));
        before
    }

    /// Sees to it that this thread is woken when the word changes, if `blocked` still says that it must
    /// wait. The thread is on the queue already.
    pub fn wait_if(&self, blocked: impl Fn(FolioWord) -> bool) -> bool {
        self.change(|word| {
            if blocked(word) || mutated("folio.waiters_recheck") {
                Ok(word.with_waiter())
            } else {
                Err(())
            }
        })
        .is_ok()
    }

    #[inline]
    fn look(&self) -> Option<Look> {
        // Acquire, both: the bytes that the last writer, or who brought the folio here, has stored are
        // seen. Pairs with `end_write` and `end_fault`.
        let acquire = |name| ordering_at(name, Ordering::Acquire);
        let sequence = self.sequence.load(acquire("folio.look_at_sequence"));
        let word = FolioWord::from_bits(self.word.load(acquire("folio.look_at_word")));
        if sequence & 1 != 0 || !word.is_resident() {
            return None;
        }
        Some(Look { word, sequence })
    }

    /// Copies bytes out of the folio without a trace. `copy` gets the frame and reads bytes that may
    /// change meanwhile; what it returns is handed on only if they did not. None if the folio is away,
    /// is being written to, or changed.
    #[inline]
    pub fn read_optimistic<T>(&self, copy: impl FnOnce(u32) -> T) -> Option<T> {
        let before = self.look()?;
        let value = copy(before.word.location());
        // Orders the bytes before the second look. Pairs with the fence in `begin_sequence`, and with
        // that of the frame's next owner.
        acquire_fence_at("folio.optimistic");
        // Acquire: the sequence is not older than the word. Relaxed: the last look.
        let word = FolioWord::from_bits(self.word.load(Ordering::Acquire));
        let sequence = self.sequence.load(Ordering::Relaxed);
        if !word.is_same_place(before.word) || sequence != before.sequence {
            return None;
        }
        Some(value)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_use_that_a_folio_is_brought_for_leaves_no_trace() {
        let slot = FolioSlot::default();
        // Touched, and brought in for that.
        slot.note_use();
        slot.expect_use(Landing::Read);
        assert!(!slot.is(Mark::Accessed));
        slot.note_use();
        assert!(slot.is_known_used());
        // Brought in ahead of the touch.
        slot.clear(Mark::Accessed);
        slot.set(Mark::ReadAhead);
        slot.expect_use(Landing::Idle);
        assert!(slot.note_use(), "read ahead well");
        assert!(!slot.is(Mark::Accessed));
        assert!(!slot.note_use());
        assert!(slot.is_known_used());
    }

    #[test]
    fn a_use_that_never_came_is_not_expected_of_the_next_stay() {
        let slot = FolioSlot::default();
        slot.set(Mark::ReadAhead);
        slot.expect_use(Landing::Idle);
        slot.expect_no_use();
        assert!(!slot.note_use());
        assert!(slot.is(Mark::Accessed));
    }
}
