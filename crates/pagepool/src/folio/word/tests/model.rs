//! The word beside a model of plain fields: whatever is tried, in whatever order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What somebody may try to do with a folio.
#[derive(Clone, Copy, Debug)]
enum Op {
    BeginRead(Courtesy),
    EndRead,
    BeginWrite,
    BeginWriteOwned,
    EndWrite,
    BeginPin,
    EndPin,
    Want,
    BeginFault,
    EndFault(u32, Landing),
    AbortFault,
    BeginCopy,
    BeginCopyInPlace,
    EndCopy,
    Evict(u32),
    Relocate(u32),
    Wait,
    Call,
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    use Op::*;
    let landing = prop_oneof![
        Just(Landing::Idle),
        Just(Landing::Read),
        Just(Landing::Write),
        Just(Landing::Pin),
    ];
    prop_oneof![
        6 => prop_oneof![Just(Courtesy::MeFirst), Just(Courtesy::WaitersFirst)].prop_map(BeginRead),
        6 => Just(EndRead),
        3 => Just(BeginWrite),
        1 => Just(BeginWriteOwned),
        4 => Just(EndWrite),
        2 => Just(BeginPin),
        3 => Just(EndPin),
        2 => Just(Want),
        6 => Just(BeginFault),
        6 => (any::<u32>(), landing).prop_map(|(at, landing)| EndFault(at, landing)),
        1 => Just(AbortFault),
        6 => Just(BeginCopy),
        2 => Just(BeginCopyInPlace),
        2 => Just(EndCopy),
        4 => any::<u32>().prop_map(Evict),
        2 => any::<u32>().prop_map(Relocate),
        2 => Just(Wait),
        2 => Just(Call),
        1 => Just(Kill),
    ]
}

/// A folio as plain fields: what the word packs.
#[derive(Clone, PartialEq, Debug)]
struct Model {
    location: u32,
    nr_moves: u64,
    readers: u64,
    pins: u64,
    is_resident: bool,
    is_busy: bool,
    is_written: bool,
    is_stable: bool,
    is_dead: bool,
    is_awaited: bool,
    is_wanted: bool,
}

impl Model {
    fn new() -> Model {
        Model {
            location: 0,
            nr_moves: 5,
            readers: 0,
            pins: 0,
            is_resident: false,
            is_busy: false,
            is_written: false,
            is_stable: false,
            is_dead: false,
            is_awaited: false,
            is_wanted: false,
        }
    }

    /// The model that a word stands for.
    fn of(word: FolioWord, nr_moves: u64) -> Model {
        assert_eq!(word.generation(), nr_moves % 512);
        Model {
            location: word.location(),
            nr_moves,
            readers: word.readers(),
            pins: word.pins(),
            is_resident: word.is_resident(),
            is_busy: word.is_busy(),
            is_written: word.has(EXCL),
            is_stable: word.is_stable(),
            is_dead: word.is_dead(),
            is_awaited: word.has(WAITERS),
            is_wanted: word.is_wanted(),
        }
    }

    fn is_held(&self) -> bool {
        self.readers > 0 || self.pins > 0 || self.is_written
    }

    fn is_open(&self) -> Result<(), Obstacle> {
        match (self.is_dead, self.is_resident, self.is_busy) {
            (true, _, _) => Err(Obstacle::Ended),
            (false, true, _) => Ok(()),
            (false, false, true) => Err(Obstacle::Taken),
            (false, false, false) => Err(Obstacle::Away),
        }
    }

    fn move_to(&mut self, location: u32) {
        self.location = location;
        self.nr_moves += 1;
    }

    fn begin_write(&mut self, is_in_the_way: bool) -> Result<(), Obstacle> {
        self.is_open()?;
        if is_in_the_way {
            return Err(Obstacle::Taken);
        }
        self.is_written = true;
        self.is_stable = false;
        Ok(())
    }

    /// F1 to F3, as far as one state shows them.
    fn verify(&self) {
        let in_use = self.is_held() || self.is_stable;
        assert!(!in_use || self.is_resident, "F1: {self:?}");
        assert!(!(self.is_busy && self.is_resident), "F1: {self:?}");
        let others = self.readers > 0 || self.is_stable;
        assert!(!(self.is_written && others), "F2: {self:?}");
        assert!(!self.is_wanted || self.pins > 0, "F5: {self:?}");
    }
}

/// The word after the step, if it is permitted, and what the model says of it: the step is done there
/// too. None if nobody could try it, since nobody holds what it gives back.
fn step(word: FolioWord, model: &mut Model, op: Op) -> Option<FolioWord> {
    let check = |got: Result<FolioWord, Obstacle>, expected: Result<(), Obstacle>| {
        assert_eq!(got.map(|_| ()), expected, "{op:?} of {word:?}");
        Some(got.unwrap_or(word))
    };
    let leave = |released: Released, model: &mut Model| {
        assert_eq!(released.wake, std::mem::take(&mut model.is_awaited));
        Some(released.word)
    };
    match op {
        Op::BeginRead(courtesy) => {
            let gives_way = courtesy == Courtesy::WaitersFirst && model.is_awaited;
            let expected = model.is_open().and_then(|()| {
                let is_taken = model.is_written || gives_way;
                if is_taken {
                    Err(Obstacle::Taken)
                } else {
                    Ok(())
                }
            });
            model.readers += u64::from(expected.is_ok());
            check(word.begin_read(courtesy), expected)
        }
        Op::EndRead if model.readers > 0 => {
            let is_last = model.readers == 1;
            assert_eq!(word.owes_wake_after_reader(), is_last && model.is_awaited);
            model.readers -= 1;
            Some(FolioWord(word.0 - FolioWord::READER_LEAVES))
        }
        Op::BeginWrite => {
            let is_in_the_way = model.is_written || model.readers > 0;
            check(word.begin_write(), model.begin_write(is_in_the_way))
        }
        // Whoever knows the folio alone has no guard out, but for those it leaked.
        Op::BeginWriteOwned if model.readers == 0 => {
            check(word.begin_write_owned(), model.begin_write(false))
        }
        Op::EndWrite if model.is_written => {
            model.is_written = false;
            leave(word.end_write(), model)
        }
        Op::BeginPin => {
            let full = if model.pins == MAX_PINS {
                Err(Obstacle::TooMany)
            } else {
                Ok(())
            };
            let expected = model.is_open().and(full);
            model.pins += u64::from(expected.is_ok());
            check(word.begin_pin(), expected)
        }
        Op::EndPin if model.pins > 0 => {
            let is_last = model.pins == 1;
            assert_eq!(word.owes_news_after_pin(), is_last && model.is_wanted);
            model.pins -= 1;
            let after = FolioWord(word.0 - FolioWord::PIN_GOES);
            model.is_wanted &= !is_last;
            Some(after.tell().unwrap_or(after))
        }
        Op::Want => {
            let is_permitted = model.pins > 0 && !model.is_dead;
            model.is_wanted |= is_permitted;
            assert_eq!(word.want().is_some(), is_permitted, "{word:?}");
            Some(word.want().unwrap_or(word))
        }
        Op::BeginFault => {
            let expected = match model.is_open() {
                Err(Obstacle::Away) => Ok(()),
                Ok(()) => Err(Obstacle::Taken),
                other => other,
            };
            model.is_busy |= expected.is_ok();
            check(word.begin_fault(), expected)
        }
        Op::EndFault(location, landing) if model.is_busy => {
            model.is_busy = false;
            model.is_resident = true;
            model.move_to(location);
            match landing {
                Landing::Idle => {}
                Landing::Read => model.readers = 1,
                Landing::Write => model.is_written = true,
                Landing::Pin => model.pins = 1,
            }
            leave(word.end_fault(location, landing), model)
        }
        Op::AbortFault if model.is_busy => {
            model.is_busy = false;
            leave(word.abort_fault(), model)
        }
        Op::BeginCopy => {
            let is_permitted = model.is_open().is_ok() && !model.is_held();
            model.is_stable |= is_permitted;
            assert_eq!(word.begin_copy().is_some(), is_permitted, "{word:?}");
            Some(word.begin_copy().unwrap_or(word))
        }
        Op::BeginCopyInPlace => {
            let is_permitted = model.is_open().is_ok() && !model.is_written;
            model.is_stable |= is_permitted;
            let after = word.begin_copy_in_place();
            assert_eq!(after.is_some(), is_permitted, "{word:?}");
            Some(after.unwrap_or(word))
        }
        Op::EndCopy => {
            model.is_stable = false;
            Some(word.end_copy())
        }
        Op::Evict(location) | Op::Relocate(location) => {
            let is_move = matches!(op, Op::Relocate(_));
            let after = if is_move {
                word.relocate(location)
            } else {
                word.evict(location)
            };
            let is_permitted = model.is_stable && !model.is_held() && !model.is_dead;
            assert_eq!(after.is_some(), is_permitted, "{op:?} of {word:?}");
            if is_permitted {
                model.is_stable = false;
                model.is_resident = is_move;
                model.move_to(location);
            }
            Some(after.unwrap_or(word))
        }
        Op::Wait => {
            model.is_awaited = true;
            Some(word.with_waiter())
        }
        Op::Call => {
            model.is_awaited = false;
            Some(word.call_waiters())
        }
        Op::Kill => {
            model.is_dead = true;
            Some(word.kill())
        }
        Op::BeginWriteOwned | Op::EndRead | Op::EndWrite | Op::EndPin => None,
        Op::EndFault(..) | Op::AbortFault => None,
    }
}

proptest! {
    /// Whatever is tried in whatever order: the word does what plain fields would do, F1 to F3 hold,
    /// and an optimistic reader tells every change of place from none.
    #[test]
    fn the_word_does_as_plain_fields_do(ops in vec(op(), 0..100)) {
        let (mut word, mut model) = (away(), Model::new());
        for op in ops {
            let before = (word, model.clone());
            let Some(after) = step(word, &mut model, op) else {
                continue;
            };
            prop_assert_eq!(&Model::of(after, model.nr_moves), &model, "{:?} of {:?}", op, word);
            model.verify();
            let (old, was) = before;
            if was.nr_moves != model.nr_moves {
                prop_assert_eq!(was.readers + was.pins, 0, "F3: {:?} of {:?}", op, old);
                prop_assert!(!after.is_same_place(old), "{:?} of {:?}", op, old);
            }
            word = after;
        }
    }
}
