//! Whole rounds of allocation, reclaim and compaction by four to six threads and the daemons, each access to an
//! atomic a place where another may go on: scheduled at random, and by priorities with a few changes (PCT:
//! Burckhardt et al., 2010), which finds what takes few but unlikely preemptions.
//!
//! `PAGEPOOL_SEED=N` replays what a run said it began with; `PAGEPOOL_EXECUTIONS=N` changes how many there are.

#![cfg(shuttle)]

use std::env;

use pagepool_sim::case::{Case, Step};
use pagepool_sim::op::{Hold, Op, Urgency};
use pagepool_sim::play::play_by;
use pagepool_sim::world::World;
use shuttle::scheduler::{PctScheduler, RandomScheduler};

/// Changes of priority in an execution that is scheduled by them.
const DEPTH: usize = 4;

fn from_env(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(number) => number
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    }
}

/// Plays what the actors do, each its own list, by both schedulers.
#[track_caller]
fn play_both(name: &str, world: World, actors: &[Vec<Op>]) {
    let mut steps = Vec::new();
    for (number, ops) in actors.iter().enumerate() {
        steps.extend(ops.iter().map(|&op| Step {
            actor: number as u8,
            op,
        }));
    }
    let seed = from_env("PAGEPOOL_SEED", 1);
    let executions = from_env("PAGEPOOL_EXECUTIONS", 40) as usize;
    let case = Case {
        world: World {
            seed,
            density: 1,
            early: 512,
            actors: actors.len() as u8,
            round: steps.len() as u16,
            ..world
        },
        steps,
    };
    println!("{name}: seed {seed}, {executions} executions");
    // Printed, since the hook that notes the first panic says nothing.
    let fail = |by: &str, why: String| {
        eprintln!("{name}, {by}, seed {seed}: {why}");
        panic!("{name} fails");
    };
    let random = RandomScheduler::new_from_seed(seed, executions);
    play_by(random, &case).unwrap_or_else(|why| fail("random", why));
    let priorities = PctScheduler::new_from_seed(seed, DEPTH, executions);
    play_by(priorities, &case).unwrap_or_else(|why| fail("PCT", why));
}

fn small_world() -> World {
    World {
        seed: 0,
        density: 1,
        early: 0,
        actors: 0,
        round: 0,
        nodes: 1,
        pages: 256,
        movable: Some(50),
        swap: vec![128],
        file_parts: 0,
        groups: 1,
        shrinkers: false,
        owner: false,
        daemons: true,
        caches: true,
        hardened: false,
        patience_ms: 50,
    }
}

fn alloc(order: u8, urgency: Urgency) -> Op {
    Op::Alloc {
        order,
        movable: true,
        urgency,
        node: 0,
        group: 0,
    }
}

/// Four threads fill memory with folios and empty it, so that kswapd, direct reclaim and swap all run.
#[test]
fn reclaim_rounds() {
    let thread = |first: u16| {
        vec![
            Op::Folio {
                pages: 40,
                group: 0,
            },
            Op::Folio {
                pages: 30,
                group: 1,
            },
            Op::Write { which: first },
            Op::Folio {
                pages: 20,
                group: 0,
            },
            Op::Read { which: first },
            Op::Reclaim { pages: 32 },
            Op::Read { which: first + 1 },
            Op::Drop { which: 0 },
            Op::Read { which: 0 },
        ]
    };
    play_both("reclaim", small_world(), &[0, 1, 2, 3].map(thread));
}

/// Two threads hold scattered folios, one asks for whole pageblocks, one compacts, and one writes to what moves.
#[test]
fn compaction_rounds() {
    let holder = || {
        let mut ops = vec![Op::Folio { pages: 1, group: 0 }; 24];
        ops.extend((0..12).map(|which| Op::Drop { which: which * 2 }));
        ops.push(Op::Hold {
            which: 3,
            how: Hold::Pin,
            ms: 1,
        });
        ops.extend((0..4).map(|which| Op::Write { which }));
        ops.extend((0..4).map(|which| Op::Read { which }));
        ops
    };
    let asker = (0..6).flat_map(|_| [alloc(5, Urgency::Patient), Op::Free { which: 0 }]);
    let compactor = (0..4).flat_map(|_| [Op::Compact { node: 0 }, Op::Drain]);
    let actors = [
        holder(),
        holder(),
        asker.collect(),
        compactor.collect(),
        vec![
            Op::WriteShared { which: 1, ms: 1 },
            Op::ReadShared {
                which: 1,
                optimistic: true,
            },
            Op::WriteShared { which: 2, ms: 0 },
            Op::ReadShared {
                which: 2,
                optimistic: false,
            },
        ],
    ];
    play_both("compaction", small_world(), &actors);
}

/// Six threads allocate blocks of all urgencies while memory leaves service and comes back, and daemons end and
/// begin.
#[test]
fn service_rounds() {
    let churn = |urgency: Urgency| {
        let order = [0, 0, 1, 2, 0, 3];
        let mut ops: Vec<Op> = order.map(|order| alloc(order, urgency)).into();
        ops.extend((0..5).map(|which| Op::Free { which }));
        ops
    };
    let actors = [
        churn(Urgency::Patient),
        churn(Urgency::Nowait),
        churn(Urgency::Atomic),
        churn(Urgency::Noretry),
        vec![
            Op::Offline {
                node: 0,
                movable: true,
                pages: 64,
            },
            Op::Resize { percent: 80 },
            Op::Online,
            Op::Resize { percent: 100 },
            Op::Trim,
        ],
        vec![
            Op::Freeze { ms: 1 },
            Op::Daemons { node: 0, on: false },
            Op::Daemons { node: 0, on: true },
            Op::Explain,
        ],
    ];
    play_both("service", small_world(), &actors);
}
