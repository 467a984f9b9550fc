//! `soak`: every kind of load at once, for hours, and whether anything that should stay as it is grows.
#![forbid(unsafe_code)]

mod cast; // the loads

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pagepool::{Group, PAGE_SIZE, PagePool, Stats};

use super::{BadInput, Errand, paging::MEMORY, report, set_up};
use crate::{
    cli::{Common, Soak, SoakPlant},
    control::Control,
    drift::{Drift, Sample},
    phase::{self, Daemons, House, Length, Movable, Plan, Watch},
    progress::Screen,
    report::{Facts, Growth, Report, Sink, SoakReport, SoakState},
    rss::Rss,
    swapping::SwapPlan,
    tally::Violations,
    threads,
    units::wide,
};
use cast::{Plot, Role};

/// How long it lasts unless the user says.
const DURATION: Duration = Duration::from_secs(3600);

/// Between two verifications of the pool: so long, or so many in all where that is less.
const TURN: Duration = Duration::from_secs(5);
const TURNS: u32 = 20;

/// How long an access or a request waits: the machine may be busy, and a load that is not has to be sure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes by which what is beside the pool may grow along the line through all samples.
const ALLOWED: f64 = (4 << 20) as f64;

/// Samples that there is room for from the start: a day of turns.
const SAMPLES: usize = 20_000;

/// Plays everything at once.
pub(crate) fn perform(
    common: &Common,
    options: &Soak,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let threads = common.threads_or(Role::ALL.len());
    if threads < Role::ALL.len() {
        return Err(BadInput::Usage(format!(
            "--threads {threads} is too few: soak has {} loads, each with a thread of its own",
            Role::ALL.len()
        )));
    }
    let duration = common.duration.unwrap_or(DURATION);
    let plot = Plot {
        pages: common.memory.unwrap_or(MEMORY) / PAGE_SIZE,
        nodes: common.nodes.max(1),
        threads,
        turn: TURN.min(duration / TURNS),
        plant: options.plant,
        seed: errand.seed,
    };
    let plan = Plan {
        name: "soak".to_owned(),
        size: common.paging_size(),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::Default,
        swap: Some(SwapPlan::for_pages(plot.swap_pages(), common.swap.as_ref())),
        patience: Some(PATIENCE),
        // A turn ends by time.
        epoch: u64::MAX,
        events: 0,
        length: Length::After(duration),
    };
    let facts = Facts {
        load: format!("every kind of load at once, on {threads} threads; swap twice the memory"),
        notes: vec![
            "folios by Zipf's law, raw blocks of all orders and flags, a group with a limit and one that is protected"
                .to_owned(),
            "movable and unmovable memory side by side, and large blocks asked for meanwhile".to_owned(),
        ],
        ..Facts::default()
    };
    let players = plot.players();
    let house = set_up(threads, errand)?;
    let mut watch = Vigil::new(&plot, options, errand, &house);
    let outcome = phase::perform(&plan, &house, players, &mut watch)?;
    let soak = watch.report();
    let mut report = report(errand, &[(facts, outcome)]);
    report.soak = Some(soak);
    Ok(report)
}

/// Looks at the pool and at the process after each turn, says now and then how things stand, and judges at the end.
struct Vigil<'a> {
    plot: &'a Plot,
    control: Arc<Control>,
    rss: Option<&'a Rss>,
    screen: Screen,
    sink: Arc<Sink>,
    every: Duration,
    groups: Vec<Group>,
    begin: Instant,
    said: Instant,
    states: Vec<SoakState>,
    leaks: Vec<Vec<u8>>,
}

impl<'a> Vigil<'a> {
    fn new(plot: &'a Plot, options: &Soak, errand: &Errand, house: &'a House) -> Vigil<'a> {
        // Rows are part of the program's memory before the pool is built.
        let mut states = vec![SoakState::default(); SAMPLES];
        states.clear();
        Vigil {
            plot,
            control: Arc::clone(&house.control),
            rss: house.rss.as_ref(),
            screen: house.screen.clone(),
            sink: Arc::clone(&errand.sink),
            every: options.state_every,
            groups: Vec::with_capacity(Role::ALL.len()),
            begin: Instant::now(),
            said: Instant::now(),
            states,
            leaks: Vec::with_capacity(SAMPLES),
        }
    }

    fn look(&self, pool: &PagePool, violations: u64) -> SoakState {
        let stats = pool.stats();
        let rss = self.rss.map(Rss::now);
        SoakState {
            at_s: self.begin.elapsed().as_secs_f64(),
            events: self.control.played(),
            rss,
            beside_pool: rss.map(|rss| rss.saturating_sub(resident_bytes(&stats))),
            metadata_bytes: wide(stats.metadata_bytes),
            free_pages: wide(stats.free_pages),
            swap_used_pages: wide(stats.swap_total_pages - stats.swap_free_pages),
            threads: threads::nr_threads(),
            files: threads::nr_files(),
            pressure_avg60: stats.pressure.some.avg60,
            violations,
        }
    }

    fn growth(&self, figure: impl Fn(&SoakState) -> Option<u64>) -> Option<Growth> {
        let sample = |state: &SoakState| {
            figure(state).map(|value| Sample {
                at: state.at_s,
                value: value as f64,
            })
        };
        let samples: Vec<Sample> = self.states.iter().filter_map(sample).collect();
        let drift = Drift::of(&samples)?;
        Some(Growth {
            bytes_per_hour: drift.per_hour(),
            grown_bytes: drift.growth(),
        })
    }

    fn report(&self) -> SoakReport {
        SoakReport {
            turns: self.states.len() as u64,
            turn_s: self.plot.turn.as_secs_f64(),
            beside_pool: self.growth(|state| state.beside_pool),
            rss: self.growth(|state| state.rss),
            allowed_bytes: ALLOWED,
            first: self.states.first().copied(),
            last: self.states.last().copied(),
        }
    }

    /// Whether something grew that should not.
    fn judge(&self, violations: &mut Violations) {
        let beside = self.growth(|state| state.beside_pool);
        if let Some(growth) = beside.filter(|growth| growth.grown_bytes > ALLOWED) {
            violations.add(format_args!(
                "leak: memory beside the pool grew by {:.0} bytes, {:.0} an hour; {ALLOWED:.0} are allowed",
                growth.grown_bytes, growth.bytes_per_hour
            ));
        }
        let metadata = |state: &SoakState| state.metadata_bytes;
        let mut all = self.states.iter().map(metadata);
        if let Some(first) = all.next()
            && let Some(other) = all.find(|bytes| *bytes != first)
        {
            violations.add(format_args!(
                "the pool's metadata was {first} bytes and then {other}"
            ));
        }
    }
}

impl Watch for Vigil<'_> {
    fn built(&mut self, pool: &PagePool) {
        let groups = Role::ALL
            .iter()
            .filter_map(|role| role.group(self.plot.pages));
        for (name, limits) in groups {
            let group = pool.create_group(name, limits);
            self.groups.push(group.expect("a pool has room for four"));
        }
        self.begin = Instant::now();
    }

    fn goes_on(&mut self, pool: &PagePool, violations: u64) -> bool {
        let state = self.look(pool, violations);
        self.states.push(state);
        if self.plot.plant == Some(SoakPlant::Leak) {
            self.leaks.push(vec![1; 4 << 20]);
        }
        if self.said.elapsed() >= self.every {
            self.said = Instant::now();
            let growth = self.growth(|state| state.beside_pool);
            self.screen.say(&self.sink, &state.line(growth));
        }
        violations == 0
    }

    fn held(&mut self, _pool: &PagePool, violations: &mut Violations) {
        // They go now, and do not keep the pool.
        self.groups.clear();
        self.judge(violations);
    }
}

/// Bytes of the pool's memory that the system has given it, metadata left out: all but whole free blocks that went
/// back.
fn resident_bytes(stats: &Stats) -> u64 {
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let pages = zones.map(|zone| {
        let gone = zone
            .whole_free_pages
            .saturating_sub(zone.resident_free_pages);
        zone.managed.saturating_sub(gone)
    });
    wide(pages.sum::<usize>() * PAGE_SIZE)
}
