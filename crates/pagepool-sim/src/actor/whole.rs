//! What concerns the pool as a whole.

use std::time::Duration;

use pagepool::{
    Gfp, Group, GroupError, GroupLimits, NodeId, Order, PAGE_SIZE, PagePool, Tunables, ZoneType,
    sim,
};

use super::{Actor, RECLAIM_PATIENCE, pause};
use crate::op::Op;

impl Actor {
    /// What concerns more than one object.
    pub(super) fn act_on_all(&mut self, op: Op) {
        let pool = &self.scene.pool;
        let patience = Duration::from_millis(self.scene.world.patience_ms);
        match op {
            Op::Compact { node } => match NodeId::new(usize::from(node)) {
                Some(node) => pool.compact_node(node, patience),
                None => pool.compact(patience),
            },
            Op::Reclaim { pages } => {
                let patience = patience.min(RECLAIM_PATIENCE);
                let freed = pool.reclaim(usize::from(pages) * PAGE_SIZE, patience);
                self.scene.note(freed as u64);
            }
            Op::Drain => self.scene.note(pool.drain() as u64),
            Op::Trim => self.scene.note(pool.trim() as u64),
            Op::DropCaches => {
                let dropped = pool.tunables().drop_caches(3, patience);
                self.scene.note(dropped.expect("3 is both kinds") as u64);
            }
            Op::Offline {
                node,
                movable,
                pages,
            } => {
                let zone = [ZoneType::Normal, ZoneType::Movable][usize::from(movable)];
                if let Some(node) = NodeId::new(usize::from(node)) {
                    let bytes = pool.offline(node, zone, usize::from(pages) * PAGE_SIZE);
                    self.scene.note(bytes as u64);
                }
            }
            Op::Online => {
                for node in (0..usize::from(self.scene.world.nodes)).filter_map(NodeId::new) {
                    for zone in [ZoneType::Normal, ZoneType::Movable] {
                        pool.online(node, zone, usize::MAX);
                    }
                }
            }
            Op::Resize { percent } => {
                let bytes = pool.config().budget_bytes() / 100 * usize::from(percent);
                if let Ok(resized) = pool.resize_budget(bytes, patience) {
                    self.scene.note(resized.missing_bytes() as u64);
                }
            }
            Op::Tune { which, value } => tune(pool.tunables(), which, value),
            Op::Limit { group, max, low } => self.limit(group, max, low),
            Op::OwnGroup { max } => self.own_group(max),
            Op::Register { aware, on } => {
                if let Some(cache) = self.scene.cache(aware) {
                    cache.register(pool, on);
                }
            }
            Op::Owner { on } => self.scene.own(on),
            Op::Swap { which, on } => self.scene.swap(which, on),
            Op::Fail { trouble } => {
                self.fill += 1;
                self.scene.fail(trouble, self.fill);
            }
            Op::Freeze { ms } => self.freeze(ms),
            Op::Daemons { node, on } => self.daemons(node, on),
            Op::Explain => explain(pool),
            Op::Sleep { ms } => sim::pause(Duration::from_millis(u64::from(ms))),
            _ => unreachable!("{op:?} is about one object"),
        }
    }

    fn limit(&self, group: u8, max: u8, low: u8) {
        let percent = |percent: u8| self.scene.world.bytes() / 100 * usize::from(percent);
        let limits = GroupLimits::new().max(percent(max)).low(percent(low));
        // The root has none.
        let set = self.group(group).set_limits(limits);
        self.scene.note(u64::from(set.is_ok()));
    }

    fn freeze(&self, ms: u8) {
        let pool = &self.scene.pool;
        let frozen = pool.freeze(Duration::from_secs(5));
        // Somebody who thaws meanwhile thaws for all.
        self.scene.note(u64::from(frozen.is_ok()));
        pause(ms);
        pool.thaw();
    }

    fn daemons(&self, node: u8, on: bool) {
        let node = NodeId::new(usize::from(node % self.scene.world.nodes));
        let Some(node) = node.filter(|_| self.scene.world.daemons) else {
            return;
        };
        if on {
            let online = self.scene.pool.online_node(node);
            online.expect("there are threads to be had");
        } else {
            self.scene.pool.offline_node(node);
        }
    }

    fn limits(&self, max: u8, low: u8) -> GroupLimits {
        let percent = |percent: u8| self.scene.world.bytes() / 100 * usize::from(percent);
        GroupLimits::new().max(percent(max)).low(percent(low))
    }

    /// Makes this actor's own group, or deletes it.
    fn own_group(&mut self, max: u8) {
        self.own_group = match self.own_group.take() {
            None => {
                let name = format!("own{}", self.number);
                let made = self.scene.pool.create_group(&name, self.limits(max, 0));
                Some(made.expect("there is room for one of each actor"))
            }
            Some(group) => match group.delete() {
                Ok(()) => None,
                Err((group, GroupError::InUse { .. })) => Some(group),
                Err((_, error)) => panic!("a group cannot be deleted: {error}"),
            },
        };
    }

    /// Deletes it when nothing is left that it could have.
    pub(super) fn leave_own_group(&mut self) {
        let mut tries = 0;
        while self.own_group.is_some() {
            // A folio that somebody else had on hand when it was dropped ends when that one lets go.
            assert!(
                tries < 1000,
                "a group that has nothing is in use: {:?}",
                self.own_group.as_ref().map(Group::stats)
            );
            tries += 1;
            self.own_group(0);
            sim::pause(Duration::from_millis(10));
        }
    }
}

/// Sets the setting of this number to a value by chance, if it is one that the pool accepts.
fn tune(tunables: Tunables<'_>, which: u8, value: u8) {
    let names: Vec<&'static str> = tunables.all().map(|tunable| tunable.name).collect();
    let name = names[usize::from(which) % names.len()];
    // What makes requests give up is not wanted: every refusal would be in order.
    if name != "thrashing_limit" {
        let _accepted = tunables.set(name, &value.to_string());
    }
}

fn explain(pool: &PagePool) {
    for order in Order::all() {
        let text = pool.explain(order, Gfp::KERNEL).to_string();
        assert!(!text.is_empty());
    }
    let stats = pool.stats();
    assert!(!stats.nodes.is_empty());
    let failures = pool.failures();
    assert!(
        failures
            .iter()
            .all(|failure| !failure.to_string().is_empty())
    );
    let _ = pool.explain_swap();
    let _ = pool.pressure();
}
