//! `replay` of a recording: in the pool that it was recorded in, and in one that is otherwise.
#![forbid(unsafe_code)]

use std::{path::Path, sync::Arc, time::Duration};

use pagepool::PagePool;

use super::{BadInput, Errand, replay::EPOCH, report, set_up};
use crate::{
    cli::{Common, Replay},
    crew::Seat,
    phase::{self, House, Movable, Outcome, Plan, Size, Watch},
    player::recorded::RecordedPlayer,
    report::{Facts, RecordedCounts, Report, RunFigures, WhatIfReport},
    trace::{
        recorded::{self, Script},
        source::stem,
    },
    units::grouped,
    what_if::{Change, PoolSettings},
};

/// How long an access waits at most: nobody but the pool's own threads makes memory free meanwhile.
const MOST_PATIENCE: Duration = Duration::from_millis(100);

/// Plays a recording once, and once more if something is to be changed.
pub(super) fn perform(
    common: &Common,
    options: &Replay,
    path: &Path,
    errand: &Errand,
) -> Result<Report, BadInput> {
    check_usage(common)?;
    let name = path.display().to_string();
    let of_file = |error: String| BadInput::Usage(format!("{name}: {error}"));
    let reading = errand.screen.busy(&format!("reading {name}"));
    let tape = recorded::open(path)?;
    let script = Arc::new(Script::of(&tape));
    drop(reading);
    let recorded = PoolSettings::of_tape(&tape).map_err(of_file)?;
    let of_change = |error| BadInput::Usage(format!("--what-if: {error}"));
    let what_if = match options.what_if.is_empty() {
        true => None,
        false => Some(recorded.changed(&options.what_if).map_err(of_change)?),
    };
    let counts = RecordedCounts::new(script.counts, tape.lost(), tape.time_ns());
    drop(tape);

    let house = set_up(1, errand)?;
    let show = Show {
        common,
        script,
        lost: counts.lost,
        house: &house,
        seed: errand.seed,
    };
    let file = stem(&name);
    let mut played = vec![show.play(&format!("{file}, as recorded"), &recorded)?];
    if let Some(settings) = &what_if
        && !errand.interrupt.is_set()
    {
        played.push(show.play(&format!("{file}, what if"), settings)?);
    }
    let figures = |n: usize, settings: &PoolSettings| {
        let (_, outcome) = played.get(n)?;
        Some(RunFigures::of(settings.describe(), outcome))
    };
    let comparison = WhatIfReport {
        file: name,
        recorded: counts,
        changes: options.what_if.iter().map(Change::describe).collect(),
        as_recorded: figures(0, &recorded).expect("it was played"),
        what_if: what_if.as_ref().and_then(|settings| figures(1, settings)),
    };
    let mut report = report(errand, &played);
    report.what_if = Some(comparison);
    Ok(report)
}

/// A recording says itself what others are told by options.
fn check_usage(common: &Common) -> Result<(), BadInput> {
    let given = [
        ("--memory", common.memory.is_some(), "--what-if memory=SIZE"),
        ("--swap", common.swap.is_some(), "--what-if swap=SIZE"),
        (
            "--threads",
            common.threads.is_some_and(|nr| nr > 1),
            "one thread plays it",
        ),
    ];
    match given.iter().find(|(_, is_given, _)| *is_given) {
        Some((option, _, instead)) => Err(BadInput::Usage(format!(
            "{option}: a recording says itself what its pool was; {instead}"
        ))),
        None => Ok(()),
    }
}

/// What both runs have in common.
struct Show<'a> {
    common: &'a Common,
    script: Arc<Script>,
    lost: u64,
    house: &'a House,
    seed: u64,
}

impl Show<'_> {
    fn play(&self, name: &str, settings: &PoolSettings) -> Result<(Facts, Outcome), BadInput> {
        let plan = Plan {
            name: name.to_owned(),
            size: Size::Recorded(Arc::new(settings.clone())),
            nodes: settings.nodes(),
            daemons: settings.daemons(),
            movable: Movable::Default,
            swap: settings.swap(),
            patience: Some(settings.patience().min(MOST_PATIENCE)),
            epoch: EPOCH,
            events: self.script.steps.len() as u64,
            length: self.common.length(),
        };
        let player = RecordedPlayer::new(Arc::clone(&self.script), self.seed);
        let mut tuner = Tuner(settings);
        let players = vec![Box::new(player) as Seat];
        let outcome = phase::perform(&plan, self.house, players, &mut tuner)?;
        Ok((self.facts(settings), outcome))
    }

    fn facts(&self, settings: &PoolSettings) -> Facts {
        let counts = self.script.counts;
        let notes = [
            (self.lost, "events were lost when it was recorded"),
            (
                counts.unknown,
                "events on what was held before the recording began are passed over",
            ),
            (
                counts.refused,
                "requests that were refused when it was recorded are made again",
            ),
            (
                counts.backed,
                "of the folios were over users' stores, and are played as others",
            ),
        ];
        let notes = notes.into_iter().filter(|(nr, _)| *nr > 0);
        let notes = notes.map(|(nr, what)| format!("{} {what}", grouped(nr)));
        Facts {
            load: format!(
                "{} events of a recording, in a pool of {}",
                grouped(counts.events),
                settings.describe()
            ),
            notes: notes.collect(),
            ..Facts::default()
        }
    }
}

/// Sets a pool's tunables before anybody plays. That they can be set was seen before.
struct Tuner<'a>(&'a PoolSettings);

impl Watch for Tuner<'_> {
    fn built(&mut self, pool: &PagePool) {
        self.0.tune(pool).expect("they could be set in such a pool");
    }
}
