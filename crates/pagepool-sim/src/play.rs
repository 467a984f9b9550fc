//! Plays a case on a real pool.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::scheduler::{RandomScheduler, Scheduler};
use shuttle::sync::Barrier;

use crate::actor::Actor;
use crate::case::Case;
use crate::exercise::Exercise;
use crate::op::Op;
use crate::scene::Scene;
use crate::stage::{self, Terms};

/// How a play went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Played {
    /// A number that another history would most likely not have.
    pub history: u64,
    /// What it took on the simulation's clock.
    pub time: Duration,
    /// What happened in the pool.
    pub exercise: Exercise,
}

/// Plays a case.
///
/// # Errors
/// What was wrong: bytes that are not what was written, a violated invariant, a panic, a hang.
pub fn play(case: &Case) -> Result<Played, String> {
    play_by(RandomScheduler::new_from_seed(case.world.seed, 1), case)
}

/// The same by a scheduler of shuttle's, as often as it likes; returns how the last one went.
///
/// # Errors
/// What was wrong the first time that something was.
pub fn play_by(scheduler: impl Scheduler + 'static, case: &Case) -> Result<Played, String> {
    let terms = Terms {
        seed: case.world.seed,
        density: case.world.density,
        early: case.world.early,
    };
    let outcome = Arc::new(Mutex::new((0, Exercise::default())));
    let (told, case) = (Arc::clone(&outcome), case.clone());
    let time = stage::run(scheduler, terms, move || {
        let outcome = perform(&case);
        *told.lock().expect("nobody panics with it") = outcome;
    })?;
    let (history, exercise) = *outcome.lock().expect("nobody panics with it");
    Ok(Played {
        history,
        time,
        exercise,
    })
}

/// The first task of the execution.
fn perform(case: &Case) -> (u64, Exercise) {
    let scene = Arc::new(Scene::new(&case.world));
    let nr_actors = usize::from(case.world.actors).max(1);
    let rounds: Vec<Vec<Vec<Op>>> = rounds(case, nr_actors);
    let rounds = Arc::new(rounds);
    let barrier = Arc::new(Barrier::new(nr_actors));

    let actors: Vec<_> = (0..nr_actors)
        .map(|number| {
            let (scene, rounds, barrier) = (
                Arc::clone(&scene),
                Arc::clone(&rounds),
                Arc::clone(&barrier),
            );
            shuttle::thread::spawn(move || {
                let mut actor = Actor::new(number, &scene);
                for round in rounds.iter() {
                    for &op in &round[number] {
                        shuttle::current::reset_step_count();
                        actor.act(op);
                    }
                    barrier.wait();
                    actor.compare();
                    if number == 0 {
                        scene.compare();
                        scene.verify();
                    }
                    barrier.wait();
                }
                actor.leave();
            })
        })
        .collect();
    for actor in actors {
        actor
            .join()
            .expect("an actor that panics ends the execution");
    }
    let scene = Arc::into_inner(scene).expect("the actors have left");
    scene.close()
}

/// The steps, by round and actor.
fn rounds(case: &Case, nr_actors: usize) -> Vec<Vec<Vec<Op>>> {
    let of_round = |steps: &[crate::case::Step]| {
        let of_actor = |number| {
            let steps = steps.iter();
            let steps = steps.filter(|step| usize::from(step.actor) % nr_actors == number);
            steps.map(|step| step.op).collect()
        };
        (0..nr_actors).map(of_actor).collect()
    };
    let chunk = usize::from(case.world.round).max(1);
    case.steps.chunks(chunk).map(of_round).collect()
}
