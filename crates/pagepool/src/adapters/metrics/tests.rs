//! Families are such that readers accept them: names, units, labels.

use std::collections::HashSet;
use std::sync::Arc;

use super::families;
use super::family::{BaseUnit, Family, Kind};
use super::snapshot::Snapshot;
use crate::group::GroupLimits;
use crate::pool::PagePool;
use crate::reclaim::shrinkers::{
    Freeable, Scanned, ShrinkControl, Shrinker, ShrinkerOptions, Stop,
};
use crate::swap::SwapFile;

struct Idle;

impl Shrinker for Idle {
    fn count(&self, _: &ShrinkControl) -> Freeable {
        Freeable::Empty
    }

    fn scan(&self, _: &ShrinkControl, _: usize) -> Result<Scanned, Stop> {
        Err(Stop)
    }
}

/// A pool with something of everything, twice where names may be the same.
fn snapshot(name: &str) -> Snapshot {
    let swap = || SwapFile::temporary(4 << 20).unwrap();
    let pool = PagePool::builder()
        .managed(32 << 20)
        .nodes(2)
        .swap(swap())
        .swap(swap())
        .daemons(false)
        .build()
        .unwrap();
    let _groups = ["a", "b"].map(|name| pool.create_group(name, GroupLimits::new()).unwrap());
    let options = || ShrinkerOptions::new("cache");
    let _shrinkers = [(); 2].map(|()| pool.register_shrinker(options(), Arc::new(Idle)).unwrap());
    Snapshot::of(Some(name.to_owned()), &pool)
}

#[test]
fn no_two_families_have_the_same_name_and_no_two_samples_the_same_labels() {
    let families = families::all(&[snapshot("one"), snapshot("two")]);
    let names: HashSet<_> = families.iter().map(Family::name).collect();
    assert_eq!(names.len(), families.len(), "E1");
    for family in &families {
        let labels: HashSet<_> = family.samples().iter().map(|(labels, _)| labels).collect();
        let name = family.name();
        assert_eq!(labels.len(), family.samples().len(), "E2: {name}");
        let has_both = ["one", "two"].map(|pool| {
            let mut labels = labels.iter();
            labels.any(|labels| labels[0] == ("pool", pool.into()))
        });
        let needs_a_container = name.starts_with("pagepool_container");
        assert!(needs_a_container || has_both == [true; 2], "{name}");
    }
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for family in families::all(&[snapshot("one")]) {
        let (name, help) = (family.name(), family.help());
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(
            name.starts_with("pagepool_") && name.chars().all(is_plain),
            "{name}"
        );
        // What is printed behind a name must not be in it already.
        for suffix in ["_total", "_bytes", "_seconds", "_ratio"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        assert!(
            help.ends_with('.') && !help.contains('\n'),
            "{name}: {help}"
        );
        assert!(
            help.starts_with(|c: char| !c.is_whitespace()),
            "{name}: {help}"
        );
        let is_count_of_time = family.unit() == Some(BaseUnit::Seconds);
        assert!(
            !is_count_of_time || family.kind() == Kind::Counter,
            "{name}"
        );
    }
}
