//! What is missed of a trace of references in memories of several sizes: by policies, and by a pool.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::{PAGE_SIZE, PagePool};

use super::{Act, Errand, replay::EPOCH};
use crate::{
    cli::{Common, Contestant, Replay},
    crew::Seat,
    phase::{Daemons, Movable, Outcome, Plan, Size, Watch},
    player::residence::ResidencePlayer,
    policy::{self, Policy, Stream},
    report::{Facts, MissReport, MissesAtSize, PolicyMisses, PoolMisses},
    rng::nth,
    swapping::SwapPlan,
    trace::{references::ReferenceTrace, source::stem},
    units::{CacheSize, grouped},
};

/// The fewest pages that a pool is made of here.
const LEAST_POOL: u64 = 64;

/// The same as a size.
const LEAST_SIZE: CacheSize = CacheSize::Bytes(LEAST_POOL as usize * PAGE_SIZE);

/// How long a request waits: one for a large folio in a small pool is often in vain.
const PATIENCE: Duration = Duration::from_millis(200);

/// The sizes that the options say; where a pool is to be played and all of them are too small for one, the least that
/// is not.
fn sizes(common: &Common, options: &Replay, footprint_pages: u64) -> Vec<CacheSize> {
    if let Some(bytes) = common.memory {
        return vec![CacheSize::Bytes(bytes)];
    }
    let mut sizes = options.sizes.clone();
    let is_too_small = |size: &CacheSize| size.pages(footprint_pages) < LEAST_POOL;
    if options.policies.contains(&Contestant::Pool) && sizes.iter().all(is_too_small) {
        sizes.push(LEAST_SIZE);
    }
    sizes
}

/// What the policies miss of `trace`; the pool's part is open.
pub(super) fn by_policies(
    common: &Common,
    options: &Replay,
    trace: &ReferenceTrace,
    errand: &Errand,
) -> MissReport {
    let pages = Stream::pages_of(trace);
    let stream = Stream::new(trace, &pages);
    let at = |size: &CacheSize| {
        let capacity = size.pages(trace.footprint_pages);
        let policies = options.policies.iter().filter_map(|who| who.policy());
        MissesAtSize {
            size: size.describe(),
            pages: capacity,
            policies: policies
                .map_while(|policy| misses(policy, stream, capacity, errand))
                .collect(),
            pool: None,
        }
    };
    MissReport {
        trace: stem(&trace.name),
        references: trace.references.len() as u64,
        keys: trace.orders.len() as u64,
        footprint_pages: trace.footprint_pages,
        sizes: sizes(common, options, trace.footprint_pages)
            .iter()
            .map(at)
            .collect(),
    }
}

fn misses(
    policy: Policy,
    stream: Stream<'_>,
    capacity: u64,
    errand: &Errand,
) -> Option<PolicyMisses> {
    let what = format!("{} in {} pages", policy.name(), grouped(capacity));
    let _busy = errand.screen.busy(&what);
    let misses = policy::misses(policy, stream, capacity, || !errand.interrupt.is_set())?;
    Some(PolicyMisses {
        policy: policy.name(),
        misses,
        miss_ratio: misses as f64 / stream.len().max(1) as f64,
    })
}

/// Prepares to play `copies` copies of `trace` through a pool of each size, and says at which of the sizes.
pub(super) fn by_pool(
    common: &Common,
    options: &Replay,
    trace: &Arc<ReferenceTrace>,
    copies: usize,
    seed: u64,
) -> Vec<(usize, Act)> {
    if !options.policies.contains(&Contestant::Pool) {
        return Vec::new();
    }
    let sizes = sizes(common, options, trace.footprint_pages);
    let acts = sizes.iter().enumerate().filter_map(|(n, size)| {
        let pages = size.pages(trace.footprint_pages);
        let act = || act(common, trace, *size, copies, nth(seed, n as u64));
        (pages >= LEAST_POOL).then(|| (n, act()))
    });
    acts.collect()
}

fn act(
    common: &Common,
    trace: &Arc<ReferenceTrace>,
    size: CacheSize,
    copies: usize,
    seed: u64,
) -> Act {
    let footprint = trace.footprint_pages * copies as u64;
    // What is larger than the footprint, and what the pool keeps free, would never be used.
    let pages = size.pages(trace.footprint_pages) * copies as u64;
    let pages = pages.min(footprint * 2 + LEAST_POOL);
    let player = |n| Box::new(ResidencePlayer::new(Arc::clone(trace), nth(seed, n))) as Seat;
    let mut notes = vec![
        "each key is a folio; what is in memory is up to the pool; read-ahead is off".to_owned(),
    ];
    notes.extend(left_out(trace));
    Act {
        plan: Plan {
            name: format!("{}, {}", stem(&trace.name), size.describe()),
            size: common
                .memory
                .map_or(Size::Managed(pages as usize * PAGE_SIZE), Size::Budget),
            nodes: common.nodes,
            daemons: Daemons::On,
            movable: Movable::None,
            swap: Some(SwapPlan::for_pages(footprint, common.swap.as_ref())),
            patience: Some(PATIENCE),
            epoch: EPOCH,
            events: trace.references.len() as u64 * copies as u64,
            length: common.length(),
        },
        facts: Facts {
            load: format!(
                "{} references to {} pages in {}",
                grouped(trace.references.len() as u64),
                grouped(trace.footprint_pages),
                grouped(pages)
            ),
            notes,
            cache: Some((footprint, pages)),
            ..Facts::default()
        },
        players: (0..copies as u64).map(player).collect(),
    }
}

/// What of a trace could not be made a reference, if anything.
pub(super) fn left_out(trace: &ReferenceTrace) -> Option<String> {
    (trace.nr_skipped > 0).then(|| {
        format!(
            "{} requests without memory, or of more than 4 MiB for one object, are left out",
            grouped(trace.nr_skipped)
        )
    })
}

/// What a pool missed.
pub(super) fn of_outcome(outcome: &Outcome) -> PoolMisses {
    let (tally, held) = (&outcome.tally, &outcome.held);
    let references = tally.nr_hits + tally.nr_misses;
    PoolMisses {
        managed_pages: held.managed_pages as u64,
        held_pages: (held.managed_pages - held.free_pages) as u64,
        references,
        misses: tally.nr_misses,
        miss_ratio: tally.nr_misses as f64 / references.max(1) as f64,
        refaults: tally.nr_away,
        refused: tally.refusals.iter().map(|refusals| refusals.count).sum(),
    }
}

/// Turns read-ahead off: with it a folio may be there that nobody has asked for.
pub(super) struct NoReadAhead;

impl Watch for NoReadAhead {
    fn built(&mut self, pool: &PagePool) {
        let off = pool.tunables().set_page_cluster(0);
        off.expect("0 is in the range of page-cluster");
    }
}
