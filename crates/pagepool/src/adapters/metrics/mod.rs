//! Pools as a collector of Prometheus' client library: what they count, read when somebody asks.
//!
//! Nothing is counted twice: a scrape takes a snapshot of each pool ([`PagePool::stats`] and its like), and writes it
//! down. What there is stands in [`families`](families::all), which is pure; only this file knows the library.
//!
//! **Invariants**
//! - E1: a family is written once, with all its samples, however many pools there are.
//! - E2: no two samples of a family have the same labels.

#![forbid(unsafe_code)]

mod families;
mod family;
mod groups;
mod snapshot;
mod vmstat;
mod zones;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use self::family::{BaseUnit, Family, Kind, Value};
use self::snapshot::Snapshot;
use crate::pool::PagePool;

/// Gives what pools count to a registry of [`prometheus_client`], whenever that is read.
///
/// All names begin with `pagepool_`; counters end with `_total`; sizes are in bytes and times in seconds, but for
/// `pagepool_vmstat_`, which has the kernel's names and units. Labels are `node`, `zone`, `order`, `migratetype`,
/// `group` and the like where they make sense. The chapter *Observing a pool* of the book has the list.
///
/// A collector has a handle to each of its pools: they live as long as it does.
///
/// ```
/// use pagepool::{Gfp, Order, PagePool, PoolCollector};
/// use prometheus_client::{encoding::text, registry::Registry};
///
/// let pool = PagePool::builder().memory(64 << 20).build()?;
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(PoolCollector::new(&pool)));
///
/// let block = pool.alloc_pages(Order::new(3)?, Gfp::KERNEL)?;
/// let mut metrics = String::new();
/// text::encode(&mut metrics, &registry)?;
/// assert!(metrics.contains("\npagepool_vmstat_pgalloc_normal_total 8\n"));
/// assert!(metrics.contains("\npagepool_zone_free_bytes{node=\"0\",zone=\"Normal\"} "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolCollector {
    /// Each with its name, if it has one.
    pools: Vec<(Option<String>, PagePool)>,
}

impl PoolCollector {
    /// A collector of one pool, the only one of its process.
    #[must_use]
    pub fn new(pool: &PagePool) -> PoolCollector {
        PoolCollector {
            pools: vec![(None, pool.clone())],
        }
    }

    /// A collector of several pools. Each sample has the name of its pool in the label `pool`. Of several
    /// collectors in one registry each would write every family, which no reader accepts.
    ///
    /// # Panics
    /// If two of them have the same name: their samples could not be told apart.
    ///
    /// ```
    /// # use pagepool::{PagePool, PoolCollector};
    /// # let cache = PagePool::builder().memory(64 << 20).build()?;
    /// # let scratch = cache.clone();
    /// let collector = PoolCollector::named([("cache", &cache), ("scratch", &scratch)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named<'a>(
        pools: impl IntoIterator<Item = (impl Into<String>, &'a PagePool)>,
    ) -> PoolCollector {
        let mut named: Vec<(Option<String>, PagePool)> = vec![];
        for (name, pool) in pools {
            let name = Some(name.into());
            let is_new = named.iter().all(|(known, _)| *known != name);
            assert!(is_new, "two pools are named {name:?}");
            named.push((name, pool.clone()));
        }
        PoolCollector { pools: named }
    }
}

impl fmt::Debug for PoolCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.pools.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshots: Vec<_> = self
            .pools
            .iter()
            .map(|(name, pool)| Snapshot::of(name.clone(), pool))
            .collect();
        let families = families::all(&snapshots);
        { families.iter() }.try_for_each(|family| encode(family, &mut encoder))
    }
}

fn encode(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if family.samples().is_empty() {
        return Ok(());
    }
    let unit = family.unit().map(|unit| match unit {
        BaseUnit::Bytes => Unit::Bytes,
        BaseUnit::Seconds => Unit::Seconds,
        BaseUnit::Ratio => Unit::Other("ratio".to_owned()),
    });
    let kind = match family.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let (name, help) = (family.name(), family.help());
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
    for (labels, value) in family.samples() {
        if labels.is_empty() {
            encode_value(&mut metric, family.kind(), *value)?;
        } else {
            encode_value(&mut metric.encode_family(labels)?, family.kind(), *value)?;
        }
    }
    Ok(())
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&count, None)
        }
        (Kind::Counter, Value::Real(real)) => {
            metric.encode_counter::<NoLabelSet, _, f64>(&real, None)
        }
        (Kind::Gauge, Value::Count(count)) => metric.encode_gauge(&count),
        (Kind::Gauge, Value::Real(real)) => metric.encode_gauge(&real),
    }
}
