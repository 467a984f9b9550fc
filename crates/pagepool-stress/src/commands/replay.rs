//! `replay`: traces from files, one after the other, each in a pool of its own.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Act, BadInput, Errand,
    misses::{self, NoReadAhead},
    play_each, recorded, report, set_up,
};
use crate::{
    cli::{Common, Replay},
    content::Depth,
    crew::Seat,
    phase::{Daemons, Movable, Plan, size_for_peak},
    player::{
        blocks::BlockPlayer,
        cache::CachePlayer,
        machine::{MachinePlayer, Script},
    },
    report::{Facts, MissReport, Report},
    rng::nth,
    trace::{
        self, Format, Trace,
        blocks::BlockTrace,
        kernel::{self, KernelState},
        recorded::is_recording,
        references::ReferenceTrace,
        source::{Source, stem},
    },
    units::{CacheSize, grouped},
};

/// Events that a player plays between two verifications of the pool.
pub(super) const EPOCH: u64 = 100_000;

/// Plays every trace.
pub(crate) fn perform(
    common: &Common,
    options: &Replay,
    errand: &Errand,
) -> Result<Report, BadInput> {
    if let Some(path) = recording_among(&paths(common, &options.files)?)? {
        return recorded::perform(common, options, &path, errand);
    }
    if !options.what_if.is_empty() {
        return Err(BadInput::Usage(
            "--what-if: it is for recordings of a pool, and this is none".to_owned(),
        ));
    }
    let threads = common.threads_or(1);
    let program = program(common, options, threads, errand)?;
    let Program {
        acts,
        seats,
        mut misses,
    } = program;
    let mut played = Vec::new();
    if !acts.is_empty() {
        let house = set_up(threads, errand)?;
        played = play_each(acts, &house, &mut NoReadAhead)?;
    }
    for (seat, (_, outcome)) in seats.iter().zip(&played) {
        if let Some((trace, size)) = *seat {
            misses[trace].sizes[size].pool = Some(misses::of_outcome(outcome));
        }
    }
    let mut report = report(errand, &played);
    report.miss_ratios = misses;
    Ok(report)
}

/// The recording, if there is one among these files: it is played by itself.
fn recording_among(paths: &[PathBuf]) -> Result<Option<PathBuf>, BadInput> {
    let recording = paths.iter().find(|path| is_recording(path));
    match recording {
        Some(recording) if paths.len() > 1 => Err(BadInput::Usage(format!(
            "{}: a recording is played by itself, without other files",
            recording.display()
        ))),
        found => Ok(found.cloned()),
    }
}

/// What is to be played, and what is known without that.
#[derive(Default)]
struct Program {
    acts: Vec<Act>,
    /// For each act, of which trace and at which size it shows what the pool misses, if it does.
    seats: Vec<Option<(usize, usize)>>,
    misses: Vec<MissReport>,
}

/// Reads all traces, before anything is played: a bad one is known at once, and none of their memory counts as a
/// pool's.
fn program(
    common: &Common,
    options: &Replay,
    threads: usize,
    errand: &Errand,
) -> Result<Program, BadInput> {
    let mut program = Program::default();
    for (n, path) in (0..).zip(paths(common, &options.files)?) {
        if errand.interrupt.is_set() {
            break;
        }
        let seed = nth(errand.seed, n);
        let reading = errand.screen.busy(&format!("reading {}", path.display()));
        let trace = trace::open(&path, options.format)?;
        drop(reading);
        match (trace, options.cache) {
            (Trace::Blocks(trace), _) => {
                let mut act = block_act(common, &Arc::new(trace), Depth::Full, threads, seed);
                act.facts.kernel = kernel_beside(&path)?.as_ref().map(Into::into);
                program.add(act, None);
            }
            (Trace::References(trace), Some(cache)) => {
                let act = cache_act(common, &Arc::new(trace), cache, threads, seed);
                program.add(act, None);
            }
            (Trace::References(trace), None) => {
                let at = program.misses.len();
                let trace = Arc::new(trace);
                let misses = misses::by_policies(common, options, &trace, errand);
                program.misses.push(misses);
                for (size, act) in misses::by_pool(common, options, &trace, threads, seed) {
                    program.add(act, Some((at, size)));
                }
            }
        }
    }
    Ok(program)
}

impl Program {
    fn add(&mut self, act: Act, seat: Option<(usize, usize)>) {
        self.acts.push(act);
        self.seats.push(seat);
    }
}

/// The files that the user names, looked for in `--traces`, too; or all files there.
fn paths(common: &Common, files: &[PathBuf]) -> Result<Vec<PathBuf>, BadInput> {
    if files.is_empty() {
        let paths = files_in(common)?;
        return match paths.is_empty() {
            true => Err(BadInput::Usage(
                "--traces: the folder holds no trace".to_owned(),
            )),
            false => Ok(paths),
        };
    }
    let find = |file: &PathBuf| match &common.traces {
        Some(folder) if !file.exists() => folder.join(file),
        _ => file.clone(),
    };
    Ok(files.iter().map(find).collect())
}

/// The traces in the folder of `--traces`, by name; none without that option.
pub(super) fn files_in(common: &Common) -> Result<Vec<PathBuf>, BadInput> {
    let Some(folder) = &common.traces else {
        return Ok(Vec::new());
    };
    let bad = |error| BadInput::Usage(format!("--traces {}: {error}", folder.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(bad)? {
        let path = entry.map_err(bad)?.path();
        let name = stem(&path.to_string_lossy());
        if path.is_file() && Format::of_name(&name).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// How the kernel ended that the trace at `path` is from, if that lies beside the trace.
fn kernel_beside(path: &Path) -> Result<Option<KernelState>, BadInput> {
    let name = stem(&path.to_string_lossy());
    let Some(name) = name.strip_suffix(".pga") else {
        return Ok(None);
    };
    let beside = path.with_file_name(format!("{name}.kernel.txt"));
    match beside.is_file() {
        true => Ok(Some(kernel::read(Source::open(&beside)?)?)),
        false => Ok(None),
    }
}

/// Prepares to play `threads` copies of a trace of either kind.
pub(super) fn act(
    common: &Common,
    trace: Trace,
    cache: CacheSize,
    threads: usize,
    seed: u64,
) -> Act {
    match trace {
        Trace::Blocks(trace) => block_act(common, &Arc::new(trace), Depth::Full, threads, seed),
        Trace::References(trace) => cache_act(common, &Arc::new(trace), cache, threads, seed),
    }
}

/// Prepares to play `copies` copies of a trace of blocks.
pub(super) fn block_act(
    common: &Common,
    trace: &Arc<BlockTrace>,
    depth: Depth,
    copies: usize,
    seed: u64,
) -> Act {
    let script = Arc::new(Script::new(Arc::clone(trace), None));
    let has_folios = script.nr_folios() > 0;
    let player = |n| match has_folios {
        true => Box::new(MachinePlayer::new(Arc::clone(&script), depth, nth(seed, n))) as Seat,
        false => Box::new(BlockPlayer::new(Arc::clone(trace), depth, nth(seed, n))),
    };
    let events = trace.events.len() as u64 * copies as u64;
    let mut notes: Vec<String> = trace.mapping.iter().map(ToString::to_string).collect();
    if trace.nr_failed_at_origin > 0 {
        notes.push(format!(
            "{} allocations that failed where it was recorded are left out",
            grouped(trace.nr_failed_at_origin)
        ));
    }
    if has_folios {
        notes.push(format!(
            "{} of the allocations are folios, which may be moved, the others raw pages",
            grouped(script.nr_folios())
        ));
    }
    Act {
        plan: plan(
            common,
            &trace.name,
            trace.peak_pages * copies as u64,
            events,
        ),
        facts: Facts {
            load: format!(
                "{} allocations, peak {} pages, {} at the end; {copies} cop{}",
                grouped(trace.nr_allocs),
                grouped(trace.peak_pages),
                grouped(trace.pages_at_end),
                if copies == 1 { "y" } else { "ies" }
            ),
            notes,
            ..Facts::default()
        },
        players: (0..copies as u64).map(player).collect(),
    }
}

fn cache_act(
    common: &Common,
    trace: &Arc<ReferenceTrace>,
    cache: CacheSize,
    copies: usize,
    seed: u64,
) -> Act {
    let limit = cache.pages(trace.footprint_pages);
    let player = |n| Box::new(CachePlayer::new(Arc::clone(trace), limit, nth(seed, n))) as Seat;
    let events = trace.references.len() as u64 * copies as u64;
    let mut notes =
        vec!["least recently used is evicted; contents are verified at each hit".to_owned()];
    notes.extend(misses::left_out(trace));
    Act {
        plan: plan(common, &trace.name, limit * copies as u64, events),
        facts: Facts {
            load: format!(
                "{} references to {} pages",
                grouped(trace.references.len() as u64),
                grouped(trace.footprint_pages)
            ),
            notes,
            cache: Some((trace.footprint_pages, limit)),
            ..Facts::default()
        },
        players: (0..copies as u64).map(player).collect(),
    }
}

fn plan(common: &Common, name: &str, peak_pages: u64, events: u64) -> Plan {
    Plan {
        name: stem(name),
        size: common.size_or(size_for_peak(peak_pages)),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::None,
        swap: None,
        patience: None,
        epoch: EPOCH,
        events,
        length: common.length(),
    }
}
