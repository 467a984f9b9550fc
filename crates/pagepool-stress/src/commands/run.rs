//! `run`: the page allocations of a real kernel in half of the memory that they need, with swap; first with
//! every byte verified, then fast.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use super::{Act, BadInput, Errand, nr_cpus, play_all, replay, report, set_up};
use crate::{
    cli::Common,
    content::Depth,
    crew::Seat,
    phase::{Daemons, Length, Movable, Plan, size_for_half},
    player::machine::{MachinePlayer, Script},
    report::{Facts, Report},
    rng::nth,
    swapping::SwapPlan,
    trace::{Trace, shipped},
    units::{CacheSize, grouped, human_bytes},
};

/// How long copies of the trace are played at full speed unless the user says.
const DURATION: Duration = Duration::from_secs(15);

/// How long a request or an access waits.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the first pass may take: the whole run ends within a minute, on any machine.
const PASS: Duration = Duration::from_secs(30);

/// Events that a player plays between two verifications of the pool.
const EPOCH: u64 = 100_000;

/// What a cache may hold of a trace of references that `--traces` adds.
const CACHE: CacheSize = CacheSize::Percent(10.0);

/// Plays both phases, and one for each trace of `--traces`.
pub(crate) fn perform(common: &Common, errand: &Errand) -> Result<Report, BadInput> {
    let seed = errand.seed;
    let threads = common.threads_or(nr_cpus());
    let script = Arc::new(Script::new(
        Arc::new(shipped::guest_a()?),
        Some(shipped::sqlite_pages()?),
    ));
    let mut acts = vec![
        pass(common, &script, seed)?,
        full_speed(common, &script, threads, nth(seed, 1)),
    ];
    for (n, path) in (2..).zip(replay::files_in(common)?) {
        let trace = crate::trace::open(&path, None)?;
        acts.push(extra(common, trace, nth(seed, n)));
    }
    let house = set_up(threads, errand)?;
    let played = play_all(acts, &house)?;
    Ok(report(errand, &played))
}

fn pass(common: &Common, script: &Arc<Script>, seed: u64) -> Result<Act, BadInput> {
    let mut act = act(common, script, Depth::Full, 1, seed);
    act.plan.name = "pass".to_owned();
    act.plan.length = Length::Within(PASS);
    let trace = &script.blocks;
    act.facts = Facts {
        load: format!("{}, once, every byte filled and verified", trace.name),
        notes: vec![
            format!(
                "{} allocations, {} of them folios, the others raw pages; peak {} pages ({})",
                grouped(trace.nr_allocs),
                grouped(script.nr_folios()),
                grouped(trace.peak_pages),
                human_bytes(trace.peak_pages * pagepool::PAGE_SIZE as u64),
            ),
            format!(
                "the pool has half of that; after each allocation one reference of {}",
                script
                    .references
                    .as_ref()
                    .map_or("nothing", |trace| &trace.name)
            ),
        ],
        kernel: Some((&shipped::guest_a_kernel()?).into()),
        ..Facts::default()
    };
    Ok(act)
}

fn full_speed(common: &Common, script: &Arc<Script>, threads: usize, seed: u64) -> Act {
    let mut act = act(common, script, Depth::Edges, threads, seed);
    act.plan.name = "full speed".to_owned();
    act.plan.length = Length::For(common.duration.unwrap_or(DURATION));
    act.facts = Facts {
        load: format!(
            "{}, {threads} copies at once in one pool of half of their peaks",
            script.blocks.name
        ),
        notes: vec!["the first and last word of each page filled and verified".to_owned()],
        ..Facts::default()
    };
    act
}

fn act(common: &Common, script: &Arc<Script>, depth: Depth, copies: usize, seed: u64) -> Act {
    let peak = script.blocks.peak_pages * copies as u64;
    let player = |n| Box::new(MachinePlayer::new(Arc::clone(script), depth, nth(seed, n))) as Seat;
    Act {
        plan: Plan {
            name: String::new(),
            size: common.size_or(size_for_half(peak)),
            nodes: common.nodes,
            daemons: Daemons::On,
            movable: Movable::None,
            swap: Some(SwapPlan::for_pages(peak, common.swap.as_ref())),
            patience: Some(PATIENCE),
            epoch: EPOCH,
            events: script.blocks.events.len() as u64 * copies as u64,
            length: Length::Once,
        },
        facts: Facts::default(),
        players: (0..copies as u64).map(player).collect(),
    }
}

fn extra(common: &Common, trace: Trace, seed: u64) -> Act {
    let once = Common {
        duration: None,
        ..common.clone()
    };
    replay::act(&once, trace, CACHE, 1, seed)
}
