//! What the actors of a play have in common: the pool, and what is around it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pagepool::{
    AllocError, Fault, Faults, FaultyDevice, Gfp, Group, GroupLimits, Mapping, OomAnswer, Order,
    OutOfMemory, PAGE_SIZE, PagePool, SharedFolio, SwapArea, SwapError, sim,
};

use crate::actor::Owner;
use crate::cache::Cache;
use crate::exercise::Exercise;
use crate::op::Trouble;
use crate::shadow::{self, Shadow};
use crate::stage;
use crate::world::World;

/// Folios that all actors share.
const NR_SHARED: usize = 3;

/// Folios of the pool: enough that it is rarely what is refused, and few for who walks them.
const MAX_FOLIOS: usize = 512;

/// A part of the mapped store has 2^this pages.
pub(crate) const PART_ORDER: u8 = 2;

/// How long the pool may take to have everything back at the end, on the simulation's clock.
const CLOSING: Duration = Duration::from_secs(60);

/// See the head of the module.
pub(crate) struct Scene {
    pub(crate) pool: PagePool,
    pub(crate) groups: Vec<Group>,
    /// Each with what was written to it last.
    pub(crate) shared: Vec<(SharedFolio, Mutex<Shadow>)>,
    /// Whose blocks are asked for before they move: one for each actor.
    pub(crate) owners: Vec<Arc<Owner>>,
    pub(crate) file: Option<File>,
    /// One that knows nothing of nodes and groups, and one that does.
    caches: Option<Arc<[Cache; 2]>>,
    pub(crate) world: World,
    swap: Vec<Swap>,
    /// What happened so far, as far as anybody outside can tell.
    history: AtomicU64,
    /// Whether devices were told to fail, and how, at any time before.
    pub(crate) troubled: AtomicBool,
    pub(crate) lied: AtomicBool,
}

/// The mapped store.
pub(crate) struct File {
    pub(crate) mapping: Mapping,
    device: Arc<FaultyDevice>,
    /// What is in each part of it, as long as no folio is over it.
    pub(crate) parts: Vec<Mutex<Shadow>>,
}

/// A swap device, and what is on it.
struct Swap {
    device: Arc<FaultyDevice>,
    usage: Mutex<Usage>,
}

/// What a swap device is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Nothing,
    /// Somebody is about to add it: a second one would have both write to the same pages.
    Soon,
    Area(SwapArea),
}

impl Scene {
    pub(crate) fn new(world: &World) -> Scene {
        let (pool, swap) = build(world);
        let groups = (0..world.groups).map(|number| {
            let made = pool.create_group(&format!("g{number}"), GroupLimits::new());
            made.expect("there is room for a few groups")
        });
        let shared = (0..NR_SHARED).filter_map(|number| {
            let folio = pool.alloc_folio((number + 1) * PAGE_SIZE, Gfp::USER_MOVABLE);
            let shared = folio.ok().map(pagepool::Folio::into_shared);
            shared.map(|folio| (folio, Mutex::new(Shadow::Zeros)))
        });
        let actors = 0..world.actors.max(1);
        let caches = || Arc::new([false, true].map(Cache::new));
        let scene = Scene {
            groups: groups.collect(),
            shared: shared.collect(),
            owners: actors.map(|_| Arc::default()).collect(),
            file: (world.file_parts > 0).then(|| File::new(&pool, world.file_parts)),
            caches: world.shrinkers.then(caches),
            pool,
            world: world.clone(),
            swap,
            history: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            lied: AtomicBool::new(false),
        };
        for cache in scene.caches.as_deref().into_iter().flatten() {
            cache.register(&scene.pool, true);
        }
        scene.own(world.owner);
        scene
    }

    pub(crate) fn cache(&self, is_aware: bool) -> Option<&Cache> {
        let caches = self.caches.as_deref();
        caches.map(|caches| &caches[usize::from(is_aware)])
    }

    /// Has the pool ask its owner for memory when nothing else helps, or nobody any more.
    pub(crate) fn own(&self, on: bool) {
        if !on || !self.world.owner {
            return self.pool.clear_oom_handler();
        }
        let caches = self.caches.clone();
        self.pool.set_oom_handler(move |_: &OutOfMemory| {
            let caches = caches.as_deref().into_iter().flatten();
            // Each of them, not only as far as the first that has something.
            match caches.filter(|cache| cache.halve()).count() {
                0 => OomAnswer::Declined,
                _ => OomAnswer::Released,
            }
        });
    }

    /// Notes what somebody outside could see.
    pub(crate) fn note(&self, what: u64) {
        // Relaxed, here and for the flags: the tasks of a simulation share one real thread.
        let history = (self.history.load(Relaxed) ^ what).wrapping_mul(0x0100_0000_01b3);
        self.history.store(history.rotate_left(29), Relaxed);
    }

    /// Has the devices fail as told from now on.
    pub(crate) fn fail(&self, trouble: Trouble, seed: u64) {
        let lies = matches!(trouble, Trouble::Lies | Trouble::Reads);
        self.troubled.fetch_or(trouble != Trouble::None, Relaxed);
        self.lied.fetch_or(lies, Relaxed);
        for swap in &self.swap {
            swap.device.set_faults(plan(trouble, seed));
        }
        if let Some(file) = &self.file {
            // A mapping has no checksums: what its device says that it did, it is to have done.
            let trouble = match trouble {
                Trouble::Lies => Trouble::None,
                Trouble::Reads => Trouble::Writes,
                other => other,
            };
            file.device.set_faults(plan(trouble, seed));
        }
    }

    /// Takes a swap device away, or adds it again.
    pub(crate) fn swap(&self, which: u8, on: bool) {
        if self.swap.is_empty() {
            return;
        }
        let number = usize::from(which) % self.swap.len();
        let Swap { device, usage } = &self.swap[number];
        let change = |from: Usage, to: Usage| {
            let mut usage = usage.lock().expect("nobody panics");
            let is_so = *usage == from;
            if is_so {
                *usage = to;
            }
            is_so
        };
        let area = *usage.lock().expect("nobody panics");
        match area {
            Usage::Area(area) if !on => {
                let patience = Duration::from_millis(self.world.patience_ms);
                let off = self.pool.swap_off(area, patience);
                if off.is_ok() {
                    change(Usage::Area(area), Usage::Nothing);
                }
                self.note_swap(off);
            }
            Usage::Nothing if on && change(Usage::Nothing, Usage::Soon) => {
                let added = self.pool.swap_on(Arc::clone(device), priority(number));
                let added = added.expect("there was room for it before");
                change(Usage::Soon, Usage::Area(added));
            }
            _ => {}
        }
    }

    fn note_swap(&self, off: Result<(), SwapError>) {
        self.note(u64::from(off.is_ok()));
        match off {
            // Somebody else takes it away, or has done so.
            Ok(()) | Err(SwapError::Leaving { .. } | SwapError::Unknown) => {}
            Err(SwapError::InUse { .. } | SwapError::Busy { .. } | SwapError::Ending { .. }) => {}
            Err(error) => panic!("it cannot be taken away: {error}"),
        }
    }

    /// Compares what all actors share.
    pub(crate) fn compare(&self) {
        for cache in self.caches.as_deref().into_iter().flatten() {
            cache.compare();
        }
        sim::undisturbed(|| {
            for (folio, expected) in &self.shared {
                let mut copy = vec![0; folio.len()];
                if folio.peek(&mut copy) {
                    let expected = *expected.lock().expect("nobody panics");
                    shadow::compare("a shared folio meanwhile", &copy, expected, 0);
                }
            }
        });
    }

    /// Checks every invariant, when nobody has anything to do.
    pub(crate) fn verify(&self) {
        stage::settle();
        let verdict = sim::undisturbed(|| {
            self.pool.verify_at_rest()?;
            self.pool.verify()
        });
        if let Err(violation) = verdict {
            panic!("verify: {violation}");
        }
        self.expect_a_page();
        self.expect_answers();
    }

    /// While all wait, nobody waits for the owner, who answers at once; and where time passes only when all
    /// wait, nobody has left a cache that answered at once.
    fn expect_answers(&self) {
        sim::undisturbed(|| {
            assert!(
                !self.pool.oom_stats().is_calling,
                "a call of the owner that nobody hears"
            );
            if self.world.early == 0 {
                let caches = self.caches.as_deref().into_iter().flatten();
                caches.for_each(Cache::expect_no_delay);
            }
        });
    }

    /// While nobody has anything to do, a page is to be had wherever a zone has more than its marks ask for.
    fn expect_a_page(&self) {
        sim::undisturbed(|| {
            if !self.has_plenty() {
                return;
            }
            if let Err(error) = self.pool.alloc_pages_uninit(Order::ZERO, Gfp::NOWAIT) {
                panic!("refused in an idle pool with free memory: {error}");
            }
        });
    }

    /// Whether a zone that serves every request has more free pages than its marks ask for; a boost is a wish.
    fn has_plenty(&self) -> bool {
        let stats = self.pool.stats();
        let mut zones = stats.nodes.iter().flat_map(|node| &node.zones);
        zones.any(|zone| {
            let kept = zone.high - zone.boost + zone.reserved_highatomic;
            zone.zone == pagepool::ZoneType::Normal && zone.free > kept
        })
    }

    /// A request that waits was refused: where nobody frees anything meanwhile, there must be nothing to be had.
    pub(crate) fn judge_refusal(&self, order: Order, error: AllocError) {
        let is_alone = self.world.actors <= 1
            && self.swap.is_empty()
            && self.file.is_none()
            && self.caches.is_none();
        if is_alone && order == Order::ZERO && self.has_plenty() {
            panic!("refused though there is free memory: {error}");
        }
    }

    /// Everything comes back. Returns a number for the history, and what was exercised in it.
    pub(crate) fn close(self) -> (u64, Exercise) {
        self.fail(Trouble::None, 0);
        self.verify();
        self.note(sim::time().as_nanos() as u64);
        let history = self.history.load(Relaxed);
        let exercise = Exercise::of(&self.pool);
        let Scene {
            pool,
            groups,
            shared,
            owners,
            file,
            caches,
            ..
        } = self;
        for cache in caches.as_deref().into_iter().flatten() {
            cache.register(&pool, false);
        }
        pool.clear_oom_handler();
        drop((shared, caches, groups, file));
        if let Err(held) = pool.close(CLOSING) {
            panic!("at the end: {held}");
        }
        for owner in owners {
            owner.assert_whole();
        }
        (history, exercise)
    }
}

impl File {
    fn new(pool: &PagePool, nr_parts: u8) -> File {
        let nr_pages = usize::from(nr_parts) << PART_ORDER;
        let device = FaultyDevice::in_memory(nr_pages * PAGE_SIZE, Faults::none());
        let device = Arc::new(device);
        let mapping = pool.map_backing(Arc::clone(&device));
        let parts = (0..nr_parts).map(|_| Mutex::new(Shadow::Zeros));
        File {
            mapping: mapping.expect("room for one store was planned"),
            device,
            parts: parts.collect(),
        }
    }
}

fn build(world: &World) -> (PagePool, Vec<Swap>) {
    let bytes_of = |pages: u32| pages as usize * PAGE_SIZE;
    let device = |&pages: &u32| {
        let device = FaultyDevice::in_memory(bytes_of(pages), Faults::none());
        Arc::new(device)
    };
    let devices: Vec<_> = world.swap.iter().map(device).collect();
    let mut builder = PagePool::builder()
        .managed(world.bytes())
        .nodes(usize::from(world.nodes).max(1))
        .daemons(world.daemons)
        .max_folios(MAX_FOLIOS)
        .max_groups(usize::from(world.groups) + usize::from(world.actors.max(1)))
        .max_stores(devices.len() + usize::from(world.file_parts > 0))
        .hardened(world.hardened)
        .deadline(Duration::from_millis(world.patience_ms));
    if let Some(percent) = world.movable {
        builder = builder.movable_share(percent);
    }
    for (number, device) in devices.iter().enumerate() {
        builder = builder.swap_at(Arc::clone(device), priority(number));
    }
    let pool = builder.build().expect("the world can be built");
    if world.caches {
        let set = pool.tunables().set("percpu_pagelist_fraction", "8");
        set.expect("that is the largest share");
    }
    let areas = pool.swap_areas();
    let on = |(number, device)| {
        let area = areas.iter().find(|area| area.priority == priority(number));
        let area = area.expect("the pool has all of them").area;
        Swap {
            device,
            usage: Mutex::new(Usage::Area(area)),
        }
    };
    let swap = devices.into_iter().enumerate().map(on).collect();
    (pool, swap)
}

/// Of the swap device of this number.
fn priority(number: usize) -> i16 {
    -(number as i16)
}

fn plan(trouble: Trouble, seed: u64) -> Faults {
    let faults = Faults::seeded(seed).stall_for(Duration::from_millis(300));
    match trouble {
        Trouble::None => Faults::none(),
        Trouble::Transient => faults
            .one_in(3, Fault::TransientReadError)
            .one_in(3, Fault::TransientWriteError),
        Trouble::Writes => faults
            .one_in(4, Fault::WriteError)
            .one_in(4, Fault::ShortWrite)
            .one_in(4, Fault::TornWrite)
            .one_in(8, Fault::Full),
        Trouble::Reads => faults
            .one_in(4, Fault::ReadError)
            .one_in(4, Fault::CorruptRead),
        Trouble::Stalls => faults
            .one_in(3, Fault::StalledRead)
            .one_in(3, Fault::StalledWrite),
        Trouble::Lies => faults.one_in(3, Fault::SilentTornWrite),
    }
}
