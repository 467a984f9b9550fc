//! What a look at a pool and its load finds: a row of figures, each with a name and a rule.
//!
//! The columns of a pool are laid out once, when the pool is built; what is not there at a later look, such as a zone
//! that has left service, is not known in that row.
#![forbid(unsafe_code)]

use std::sync::Arc;

use pagepool::{
    DaemonActivity, DaemonReport, DaemonState, Migratetype, NodeState, Order, PoolState, Stats,
    ZoneStats,
};

use super::{
    film::{ABSENT, sign},
    reel::Merge,
};
use crate::{control::Control, meter::Meter, tally::Tally};

/// What players do, and of which the time is taken.
pub(super) const KINDS: [&str; 3] = ["alloc", "free", "fault"];

/// Counts of events that are recorded, by the names of `vmstat`.
pub(super) const EVENTS: [&str; 14] = [
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgscan_kswapd",
    "pgscan_direct",
    "pageoutrun",
    "pgmigrate_success",
    "pgmigrate_fail",
    "compact_stall",
    "compact_daemon_wake",
    "pswpin",
    "pswpout",
    "pgmajfault",
    "pagepool_slowpath_entries",
    "pagepool_extfrag_events",
];

/// What is recorded of each zone, before the index of each order.
pub(super) const OF_ZONE: [(&str, Merge); 6] = [
    ("free", Merge::Least),
    ("cached", Merge::Last),
    ("min", Merge::Last),
    ("low", Merge::Last),
    ("high", Merge::Last),
    ("boost", Merge::Most),
];

/// What a daemon is at: the share of the looks that found it so.
pub(super) const OF_DAEMON: [&str; 3] = ["working", "napping", "asleep"];

/// What is recorded of the run as a whole.
pub(super) const OF_RUN: [(&str, Merge); 6] = [
    ("time", Merge::Last),
    ("events", Merge::Sum),
    ("pressure_some", Merge::Sum),
    ("pressure_full", Merge::Sum),
    ("waiting", Merge::Most),
    ("swap_used", Merge::Last),
];

/// A zone by its node and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZoneName {
    pub(super) node: usize,
    pub(super) zone: &'static str,
    /// Pageblocks when the recording began.
    pub(super) nr_blocks: usize,
    /// Pages of each.
    pub(super) block_pages: usize,
}

/// Which figures a row has, in this order: of the run, the largest latency of each kind, events, zones, daemons.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) zones: Vec<ZoneName>,
    pub(super) daemons: Vec<String>,
}

impl Layout {
    pub(super) fn of(stats: &Stats, state: &PoolState) -> Layout {
        let zones = stats.nodes.iter().flat_map(|node| {
            let node_id = node.id.get();
            node.zones.iter().map(move |zone| ZoneName {
                node: node_id,
                zone: zone.name,
                nr_blocks: zone.pageblocks.len(),
                block_pages: zone.pageblock_order.pages(),
            })
        });
        let daemons = state.nodes.iter().flat_map(daemons_of);
        Layout {
            zones: zones.collect(),
            daemons: daemons.map(|daemon| daemon.name.clone()).collect(),
        }
    }

    /// Figures of a zone.
    fn zone_width() -> usize {
        OF_ZONE.len() + Order::all().count()
    }

    pub(super) fn latency_at(kind: usize) -> usize {
        OF_RUN.len() + kind
    }

    pub(super) fn event_at(n: usize) -> usize {
        Layout::latency_at(KINDS.len()) + n
    }

    pub(super) fn zone_at(n: usize) -> usize {
        Layout::event_at(EVENTS.len()) + n * Layout::zone_width()
    }

    pub(super) fn daemon_at(&self, n: usize) -> usize {
        Layout::zone_at(self.zones.len()) + n * OF_DAEMON.len()
    }

    /// The rule of each figure.
    pub(super) fn rules(&self) -> Vec<Merge> {
        let mut rules: Vec<Merge> = OF_RUN.iter().map(|(_, rule)| *rule).collect();
        rules.extend(KINDS.map(|_| Merge::Most));
        rules.extend(EVENTS.map(|_| Merge::Sum));
        for _ in &self.zones {
            rules.extend(OF_ZONE.map(|(_, rule)| rule));
            rules.extend(Order::all().map(|_| Merge::Mean));
        }
        rules.resize(self.daemon_at(self.daemons.len()), Merge::Mean);
        rules
    }

    pub(super) fn nr_blocks(&self) -> usize {
        self.zones.iter().map(|zone| zone.nr_blocks).sum()
    }

    /// The signs of all pageblocks, zone by zone.
    pub(super) fn picture(&self, stats: &Stats, picture: &mut Vec<u8>) {
        picture.clear();
        for name in &self.zones {
            let end = picture.len() + name.nr_blocks;
            if let Some(zone) = zone_of(stats, name) {
                let blocks = zone.pageblocks.iter().zip(&zone.pageblock_types);
                let signs =
                    blocks.map(|(used, kind)| sign(*kind, usize::from(*used), name.block_pages));
                picture.extend(signs.take(name.nr_blocks));
            }
            picture.resize(end, (Migratetype::Unmovable.idx() as u8) << 6 | ABSENT);
        }
    }

    /// The pages that were moved out of each pageblock so far, zone by zone. Of a zone that is not there they stay
    /// what they were.
    pub(super) fn moved_out(&self, stats: &Stats, moved_out: &mut [u64]) {
        let mut rest = moved_out;
        for name in &self.zones {
            let (of_zone, others) = rest.split_at_mut(name.nr_blocks);
            let now = zone_of(stats, name).map(|zone| &zone.pageblock_moved_out);
            for (pages, now) in of_zone.iter_mut().zip(now.into_iter().flatten()) {
                *pages = *now;
            }
            rest = others;
        }
    }
}

fn daemons_of(node: &NodeState) -> [&DaemonReport; 2] {
    [&node.kswapd, &node.kcompactd]
}

fn zone_of<'a>(stats: &'a Stats, name: &ZoneName) -> Option<&'a ZoneStats> {
    let node = stats.nodes.iter().find(|node| node.id.get() == name.node)?;
    node.zones.iter().find(|zone| zone.name == name.zone)
}

/// The latencies of all players, by kind.
#[derive(Clone, Debug)]
pub(crate) struct Meters(Vec<[Arc<Meter>; 3]>);

impl Meters {
    /// Those of the tallies of all players.
    pub(crate) fn of<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Meters {
        let meters = |tally: &Tally| {
            [&tally.alloc_ns, &tally.free_ns, &tally.fault_ns]
                .map(|times| Arc::clone(times.meter()))
        };
        Meters(tallies.map(meters).collect())
    }

    /// Adds up what they have so far, kind by kind, and takes the largest values.
    pub(super) fn read(&self, counts: &mut [u64], largest: &mut [f64; 3]) {
        counts.fill(0);
        *largest = [0.0; 3];
        let nr_buckets = counts.len() / KINDS.len();
        for kinds in &self.0 {
            for (kind, meter) in kinds.iter().enumerate() {
                let sums = &mut counts[kind * nr_buckets..][..nr_buckets];
                meter.each_count(|bucket, count| sums[bucket] += count);
                largest[kind] = largest[kind].max(meter.take_max() as f64);
            }
        }
    }
}

/// Counts that only rise, as they stood at the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    played: u64,
    pressure: [f64; 2],
    events: [u64; EVENTS.len()],
}

impl Seen {
    /// Writes the row of a look at `time` seconds into `row`, but for the largest latencies, which are given.
    pub(super) fn look(&mut self, layout: &Layout, what: &Sight<'_>, row: &mut Vec<f64>) {
        let Sight { stats, state, .. } = what;
        row.clear();
        row.push(what.time);
        row.push(what.control.map_or(0, |control| self.played_since(control)) as f64);
        let pressure =
            [&stats.pressure.some, &stats.pressure.full].map(|line| line.total.as_secs_f64());
        row.extend([0, 1].map(|n| (pressure[n] - self.pressure[n]).max(0.0)));
        self.pressure = pressure;
        let waiting =
            state.nr_waiting_for_memory + state.nr_waiting_for_group + state.nr_waiting_for_folio;
        row.push(f64::from(waiting));
        row.push(
            (stats.swap_total_pages - stats.swap_free_pages.min(stats.swap_total_pages)) as f64,
        );
        row.extend(what.largest);
        let events = EVENTS.map(|name| stats.vmstat.get(name).unwrap_or(0));
        row.extend(
            events
                .iter()
                .zip(&self.events)
                .map(|(now, before)| now.saturating_sub(*before) as f64),
        );
        self.events = events;
        layout
            .zones
            .iter()
            .for_each(|name| zone_figures(zone_of(stats, name), row));
        for daemon in state
            .nodes
            .iter()
            .flat_map(daemons_of)
            .take(layout.daemons.len())
        {
            row.extend(states_of(daemon));
        }
        row.resize(layout.daemon_at(layout.daemons.len()), f64::NAN);
    }

    /// Events since the last look; they begin at 0 anew when a phase's time does.
    fn played_since(&mut self, control: &Control) -> u64 {
        let now = control.played();
        let before = std::mem::replace(&mut self.played, now);
        now.checked_sub(before).unwrap_or(now)
    }
}

/// What a look is at.
pub(super) struct Sight<'a> {
    /// Seconds since the recording began.
    pub(super) time: f64,
    pub(super) stats: &'a Stats,
    pub(super) state: &'a PoolState,
    pub(super) control: Option<&'a Control>,
    /// The largest latency of each kind since the last look, in nanoseconds.
    pub(super) largest: [f64; 3],
}

fn zone_figures(zone: Option<&ZoneStats>, row: &mut Vec<f64>) {
    let Some(zone) = zone else {
        row.extend(std::iter::repeat_n(f64::NAN, Layout::zone_width()));
        return;
    };
    let pages = [
        zone.free,
        zone.cached,
        zone.min,
        zone.low,
        zone.high,
        zone.boost,
    ];
    row.extend(pages.map(|pages| pages as f64));
    row.extend(Order::all().map(|order| zone.unusable_index(order)));
}

/// One for what the daemon is at, none of them if it is not there.
fn states_of(daemon: &DaemonReport) -> [f64; 3] {
    let at =
        |activity| f64::from(daemon.state == DaemonState::Running && daemon.activity == activity);
    [
        DaemonActivity::Working,
        DaemonActivity::Napping,
        DaemonActivity::Asleep,
    ]
    .map(at)
}

#[cfg(test)]
mod tests {
    use pagepool::{Gfp, PagePool};

    use super::*;

    fn pool() -> PagePool {
        PagePool::builder()
            .memory(16 << 20)
            .nodes(2)
            .build()
            .expect("a pool")
    }

    fn row_of(pool: &PagePool, layout: &Layout, seen: &mut Seen) -> Vec<f64> {
        let mut row = Vec::new();
        let sight = Sight {
            time: 1.5,
            stats: &pool.stats(),
            state: &pool.state(),
            control: None,
            largest: [7.0, 8.0, 9.0],
        };
        seen.look(layout, &sight, &mut row);
        row
    }

    #[test]
    fn a_row_has_a_figure_for_each_rule() {
        let pool = pool();
        pool.start_daemons().unwrap();
        let layout = Layout::of(&pool.stats(), &pool.state());
        let row = row_of(&pool, &layout, &mut Seen::default());
        assert_eq!(row.len(), layout.rules().len());
        assert_eq!((row[0], row[Layout::latency_at(2)]), (1.5, 9.0));
        let zone = &pool.stats().nodes[0].zones[0];
        let at = Layout::zone_at(0);
        assert_eq!(
            row[at + 2..at + 5],
            [zone.min, zone.low, zone.high].map(|mark| mark as f64)
        );
        assert_eq!(
            layout.daemons,
            ["kswapd0", "kcompactd0", "kswapd1", "kcompactd1"]
        );
        for n in 0..4 {
            let at = layout.daemon_at(n);
            assert_eq!(
                row[at..at + 3].iter().sum::<f64>(),
                1.0,
                "{n} is at something"
            );
        }
    }

    #[test]
    fn a_zone_that_is_not_there_is_not_known() {
        let pool = pool();
        let mut layout = Layout::of(&pool.stats(), &pool.state());
        layout.zones[0].node = 7;
        let row = row_of(&pool, &layout, &mut Seen::default());
        assert!(row[Layout::zone_at(0)].is_nan() && !row[Layout::zone_at(1)].is_nan());
        let mut picture = Vec::new();
        layout.picture(&pool.stats(), &mut picture);
        assert_eq!(picture.len(), layout.nr_blocks());
        assert!(
            picture[..layout.zones[0].nr_blocks]
                .iter()
                .all(|sign| *sign == ABSENT)
        );
    }

    #[test]
    fn what_is_moved_out_of_a_zone_that_is_gone_stays_what_it_was() {
        let pool = pool();
        let mut layout = Layout::of(&pool.stats(), &pool.state());
        let mut moved = vec![7; layout.nr_blocks()];
        layout.zones[0].node = 7;
        let first = layout.zones[0].nr_blocks;
        layout.moved_out(&pool.stats(), &mut moved);
        assert!(moved[..first].iter().all(|pages| *pages == 7));
        assert!(moved[first..].iter().all(|pages| *pages == 0));
    }

    #[test]
    fn a_picture_shows_what_is_in_use_and_of_which_kind() {
        let pool = pool();
        let layout = Layout::of(&pool.stats(), &pool.state());
        let pages = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).expect("memory");
        let mut picture = Vec::new();
        layout.picture(&pool.stats(), &mut picture);
        assert!(
            picture.iter().any(|sign| sign & 63 != 0 && sign & 63 < 62),
            "{picture:?}"
        );
        assert!(
            picture
                .iter()
                .any(|sign| sign >> 6 == Migratetype::Movable.idx() as u8)
        );
        drop(pages);
    }
}
