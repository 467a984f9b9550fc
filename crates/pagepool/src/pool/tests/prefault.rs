//! Memory that is asked for ahead of its first use.

#![forbid(unsafe_code)]

use std::io;
use std::thread;

use super::*;
use crate::arena::HugePages;
use crate::buddy::IdleBlock;
use crate::error::{BuildError, PrefaultError};
use crate::pool::prefault::{PrefaultEnd, Prefaulted};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::sync::clock;
use crate::zone::Zone;

const MIB: usize = 1 << 20;

/// Long enough for all that is done here.
const PATIENCE: Duration = Duration::from_secs(30);

fn pool_of(bytes: usize) -> PagePool {
    PagePool::builder().managed(bytes).build().unwrap()
}

#[track_caller]
fn assert_prefaults(pool: &PagePool, asked: usize, expected: usize, end: PrefaultEnd) {
    let cost = pool.prefault(asked, PATIENCE).unwrap();
    assert_eq!((cost.bytes, cost.end), (expected, end), "{cost}");
    pool.verify().unwrap();
}

/// Pages of a node's arena that take memory.
fn resident_pages(pool: &PagePool, node: usize) -> usize {
    let arena = pool.inner.nodes.iter().nth(node).unwrap().arena();
    arena.resident_pages(0, arena.pages()).unwrap()
}

fn blank_bytes(pool: &PagePool, node: usize) -> usize {
    let stats = pool.stats();
    let zones = stats.nodes[node].zones.iter();
    zones.map(|zone| zone.blank_free_pages).sum::<usize>() * PAGE_SIZE
}

#[test]
#[cfg_attr(pagepool_asan, ignore = "on the heap every page is resident")]
fn prefault_makes_as_much_resident_as_is_asked_for() {
    let pool = pool_of(64 * MIB);
    assert_eq!(resident_pages(&pool, 0), 0);
    assert_prefaults(&pool, 16 * MIB, 16 * MIB, PrefaultEnd::Done);
    assert_eq!(resident_pages(&pool, 0) * PAGE_SIZE, 16 * MIB);
    assert_prefaults(&pool, MIB, 2 * MIB, PrefaultEnd::Done);
    assert_eq!(
        resident_pages(&pool, 0) * PAGE_SIZE,
        18 * MIB,
        "a pageblock"
    );
}

#[test]
fn prefault_of_everything_ends_with_nothing_left() {
    let pool = pool_of(64 * MIB);
    assert_prefaults(&pool, usize::MAX, 64 * MIB, PrefaultEnd::NothingLeft);
    assert_eq!(blank_bytes(&pool, 0), 64 * MIB);
    assert_prefaults(&pool, 64 * MIB, 0, PrefaultEnd::NothingLeft);
}

#[test]
fn prefault_reaches_all_zones_and_nodes_alike() {
    let pool = PagePool::builder()
        .managed(128 * MIB)
        .nodes(2)
        .movable_share(50)
        .build()
        .unwrap();
    assert_prefaults(&pool, 48 * MIB, 48 * MIB, PrefaultEnd::Done);
    assert_eq!(
        [blank_bytes(&pool, 0), blank_bytes(&pool, 1)],
        [24 * MIB; 2]
    );
    let blank = |zone: ZoneType| -> usize {
        let zones = pool.inner.nodes.zones();
        let of_type = zones.filter(|one| one.zone_type() == zone);
        of_type.map(|zone| zone.free_areas().blank).sum()
    };
    assert_eq!(blank(ZoneType::Movable), 0, "the Normal zones come first");
    assert_prefaults(&pool, usize::MAX, 80 * MIB, PrefaultEnd::NothingLeft);
    let all = blank(ZoneType::Movable) + blank(ZoneType::Normal);
    assert_eq!(all * PAGE_SIZE, 128 * MIB);
    assert!(blank(ZoneType::Movable) > 0);
}

#[test]
fn prefaulted_memory_reads_as_zeros_without_being_cleared() {
    let pool = pool_of(64 * MIB);
    pool.prefault(8 * MIB, PATIENCE).unwrap();
    let zone = &pool.inner.nodes.iter().next().unwrap().zones()[ZoneType::Normal.idx()];
    let block = pool.alloc_pages(order(10), Gfp::KERNEL).unwrap();
    assert!(block.iter().all(|byte| *byte == 0));
    assert_eq!(
        zone.free_areas().blank * PAGE_SIZE,
        4 * MIB,
        "it was taken first"
    );
    drop(block);
    assert_eq!(
        zone.free_areas().blank * PAGE_SIZE,
        4 * MIB,
        "and is used now"
    );
}

#[test]
fn prefaulted_memory_stays_beyond_the_threshold_until_it_is_used() {
    let builder = PagePool::builder().managed(64 * MIB);
    let pool = builder
        .trim_threshold(4 * MIB)
        .prefault(32 * MIB)
        .build()
        .unwrap();
    let stats = pool.stats();
    assert_eq!(
        stats.vmstat.get("pagepool_prefaulted"),
        Some((32 * MIB / PAGE_SIZE) as u64)
    );
    let blocks: Vec<_> = (0..4)
        .map(|_| pool.alloc_pages(order(10), Gfp::KERNEL).unwrap())
        .collect();
    drop(blocks);
    pool.drain();
    assert_eq!(
        blank_bytes(&pool, 0),
        16 * MIB,
        "nothing of it was given back"
    );
    let kept = pool.stats().nodes[0]
        .zones
        .iter()
        .map(|zone| zone.resident_free_pages)
        .sum::<usize>();
    assert!(kept * PAGE_SIZE <= 20 * MIB, "{kept} pages");
    assert_eq!(pool.trim(), kept * PAGE_SIZE, "also what nobody has used");
    assert_eq!(blank_bytes(&pool, 0), 0);
    pool.verify().unwrap();
}

#[test]
fn prefault_refuses_more_than_there_is() {
    let pool = pool_of(64 * MIB);
    let error = pool.prefault(65 * MIB, PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot prefault 68157440 bytes of a pool that hands out 67108864; ask for no more than that, or for \
         `usize::MAX`, which means everything"
    );
    let error = PagePool::builder()
        .managed(64 * MIB)
        .prefault(65 * MIB)
        .build()
        .unwrap_err();
    assert!(
        matches!(error, BuildError::Prefault(PrefaultError::TooMuch { .. })),
        "{error:?}"
    );
}

#[test]
fn prefault_does_nothing_when_its_time_is_over() {
    let pool = pool_of(64 * MIB);
    let cost = pool.prefault(16 * MIB, Duration::ZERO).unwrap();
    assert_eq!((cost.bytes, cost.end), (0, PrefaultEnd::TimeOver));
}

/// The steps of `prefault`, with a system that a test plays.
fn prefault_by(
    pool: &PagePool,
    bytes: usize,
    nth: impl Fn(usize) -> io::Result<()>,
) -> Result<Prefaulted, PrefaultError> {
    let calls = AtomicUsize::new(0);
    let deadline = clock::deadline_after(PATIENCE);
    let populate = |_: &Arena, _: &IdleBlock| nth(calls.fetch_add(1, Relaxed)).map(|()| 0);
    pool.inner.prefault(bytes, deadline, &populate)
}

#[test]
fn prefault_says_how_far_it_came_when_the_system_has_no_more() {
    let pool = pool_of(64 * MIB);
    let error = prefault_by(&pool, 32 * MIB, |call| match call {
        0..3 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::ENOMEM)),
    });
    let error = error.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the system gave memory for 12582912 bytes"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(
        pool.stats().free_pages * PAGE_SIZE,
        64 * MIB,
        "the block came back"
    );
    assert_eq!(
        blank_bytes(&pool, 0),
        16 * MIB,
        "some of the last one may have memory"
    );
    pool.verify().unwrap();
}

fn event(pool: &PagePool, name: &str) -> u64 {
    pool.stats().vmstat.get(name).unwrap()
}

fn hugely(choice: HugePages) -> PagePool {
    let builder = PagePool::builder().managed(64 * MIB);
    builder.huge_pages(choice).build().unwrap()
}

/// Whether this host makes huge pages of what was just asked for: then all of it is.
#[track_caller]
fn assert_all_or_none_huge(pool: &PagePool, bytes: usize) -> bool {
    let [backed, refused] =
        ["pagepool_huge_backed", "pagepool_huge_refused"].map(|name| event(pool, name));
    let is_heap = cfg!(pagepool_asan);
    assert!(is_heap || backed + refused > 0, "it was asked for");
    let pages = (bytes / PAGE_SIZE) as u64;
    assert!(
        backed == pages || refused > 0 || is_heap,
        "{backed} of {pages}"
    );
    backed == pages
}

#[test]
fn prefault_makes_huge_pages_where_the_pool_wants_them() {
    for choice in [HugePages::WhenWhole, HugePages::Always] {
        let pool = hugely(choice);
        let cost = pool.prefault(16 * MIB, PATIENCE).unwrap();
        assert_eq!((cost.bytes, cost.end), (16 * MIB, PrefaultEnd::Done));
        if assert_all_or_none_huge(&pool, 16 * MIB) {
            assert_eq!(cost.huge_bytes, 16 * MIB);
        }
        let block = pool.alloc_pages(order(9), Gfp::KERNEL).unwrap();
        assert!(block.iter().all(|byte| *byte == 0));
        pool.verify().unwrap();
    }
    for choice in [HugePages::AsHost, HugePages::Never] {
        let pool = hugely(choice);
        let cost = pool.prefault(4 * MIB, PATIENCE).unwrap();
        assert_eq!((cost.bytes, cost.huge_bytes), (4 * MIB, 0));
        assert_eq!(event(&pool, "pagepool_huge_refused"), 0, "nothing is asked");
    }
}

#[test]
#[cfg_attr(pagepool_asan, ignore = "on the heap every page is resident")]
fn a_whole_block_without_memory_is_huge_when_it_is_handed_out() {
    let pool = hugely(HugePages::WhenWhole);
    let page = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    assert_eq!(resident_pages(&pool, 0), 1, "what is small stays small");
    let mut block = pool.alloc_pages(order(10), Gfp::KERNEL).unwrap();
    if assert_all_or_none_huge(&pool, 4 * MIB) {
        assert_eq!(resident_pages(&pool, 0), 1025);
    }
    assert!(block.iter().all(|byte| *byte == 0));
    block.fill(1);
    drop((page, block));
    let backed = event(&pool, "pagepool_huge_backed");
    let again = pool.alloc_pages(order(10), Gfp::KERNEL).unwrap();
    assert!(again.iter().all(|byte| *byte == 0));
    assert_eq!(
        event(&pool, "pagepool_huge_backed"),
        backed,
        "it has memory"
    );
    drop(again);
    pool.verify().unwrap();
}

/// A block of 2 MiB was put into the cache of its CPU before it was handed out, which forgot that it had no memory.
#[test]
#[cfg_attr(pagepool_asan, ignore = "on the heap every page is resident")]
fn each_block_of_a_pageblock_is_huge_however_it_is_handed_out() {
    let pool = hugely(HugePages::WhenWhole);
    let blocks: Vec<_> = (0..16)
        .map(|_| pool.alloc_pages(order(9), Gfp::KERNEL).unwrap())
        .collect();
    assert_all_or_none_huge(&pool, 32 * MIB);
    drop(blocks);
    pool.verify().unwrap();
}

#[test]
#[cfg_attr(pagepool_asan, ignore = "on the heap every page is resident")]
fn a_folio_of_a_whole_block_is_huge_as_well() {
    let builder = PagePool::builder().managed(64 * MIB).movable_share(50);
    let pool = builder.huge_pages(HugePages::WhenWhole).build().unwrap();
    let mut folio = pool.alloc_folio(2 * MIB, Gfp::USER_MOVABLE).unwrap();
    assert!(folio.write().unwrap().iter().all(|byte| *byte == 0));
    assert_all_or_none_huge(&pool, 2 * MIB);
    drop(folio);
    pool.verify().unwrap();
}

#[test]
fn what_compaction_has_emptied_is_made_huge() {
    let builder = PagePool::builder()
        .managed(64 * MIB)
        .movable_share(50)
        .daemons(false);
    let pool = builder.huge_pages(HugePages::WhenWhole).build().unwrap();
    let make = || {
        let mut folio = pool
            .alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::NORETRY)
            .ok()?;
        folio.write().unwrap().fill(7);
        Some(folio)
    };
    let folios: Vec<_> = std::iter::from_fn(make).take(8192).collect();
    let kept: Vec<_> = { folios.into_iter().enumerate() }
        .filter_map(|(n, folio)| n.is_multiple_of(8).then_some(folio))
        .collect();
    assert_eq!(event(&pool, "pagepool_huge_backed"), 0);
    pool.compact(PATIENCE);
    assert!(event(&pool, "compact_success") + event(&pool, "pgmigrate_success") > 0);
    let [backed, refused] =
        ["pagepool_huge_backed", "pagepool_huge_refused"].map(|name| event(&pool, name));
    assert!(
        cfg!(pagepool_asan) || backed + refused > 0,
        "it was asked for"
    );
    for folio in &kept {
        assert!(folio.read().unwrap().iter().all(|byte| *byte == 7));
    }
    pool.verify().unwrap();
}

#[test]
fn prefault_ends_once_memory_is_short() {
    let pool = pool_of(64 * MIB);
    let held: Vec<_> = (0..31)
        .map(|_| pool.alloc_pages(order(9), Gfp::KERNEL).unwrap())
        .collect();
    assert_prefaults(&pool, usize::MAX, 0, PrefaultEnd::Short);
    drop(held);
}

/// A block is missing while it gets its memory: who waits for memory meanwhile is woken, and served first.
#[test]
fn prefault_wakes_who_waits_for_memory_and_ends() {
    let pool = pool_of(64 * MIB);
    let (nodes, freed) = (&pool.inner.nodes, pool.inner.nodes.freed());
    // What a sleeper waits for must not come true before he is looked for.
    let is_back = || !nodes.zones().any(Zone::has_withdrawn);
    thread::scope(|scope| {
        let cost = prefault_by(&pool, usize::MAX, |call| {
            assert_eq!(call, 0, "it ends after the first block");
            scope.spawn(|| freed.wait_until(None, is_back));
            while !freed.sleeper_hint() {
                thread::yield_now();
            }
            Ok(())
        });
        let cost = cost.unwrap();
        assert_eq!((cost.bytes, cost.end), (4 * MIB, PrefaultEnd::Short));
    });
    pool.verify().unwrap();
}

/// Blocks come and go while memory is asked for ahead: nothing is lost, and no request fails for it.
#[test]
fn prefault_disturbs_no_request() {
    let pool = pool_of(32 * MIB);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                pool.prefault(usize::MAX, PATIENCE).unwrap();
                pool.trim();
            }
        });
        for round in 0..200 {
            let mut block = pool.alloc_pages(order(round % 10), Gfp::KERNEL).unwrap();
            assert!(block.iter().all(|byte| *byte == 0));
            block.fill(1);
        }
        done.store(true, Relaxed);
    });
    pool.verify().unwrap();
    assert_eq!(pool.stats().free_pages * PAGE_SIZE, 32 * MIB);
}
