//! Budgets that change while the pool runs, and pools that follow their containers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use pagepool::{
    DaemonState, Folio, Gfp, NodeId, PAGE_SIZE, PagePool, Pages, ResizeObstacle, SwapFile, ZoneType,
};

use crate::{assert_all_back, assert_filled, eventually, filled_folios, order, vmstat};

const MIB: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(10);

fn with_swap(bytes: usize) -> PagePool {
    let swap = SwapFile::temporary(4 * bytes as u64).unwrap();
    PagePool::builder()
        .memory(bytes)
        .swap(swap)
        .build()
        .unwrap()
}

#[track_caller]
fn assert_intact(folios: &[Folio]) {
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64);
    }
}

/// Memory in service, and the tables.
fn at_most(pool: &PagePool) -> usize {
    let stats = pool.stats();
    stats.managed_pages * PAGE_SIZE + stats.metadata_bytes
}

#[test]
fn a_smaller_budget_loses_nothing_and_a_larger_one_brings_memory_back() {
    let pool = with_swap(48 * MIB);
    let folios = filled_folios(&pool, 10_000, PAGE_SIZE);
    let before = pool.stats();
    let lows = |pool: &PagePool| pool.stats().nodes[0].zones[0].low;
    let low = lows(&pool);
    for mib in [40, 32, 20] {
        let resized = pool.resize_budget(mib * MIB, PATIENCE).unwrap();
        assert_eq!(resized.obstacle, None, "{resized:?}");
        assert_eq!(resized.missing_bytes(), 0);
        assert!(resized.budget_bytes <= mib * MIB, "{resized:?}");
        assert!(at_most(&pool) <= mib * MIB);
        assert!(resized.budget_bytes + 2 * MIB > mib * MIB, "not too much");
        pool.verify().unwrap();
    }
    assert!(lows(&pool) < low, "marks follow");
    assert!(vmstat(&pool, "pagepool_given_back") >= (28 * MIB / PAGE_SIZE) as u64);
    assert_intact(&folios);
    let resized = pool.resize_budget(48 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.budget_bytes, 48 * MIB);
    assert_eq!(pool.stats().managed_pages, before.managed_pages);
    assert_eq!(lows(&pool), low);
    assert_intact(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn folios_that_are_in_use_everywhere_are_moved_together_when_there_is_no_swap() {
    let pool = PagePool::builder().memory(32 * MIB).build().unwrap();
    let folios = filled_folios(&pool, 6000, PAGE_SIZE);
    // Every third stays: no pageblock is free, and none is full.
    let kept: Vec<_> = folios.into_iter().enumerate().step_by(3).collect();
    let resized = pool.resize_budget(16 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, None, "{resized:?}");
    assert!(vmstat(&pool, "pgmigrate_success") > 0);
    pool.verify().unwrap();
    for (n, folio) in &kept {
        assert_filled(&folio.read().unwrap(), *n as u64);
    }
}

#[test]
fn what_cannot_leave_is_missing_and_what_could_be_gained_stays_gained() {
    let pool = PagePool::builder().memory(32 * MIB).build().unwrap();
    // 12 MiB that are used for good, and no swap.
    let raw: Vec<Pages> = (0..12 * MIB / PAGE_SIZE)
        .map(|_| pool.alloc_pages(order(0), Gfp::KERNEL).unwrap())
        .collect();
    let resized = pool.resize_budget(8 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, Some(ResizeObstacle::InUse), "{resized:?}");
    assert!(resized.missing_bytes() > 0);
    assert!(resized.budget_bytes < 18 * MIB, "{resized:?}");
    assert!(resized.budget_bytes > 12 * MIB);
    let stats = pool.stats();
    assert_eq!(stats.budget_bytes, resized.budget_bytes);
    assert_eq!(stats.budget.target_bytes, 8 * MIB);
    assert_eq!(stats.budget.obstacle, Some(ResizeObstacle::InUse));
    pool.verify().unwrap();
    // Who calls again gets the rest once it is free.
    drop(raw);
    let resized = pool.resize_budget(8 * MIB, PATIENCE).unwrap();
    assert_eq!((resized.obstacle, resized.missing_bytes()), (None, 0));
    pool.verify().unwrap();
}

#[test]
fn memory_in_pieces_around_raw_blocks_is_named_as_such_and_kept_trimmed() {
    let pool = PagePool::builder()
        .memory(32 * MIB)
        .trim_threshold(usize::MAX)
        .build()
        .unwrap();
    let mut raw: Vec<Option<Pages>> =
        std::iter::from_fn(|| pool.alloc_pages(order(0), Gfp::NOWAIT).ok().map(Some)).collect();
    // One in 256 stays, in each pageblock.
    let mut n = 0;
    raw.retain(|_| {
        n += 1;
        n % 256 == 0
    });
    let resized = pool.resize_budget(8 * MIB, PATIENCE).unwrap();
    assert_eq!(
        resized.obstacle,
        Some(ResizeObstacle::Unmovable),
        "{resized:?}"
    );
    assert!(resized.missing_bytes() > 0);
    pool.verify().unwrap();
    // What becomes free as a whole while something is missing is not kept.
    drop(raw);
    pool.drain();
    assert_eq!(pool.stats().nodes[0].zones[0].resident_free_pages, 0);
    let resized = pool.resize_budget(32 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.budget_bytes, 32 * MIB);
    assert_eq!(pool.tunables().trim_threshold(), usize::MAX);
}

#[test]
fn zones_and_nodes_shrink_in_proportion() {
    let pool = PagePool::builder()
        .managed(128 * MIB)
        .nodes(2)
        .movable_share(25)
        .build()
        .unwrap();
    let metadata = pool.stats().metadata_bytes;
    let resized = pool.resize_budget(64 * MIB + metadata, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, None);
    for node in &pool.stats().nodes {
        for zone in &node.zones {
            let half = zone.present / 2;
            assert!(
                zone.managed.abs_diff(half) <= 1024,
                "{}: {}",
                zone.name,
                zone.managed
            );
        }
    }
    pool.verify().unwrap();
}

#[test]
fn the_range_is_what_every_pool_needs_to_what_it_was_built_with() {
    let pool = PagePool::builder()
        .memory(32 * MIB)
        .min_free_kbytes(4096)
        .build()
        .unwrap();
    let budget = pool.stats().budget;
    assert_eq!(budget.built_bytes, 32 * MIB);
    for bytes in [0, budget.least_bytes - 1, 32 * MIB + 1] {
        let error = pool.resize_budget(bytes, PATIENCE).unwrap_err();
        assert_eq!(error.field(), "resize_budget");
        assert!(
            error.accepted().contains(&budget.least_bytes.to_string()),
            "{error}"
        );
    }
    assert_eq!(pool.stats().budget_bytes, 32 * MIB);
    let resized = pool.resize_budget(budget.least_bytes, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, None);
    pool.verify().unwrap();
    // The minimum that was set is not more than half of what is left: there is something to hand out.
    assert!(pool.stats().managed_pages >= 2 * 1024);
    assert!(pool.alloc_pages(order(0), Gfp::KERNEL).is_ok());
    pool.tunables().set_min_free_kbytes(64).unwrap();
    let least = pool.stats().budget.least_bytes;
    assert!(least < budget.least_bytes);
    let resized = pool.resize_budget(least, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, None);
}

#[test]
fn what_users_took_out_counts_and_comes_back_no_further_than_the_budget() {
    let pool = PagePool::builder().managed(32 * MIB).build().unwrap();
    let node = NodeId::new(0).unwrap();
    let tables = pool.stats().metadata_bytes;
    let resize = |mib: usize| {
        let resized = pool.resize_budget(mib * MIB + tables, PATIENCE).unwrap();
        assert_eq!(resized.obstacle, None);
        (resized.budget_bytes - tables) / MIB
    };
    assert_eq!(pool.offline(node, ZoneType::Normal, 8 * MIB), 8 * MIB);
    assert_eq!(resize(20), 20, "4 MiB more");
    assert_eq!(pool.online(node, ZoneType::Normal, usize::MAX), 0);
    assert_eq!(resize(32), 24, "what users took stays");
    assert_eq!(resize(30), 24);
    assert_eq!(pool.online(node, ZoneType::Normal, usize::MAX), 6 * MIB);
    assert_eq!(resize(32), 30);
    assert_eq!(pool.online(node, ZoneType::Normal, usize::MAX), 2 * MIB);
    pool.verify().unwrap();
}

#[test]
fn one_change_at_a_time_and_none_while_the_pool_is_frozen() {
    let pool = PagePool::builder().memory(32 * MIB).build().unwrap();
    pool.freeze(PATIENCE).unwrap();
    let soon = Duration::from_millis(20);
    let resized = pool.resize_budget(16 * MIB, soon).unwrap();
    assert_eq!(resized.obstacle, Some(ResizeObstacle::Busy));
    assert_eq!(pool.stats().budget_bytes, 32 * MIB);
    pool.verify().unwrap();
    pool.thaw();
    let resized = pool.resize_budget(16 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.obstacle, None);
    thread::scope(|scope| {
        for mib in [12, 24, 18, 30] {
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..20 {
                    pool.resize_budget(mib * MIB, PATIENCE).unwrap();
                }
            });
        }
    });
    pool.resize_budget(32 * MIB, PATIENCE).unwrap();
    assert_eq!(pool.stats().budget_bytes, 32 * MIB);
    assert_all_back(&pool);
}

#[test]
fn the_time_that_is_up_leaves_what_was_gained() {
    let pool = with_swap(32 * MIB);
    let folios = filled_folios(&pool, 7000, PAGE_SIZE);
    let resized = pool.resize_budget(12 * MIB, Duration::ZERO).unwrap();
    assert_eq!(resized.obstacle, Some(ResizeObstacle::Late));
    let mut before = resized.budget_bytes;
    let mut calls = 0;
    loop {
        let patience = Duration::from_millis(5);
        let resized = pool.resize_budget(12 * MIB, patience).unwrap();
        assert!(resized.budget_bytes <= before);
        before = resized.budget_bytes;
        pool.verify().unwrap();
        if resized.obstacle.is_none() {
            break;
        }
        calls += 1;
        assert!(calls < 2000, "{resized:?}");
    }
    assert_intact(&folios);
}

#[test]
fn folios_are_used_by_others_while_the_budget_falls_and_rises() {
    let pool = with_swap(24 * MIB);
    let folios = filled_folios(&pool, 6000, PAGE_SIZE);
    let (stop, touches) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = crate::StopOnDrop(&stop);
        for chunk in folios.chunks(3000) {
            let (stop, touches, folios) = (&stop, &touches, &folios);
            let first = (chunk.as_ptr() as usize - folios.as_ptr() as usize) / size_of::<Folio>();
            scope.spawn(move || {
                for n in (0..chunk.len()).map(|n| n * 7919 % chunk.len()).cycle() {
                    if stop.load(SeqCst) {
                        return;
                    }
                    assert_filled(&chunk[n].read().unwrap(), (first + n) as u64);
                    touches.fetch_add(1, SeqCst);
                }
            });
        }
        for mib in [12, 20, 10, 24] {
            // Where the threads that hold what is in the way do not get to run, it may take more than one call.
            let resize = |_| pool.resize_budget(mib * MIB, PATIENCE).unwrap().obstacle;
            assert!(
                (0..10).map(resize).any(|obstacle| obstacle.is_none()),
                "{mib} MiB"
            );
            assert!(at_most(&pool) <= mib * MIB);
        }
    });
    assert!(touches.load(SeqCst) > 0);
    assert_intact(&folios);
    drop(folios);
    assert_all_back(&pool);
}

/// A root with a control group of version 2; it goes with its test.
struct Container(PathBuf);

impl Container {
    fn limited_to(name: &str, bytes: usize) -> Container {
        let container =
            Container(env::temp_dir().join(format!("pagepool-cut-{name}-{}", process::id())));
        container.write("proc/self/cgroup", "0::/\n");
        let mount = "26 20 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        container.write("proc/self/mountinfo", mount);
        container.write("proc/meminfo", "MemTotal:       16777216 kB\n");
        container.limit(bytes);
        container
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn limit(&self, bytes: usize) {
        self.write("sys/fs/cgroup/memory.max", &format!("{bytes}\n"));
    }

    fn pool(&self, percent: u8) -> PagePool {
        PagePool::builder()
            .host_root(&self.0)
            .memory_of_container(percent)
            .follow_container(true)
            .swap(SwapFile::temporary(256 << 20).unwrap())
            .build()
            .unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A directory that is left behind is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn limit_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "pool-limit").count()
}

#[test]
fn a_cut_of_the_container_s_limit_is_followed_within_a_second_and_a_rise_as_well() {
    let container = Container::limited_to("half", 96 * MIB);
    let pool = container.pool(50);
    let built = pool.stats().budget_bytes;
    let folios = filled_folios(&pool, 10_000, PAGE_SIZE);
    let began = Instant::now();
    container.limit(48 * MIB);
    let share = 48 * MIB / 100 * 50;
    eventually("the pool has its share", || {
        pool.stats().budget_bytes <= share
    });
    let took = began.elapsed();
    assert!(at_most(&pool) <= share);
    // A second on a machine that has nothing else to do; these tests run beside others.
    assert!(took < Duration::from_secs(4), "{took:?}");
    let state = pool.stats().budget.container.unwrap();
    assert_eq!((state.limit_bytes, state.changes), (48 << 20, 1));
    assert_eq!(state.follower, DaemonState::Running);
    pool.verify().unwrap();
    assert_intact(&folios);

    container.limit(96 * MIB);
    eventually("memory comes back", || pool.stats().budget_bytes == built);
    container.limit(512 * MIB);
    eventually("it is seen", || {
        pool.stats().budget.container.unwrap().limit_bytes == 512 << 20
    });
    assert_eq!(
        pool.stats().budget_bytes,
        built,
        "never more than it was built with"
    );
    assert_intact(&folios);
    pool.verify().unwrap();
}

#[test]
fn a_cut_below_what_is_unmovable_is_followed_as_far_as_it_goes_and_later_to_its_end() {
    let container = Container::limited_to("unmovable", 64 * MIB);
    let pool = container.pool(50);
    let raw: Vec<Pages> = (0..12 * MIB / PAGE_SIZE)
        .map(|_| pool.alloc_pages(order(0), Gfp::KERNEL).unwrap())
        .collect();
    let folios = filled_folios(&pool, 1000, PAGE_SIZE);
    container.limit(16 * MIB);
    eventually("it is followed in part", || {
        let stats = pool.stats();
        stats.budget_bytes < 20 * MIB && stats.budget.obstacle.is_some()
    });
    assert!(at_most(&pool) > 8 * MIB);
    pool.verify().unwrap();
    assert_intact(&folios);
    drop(raw);
    eventually("the rest follows by itself", || {
        pool.stats().budget_bytes <= 8 * MIB
    });
    eventually("nothing is missing", || {
        pool.stats().budget.obstacle.is_none()
    });
    assert_intact(&folios);
    // Less than any pool needs.
    container.limit(MIB);
    eventually("the least is left", || {
        let stats = pool.stats();
        stats.budget.obstacle.is_some() && stats.budget_bytes <= stats.budget.least_bytes + 4 * MIB
    });
    assert_intact(&folios);
    pool.verify().unwrap();
}

#[test]
fn garbage_in_the_limit_and_a_limit_that_vanishes_leave_the_pool_as_it_is() {
    let container = Container::limited_to("junk", 64 * MIB);
    let pool = container.pool(50);
    let built = pool.stats().budget_bytes;
    let state = || pool.stats().budget.container.unwrap();
    container.write("sys/fs/cgroup/memory.max", "a lot\n");
    eventually("it is counted", || state().errors >= 2);
    assert!(state().error.unwrap().contains("memory.max"));
    assert_eq!(pool.stats().budget_bytes, built);
    container.limit(32 * MIB);
    eventually("it is understood again", || state().error.is_none());
    eventually("and followed", || pool.stats().budget_bytes <= 16 * MIB);
    // As when the group is gone: what is not there limits nothing, once it is looked for anew.
    fs::remove_file(container.0.join("sys/fs/cgroup/memory.max")).unwrap();
    eventually("memory comes back", || pool.stats().budget_bytes == built);
    container.limit(32 * MIB);
    eventually("a new file is found", || {
        pool.stats().budget_bytes <= 16 * MIB
    });
    pool.verify().unwrap();
}

#[test]
fn who_asks_for_less_than_the_container_allows_gets_less_and_the_other_way_round() {
    let container = Container::limited_to("both", 64 * MIB);
    let pool = container.pool(50);
    let resized = pool.resize_budget(16 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.target_bytes, 16 * MIB);
    container.limit(48 * MIB);
    eventually("it is seen", || {
        pool.stats().budget.container.unwrap().changes == 1
    });
    let resized = pool.resize_budget(30 * MIB, PATIENCE).unwrap();
    assert_eq!(resized.target_bytes, 48 * MIB / 100 * 50);
    assert!(resized.budget_bytes <= resized.target_bytes);
}

#[test]
fn following_needs_a_container_and_ends_with_the_pool() {
    let error = PagePool::builder()
        .follow_container(true)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("memory_of_container"), "{error}");
    let container = Container::limited_to("end", 64 * MIB);
    let pool = container.pool(25);
    eventually("the thread has its name", || limit_threads() >= 1);
    let (another, began) = (pool.clone(), Instant::now());
    drop(pool);
    let block = another.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    let inner = Arc::new(another);
    drop(inner);
    // Its end does not wait for the next look, nor for the block that is still out.
    assert!(began.elapsed() < Duration::from_secs(2));
    drop(block);
    let without = PagePool::builder()
        .host_root(&container.0)
        .memory_of_container(25)
        .follow_container(true)
        .daemons(false)
        .build()
        .unwrap();
    assert_eq!(
        without.stats().budget.container.unwrap().follower,
        DaemonState::Running
    );
}
