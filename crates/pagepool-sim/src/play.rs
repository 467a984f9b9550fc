//! Plays a case on a real pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pagepool::{
    Fault, Faults, FaultyDevice, Gfp, Group, GroupLimits, PAGE_SIZE, PagePool, SharedFolio, sim,
};
use shuttle::scheduler::{RandomScheduler, Scheduler};
use shuttle::sync::Barrier;

use crate::actor::Actor;
use crate::case::Case;
use crate::op::{Op, Trouble};
use crate::shadow::Shadow;
use crate::stage::{self, Terms};
use crate::world::World;

/// Folios that all actors share.
const NR_SHARED: usize = 3;

/// Folios of the pool: enough that it is rarely what is refused, and few for who walks them.
const MAX_FOLIOS: usize = 512;

/// How long the pool may take to have everything back at the end, on the simulation's clock.
const CLOSING: Duration = Duration::from_secs(60);

/// What the actors of a play have in common.
pub(crate) struct Scene {
    pub(crate) pool: PagePool,
    pub(crate) groups: Vec<Group>,
    /// Each with what was written to it last.
    pub(crate) shared: Vec<(SharedFolio, Mutex<Shadow>)>,
    pub(crate) world: World,
    devices: Vec<Arc<FaultyDevice>>,
    /// What happened so far, as far as anybody outside can tell.
    history: AtomicU64,
    /// Whether devices were told to fail, and how, at any time before.
    pub(crate) troubled: AtomicBool,
    pub(crate) lied: AtomicBool,
}

/// How a play went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Played {
    /// A number that another history would most likely not have.
    pub history: u64,
    /// What it took on the simulation's clock.
    pub time: Duration,
}

/// Plays a case.
///
/// # Errors
/// What was wrong: bytes that are not what was written, a violated invariant, a panic, a hang.
pub fn play(case: &Case) -> Result<Played, String> {
    play_by(RandomScheduler::new_from_seed(case.world.seed, 1), case)
}

/// The same by a scheduler of shuttle's, as often as it likes; returns how the last one went.
///
/// # Errors
/// What was wrong the first time that something was.
pub fn play_by(scheduler: impl Scheduler + 'static, case: &Case) -> Result<Played, String> {
    let terms = Terms {
        seed: case.world.seed,
        density: case.world.density,
        early: case.world.early,
    };
    let history = Arc::new(AtomicU64::new(0));
    let (told, case) = (Arc::clone(&history), case.clone());
    let time = stage::run(scheduler, terms, move || {
        told.store(perform(&case), Relaxed);
    })?;
    let history = history.load(Relaxed);
    Ok(Played { history, time })
}

/// The first task of the execution.
fn perform(case: &Case) -> u64 {
    let scene = Arc::new(Scene::new(&case.world));
    let nr_actors = usize::from(case.world.actors).max(1);
    let rounds: Vec<Vec<Vec<Op>>> = rounds(case, nr_actors);
    let rounds = Arc::new(rounds);
    let barrier = Arc::new(Barrier::new(nr_actors));

    let actors: Vec<_> = (0..nr_actors)
        .map(|number| {
            let (scene, rounds, barrier) = (
                Arc::clone(&scene),
                Arc::clone(&rounds),
                Arc::clone(&barrier),
            );
            shuttle::thread::spawn(move || {
                let mut actor = Actor::new(number, &scene);
                for round in rounds.iter() {
                    for &op in &round[number] {
                        shuttle::current::reset_step_count();
                        actor.act(op);
                    }
                    barrier.wait();
                    if number == 0 {
                        scene.verify();
                    }
                    barrier.wait();
                }
                actor.leave();
            })
        })
        .collect();
    for actor in actors {
        actor
            .join()
            .expect("an actor that panics ends the execution");
    }
    let scene = Arc::into_inner(scene).expect("the actors have left");
    scene.close()
}

/// The steps, by round and actor.
fn rounds(case: &Case, nr_actors: usize) -> Vec<Vec<Vec<Op>>> {
    let of_round = |steps: &[crate::case::Step]| {
        let of_actor = |number| {
            let steps = steps.iter();
            let steps = steps.filter(|step| usize::from(step.actor) % nr_actors == number);
            steps.map(|step| step.op).collect()
        };
        (0..nr_actors).map(of_actor).collect()
    };
    let chunk = usize::from(case.world.round).max(1);
    case.steps.chunks(chunk).map(of_round).collect()
}

impl Scene {
    fn new(world: &World) -> Scene {
        let device = |&pages: &u32| {
            let bytes = pages as usize * PAGE_SIZE;
            Arc::new(FaultyDevice::in_memory(bytes, Faults::none()))
        };
        let devices: Vec<_> = world.swap.iter().map(device).collect();
        let mut builder = PagePool::builder()
            .managed(world.bytes())
            .nodes(usize::from(world.nodes).max(1))
            .daemons(world.daemons)
            .max_folios(MAX_FOLIOS)
            .max_groups(usize::from(world.groups).max(1))
            .hardened(world.hardened)
            .deadline(Duration::from_millis(world.patience_ms));
        if let Some(percent) = world.movable {
            builder = builder.movable_share(percent);
        }
        for (number, device) in devices.iter().enumerate() {
            builder = builder.swap_at(Arc::clone(device), -(number as i16));
        }
        let pool = builder.build().expect("the world can be built");
        let groups = (0..world.groups)
            .map(|number| {
                let limits = GroupLimits::new();
                pool.create_group(&format!("g{number}"), limits)
                    .expect("there is room for a few groups")
            })
            .collect();
        let shared = (0..NR_SHARED)
            .filter_map(|number| {
                let folio = pool.alloc_folio((number + 1) * PAGE_SIZE, Gfp::USER_MOVABLE);
                let shared = folio.ok().map(pagepool::Folio::into_shared);
                shared.map(|folio| (folio, Mutex::new(Shadow::Zeros)))
            })
            .collect();
        Scene {
            pool,
            groups,
            shared,
            world: world.clone(),
            devices,
            history: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            lied: AtomicBool::new(false),
        }
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
        for device in &self.devices {
            device.set_faults(plan(trouble, seed));
        }
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
    }

    /// Everything comes back.
    fn close(self) -> u64 {
        self.fail(Trouble::None, 0);
        self.verify();
        self.note(sim::time().as_nanos() as u64);
        let history = self.history.load(Relaxed);
        let Scene {
            pool,
            groups,
            shared,
            ..
        } = self;
        drop((shared, groups));
        if let Err(held) = pool.close(CLOSING) {
            panic!("at the end: {held}");
        }
        history
    }
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
