//! Models of pagepool's concurrent protocols, run by loom on the real types.
//!
//! A model is a closure that loom runs once for each interleaving, and for each value that a load
//! may return under the memory model, up to a bound on preemptions. Models live in `tests/`, one
//! protocol a file, numbered as the scenarios of the design or with a plain name. `.ci/loom` runs
//! them; without `--cfg loom` this crate is empty.
//!
//! Rules that loom 0.7 asks for:
//! - Actors are spawned; the main thread only makes things and joins, and looks at the end.
//! - Share by `std::sync::Arc`, not loom's: an order of magnitude fewer executions, and a failure
//!   is a panic and not an abort.
//! - At most five threads, the main one included, and few atomics.
//! - Expect a deadlock report for a lost wake-up: the sleeper waits for ever, and loom says so.
//!
//! Each check states a floor of executions, since a model that stops exploring passes too, and the set of
//! the outcomes that it must have had: where it is about a wake-up, that somebody slept, and that somebody
//! did not have to. And each model can fail: by a mutant listed in `mutants.txt`, a step left out of the
//! real code by name, or by a negative twin beside it, the same model on a wrong implementation.

#![cfg(loom)]
#![expect(
    clippy::disallowed_types,
    reason = "what the models share outside of loom"
)]

pub mod boosted;
pub mod kcompactd;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::util::SubscriberInitExt;

/// How actors share: loom's own `Arc` makes models many times larger.
pub use std::sync::Arc as Shared;

/// Preemptions per execution when neither the model nor `LOOM_MAX_PREEMPTIONS` says otherwise.
const DEFAULT_PREEMPTIONS: usize = 2;

/// Runs `model` for every interleaving with up to two preemptions, prints the number of executions,
/// and asserts that it is at least `min_executions`, unless the run is not the usual one (a smaller
/// bound, plain atomics, a mutant).
///
/// # Panics
/// If the model does, in any execution, or if there were too few.
#[track_caller]
pub fn check(name: &str, min_executions: usize, model: impl Fn() + Send + Sync + 'static) {
    check_deeper(name, DEFAULT_PREEMPTIONS, min_executions, model);
}

/// The same with up to `nr_preemptions`, for a model whose outcomes need more than two.
///
/// # Panics
/// If the model does, in any execution, or if there were too few.
#[track_caller]
pub fn check_deeper(
    name: &str,
    nr_preemptions: usize,
    min_executions: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let bound = bound_from_env().unwrap_or(nr_preemptions);
    let is_as_deep = bound >= nr_preemptions;
    check_within(name, bound, is_as_deep.then_some(min_executions), model);
}

/// The same with at most `nr_preemptions`, whatever the run's bound, for a model that would take minutes
/// with two.
///
/// # Panics
/// If the model does, in any execution, or if there were too few.
#[track_caller]
pub fn check_shallower(
    name: &str,
    nr_preemptions: usize,
    min_executions: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let bound = bound_from_env().map_or(nr_preemptions, |bound| bound.min(nr_preemptions));
    let is_as_deep = bound == nr_preemptions;
    check_within(name, bound, is_as_deep.then_some(min_executions), model);
}

/// Runs `model` up to `bound`, and asserts the floor unless there is none, or atomics are plain, or a
/// mutant runs.
#[track_caller]
fn check_within(
    name: &str,
    bound: usize,
    min_executions: Option<usize>,
    model: impl Fn() + Send + Sync + 'static,
) {
    let is_plain = std::env::var_os("PAGEPOOL_LOOM_PLAIN").is_some();
    let nr_executions = run(bound, model);
    let mode = if is_plain { "-plain" } else { "" };
    println!("model {name}{mode} executions {nr_executions} pass");

    let is_mutant = std::env::var_os("PAGEPOOL_MUTANT").is_some();
    let min_executions = min_executions
        .filter(|_| !is_plain && !is_mutant)
        .unwrap_or(1);
    assert!(
        nr_executions >= min_executions,
        "model {name}: {nr_executions} executions explore too little, at least {min_executions} expected"
    );
}

/// Runs a negative twin, which is expected to panic and prints nothing.
pub fn check_twin(model: impl Fn() + Send + Sync + 'static) {
    run(DEFAULT_PREEMPTIONS, model);
}

fn run(nr_preemptions: usize, model: impl Fn() + Send + Sync + 'static) -> usize {
    let nr_executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&nr_executions);

    // With LOOM_LOG=trace, loom tells each step: for a failure that is looked at again.
    let _telling = std::env::var_os("LOOM_LOG").map(|_| {
        let filter = tracing_subscriber::EnvFilter::from_env("LOOM_LOG");
        let steps = tracing_subscriber::fmt().with_env_filter(filter);
        steps
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time()
            .finish()
            .set_default()
    });

    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(nr_preemptions);
    // Per execution; a zone's put alone is dozens. More than this is a loop without an end.
    builder.max_branches = 20_000;
    // A limit would end the model early and let it pass.
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        count.fetch_add(1, Relaxed); // loom runs one execution at a time
        model();
    });
    nr_executions.load(Relaxed)
}

fn bound_from_env() -> Option<usize> {
    let bound = std::env::var("LOOM_MAX_PREEMPTIONS").ok()?;
    Some(bound.parse().expect("LOOM_MAX_PREEMPTIONS is a number"))
}

/// Starts an actor of a model.
pub fn actor<T: 'static>(f: impl FnOnce() -> T + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::spawn(f)
}

/// Runs `f` in a thread of its own whose stack has room for a pool's nodes, and waits for it: for what is too
/// large to be made in the main thread.
pub fn on_large_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    join(actor_on_large_stack(f))
}

/// Starts an actor whose stack has room for a run of reclaim.
pub fn actor_on_large_stack<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    const WORDS: usize = 1 << 16;
    let builder = loom::thread::Builder::new().stack_size(WORDS);
    builder.spawn(f).expect("models have threads")
}

/// Waits for an actor's end.
///
/// # Panics
/// If the actor did.
pub fn join<T>(actor: loom::thread::JoinHandle<T>) -> T {
    actor.join().expect("no actor panics")
}

/// Waits for the end of several actors.
///
/// # Panics
/// If one of them did.
pub fn join_all<T, const N: usize>(actors: [loom::thread::JoinHandle<T>; N]) -> [T; N] {
    actors.map(join)
}

/// A count that loom does not see: it orders nothing, and offers no choice. loom runs one actor at a time.
#[derive(Debug, Default)]
pub struct Tally(AtomicUsize);

impl Tally {
    /// Counts one more; returns the count before.
    pub fn add_one(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// What a rig saw, in this order. As a [`Tally`], invisible to loom.
#[derive(Debug)]
pub struct Journal<T>(Mutex<Vec<T>>);

impl<T> Default for Journal<T> {
    fn default() -> Journal<T> {
        Journal(Mutex::default())
    }
}

impl<T: Clone> Journal<T> {
    /// Adds what was just seen.
    pub fn note(&self, seen: T) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(seen);
    }

    /// All of it.
    #[must_use]
    pub fn entries(&self) -> Vec<T> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }
}

/// The results that a model had, over all its executions.
#[derive(Debug)]
pub struct Outcomes<T>(Arc<Mutex<BTreeSet<T>>>);

impl<T> Clone for Outcomes<T> {
    fn clone(&self) -> Outcomes<T> {
        Outcomes(Arc::clone(&self.0))
    }
}

impl<T: Ord> Default for Outcomes<T> {
    fn default() -> Outcomes<T> {
        Outcomes(Arc::default())
    }
}

impl<T: Ord + Debug> Outcomes<T> {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Outcomes<T> {
        Outcomes::default()
    }

    /// Notes how this execution ended. Called after the actors are joined.
    pub fn record(&self, outcome: T) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(outcome);
    }

    /// Asserts that exactly these outcomes were seen: none is missing, none is new.
    #[track_caller]
    pub fn assert_exactly(&self, expected: impl IntoIterator<Item = T>) {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*seen, expected.into_iter().collect());
    }
}
