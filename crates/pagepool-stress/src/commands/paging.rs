//! What the commands have in common that hold more folios than there is memory.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pagepool::{Order, PAGE_SIZE, PagePool, Stats};

use crate::{
    cli::{Common, Load},
    crew::Seat,
    pattern::{Pattern, Touches},
    phase::{House, Size, Watch},
    player::paging::{Habits, Orders, PagingPlayer, Trust, WorkingSet},
    report::{PagingReport, WorkingSetFacts},
    rng::nth,
    rss::{Excess, Rss},
    tally::Violations,
    units::wide,
};

/// The pool's budget unless the user says.
pub(super) const MEMORY: usize = 64 << 20;

/// How long an access or a request waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Touches of each player between two verifications of the pool.
pub(super) const EPOCH: u64 = 100_000;

/// A load that is ready to be played.
pub(super) struct Paging {
    pub(super) set: Arc<WorkingSet>,
    pub(super) players: Vec<Seat>,
    pub(super) facts: WorkingSetFacts,
}

impl Paging {
    /// A working set of `factor` times the pool, and `threads` players to touch it.
    pub(super) fn new(
        common: &Common,
        load: &Load,
        factor: f64,
        trust: Trust,
        threads: usize,
        seed: u64,
    ) -> Paging {
        let pages = (common.memory.unwrap_or(MEMORY) / PAGE_SIZE) as f64 * factor;
        let set = Arc::new(WorkingSet::new(pages as u64, orders(load), seed));
        let habits = habits(load, trust);
        let player = |n: usize| {
            let touches = Touches::new(load.pattern, set.len(), load.theta, (n, threads));
            let seed = nth(seed, n as u64);
            Box::new(PagingPlayer::new(
                Arc::clone(&set),
                habits,
                touches,
                (n, threads),
                seed,
            )) as Seat
        };
        Paging {
            players: (0..threads).map(player).collect(),
            facts: WorkingSetFacts {
                pattern: pattern_name(load.pattern),
                factor,
                folios: set.len() as u64,
                pages: set.pages(),
                write_share: habits.write_share,
                churn_share: habits.churn_share,
            },
            set,
        }
    }
}

/// Which orders the folios have.
pub(super) fn orders(load: &Load) -> Orders {
    match load.orders {
        Some(_) => Orders::Mixed,
        None => Orders::All(Order::new(load.order).expect("checked by the command line")),
    }
}

/// What is done to them.
pub(super) fn habits(load: &Load, trust: Trust) -> Habits {
    Habits {
        write_share: f64::from(load.write_share) / 100.0,
        churn_share: f64::from(load.churn_share) / 100.0,
        trust,
        plant: load.plant,
    }
}

pub(super) fn pattern_name(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Zipf => "zipf",
        Pattern::Scan => "scan",
        Pattern::Loop => "loop",
        Pattern::Phases => "phases",
    }
}

impl Common {
    /// The pool's budget.
    pub(super) fn paging_size(&self) -> Size {
        Size::Budget(self.paging_bytes())
    }

    /// The same in bytes.
    pub(super) fn paging_bytes(&self) -> usize {
        self.memory.unwrap_or(MEMORY)
    }
}

/// Counters of a pool at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    majfaults: u64,
    faults: u64,
    slowpath: u64,
}

impl Counters {
    fn of(stats: &Stats) -> Counters {
        let event = |name| stats.vmstat.get(name).unwrap_or(0);
        Counters {
            majfaults: event("pgmajfault"),
            faults: event("pgfault"),
            slowpath: wide(stats.slowpath_entries),
        }
    }
}

/// What happened while the set was touched, the fill not included.
#[derive(Clone, Debug)]
pub(super) struct Window {
    time: Duration,
    touches: u64,
    counters: Counters,
    excess: Option<Excess>,
}

/// Measures from the end of the fill until the time is up.
pub(super) struct Measurement<'a> {
    house: &'a House,
    begin: Option<(Instant, Counters)>,
    window: Option<Window>,
}

impl<'a> Measurement<'a> {
    pub(super) fn new(house: &'a House) -> Measurement<'a> {
        Measurement {
            house,
            begin: None,
            window: None,
        }
    }

    /// What was measured; nothing if the fill was cut short.
    pub(super) fn report(self, facts: WorkingSetFacts) -> PagingReport {
        let Some(window) = self.window else {
            return PagingReport::unmeasured(facts);
        };
        let Window {
            time,
            touches,
            counters,
            excess,
        } = window;
        PagingReport {
            seconds: time.as_secs_f64(),
            touches,
            touches_per_s: touches as f64 / time.as_secs_f64().max(1e-9),
            majfaults: counters.majfaults,
            miss_ratio: counters.majfaults as f64 / touches.max(1) as f64,
            slowpath_per_allocation: counters.slowpath as f64 / counters.faults.max(1) as f64,
            overreclaim_pages_max: excess.as_ref().map_or(0, |excess| excess.pages),
            overreclaim_percent_max: excess.as_ref().map_or(0.0, |excess| excess.percent),
            overreclaim_samples: excess.as_ref().map_or(0, |excess| excess.samples),
            ..PagingReport::unmeasured(facts)
        }
    }
}

impl Watch for Measurement<'_> {
    fn epoch(&mut self, pool: &PagePool, epoch: u64) {
        if epoch == 0 {
            self.begin = Some((Instant::now(), Counters::of(&pool.stats())));
            if let Some(rss) = &self.house.rss {
                rss.watch(pool);
            }
        }
    }

    fn held(&mut self, pool: &PagePool, _violations: &mut Violations) {
        let Some((begin, before)) = self.begin else {
            return;
        };
        let now = Counters::of(&pool.stats());
        self.window = Some(Window {
            time: begin.elapsed(),
            touches: self.house.control.played(),
            counters: Counters {
                majfaults: now.majfaults - before.majfaults,
                faults: now.faults - before.faults,
                slowpath: now.slowpath - before.slowpath,
            },
            excess: self.house.rss.as_ref().and_then(Rss::unwatch),
        });
    }
}
