//! `fragment`: free memory in pieces, and how much of it comes as large blocks all the same.
#![forbid(unsafe_code)]

use std::{
    thread,
    time::{Duration, Instant},
};

use pagepool::{DaemonState, Order, PAGE_SIZE, PagePool};

use super::{BadInput, Errand, report, set_up, two_kinds};
use crate::{
    cli::{Common, Fragment, FragmentPattern},
    phase::{self, Daemons, House, Length, Movable, Outcome, Plan, Watch},
    player::fragment::{FragmentPlayer, Load, Notebook, Pattern, Step},
    report::{
        Compaction, Facts, FragmentReport, FragmentRun, Fragmentation, Picture, Report, Settling,
    },
    tally::Violations,
    units::human_bytes,
};

/// What the pool can hand out unless the user says.
pub(super) const MANAGED: usize = 1 << 30;

/// How long folios come and go unless the user says.
pub(super) const CHURN: Duration = Duration::from_secs(10);

/// How long a daemon may take to go on.
const THAW_PATIENCE: Duration = Duration::from_secs(2);

/// What each node of the rehearsal's pool has.
pub(super) const REHEARSAL: usize = 16 << 20;

/// How long things take there that take their time.
const MOMENT: Duration = Duration::from_millis(20);

/// Fills a pool, breaks what is free of it into pieces, and takes blocks; with daemons and without.
pub(crate) fn perform(
    common: &Common,
    options: &Fragment,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let pattern = match options.pattern {
        FragmentPattern::Checkerboard => Pattern::Checkerboard,
        FragmentPattern::Churn => Pattern::Churn,
        FragmentPattern::Mixed => return two_kinds::perform(common, options, errand),
    };
    if options.fill.is_some() || options.events.is_some() || options.plant.is_some() {
        let what = "--fill and --events are for --pattern mixed; churn goes on for --duration";
        return Err(BadInput::Usage(what.to_owned()));
    }
    let load = load(common, options, pattern);
    let house = set_up(1, errand)?;
    rehearse(common, &load, &house)?;
    let (played, runs) = play_each(options, &house, |daemons| {
        let (run, outcome) = run(common, &load, daemons, errand.seed, &house)?;
        Ok((run, describe(&load, daemons), outcome))
    })?;
    let mut report = report(errand, &played);
    report.fragment = Some(Fragmentation::InPieces(FragmentReport {
        pattern: options.pattern.name(),
        keep: load.keep,
        unmovable: load.unmovable,
        runs,
    }));
    Ok(report)
}

/// A run, and what is to be said of it.
type Played = (Facts, Outcome);

/// Plays with daemons and without, as the options say, until somebody interrupts: each run, and what is to be
/// said of all of them.
pub(super) fn play_each<R>(
    options: &Fragment,
    house: &House,
    mut play: impl FnMut(Daemons) -> Result<(R, String, Outcome), BadInput>,
) -> Result<(Vec<Played>, Vec<R>), BadInput> {
    let (mut played, mut runs) = (Vec::new(), Vec::new());
    for daemons in options.daemons.each() {
        if house.control.is_interrupted() && !played.is_empty() {
            break;
        }
        let (run, load, outcome) = play(*daemons)?;
        let facts = Facts {
            load,
            ..Facts::default()
        };
        runs.push(run);
        played.push((facts, outcome));
    }
    Ok((played, runs))
}

fn load(common: &Common, options: &Fragment, pattern: Pattern) -> Load {
    let order = |order| Order::new(order).expect("checked by the command line");
    let orders = match options.order {
        Some(one) => vec![order(one)],
        None => Order::all().rev().collect(),
    };
    Load {
        pattern,
        pages: common.memory.unwrap_or(MANAGED) / PAGE_SIZE,
        keep: options.keep,
        unmovable: options.unmovable.unwrap_or(0.0),
        churn: common.duration.unwrap_or(CHURN),
        settle: options.settle,
        orders,
    }
}

/// Plays the same on a small pool: code that runs for the first time would count as the first pool's memory.
fn rehearse(common: &Common, load: &Load, house: &House) -> Result<(), BadInput> {
    let small = Common {
        memory: Some(REHEARSAL * common.nodes.max(1)),
        ..common.clone()
    };
    let load = Load {
        pages: small.memory.unwrap_or(0) / PAGE_SIZE,
        churn: MOMENT,
        settle: MOMENT,
        ..load.clone()
    };
    run(&small, &load, Daemons::On, 0, house)?;
    house.forget_rehearsal();
    Ok(())
}

fn describe(load: &Load, daemons: Daemons) -> String {
    let filled = match load.pattern {
        Pattern::Checkerboard => "pages".to_owned(),
        Pattern::Churn => format!(
            "folios of orders 0 to 9 that come and go for {:?}",
            load.churn
        ),
    };
    format!(
        "{} of {filled}, {:.0} % of each pageblock's kept; then blocks until one is refused; daemons {}",
        human_bytes((load.pages * PAGE_SIZE) as u64),
        load.keep * 100.0,
        daemons.name()
    )
}

fn run(
    common: &Common,
    load: &Load,
    daemons: Daemons,
    seed: u64,
    house: &House,
) -> Result<(FragmentRun, Outcome), BadInput> {
    let plan = Plan {
        name: format!("daemons {}", daemons.name()),
        size: common.size_or(MANAGED),
        nodes: common.nodes,
        daemons,
        // Raw blocks below 2 MiB could not have what is free there.
        movable: Movable::None,
        swap: None,
        patience: None,
        // A call to play is a step, whatever the number of events.
        epoch: 1,
        events: (load.pages + load.pages / 2) as u64,
        length: Length::Once,
    };
    let notebook = Notebook::default();
    let player = FragmentPlayer::new(load.clone(), notebook.clone(), seed);
    let mut gallery = Gallery::new(load, daemons);
    let outcome = phase::perform(&plan, house, vec![Box::new(player)], &mut gallery)?;
    Ok((gallery.into_run(&notebook), outcome))
}

/// Looks at the pageblocks between the steps.
struct Gallery<'a> {
    load: &'a Load,
    daemons: Daemons,
    thinned: Compaction,
    settled: Compaction,
    before: Picture,
    after_settling: Picture,
    after: Picture,
    kcompactd: Vec<String>,
}

impl<'a> Gallery<'a> {
    fn new(load: &'a Load, daemons: Daemons) -> Gallery<'a> {
        Gallery {
            load,
            daemons,
            thinned: Compaction::default(),
            settled: Compaction::default(),
            before: Picture::default(),
            after_settling: Picture::default(),
            after: Picture::default(),
            kcompactd: Vec::new(),
        }
    }

    fn into_run(self, notebook: &Notebook) -> FragmentRun {
        let mut findings = notebook.open();
        let late = findings.settled.take();
        let late_cpu_share = late.as_ref().map(|(threads, time)| {
            let cpu_ns: u64 = threads.iter().map(|thread| thread.cpu_ns).sum();
            cpu_ns as f64 / (time.as_nanos() as f64).max(1.0)
        });
        FragmentRun {
            daemons: self.daemons.name(),
            kcompactd: self.kcompactd,
            kept_folios: findings.kept.0,
            kept_pages: findings.kept.1,
            unmovable_pages: findings.unmovable,
            settle: Settling {
                settle_s: self.load.settle.as_secs_f64(),
                compaction: self.settled.since(self.thinned),
                late_cpu_share,
                late_threads: late.map_or_else(Vec::new, |(threads, _)| threads),
            },
            orders: std::mem::take(&mut findings.takings),
            before: self.before,
            settled: self.after_settling,
            after: self.after,
        }
    }
}

impl Watch for Gallery<'_> {
    fn epoch(&mut self, pool: &PagePool, epoch: u64) {
        let step = usize::try_from(epoch).ok().and_then(|n| self.load.step(n));
        let stats = pool.stats();
        match step {
            Some(Step::Thin) => {
                self.thinned = Compaction::of(&stats);
                self.settled = self.thinned;
                self.before = Picture::of(&stats);
            }
            Some(Step::Settle) => {
                self.settled = Compaction::of(&stats);
                self.after_settling = Picture::of(&stats);
            }
            Some(Step::Fill | Step::Take(_)) | None => {}
        }
    }

    fn held(&mut self, pool: &PagePool, _violations: &mut Violations) {
        pool.drain();
        self.after = Picture::of(&pool.stats());
        self.kcompactd = kcompactd(pool);
    }
}

/// How kcompactd of each node stands. It was frozen a moment ago, to verify the pool, and is so until it has
/// had a CPU.
pub(super) fn kcompactd(pool: &PagePool) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let nodes = pool.stats().nodes;
        let is_late = begin.elapsed() > THAW_PATIENCE;
        if is_late
            || nodes
                .iter()
                .all(|node| node.kcompactd != DaemonState::Frozen)
        {
            return nodes
                .iter()
                .map(|node| node.kcompactd.to_string())
                .collect();
        }
        thread::sleep(THAW_PATIENCE / 100);
    }
}
