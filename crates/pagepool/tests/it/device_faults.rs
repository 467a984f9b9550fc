//! What becomes of folios when the device under swap fails, lies or does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{slice, thread};

use pagepool::{
    AccessError, Advice, Fault, Faults, FaultyDevice, Folio, Gfp, Order, PAGE_SIZE, PagePool,
    SwapDevice, SwapError,
};

use crate::processes::{alone, tasks};
use crate::{
    StopOnDrop, assert_all_back, assert_filled, eventually, evict, fill, filled_folios, press,
    vmstat,
};

/// What one transfer takes at most: a folio of this size goes alone.
const TRANSFER: usize = 32 * PAGE_SIZE;

/// How long anything here may take in which a device fails. Waiting for ever takes longer.
const BOUND: Duration = Duration::from_secs(10);

/// A pool of 4 MiB over 16 MiB of faulty swap, in which nothing happens by itself.
fn rig() -> (PagePool, Arc<FaultyDevice>) {
    let device = Arc::new(FaultyDevice::in_memory(16 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(4 << 20)
        .daemons(false)
        .swap(Arc::clone(&device))
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    (pool, device)
}

fn always(fault: Fault) -> Faults {
    Faults::none().one_in(1, fault)
}

fn first(fault: Fault) -> Faults {
    Faults::none().nth(1, fault)
}

fn used_swap(pool: &PagePool) -> usize {
    let stats = pool.stats();
    stats.swap_total_pages - stats.swap_free_pages
}

/// Has reclaim write these folios out, or try.
fn push(pool: &PagePool, folios: &[Folio]) {
    for folio in folios {
        folio.advise(Advice::Cold).unwrap();
    }
    press(pool);
}

#[track_caller]
fn assert_all_filled(folios: &[Folio]) {
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64);
    }
}

#[test]
fn a_folio_that_cannot_be_written_stays_in_memory_and_leaves_once_the_device_works() {
    let faults = [
        Fault::WriteError,
        Fault::TornWrite,
        Fault::Full,
        Fault::TransientWriteError,
    ];
    for fault in faults {
        let (pool, device) = rig();
        let start = Instant::now();
        let folios = filled_folios(&pool, 8, PAGE_SIZE);
        device.set_faults(always(fault));
        push(&pool, &folios);
        assert!(device.count(fault) > 0, "{fault:?}: it was tried");
        for folio in &folios {
            assert!(folio.is_resident(), "{fault:?}: it has nowhere to go");
            assert!(folio.is_dirty(), "{fault:?}: no copy of it is good");
        }
        // A transfer that is tried for long is not waited for to its end.
        eventually("the slots are given back", || used_swap(&pool) == 0);
        assert!(vmstat(&pool, "pagepool_write_errors") > 0, "{fault:?}");
        assert!(pool.swap_areas()[0].errors > 0, "{fault:?}");
        assert_all_filled(&folios);
        pool.verify().unwrap();

        device.set_faults(Faults::none());
        evict(&pool, &folios);
        assert_all_filled(&folios);
        drop(folios);
        assert_all_back(&pool);
        assert!(start.elapsed() < BOUND, "{fault:?}");
    }
}

#[test]
fn what_fails_for_a_moment_is_tried_again_and_nobody_learns_of_it() {
    let faults = [
        Fault::TransientWriteError,
        Fault::ShortWrite,
        Fault::TransientReadError,
        // Of several pages at once, each is tried by itself.
        Fault::WriteError,
        Fault::TornWrite,
        Fault::ReadError,
        Fault::CorruptRead,
    ];
    for fault in faults {
        let (pool, device) = rig();
        let folios = filled_folios(&pool, 8, TRANSFER);
        device.set_faults(first(fault));
        evict(&pool, &folios);
        assert_all_filled(&folios);
        assert_eq!(device.count(fault), 1, "{fault:?}: it happened");
        assert_eq!(vmstat(&pool, "pagepool_write_errors"), 0, "{fault:?}");
        let area = &pool.swap_areas()[0];
        assert_eq!((area.errors, area.corrupt), (0, 0), "{fault:?}");
        drop(folios);
        assert_all_back(&pool);
    }
}

/// A fuzzer took an area away that held nothing, and whose device was in a call still: it was told to finish taking it
/// away and add it anew, which is what who *adds* it is told. What is missing is the device's answer.
#[test]
fn who_takes_an_empty_area_away_is_told_that_its_device_does_not_return() {
    let (pool, device) = rig();
    let folios = filled_folios(&pool, 1, PAGE_SIZE);
    evict(&pool, &folios);
    device.set_faults(always(Fault::StalledRead));
    let late = folios[0].read_within(Duration::from_millis(300));
    assert_eq!(late.err(), Some(AccessError::StoreStalled));
    drop(folios);
    let area = pool.swap_areas()[0].area;
    eventually("the area is empty", || used_swap(&pool) == 0);
    for _ in 0..2 {
        let error = pool.swap_off(area, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, SwapError::Busy { .. }), "{error}");
    }
    device.set_faults(Faults::none());
    device.release();
    pool.swap_off(area, BOUND).unwrap();
    assert_all_back(&pool);
}

#[test]
fn faults_by_chance_lose_nothing_and_invent_nothing() {
    let (pool, device) = rig();
    let len = 4 * PAGE_SIZE;
    let folios = filled_folios(&pool, 200, len);
    let faults = Faults::seeded(11)
        .one_in(7, Fault::TransientWriteError)
        .one_in(11, Fault::WriteError)
        .one_in(13, Fault::TornWrite)
        .one_in(17, Fault::Full)
        .one_in(7, Fault::TransientReadError)
        .one_in(19, Fault::ReadError)
        .one_in(23, Fault::CorruptRead);
    device.set_faults(faults);
    let mut failed = 0;
    for round in 0..4 {
        push(&pool, &folios);
        for (n, folio) in folios.iter().enumerate() {
            match folio.read() {
                Ok(bytes) => assert_filled(&bytes, n as u64),
                Err(AccessError::StoreFailed | AccessError::Corrupt) => failed += 1,
                Err(error) => panic!("round {round}, folio {n}: {error}"),
            }
        }
        pool.verify().unwrap();
    }
    // Whatever failed was a failure of that moment: what is on the device is right.
    device.set_faults(Faults::none());
    assert_all_filled(&folios);
    println!("{failed} reads failed");
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn a_full_device_is_asked_again_when_there_is_need() {
    let (pool, device) = rig();
    device.set_faults(always(Fault::Full));
    let folios = filled_folios(&pool, 8, PAGE_SIZE);
    push(&pool, &folios);
    assert!(folios.iter().all(Folio::is_resident));
    let asked = device.count(Fault::Full);
    push(&pool, &folios);
    assert!(device.count(Fault::Full) > asked);
    device.set_faults(Faults::none());
    evict(&pool, &folios);
    assert_all_filled(&folios);
}

#[test]
fn pages_that_a_device_lost_are_errors_of_their_folios_only() {
    let (pool, device) = rig();
    let folios = filled_folios(&pool, 256, PAGE_SIZE);
    // Half of a transfer is lost, and the device says that it was written.
    device.set_faults(first(Fault::SilentTornWrite));
    evict(&pool, &folios);
    assert_eq!(device.count(Fault::SilentTornWrite), 1);
    let mut damaged = vec![];
    for round in 0..2 {
        for (n, folio) in folios.iter().enumerate() {
            match folio.read() {
                Ok(bytes) => assert_filled(&bytes, n as u64),
                Err(AccessError::Corrupt) if round == 0 => damaged.push(n),
                Err(AccessError::Corrupt) => assert!(damaged.contains(&n)),
                Err(error) => panic!("folio {n}: {error}"),
            }
        }
    }
    assert!(
        (1..=16).contains(&damaged.len()),
        "half a transfer: {damaged:?}"
    );
    assert!(pool.swap_areas()[0].corrupt >= damaged.len() as u64);
    pool.verify().unwrap();
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn a_damaged_folio_can_be_made_anew_or_dropped() {
    for (fault, error) in [
        (Fault::CorruptRead, AccessError::Corrupt),
        (Fault::ReadError, AccessError::StoreFailed),
    ] {
        let (pool, device) = rig();
        let mut folios = filled_folios(&pool, 3, TRANSFER);
        evict(&pool, &folios);
        device.set_faults(always(fault));
        for folio in &mut folios {
            assert_eq!(folio.read().unwrap_err(), error);
            assert_eq!(folio.write().unwrap_err(), error);
            assert_eq!(folio.pin().unwrap_err(), error);
            assert_eq!(folio.lock().unwrap_err(), error);
            assert_eq!(folio.advise(Advice::WillNeed).unwrap_err(), error);
            assert_eq!(folio.read_at(0, &mut [0; 8]).unwrap_err(), error);
            assert!(!folio.is_resident(), "it is where it was");
        }
        let area = &pool.swap_areas()[0];
        assert!(area.errors > 0, "{error}");
        assert_eq!(area.corrupt > 0, error == AccessError::Corrupt);
        pool.verify().unwrap();

        let dropped = folios.pop().unwrap();
        drop(dropped);
        let mut anew = folios.pop().unwrap();
        anew.discard().unwrap();
        assert!(anew.read().unwrap().iter().all(|byte| *byte == 0));
        fill(&mut anew.write().unwrap(), 77);
        evict(&pool, slice::from_ref(&anew));
        device.set_faults(Faults::none());
        assert_filled(&anew.read().unwrap(), 77);
        // The last one's contents were never lost.
        assert_filled(&folios[0].read().unwrap(), 0);
        drop((anew, folios));
        assert_all_back(&pool);
    }
}

#[test]
fn a_read_that_fails_for_good_keeps_no_other_folio_from_its_reader() {
    let (pool, device) = rig();
    let away = filled_folios(&pool, 1, TRANSFER);
    evict(&pool, &away);
    let mut here = filled_folios(&pool, 16, PAGE_SIZE);
    device.set_faults(always(Fault::ReadError));
    assert_eq!(away[0].read().unwrap_err(), AccessError::StoreFailed);
    assert_all_filled(&here);
    for folio in &mut here {
        fill(&mut folio.write().unwrap(), 5);
    }
    let blank = pool.blank_folio(PAGE_SIZE).unwrap();
    assert_eq!(blank.read().unwrap()[0], 0, "it is not read from anywhere");
}

#[test]
fn a_reader_of_a_stalled_device_is_told_so_at_its_deadline() {
    let (pool, device) = rig();
    let away = filled_folios(&pool, 12, TRANSFER);
    evict(&pool, &away);
    let here = filled_folios(&pool, 4, PAGE_SIZE);
    device.set_faults(always(Fault::StalledRead));
    let patience = Duration::from_millis(300);
    thread::scope(|scope| {
        for folio in &away {
            scope.spawn(move || {
                let start = Instant::now();
                let refused = folio.read_within(patience).unwrap_err();
                assert_eq!(refused, AccessError::StoreStalled);
                let took = start.elapsed();
                assert!(took >= patience && took < BOUND, "{took:?}");
            });
        }
        // Nobody else is held up.
        assert_all_filled(&here);
        drop(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap());
    });
    assert!(device.nr_stalled() > 0);
    assert!(pool.swap_areas()[0].stalls > 0);
    device.set_faults(Faults::none());
    eventually("the device answers", || device.nr_stalled() == 0);
    assert_all_filled(&away);
    pool.verify().unwrap();
    drop((away, here));
    assert_all_back(&pool);
}

#[test]
fn nobody_waits_for_a_stalled_device_in_order_to_write_to_a_folio_in_memory() {
    let (pool, device) = rig();
    let mut folios = filled_folios(&pool, 16, PAGE_SIZE);
    device.set_faults(always(Fault::StalledWrite));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&is_over);
        push_until(scope, &pool, &folios, &is_over);
        eventually("a write has stalled", || device.nr_stalled() > 0);
        let mut took = vec![];
        for (n, folio) in folios.iter_mut().enumerate() {
            let start = Instant::now();
            fill(&mut folio.write().unwrap(), n as u64 + 100);
            took.push(start.elapsed());
        }
        // A busy machine may take its time over one of them.
        took.sort();
        assert!(took[8] < Duration::from_millis(50), "{took:?}");
        assert!(folios.iter().all(Folio::is_dirty));
        // What ends late must not bring back what was there before.
        device.set_faults(Faults::none());
    });
    evict(&pool, &folios);
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64 + 100);
    }
    drop(folios);
    assert_all_back(&pool);
}

/// Presses for memory in a thread of its own.
fn push_until<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    pool: &'scope PagePool,
    folios: &[Folio],
    is_over: &'scope AtomicBool,
) {
    for folio in folios {
        folio.advise(Advice::Cold).unwrap();
    }
    scope.spawn(move || {
        while !is_over.load(SeqCst) {
            press(pool);
        }
    });
}

#[test]
fn a_request_of_a_pool_whose_device_has_stalled_is_refused_at_its_deadline() {
    let (pool, device) = rig();
    device.set_faults(always(Fault::StalledWrite));
    let mut folios = vec![];
    let refused = loop {
        match pool.alloc_folio(16 * PAGE_SIZE, Gfp::USER_MOVABLE) {
            Ok(mut folio) => {
                fill(&mut folio.write().unwrap(), folios.len() as u64);
                folios.push(folio);
            }
            Err(error) => break error,
        }
    };
    println!("{refused}: {}", refused.remedy());
    let start = Instant::now();
    let patience = Duration::from_millis(50);
    let request = pool.request(Order::ZERO, Gfp::KERNEL).deadline(patience);
    if request.alloc().is_err() {
        assert!(start.elapsed() >= patience);
    }
    assert!(start.elapsed() < BOUND);
    assert_all_filled(&folios);

    device.set_faults(Faults::none());
    eventually("there is memory again", || {
        pool.alloc_pages(Order::ZERO, Gfp::KERNEL).is_ok()
    });
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn a_pool_ends_although_its_device_does_not_answer() {
    let (pool, device) = rig();
    let away = filled_folios(&pool, 1, TRANSFER);
    evict(&pool, &away);
    device.set_faults(always(Fault::StalledRead));
    let stalled = away[0].read_within(Duration::from_millis(200));
    assert_eq!(stalled.unwrap_err(), AccessError::StoreStalled);
    let start = Instant::now();
    drop(away);
    drop(pool);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    device.release();
    eventually("the call returns", || device.nr_stalled() == 0);
    eventually("the pool lets go of the device", || {
        Arc::strong_count(&device) == 1
    });
}

/// A device that panics when it is told to.
struct Panicking {
    inner: FaultyDevice,
    panics: AtomicBool,
}

impl SwapDevice for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }

    fn capacity(&self) -> u64 {
        self.inner.capacity()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
        assert!(!self.panics.load(SeqCst), "told to");
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<usize> {
        assert!(!self.panics.load(SeqCst), "told to");
        self.inner.write_at(bytes, offset)
    }
}

#[test]
fn a_device_that_panics_is_a_device_that_fails() {
    let device = Arc::new(Panicking {
        inner: FaultyDevice::in_memory(16 << 20, Faults::none()),
        panics: AtomicBool::new(true),
    });
    let pool = PagePool::builder()
        .managed(4 << 20)
        .swap(Arc::clone(&device))
        .build()
        .unwrap();
    let folios = filled_folios(&pool, 4, TRANSFER);
    push(&pool, &folios);
    assert!(folios.iter().all(Folio::is_resident));
    assert!(vmstat(&pool, "pagepool_write_errors") > 0);
    assert!(pool.swap_areas()[0].errors > 0);

    device.panics.store(false, SeqCst);
    evict(&pool, &folios);
    device.panics.store(true, SeqCst);
    assert_eq!(folios[0].read().unwrap_err(), AccessError::StoreFailed);
    device.panics.store(false, SeqCst);
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn kswapd_gives_up_on_a_dead_device_and_is_needed_again_when_memory_is_freed() {
    alone(
        "device_faults::kswapd_gives_up_on_a_dead_device_and_is_needed_again_when_memory_is_freed",
        || {
            let device = Arc::new(FaultyDevice::in_memory(16 << 20, always(Fault::WriteError)));
            let pool = PagePool::builder()
                .managed(4 << 20)
                .swap(Arc::clone(&device))
                .deadline(Duration::from_millis(20))
                .build()
                .unwrap();
            let fill_up = || {
                let mut folios = vec![];
                let mut refusals = 0;
                while refusals < 20 {
                    match pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) {
                        Ok(folio) => folios.push(folio),
                        Err(_) => refusals += 1,
                    }
                }
                folios
            };
            let folios = fill_up();
            let kswapd = &tasks("kswapd0")[0];
            let runs = || vmstat(&pool, "pageoutrun");
            eventually("kswapd gives up", || {
                let before = (runs(), kswapd.ticks());
                thread::sleep(Duration::from_millis(300));
                before == (runs(), kswapd.ticks())
            });
            let before = kswapd.ticks();
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(1) {
                drop(pool.alloc_pages(Order::ZERO, Gfp::NOWAIT));
                thread::sleep(Duration::from_millis(5));
            }
            let used = kswapd.ticks() - before;
            assert!(used < 5, "{used} ticks in a second without hope");

            // Hope comes back with memory, and a device that works.
            drop(folios);
            pool.drain();
            device.set_faults(Faults::none());
            let before = vmstat(&pool, "pgsteal_kswapd");
            let folios = fill_up_to(&pool, 2048);
            eventually("kswapd reclaims again", || {
                vmstat(&pool, "pgsteal_kswapd") > before
            });
            drop(folios);
        },
    );
}

/// So many folios of a page.
fn fill_up_to(pool: &PagePool, count: usize) -> Vec<Folio> {
    (0..count)
        .filter_map(|_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).ok())
        .collect()
}
