//! How a load and its pool stand, as lines for people.
#![forbid(unsafe_code)]

use pagepool::{DaemonReport, DaemonState, PagePool};

use crate::{gauge::gauge, units::grouped};

/// Zones that are shown; a pool of sixteen nodes has more.
const ZONES: usize = 6;

/// Cells of a zone's gauge.
const CELLS: usize = 24;

/// A zone beside its marks, in pages.
#[derive(Clone, Debug, PartialEq)]
struct Zone {
    name: String,
    free: usize,
    /// Minimum, low, high.
    marks: [usize; 3],
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct View {
    name: String,
    share: f64,
    events: u64,
    rate: u64,
    zones: Vec<Zone>,
    daemons: Vec<String>,
    nr_throttled: u32,
    /// Percent of the last ten seconds: somebody waited, nobody did anything else.
    waited: [f64; 2],
    nr_waiting: u32,
    /// Pages of swap in use, and all.
    swap: Option<[usize; 2]>,
}

impl View {
    /// How `pool` stands, in ways that wait for nobody.
    pub(super) fn of(pool: &PagePool) -> View {
        let state = pool.state();
        let pressure = pool.pressure();
        let areas = pool.swap_areas();
        let used: usize = areas.iter().map(|area| area.used_pages).sum();
        let total: usize = areas.iter().map(|area| area.total_pages).sum();
        let zones = state.nodes.iter().flat_map(|node| {
            node.zones.iter().map(|(zone, free, marks)| Zone {
                name: format!("node {} {}", node.id.get(), zone.name()),
                free: *free,
                marks: *marks,
            })
        });
        let daemons = state
            .nodes
            .iter()
            .flat_map(|node| [&node.kswapd, &node.kcompactd]);
        View {
            zones: zones.collect(),
            daemons: daemons.map(daemon).collect(),
            nr_throttled: state.nodes.iter().map(|node| node.nr_throttled).sum(),
            waited: [pressure.some.avg10, pressure.full.avg10],
            nr_waiting: state.nr_waiting_for_memory
                + state.nr_waiting_for_group
                + state.nr_waiting_for_folio,
            swap: (total > 0).then_some([used, total]),
            ..View::default()
        }
    }

    /// The same under a load of which so much is done.
    pub(super) fn of_load(self, name: &str, share: f64, events: u64, rate: u64) -> View {
        View {
            name: name.to_owned(),
            share,
            events,
            rate,
            ..self
        }
    }

    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// What was done, in a few words.
    pub(super) fn load(&self) -> String {
        format!("{} events, {}/s", grouped(self.events), grouped(self.rate))
    }

    /// All of it in one line.
    pub(super) fn plain(&self) -> String {
        let zone = |zone: &Zone| {
            let [min, low, high] = zone.marks;
            format!(
                "{} {} free of {min}/{low}/{high}",
                zone.name,
                grouped(zone.free as u64)
            )
        };
        let zones = self.zones.iter().take(ZONES).map(zone);
        let parts = [
            self.load(),
            zones.collect::<Vec<_>>().join(", "),
            self.daemons(),
            self.waiting(),
        ];
        format!(
            "{} {:.0} %: {}\n",
            self.name,
            self.share * 100.0,
            parts.join("; ")
        )
    }

    /// What stands below the bar on a terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let width = self
            .zones
            .iter()
            .map(|zone| zone.name.len())
            .max()
            .unwrap_or(0);
        let zone = |zone: &Zone| {
            let [min, low, high] = zone.marks;
            format!(
                "{:width$} [{}] {} free of {min}/{low}/{high}",
                zone.name,
                gauge(zone.free, zone.marks, CELLS),
                grouped(zone.free as u64)
            )
        };
        let zones = self.zones.iter().take(ZONES).map(zone);
        zones.chain([self.daemons(), self.waiting()]).collect()
    }

    fn daemons(&self) -> String {
        let shown = self.daemons.iter().take(2 * ZONES).cloned();
        let throttled = (self.nr_throttled > 0)
            .then(|| format!("{} threads wait for kswapd", self.nr_throttled));
        shown.chain(throttled).collect::<Vec<_>>().join(", ")
    }

    fn waiting(&self) -> String {
        let [some, full] = self.waited;
        let swap = self.swap.map_or_else(String::new, |[used, total]| {
            format!(
                "; swap {}/{} pages",
                grouped(used as u64),
                grouped(total as u64)
            )
        });
        format!(
            "waiting some {some:.1} % full {full:.1} % of 10 s, {} threads now{swap}",
            self.nr_waiting
        )
    }
}

fn daemon(report: &DaemonReport) -> String {
    match report.state {
        DaemonState::Running => format!("{} {}", report.name, report.activity),
        state => format!("{} {state}", report.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            zones: vec![Zone {
                name: "node 0 Normal".to_owned(),
                free: 1532,
                marks: [249, 404, 559],
            }],
            daemons: vec!["kswapd0 working".to_owned(), "kcompactd0 asleep".to_owned()],
            nr_throttled: 2,
            waited: [3.21, 0.4],
            nr_waiting: 1,
            swap: Some([5227, 23140]),
            ..View::default()
        }
        .of_load("latency", 0.25, 123_456, 5_000)
    }

    #[test]
    fn a_plain_line_says_it_all() {
        assert_eq!(
            view().plain(),
            "latency 25 %: 123,456 events, 5,000/s; node 0 Normal 1,532 free of 249/404/559; kswapd0 working, \
             kcompactd0 asleep, 2 threads wait for kswapd; waiting some 3.2 % full 0.4 % of 10 s, 1 threads now; \
             swap 5,227/23,140 pages\n"
        );
    }

    #[test]
    fn a_terminal_has_a_line_for_each_zone() {
        let lines = view().lines();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("node 0 Normal [====="), "{lines:?}");
        assert!(lines[0].ends_with("1,532 free of 249/404/559"));
    }

    #[test]
    fn a_pool_says_how_it_stands() {
        let pool = PagePool::builder()
            .memory(8 << 20)
            .nodes(2)
            .build()
            .unwrap();
        let view = View::of(&pool);
        assert!(view.zones.len() >= 2 && view.zones[0].free > 0, "{view:?}");
        assert_eq!(view.daemons.len(), 4);
        assert!(view.daemons[0].starts_with("kswapd0 "), "{view:?}");
        assert_eq!(view.swap, None);
    }
}
