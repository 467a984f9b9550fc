//! What was missed of a trace of references, by who decided what stays in memory.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::{table::Table, text::line};
use crate::units::{grouped, human_bytes};

/// One trace.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MissReport {
    pub(crate) trace: String,
    pub(crate) references: u64,
    /// Distinct pages or objects.
    pub(crate) keys: u64,
    /// Pages of all keys together.
    pub(crate) footprint_pages: u64,
    pub(crate) sizes: Vec<MissesAtSize>,
}

/// The same trace in a memory of one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MissesAtSize {
    /// As it was asked for.
    pub(crate) size: String,
    pub(crate) pages: u64,
    pub(crate) policies: Vec<PolicyMisses>,
    /// None if the pool was not asked, is too small to be one, or the run ended before.
    pub(crate) pool: Option<PoolMisses>,
}

/// What a policy misses that has all of the memory.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PolicyMisses {
    pub(crate) policy: &'static str,
    pub(crate) misses: u64,
    pub(crate) miss_ratio: f64,
}

/// What a real pool missed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PoolMisses {
    pub(crate) managed_pages: u64,
    /// In use after the last reference.
    pub(crate) held_pages: u64,
    /// References that were played, of all rounds and copies.
    pub(crate) references: u64,
    /// Of these, those that found nothing in memory.
    pub(crate) misses: u64,
    pub(crate) miss_ratio: f64,
    /// Of these, those that found their folio away; the others were first ones, or had been refused.
    pub(crate) refaults: u64,
    /// Folios that were refused memory.
    pub(crate) refused: u64,
}

/// Writes all traces.
pub(super) fn write(reports: &[MissReport], text: &mut String) {
    for report in reports {
        text.push('\n');
        let facts = format!(
            "{} references to {} keys of {} pages ({}); missed / all references",
            grouped(report.references),
            grouped(report.keys),
            grouped(report.footprint_pages),
            human_bytes(report.footprint_pages * pagepool::PAGE_SIZE as u64)
        );
        line(text, "", "misses", &format!("{}: {facts}", report.trace));
        write_table(report, text);
    }
}

fn write_table(report: &MissReport, text: &mut String) {
    let sizes = &report.sizes;
    let row = |name: &str, cell: &dyn Fn(&MissesAtSize) -> String| {
        let cells: Vec<String> = sizes.iter().map(cell).collect();
        [name.to_owned()].into_iter().chain(cells)
    };
    let mut table = Table::new(row("memory", &|size| size.size.clone()));
    table.row(row("  pages", &|size| grouped(size.pages)));
    let names = sizes.first().map_or(&[][..], |size| &size.policies);
    for (n, policy) in names.iter().enumerate() {
        let ratio = |size: &MissesAtSize| {
            let policy = size.policies.get(n);
            policy.map_or_else(none, |policy| format!("{:.3}", policy.miss_ratio))
        };
        table.row(row(policy.policy, &ratio));
    }
    if sizes.iter().any(|size| size.pool.is_some()) {
        let of_pool = |figure: &dyn Fn(PoolMisses) -> String, size: &MissesAtSize| {
            size.pool.map_or_else(none, figure)
        };
        table.row(row("the pool", &|size| {
            of_pool(&|pool| format!("{:.3}", pool.miss_ratio), size)
        }));
        table.row(row("  pages in use", &|size| {
            of_pool(&|pool| grouped(pool.held_pages), size)
        }));
        table.row(row("  refaults", &|size| {
            of_pool(&|pool| grouped(pool.refaults), size)
        }));
    }
    table.write("  ", text);
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_size_and_a_row_a_policy() {
        let at = |size: &str, pages, ratio, pool| MissesAtSize {
            size: size.to_owned(),
            pages,
            policies: vec![PolicyMisses {
                policy: "lru",
                misses: 5,
                miss_ratio: ratio,
            }],
            pool,
        };
        let pool = PoolMisses {
            managed_pages: 512,
            held_pages: 500,
            references: 10,
            misses: 6,
            miss_ratio: 0.6,
            refaults: 1,
            refused: 0,
        };
        let report = MissReport {
            trace: "t.key".to_owned(),
            references: 10,
            keys: 5,
            footprint_pages: 5,
            sizes: vec![at("1%", 5, 0.5, None), at("10%", 512, 0.25, Some(pool))],
        };
        let mut text = String::new();
        write(&[report], &mut text);
        let table: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(table[0], ["memory", "1%", "10%"]);
        assert_eq!(table[2], ["lru", "0.500", "0.250"]);
        assert_eq!(table[3], ["the", "pool", "-", "0.600"]);
        assert_eq!(table[5], ["refaults", "-", "1"]);
    }
}
