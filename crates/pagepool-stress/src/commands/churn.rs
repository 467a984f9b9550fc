//! `churn`: random frees and allocations, and how many large blocks remain; or every kind of request.
#![forbid(unsafe_code)]

use pagepool::{Order, PAGE_SIZE, PagePool, Stats};

use super::{Act, BadInput, Errand, play_all, report, set_up};
use crate::{
    cli::{Churn, Common},
    crew::Seat,
    phase::{self, Daemons, Length, Movable, Plan, Watch},
    player::{
        churn::{self, CHURN_GFP, ChurnPlayer},
        mixed::{self, MixedPlayer, exchange},
    },
    report::{ChurnReport, Facts, Generation, Report},
    rng::nth,
    tally::Violations,
    units::{grouped, wide},
};

/// What the pool can hand out unless the user says.
const MANAGED: usize = 256 << 20;

/// The blocks that should remain: 2 MiB, as huge pages are.
const LARGE: u8 = 9;

/// Share of the ideal number of large blocks that should remain.
const GOAL: f64 = 0.9;

/// Verifications of the pool in a mixed run.
const MIXED_EPOCHS: u64 = 32;

/// Plays the load that the options say.
pub(crate) fn perform(
    common: &Common,
    options: &Churn,
    errand: &Errand,
) -> Result<Report, BadInput> {
    match options.mixed {
        true => perform_mixed(common, options, errand),
        false => perform_generations(common, options, errand),
    }
}

fn perform_generations(
    common: &Common,
    options: &Churn,
    errand: &Errand,
) -> Result<Report, BadInput> {
    let threads = common.threads_or(1);
    let load = load(common, options, threads);
    let plan = Plan {
        name: "churn".to_owned(),
        size: common.size_or(MANAGED),
        nodes: common.nodes,
        daemons: Daemons::On,
        movable: Movable::None,
        swap: None,
        patience: None,
        // A call to play is a generation, whatever the number of events.
        epoch: 1,
        events: expected_events(&load, threads),
        length: common.duration.map_or(Length::Once, Length::For),
    };
    let player = |n| Box::new(ChurnPlayer::new(load, nth(errand.seed, n))) as Seat;
    let players = (0..threads as u64).map(player).collect();
    let mut watch = Generations::new();
    let house = set_up(threads, errand)?;
    let outcome = phase::perform(&plan, &house, players, &mut watch)?;
    let facts = Facts {
        load: format!(
            "order {}, {} % live, {} generations; every byte filled and verified",
            options.order, options.occupancy, options.generations
        ),
        notes: vec![
            "start: the pool is filled until it refuses, then random blocks are freed: the worst case"
                .to_owned(),
            "generation: as many random frees and allocations as live blocks, in random order"
                .to_owned(),
        ],
        ..Facts::default()
    };
    let mut report = report(errand, &[(facts, outcome)]);
    report.churn = Some(watch.into_report());
    Ok(report)
}

fn load(common: &Common, options: &Churn, threads: usize) -> churn::Load {
    let order = Order::new(options.order).expect("checked by the command line");
    let managed = common.memory.unwrap_or(MANAGED);
    let share_blocks = managed / order.bytes() / threads;
    let live_blocks = share_blocks * usize::from(options.occupancy) / 100;
    churn::Load {
        order,
        share_blocks,
        live_blocks,
        generations: options.generations,
    }
}

fn expected_events(load: &churn::Load, threads: usize) -> u64 {
    let fill = 2 * load.share_blocks - load.live_blocks;
    let generations = 2 * load.live_blocks as u64 * load.generations;
    (fill as u64 + generations) * threads as u64
}

/// Counts large blocks after each generation, and takes them at the end.
struct Generations {
    seen: Vec<Generation>,
    got: u64,
    ideal: u64,
}

impl Generations {
    fn new() -> Generations {
        // The rows are part of the program's memory before the pool is built.
        Generations {
            seen: Vec::with_capacity(1 << 16),
            got: 0,
            ideal: 0,
        }
    }

    fn into_report(self) -> ChurnReport {
        ChurnReport {
            large_order: LARGE,
            generations: self.seen,
            got: self.got,
            ideal: self.ideal,
            share: share(self.got, self.ideal),
            goal: GOAL,
        }
    }
}

impl Watch for Generations {
    fn epoch(&mut self, pool: &PagePool, epoch: u64) {
        let stats = pool.stats();
        let free_pages = wide(stats.free_pages);
        let (large_blocks, ideal) = (large_blocks(&stats), free_pages >> LARGE);
        let share = share(large_blocks, ideal);
        self.seen.push(Generation {
            generation: epoch,
            free_pages,
            large_blocks,
            ideal,
            share,
        });
    }

    fn held(&mut self, pool: &PagePool, violations: &mut Violations) {
        pool.drain();
        self.ideal = wide(pool.stats().free_pages) >> LARGE;
        let order = Order::new(LARGE).expect("in range");
        let taken: Vec<_> =
            std::iter::from_fn(|| pool.alloc_pages_uninit(order, CHURN_GFP).ok()).collect();
        self.got = taken.len() as u64;
        if self.got > self.ideal {
            violations.add(format_args!(
                "{} blocks of order {LARGE} came out of memory for {}",
                self.got, self.ideal
            ));
        }
    }
}

fn large_blocks(stats: &Stats) -> u64 {
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let blocks = |nr_free: &[u64]| -> u64 {
        (0..)
            .zip(&nr_free[usize::from(LARGE)..])
            .map(|(order, nr)| nr << order)
            .sum()
    };
    zones.map(|zone| blocks(&zone.nr_free)).sum()
}

fn share(got: u64, ideal: u64) -> f64 {
    got as f64 / ideal.max(1) as f64
}

fn perform_mixed(common: &Common, options: &Churn, errand: &Errand) -> Result<Report, BadInput> {
    let threads = common.threads_or(1);
    let managed = common.memory.unwrap_or(MANAGED);
    let events = options.ops.div_ceil(threads as u64);
    let load = mixed::Load {
        share_pages: managed / PAGE_SIZE / threads,
        nr_nodes: common.nodes.max(1),
        events,
    };
    let exchange = exchange(threads);
    let player = |n| {
        Box::new(MixedPlayer::new(
            load,
            exchange.clone(),
            nth(errand.seed, n),
        )) as Seat
    };
    let act = Act {
        plan: Plan {
            name: "mixed".to_owned(),
            size: common.size_or(MANAGED),
            nodes: common.nodes,
            daemons: Daemons::On,
            movable: Movable::Default,
            swap: None,
            patience: None,
            epoch: events.div_ceil(MIXED_EPOCHS).max(1),
            events: events * threads as u64,
            length: common.length(),
        },
        facts: Facts {
            load: format!(
                "{} random events of {threads} thread(s)",
                grouped(events * threads as u64)
            ),
            notes: vec![
                "all orders and flags, node masks, bulk calls, splits, frees by other threads"
                    .to_owned(),
                "the memory held swings between a third and all of the pool".to_owned(),
            ],
            ..Facts::default()
        },
        players: (0..threads as u64).map(player).collect(),
    };
    let house = set_up(threads, errand)?;
    let played = play_all(vec![act], &house)?;
    Ok(report(errand, &played))
}
