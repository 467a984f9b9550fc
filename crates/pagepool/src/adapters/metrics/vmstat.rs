//! What is told under the kernel's names, in the kernel's units (pure).

use super::family::{Family, Labels};
use super::snapshot::Snapshot;
use crate::pool::stats::Vmstat;
use crate::zone::figure::{Figure, FigureKind};

pub(super) fn all(pools: &[Snapshot]) -> Vec<Family> {
    let of_pools: Vec<_> = pools
        .iter()
        .map(|pool| (pool.labels([]), &pool.stats.vmstat))
        .collect();
    let of_nodes: Vec<_> = pools
        .iter()
        .flat_map(|pool| {
            let nodes = pool.stats.nodes.iter();
            nodes.map(move |node| {
                let labels = pool.labels([("node", node.id.get().to_string())]);
                (labels, &node.vmstat)
            })
        })
        .collect();
    let mut families = each_figure("pagepool_vmstat_", &of_pools);
    families.extend(each_figure("pagepool_node_vmstat_", &of_nodes));
    families
}

/// A family for each figure. All that are given have the same ones.
fn each_figure(prefix: &str, parts: &[(Labels, &Vmstat)]) -> Vec<Family> {
    let Some((_, first)) = parts.first() else {
        return vec![];
    };
    let family = |nr: usize, figure: &Figure| {
        let name = name(prefix, figure.name);
        let family = match figure.kind {
            FigureKind::Gauge => Family::gauge(name, figure.help),
            FigureKind::Counter => Family::counter(name, figure.help),
        };
        let samples = parts.iter().map(|(labels, vmstat)| {
            let same = &vmstat.figures()[nr];
            debug_assert_eq!(same.name, figure.name);
            (labels.clone(), same.value)
        });
        family.with(samples)
    };
    let figures = first.figures().iter().enumerate();
    figures.map(|(nr, figure)| family(nr, figure)).collect()
}

/// Those that the kernel does not have are called after the pool already.
fn name(prefix: &str, figure: &str) -> String {
    if figure.starts_with("pagepool_") {
        figure.to_owned()
    } else {
        format!("{prefix}{figure}")
    }
}
