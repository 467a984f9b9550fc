//! Pressure: what a pool says of waiting, beside what the waiting threads say themselves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AllocError, Fault, Faults, FaultyDevice, Gfp, GroupLimits, NodeId, Order, PAGE_SIZE, PagePool,
    Pages, Pressure, PressureKind,
};

use crate::{StopOnDrop, eventually, filled_folios, vmstat};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A pool of 1 MiB without swap or threads of its own, in which a request for a page waits for others.
fn rig() -> PagePool {
    PagePool::builder()
        .managed(1 << 20)
        .daemons(false)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Takes all that a request may have without waiting.
fn exhaust(pool: &PagePool) -> Vec<Pages> {
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let mut blocks: Vec<_> =
        std::iter::from_fn(|| pool.alloc_pages(Order::ZERO, gfp).ok()).collect();
    blocks.shrink_to_fit();
    blocks
}

/// Asks for a page in vain; returns how long that took.
fn wait_in_vain(pool: &PagePool, patience: Duration) -> Duration {
    let start = Instant::now();
    let refused = pool
        .request(Order::ZERO, Gfp::KERNEL)
        .deadline(patience)
        .alloc();
    assert!(refused.is_err(), "nothing is free");
    start.elapsed()
}

#[track_caller]
fn assert_within_2_percent(measured: Duration, expected: Duration) {
    let (is, should) = (measured.as_secs_f64(), expected.as_secs_f64());
    assert!(
        (is - should).abs() <= 0.02 * should,
        "{measured:?} for {expected:?}"
    );
}

fn node() -> NodeId {
    NodeId::new(0).unwrap()
}

#[test]
fn an_idle_pool_has_no_pressure() {
    let pool = PagePool::builder().managed(16 << 20).build().unwrap();
    let block = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    thread::sleep(ms(50));
    drop(block);
    assert_eq!(pool.pressure(), Pressure::default());
    assert_eq!(pool.node_pressure(node()), Some(Pressure::default()));
    assert_eq!(pool.node_pressure(NodeId::new(1).unwrap()), None);
    let stats = pool.stats();
    assert_eq!(stats.pressure, Pressure::default());
    assert_eq!(stats.nodes[0].pressure, Pressure::default());
    pool.verify().unwrap();
}

#[test]
fn the_total_is_the_time_that_the_only_waiting_thread_has_waited() {
    let pool = rig();
    let blocks = exhaust(&pool);
    let before = pool.pressure().some.total;
    let start = Instant::now();
    let mut waited = Duration::ZERO;
    // Long enough for what a busy machine takes away between the test's clock and the pool's.
    for _ in 0..4 {
        waited += wait_in_vain(&pool, ms(250));
        thread::sleep(ms(30));
    }
    let passed = start.elapsed();
    let pressure = pool.pressure();
    let some = pressure.some.total - before;
    assert_within_2_percent(some, waited);
    assert!(some <= waited, "{some:?} of {waited:?}");
    assert_eq!(pressure.full.total, pressure.some.total, "nobody works");

    // The average of the last 10 seconds is nearly the share of the time, as it is nearly new.
    let share = some.as_secs_f64() / passed.as_secs_f64();
    let expected = 100.0 * share * (1.0 - (-passed.as_secs_f64() / 10.0).exp());
    let avg10 = pressure.some.avg10;
    assert!(
        (avg10 - expected).abs() < 0.1 * expected,
        "{avg10} for {expected}"
    );
    assert!(pressure.some.avg60 < avg10 && pressure.some.avg300 < pressure.some.avg60);

    let of_node = pool.node_pressure(node()).unwrap();
    assert_within_2_percent(of_node.some.total, pressure.some.total);
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn time_that_two_threads_wait_at_once_counts_once() {
    let pool = rig();
    let blocks = exhaust(&pool);
    let before = pool.pressure().some.total;
    let barrier = Barrier::new(3);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                barrier.wait();
                wait_in_vain(&pool, ms(300));
            });
        }
    });
    let longest = start.elapsed();
    let some = pool.pressure().some.total - before;
    assert!(
        some >= ms(290) && some <= longest,
        "{some:?} of {longest:?}"
    );
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn full_is_while_every_worker_waits() {
    let pool = rig();
    let blocks = exhaust(&pool);
    let before = pool.pressure().full.total;
    let (entered, stop) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let _worker = pool.register_worker();
            entered.wait();
            while !stop.load(SeqCst) {
                thread::sleep(ms(1));
            }
        });
        entered.wait();
        let waited = wait_in_vain(&pool, ms(100));
        assert_eq!(pool.pressure().full.total, before, "somebody works");
        assert!(pool.pressure().some.total >= waited.mul_f64(0.9));
    });
    let full = pool.pressure().full.total;
    let worker = pool.register_worker();
    let again = pool.register_worker();
    let waited = wait_in_vain(&pool, ms(400));
    assert_within_2_percent(pool.pressure().full.total - full, waited);
    drop((worker, again));
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn memory_that_comes_ends_the_pressure() {
    let pool = rig();
    let mut blocks = exhaust(&pool);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
        eventually("somebody waits", || pool.pressure().some.total >= ms(30));
        blocks.truncate(blocks.len() - 8);
        drop(waiter.join().unwrap());
    });
    let total = pool.pressure().some.total;
    thread::sleep(ms(20));
    assert_eq!(pool.pressure().some.total, total);
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn a_panic_of_a_worker_ends_its_work() {
    let pool = rig();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _worker = pool.register_worker();
        panic!("at work");
    }));
    assert!(caught.is_err());
    let blocks = exhaust(&pool);
    let waited = wait_in_vain(&pool, ms(100));
    let Pressure { some, full, .. } = pool.pressure();
    assert!(full.total >= waited.mul_f64(0.9));
    assert_eq!(some.total, full.total, "there is no worker any more");
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn a_trigger_fires_under_pressure_and_once_a_window() {
    let pool = rig();
    let blocks = exhaust(&pool);
    let trigger = pool
        .pressure_trigger(PressureKind::Some, ms(100), ms(500))
        .unwrap();
    assert!(!trigger.wait(ms(30)), "nobody waits for memory yet");
    thread::scope(|scope| {
        let stalled = scope.spawn(|| wait_in_vain(&pool, ms(900)));
        let start = Instant::now();
        assert!(trigger.wait(Duration::from_secs(20)));
        let first = start.elapsed();
        assert!(first >= ms(100), "the threshold comes first: {first:?}");
        assert!(
            !stalled.is_finished() || first > ms(900),
            "it is told in time"
        );
        assert!(trigger.wait(Duration::from_secs(20)));
        assert!(start.elapsed() >= ms(600), "a window lies between");
        stalled.join().unwrap();
    });
    thread::sleep(ms(600));
    assert!(!trigger.wait(ms(50)), "nobody waits any more");
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
fn a_trigger_does_not_fire_below_its_threshold_nor_for_other_kinds() {
    let pool = rig();
    let blocks = exhaust(&pool);
    let _worker = pool.register_worker();
    let some = pool
        .pressure_trigger(PressureKind::Some, ms(450), ms(500))
        .unwrap();
    let full = pool
        .pressure_trigger(PressureKind::Full, ms(1), ms(500))
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| wait_in_vain(&pool, ms(150)));
        let full = scope.spawn(move || full.wait(ms(400)));
        assert!(!some.wait(ms(400)));
        assert!(!full.join().unwrap(), "this thread works");
    });
    drop(blocks);
}

#[test]
fn ranges_of_triggers_are_checked() {
    let pool = rig();
    let refused = |threshold, window| {
        let error = pool
            .pressure_trigger(PressureKind::Full, threshold, window)
            .unwrap_err();
        error.field()
    };
    assert_eq!(refused(ms(1), ms(499)), "window");
    assert_eq!(refused(ms(1), ms(10_001)), "window");
    assert_eq!(refused(ms(0), ms(1000)), "threshold");
    assert_eq!(refused(ms(1001), ms(1000)), "threshold");
}

/// Numbers below `end`, the small ones far more often.
fn skewed(seed: &mut u64, end: usize) -> usize {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) as usize % end
    };
    next().min(next()).min(next())
}

#[test]
fn folios_that_are_missed_and_slow_to_come_back_are_pressure() {
    let device = Arc::new(FaultyDevice::in_memory(16 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(1 << 20)
        .daemons(false)
        .swap(Arc::clone(&device))
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    pool.tunables().set_page_cluster(0).unwrap();
    // More is in use than there is room for: what leaves was active, and comes back soon.
    let folios = filled_folios(&pool, 400, PAGE_SIZE);
    let restored = || vmstat(&pool, "workingset_restore_anon");
    let mut seed = 1;
    let mut touch = || drop(folios[skewed(&mut seed, folios.len())].read().unwrap());
    let mut touches = 0;
    while restored() < 20 {
        touch();
        touches += 1;
        assert!(touches < 1_000_000, "{:?}", pool.stats().vmstat);
    }

    let stall = ms(20);
    device.set_faults(
        Faults::none()
            .one_in(1, Fault::StalledRead)
            .stall_for(stall),
    );
    let read = || vmstat(&pool, "pgmajfault");
    let (mut missed, mut others) = (0, 0);
    while missed < 5 || others < 5 {
        let total = pool.pressure().some.total;
        let (restored_before, read_before) = (restored(), read());
        let start = Instant::now();
        touch();
        let took = start.elapsed();
        let counted = pool.pressure().some.total - total;
        assert!(counted <= took, "{counted:?} of {took:?}");
        if restored() > restored_before {
            assert!(counted >= stall.mul_f64(0.9), "{counted:?} of {took:?}");
            missed += 1;
        } else if read() > read_before {
            // The rest may be slow on a busy machine; the read is not counted.
            let rest = took - stall.mul_f64(0.9);
            assert!(counted <= rest, "nobody misses it: {counted:?} of {took:?}");
            others += 1;
        }
    }
    drop(folios);
    pool.verify().unwrap();
}

#[test]
fn pressure_survives_daemons_that_are_frozen_in_the_middle() {
    let device = Arc::new(FaultyDevice::in_memory(64 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(4 << 20)
        .swap(device)
        .build()
        .unwrap();
    for round in 0..5 {
        let folios = filled_folios(&pool, 1500, PAGE_SIZE);
        pool.freeze(Duration::from_secs(10)).unwrap();
        // Frozen daemons are not stalled, and this thread is not: the totals stand.
        let total = pool.pressure().some.total;
        assert!(total > Duration::ZERO, "kswapd has worked, or we have");
        thread::sleep(ms(5));
        assert_eq!(pool.pressure().some.total, total, "round {round}");
        pool.thaw();
        drop(folios);
    }
    pool.verify().unwrap();
}

#[test]
fn a_group_that_waits_for_its_own_room_is_under_pressure_and_so_is_all_above_it() {
    let pool = rig();
    let parent = pool.create_group("parent", GroupLimits::new()).unwrap();
    let full = { parent.create_group("full", GroupLimits::new().max(PAGE_SIZE)) }.unwrap();
    let other = pool.create_group("other", GroupLimits::new()).unwrap();
    let _block = full.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    let _parent_works = parent.register_worker();
    let waited = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let _works = full.register_worker();
            let start = Instant::now();
            let request = full.request(Order::ZERO, Gfp::KERNEL).deadline(ms(600));
            assert_eq!(request.alloc().unwrap_err(), AllocError::GroupLimit);
            start.elapsed()
        });
        waiter.join().unwrap()
    });
    let some_and_full = |pressure: Pressure| (pressure.some.total, pressure.full.total);
    let (some, all) = some_and_full(full.pressure());
    assert_within_2_percent(some, waited);
    assert_eq!(some, all, "its only worker waited");
    for above in [parent.pressure(), pool.pressure()] {
        let (some, all) = some_and_full(above);
        assert_within_2_percent(some, waited);
        assert_eq!(all, Duration::ZERO, "this thread might have worked");
    }
    assert_eq!(other.pressure(), Pressure::default());
    assert_eq!(
        pool.node_pressure(node()).unwrap().full.total,
        Duration::ZERO
    );
    pool.verify().unwrap();
}
