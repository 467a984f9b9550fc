//! Blocks: pages that stay where they are.

use std::sync::Arc;

use pagepool::{Gfp, NodeId, Order};

use super::Actor;
use crate::op::Urgency;
use crate::shadow::{self, Shadow};

impl Actor {
    pub(super) fn alloc(
        &mut self,
        order: u8,
        movable: bool,
        urgency: Urgency,
        node: u8,
        group: u8,
    ) {
        let Ok(order) = Order::new(order) else { return };
        let mut gfp = flags(urgency);
        if movable {
            gfp |= Gfp::MOVABLE | Gfp::HIGHMEM;
        }
        let scene = Arc::clone(&self.scene);
        let group = self.group(group);
        let mut request = group.request(order, gfp);
        if let Some(node) = NodeId::new(usize::from(node)).filter(|_| node < scene.world.nodes) {
            request = request.prefer(node);
        }
        match request.alloc() {
            Ok(mut pages) => {
                shadow::compare("a new block", &pages, Shadow::Zeros, 0);
                let fill = self.next_fill();
                shadow::fill(&mut pages, fill);
                scene.note(u64::from(pages.pfn().get()));
                self.blocks.push((pages, Shadow::Filled(fill)));
            }
            Err(error) => {
                self.note_refusal(error);
                if urgency == Urgency::Patient && group.id() == scene.pool.root_group().id() {
                    scene.judge_refusal(order, error);
                }
            }
        }
    }

    pub(super) fn bulk(&mut self, order: u8, count: u8) {
        let Ok(order) = Order::new(order) else { return };
        let scene = Arc::clone(&self.scene);
        let mut blocks = Vec::new();
        let got = scene.pool.alloc_bulk(
            order,
            Gfp::KERNEL | Gfp::ZERO,
            usize::from(count),
            &mut blocks,
        );
        scene.note(blocks.len() as u64);
        if let Err(error) = got {
            self.note_refusal(error);
        }
        for mut pages in blocks {
            shadow::compare("a new block of several", &pages, Shadow::Zeros, 0);
            let fill = self.next_fill();
            shadow::fill(&mut pages, fill);
            self.blocks.push((pages, Shadow::Filled(fill)));
        }
    }

    pub(super) fn free(&mut self, which: u16) {
        if self.blocks.is_empty() {
            return;
        }
        let (pages, shadow) = self
            .blocks
            .swap_remove(usize::from(which) % self.blocks.len());
        shadow::compare("a block", &pages, shadow, 0);
        drop(pages);
    }

    pub(super) fn split(&mut self, which: u16) {
        if self.blocks.is_empty() {
            return;
        }
        let (mut pages, shadow) = self
            .blocks
            .swap_remove(usize::from(which) % self.blocks.len());
        shadow::compare("a block to split", &pages, shadow, 0);
        let Some(half) = pages.order().get().checked_sub(1) else {
            self.blocks.push((pages, shadow));
            return;
        };
        let fill = self.next_fill();
        shadow::fill(&mut pages, fill);
        let half = Order::new(half).expect("smaller than one that is");
        for mut part in pages.split(half) {
            let fill = self.next_fill();
            shadow::fill(&mut part, fill);
            self.blocks.push((part, Shadow::Filled(fill)));
        }
    }
}

fn flags(urgency: Urgency) -> Gfp {
    match urgency {
        Urgency::Patient => Gfp::KERNEL | Gfp::ZERO,
        Urgency::Nowait => Gfp::NOWAIT | Gfp::ZERO,
        Urgency::Atomic => Gfp::ATOMIC | Gfp::ZERO,
        Urgency::Noretry => Gfp::KERNEL | Gfp::NORETRY | Gfp::ZERO,
        Urgency::Noio => Gfp::NOIO | Gfp::ZERO,
    }
}
