//! A thread of the program: what it holds, and what each operation does to it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagepool::{
    AccessError, Advice, AllocError, Folio, Gfp, GroupLimits, NodeId, Order, PAGE_SIZE, PagePool,
    Pages, Tunables, ZoneType, sim,
};

use crate::op::{Hold, Op, Urgency};
use crate::play::Scene;
use crate::shadow::{self, Shadow};

/// For how long a thread reclaims that has nothing else to do. Where nothing can be had, it is all of it.
const RECLAIM_PATIENCE: Duration = Duration::from_millis(5);

/// A folio and what is in it.
struct Held {
    folio: Folio,
    shadow: Shadow,
}

/// See the head of the module.
pub(crate) struct Actor {
    scene: Arc<Scene>,
    /// Of the next fill; no two are the same.
    fill: u64,
    blocks: Vec<(Pages, Shadow)>,
    folios: Vec<Held>,
}

impl Actor {
    pub(crate) fn new(number: usize, scene: &Arc<Scene>) -> Actor {
        Actor {
            scene: Arc::clone(scene),
            fill: (number as u64 + 1) << 32,
            blocks: vec![],
            folios: vec![],
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
    }

    /// Compares a folio a last time, and drops it.
    fn end_folio(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = self.folios.swap_remove(index);
        match held.folio.read() {
            Ok(bytes) => shadow::compare("a folio at its end", &bytes, held.shadow, 0),
            Err(error) => self.note_access(error),
        }
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
            Op::Drop { which } => self.end_folio(which),
            Op::ReadShared { which, optimistic } => self.read_shared(which, optimistic),
            Op::WriteShared { which, ms } => self.write_shared(which, ms),
            Op::CoolShared { which, pages } => self.cool_shared(which, pages),
            other => self.act_on_all(other),
        }
        self.scene.note(sim::time().as_nanos() as u64);
    }

    /// What concerns more than one object.
    fn act_on_all(&mut self, op: Op) {
        let pool = &self.scene.pool;
        let patience = Duration::from_millis(self.scene.world.patience_ms);
        match op {
            Op::Compact { node } => match NodeId::new(usize::from(node)) {
                Some(node) => pool.compact_node(node, patience),
                None => pool.compact(patience),
            },
            Op::Reclaim { pages } => {
                let patience = patience.min(RECLAIM_PATIENCE);
                let freed = pool.reclaim(usize::from(pages) * PAGE_SIZE, patience);
                self.scene.note(freed as u64);
            }
            Op::Drain => self.scene.note(pool.drain() as u64),
            Op::Trim => self.scene.note(pool.trim() as u64),
            Op::DropCaches => {
                let dropped = pool.tunables().drop_caches(3, patience);
                self.scene.note(dropped.expect("3 is both kinds") as u64);
            }
            Op::Offline {
                node,
                movable,
                pages,
            } => {
                let zone = [ZoneType::Normal, ZoneType::Movable][usize::from(movable)];
                if let Some(node) = NodeId::new(usize::from(node)) {
                    let bytes = pool.offline(node, zone, usize::from(pages) * PAGE_SIZE);
                    self.scene.note(bytes as u64);
                }
            }
            Op::Online => {
                for node in (0..usize::from(self.scene.world.nodes)).filter_map(NodeId::new) {
                    for zone in [ZoneType::Normal, ZoneType::Movable] {
                        pool.online(node, zone, usize::MAX);
                    }
                }
            }
            Op::Resize { percent } => {
                let bytes = pool.config().budget_bytes() / 100 * usize::from(percent);
                if let Ok(resized) = pool.resize_budget(bytes, patience) {
                    self.scene.note(resized.missing_bytes() as u64);
                }
            }
            Op::Tune { which, value } => tune(pool.tunables(), which, value),
            Op::Limit { group, max, low } => self.limit(group, max, low),
            Op::Fail { trouble } => {
                self.fill += 1;
                self.scene.fail(trouble, self.fill);
            }
            Op::Freeze { ms } => self.freeze(ms),
            Op::Daemons { node, on } => self.daemons(node, on),
            Op::Explain => explain(pool),
            Op::Sleep { ms } => sim::pause(Duration::from_millis(u64::from(ms))),
            _ => unreachable!("{op:?} is about one object"),
        }
    }

    fn next_fill(&mut self) -> u64 {
        self.fill += 1;
        self.fill
    }

    fn alloc(&mut self, order: u8, movable: bool, urgency: Urgency, node: u8, group: u8) {
        let Ok(order) = Order::new(order) else { return };
        let mut gfp = flags(urgency);
        if movable {
            gfp |= Gfp::MOVABLE | Gfp::HIGHMEM;
        }
        let scene = Arc::clone(&self.scene);
        let mut request = match self.group(group) {
            Some(number) => scene.groups[number].request(order, gfp),
            None => scene.pool.request(order, gfp),
        };
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
            Err(error) => self.note_refusal(error),
        }
    }

    fn bulk(&mut self, order: u8, count: u8) {
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

    fn free(&mut self, which: u16) {
        if self.blocks.is_empty() {
            return;
        }
        let (pages, shadow) = self
            .blocks
            .swap_remove(usize::from(which) % self.blocks.len());
        shadow::compare("a block", &pages, shadow, 0);
        drop(pages);
    }

    fn split(&mut self, which: u16) {
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

    fn folio(&mut self, pages: u8, group: u8) {
        let len = usize::from(pages) * PAGE_SIZE;
        let folio = match self.group(group) {
            Some(number) => self.scene.groups[number].alloc_folio(len, Gfp::USER_MOVABLE),
            None => self.scene.pool.alloc_folio(len, Gfp::USER_MOVABLE),
        };
        self.keep(folio);
        self.write(u16::MAX, 0);
    }

    fn blank(&mut self, pages: u8, group: u8) {
        let len = usize::from(pages) * PAGE_SIZE;
        let folio = match self.group(group) {
            Some(number) => self.scene.groups[number].blank_folio(len),
            None => self.scene.pool.blank_folio(len),
        };
        self.keep(folio);
    }

    fn keep(&mut self, folio: Result<Folio, AllocError>) {
        match folio {
            Ok(folio) => self.folios.push(Held {
                folio,
                shadow: Shadow::Zeros,
            }),
            Err(error) => self.note_refusal(error),
        }
    }

    /// The index of a folio: the last one for the greatest number.
    fn index(&self, which: u16) -> Option<usize> {
        match (which, self.folios.len()) {
            (_, 0) => None,
            (u16::MAX, nr) => Some(nr - 1),
            (which, nr) => Some(usize::from(which) % nr),
        }
    }

    fn read(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        let held = &self.folios[index];
        match held.folio.read() {
            Ok(bytes) => shadow::compare("a folio", &bytes, held.shadow, 0),
            Err(error) => self.note_access(error),
        }
    }

    fn peek(&mut self, which: u16) {
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

    fn write(&mut self, which: u16, ms: u8) {
        let Some(index) = self.index(which) else {
            return;
        };
        let fill = self.next_fill();
        let Held { folio, shadow } = &mut self.folios[index];
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

    fn hold(&mut self, which: u16, how: Hold, ms: u8) {
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

    fn advise(&mut self, which: u16, cold: bool) {
        let Some(index) = self.index(which) else {
            return;
        };
        let advice = if cold { Advice::Cold } else { Advice::WillNeed };
        if let Err(error) = self.folios[index].folio.advise(advice) {
            self.note_access(error);
        }
    }

    fn discard(&mut self, which: u16) {
        let Some(index) = self.index(which) else {
            return;
        };
        match self.folios[index].folio.discard() {
            Ok(()) => self.folios[index].shadow = Shadow::Zeros,
            Err(error) => self.note_access(error),
        }
    }

    fn lock(&mut self, which: u16, on: bool) {
        let Some(index) = self.index(which) else {
            return;
        };
        if !on {
            self.folios[index].folio.unlock();
        } else if let Err(error) = self.folios[index].folio.lock() {
            self.note_access(error);
        }
    }

    fn regroup(&mut self, which: u16, group: u8) {
        let Some(index) = self.index(which) else {
            return;
        };
        let group = match self.group(group) {
            Some(number) => self.scene.groups[number].clone(),
            None => self.scene.pool.root_group(),
        };
        let moved = self.folios[index].folio.move_to(&group);
        self.scene.note(u64::from(moved.is_ok()));
    }

    fn read_shared(&mut self, which: u16, optimistic: bool) {
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

    fn write_shared(&mut self, which: u16, ms: u8) {
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

    fn cool_shared(&mut self, which: u16, pages: u8) {
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

    fn limit(&self, group: u8, max: u8, low: u8) {
        let Some(number) = self.group(group) else {
            return;
        };
        let percent = |percent: u8| self.scene.world.bytes() / 100 * usize::from(percent);
        let limits = GroupLimits::new().max(percent(max)).low(percent(low));
        let set = self.scene.groups[number].set_limits(limits);
        self.scene.note(u64::from(set.is_ok()));
    }

    fn freeze(&self, ms: u8) {
        let pool = &self.scene.pool;
        let frozen = pool.freeze(Duration::from_secs(5));
        // Somebody who thaws meanwhile thaws for all.
        self.scene.note(u64::from(frozen.is_ok()));
        pause(ms);
        pool.thaw();
    }

    fn daemons(&self, node: u8, on: bool) {
        let node = NodeId::new(usize::from(node % self.scene.world.nodes));
        let Some(node) = node.filter(|_| self.scene.world.daemons) else {
            return;
        };
        if on {
            let online = self.scene.pool.online_node(node);
            online.expect("there are threads to be had");
        } else {
            self.scene.pool.offline_node(node);
        }
    }

    /// The index of a group; 0 and numbers that there are not are the root.
    fn group(&self, number: u8) -> Option<usize> {
        let index = usize::from(number).checked_sub(1)?;
        (index < self.scene.groups.len()).then_some(index)
    }

    /// Whether a device may seem to have stalled: it has, or its worker did not run for as long as a request
    /// has patience.
    fn may_be_slow(&self) -> bool {
        let world = &self.scene.world;
        self.scene.troubled.load(Relaxed) || world.early > 0 || world.patience_ms < 200
    }

    fn note_refusal(&self, error: AllocError) {
        self.scene.note(error.cause().len() as u64);
        let is_possible = match error {
            AllocError::InvalidFlags | AllocError::Reentrant | AllocError::Thrashing => false,
            AllocError::StoreStalled => self.may_be_slow(),
            _ => true,
        };
        assert!(is_possible, "refused for no reason: {error}");
    }

    fn note_access(&self, error: AccessError) {
        self.scene.note(error.cause().len() as u64);
        match error {
            AccessError::Alloc(error) => self.note_refusal(error),
            AccessError::Corrupt => {
                assert!(self.scene.lied.load(Relaxed), "no device has lied: {error}");
            }
            AccessError::StoreFailed => {
                assert!(
                    self.scene.troubled.load(Relaxed),
                    "no device has failed: {error}"
                );
            }
            AccessError::StoreStalled => {
                assert!(self.may_be_slow(), "no device has stalled: {error}");
            }
            AccessError::TimedOut => {}
            AccessError::WouldBlock | AccessError::Deadlock | AccessError::TooManyPins => {
                panic!("that was not asked for: {error}")
            }
            _ => panic!("an error that this test does not know: {error}"),
        }
    }
}

fn pause(ms: u8) {
    if ms > 0 {
        sim::pause(Duration::from_millis(u64::from(ms)));
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

/// Sets the setting of this number to a value by chance, if it is one that the pool accepts.
fn tune(tunables: Tunables<'_>, which: u8, value: u8) {
    let names: Vec<&'static str> = tunables.all().map(|tunable| tunable.name).collect();
    let name = names[usize::from(which) % names.len()];
    // What makes requests give up is not wanted: every refusal would be in order.
    if name != "thrashing_limit" {
        let _accepted = tunables.set(name, &value.to_string());
    }
}

fn explain(pool: &PagePool) {
    for order in Order::all() {
        let text = pool.explain(order, Gfp::KERNEL).to_string();
        assert!(!text.is_empty());
    }
    let stats = pool.stats();
    assert!(!stats.nodes.is_empty());
    let failures = pool.failures();
    assert!(
        failures
            .iter()
            .all(|failure| !failure.to_string().is_empty())
    );
    let _ = pool.explain_swap();
    let _ = pool.pressure();
}
