//! A thread of the program: what it holds, and what each operation does to it.

mod blocks;
mod cached;
mod folios;
mod movable;
mod shared;
mod verdict;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use pagepool::{Group, MovableBlock, Pages, sim};

use self::folios::Held;
pub(crate) use self::movable::Owner;
use crate::op::Op;
use crate::scene::Scene;
use crate::shadow::{self, Shadow};

/// For how long a thread reclaims that has nothing else to do. Where nothing can be had, it is all of it.
const RECLAIM_PATIENCE: Duration = Duration::from_millis(5);

/// The number of an actor's own group.
const OWN_GROUP: u8 = 4;

/// See the head of the module.
pub(crate) struct Actor {
    number: usize,
    scene: Arc<Scene>,
    /// Of the next fill; no two are the same.
    fill: u64,
    blocks: Vec<(Pages, Shadow)>,
    folios: Vec<Held>,
    movables: Vec<(MovableBlock, Shadow)>,
    own_group: Option<Group>,
}

impl Actor {
    pub(crate) fn new(number: usize, scene: &Arc<Scene>) -> Actor {
        Actor {
            number,
            scene: Arc::clone(scene),
            fill: (number as u64 + 1) << 32,
            blocks: vec![],
            folios: vec![],
            movables: vec![],
            own_group: None,
        }
    }

    /// Gives everything back, and compares it before.
    pub(crate) fn leave(mut self) {
        while let Some((pages, shadow)) = self.blocks.pop() {
            shadow::compare("a block at the end", &pages, shadow, 0);
        }
        while !self.folios.is_empty() {
            self.end_folio(u16::MAX);
        }
        while !self.movables.is_empty() {
            self.moved(0, true);
        }
        self.empty_caches_of_own_group();
        self.leave_own_group();
    }

    /// Carries an operation out.
    pub(crate) fn act(&mut self, op: Op) {
        match op {
            Op::Alloc {
                order,
                movable,
                urgency,
                node,
                group,
            } => self.alloc(order, movable, urgency, node, group),
            Op::Bulk { order, count } => self.bulk(order, count),
            Op::Free { which } => self.free(which),
            Op::Split { which } => self.split(which),
            Op::Folio { pages, group } => self.folio(pages, group),
            Op::Blank { pages, group } => self.blank(pages, group),
            Op::Read { which } => self.read(which),
            Op::Peek { which } => self.peek(which),
            Op::Write { which } => self.write(which, 0),
            Op::Hold { which, how, ms } => self.hold(which, how, ms),
            Op::Advise { which, cold } => self.advise(which, cold),
            Op::Discard { which } => self.discard(which),
            Op::Lock { which, on } => self.lock(which, on),
            Op::Regroup { which, group } => self.regroup(which, group),
            Op::Map { which, group } => self.map(which, group),
            Op::Flush { which } => self.flush(which),
            Op::Movable { order, group } => self.movable(order, group),
            Op::Moved { which, frees } => self.moved(which, frees),
            Op::Cache {
                order,
                count,
                aware,
                group,
            } => self.cache(order, count, aware, group),
            Op::Uncache { which, aware } => self.uncache(which, aware),
            Op::Drop { which } => self.end_folio(which),
            Op::ReadShared { which, optimistic } => self.read_shared(which, optimistic),
            Op::WriteShared { which, ms } => self.write_shared(which, ms),
            Op::CoolShared { which, pages } => self.cool_shared(which, pages),
            other => self.act_on_all(other),
        }
        self.scene.note(sim::time().as_nanos() as u64);
    }

    /// Compares everything that it has and that is in memory, which leaves no trace.
    pub(crate) fn compare(&self) {
        for (pages, shadow) in &self.blocks {
            shadow::compare("a block meanwhile", pages, *shadow, 0);
        }
        sim::undisturbed(|| {
            for held in &self.folios {
                held.compare();
            }
            for (block, shadow) in &self.movables {
                movable::compare(block, *shadow);
            }
        });
    }

    fn next_fill(&mut self) -> u64 {
        self.fill += 1;
        self.fill
    }

    /// The group of a number: this actor's own, one of those that all have, or else the root.
    fn group(&self, number: u8) -> Group {
        let index = usize::from(number).wrapping_sub(1);
        let group = match number {
            OWN_GROUP => self.own_group.as_ref(),
            _ => self.scene.groups.get(index),
        };
        group
            .cloned()
            .unwrap_or_else(|| self.scene.pool.root_group())
    }
}

fn pause(ms: u8) {
    if ms > 0 {
        sim::pause(Duration::from_millis(u64::from(ms)));
    }
}
