//! From settings to a pool: they are checked, the memory is mapped, and everything is put together.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::plan::LOCAL_DISTANCE;
use super::{Builder, DaemonStart, Size};
use crate::alloc::at_hand::PoolId;
use crate::arena::Topology;
use crate::backing::{PoolTag, StoreId, StoreSpec, Stores};
use crate::compact::state::CompactState;
use crate::daemon::limit::LimitWatch;
use crate::daemon::{self, Daemons};
use crate::error::{BuildError, LimitError, RangeError};
use crate::folio::{FolioTable, PinRecords};
use crate::group::Groups;
use crate::host::MemoryLimit;
use crate::node::{MarkSettings, NodePlan, Nodes};
use crate::oom::OomDesk;
use crate::pool::budget::Budget;
use crate::pool::budget::container::Following;
use crate::pool::failures::Failures;
use crate::pool::folio::mapping::Mapped;
use crate::pool::folio::movable::Movables;
use crate::pool::tunables::{
    check, check_fraction, check_min_free, check_proactiveness, check_scale_factor,
};
use crate::pool::{Inner, PagePool, pages, spawn};
use crate::reclaim::ReclaimState;
use crate::reclaim::shrinkers::{MAX_SHRINKERS, Shrinkers};
use crate::reclaim::thrashing::ThrashingGauge;
use crate::record::Recorder;
use crate::swap::{ReadAhead, SwapSpace, SwapSpec, default_page_cluster};
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, cpu};
use crate::types::{MAX_GROUPS, MAX_NODES, PAGE_SIZE};
use crate::zone::fragmentation::DEFAULT_EXTFRAG_THRESHOLD;

/// Percentages of the process's memory limit that a pool may have: something has to be left for the process.
const SHARE_OF_LIMIT: RangeInclusive<u8> = 1..=90;

/// Memory that whole free blocks of a zone keep by default: an eighth of the largest node, at least
/// 32 MiB.
const KEEP_RESIDENT_DIVISOR: usize = 8;
const KEEP_RESIDENT_MIN: usize = (32 << 20) / PAGE_SIZE;

/// The distance between the marks that the kernel has, in ten-thousandths of a zone.
const DEFAULT_SCALE_FACTOR: u32 = 10;

/// The same in pools with swap. In a pool of 64 MiB the kernel's distance is 16 pages: less than one
/// write to swap makes room for, so that threads would find the minimum reached while the first page
/// is on its way out. With a hundredth, one allocation in 200 enters the slow path there, instead of one
/// in 100.
const DEFAULT_SCALE_FACTOR_WITH_SWAP: u32 = 100;

impl Builder {
    /// Checks the settings, maps the memory and builds the pool. Hardly any of the memory is touched, unless
    /// some is to be made resident [ahead](Self::prefault).
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] names the setting, its value and the accepted range; the other
    /// variants carry what the system said. Nothing stays mapped after an error.
    pub fn build(mut self) -> Result<PagePool, BuildError> {
        let nr_cpus = cpu::possible();
        self.check()?;
        self.settle_size()?;
        let plans = self.plan(&Topology::of_host(), nr_cpus)?;
        let nodes = Nodes::build(&plans, nr_cpus)?;
        if let Some(kbytes) = self.min_free_kbytes {
            check_min_free(kbytes, nodes.lowmem_pages())?;
        }
        let settings = self.settings(&plans);
        nodes.apply(&settings);
        let config = self.config(&plans, &nodes);
        let pages = plans.iter().map(|plan| plan.zones.total()).sum();
        let percent = self.share_of_limit.filter(|_| self.follow_container);
        let following = percent.map(|percent| Following {
            percent,
            root: self.host_root.clone(),
        });
        let stores = Arc::new(Stores::new());
        let tag = PoolTag::of(&*stores);
        let swap = SwapSpace::new(SwapSpec {
            pool: tag,
            stores: Arc::clone(&stores),
            spawn,
            limit_bytes: self.swap_bytes(),
            stuck_after: StoreSpec::STUCK_AFTER,
        });
        for area in &self.swap {
            swap.swap_on(Arc::clone(&area.device), area.priority)?;
        }
        let pool = PagePool::new(Inner {
            id: PoolId::unique(),
            folios: FolioTable::new(self.folio_limit(pages))?,
            pins: PinRecords::new(self.folio_limit(pages), self.hardened)?,
            groups: Groups::new(self.group_limit()),
            oom: OomDesk::new(PoolTag::of(&*stores), spawn),
            failures: Failures::new(nodes.zones().count()),
            thrashing: ThrashingGauge::default(),
            recorder: Recorder::new(),
            stores,
            max_stores: self.store_limit(),
            stores_to_ask: AtomicU32::new(0),
            store_turn: Mutex::new(()),
            swap,
            read_ahead: ReadAhead::new(default_page_cluster(pages * PAGE_SIZE)),
            reclaim: ReclaimState::new(nodes.len(), pages, self.group_limit()),
            shrinkers: Shrinkers::new(
                self.max_shrinkers,
                nodes.len(),
                self.group_limit(),
                tag,
                spawn,
            ),
            compact: CompactState::new(plans.iter().map(|plan| plan.zones.pages))?,
            mapped: Mapped::default(),
            movables: Movables::new(),
            daemons: Daemons::new(nodes.len(), daemon::spawn),
            bases: nodes.bases(),
            nodes,
            budget: Budget::new(config.budget_bytes()),
            following,
            limit_watch: LimitWatch::default(),
            config,
            settings: Mutex::new(settings),
            offline: Mutex::new(Vec::new()),
            patience: self.patience,
            hardened: self.hardened,
        });
        match self.daemons {
            DaemonStart::Never => pool.inner.renew_boost_rule(),
            DaemonStart::OnDemand => pool.call_daemons_on_demand()?,
            DaemonStart::AtOnce => pool.start_daemons()?,
        }
        if self.prefault > 0 {
            pool.inner.prefault(self.prefault, None, &pages::populate)?;
        }
        pool.follow_container()?;
        Ok(pool)
    }

    /// Makes a share of the process's memory limit a number of bytes.
    fn settle_size(&mut self) -> Result<(), LimitError> {
        let Some(percent) = self.share_of_limit else {
            return Ok(());
        };
        let limit = MemoryLimit::find(&self.host_root)?;
        self.size = Size::Budget(limit.share(percent));
        self.limit = Some(limit);
        Ok(())
    }

    fn check(&self) -> Result<(), RangeError> {
        check(
            (1..=MAX_NODES).contains(&self.nodes),
            "nodes",
            self.nodes,
            || format!("1 to {MAX_NODES}"),
        )?;
        if let Some(percent) = self.share_of_limit {
            let range = SHARE_OF_LIMIT;
            check(
                range.contains(&percent),
                "memory_of_container",
                percent,
                || format!("{} to {} percent", range.start(), range.end()),
            )?;
        }
        check(
            self.share_of_limit.is_some() || !self.follow_container,
            "follow_container",
            self.follow_container,
            || "false, unless the size is given by memory_of_container".into(),
        )?;
        if let Some(percent) = self.movable_percent {
            check(percent <= 100, "movable_share", percent, || {
                "0 to 100 percent".into()
            })?;
        }
        let most = StoreId::MAX;
        check(
            (self.swap.len()..=most).contains(&self.store_limit()),
            "max_stores",
            self.store_limit(),
            || format!("{} (the swap areas given) to {most}", self.swap.len()),
        )?;
        check(
            self.group_limit() <= MAX_GROUPS,
            "max_groups",
            self.group_limit(),
            || format!("0 to {MAX_GROUPS}"),
        )?;
        check(
            self.max_shrinkers <= MAX_SHRINKERS,
            "max_shrinkers",
            self.max_shrinkers,
            || format!("0 to {MAX_SHRINKERS}"),
        )?;
        check_scale_factor(self.scale_factor())?;
        check_fraction(self.percpu_pagelist_fraction)?;
        check_proactiveness(self.compaction_proactiveness)?;
        self.check_cpus()?;
        self.check_distances()
    }

    fn check_cpus(&self) -> Result<(), RangeError> {
        let Some(cpus) = &self.cpus else {
            return Ok(());
        };
        let nr_cpus = cpu::possible();
        let mut named = vec![0; nr_cpus];
        let known = cpus
            .iter()
            .flatten()
            .all(|cpu| named.get_mut(*cpu).map(|times| *times += 1).is_some());
        let fits = cpus.len() == self.nodes && known && named.iter().all(|times| *times <= 1);
        check(fits, "cpus", format_args!("{cpus:?}"), || {
            format!(
                "one set for each of the {} nodes, of CPUs 0 to {}, each in one set at most",
                self.nodes,
                nr_cpus - 1
            )
        })
    }

    fn check_distances(&self) -> Result<(), RangeError> {
        let Some(table) = &self.distances else {
            return Ok(());
        };
        let square = table.len() == self.nodes && table.iter().all(|row| row.len() == self.nodes);
        let diagonal = square && (0..self.nodes).all(|node| table[node][node] == LOCAL_DISTANCE);
        let others = table
            .iter()
            .flatten()
            .all(|distance| *distance >= LOCAL_DISTANCE);
        check(
            diagonal && others,
            "distances",
            format_args!("{table:?}"),
            || {
                format!(
                    "{0} rows of {0}: 10 from a node to itself, 10 to 255 to others",
                    self.nodes
                )
            },
        )
    }

    fn settings(&self, plans: &[NodePlan]) -> MarkSettings {
        let node_pages = plans
            .iter()
            .map(|plan| plan.zones.total())
            .max()
            .unwrap_or(0);
        let default_keep = (node_pages / KEEP_RESIDENT_DIVISOR).max(KEEP_RESIDENT_MIN);
        let keep_resident = match self.trim_threshold {
            None => Some(default_keep),
            Some(usize::MAX) => None,
            Some(bytes) => Some(bytes / PAGE_SIZE),
        };
        MarkSettings {
            min_free_kbytes: self.min_free_kbytes,
            watermark_scale_factor: self.scale_factor(),
            watermark_boost_factor: self.watermark_boost_factor,
            lowmem_reserve_ratio: self.lowmem_reserve_ratio,
            percpu_pagelist_fraction: self.percpu_pagelist_fraction,
            compaction_proactiveness: self.compaction_proactiveness,
            extfrag_threshold: DEFAULT_EXTFRAG_THRESHOLD,
            keep_resident,
        }
    }

    /// The distance between the marks, in ten-thousandths of a zone.
    fn scale_factor(&self) -> u32 {
        let default = if self.swap.is_empty() {
            DEFAULT_SCALE_FACTOR
        } else {
            DEFAULT_SCALE_FACTOR_WITH_SWAP
        };
        self.watermark_scale_factor.unwrap_or(default)
    }
}
