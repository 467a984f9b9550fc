//! Large blocks from memory in pieces: folios are moved while their owners go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{Advice, AllocError, Folio, FolioPin, Gfp, Order, PAGE_SIZE, PagePool};

const HUGE: usize = 2 << 20;
const PAGES_PER_HUGE: usize = HUGE / PAGE_SIZE;

fn huge() -> Order {
    Order::new(9).unwrap()
}

/// A pool in which nobody moves anything unless somebody asks.
fn quiet(bytes: usize) -> PagePool {
    PagePool::builder()
        .managed(bytes)
        .daemons(false)
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// Fills a folio with its number, so that a moved one can be told.
fn numbered(pool: &PagePool, n: u64, bytes: usize) -> Result<Folio, AllocError> {
    let mut folio = pool.alloc_folio(bytes, Gfp::USER_MOVABLE | Gfp::NORETRY)?;
    for (at, word) in folio.write().unwrap().chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(n << 20 | at as u64).to_ne_bytes());
    }
    Ok(folio)
}

#[track_caller]
fn assert_number(folio: &Folio, n: u64) {
    for (at, word) in folio.read().unwrap().chunks_exact(8).enumerate() {
        let word = u64::from_ne_bytes(word.try_into().unwrap());
        assert_eq!(word, n << 20 | at as u64, "folio {n} at word {at}");
    }
}

/// Fills the pool with pages, and keeps one in `one_in`.
fn checkerboard(pool: &PagePool, one_in: usize) -> Vec<(u64, Folio)> {
    let mut all = Vec::new();
    while let Ok(folio) = numbered(pool, all.len() as u64, PAGE_SIZE) {
        all.push((all.len() as u64, folio));
    }
    let mut rng = fastrand::Rng::with_seed(7);
    all.retain(|_| rng.usize(..one_in) == 0);
    all
}

/// Takes blocks of 2 MiB until there are no more.
fn take_huge(pool: &PagePool) -> Vec<pagepool::Pages> {
    let mut taken = Vec::new();
    while let Ok(pages) = pool.alloc_pages(huge(), Gfp::USER_MOVABLE | Gfp::NORETRY) {
        taken.push(pages);
    }
    taken
}

fn counter(pool: &PagePool, name: &str) -> u64 {
    pool.stats().vmstat.get(name).unwrap()
}

/// Of each pageblock, the pages in use, those that were moved out, and those that were moved in.
fn by_pageblock(pool: &PagePool) -> Vec<[i64; 3]> {
    pool.drain();
    let stats = pool.stats();
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    let blocks = zones.flat_map(|zone| {
        let nr = zone.pageblocks.len();
        assert_eq!(zone.pageblock_moved_out.len(), nr);
        assert_eq!(zone.pageblock_moved_in.len(), nr);
        (0..nr).map(|n| {
            let moved = [zone.pageblock_moved_out[n], zone.pageblock_moved_in[n]];
            let [left, entered] = moved.map(|pages| pages as i64);
            [i64::from(zone.pageblocks[n]), left, entered]
        })
    });
    blocks.collect()
}

fn free_pages(pool: &PagePool) -> usize {
    counter(pool, "nr_free_pages") as usize
}

#[test]
fn a_request_for_a_large_block_moves_what_is_in_its_way() {
    let pool = quiet(64 << 20);
    let folios = checkerboard(&pool, 4);
    let free = free_pages(&pool);
    let taken = take_huge(&pool);
    let share = (taken.len() * PAGES_PER_HUGE) as f64 / free as f64;
    assert!(share > 0.9, "{} blocks of {free} free pages", taken.len());
    assert!(counter(&pool, "compact_success") > 0);
    assert!(counter(&pool, "pgmigrate_success") > 0);
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    drop(taken);
    pool.verify().unwrap();
}

#[test]
fn whoever_asks_has_everything_compacted() {
    let pool = quiet(32 << 20);
    let folios = checkerboard(&pool, 4);
    pool.compact(Duration::from_secs(10));
    let whole: u64 = pool.stats().nodes[0]
        .zones
        .iter()
        .map(|zone| zone.nr_free[9] + 2 * zone.nr_free[10])
        .sum();
    let ideal = free_pages(&pool) / PAGES_PER_HUGE;
    assert!(whole as usize + 1 >= ideal, "{whole} of {ideal}");
    assert_eq!(counter(&pool, "compact_stall"), 0, "nobody waited");
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}

#[test]
fn folios_of_every_size_are_moved_whole() {
    let pool = quiet(32 << 20);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut all = Vec::new();
    while let Ok(folio) = numbered(&pool, all.len() as u64, PAGE_SIZE << rng.usize(..5)) {
        all.push((all.len() as u64, folio));
    }
    all.retain(|_| rng.usize(..4) == 0);
    pool.compact(Duration::from_secs(10));
    assert!(counter(&pool, "pgmigrate_success") > 0);
    for (n, folio) in &all {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}

/// Nobody allocates or frees meanwhile: what each pageblock has lost and gained are moves.
#[test]
fn moves_count_in_the_pageblock_that_they_empty_and_in_the_one_that_they_fill() {
    for orders in [1, 4] {
        let pool = quiet(32 << 20);
        let mut rng = fastrand::Rng::with_seed(5);
        let mut all = Vec::new();
        while let Ok(folio) = numbered(&pool, 0, PAGE_SIZE << rng.usize(..orders)) {
            all.push(folio);
        }
        all.retain(|_| rng.usize(..4) == 0);
        let before = by_pageblock(&pool);
        assert!(before.iter().all(|[_, left, entered]| left + entered == 0));
        for _ in 0..2 {
            pool.compact(Duration::from_secs(10));
            let after = by_pageblock(&pool);
            for ([used, ..], [now, left, entered]) in before.iter().zip(&after) {
                assert_eq!(*now, used - left + entered, "{before:?}, {after:?}");
            }
            let pages: i64 = after.iter().map(|[_, left, _]| left).sum();
            let folios = counter(&pool, "pgmigrate_success") as i64;
            assert!(folios > 0 && pages >= folios);
            assert_eq!(pages == folios, orders == 1, "{pages} of {folios}");
            pool.verify().unwrap();
        }
    }
}

#[test]
fn what_is_pinned_stays_and_the_rest_goes_around_it() {
    let pool = quiet(32 << 20);
    let folios = checkerboard(&pool, 8);
    let pins: Vec<_> = folios
        .iter()
        .step_by(400)
        .map(|(_, folio)| folio.pin().unwrap())
        .collect();
    let places: Vec<_> = pins.iter().map(FolioPin::as_ptr).collect();
    pool.compact(Duration::from_secs(10));
    assert!(counter(&pool, "pgmigrate_success") > 0);
    let stayed: Vec<_> = pins.iter().map(FolioPin::as_ptr).collect();
    assert_eq!(places, stayed);
    drop(pins);
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A pool with daemons in which nothing is moved until the pins are gone.
#[test]
fn the_compactor_is_woken_by_the_last_unpin() {
    let pool = PagePool::builder().managed(16 << 20).build().unwrap();
    pool.tunables().set_compaction_proactiveness(0).unwrap();
    let folios = checkerboard(&pool, 4);
    let pins: Vec<_> = folios
        .iter()
        .map(|(_, folio)| folio.pin().unwrap())
        .collect();
    pool.tunables().set_compaction_proactiveness(90).unwrap();
    wait_for("it has tried", || {
        counter(&pool, "compact_daemon_migrate_scanned") > 0
    });
    let has_whole = || {
        let stats = pool.stats();
        let mut zones = stats.nodes[0].zones.iter();
        zones.any(|zone| zone.whole_free_pages >= PAGES_PER_HUGE)
    };
    assert_eq!(counter(&pool, "pgmigrate_success"), 0);
    assert!(!has_whole());
    drop(pins);
    wait_for("a pageblock is free", has_whole);
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}

#[test]
fn compaction_that_no_request_waits_for_is_no_pressure() {
    let pool = quiet(32 << 20);
    let folios = checkerboard(&pool, 4);
    let before = pool.pressure().some.total;
    pool.compact(Duration::from_secs(10));
    assert!(counter(&pool, "pgmigrate_success") > 0);
    assert_eq!(pool.pressure().some.total, before);
    drop(folios);
    pool.verify().unwrap();
}

/// What is free is kept in whole pageblocks, though nobody asks.
#[test]
fn free_memory_is_kept_in_shape() {
    let pool = PagePool::builder().managed(64 << 20).build().unwrap();
    let folios = checkerboard(&pool, 4);
    wait_for("most of what is free is whole", || {
        let stats = pool.stats();
        let zone = &stats.nodes[0].zones[0];
        zone.fragmentation_score <= 40 && zone.whole_free_pages > 0
    });
    assert_eq!(counter(&pool, "compact_stall"), 0, "nobody waited");
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}

/// At 0 nobody moves anything without being asked.
#[test]
fn proactiveness_0_leaves_it_to_those_who_ask() {
    let pool = PagePool::builder()
        .managed(32 << 20)
        .compaction_proactiveness(0)
        .build()
        .unwrap();
    let folios = checkerboard(&pool, 4);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(counter(&pool, "pgmigrate_success"), 0);
    assert!(pool.tunables().set_compaction_proactiveness(101).is_err());
    let error = PagePool::builder().compaction_proactiveness(200).build();
    assert!(error.unwrap_err().to_string().contains("0 to 100"));
    drop(folios);
}

#[test]
fn raw_blocks_stay_where_they_are() {
    let pool = quiet(16 << 20);
    let raw = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    let address = raw.as_ptr();
    let folios = checkerboard(&pool, 4);
    pool.compact(Duration::from_secs(10));
    assert_eq!(raw.as_ptr(), address);
    drop(folios);
    drop(raw);
    pool.verify().unwrap();
}

#[test]
fn hardened_pools_poison_what_a_folio_has_left() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .daemons(false)
        .hardened(true)
        .build()
        .unwrap();
    let folios = checkerboard(&pool, 4);
    pool.compact(Duration::from_secs(10));
    assert!(counter(&pool, "pgmigrate_success") > 0);
    // Every free block is looked at as it is handed out.
    let taken = take_huge(&pool);
    assert!(!taken.is_empty());
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
}

/// Readers, writers and droppers go on while everything is moved about, again and again.
#[test]
fn owners_go_on_while_their_folios_are_moved() {
    let pool = quiet(32 << 20);
    let mut folios = checkerboard(&pool, 4);
    let is_over = AtomicBool::new(false);
    let middle = folios.len() / 2;
    let (left, right) = folios.split_at_mut(middle);
    let versions = thread::scope(|scope| {
        let mover = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                pool.compact(Duration::from_secs(1));
                // Something to move again.
                let holes: Vec<_> = (0..64)
                    .filter_map(|_| {
                        pool.alloc_pages(Order::new(3).unwrap(), Gfp::USER_MOVABLE)
                            .ok()
                    })
                    .collect();
                drop(holes);
            }
        });
        let reader = scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(1);
            while !is_over.load(Ordering::Relaxed) {
                let (n, folio) = &left[rng.usize(..left.len())];
                let at = rng.usize(..PAGE_SIZE / 8);
                let mut word = [0; 8];
                folio.read_at(at * 8, &mut word).unwrap();
                assert_eq!(u64::from_ne_bytes(word), n << 20 | at as u64);
                if rng.usize(..8) == 0 {
                    assert_number(folio, *n);
                }
            }
        });
        let writer = scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(2);
            let mut versions = vec![0; right.len()];
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end {
                let at = rng.usize(..right.len());
                let (n, folio) = &mut right[at];
                if rng.usize(..16) == 0 {
                    // Another folio takes its place.
                    if let Ok(other) = numbered(&pool, *n, PAGE_SIZE) {
                        *folio = other;
                        versions[at] = 0;
                    }
                    continue;
                }
                let mut bytes = folio.write().unwrap();
                let last = &mut bytes[PAGE_SIZE - 4..];
                assert_eq!(
                    u32::from_ne_bytes(last.try_into().unwrap()) >> 8,
                    versions[at]
                );
                versions[at] += 1;
                last.copy_from_slice(&(versions[at] << 8).to_ne_bytes());
            }
            is_over.store(true, Ordering::Relaxed);
            versions
        });
        let versions = writer.join().unwrap();
        reader.join().unwrap();
        mover.join().unwrap();
        versions
    });
    for ((_, folio), version) in right.iter().zip(versions) {
        let bytes = folio.read().unwrap();
        let last = u32::from_ne_bytes(bytes[PAGE_SIZE - 4..].try_into().unwrap());
        assert_eq!(last >> 8, version, "a write is lost");
    }
    assert!(counter(&pool, "pgmigrate_success") > 0);
    pool.verify().unwrap();
}

#[test]
fn a_cold_folio_is_moved_like_any_other() {
    let pool = quiet(16 << 20);
    let folios = checkerboard(&pool, 4);
    for (_, folio) in &folios {
        folio.advise(Advice::Cold).unwrap();
    }
    pool.compact(Duration::from_secs(10));
    for (n, folio) in &folios {
        assert_number(folio, *n);
    }
    pool.verify().unwrap();
}
