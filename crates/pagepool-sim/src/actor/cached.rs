//! Blocks of the program's caches.

use pagepool::{Gfp, Order};

use super::Actor;
use crate::cache::Object;
use crate::shadow::{self, Shadow};

impl Actor {
    pub(super) fn cache(&mut self, order: u8, count: u8, aware: bool, group: u8) {
        let Ok(order) = Order::new(order) else { return };
        let group = self.group(group);
        for _ in 0..count {
            if self.scene.cache(aware).is_none() {
                return;
            }
            let made = group.request(order, Gfp::KERNEL | Gfp::RECLAIMABLE).alloc();
            let mut pages = match made {
                Ok(pages) => pages,
                Err(error) => return self.note_refusal(error),
            };
            let fill = self.next_fill();
            shadow::fill(&mut pages, fill);
            let object = Object {
                pages,
                shadow: Shadow::Filled(fill),
                group: group.id(),
            };
            if let Some(cache) = self.scene.cache(aware) {
                cache.add(object);
            }
        }
    }

    pub(super) fn uncache(&mut self, which: u16, aware: bool) {
        let taken = self.scene.cache(aware).and_then(|cache| cache.take(which));
        self.scene.note(u64::from(taken.is_some()));
    }

    pub(super) fn empty_caches_of_own_group(&self) {
        let Some(group) = &self.own_group else { return };
        for aware in [false, true] {
            if let Some(cache) = self.scene.cache(aware) {
                cache.forget(group.id());
            }
        }
    }
}
