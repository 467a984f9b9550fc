//! `fragment --pattern mixed`: movable and unmovable memory come and go, and large blocks are asked for meanwhile.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::{PAGE_SIZE, PagePool};

use super::{
    BadInput, Errand,
    fragment::{CHURN, MANAGED, REHEARSAL, kcompactd, play_each},
    report, set_up,
};
use crate::{
    cli::{Common, Fragment},
    phase::{self, Daemons, House, Length, Movable, Outcome, Plan, Watch},
    player::two_kinds::{Findings, Load, Notebook, TwoKindsPlayer},
    report::{
        Asked, BlockLatency, BothKinds, Compaction, Fragmentation, Held, MixedReport, MixedRun,
        Picture, Report,
    },
    tally::Violations,
    units::{grouped, human_bytes},
};

/// How full the pool is held, and how much of that cannot be moved, unless the user says.
const FILL: f64 = 0.8;
const UNMOVABLE: f64 = 0.05;

/// The pool is looked at so many times, and once in so long at least.
const LOOKS: u64 = 200;
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// The pool is verified so many times; where the events are not known beforehand, after so many of them.
const EPOCHS: u64 = 20;
const EPOCH: u64 = 20_000_000;

/// Events of the rehearsal.
const REHEARSED: u64 = 50_000;

/// Plays it with daemons and without.
pub(super) fn perform(
    common: &Common,
    options: &Fragment,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let load = load(common, options);
    let house = set_up(1, errand)?;
    rehearse(common, &load, &house)?;
    let (played, runs) = play_each(options, &house, |daemons| {
        let (run, outcome) = run(common, &load, daemons, errand.seed, &house)?;
        Ok((run, describe(&load, daemons), outcome))
    })?;
    let mut report = report(errand, &played);
    report.fragment = Some(Fragmentation::Mixed(MixedReport {
        pattern: options.pattern.name(),
        fill: load.fill,
        unmovable: load.unmovable,
        runs,
    }));
    Ok(report)
}

fn load(common: &Common, options: &Fragment) -> Load {
    let time = common.duration.unwrap_or(CHURN);
    let look = match options.events {
        Some(events) => ((events / LOOKS).max(1), LOOK_AT_LEAST_EVERY),
        None => (u64::MAX, LOOK_AT_LEAST_EVERY.min(time / LOOKS as u32)),
    };
    Load {
        pages: common.memory.unwrap_or(MANAGED) / PAGE_SIZE,
        fill: options.fill.unwrap_or(FILL),
        unmovable: options.unmovable.unwrap_or(UNMOVABLE),
        events: options.events,
        look,
        plant: options.plant,
    }
}

/// Plays the same on a small pool: code that runs for the first time would count as the first pool's memory.
fn rehearse(common: &Common, load: &Load, house: &House) -> Result<(), BadInput> {
    let small = Common {
        memory: Some(REHEARSAL * common.nodes.max(1)),
        duration: None,
        ..common.clone()
    };
    let load = Load {
        pages: small.memory.unwrap_or(0) / PAGE_SIZE,
        events: Some(REHEARSED),
        look: (REHEARSED / 4, LOOK_AT_LEAST_EVERY),
        ..load.clone()
    };
    run(&small, &load, Daemons::On, 0, house)?;
    house.forget_rehearsal();
    Ok(())
}

fn describe(load: &Load, daemons: Daemons) -> String {
    let end = match load.events {
        Some(events) => format!("{} events", grouped(events)),
        None => "events until the time is up".to_owned(),
    };
    format!(
        "{end} in {} held {:.0} % full, {:.1} % of that unmovable; order-9 blocks asked for meanwhile; daemons {}",
        human_bytes((load.pages * PAGE_SIZE) as u64),
        load.fill * 100.0,
        load.unmovable * 100.0,
        daemons.name()
    )
}

fn run(
    common: &Common,
    load: &Load,
    daemons: Daemons,
    seed: u64,
    house: &House,
) -> Result<(MixedRun, Outcome), BadInput> {
    let plan = Plan {
        name: format!("daemons {}", daemons.name()),
        size: common.size_or(MANAGED),
        nodes: common.nodes,
        daemons,
        // Both kinds in one zone: kept apart by the pageblock, and by nothing else.
        movable: Movable::None,
        swap: None,
        patience: None,
        epoch: load.events.map_or(EPOCH, |events| events.div_ceil(EPOCHS)),
        events: load.events.unwrap_or(0),
        length: length(common, load),
    };
    let notebook = Notebook::new();
    let player = TwoKindsPlayer::new(load.clone(), notebook.clone(), seed);
    let mut gallery = Gallery::default();
    let outcome = phase::perform(&plan, house, vec![Box::new(player)], &mut gallery)?;
    let run = summarise(daemons, &notebook.open(), gallery, &outcome);
    Ok((run, outcome))
}

/// Events end it, or time, or whichever comes first.
fn length(common: &Common, load: &Load) -> Length {
    match (load.events, common.duration) {
        (Some(_), None) => Length::Once,
        (Some(_), Some(time)) => Length::Within(time),
        (None, time) => Length::For(time.unwrap_or(CHURN)),
    }
}

fn summarise(
    daemons: Daemons,
    findings: &Findings,
    gallery: Gallery,
    outcome: &Outcome,
) -> MixedRun {
    let points = &findings.points;
    let managed = outcome.held.managed_pages.max(1) as f64;
    let seconds = outcome.played.as_secs_f64();
    MixedRun {
        daemons: daemons.name(),
        kcompactd: gallery.kcompactd,
        events: findings.events,
        seconds,
        events_per_s: findings.events as f64 / seconds.max(1e-9),
        held: Held {
            folios: findings.folios,
            folio_pages: findings.folio_pages,
            unmovable_pages: findings.raw_pages,
            share: (findings.folio_pages + findings.raw_pages) as f64 / managed,
        },
        order9: Asked::at(points.iter()),
        order9_last_tenth: Asked::last_tenth(points, findings.events),
        order9_worst_share: Asked::worst_share(points),
        latency_ns: BlockLatency::of(&findings.latencies),
        both_kinds: BothKinds::at(points, gallery.after.pageblocks),
        extfrag_events: outcome
            .held
            .vmstat
            .get("pagepool_extfrag_events")
            .unwrap_or(0),
        compaction: Compaction::of(&outcome.held),
        points: points.clone(),
        after: gallery.after,
    }
}

/// Looks at the pageblocks at the end.
#[derive(Default)]
struct Gallery {
    after: Picture,
    kcompactd: Vec<String>,
}

impl Watch for Gallery {
    fn held(&mut self, pool: &PagePool, _violations: &mut Violations) {
        pool.drain();
        self.after = Picture::of(&pool.stats());
        self.kcompactd = kcompactd(pool);
    }
}
