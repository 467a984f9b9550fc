//! What Prometheus gets is what `stats()` says, read by a parser that others wrote.

use std::collections::HashMap;

use pagepool::{Gfp, GroupLimits, Migratetype, NR_ORDERS, PAGE_SIZE, PagePool, PoolCollector};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use prometheus_parse::{Scrape, Value};

use super::Used;
use crate::order;

fn registry(collector: PoolCollector) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    registry
}

/// All samples by their lines without the number, such as `pagepool_zone_free_bytes{node="0"}` with labels sorted.
fn scrape(collector: PoolCollector) -> HashMap<String, f64> {
    let mut exposition = String::new();
    prometheus_text::encode(&mut exposition, &registry(collector)).unwrap();
    let lines = exposition.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).unwrap();
    let nr_lines = exposition
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    assert_eq!(scrape.samples.len(), nr_lines, "all of it is understood");
    let samples = scrape.samples.into_iter().map(|sample| {
        let is_counter = sample.metric.ends_with("_total");
        let value = match sample.value {
            Value::Counter(value) if is_counter => value,
            Value::Gauge(value) if !is_counter => value,
            other => panic!("{} is {other:?}", sample.metric),
        };
        assert!(
            scrape.docs.contains_key(&sample.metric),
            "{}",
            sample.metric
        );
        (key(&sample.metric, sample.labels.iter()), value)
    });
    samples.collect()
}

fn key<K: AsRef<str>, V: AsRef<str>>(
    name: &str,
    labels: impl IntoIterator<Item = (K, V)>,
) -> String {
    let labels = labels.into_iter();
    let mut labels: Vec<_> = labels
        .map(|(key, value)| format!("{}={}", key.as_ref(), value.as_ref()))
        .collect();
    labels.sort();
    format!("{name}{labels:?}")
}

#[track_caller]
fn assert_is(samples: &HashMap<String, f64>, name: &str, labels: &[(&str, &str)], expected: f64) {
    let found = samples.get(&key(name, labels.iter().copied()));
    assert_eq!(found, Some(&expected), "{name} {labels:?}");
}

#[test]
fn metrics_say_what_stats_says() {
    let used = Used::new();
    let tenant = used
        .pool
        .create_group("tenant", GroupLimits::new().max(8 << 20))
        .unwrap();
    let _block = tenant.alloc_pages(order(4), Gfp::KERNEL).unwrap();
    let stats = used.pool.stats();
    let samples = scrape(PoolCollector::new(&used.pool));
    let bytes = |pages: usize| (pages * PAGE_SIZE) as f64;

    assert_is(
        &samples,
        "pagepool_budget_bytes",
        &[],
        stats.budget_bytes as f64,
    );
    assert_is(&samples, "pagepool_folios", &[], 600.0);
    let waiting = stats.pressure.some.total.as_secs_f64();
    assert_is(
        &samples,
        "pagepool_pressure_waiting_seconds_total",
        &[],
        waiting,
    );
    for (name, count) in stats.vmstat.iter() {
        let name = if name.starts_with("pagepool_") {
            name.to_owned()
        } else {
            format!("pagepool_vmstat_{name}")
        };
        let total = samples.get(&key::<&str, &str>(&format!("{name}_total"), []));
        let gauge = samples.get(&key::<&str, &str>(&name, []));
        assert_eq!(total.or(gauge), Some(&(count as f64)), "{name}");
        assert!(total.is_none() || gauge.is_none(), "{name}");
    }
    for node in &stats.nodes {
        let id = node.id.get().to_string();
        let absent = [("node", &*id), ("daemon", "kswapd"), ("state", "absent")];
        assert_is(&samples, "pagepool_daemon_state", &absent, 1.0);
        let running = [("node", &*id), ("daemon", "kswapd"), ("state", "running")];
        assert_is(&samples, "pagepool_daemon_state", &running, 0.0);
        for zone in &node.zones {
            let labels = [("node", &*id), ("zone", zone.name)];
            assert_is(
                &samples,
                "pagepool_zone_free_bytes",
                &labels,
                bytes(zone.free),
            );
            assert_is(
                &samples,
                "pagepool_zone_managed_bytes",
                &labels,
                bytes(zone.managed),
            );
            let low = [labels[0], labels[1], ("mark", "low")];
            assert_is(
                &samples,
                "pagepool_zone_watermark_bytes",
                &low,
                bytes(zone.low),
            );
            let list = [labels[0], labels[1], ("list", "inactive_anon")];
            let inactive = bytes(zone.lru.inactive_anon);
            assert_is(&samples, "pagepool_zone_lru_bytes", &list, inactive);
            for (n, mt) in (0..NR_ORDERS).flat_map(|n| Migratetype::ALL.map(|mt| (n, mt))) {
                let (order, mt_name) = (n.to_string(), mt.name());
                let labels = [
                    labels[0],
                    labels[1],
                    ("order", &*order),
                    ("migratetype", mt_name),
                ];
                let nr = zone.nr_free_by_type[mt.idx()][n];
                assert_is(&samples, "pagepool_free_blocks", &labels, nr as f64);
            }
        }
    }
    let area = &used.pool.swap_areas()[0];
    let labels = [("area", "0"), ("name", &*area.name)];
    assert_is(
        &samples,
        "pagepool_swap_area_used_bytes",
        &labels,
        bytes(area.used_pages),
    );
    let group = [("group", "tenant")];
    assert_is(&samples, "pagepool_group_current_bytes", &group, bytes(16));
    let max = [("group", "tenant"), ("limit", "max")];
    assert_is(
        &samples,
        "pagepool_group_limit_bytes",
        &max,
        f64::from(8 << 20),
    );
}

/// The kernel has one number for the whole machine: the sum over nodes is that of the pool.
#[test]
fn a_sum_over_labels_is_the_whole() {
    let used = Used::new();
    let samples = scrape(PoolCollector::new(&used.pool));
    let sum = |name: &str| -> f64 {
        let prefix = format!("{name}[");
        let of_family = samples.iter().filter(|(key, _)| key.starts_with(&prefix));
        of_family.map(|(_, value)| value).sum()
    };
    let stats = used.pool.stats();
    let free = (stats.free_pages * PAGE_SIZE) as f64;
    assert_eq!(sum("pagepool_zone_free_bytes"), free);
    assert_eq!(
        sum("pagepool_vmstat_nr_free_pages") * PAGE_SIZE as f64,
        free
    );
    assert_eq!(
        sum("pagepool_node_vmstat_nr_anon_pages"),
        sum("pagepool_vmstat_nr_anon_pages")
    );
    assert_eq!(
        sum("pagepool_daemon_state"),
        4.0,
        "each of the four is in one state"
    );
}

#[test]
fn several_pools_are_told_apart_by_a_label() {
    let build = |memory| {
        PagePool::builder()
            .managed(memory)
            .daemons(false)
            .build()
            .unwrap()
    };
    let (small, large) = (build(8 << 20), build(16 << 20));
    let samples = scrape(PoolCollector::named([("small", &small), ("large", &large)]));
    for (name, pool) in [("small", &small), ("large", &large)] {
        let budget = pool.stats().budget_bytes as f64;
        assert_is(&samples, "pagepool_budget_bytes", &[("pool", name)], budget);
    }
}

#[test]
#[should_panic(expected = "two pools are named")]
fn two_pools_of_one_name_are_refused() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .daemons(false)
        .build()
        .unwrap();
    let _ = PoolCollector::named([("same", &pool), ("same", &pool)]);
}

#[test]
fn names_of_groups_may_have_any_characters() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .daemons(false)
        .build()
        .unwrap();
    pool.create_group(r#"a "quoted" \ one"#, GroupLimits::new())
        .unwrap();
    let mut exposition = String::new();
    text::encode(&mut exposition, &registry(PoolCollector::new(&pool))).unwrap();
    let line = r#"pagepool_group_current_bytes{group="a \"quoted\" \\ one"} 0"#;
    assert!(
        exposition.lines().any(|known| known == line),
        "{exposition}"
    );
    assert!(exposition.ends_with("# EOF\n"));
}

/// A collector keeps its pool, and a scrape reads it anew.
#[test]
fn each_scrape_reads_the_pool_anew() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .daemons(false)
        .build()
        .unwrap();
    let registry = registry(PoolCollector::new(&pool));
    let read = || {
        let mut exposition = String::new();
        text::encode(&mut exposition, &registry).unwrap();
        let line = exposition
            .lines()
            .find_map(|line| line.strip_prefix("pagepool_folios "));
        line.unwrap().to_owned()
    };
    assert_eq!(read(), "0");
    let _folio = pool.alloc_folio(1, Gfp::USER_MOVABLE).unwrap();
    drop(pool);
    assert_eq!(read(), "1");
}
