//! `idle`: what a pool's threads do while nothing happens, or while nothing can help.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pagepool::{Fault, Faults, FaultyDevice, Folio, Gfp, PAGE_SIZE, PagePool};

use super::{
    BadInput, Errand,
    paging::{EPOCH, PATIENCE, Paging},
    report, set_up,
};
use crate::{
    cli::{Common, Idle, Load},
    control::Control,
    pattern::Pattern,
    phase::{self, Daemons, Length, Movable, Plan, Watch},
    player::paging::{Trust, WorkingSet},
    report::{Facts, IdleReport, Report},
    swapping::SwapPlan,
    tally::Violations,
    threads::{Account, Accounts, SERVER},
};

/// How long counting lasts unless the user says.
const DURATION: Duration = Duration::from_secs(60);

/// How long the pool is under pressure first.
const PRESSURE: Duration = Duration::from_secs(1);

/// How long the threads have to come to rest unless the user says.
const SETTLE: Duration = Duration::from_secs(2);

/// The same where nothing can help: they have to find that out.
const SETTLE_IN_VAIN: Duration = Duration::from_secs(10);

/// Seconds of counting below which there is nothing to judge, if somebody interrupts.
const LEAST: f64 = 1.0;

/// How often memory is asked for in vain.
const KNOCK: Duration = Duration::from_millis(100);

/// CPU time that the threads may take where nothing can help, as a share of one CPU.
const MAX_SHARE: f64 = 0.02;

/// The working set, as a multiple of the pool.
const FACTOR: f64 = 2.0;

/// Why nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// Nobody asks for anything.
    Quiet,
    /// What is asked for cannot be had: everything is locked in memory.
    Hopeless,
    /// What is asked for cannot be had: swap does not answer.
    DeadStore,
}

impl Scene {
    fn name(self) -> &'static str {
        match self {
            Scene::Quiet => "quiet",
            Scene::Hopeless => "hopeless",
            Scene::DeadStore => "dead-store",
        }
    }
}

/// Puts a pool under pressure, leaves it alone and watches its threads.
pub(crate) fn perform(
    common: &Common,
    options: &Idle,
    errand: &Errand,
) -> Result<Report, BadInput> {
    // A system that does not tell is known before anything is done.
    Accounts::take().map_err(|error| {
        BadInput::Usage(format!(
            "idle: this system does not tell what threads do: {error}"
        ))
    })?;
    let scene = match (options.hopeless, options.dead_store) {
        (true, _) => Scene::Hopeless,
        (_, true) => Scene::DeadStore,
        _ => Scene::Quiet,
    };
    let threads = common.threads_or(1);
    let paging = Paging::new(common, &LOAD, FACTOR, Trust::Sound, threads, errand.seed);
    let swap = SwapPlan::for_pages(paging.facts.pages, common.swap.as_ref()).open()?;
    let device = Arc::new(FaultyDevice::new(swap, Faults::none()));
    let plan = Plan {
        name: "idle".to_owned(),
        size: common.paging_size(),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::Faulty(Arc::clone(&device))),
        patience: Some(PATIENCE),
        epoch: EPOCH,
        events: 0,
        length: Length::After(PRESSURE),
    };
    let settle = options.settle.unwrap_or(match scene {
        Scene::Quiet => SETTLE,
        Scene::Hopeless | Scene::DeadStore => SETTLE_IN_VAIN,
    });
    let facts = Facts {
        load: format!(
            "{} for {PRESSURE:?}, then {}",
            paging.facts.describe(),
            scene.name()
        ),
        ..Facts::default()
    };
    let house = set_up(threads, errand)?;
    let mut vigil = Vigil {
        scene,
        settle,
        duration: common.duration.unwrap_or(DURATION),
        set: paging.set,
        device: &device,
        control: &house.control,
        seen: None,
    };
    let outcome = phase::perform(&plan, &house, paging.players, &mut vigil)?;
    let seen = vigil.seen;
    let mut report = report(errand, &[(facts, outcome)]);
    report.idle = seen;
    Ok(report)
}

const LOAD: Load = Load {
    order: 0,
    orders: None,
    pattern: Pattern::Zipf,
    theta: 0.99,
    write_share: 20,
    churn_share: 5,
    plant: None,
};

struct Vigil<'a> {
    scene: Scene,
    settle: Duration,
    duration: Duration,
    set: Arc<WorkingSet>,
    device: &'a FaultyDevice,
    control: &'a Control,
    seen: Option<IdleReport>,
}

impl Watch for Vigil<'_> {
    fn held(&mut self, pool: &PagePool, violations: &mut Violations) {
        let mut extra = Vec::new();
        match self.scene {
            Scene::Quiet => {}
            Scene::Hopeless => self.set.lock_all(),
            Scene::DeadStore => {
                let always = |fault| Faults::seeded(0).one_in(1, fault);
                self.device
                    .set_faults(always(Fault::StalledWrite).one_in(1, Fault::StalledRead));
                extra = fill_up(pool);
            }
        }
        self.wait(pool, self.settle);
        let before = Accounts::take();
        let begin = Instant::now();
        self.wait(pool, self.duration);
        let seconds = begin.elapsed().as_secs_f64();
        match (before, Accounts::take()) {
            // A moment after the load says nothing.
            _ if self.control.is_interrupted() && seconds < LEAST => {}
            (Ok(before), Ok(after)) => self.judge(after.since(&before), seconds, violations),
            (Err(error), _) | (_, Err(error)) => violations.add(format_args!(
                "what the threads do could not be read: {error}"
            )),
        }
        self.device.set_faults(Faults::none());
        self.set.unlock_all();
        drop(extra);
    }
}

impl Vigil<'_> {
    /// Waits, asking for memory now and then where that is part of the scene.
    fn wait(&self, pool: &PagePool, time: Duration) {
        let begin = Instant::now();
        while let Some(rest) = time.checked_sub(begin.elapsed()) {
            if self.control.is_interrupted() {
                return;
            }
            thread::sleep(rest.min(KNOCK));
            if self.scene != Scene::Quiet {
                // It is refused; that is the point.
                drop(pool.alloc_folio(PAGE_SIZE, Gfp::NOWAIT));
            }
        }
    }

    fn judge(&mut self, threads: Vec<Account>, seconds: f64, violations: &mut Violations) {
        // Who looks at the pool by `top` has its server work.
        let of_pool = || threads.iter().filter(|thread| thread.name != SERVER);
        let wakeups = of_pool().map(|thread| thread.wakeups).sum();
        let cpu_ns: u64 = of_pool().map(|thread| thread.cpu_ns).sum();
        let cpu_share = cpu_ns as f64 / 1e9 / seconds.max(1e-9);
        match self.scene {
            Scene::Quiet if wakeups > 0 => violations.add(format_args!(
                "idle threads woke up {wakeups} times in {seconds:.1} s"
            )),
            Scene::Hopeless | Scene::DeadStore if cpu_share > MAX_SHARE => {
                violations.add(format_args!(
                    "threads that cannot help took {:.1} % of a CPU, {:.1} % are allowed",
                    cpu_share * 100.0,
                    MAX_SHARE * 100.0
                ));
            }
            Scene::Quiet | Scene::Hopeless | Scene::DeadStore => {}
        }
        self.seen = Some(IdleReport {
            scene: self.scene.name(),
            settle_s: self.settle.as_secs_f64(),
            seconds,
            wakeups,
            cpu_ms: cpu_ns as f64 / 1e6,
            cpu_share,
            threads,
        });
    }
}

/// Allocates until nothing more can be had, or not at once.
fn fill_up(pool: &PagePool) -> Vec<Folio> {
    let most = pool.stats().managed_pages;
    let folio = || {
        let begin = Instant::now();
        let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).ok();
        folio.filter(|_| begin.elapsed() < PATIENCE / 2)
    };
    std::iter::from_fn(folio).take(most).collect()
}
