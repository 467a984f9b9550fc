//! A recording of a pool as a script: which blocks and folios come and go, by slot.
//!
//! What was held before the recording began, and what is missing because events were lost, is passed over: a script
//! frees, splits and accesses only what it has allocated (N3).
#![forbid(unsafe_code)]

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use pagepool::{AccessKind, Gfp, Happening, Order, Tape};

use super::error::{Place, TraceError};

/// A step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Alloc {
        slot: u32,
        order: Order,
        gfp: Gfp,
    },
    /// A request that was refused when it was recorded: nobody holds what it is granted now.
    Try {
        order: Order,
        gfp: Gfp,
    },
    Free {
        slot: u32,
    },
    /// Into blocks whose slots are a range of [`Script::parts`].
    Split {
        slot: u32,
        into: Order,
        first: u32,
    },
    Open {
        slot: u32,
        len: u32,
    },
    /// The folio is brought to memory before its first use.
    Populate {
        slot: u32,
    },
    Access {
        slot: u32,
        kind: AccessKind,
    },
    Discard {
        slot: u32,
    },
    Lock {
        slot: u32,
    },
    Unlock {
        slot: u32,
    },
    Cool {
        slot: u32,
    },
    Close {
        slot: u32,
    },
}

/// A recording, ready to be played.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) parts: Vec<u32>,
    /// Slots for blocks, and for folios.
    pub(crate) nr_blocks: usize,
    pub(crate) nr_folios: usize,
    /// What it consists of.
    pub(crate) counts: Counts,
}

/// What a recording consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) allocs: u64,
    pub(crate) frees: u64,
    pub(crate) refused: u64,
    pub(crate) folios: u64,
    pub(crate) accesses: u64,
    pub(crate) faults: u64,
    /// Events on blocks and folios whose beginning is not recorded.
    pub(crate) unknown: u64,
    /// Folios over users' stores, which are played as others are.
    pub(crate) backed: u64,
}

/// Whether the file at `path` begins as a recording does. One that cannot be read does not, nor does a pipe, whose
/// beginning would be gone.
pub(crate) fn is_recording(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && Tape::is_one(&start)
}

/// Reads the recording at `path`, all of it.
pub(crate) fn open(path: &Path) -> Result<Tape, TraceError> {
    let tape = Tape::open(path);
    whole(&path.display().to_string(), tape)
}

/// Refuses a recording that was cut off.
pub(crate) fn whole(
    name: &str,
    tape: Result<Tape, pagepool::TapeError>,
) -> Result<Tape, TraceError> {
    let refuse = |what: &dyn std::fmt::Display| TraceError::new(name, Place::Whole, what);
    let tape = tape.map_err(|error| refuse(&error))?;
    if tape.is_cut_off() {
        let what = format!(
            "a recording that was cut off after {} events: its end is missing; copy it again, or have its program stop the recording",
            tape.events().len()
        );
        return Err(refuse(&what));
    }
    if tape.events().is_empty() {
        return Err(refuse(&"a recording in which nothing happens"));
    }
    Ok(tape)
}

/// Which slot something has that goes by a number, with what is known of it, and which slots are vacant.
struct Slots<T> {
    taken: HashMap<u32, (u32, T)>,
    vacant: Vec<u32>,
    nr: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            taken: HashMap::new(),
            vacant: Vec::new(),
            nr: 0,
        }
    }
}

impl<T: Copy> Slots<T> {
    /// Gives a number a slot. If it has one already, that one is vacant from now on, and returned, too: its end is
    /// among the events that were lost.
    fn take(&mut self, number: u32, known: T) -> (u32, Option<u32>) {
        let before = self.leave(number);
        // Not the same one: its end is a step of its own.
        let slot = match before {
            Some(_) => None,
            None => self.vacant.pop(),
        };
        let slot = slot.unwrap_or_else(|| {
            self.nr += 1;
            self.nr as u32 - 1
        });
        self.taken.insert(number, (slot, known));
        (slot, before)
    }

    fn of(&self, number: u32) -> Option<(u32, T)> {
        self.taken.get(&number).copied()
    }

    fn leave(&mut self, number: u32) -> Option<u32> {
        let (slot, _) = self.taken.remove(&number)?;
        self.vacant.push(slot);
        Some(slot)
    }
}

/// A script that is being written.
#[derive(Default)]
struct Writer {
    script: Script,
    /// With their orders.
    blocks: Slots<Order>,
    folios: Slots<()>,
}

impl Script {
    /// Makes a script of what was recorded.
    pub(crate) fn of(tape: &Tape) -> Script {
        let mut writer = Writer::default();
        for event in tape.events() {
            writer.add(event.what);
        }
        let Writer {
            mut script,
            blocks,
            folios,
        } = writer;
        (script.nr_blocks, script.nr_folios) = (blocks.nr, folios.nr);
        script.counts.events = tape.events().len() as u64;
        script
    }
}

impl Script {
    /// Sees that each step is about something that is there (N3); returns how many steps there are.
    pub(crate) fn assert_consistent(&self) -> usize {
        let (mut blocks, mut folios) = (vec![None; self.nr_blocks], vec![false; self.nr_folios]);
        for step in &self.steps {
            match *step {
                Step::Alloc { slot, order, .. } => {
                    let before = blocks[slot as usize].replace(order);
                    assert_eq!(before, None, "{step:?}");
                }
                Step::Free { slot } => {
                    blocks[slot as usize].take().expect("a block is there");
                }
                Step::Split { slot, into, first } => {
                    let order: Order = blocks[slot as usize].take().expect("a block is there");
                    let parts = &self.parts[first as usize..][..order.pages() >> into.get()];
                    for part in parts {
                        let before = blocks[*part as usize].replace(into);
                        assert_eq!(before, None, "{step:?}");
                    }
                }
                Step::Try { .. } => {}
                Step::Open { slot, .. } => {
                    let was_open = std::mem::replace(&mut folios[slot as usize], true);
                    assert!(!was_open, "{step:?}");
                }
                Step::Close { slot } => {
                    let was_open = std::mem::replace(&mut folios[slot as usize], false);
                    assert!(was_open, "{step:?}");
                }
                Step::Populate { slot }
                | Step::Access { slot, .. }
                | Step::Discard { slot }
                | Step::Lock { slot }
                | Step::Unlock { slot }
                | Step::Cool { slot } => assert!(folios[slot as usize], "{step:?}"),
            }
        }
        self.steps.len()
    }
}

impl Writer {
    fn add(&mut self, what: Happening) {
        let counts = &mut self.script.counts;
        match what {
            Happening::Alloc {
                pfn, order, gfp, ..
            } => {
                counts.allocs += 1;
                let slot = self.place_block(pfn.get(), order);
                self.script.steps.push(Step::Alloc { slot, order, gfp });
            }
            Happening::Refused { order, gfp, .. } => {
                counts.refused += 1;
                self.script.steps.push(Step::Try { order, gfp });
            }
            Happening::Free { pfn, .. } => {
                counts.frees += 1;
                let slot = self.blocks.leave(pfn.get());
                self.step(slot, |slot| Step::Free { slot });
            }
            Happening::Split { pfn, order, into } => self.split(pfn.get(), order, into),
            Happening::Open { folio, len, backed } => {
                counts.folios += 1;
                counts.backed += u64::from(backed);
                self.open(folio, len);
            }
            Happening::NotOpened { .. } => counts.refused += 1,
            Happening::Close { folio } => {
                let slot = self.folios.leave(folio);
                self.step(slot, |slot| Step::Close { slot });
            }
            Happening::Access { folio, kind } => {
                counts.accesses += 1;
                self.on_folio(folio, |slot| Step::Access { slot, kind });
            }
            Happening::Fault {
                folio, kind, cause, ..
            } => {
                counts.faults += 1;
                counts.refused += u64::from(cause.is_some());
                // One for an access comes by itself.
                if kind == AccessKind::Idle {
                    self.on_folio(folio, |slot| Step::Populate { slot });
                }
            }
            Happening::Discard { folio } => self.on_folio(folio, |slot| Step::Discard { slot }),
            Happening::Lock { folio } => self.on_folio(folio, |slot| Step::Lock { slot }),
            Happening::Unlock { folio } => self.on_folio(folio, |slot| Step::Unlock { slot }),
            Happening::Cool { folio } => self.on_folio(folio, |slot| Step::Cool { slot }),
            // What a later version records.
            _ => counts.unknown += 1,
        }
    }

    fn step(&mut self, slot: Option<u32>, step: impl FnOnce(u32) -> Step) {
        match slot {
            Some(slot) => self.script.steps.push(step(slot)),
            None => self.script.counts.unknown += 1,
        }
    }

    fn on_folio(&mut self, folio: u32, step: impl FnOnce(u32) -> Step) {
        let slot = self.folios.of(folio).map(|(slot, ())| slot);
        self.step(slot, step);
    }

    /// Gives a block a slot; ends the one before it that was never freed.
    fn place_block(&mut self, pfn: u32, order: Order) -> u32 {
        let (slot, before) = self.blocks.take(pfn, order);
        if let Some(slot) = before {
            self.script.steps.push(Step::Free { slot });
        }
        slot
    }

    fn open(&mut self, folio: u32, len: u32) {
        let (slot, before) = self.folios.take(folio, ());
        if let Some(slot) = before {
            self.script.steps.push(Step::Close { slot });
        }
        self.script.steps.push(Step::Open { slot, len });
    }

    fn split(&mut self, pfn: u32, order: Order, into: Order) {
        let known = self.blocks.of(pfn).filter(|(_, known)| *known == order);
        let Some((slot, _)) = known else {
            self.script.counts.unknown += 1;
            return;
        };
        let first = self.script.parts.len() as u32;
        // Its slot is vacant only once all parts have theirs.
        self.blocks.taken.remove(&pfn);
        for part in 0..order.pages() >> into.get() {
            let pfn = pfn.wrapping_add((part << into.get()) as u32);
            let part = self.place_block(pfn, into);
            self.script.parts.push(part);
        }
        self.script.steps.push(Step::Split { slot, into, first });
        self.blocks.vacant.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use pagepool::{PAGE_SIZE, PagePool, RecordOptions};

    use super::*;

    fn recorded(load: impl FnOnce(&PagePool)) -> Tape {
        let builder = PagePool::builder().memory(32 << 20).daemons(false);
        let pool = builder.build().unwrap();
        let recording = pool.record(RecordOptions::ring(1 << 20)).unwrap();
        load(&pool);
        recording.stop().unwrap().tape.unwrap()
    }

    #[test]
    fn a_script_does_what_was_recorded() {
        let order = Order::new(1).unwrap();
        let gfp = Gfp::KERNEL;
        let script = Script::of(&recorded(|pool| {
            let block = pool.alloc_pages(order, gfp).unwrap();
            let parts: Vec<_> = block.split(Order::ZERO).collect();
            drop(parts);
            let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
            drop(folio.read().unwrap());
        }));
        assert_eq!(
            script.steps,
            [
                Step::Alloc {
                    slot: 0,
                    order,
                    gfp
                },
                Step::Split {
                    slot: 0,
                    into: Order::ZERO,
                    first: 0
                },
                Step::Free { slot: 1 },
                Step::Free { slot: 2 },
                Step::Open { slot: 0, len: 4096 },
                Step::Populate { slot: 0 },
                Step::Access {
                    slot: 0,
                    kind: AccessKind::Read
                },
                Step::Close { slot: 0 },
            ]
        );
        assert_eq!(
            (script.parts, script.nr_blocks, script.nr_folios),
            (vec![1, 2], 3, 1)
        );
        let Counts {
            allocs,
            frees,
            folios,
            accesses,
            unknown,
            ..
        } = script.counts;
        assert_eq!((allocs, frees, folios, accesses, unknown), (1, 2, 1, 1, 0));
    }

    /// Of a ring, the beginning is missing, and of a file what the writer did not keep up with: a script holds each
    /// block once all the same.
    #[test]
    fn what_was_lost_is_made_up_for() {
        let whole = recorded(|pool| {
            for n in 0..2 {
                let block = pool
                    .alloc_pages(Order::new(n).unwrap(), Gfp::KERNEL)
                    .unwrap();
                drop(block.split(Order::ZERO));
            }
            let folio = pool.blank_folio(1).unwrap();
            drop(folio);
            drop(pool.blank_folio(2).unwrap());
        });
        let mut bytes = Vec::new();
        whole.write_to(&mut bytes).unwrap();
        let nr_events = whole.events().len();
        let first = bytes.len() - (nr_events + 1) * 32;
        for lost in 0..nr_events {
            let mut less = bytes.clone();
            less.drain(first + lost * 32..first + (lost + 1) * 32);
            let end = less.len() - 32;
            less[end..end + 8].copy_from_slice(&(nr_events as u64 - 1).to_le_bytes());
            let script = Script::of(&Tape::from_bytes(&less).unwrap());
            script.assert_consistent();
        }
    }

    #[test]
    fn what_was_held_before_is_passed_over() {
        let builder = PagePool::builder().memory(32 << 20).daemons(false);
        let pool = builder.build().unwrap();
        let before = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
        let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
        let recording = pool.record(RecordOptions::ring(1 << 20)).unwrap();
        drop(before);
        drop(folio.read().unwrap());
        drop(folio);
        let script = Script::of(&recording.stop().unwrap().tape.unwrap());
        assert!(script.steps.is_empty());
        assert_eq!(script.counts.unknown, 3);
    }
}
