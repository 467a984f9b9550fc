//! Folios of one actor.

use pagepool::{Advice, AllocError, Folio, Gfp, MapError, Order, PAGE_SIZE};

use super::{Actor, pause};
use crate::op::Hold;
use crate::scene::PART_ORDER;
use crate::shadow::{self, Shadow};

/// A folio and what is in it.
pub(super) struct Held {
    folio: Folio,
    shadow: Shadow,
    /// The part of the mapped store that it is over.
    part: Option<usize>,
}

impl Held {
    /// Compares it, if it is in memory and nobody has it on hand.
    pub(super) fn compare(&self) {
        let mut copy = vec![0; self.folio.len()];
        if self.folio.peek(&mut copy) {
            shadow::compare("a folio meanwhile", &copy, self.shadow, 0);
        }
    }
}

impl Actor {
    pub(super) fn folio(&mut self, pages: u8, group: u8) {
        let len = usize::from(pages) * PAGE_SIZE;
        self.keep(self.group(group).alloc_folio(len, Gfp::USER_MOVABLE));
        self.write(u16::MAX, 0);
    }

    pub(super) fn blank(&mut self, pages: u8, group: u8) {
        let len = usize::from(pages) * PAGE_SIZE;
        self.keep(self.group(group).blank_folio(len));
    }

    pub(super) fn keep(&mut self, folio: Result<Folio, AllocError>) {
        match folio {
            Ok(folio) => self.folios.push(Held {
                folio,
                shadow: Shadow::Zeros,
                part: None,
            }),
            Err(error) => self.note_refusal(error),
        }
    }

    /// The index of a folio: the last one for the greatest number.
    pub(super) fn index(&self, which: u16) -> Option<usize> {
        match (which, self.folios.len()) {
            (_, 0) => None,
            (u16::MAX, nr) => Some(nr - 1),
            (which, nr) => Some(usize::from(which) % nr),
        }
    }

    pub(super) fn read(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = &self.folios[index];
        match held.folio.read() {
            Ok(bytes) => shadow::compare("a folio", &bytes, held.shadow, 0),
            Err(error) => self.note_access(error),
        }
    }

    pub(super) fn peek(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = &self.folios[index];
        let page = usize::from(which) % (held.folio.len() / PAGE_SIZE);
        let mut copy = vec![0; PAGE_SIZE];
        match held.folio.read_at(page * PAGE_SIZE, &mut copy) {
            Ok(()) => shadow::compare("a copy", &copy, held.shadow, page),
            Err(error) => self.note_access(error),
        }
    }

    pub(super) fn write(&mut self, which: u16, ms: u8) {
        let Some(index) = self.index(which) else {
            return;
        };
        let fill = self.next_fill();
        let Held { folio, shadow, .. } = &mut self.folios[index];
        let written = folio.write().map(|mut bytes| {
            shadow::compare("a folio before a write", &bytes, *shadow, 0);
            shadow::fill(&mut bytes[..PAGE_SIZE], fill);
            // Others run meanwhile: half of it is new.
            pause(ms);
            shadow::fill(&mut bytes, fill);
            *shadow = Shadow::Filled(fill);
        });
        if let Err(error) = written {
            self.note_access(error);
        }
    }

    pub(super) fn hold(&mut self, which: u16, how: Hold, ms: u8) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = &self.folios[index];
        let outcome = match how {
            Hold::Write => return self.write(which, ms),
            Hold::Pin => held.folio.pin().map(|pin| {
                let address = pin.as_ptr();
                pause(ms);
                assert_eq!(pin.as_ptr(), address, "a pinned folio moved");
                if let Ok(bytes) = held.folio.read() {
                    assert_eq!(bytes.as_ptr(), address.cast_const(), "a pinned folio moved");
                    shadow::compare("a pinned folio", &bytes, held.shadow, 0);
                }
            }),
            Hold::Read => held.folio.read().map(|bytes| {
                pause(ms);
                shadow::compare("a folio that was held", &bytes, held.shadow, 0);
            }),
        };
        if let Err(error) = outcome {
            self.note_access(error);
        }
    }

    pub(super) fn advise(&mut self, which: u16, cold: bool) {
        let Some(index) = self.index(which) else {
            return;
        };
        let advice = if cold { Advice::Cold } else { Advice::WillNeed };
        if let Err(error) = self.folios[index].folio.advise(advice) {
            self.note_access(error);
        }
    }

    pub(super) fn discard(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        match self.folios[index].folio.discard() {
            Ok(()) => self.folios[index].shadow = Shadow::Zeros,
            Err(error) => self.note_access(error),
        }
    }

    pub(super) fn lock(&mut self, which: u16, on: bool) {
        let Some(index) = self.index(which) else {
            return;
        };
        if !on {
            self.folios[index].folio.unlock();
        } else if let Err(error) = self.folios[index].folio.lock() {
            self.note_access(error);
        }
    }

    pub(super) fn regroup(&mut self, which: u16, group: u8) {
        let Some(index) = self.index(which) else {
            return;
        };
        let group = self.group(group);
        let moved = self.folios[index].folio.move_to(&group);
        self.scene.note(u64::from(moved.is_ok()));
    }

    /// Makes a folio over a part of the mapped store.
    pub(super) fn map(&mut self, which: u16, group: u8) {
        let Some(file) = &self.scene.file else { return };
        let part = usize::from(which) % file.parts.len();
        let group = self.group(group);
        let mapping = file.mapping.in_group(&group);
        let mapping = mapping.expect("a group of this pool");
        let order = Order::new(PART_ORDER).expect("a small one");
        match mapping.folio((part << PART_ORDER) as u64, order) {
            Ok(folio) => {
                let shadow = *file.parts[part].lock().expect("nobody panics");
                let part = Some(part);
                self.folios.push(Held {
                    folio,
                    shadow,
                    part,
                });
            }
            Err(MapError::Alloc(error)) => self.note_refusal(error),
            Err(MapError::AlreadyMapped { .. }) => {}
            Err(error) => panic!("the store has this part: {error}"),
        }
    }

    pub(super) fn flush(&self, which: u16) {
        if let Some(index) = self.index(which) {
            let flushed = self.folios[index].folio.flush();
            self.note_flush(flushed);
        }
    }

    /// Compares a folio a last time, and drops it.
    pub(super) fn end_folio(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = self.folios.swap_remove(index);
        match held.folio.read() {
            Ok(bytes) => shadow::compare("a folio at its end", &bytes, held.shadow, 0),
            Err(error) => self.note_access(error),
        }
        if let (Some(part), Some(file)) = (held.part, &self.scene.file) {
            let flushed = held.folio.flush();
            // What could not be written is written once more when it is dropped, or lost.
            let left = match flushed {
                Ok(()) => held.shadow,
                Err(_) => Shadow::Anything,
            };
            *file.parts[part].lock().expect("nobody panics") = left;
            self.note_flush(flushed);
        }
    }
}
