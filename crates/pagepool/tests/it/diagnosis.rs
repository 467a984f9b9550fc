//! Each cause of a refusal, brought about on purpose: the report names it, and what would help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AllocError, FailureReport, Fault, Faults, FaultyDevice, Folio, Gfp, GroupLimits, NodeId,
    NodeMask, OomAnswer, OutOfMemory, Outcome, PAGE_SIZE, PagePool, Pages, Remedy, SwapFile,
    SwapVerdict,
};

use crate::locks::Mutex;
use crate::{StopOnDrop, eventually, filled_folios, order, vmstat};

const MIB: usize = 1 << 20;

/// Without swap and without threads of its own.
fn bare(bytes: usize) -> PagePool {
    let builder = PagePool::builder().managed(bytes).daemons(false);
    builder
        .deadline(Duration::from_millis(100))
        .build()
        .unwrap()
}

/// Single pages, until one is refused.
fn exhaust(pool: &PagePool, gfp: Gfp) -> (Vec<Pages>, AllocError) {
    let mut blocks = Vec::new();
    loop {
        match pool.alloc_pages(order(0), gfp) {
            Ok(block) => blocks.push(block),
            Err(error) => return (blocks, error),
        }
    }
}

/// Folios, until one is refused.
fn exhaust_folios(pool: &PagePool) -> (Vec<Folio>, AllocError) {
    let mut folios = Vec::new();
    loop {
        match pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) {
            Ok(mut folio) => {
                folio.write().unwrap().fill(folios.len() as u8);
                folios.push(folio);
            }
            Err(error) => return (folios, error),
        }
    }
}

/// The last report, which is about a refusal for this cause.
#[track_caller]
fn last_report(pool: &PagePool, cause: AllocError) -> FailureReport {
    let report = pool.failures().pop().expect("the refusal was reported");
    assert_eq!(
        (report.cause, report.outcome),
        (cause, Outcome::Refused),
        "{report}"
    );
    assert_eq!(report.number, pool.stats().failure_reports);
    let text = report.to_string();
    assert!(text.contains(&cause.to_string()) && text.contains(&report.remedy.to_string()));
    report
}

#[test]
fn fragmented_memory_is_told_from_too_little() {
    let pool = bare(16 * MIB);
    let (mut blocks, _) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY);
    blocks.retain(|block| block.pfn().get() % 2 == 0);
    // What was kept free for others is in larger blocks.
    let mut large = Vec::new();
    let refused = loop {
        match pool.alloc_pages(order(4), Gfp::KERNEL | Gfp::NORETRY) {
            Ok(block) => large.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AllocError::Fragmented);
    let report = last_report(&pool, AllocError::Fragmented);
    let zone = report.deciding_zone().unwrap();
    assert!(
        zone.free > 1500 && zone.largest_free().unwrap() < order(4),
        "{report}"
    );
    assert!(zone.fragmentation_index > 500, "{report}");
    assert_eq!(
        report.remedy,
        Remedy::StartDaemons,
        "nothing works in the background"
    );

    let answer = pool.explain(order(4), Gfp::KERNEL);
    assert_eq!(answer.cause, Some(AllocError::Fragmented));
    assert!(
        answer.to_string().contains("pages free, above its"),
        "{answer}"
    );
    assert_eq!(pool.explain(order(0), Gfp::KERNEL).cause, None);
    // Who may not wait would have to, first of all.
    let answer = pool.explain(order(4), Gfp::NOWAIT);
    assert_eq!(answer.remedy, Some(Remedy::LetItWait));
}

#[test]
fn too_little_memory_is_said_in_pages() {
    let pool = bare(16 * MIB);
    let (blocks, error) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY);
    assert_eq!(error, AllocError::BelowMin);
    let report = last_report(&pool, AllocError::BelowMin);
    let zone = report.deciding_zone().unwrap();
    assert!(
        zone.shortfall > 0 && zone.free <= zone.min + zone.boost,
        "{report}"
    );
    assert!(
        matches!(report.remedy, Remedy::MoreMemory { .. }),
        "{report}"
    );
    assert!(report.tried.drains > 0, "{report}");
    drop(blocks);
    assert_eq!(pool.explain(order(0), Gfp::KERNEL).cause, None);
}

#[test]
fn a_node_mask_that_leaves_nothing_is_the_cause() {
    let pool = PagePool::builder()
        .managed(32 * MIB)
        .nodes(2)
        .daemons(false)
        .build()
        .unwrap();
    let first = NodeMask::only(NodeId::new(0).unwrap());
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let mut blocks = Vec::new();
    let error = loop {
        match pool.request(order(0), gfp).nodes(first).alloc() {
            Ok(block) => blocks.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(error, AllocError::NodeMask);
    let report = last_report(&pool, AllocError::NodeMask);
    assert_eq!((report.remedy, report.nodes), (Remedy::WidenMask, first));
    assert!(pool.alloc_pages(order(0), gfp).is_ok());
}

#[test]
fn memory_kept_for_lower_zones_is_the_cause() {
    let pool = PagePool::builder()
        .managed(32 * MIB)
        .dma(8 * MIB)
        .daemons(false)
        .lowmem_reserve_ratio([2, 32, 0])
        .deadline(Duration::from_millis(100))
        .build()
        .unwrap();
    let (blocks, error) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY);
    assert_eq!(error, AllocError::LowmemReserve);
    let report = last_report(&pool, AllocError::LowmemReserve);
    assert_eq!(report.remedy, Remedy::LowerReserve);
    let zone = report.deciding_zone().unwrap();
    assert!(zone.reserve > 0 && zone.free > zone.min, "{report}");
    assert!(pool.alloc_pages(order(0), Gfp::KERNEL | Gfp::DMA).is_ok());
    // With the reserve lowered, as the report says, there is memory.
    pool.tunables().set_lowmem_reserve_ratio([0, 0, 0]).unwrap();
    assert!(pool.alloc_pages(order(0), Gfp::KERNEL).is_ok());
    drop(blocks);
}

#[test]
fn a_group_at_its_limit_is_named() {
    let pool = bare(16 * MIB);
    let group = { pool.create_group("tenant", GroupLimits::new().max(MIB)) }.unwrap();
    let _block = group.alloc_pages(order(8), Gfp::KERNEL).unwrap();
    let refused = group.alloc_pages(order(0), Gfp::KERNEL);
    assert_eq!(refused.unwrap_err(), AllocError::GroupLimit);
    let report = last_report(&pool, AllocError::GroupLimit);
    assert_eq!(report.group, group.id());
    let remedy = Remedy::RaiseGroupLimit {
        group: group.id(),
        limit: MIB,
    };
    assert_eq!(report.remedy, remedy);
    assert!(report.waited >= Duration::from_millis(100), "{report}");
}

#[test]
fn full_swap_is_the_cause() {
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .swap(SwapFile::temporary(2 << 20).unwrap())
        .daemons(false)
        .deadline(Duration::from_millis(300))
        .build()
        .unwrap();
    let (folios, error) = exhaust_folios(&pool);
    assert_eq!(error, AllocError::SwapFull);
    let report = last_report(&pool, AllocError::SwapFull);
    assert_eq!(report.memory.swap_free, 0);
    let pages = report.memory.swap_total;
    assert_eq!(report.remedy, Remedy::AddMoreSwap { pages });
    assert!(
        report.memory.anon > 0 && report.tried.reclaims > 0,
        "{report}"
    );
    assert!(matches!(
        pool.explain_swap(),
        SwapVerdict::Full { .. } | SwapVerdict::NoNeed { .. }
    ));
    drop(folios);
}

#[test]
fn a_device_that_does_not_answer_is_the_cause() {
    let device = Arc::new(FaultyDevice::in_memory(64 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .swap(Arc::clone(&device))
        .daemons(false)
        .deadline(Duration::from_millis(400))
        .build()
        .unwrap();
    device.set_faults(Faults::none().one_in(1, Fault::StalledWrite));
    let (folios, error) = exhaust_folios(&pool);
    assert_eq!(error, AllocError::StoreStalled);
    let report = last_report(&pool, AllocError::StoreStalled);
    assert_eq!(report.remedy, Remedy::SeeToDevice);
    device.set_faults(Faults::none());
    device.release();
    drop(folios);
}

#[test]
fn pins_in_the_way_are_counted_with_their_age_and_their_place() {
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .swap(SwapFile::temporary(64 << 20).unwrap())
        .daemons(false)
        .hardened(true)
        .deadline(Duration::from_millis(100))
        .build()
        .unwrap();
    let nr = pool.stats().managed_pages;
    let folios: Vec<_> = (0..nr)
        .map(|_| pool.blank_folio(PAGE_SIZE).unwrap())
        .collect();
    let first = folios[0].pin().unwrap();
    // Time is told by what the pool does meanwhile.
    let others = (0..4).map(|_| pool.blank_folio(PAGE_SIZE).unwrap());
    for folio in others {
        drop(folio.read().unwrap());
        thread::sleep(Duration::from_millis(150));
    }
    let pins: Vec<_> = folios[1..]
        .iter()
        .map_while(|folio| folio.pin().ok())
        .collect();
    let refused = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE);
    assert_eq!(refused.unwrap_err(), AllocError::AllPinned);
    let report = last_report(&pool, AllocError::AllPinned);
    assert_eq!(report.pins.folios, pins.len() + 1, "{report}");
    let oldest = report.pins.oldest[0].unwrap();
    assert!(oldest.age >= Duration::from_millis(280), "{report}");
    let next = report.pins.oldest[1].unwrap();
    assert!(
        next.age < oldest.age - Duration::from_millis(200),
        "{report}"
    );
    assert!(
        oldest.site.unwrap().file().ends_with("diagnosis.rs"),
        "{report}"
    );
    assert!(
        report.to_string().contains("tests/it/diagnosis.rs:"),
        "{report}"
    );
    let Remedy::DropPins { folios: named, .. } = report.remedy else {
        panic!("{report}");
    };
    assert_eq!(named, report.pins.folios);
    drop((first, pins));
    assert!(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).is_ok());
}

#[test]
fn a_request_from_inside_a_callback_is_the_cause() {
    let pool = bare(4 * MIB);
    let inside = Arc::new(Mutex::new(None));
    let (theirs, seen) = (pool.clone(), Arc::clone(&inside));
    pool.set_oom_handler(move |_: &OutOfMemory| {
        let error = theirs.alloc_pages(order(0), Gfp::KERNEL).unwrap_err();
        *seen.lock().unwrap() = Some((error, theirs.failures().pop().unwrap()));
        OomAnswer::Declined
    });
    let (_blocks, error) = exhaust(&pool, Gfp::KERNEL);
    assert_eq!(error, AllocError::BelowMin);
    // It may have been left behind by the request that had it called.
    eventually("it was called", || inside.lock().unwrap().is_some());
    let (error, report) = inside.lock().unwrap().take().unwrap();
    assert_eq!(error, AllocError::Reentrant);
    assert_eq!(
        (report.cause, report.remedy),
        (error, Remedy::AllocateElsewhere)
    );
    // It has a handle to the pool, and the pool has it.
    pool.clear_oom_handler();
}

#[test]
fn what_never_fits_is_the_cause() {
    let pool = bare(MIB);
    let refused = pool.alloc_pages(order(10), Gfp::KERNEL);
    assert_eq!(refused.unwrap_err(), AllocError::NeverFits);
    let report = last_report(&pool, AllocError::NeverFits);
    assert_eq!(report.remedy, Remedy::AskForLess { order: order(10) });
    // No group is made to give for it first.
    let group = { pool.create_group("full", GroupLimits::new().max(PAGE_SIZE)) }.unwrap();
    let refused = group.alloc_pages(order(10), Gfp::KERNEL);
    assert_eq!(refused.unwrap_err(), AllocError::NeverFits);
    assert_eq!(group.stats().max_events, 0);
    assert_eq!(
        pool.explain(order(10), Gfp::KERNEL).cause,
        Some(AllocError::NeverFits)
    );
}

#[test]
fn thrashing_is_told_from_hard_work_and_fails_fast() {
    let device = Arc::new(FaultyDevice::in_memory(64 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(2 * MIB)
        .swap(Arc::clone(&device))
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    pool.tunables().set_page_cluster(0).unwrap();
    // Of the reads that it waits for, only those of what was in use count: a quarter here.
    pool.tunables().set_thrashing_limit(12).unwrap();
    let needy = pool
        .create_group("needy", GroupLimits::new().low(MIB))
        .unwrap();
    let small = needy.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
    let folios = filled_folios(&pool, 700, PAGE_SIZE);
    // Slow enough that whoever misses something does nothing but wait for it.
    let slow = Faults::none().one_in(1, Fault::StalledRead);
    device.set_faults(slow.stall_for(Duration::from_millis(2)));

    let is_over = AtomicBool::new(false);
    let (is_over, folios, pool) = (&is_over, &folios, &pool);
    let refused = thread::scope(|scope| {
        let _stop = StopOnDrop(is_over);
        scope.spawn(move || {
            let _works = pool.register_worker();
            let mut seed = 1_u64;
            while !is_over.load(SeqCst) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let folio = &folios[(seed >> 33) as usize % folios.len()];
                // Whatever comes back is used more than once: it is in use when it is evicted.
                for _ in 0..4 {
                    drop(folio.read().unwrap());
                }
            }
        });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            match pool.alloc_folio(16 * PAGE_SIZE, Gfp::USER_MOVABLE) {
                Err(AllocError::Thrashing) => {
                    // What is protected is not the cause, and is served.
                    let theirs = needy.alloc_folio(16 * PAGE_SIZE, Gfp::USER_MOVABLE);
                    return Some((last_report(pool, AllocError::Thrashing), theirs));
                }
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    });
    let pressure = pool.pressure();
    let (report, theirs) =
        refused.unwrap_or_else(|| panic!("{pressure:?} {:?}", pool.stats().vmstat));
    assert_eq!(report.remedy, Remedy::UseLessAtOnce);
    assert!(report.waited < Duration::from_secs(1), "{report}");
    assert!(theirs.is_ok(), "{theirs:?}");
    assert!(vmstat(pool, "workingset_refault_anon") > 0);
    drop((small, theirs));
}

#[test]
fn a_request_that_comes_late_is_reported_and_who_does_not_want_to_know_is_not() {
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .daemons(false)
        .deadline(Duration::from_secs(20))
        .build()
        .unwrap();
    let limit = Duration::from_millis(30);
    pool.tunables().set_report_after(Some(limit)).unwrap();
    assert_eq!(pool.tunables().report_after(), Some(limit));
    let (mut blocks, _) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN);
    assert_eq!(pool.failures().len(), 0, "nobody wanted to know");
    let late = thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.alloc_pages(order(0), Gfp::KERNEL));
        eventually("it waits", || vmstat(&pool, "pagepool_freed_waits") > 0);
        thread::sleep(2 * limit);
        blocks.truncate(blocks.len() / 2);
        waiter.join().unwrap()
    });
    assert!(late.is_ok());
    let report = pool.failures().pop().unwrap();
    assert_eq!(report.outcome, Outcome::Late, "{report}");
    assert!(report.waited >= limit && report.tried.waits > 0, "{report}");

    pool.tunables().set_report_after(None).unwrap();
    let before = pool.stats().failure_reports;
    drop(pool.alloc_pages(order(0), Gfp::KERNEL));
    assert_eq!(pool.stats().failure_reports, before);
}

#[test]
fn the_last_reports_are_kept_in_order() {
    let pool = bare(MIB);
    for _ in 0..9 {
        let _ = pool.alloc_pages(order(10), Gfp::KERNEL);
    }
    let numbers: Vec<_> = pool.failures().iter().map(|report| report.number).collect();
    assert_eq!(numbers, [6, 7, 8, 9]);
}

#[test]
fn who_asks_why_nothing_is_swapped_is_told() {
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .swap_limit(8 << 20)
        .max_stores(1)
        .daemons(false)
        .build()
        .unwrap();
    assert_eq!(pool.explain_swap(), SwapVerdict::NoArea);
    pool.swap_on(SwapFile::temporary(8 << 20).unwrap(), 0)
        .unwrap();
    let answer = pool.explain_swap();
    assert!(matches!(answer, SwapVerdict::NoNeed { .. }), "{answer}");
    let (blocks, _) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY);
    let answer = pool.explain_swap();
    assert_eq!(answer, SwapVerdict::NothingToSwap { locked: 0 }, "{answer}");
    drop(blocks);
}

#[test]
fn the_owner_is_asked_before_anybody_is_refused_and_told_who_has_most() {
    let pool = PagePool::builder()
        .managed(16 * MIB)
        .daemons(false)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let groups = ["small", "large", "exempt"].map(|name| {
        let group = pool.create_group(name, GroupLimits::new()).unwrap();
        (group.id(), group)
    });
    let [
        (small, small_group),
        (large, large_group),
        (_, exempt_group),
    ] = &groups;
    exempt_group.set_oom_score_adj(-1000).unwrap();
    let error = exempt_group.set_oom_score_adj(1001).unwrap_err();
    assert!(error.to_string().contains("-1000 to 1000"), "{error}");
    let pages = |group: &pagepool::Group, nr: usize| {
        let gfp = Gfp::KERNEL | Gfp::NORETRY;
        let blocks = (0..nr).map_while(|_| group.alloc_pages(order(0), gfp).ok());
        blocks.collect::<Vec<_>>()
    };
    let exempt = pages(exempt_group, 2000);
    let kept = pages(small_group, 300);
    let evictable = Arc::new(Mutex::new(pages(large_group, 10_000)));
    let (calls, victims) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(Mutex::new(Vec::new())),
    );
    {
        let (evictable, calls, victims) = (evictable.clone(), calls.clone(), victims.clone());
        pool.set_oom_handler(move |situation: &OutOfMemory| {
            calls.fetch_add(1, SeqCst);
            *victims.lock().unwrap() = situation.victims().to_vec();
            assert_eq!(situation.cause, AllocError::BelowMin);
            evictable.lock().unwrap().clear();
            OomAnswer::Released
        });
    }
    let block = pool.alloc_pages(order(2), Gfp::KERNEL);
    assert!(block.is_ok(), "{block:?}");
    assert_eq!(calls.load(SeqCst), 1);
    let ranks: Vec<_> = victims
        .lock()
        .unwrap()
        .iter()
        .map(|one| one.group)
        .collect();
    assert_eq!(ranks[..2], [*large, *small], "{ranks:?}");
    assert!(!ranks.contains(&exempt_group.id()));
    assert_eq!(pool.oom_stats().released, 1);
    drop((exempt, kept, block));
}

#[test]
fn an_owner_who_panics_blocks_or_has_nothing_costs_nobody_more_than_his_deadline() {
    let patience = Duration::from_millis(200);
    for mood in 0..3 {
        let pool = PagePool::builder()
            .managed(4 * MIB)
            .daemons(false)
            .deadline(patience)
            .build()
            .unwrap();
        let (_blocks, _) = exhaust(&pool, Gfp::KERNEL | Gfp::NORETRY);
        let gate = Arc::new(Mutex::new(()));
        let theirs = Arc::clone(&gate);
        pool.set_oom_handler(move |_: &OutOfMemory| {
            match mood {
                0 => panic!("an owner who panics"),
                1 => drop(theirs.lock()),
                _ => {}
            }
            OomAnswer::Declined
        });
        let closed = gate.lock().unwrap();
        let start = Instant::now();
        let refused = pool.alloc_pages(order(0), Gfp::KERNEL);
        let took = start.elapsed();
        assert_eq!(refused.unwrap_err(), AllocError::BelowMin);
        assert!(took >= patience && took < 20 * patience, "{mood}: {took:?}");
        let report = last_report(&pool, AllocError::BelowMin);
        assert!(report.tried.last_resorts > 0, "{report}");
        if mood == 1 {
            let stats = pool.oom_stats();
            assert!(stats.abandoned > 0 && stats.is_calling, "{stats:?}");
        }
        drop(closed);
        eventually("the call has ended", || !pool.oom_stats().is_calling);
        let stats = pool.oom_stats();
        assert!(stats.calls > 0, "{mood}: {stats:?}");
        assert_eq!(stats.panics > 0, mood == 0, "{stats:?}");
        pool.verify().unwrap();
    }
}

#[test]
fn a_group_at_its_limit_has_only_its_own_called_up() {
    let pool = PagePool::builder()
        .managed(16 * MIB)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let parent = { pool.create_group("parent", GroupLimits::new().max(MIB)) }.unwrap();
    let [a, b] = ["a", "b"].map(|name| parent.create_group(name, GroupLimits::new()).unwrap());
    let other = pool.create_group("other", GroupLimits::new()).unwrap();
    let _others = other.alloc_pages(order(10), Gfp::KERNEL).unwrap();
    let hoard: Vec<_> = (0..200)
        .map(|_| a.alloc_pages(order(0), Gfp::KERNEL).unwrap())
        .collect();
    let hoard = Arc::new(Mutex::new(hoard));
    let (within, a_id, parent_id) = (Arc::new(Mutex::new(Vec::new())), a.id(), parent.id());
    {
        let (hoard, within) = (hoard.clone(), within.clone());
        pool.set_oom_handler(move |situation: &OutOfMemory| {
            assert_eq!(
                (situation.cause, situation.within),
                (AllocError::GroupLimit, parent_id)
            );
            within
                .lock()
                .unwrap()
                .extend_from_slice(situation.victims());
            hoard.lock().unwrap().clear();
            OomAnswer::Released
        });
    }
    let blocks: Vec<_> = (0..100)
        .map(|_| b.alloc_pages(order(0), Gfp::KERNEL).unwrap())
        .collect();
    let victims = within.lock().unwrap();
    assert_eq!(victims[0].group, a_id, "{victims:?}");
    assert!(victims.iter().all(|victim| victim.group != other.id()));
    drop(blocks);
}

#[test]
fn a_report_is_made_within_five_milliseconds_however_many_folios_there_are() {
    let pool = PagePool::builder()
        .managed(8 * MIB)
        .max_folios(400_000)
        .nodes(2)
        .daemons(false)
        .build()
        .unwrap();
    let folios: Vec<_> = (0..300_000)
        .map(|_| pool.blank_folio(PAGE_SIZE).unwrap())
        .collect();
    let pins: Vec<_> = folios
        .iter()
        .take(500)
        .map(|folio| folio.pin().unwrap())
        .collect();
    let nothing = NodeMask::only(NodeId::new(9).unwrap());
    let mut took = Vec::new();
    for _ in 0..50 {
        let refused = pool.request(order(0), Gfp::KERNEL).nodes(nothing).alloc();
        assert_eq!(refused.unwrap_err(), AllocError::NodeMask);
        let report = pool.failures().pop().unwrap();
        // Those that are sent: of the others nobody would see what is pinned.
        if report.pins.looked_at > 0 {
            assert!(report.pins.looked_at >= 1 << 15, "{report}");
            took.push(report.took);
        }
    }
    assert!(took.len() >= 10, "{took:?}");
    // On a busy machine the thread may be out of its turn in the middle of one.
    took.sort();
    assert!(took[2] < Duration::from_millis(5), "{took:?}");
    drop(pins);
}

#[test]
fn whoever_asks_from_inside_a_callback_is_refused_for_a_group_as_well() {
    let pool = PagePool::builder()
        .managed(4 * MIB)
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    let group = { pool.create_group("full", GroupLimits::new().max(PAGE_SIZE)) }.unwrap();
    let hoard = Arc::new(Mutex::new(vec![
        group.alloc_pages(order(0), Gfp::KERNEL).unwrap(),
    ]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    {
        let (group, hoard, seen) = (group.clone(), hoard.clone(), seen.clone());
        pool.set_oom_handler(move |_: &OutOfMemory| {
            for gfp in [Gfp::KERNEL, Gfp::KERNEL | Gfp::NOFAIL] {
                let refused = group.alloc_pages(order(0), gfp).unwrap_err();
                seen.lock().unwrap().push(refused);
            }
            assert_eq!(group.reclaim(MIB, Duration::from_secs(10)), 0);
            hoard.lock().unwrap().clear();
            OomAnswer::Released
        });
    }
    let start = Instant::now();
    let block = group.alloc_pages(order(0), Gfp::KERNEL);
    assert!(block.is_ok(), "{block:?}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(*seen.lock().unwrap(), [AllocError::Reentrant; 2]);
    pool.clear_oom_handler();
}
