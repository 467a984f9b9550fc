//! Swap areas that are added, filled in order, and taken away while a pool runs.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AllocError, Fault, Faults, FaultyDevice, Folio, Gfp, PAGE_SIZE, PagePool, SwapAreaStats,
    SwapError,
};

use crate::{StopOnDrop, assert_all_back, assert_filled, evict, fill, filled_folios};

const PATIENCE: Duration = Duration::from_secs(10);

/// A device of so many pages of swap, and the header.
fn device(pages: usize) -> FaultyDevice {
    FaultyDevice::in_memory((pages + 1) * PAGE_SIZE, Faults::none())
}

/// A pool of 4 MiB in which nothing happens by itself, with room for 3 areas of 32 MiB together.
fn pool() -> PagePool {
    PagePool::builder()
        .managed(4 << 20)
        .daemons(false)
        .swap_limit(32 << 20)
        .max_stores(3)
        .max_folios(20_000)
        .build()
        .unwrap()
}

fn area(pool: &PagePool, priority: i16) -> SwapAreaStats {
    let mut areas = pool.swap_areas().into_iter();
    areas.find(|area| area.priority == priority).unwrap()
}

#[track_caller]
fn assert_all_filled(folios: &[Folio]) {
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64);
    }
}

/// Makes folios until no more can be had.
fn fill_up(pool: &PagePool) -> (Vec<Folio>, AllocError) {
    let mut folios = vec![];
    loop {
        match pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::RETRY_MAYFAIL) {
            Ok(mut folio) => {
                fill(&mut folio.write().unwrap(), folios.len() as u64);
                folios.push(folio);
            }
            Err(error) => return (folios, error),
        }
    }
}

#[test]
fn what_was_not_planned_is_refused_by_name() {
    let pool = pool();
    let refused = pool.swap_on(device(9000), 0).unwrap_err();
    assert!(matches!(refused, SwapError::OverLimit { .. }), "{refused}");
    assert!(refused.to_string().contains("swap_limit"), "{refused}");
    let refused = pool.swap_on(device(0), 0).unwrap_err();
    assert!(matches!(refused, SwapError::TooSmall { .. }), "{refused}");
    for priority in 0..3 {
        pool.swap_on(device(100), priority).unwrap();
    }
    let refused = pool.swap_on(device(100), 3).unwrap_err();
    assert!(
        matches!(refused, SwapError::NoRoom { limit: 3 }),
        "{refused}"
    );
    assert!(refused.to_string().contains("max_stores"), "{refused}");
    assert_eq!(pool.stats().swap_total_pages, 300);

    // What is taken away makes room for another.
    let gone = area(&pool, 1).area;
    pool.swap_off(gone, PATIENCE).unwrap();
    assert!(matches!(
        pool.swap_off(gone, PATIENCE),
        Err(SwapError::Unknown)
    ));
    pool.swap_on(device(7000), 3).unwrap();
    let refused = pool.swap_on(device(100), 4).unwrap_err();
    assert!(matches!(refused, SwapError::NoRoom { .. }), "{refused}");
}

#[test]
fn a_pool_without_swap_gets_some_while_it_runs() {
    let pool = pool();
    let (mut folios, refused) = fill_up(&pool);
    assert!(folios.iter().all(Folio::is_resident));
    println!("{refused}: {}", refused.remedy());
    pool.swap_on(device(4000), 0).unwrap();
    while folios.len() < 2048 {
        let mut more = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
        fill(&mut more.write().unwrap(), folios.len() as u64);
        folios.push(more);
    }
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn the_area_of_the_higher_priority_is_filled_first() {
    let pool = pool();
    pool.swap_on(device(1000), 1).unwrap();
    pool.swap_on(device(200), 7).unwrap();
    let names: Vec<_> = pool.swap_areas().iter().map(|area| area.priority).collect();
    assert_eq!(names, [7, 1]);
    let folios = filled_folios(&pool, 600, PAGE_SIZE);
    let mut away = 0;
    for group in folios.chunks(50) {
        evict(&pool, group);
        away += group.len();
        let used = [7, 1].map(|priority| area(&pool, priority).used_pages);
        assert!(used.iter().sum::<usize>() >= away);
        assert!(used[1] == 0 || used[0] == 200, "{used:?}");
    }
    assert!(area(&pool, 1).used_pages >= 400);
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn areas_of_one_priority_are_filled_in_turns() {
    let pool = pool();
    for _ in 0..2 {
        pool.swap_on(device(1000), 3).unwrap();
    }
    let folios = filled_folios(&pool, 800, PAGE_SIZE);
    evict(&pool, &folios);
    let used: Vec<_> = pool
        .swap_areas()
        .iter()
        .map(|area| area.used_pages)
        .collect();
    assert!(used[0].abs_diff(used[1]) <= 64, "{used:?}");
    assert!(used[0] + used[1] >= 800, "{used:?}");
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn an_area_that_is_taken_away_gives_everything_back() {
    let pool = pool();
    let gone = pool.swap_on(device(1000), 0).unwrap();
    let folios = filled_folios(&pool, 600, PAGE_SIZE);
    evict(&pool, &folios);
    assert!(area(&pool, 0).used_pages >= 600);
    pool.swap_off(gone, PATIENCE).unwrap();
    assert!(pool.swap_areas().is_empty());
    assert_eq!(pool.stats().swap_total_pages, 0);
    assert!(folios.iter().all(Folio::is_resident));
    pool.verify().unwrap();
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn what_an_area_holds_goes_to_others_where_memory_has_no_room() {
    let pool = pool();
    let gone = pool.swap_on(device(3000), 5).unwrap();
    let folios = filled_folios(&pool, 1600, PAGE_SIZE);
    pool.swap_on(device(4000), 0).unwrap();
    assert_eq!(area(&pool, 0).used_pages, 0);
    pool.swap_off(gone, PATIENCE).unwrap();
    assert!(area(&pool, 0).used_pages > 500);
    pool.verify().unwrap();
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn an_area_whose_data_has_no_room_elsewhere_stays_in_use() {
    let pool = PagePool::builder()
        .managed(4 << 20)
        .daemons(false)
        .swap(device(2000))
        .build()
        .unwrap();
    let folios = filled_folios(&pool, 1600, PAGE_SIZE);
    let start = Instant::now();
    let swap = area(&pool, -2).area;
    let refused = pool.swap_off(swap, Duration::from_millis(300));
    assert!(start.elapsed() < PATIENCE);
    match refused.unwrap_err() {
        SwapError::InUse { pages, .. } => assert!(pages > 500, "{pages}"),
        error => panic!("{error}"),
    }
    // It serves as before.
    assert_eq!(pool.stats().swap_total_pages, 2000);
    pool.verify().unwrap();
    assert_all_filled(&folios);
    let (more, _) = fill_up(&pool);
    assert!(more.len() > 500, "{} more", more.len());
    drop(more);
    assert_all_filled(&folios);
    drop(folios);
    assert_all_back(&pool);
    pool.swap_off(swap, PATIENCE).unwrap();
}

#[test]
fn an_area_whose_device_cannot_be_read_stays_in_use() {
    let device = std::sync::Arc::new(device(1000));
    let pool = pool();
    let swap = pool.swap_on(device.clone(), 0).unwrap();
    let folios = filled_folios(&pool, 100, PAGE_SIZE);
    evict(&pool, &folios);
    device.set_faults(Faults::none().one_in(1, Fault::ReadError));
    let refused = pool.swap_off(swap, PATIENCE).unwrap_err();
    assert!(
        matches!(refused, SwapError::InUse { pages: 100.., .. }),
        "{refused}"
    );
    device.set_faults(Faults::none());
    assert_all_filled(&folios);
    pool.swap_off(swap, PATIENCE).unwrap();
    assert_all_filled(&folios);
}

#[test]
fn areas_come_and_go_under_readers_and_writers() {
    let pool = PagePool::builder()
        .managed(4 << 20)
        .swap_limit(64 << 20)
        .max_stores(4)
        .max_folios(20_000)
        .deadline(PATIENCE)
        .build()
        .unwrap();
    pool.swap_on(device(4000), 0).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..3_u64 {
            let (pool, is_over) = (&pool, &is_over);
            scope.spawn(move || {
                let mut folios = filled_folios(pool, 500, PAGE_SIZE);
                let mut versions: Vec<_> = (0..500).collect();
                for round in 1.. {
                    for (n, folio) in folios.iter_mut().enumerate() {
                        assert_filled(&folio.read().unwrap(), versions[n]);
                        if n % 3 == round % 3 {
                            versions[n] = worker << 24 | (round as u64) << 10 | n as u64;
                            fill(&mut folio.write().unwrap(), versions[n]);
                        }
                    }
                    if is_over.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        let _stop = StopOnDrop(&is_over);
        // Each is taken away while the next is in use.
        let mut current = area(&pool, 0).area;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let next = pool.swap_on(device(4000), 0).unwrap();
            pool.swap_off(current, PATIENCE).unwrap();
            current = next;
        }
    });
    assert_all_back(&pool);
}

#[test]
fn when_swap_is_full_folios_stay_and_requests_are_refused_until_there_is_more() {
    let pool = pool();
    pool.swap_on(device(500), 0).unwrap();
    let (mut folios, refused) = fill_up(&pool);
    assert_eq!(refused, AllocError::SwapFull);
    assert_eq!(pool.stats().swap_free_pages, 0);
    for (n, folio) in folios.iter().enumerate() {
        match folio.read_within(Duration::from_millis(1)) {
            Ok(bytes) => assert_filled(&bytes, n as u64),
            Err(error) => assert!(!folio.is_resident(), "folio {n}: {error}"),
        }
    }
    pool.verify().unwrap();

    pool.swap_on(device(2000), 0).unwrap();
    let (more, _) = fill_up(&pool);
    assert!(more.len() > 1000, "{} more", more.len());
    // Room is made by dropping folios as well.
    drop(more);
    assert_all_filled(&folios);
    folios.truncate(100);
    drop(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap());
    drop(folios);
    assert_all_back(&pool);
}
