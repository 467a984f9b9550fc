//! Events have the kernel's names and fields.

use std::fmt::Debug;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::asked;
use crate::gfp::Gfp;
use crate::node::StartBy;
use crate::node::fixture::{nodes, walk_at};
use crate::sync::CoreMutex;
use crate::types::{NodeId, Order, ZoneType};

/// Collects what daemons and their wakers say.
#[derive(Clone, Default)]
struct Collector(Arc<CoreMutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["pagepool::vmscan", "pagepool::compaction"].contains(&metadata.target())
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(event.metadata().name().to_owned());
        event.record(&mut fields);
        self.0.lock().push(fields.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

fn collect(f: impl FnOnce()) -> Vec<String> {
    let collector = Collector::default();
    tracing::subscriber::with_default(collector.clone(), f);
    collector.0.lock().clone()
}

#[test]
fn a_wake_is_told_when_it_is_really_issued() {
    let nodes = nodes(&[[0, 64, 0]], 16);
    while nodes.plain_walk(&walk_at(0, 0)).is_some() {}
    let post = &nodes.node(NodeId::at(0)).kswapd;
    let wake = || nodes.wake_all_kswapds(&walk_at(2, 0), Gfp::NOWAIT);
    assert_eq!(collect(wake), Vec::<String>::new(), "nobody sleeps");

    let entry = post.queue().enqueue();
    let events = collect(|| {
        wake();
        wake();
    });
    drop(entry);
    let flags = format!("{:?}", Gfp::NOWAIT);
    let expected = format!("mm_vmscan_wakeup_kswapd nid=0 zid=1 order=2 gfp_flags={flags}");
    assert_eq!(events, [expected], "the second finds nobody asleep");
}

#[test]
fn a_wake_of_kcompactd_is_told_when_it_is_really_issued() {
    let nodes = nodes(&[[0, 1024, 0]], 12);
    let node = nodes.node(NodeId::at(0));
    let wake = || {
        node.wake_kcompactd(
            Order::at(4),
            ZoneType::Normal,
            StartBy::Caller,
            nodes.events(),
        );
    };
    let taken: Vec<_> = std::iter::from_fn(|| nodes.plain_walk(&walk_at(0, 0))).collect();
    let entry = node.kcompactd.queue().enqueue();
    assert_eq!(collect(wake), Vec::<String>::new(), "too little is free");
    assert!(node.kcompactd.asked().is_empty(), "nor is it recorded");

    // Every second page: plenty, but no block.
    for pfn in taken.iter().filter(|pfn| pfn.index() % 2 == 0) {
        nodes.give(*pfn, 0);
    }
    let events = collect(|| {
        wake();
        wake();
    });
    drop(entry);
    let expected = "mm_compaction_wakeup_kcompactd nid=0 order=4 classzone_idx=1";
    assert_eq!(events, [expected], "the second finds nobody asleep");
}

#[test]
fn a_run_is_told_by_the_kernels_order_and_class() {
    let both = asked(&[(ZoneType::Normal, 3), (ZoneType::Movable, 1)]);
    let events = collect(|| crate::daemon::kswapd::trace_wake(NodeId::at(4), both));
    assert_eq!(events, ["mm_vmscan_kswapd_wake nid=4 zid=2 order=3"]);
}

#[test]
fn a_run_of_kcompactd_is_told_by_the_greatest_order_and_the_lowest_class() {
    let both = asked(&[(ZoneType::Normal, 3), (ZoneType::Movable, 9)]);
    let events = collect(|| crate::daemon::kcompactd::trace_wake(NodeId::at(4), both));
    assert_eq!(
        events,
        ["mm_compaction_kcompactd_wake nid=4 order=9 classzone_idx=1"]
    );
}
