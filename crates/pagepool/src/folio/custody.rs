//! Who has a folio's frame in hand, in the byte that the frame table keeps for the LRU lists (pure).
//!
//! *Kernel counterpart:* `PG_lru`, `PG_active`, `PG_unevictable`, `PG_referenced`, `PG_workingset`,
//! `PG_reclaim` and the references that a list, a batch or an isolator holds (v5.0). There a count says
//! who frees a page; here it is the place that the frame has at the moment of the drop.
//!
//! ```text
//!    7      6         5         4    3  2    0
//! +-------+--------+------------+------+-------+
//! | OWNED | ORPHAN | WORKINGSET | uses | place |
//! +-------+--------+------------+------+-------+
//! ```
//!
//! *uses*: how often reclaim found the folio used, less how often it did not (kernel: `PG_referenced`,
//! which is one bit). What comes of it is for the policy to say. OWNED: the folio's owner has a hand in its
//! moves (kernel: `PAGE_MAPPING_MOVABLE`).
//!
//! | place | number | meaning | who may take it from there |
//! |---|---|---|---|
//! | off | 0 | no folio, or one that nobody has seen yet | who brings the folio in |
//! | batched | 1 | on its way to a list, in some CPU's batch | who empties the batch; the owner's drop |
//! | listed | 2 to 6 | on one of five lists | an isolator; the owner's drop |
//! | isolated | 7 | in an isolator's hands | that isolator, and nobody else |
//!
//! **The drop.** A folio's owner may drop it at any moment, also while an isolator holds it:
//!
//! ```text
//! owner                                      isolator
//! ─────                                      ────────
//! the word: DEAD; was it resident?           LRU lock: listed → isolated
//! LRU lock:                                  evict (refuses a word with DEAD), or not
//!   off, batched   → off; frees the frame    LRU lock:
//!   listed         → unlink, off; frees        ORPHAN → off; frees the frame, vacates the slot
//!   isolated       → ORPHAN; leaves it         else   → listed, also if the word has DEAD
//! ```
//!
//! DEAD keeps the frame the folio's: from then on the word allows no eviction and no move. It does not
//! say who frees the frame. If the isolator freed whatever is dead, it could do so between the owner's
//! two steps, and the owner would then find the frame off and free it once more. So it is ORPHAN, under
//! the lock, that hands the frame over; without it the frame goes back to its list, where the owner, who
//! is on its way to the lock, finds it. If the isolator evicts the folio before DEAD, the owner sees in
//! the word that it has no frame.
//!
//! An entry may stay behind in a batch when its folio has gone, and the frame may be batched again, for a
//! folio that is not in memory yet. So the entry names slot and frame, and goes to a list only if, under
//! the lock, the frame is batched and the slot's word says that the folio is resident there.
//!
//! **Invariants**
//! - C1: a frame is linked to a list exactly if its place is that list.
//! - C2: a frame that is off has no flags, so that the byte of a frame without a folio is zero. Only an
//!   isolated frame is an orphan.
//! - C3: only who holds the LRU lock changes the byte, but for the step from off to batched: that is
//!   made by who brings the folio in, before the folio's word says so.

#![forbid(unsafe_code)]

const PLACE: u8 = 0b111;
const OFF: u8 = 0;
const BATCHED: u8 = 1;
const FIRST_LIST: u8 = 2;
const ISOLATED: u8 = 7;

/// How many lists a frame can be on.
pub(crate) const NR_LISTS: u8 = ISOLATED - FIRST_LIST;

/// Its owner has dropped the folio and left the frame to the isolator.
const ORPHAN: u8 = 1 << 6;

/// What is remembered of a folio while it is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// It has been on an active list before, or came back soon after it left.
    Workingset = 1 << 5,
    /// It is an object of a user's, who has it moved himself.
    Owned = 1 << 7,
}

const USES_SHIFT: u32 = 3;
const USES: u8 = 0b11 << USES_SHIFT;

/// As many uses as can be counted.
pub(crate) const MAX_USES: u8 = USES >> USES_SHIFT;

const FLAGS: u8 = Flag::Workingset as u8 | Flag::Owned as u8;

const _: () = assert!(PLACE & FLAGS == 0 && (PLACE | FLAGS) & ORPHAN == 0);
const _: () = assert!(USES & (PLACE | FLAGS | ORPHAN) == 0);

/// Where a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On no list and on its way to none.
    Off,
    /// In a CPU's batch, on its way to a list.
    Batched,
    /// On the list of this number.
    Listed(u8),
    /// In an isolator's hands.
    Isolated,
}

/// Who frees the frame of a folio that its owner drops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heir {
    /// The owner; no list knows the frame.
    Owner,
    /// The owner, after it has unlinked the frame from this list.
    OwnerUnlinks(u8),
    /// The isolator, which finds it an orphan when it wants to put it back.
    Isolator,
}

/// A frame's place, and what reclaim remembers of the folio in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Custody(u8);

impl Custody {
    /// The custody that [`bits`](Self::bits) gave.
    #[inline]
    pub const fn from_bits(bits: u8) -> Custody {
        Custody(bits)
    }

    /// The byte for the frame table.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Where the frame is.
    #[inline]
    pub const fn place(self) -> Place {
        match self.0 & PLACE {
            OFF => Place::Off,
            BATCHED => Place::Batched,
            ISOLATED => Place::Isolated,
            list => Place::Listed(list - FIRST_LIST),
        }
    }

    /// Whether a flag is set.
    #[inline]
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// How often the folio was found used, as far as that is remembered.
    #[inline]
    pub const fn uses(self) -> u8 {
        (self.0 & USES) >> USES_SHIFT
    }

    /// The bits to flip in order that it be `uses`, at most [`MAX_USES`].
    pub const fn flips_to(self, uses: u8) -> u8 {
        debug_assert!(uses <= MAX_USES);
        (self.0 ^ uses << USES_SHIFT) & USES
    }

    /// The same with a flag set.
    #[must_use]
    pub const fn with(self, flag: Flag) -> Custody {
        debug_assert!(
            self.0 & PLACE != OFF,
            "C2: a frame that is off has no flags"
        );
        Custody(self.0 | flag as u8)
    }

    /// The same with a flag clear.
    #[cfg(test)]
    #[must_use]
    pub const fn without(self, flag: Flag) -> Custody {
        Custody(self.0 & !(flag as u8))
    }

    const fn at(self, place: u8) -> Custody {
        Custody(self.0 & !PLACE | place)
    }

    /// The frame goes into a batch; permitted if it is off.
    pub const fn batched(self) -> Option<Custody> {
        match self.place() {
            Place::Off => Some(self.at(BATCHED)),
            Place::Batched | Place::Listed(_) | Place::Isolated => None,
        }
    }

    /// The custody of the frame that a folio is moved to from this one: in no list yet, and with all that is
    /// remembered of the folio.
    #[must_use]
    pub const fn moved(self) -> Custody {
        debug_assert!(
            self.0 & PLACE == ISOLATED,
            "only its isolator moves a folio"
        );
        Custody(self.0 & (FLAGS | USES) | BATCHED)
    }

    /// The frame goes to a list: from nowhere, from a batch, from an isolator, or from another list,
    /// which it was unlinked from.
    ///
    /// # Panics
    /// If there is no such list.
    #[must_use]
    pub const fn listed(self, list: u8) -> Custody {
        assert!(list < NR_LISTS, "there is no such list");
        debug_assert!(!self.is_orphan(), "C2: an orphan is freed");
        self.at(FIRST_LIST + list)
    }

    /// An isolator takes the frame; permitted if it is on a list, which it must then be unlinked from.
    pub const fn isolated(self) -> Option<Custody> {
        match self.place() {
            Place::Listed(_) => Some(self.at(ISOLATED)),
            Place::Off | Place::Batched | Place::Isolated => None,
        }
    }

    /// The frame holds no folio any more; reclaim forgets what it knew (C2).
    #[must_use]
    pub const fn off(self) -> Custody {
        Custody(OFF)
    }

    /// Its owner, who has killed the folio in it, lets go of the frame: the custody afterwards, and who
    /// frees the frame.
    #[must_use]
    pub const fn dropped(self) -> (Custody, Heir) {
        match self.place() {
            Place::Off | Place::Batched => (self.off(), Heir::Owner),
            Place::Listed(list) => (self.off(), Heir::OwnerUnlinks(list)),
            Place::Isolated => (Custody(self.0 | ORPHAN), Heir::Isolator),
        }
    }

    /// Whether the isolator that has the frame is to free it instead of putting it back, and to vacate
    /// the folio's slot.
    pub const fn is_orphan(self) -> bool {
        self.0 & ORPHAN != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn every_place() -> Vec<Custody> {
        let off = Custody::default();
        let lists = (0..NR_LISTS).map(|list| off.listed(list));
        let isolated = off.listed(0).isolated().unwrap();
        let mut all = vec![off, off.batched().unwrap(), isolated];
        all.extend(lists);
        all
    }

    #[test]
    fn a_frame_without_a_folio_is_the_zero_byte() {
        assert_eq!(Custody::default().bits(), 0);
        assert_eq!(Custody::default().place(), Place::Off);
        for custody in every_place() {
            assert_eq!(custody.off(), Custody::default(), "C2");
        }
    }

    #[test]
    fn the_places_differ_and_fill_their_bits() {
        let mut numbers: Vec<u8> = every_place().iter().map(|c| c.bits()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..=PLACE).collect::<Vec<_>>());
        for list in 0..NR_LISTS {
            assert_eq!(Custody::default().listed(list).place(), Place::Listed(list));
        }
    }

    #[test]
    fn what_is_remembered_stays_from_place_to_place_and_ends_with_the_folio() {
        let listed = Custody::default().listed(1);
        let cases =
            (0..=MAX_USES).flat_map(|uses| [Flag::Workingset, Flag::Owned].map(|f| (uses, f)));
        for (uses, flag) in cases {
            let counted = Custody(listed.bits() ^ listed.flips_to(uses));
            assert_eq!((counted.uses(), counted.place()), (uses, Place::Listed(1)));
            let back = counted.with(flag).isolated().unwrap().listed(3);
            assert!(back.has(flag));
            assert_eq!(back.uses(), uses);
            assert!(back.isolated().unwrap().moved().has(flag));
            let plain = Custody(back.bits() ^ back.flips_to(0)).without(flag);
            assert_eq!(plain, listed.listed(3));
            assert_eq!(back.off().bits(), 0, "C2");
        }
    }

    #[test]
    fn only_a_listed_frame_is_isolated() {
        for custody in every_place() {
            let is_listed = matches!(custody.place(), Place::Listed(_));
            assert_eq!(custody.isolated().is_some(), is_listed, "{custody:?}");
        }
    }

    #[test]
    fn only_a_frame_that_is_off_goes_into_a_batch() {
        for custody in every_place() {
            let is_off = custody.place() == Place::Off;
            assert_eq!(custody.batched().is_some(), is_off, "{custody:?}");
        }
    }

    #[test]
    fn the_owner_frees_all_but_what_somebody_isolated() {
        let heirs = every_place().into_iter().map(|custody| custody.dropped().1);
        let of_lists = (0..NR_LISTS).map(Heir::OwnerUnlinks);
        let mut expected = vec![Heir::Owner, Heir::Owner, Heir::Isolator];
        expected.extend(of_lists);
        assert_eq!(heirs.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_dropped_frame_is_off_or_an_orphan() {
        for custody in every_place() {
            let (after, heir) = custody.dropped();
            assert!(!custody.is_orphan());
            if heir == Heir::Isolator {
                assert!(after.is_orphan() && after.place() == Place::Isolated);
                assert_eq!(after.off(), Custody::default());
            } else {
                assert_eq!(after, Custody::default(), "C2");
            }
        }
    }

    #[test]
    #[should_panic(expected = "no such list")]
    fn there_is_no_sixth_list() {
        let _ = Custody::default().listed(NR_LISTS);
    }

    #[test]
    fn bits_survive() {
        for custody in every_place() {
            assert_eq!(Custody::from_bits(custody.bits()), custody);
        }
    }
}

/// An owner and an isolator who take turns, against plain fields.
#[cfg(all(test, not(loom)))]
mod model {
    use proptest::prelude::*;

    use super::*;

    /// What a frame is, in words of its own.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Plain {
        place: Place,
        workingset: bool,
        owned: bool,
        uses: u8,
        orphan: bool,
    }

    const NOWHERE: Plain = Plain {
        place: Place::Off,
        workingset: false,
        owned: false,
        uses: 0,
        orphan: false,
    };

    fn plain(custody: Custody) -> Plain {
        Plain {
            place: custody.place(),
            workingset: custody.has(Flag::Workingset),
            owned: custody.has(Flag::Owned),
            uses: custody.uses(),
            orphan: custody.is_orphan(),
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Batch,
        List(u8),
        Isolate,
        PutBack(u8),
        Uses(u8),
        Mark(bool),
        Drop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Batch),
            (0..NR_LISTS).prop_map(Step::List),
            Just(Step::Isolate),
            (0..NR_LISTS).prop_map(Step::PutBack),
            (0..=MAX_USES).prop_map(Step::Uses),
            any::<bool>().prop_map(Step::Mark),
            Just(Step::Drop),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

        #[test]
        fn a_frame_is_freed_once_by_whom_the_drop_says(steps in prop::collection::vec(step(), 1..40)) {
            let mut custody = Custody::default();
            let mut model = NOWHERE;
            // Whether a folio is in the frame.
            let mut has_folio = false;
            for step in steps {
                match step {
                    Step::Batch => {
                        let next = custody.batched();
                        prop_assert_eq!(next.is_some(), model.place == Place::Off);
                        if let Some(next) = next {
                            custody = next;
                            model.place = Place::Batched;
                            has_folio = true;
                        }
                    }
                    Step::List(list) if model.place == Place::Batched => {
                        custody = custody.listed(list);
                        model.place = Place::Listed(list);
                    }
                    Step::Isolate => {
                        let next = custody.isolated();
                        prop_assert_eq!(next.is_some(), matches!(model.place, Place::Listed(_)));
                        if let Some(next) = next {
                            custody = next;
                            model.place = Place::Isolated;
                        }
                    }
                    Step::PutBack(list) if model.place == Place::Isolated => {
                        if custody.is_orphan() {
                            prop_assert!(!has_folio, "freed by the isolator");
                            custody = custody.off();
                            model = NOWHERE;
                        } else {
                            prop_assert!(has_folio, "freed by nobody");
                            custody = custody.listed(list);
                            model.place = Place::Listed(list);
                        }
                    }
                    Step::Uses(uses) if model.place != Place::Off && has_folio => {
                        custody = Custody::from_bits(custody.bits() ^ custody.flips_to(uses));
                        model.uses = uses;
                    }
                    Step::Mark(owned) if model.place != Place::Off && has_folio => {
                        custody = custody.with(if owned { Flag::Owned } else { Flag::Workingset });
                        model.owned |= owned;
                        model.workingset |= !owned;
                    }
                    Step::Drop if has_folio => {
                        has_folio = false;
                        let (next, heir) = custody.dropped();
                        custody = next;
                        let expected = match model.place {
                            Place::Isolated => Heir::Isolator,
                            Place::Listed(list) => Heir::OwnerUnlinks(list),
                            Place::Off | Place::Batched => Heir::Owner,
                        };
                        prop_assert_eq!(heir, expected);
                        if heir == Heir::Isolator {
                            model.orphan = true;
                        } else {
                            model = NOWHERE;
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(plain(custody), model, "after {:?}", step);
                prop_assert_eq!(Custody::from_bits(custody.bits()), custody);
                prop_assert_eq!(custody.bits() == 0, model == NOWHERE);
            }
        }
    }
}
