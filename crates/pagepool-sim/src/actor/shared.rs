//! Folios that all actors share.

use std::sync::Arc;

use pagepool::{Advice, PAGE_SIZE};

use super::{Actor, RECLAIM_PATIENCE, pause};
use crate::shadow::{self, Shadow};

impl Actor {
    pub(super) fn read_shared(&mut self, which: u16, optimistic: bool) {
        let shared = &self.scene.shared;
        if shared.is_empty() {
            return;
        }
        let (folio, expected) = &shared[usize::from(which) % shared.len()];
        let outcome = if optimistic {
            let mut copy = vec![0; folio.len()];
            let read = folio.read_at(0, &mut copy);
            read.map(|()| shadow::compare_any("a copy of a shared folio", &copy))
        } else {
            let read = folio.read();
            read.map(|bytes| {
                shadow::compare("a shared folio", &bytes, *expected.lock().unwrap(), 0);
            })
        };
        if let Err(error) = outcome {
            self.note_access(error);
        }
    }

    pub(super) fn write_shared(&mut self, which: u16, ms: u8) {
        let scene = Arc::clone(&self.scene);
        if scene.shared.is_empty() {
            return;
        }
        let fill = self.next_fill();
        let (folio, expected) = &scene.shared[usize::from(which) % scene.shared.len()];
        match folio.write() {
            Ok(mut bytes) => {
                let before = *expected.lock().unwrap();
                shadow::compare("a shared folio to write to", &bytes, before, 0);
                shadow::fill(&mut bytes[..PAGE_SIZE], fill);
                pause(ms);
                shadow::fill(&mut bytes, fill);
                *expected.lock().unwrap() = Shadow::Filled(fill);
            }
            Err(error) => self.note_access(error),
        }
    }

    pub(super) fn cool_shared(&mut self, which: u16, pages: u8) {
        let scene = &self.scene;
        if scene.shared.is_empty() {
            return;
        }
        let (folio, _) = &scene.shared[usize::from(which) % scene.shared.len()];
        if let Err(error) = folio.advise(Advice::Cold) {
            self.note_access(error);
        }
        let bytes = usize::from(pages) * PAGE_SIZE;
        scene.note(scene.pool.reclaim(bytes, RECLAIM_PATIENCE) as u64);
    }
}
