//! What each operation does to the pool, and to what must be in it.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pagepool::{
    Advice, AllocError, Fault, Faults, FaultyDevice, Gfp, GroupError, GroupLimits, MapError,
    NodeId, NodeMask, Order, PAGE_SIZE, PagePool, Pages, SwapError, ZoneType,
};

use super::script::{Step, order};
use super::world::{Kept, PATIENCE, STORE_PAGES, World};
use crate::assert_one_line;

/// Things of a kind that an input may have out.
const MOST: usize = 48;

const ZONES: [ZoneType; 3] = [ZoneType::Dma, ZoneType::Normal, ZoneType::Movable];

/// What an input sets tunables to.
const SETTINGS: [&str; 16] = [
    "0",
    "1",
    "2",
    "3",
    "8",
    "60",
    "100",
    "101",
    "200",
    "512",
    "1000",
    "15000",
    "256 32 0",
    "1 1 1",
    "max",
    "18446744073709551615",
];

const FAULTS: [Fault; 9] = [
    Fault::ReadError,
    Fault::TransientReadError,
    Fault::CorruptRead,
    Fault::WriteError,
    Fault::TransientWriteError,
    Fault::ShortWrite,
    Fault::TornWrite,
    Fault::SilentTornWrite,
    Fault::Full,
];

/// The thing that a number means.
fn pick<T>(things: &mut [T], which: u8) -> Option<&mut T> {
    let count = things.len();
    (count > 0).then(|| &mut things[usize::from(which) % count])
}

/// Takes that thing out.
fn take<T>(things: &mut Vec<T>, which: u8) -> Option<T> {
    let count = things.len();
    (count > 0).then(|| things.swap_remove(usize::from(which) % count))
}

/// Writes a few bytes around a place, at least one.
fn scribble(bytes: &mut [u8], at: u8, value: u8) {
    let start = usize::from(at) * bytes.len() / 256;
    let end = (start + 1 + usize::from(value)).min(bytes.len());
    bytes[start..end].fill(value);
}

/// The length of a folio: some pages, less some bytes of the last.
fn length(pages: u8, less: u8) -> usize {
    let pages = match pages {
        small @ 0..128 => usize::from(small % 8) + 1,
        large => usize::from(large - 127),
    };
    pages * PAGE_SIZE - usize::from(less) * 16
}

impl World {
    pub(super) fn play(&mut self, step: Step) {
        match step {
            Step::Alloc { .. } | Step::AllocOn { .. } | Step::Bulk { .. } => self.alloc(step),
            Step::Write { which, at, value } => {
                if let Some(block) = pick(&mut self.blocks, which) {
                    scribble(&mut block.thing, at, value);
                    scribble(&mut block.bytes, at, value);
                }
            }
            Step::Free { which } => {
                if let Some(block) = take(&mut self.blocks, which) {
                    assert!(*block.thing == block.bytes[..], "a block's bytes");
                }
            }
            Step::Split { which, order: n } => self.split(which, order(n)),
            Step::Folio { pages, less, whose } => {
                if self.folios.len() < MOST {
                    let len = length(pages, less);
                    let gfp = Gfp::USER_MOVABLE | Gfp::NORETRY;
                    if let Ok(folio) = self.group(whose).alloc_folio(len, gfp) {
                        self.folios.push(Kept::blank(folio, len));
                    }
                }
            }
            Step::Blank { pages, less, whose } => {
                if self.folios.len() < MOST {
                    let len = length(pages, less);
                    let folio = self.group(whose).blank_folio(len).expect("room for it");
                    self.folios.push(Kept::blank(folio, len));
                }
            }
            Step::Mapped { page, order: n } => self.map(page, order(n)),
            Step::FolioDrop { which, count } => {
                for _ in 0..=count % 16 {
                    take(&mut self.folios, which);
                }
            }
            Step::Movable { .. } | Step::MovableWrite { .. } | Step::MovableDrop { .. } => {
                self.movable(step);
            }
            // Relaxed: the owner's answers are as good one way or the other.
            Step::Consent { how } => self.owner.0.store(how, Relaxed),
            Step::Group { .. }
            | Step::GroupLimits { .. }
            | Step::GroupReclaim { .. }
            | Step::GroupDelete { .. } => self.group_step(step),
            Step::Faults { kind, one_in, seed } => self.set_faults(kind, one_in, seed),
            Step::SwapOn { .. } | Step::SwapOff => self.swap(step),
            Step::FolioWrite { which, .. }
            | Step::FolioFill { which, .. }
            | Step::FolioRead { which, .. }
            | Step::Hold { which, .. }
            | Step::Cold { which, .. }
            | Step::WillNeed { which }
            | Step::Discard { which }
            | Step::Lock { which }
            | Step::Unlock { which }
            | Step::Flush { which }
            | Step::Share { which }
            | Step::Regroup { which, .. } => {
                if let Some(folio) = take(&mut self.folios, which) {
                    let folio = self.use_folio(folio, step);
                    self.folios.push(folio);
                }
            }
            _ => self.keep_house(step),
        }
    }

    fn keep(&mut self, block: Pages) {
        assert!(block.iter().all(|byte| *byte == 0), "handed out zeroed");
        assert_eq!(block.as_ptr().addr() % block.len(), 0, "aligned");
        assert!(self.pool.owns(&block));
        let len = block.len();
        self.blocks.push(Kept::blank(block, len));
    }

    fn alloc(&mut self, step: Step) {
        if self.blocks.len() >= MOST {
            return;
        }
        match step {
            Step::Alloc {
                order: n,
                gfp,
                whose,
            } => {
                let Ok(order) = Order::new(n) else {
                    return;
                };
                match self.group(whose).alloc_pages(order, gfp) {
                    Ok(block) => {
                        assert!(!gfp.is_contradictory());
                        assert_eq!(block.order(), order);
                        self.keep(block);
                    }
                    Err(error) => assert_ne!(error, AllocError::Reentrant),
                }
            }
            Step::AllocOn {
                order: n,
                mask,
                prefer,
            } => {
                let nodes = (0..3).filter(|node| mask >> node & 1 != 0);
                let mask: NodeMask = nodes.filter_map(NodeId::new).collect();
                let prefer = NodeId::new(usize::from(prefer) % 3).expect("three");
                let request = self.pool.request(order(n), Gfp::KERNEL).nodes(mask);
                if let Ok(block) = request.prefer(prefer).deadline(Duration::ZERO).alloc() {
                    assert!(mask.contains(block.node()));
                    self.keep(block);
                }
            }
            Step::Bulk { order: n, count } => {
                let (mut blocks, count) = (vec![], usize::from(count % 16));
                let got = self
                    .pool
                    .alloc_bulk(order(n % 4), Gfp::KERNEL, count, &mut blocks);
                assert_eq!(got.unwrap_or(0), blocks.len());
                blocks.into_iter().for_each(|block| self.keep(block));
            }
            _ => unreachable!("{step:?} allocates no block"),
        }
    }

    fn split(&mut self, which: u8, order: Order) {
        let Some(block) = take(&mut self.blocks, which) else {
            return;
        };
        let order = order.min(block.thing.order());
        let bytes = block.bytes.chunks_exact(order.bytes());
        for (n, (part, bytes)) in block.thing.split(order).zip(bytes).enumerate() {
            assert!(*part == *bytes, "a part's bytes");
            // Of many, every other goes at once.
            if n % 2 == 0 && self.blocks.len() < MOST {
                let bytes = bytes.to_vec();
                self.blocks.push(Kept { thing: part, bytes });
            }
        }
    }

    fn map(&mut self, page: u8, order: Order) {
        if self.folios.len() >= MOST {
            return;
        }
        let page = u64::from(page) & !(order.pages() as u64 - 1);
        if page + order.pages() as u64 > STORE_PAGES {
            return;
        }
        match self.mapping.folio(page, order) {
            Ok(folio) => {
                // What an earlier folio wrote there, if there was one.
                let read = folio.read_within(PATIENCE).map(|read| read.to_vec());
                if let Some(bytes) = self.had(read) {
                    self.folios.push(Kept {
                        thing: folio,
                        bytes,
                    });
                }
            }
            Err(error) => {
                assert!(matches!(error, MapError::AlreadyMapped { .. }), "{error}");
            }
        }
    }

    fn use_folio(&mut self, mut folio: Kept<pagepool::Folio>, step: Step) -> Kept<pagepool::Folio> {
        match step {
            Step::FolioWrite { at, value, .. } => {
                if let Some(mut write) = self.had(folio.thing.write_within(PATIENCE)) {
                    assert!(*write == folio.bytes[..], "a folio's bytes");
                    scribble(&mut write, at, value);
                    scribble(&mut folio.bytes, at, value);
                }
            }
            Step::FolioFill { value, .. } => {
                if let Some(mut write) = self.had(folio.thing.write_within(PATIENCE)) {
                    write.fill(value);
                    folio.bytes.fill(value);
                }
            }
            Step::FolioRead { how, .. } => self.read(&folio, how),
            Step::Hold { how, meanwhile, .. } => self.hold(&mut folio, how, meanwhile),
            Step::Cold { count, .. } => {
                let cold = |folio: &Kept<pagepool::Folio>| folio.thing.advise(Advice::Cold);
                cold(&folio).expect("nothing is read for it");
                for other in self.folios.iter().take(usize::from(count)) {
                    cold(other).expect("nothing is read for it");
                }
            }
            Step::WillNeed { .. } => {
                if self.had(folio.thing.advise(Advice::WillNeed)).is_some() {
                    assert!(folio.thing.is_resident());
                }
            }
            Step::Discard { .. } => {
                if self.had(folio.thing.discard()).is_some() {
                    folio.bytes.fill(0);
                }
            }
            Step::Lock { .. } => {
                if self.had(folio.thing.lock()).is_some() {
                    assert!(folio.thing.is_resident());
                }
            }
            Step::Unlock { .. } => folio.thing.unlock(),
            Step::Flush { .. } => {
                // Of swap, nothing; of the store, which never fails, at most that its workers are late.
                let _ = folio.thing.flush();
            }
            Step::Share { .. } => {
                let shared = folio.thing.into_shared();
                let other = shared.clone();
                if let Some(read) = self.had(other.read_within(PATIENCE)) {
                    assert!(*read == folio.bytes[..], "a shared folio's bytes");
                }
                drop(other);
                folio.thing = shared.into_owned().expect("the only one");
            }
            Step::Regroup { whose, .. } => {
                let group = self.group(whose);
                if let Err(error) = folio.thing.move_to(&group) {
                    assert!(!matches!(error, GroupError::InUse { .. }), "{error}");
                }
            }
            _ => unreachable!("{step:?} uses no folio"),
        }
        folio
    }

    fn read(&self, folio: &Kept<pagepool::Folio>, how: u8) {
        let (folio, bytes) = (&folio.thing, &folio.bytes[..]);
        let at = usize::from(how) * bytes.len() / 256;
        match how % 3 {
            0 => {
                if let Some(read) = self.had(folio.read_within(PATIENCE)) {
                    assert!(*read == *bytes, "a folio's bytes");
                }
            }
            1 => {
                let mut copy = vec![0; bytes.len() - at];
                if folio.read_optimistic(at, &mut copy) {
                    assert!(copy == bytes[at..], "a folio's bytes, read beside others");
                    assert!(folio.is_resident());
                }
            }
            _ => match folio.try_read() {
                Ok(read) => assert!(*read == *bytes, "a folio's bytes, had at once"),
                Err(error) => {
                    assert_eq!(error, pagepool::AccessError::WouldBlock);
                    assert!(!folio.is_resident());
                }
            },
        }
    }

    /// Holds a folio in one way or another while the pool is at work.
    fn hold(&self, folio: &mut Kept<pagepool::Folio>, how: u8, meanwhile: u8) {
        match how % 3 {
            0 => {
                let Some(pin) = self.had(folio.thing.pin()) else {
                    return;
                };
                let place = pin.as_ptr();
                self.meanwhile(meanwhile);
                assert_eq!(pin.as_ptr(), place, "pinned");
                assert!(folio.thing.is_resident());
            }
            1 => {
                let Some(read) = self.had(folio.thing.read_within(PATIENCE)) else {
                    return;
                };
                self.meanwhile(meanwhile);
                assert!(*read == folio.bytes[..], "a folio's bytes, held");
            }
            _ => {
                let Some(mut write) = self.had(folio.thing.write_within(PATIENCE)) else {
                    return;
                };
                scribble(&mut write, how, meanwhile);
                scribble(&mut folio.bytes, how, meanwhile);
                self.meanwhile(meanwhile);
                assert!(*write == folio.bytes[..], "a folio's bytes, being written");
            }
        }
    }

    fn meanwhile(&self, what: u8) {
        match what % 6 {
            0 => drop(self.pool.reclaim(32 * PAGE_SIZE, PATIENCE)),
            1 => self.pool.compact(PATIENCE),
            2 => press(&self.pool, usize::MAX),
            3 => drop(self.pool.drain()),
            4 => {
                let node = NodeId::new(0).expect("the first");
                self.pool.offline(node, ZoneType::Normal, 64 * PAGE_SIZE);
            }
            _ => {
                let half = self.pool.stats().budget.least_bytes;
                self.pool.resize_budget(half, PATIENCE).expect("the least");
            }
        }
    }

    fn movable(&mut self, step: Step) {
        match step {
            Step::Movable { order: n, whose } => {
                if self.movables.len() >= MOST {
                    return;
                }
                let (order, owner) = (order(n % 4), Arc::clone(&self.owner));
                let gfp = Gfp::KERNEL | Gfp::NORETRY;
                if let Ok(block) = self.group(whose).alloc_movable(order, gfp, owner, 7) {
                    self.movables.push(Kept::blank(block, order.bytes()));
                }
            }
            Step::MovableWrite { which, at, value } => {
                if let Some(block) = pick(&mut self.movables, which) {
                    let mut write = block.thing.write().expect("it is in memory");
                    assert!(*write == block.bytes[..], "a movable block's bytes");
                    scribble(&mut write, at, value);
                    scribble(&mut block.bytes, at, value);
                }
            }
            Step::MovableDrop { which } => drop(take(&mut self.movables, which)),
            _ => unreachable!("{step:?} is about no movable block"),
        }
    }

    fn group_step(&mut self, step: Step) {
        match step {
            Step::Group { under } => {
                let name = format!("g{}", self.nr_groups_made);
                match self.group(under).create_group(&name, GroupLimits::new()) {
                    Ok(group) => {
                        self.nr_groups_made += 1;
                        self.groups.push(group);
                    }
                    Err(error) => assert_one_line(&error.to_string()),
                }
            }
            Step::GroupLimits { which, max, shape } => {
                if let Some(group) = pick(&mut self.groups, which) {
                    let bytes = usize::from(max) * 4 * PAGE_SIZE;
                    let limits = GroupLimits::new();
                    let limits = match shape % 6 {
                        0 => limits.max(bytes),
                        1 => limits.high(bytes),
                        2 => limits.low(bytes),
                        3 => limits.min(bytes),
                        4 => limits.soft_limit(bytes),
                        _ => limits.max(bytes).high(bytes / 2).low(bytes / 4),
                    };
                    match group.set_limits(limits) {
                        Ok(_) => assert_eq!(group.limits(), limits),
                        Err(error) => assert_one_line(&error.to_string()),
                    }
                }
            }
            Step::GroupReclaim { which, pages } => {
                self.group(which)
                    .reclaim(usize::from(pages) * PAGE_SIZE, PATIENCE);
            }
            Step::GroupDelete { which } => {
                let Some(group) = take(&mut self.groups, which) else {
                    return;
                };
                if let Err((group, error)) = group.delete() {
                    assert!(matches!(error, GroupError::InUse { .. }), "{error}");
                    self.groups.push(group);
                }
            }
            _ => unreachable!("{step:?} is about no group"),
        }
    }

    fn set_faults(&mut self, kind: u8, one_in: u8, seed: u8) {
        let faults = Faults::seeded(seed.into());
        let faults = match kind {
            // One in three plans is none.
            170.. => faults,
            kind => {
                self.device_is_honest = false;
                let fault = FAULTS[usize::from(kind) % FAULTS.len()];
                match one_in {
                    0..128 => faults.one_in(u64::from(one_in % 8) + 1, fault),
                    nth => faults.nth(u64::from(nth - 127), fault),
                }
            }
        };
        self.device.set_faults(faults);
    }

    fn swap(&mut self, step: Step) {
        match (step, self.second_area) {
            (Step::SwapOn { priority }, None) => {
                let device = FaultyDevice::in_memory(128 * PAGE_SIZE, Faults::none());
                match self.pool.swap_on(device, i16::from(priority as i8)) {
                    Ok(area) => self.second_area = Some(area),
                    Err(error) => assert_one_line(&error.to_string()),
                }
            }
            (Step::SwapOff, Some(area)) => match self.pool.swap_off(area, 2 * PATIENCE) {
                Ok(()) => self.second_area = None,
                Err(error) => {
                    let is_late = matches!(error, SwapError::InUse { .. } | SwapError::Busy { .. });
                    assert!(is_late, "{error}");
                }
            },
            _ => {}
        }
    }

    /// What concerns the pool as a whole.
    fn keep_house(&mut self, step: Step) {
        let pool = &self.pool;
        let node = |n: u8| NodeId::new(usize::from(n) % 3).expect("three");
        let share = |share: u8| pool.stats().managed_pages * PAGE_SIZE / 255 * usize::from(share);
        match step {
            Step::Reclaim { pages, node: n } => {
                let bytes = usize::from(pages) * PAGE_SIZE;
                match n % 2 {
                    0 => drop(pool.reclaim(bytes, PATIENCE)),
                    // A node that is none is refused.
                    _ => drop(pool.reclaim_node(node(n), bytes, PATIENCE)),
                }
            }
            Step::Compact { node: n } => match n % 3 {
                0 => pool.compact(PATIENCE),
                _ => pool.compact_node(node(n), PATIENCE),
            },
            Step::Offline {
                node: n,
                zone,
                share: part,
            } => {
                pool.offline(node(n), ZONES[usize::from(zone) % 3], share(part));
            }
            Step::Online {
                node: n,
                zone,
                share: part,
            } => {
                pool.online(node(n), ZONES[usize::from(zone) % 3], share(part));
            }
            Step::Resize { share } => {
                let budget = pool.stats().budget;
                let range = budget.built_bytes - budget.least_bytes;
                let bytes = budget.least_bytes + range / 255 * usize::from(share);
                pool.resize_budget(bytes, PATIENCE)
                    .expect("within the range");
            }
            Step::Tunable { which, value } => {
                let names: Vec<_> = pool.tunables().all().map(|tunable| tunable.name).collect();
                let name = names[usize::from(which) % names.len()];
                let value = SETTINGS[usize::from(value) % SETTINGS.len()];
                if let Err(error) = pool.tunables().set(name, value) {
                    assert_one_line(&error.to_string());
                }
            }
            Step::Press { pages } => press(pool, usize::from(pages) * 4),
            Step::TrimAndDrain => {
                pool.trim();
                pool.drain();
            }
            Step::Explain { order: n, gfp } => {
                let answer = pool.explain(order(n), gfp);
                assert_one_line(&answer.to_string());
                assert_one_line(&pool.explain_swap().to_string());
            }
            _ => unreachable!("{step:?} is played elsewhere"),
        }
    }
}

/// Uses up to so many pages for a moment, so that what is not needed leaves.
fn press(pool: &PagePool, pages: usize) {
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let block = || pool.alloc_pages(Order::ZERO, gfp).ok();
    let blocks: Vec<Pages> = iter::from_fn(block).take(pages).collect();
    drop(blocks);
}
