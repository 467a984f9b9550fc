//! `run`: the page allocations of a real kernel, first with every byte verified, then fast.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use super::{
    Act, BadInput, nr_cpus, play_all,
    replay::{self, block_act},
    report, set_up,
};
use crate::{
    cli::Common,
    content::Depth,
    phase::Length,
    report::{Facts, Report},
    rng::nth,
    trace::{Trace, blocks::BlockTrace, shipped},
    units::{CacheSize, grouped, human_bytes},
};

/// How long copies of the trace are played at full speed unless the user says.
const DURATION: Duration = Duration::from_secs(15);

/// What a cache may hold of a trace of references that `--traces` adds.
const CACHE: CacheSize = CacheSize::Percent(10.0);

/// Plays both phases, and one for each trace of `--traces`.
pub(crate) fn perform(common: &Common, seed: u64) -> Result<Report, BadInput> {
    let threads = common.threads_or(nr_cpus());
    let trace = Arc::new(shipped::guest_a()?);
    let mut acts = vec![
        pass(common, &trace, seed)?,
        full_speed(common, &trace, threads, nth(seed, 1)),
    ];
    for (n, path) in (2..).zip(replay::files_in(common)?) {
        let trace = crate::trace::open(&path, None)?;
        acts.push(extra(common, trace, nth(seed, n)));
    }
    let house = set_up(threads)?;
    let played = play_all(acts, &house)?;
    Ok(report("run", seed, &house, &played))
}

fn pass(common: &Common, trace: &Arc<BlockTrace>, seed: u64) -> Result<Act, BadInput> {
    let mut act = block_act(common, trace, Depth::Full, 1, seed);
    act.plan.name = "pass".to_owned();
    act.plan.length = Length::Once;
    act.facts = Facts {
        load: format!("{}, once, every byte filled and verified", trace.name),
        notes: vec![
            format!(
                "{} allocations, {} of them of order 0; peak {} pages ({})",
                grouped(trace.nr_allocs),
                grouped(trace.nr_allocs_by_order[0]),
                grouped(trace.peak_pages),
                human_bytes(trace.peak_pages * pagepool::PAGE_SIZE as u64),
            ),
            "raw pages cannot be moved, so the pool has no Movable zone".to_owned(),
        ],
        kernel: Some((&shipped::guest_a_kernel()?).into()),
        ..Facts::default()
    };
    Ok(act)
}

fn full_speed(common: &Common, trace: &Arc<BlockTrace>, threads: usize, seed: u64) -> Act {
    let mut act = block_act(common, trace, Depth::Edges, threads, seed);
    act.plan.name = "full speed".to_owned();
    act.plan.length = Length::For(common.duration.unwrap_or(DURATION));
    act.facts = Facts {
        load: format!("{}, {threads} copies at once in one pool", trace.name),
        notes: vec!["the first and last word of each page filled and verified".to_owned()],
        ..Facts::default()
    };
    act
}

fn extra(common: &Common, trace: Trace, seed: u64) -> Act {
    let once = Common {
        duration: None,
        ..common.clone()
    };
    replay::act(&once, trace, CACHE, 1, seed)
}
