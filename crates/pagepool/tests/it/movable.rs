//! Memory whose owners have a say in its moves: stores that keep an address, and blocks that are objects of
//! their owners'.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pagepool::{
    Backing, BackingError, Folio, Gfp, Immovable, MovableBlock, MovableOwner, MoveOutcome, Order,
    PAGE_SIZE, PagePool, Relocation, WriteOut,
};

use crate::locks::{Condvar, Mutex};
use crate::{assert_all_back, assert_filled, eventually, fill, order, vmstat};

/// What an owner does when it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Willing,
    Refuses,
    Panics,
    Blocks,
}

/// A mood that can be changed, and how often somebody has acted on it.
#[derive(Debug)]
struct Answers {
    mood: Mutex<Mood>,
    changed: Condvar,
    asked: AtomicUsize,
}

impl Answers {
    fn new(mood: Mood) -> Answers {
        Answers {
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            asked: AtomicUsize::new(0),
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// Answers; whether it consents.
    fn answer(&self) -> bool {
        self.asked.fetch_add(1, SeqCst);
        let mut mood = self.mood.lock().unwrap();
        while *mood == Mood::Blocks {
            mood = self.changed.wait(mood).unwrap();
        }
        let mood = {
            let now = *mood;
            drop(mood);
            now
        };
        assert_ne!(mood, Mood::Panics, "told to");
        mood == Mood::Willing
    }
}

/// A pool in which nobody moves anything unless somebody asks.
fn quiet(bytes: usize) -> PagePool {
    let builder = PagePool::builder().managed(bytes).max_stores(1);
    builder.daemons(false).build().unwrap()
}

#[track_caller]
fn assert_intact(folios: &[(u64, Folio)]) {
    for (n, folio) in folios {
        assert_filled(&folio.read().unwrap(), *n);
    }
}

/// Folios with what they are filled with.
type Numbered = Vec<(u64, Folio)>;

fn huge() -> Order {
    order(9)
}

/// A store to which it matters where its folios are.
struct Registrar(Arc<Answers>);

impl Backing for Registrar {
    fn read_in(&self, _page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        bytes.fill(0);
        Ok(())
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        Ok(WriteOut::Held)
    }

    fn asks_to_migrate(&self) -> bool {
        true
    }

    fn migrate(&self, _page: u64) -> Result<(), BackingError> {
        match self.0.answer() {
            true => Ok(()),
            false => Err(BackingError::Full),
        }
    }
}

/// Fills the pool with folios, keeps every fourth of them, and has something among them, in each pageblock or
/// so.
fn scatter<T>(pool: &PagePool, mut some: impl FnMut(u64) -> T) -> (Vec<T>, Numbered) {
    let (mut scattered, mut others) = (Vec::new(), Vec::new());
    for n in 0.. {
        let Ok(mut folio) = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::NORETRY) else {
            break;
        };
        fill(&mut folio.write().unwrap(), n);
        others.push((n, folio));
        if n % 600 == 300 {
            scattered.push(some(n));
        }
    }
    let mut rng = fastrand::Rng::with_seed(5);
    others.retain(|_| rng.usize(..4) == 0);
    (scattered, others)
}

/// Folios of a store of this mood, in the midst of others.
fn backed(mood: Mood) -> (PagePool, Arc<Answers>, Numbered, Numbered) {
    let pool = quiet(16 << 20);
    let answers = Arc::new(Answers::new(mood));
    let mapping = pool.map_backing(Registrar(Arc::clone(&answers))).unwrap();
    let (stored, others) = scatter(&pool, |n| {
        let mut folio = mapping.folio(n, Order::ZERO).unwrap();
        fill(&mut folio.write().unwrap(), n);
        (n, folio)
    });
    (pool, answers, stored, others)
}

fn addresses(folios: &[(u64, Folio)]) -> Vec<usize> {
    let address = |(_, folio): &(u64, Folio)| folio.read().unwrap().as_ptr().addr();
    folios.iter().map(address).collect()
}

#[test]
fn a_store_that_wants_to_be_asked_is_asked_and_its_dirty_folios_are_moved() {
    let (pool, answers, stored, others) = backed(Mood::Willing);
    let before = addresses(&stored);
    pool.compact(Duration::from_secs(10));
    assert!(answers.asked() > 0);
    assert_ne!(addresses(&stored), before);
    assert!(stored.iter().all(|(_, folio)| folio.is_dirty()));
    assert_intact(&stored);
    assert_intact(&others);
    pool.verify().unwrap();
}

#[test]
fn what_a_store_does_not_consent_to_stays_where_it_is() {
    for mood in [Mood::Refuses, Mood::Panics, Mood::Blocks] {
        let (pool, answers, stored, others) = backed(mood);
        let before = addresses(&stored);
        let start = Instant::now();
        pool.compact(Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(5), "{mood:?}");
        assert!(answers.asked() > 0, "{mood:?}");
        assert_eq!(addresses(&stored), before, "{mood:?}");
        assert!(vmstat(&pool, "pgmigrate_fail") > 0, "{mood:?}");
        assert!(vmstat(&pool, "pgmigrate_success") > 0, "{mood:?}: others");
        assert_intact(&stored);
        assert_intact(&others);
        pool.verify().unwrap();

        answers.set(Mood::Willing);
        eventually("it is asked again", || {
            pool.compact(Duration::from_secs(10));
            addresses(&stored) != before
        });
        assert_intact(&stored);
        drop((stored, others));
        assert_all_back(&pool);
    }
}

#[test]
fn who_waits_for_a_large_block_asks_nobody() {
    let (pool, answers, stored, others) = backed(Mood::Willing);
    let before = addresses(&stored);
    let block = pool.alloc_pages(huge(), Gfp::USER_MOVABLE);
    assert_eq!(answers.asked(), 0);
    assert_eq!(addresses(&stored), before);
    assert_intact(&others);
    drop(block);
    pool.verify().unwrap();
}

/// Which call an owner's mood shows in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Isolate,
    Migrate,
    PutBack,
}

/// An owner of blocks whose first word is their own address, and the rest a pattern.
#[derive(Debug)]
struct Herd {
    answers: Answers,
    at: Step,
    isolated: AtomicUsize,
    moved: AtomicUsize,
    stayed: AtomicUsize,
}

impl Herd {
    fn new(mood: Mood, at: Step) -> Arc<Herd> {
        Arc::new(Herd {
            answers: Answers::new(mood),
            at,
            isolated: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            stayed: AtomicUsize::new(0),
        })
    }

    fn answers_at(&self, step: Step) -> bool {
        self.at != step || self.answers.answer()
    }

    /// A block of this owner's, filled.
    fn block(self: &Arc<Herd>, pool: &PagePool, order: Order, n: u64) -> MovableBlock {
        let owner: Arc<dyn MovableOwner> = Arc::clone(self) as _;
        let mut block = pool.alloc_movable(order, Gfp::KERNEL, owner, n).unwrap();
        let mut bytes = block.write().unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        fill(&mut bytes, n);
        let own = bytes.as_ptr().addr();
        bytes[..8].copy_from_slice(&own.to_ne_bytes());
        drop(bytes);
        block
    }
}

impl MovableOwner for Herd {
    fn isolate(&self, _key: u64) -> bool {
        let consents = self.answers_at(Step::Isolate);
        self.isolated.fetch_add(usize::from(consents), SeqCst);
        consents
    }

    fn migrate(&self, key: u64, relocation: &mut Relocation<'_>) -> Result<(), Immovable> {
        let (from, to) = (relocation.from_addr(), relocation.to_addr());
        let bytes = relocation.bytes();
        let own = usize::from_ne_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(own, from, "block {key}");
        bytes[..8].copy_from_slice(&to.to_ne_bytes());
        match self.answers_at(Step::Migrate) {
            true => Ok(()),
            false => Err(Immovable),
        }
    }

    fn put_back(&self, _key: u64, outcome: MoveOutcome) {
        match outcome {
            MoveOutcome::Moved => self.moved.fetch_add(1, SeqCst),
            MoveOutcome::Stayed => self.stayed.fetch_add(1, SeqCst),
        };
        self.answers_at(Step::PutBack);
    }
}

/// Blocks of an owner, in the midst of folios.
fn blocks_among_folios(pool: &PagePool, herd: &Arc<Herd>) -> (Vec<MovableBlock>, Numbered) {
    scatter(pool, |n| herd.block(pool, order((n / 600 % 3) as u8), n))
}

fn places(blocks: &[MovableBlock]) -> Vec<usize> {
    let place = |block: &MovableBlock| block.read().unwrap().as_ptr().addr();
    blocks.iter().map(place).collect()
}

#[track_caller]
fn assert_blocks_intact(blocks: &[MovableBlock]) {
    for block in blocks {
        let bytes = block.read().unwrap();
        let mut expected = vec![0; block.len()];
        fill(&mut expected, block.key());
        expected[..8].copy_from_slice(&bytes.as_ptr().addr().to_ne_bytes());
        assert!(*bytes == expected[..], "block {}", block.key());
    }
}

#[test]
fn an_owner_moves_its_blocks() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Willing, Step::Migrate);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    assert_eq!(pool.stats().movable_blocks, blocks.len());
    let before = places(&blocks);
    pool.compact(Duration::from_secs(10));
    assert!(herd.moved.load(SeqCst) > 0);
    let after = places(&blocks);
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(moved > 0);
    let zone = &pool.stats().nodes[0].zones[0];
    let pages: u64 = zone.pageblock_moved_out.iter().sum();
    let all = vmstat(&pool, "pgmigrate_success");
    assert!(
        pages > all,
        "{pages} pages in {all}, of theirs and of others"
    );
    assert_eq!(
        herd.moved.load(SeqCst) + herd.stayed.load(SeqCst),
        herd.isolated.load(SeqCst)
    );
    assert_blocks_intact(&blocks);
    assert_intact(&others);
    pool.verify().unwrap();
    drop((blocks, others));
    assert_eq!(Arc::strong_count(&herd), 1);
    assert_all_back(&pool);
}

#[test]
fn hardened_pools_poison_what_a_block_has_left() {
    let builder = PagePool::builder().managed(16 << 20).daemons(false);
    let pool = builder.hardened(true).build().unwrap();
    let herd = Herd::new(Mood::Willing, Step::Migrate);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    pool.compact(Duration::from_secs(10));
    assert!(herd.moved.load(SeqCst) > 0);
    // Every free block is looked at as it is handed out.
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let taken: Vec<_> = std::iter::from_fn(|| pool.alloc_pages(Order::ZERO, gfp).ok()).collect();
    assert!(!taken.is_empty());
    assert_blocks_intact(&blocks);
    assert_intact(&others);
}

#[test]
fn a_block_whose_owner_does_not_move_it_stays_where_it_was_and_intact() {
    for at in [Step::Isolate, Step::Migrate] {
        for mood in [Mood::Refuses, Mood::Panics, Mood::Blocks] {
            let pool = quiet(16 << 20);
            let herd = Herd::new(mood, at);
            let (mut blocks, others) = blocks_among_folios(&pool, &herd);
            let before = places(&blocks);
            let start = Instant::now();
            pool.compact(Duration::from_secs(10));
            assert!(start.elapsed() < Duration::from_secs(5), "{mood:?}");
            assert!(herd.answers.asked() > 0, "{at:?} {mood:?}");
            assert_eq!(places(&blocks), before, "{at:?} {mood:?}");
            assert_blocks_intact(&blocks);
            assert!(vmstat(&pool, "pgmigrate_fail") > 0, "{at:?} {mood:?}");
            assert!(vmstat(&pool, "pgmigrate_success") > 0, "others");
            assert_intact(&others);
            pool.verify().unwrap();
            if mood == Mood::Blocks {
                assert_eq!(herd.answers.asked(), 1, "an owner is in one call at a time");
                // Whatever its owner is up to, a block can be used.
                for block in &mut blocks {
                    let first = block.write().unwrap()[0];
                    block.write().unwrap()[0] = first;
                }
            }

            herd.answers.set(Mood::Willing);
            eventually("it is called again", || {
                pool.compact(Duration::from_secs(10));
                places(&blocks) != before
            });
            assert_blocks_intact(&blocks);
            drop((blocks, others));
            eventually("nobody has a block in hand", || {
                Arc::strong_count(&herd) == 1
            });
            assert_eq!(
                herd.moved.load(SeqCst) + herd.stayed.load(SeqCst),
                herd.isolated.load(SeqCst)
            );
            assert_all_back(&pool);
        }
    }
}

#[test]
fn an_owner_that_panics_at_the_end_does_no_harm() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Panics, Step::PutBack);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    pool.compact(Duration::from_secs(10));
    assert!(herd.answers.asked() > 0);
    assert_blocks_intact(&blocks);
    assert_intact(&others);
    pool.verify().unwrap();
    drop((blocks, others));
    eventually("nobody has a block in hand", || {
        Arc::strong_count(&herd) == 1
    });
    assert_all_back(&pool);
}

#[test]
fn an_owner_that_blocks_is_in_nobody_elses_way() {
    let pool = quiet(16 << 20);
    let stuck = Herd::new(Mood::Blocks, Step::Migrate);
    let willing = Herd::new(Mood::Willing, Step::Migrate);
    let mut turn = 0;
    let (mut blocks, others) = scatter(&pool, |n| {
        turn += 1;
        let herd = [&stuck, &willing][turn % 2];
        herd.block(&pool, Order::ZERO, n)
    });
    eventually("the others have been moved", || {
        pool.compact(Duration::from_secs(10));
        willing.moved.load(SeqCst) > 0 && stuck.answers.asked() > 0
    });
    assert_eq!(stuck.moved.load(SeqCst), 0);
    assert_blocks_intact(&blocks);
    pool.verify().unwrap();
    // Dropped while one of them is in its owner's hands, who frees it when he returns.
    blocks.clear();
    drop(others);
    assert_eq!(pool.stats().movable_blocks, 1);
    pool.verify().unwrap();
    stuck.answers.set(Mood::Willing);
    eventually("it has been freed", || {
        pool.stats().movable_blocks == 0 && Arc::strong_count(&stuck) == 1
    });
    assert_all_back(&pool);
}

#[test]
fn a_page_that_something_is_moved_to_is_not_counted_as_free() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Blocks, Step::Migrate);
    let (blocks, others) = scatter(&pool, |n| herd.block(&pool, Order::ZERO, n));
    let held = blocks.len() + others.len();
    let neither_free_nor_held = || {
        pool.drain();
        let stats = pool.stats();
        stats.managed_pages - held - stats.free_pages
    };
    assert_eq!(neither_free_nor_held(), 0);
    pool.compact(Duration::from_secs(10));
    assert_eq!(herd.answers.asked(), 1, "it has a place to move to");
    assert_eq!(neither_free_nor_held(), 1);
    herd.answers.set(Mood::Willing);
    eventually("the move is over", || neither_free_nor_held() == 0);
    drop((blocks, others));
    assert_all_back(&pool);
}

#[test]
fn a_pool_lives_as_long_as_somebody_has_a_block_in_hand() {
    let herd = Herd::new(Mood::Blocks, Step::Migrate);
    let pool = quiet(16 << 20);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    // The thread that ends the pool is to wait for daemons as well.
    pool.start_daemons().unwrap();
    eventually("a block is in its owner's hands", || {
        pool.compact(Duration::from_secs(10));
        herd.answers.asked() == 1
    });
    drop((blocks, others, pool));
    // Others may be in a worker's hands for a moment, who finds that it is not their turn.
    eventually("the worker alone has a block", || {
        Arc::strong_count(&herd) == 2
    });
    herd.answers.set(Mood::Willing);
    eventually("it has ended", || Arc::strong_count(&herd) == 1);
    let outcomes = herd.moved.load(SeqCst) + herd.stayed.load(SeqCst);
    assert_eq!((outcomes, herd.isolated.load(SeqCst)), (1, 1));
}

#[test]
fn a_block_is_not_even_isolated_while_somebody_holds_it() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Willing, Step::Migrate);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    let guards: Vec<_> = blocks.iter().map(|block| block.read().unwrap()).collect();
    let before: Vec<_> = guards.iter().map(|bytes| bytes.as_ptr()).collect();
    pool.compact(Duration::from_secs(10));
    assert_eq!(herd.isolated.load(SeqCst), 0);
    let after: Vec<_> = guards.iter().map(|bytes| bytes.as_ptr()).collect();
    assert_eq!(before, after);
    drop(guards);
    assert_blocks_intact(&blocks);
    assert_intact(&others);
    pool.verify().unwrap();
}

#[test]
fn who_waits_for_a_large_block_calls_no_owner_and_kcompactd_does() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Willing, Step::Migrate);
    let (blocks, others) = blocks_among_folios(&pool, &herd);
    drop(pool.alloc_pages(huge(), Gfp::USER_MOVABLE | Gfp::NORETRY));
    assert_eq!(herd.isolated.load(SeqCst), 0);
    pool.start_daemons().unwrap();
    eventually("kcompactd moves blocks", || {
        let taken: Vec<_> = (0..4)
            .map_while(|_| pool.alloc_pages(huge(), Gfp::NOWAIT | Gfp::MOVABLE).ok())
            .collect();
        drop(taken);
        herd.moved.load(SeqCst) > 0
    });
    assert_blocks_intact(&blocks);
    assert_intact(&others);
    pool.verify().unwrap();
}

/// What the owner's threads write while their blocks are moved about is there afterwards.
#[test]
fn writers_and_moves_at_once_lose_nothing() {
    let pool = quiet(16 << 20);
    let herd = Herd::new(Mood::Willing, Step::Migrate);
    let (mut blocks, mut others) = blocks_among_folios(&pool, &herd);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(9);
            while !is_over.load(SeqCst) {
                pool.compact(Duration::from_secs(1));
                // Something to move again.
                for _ in 0..32 {
                    let at = rng.usize(..others.len());
                    let n = others[at].0;
                    if let Ok(mut folio) = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) {
                        fill(&mut folio.write().unwrap(), n);
                        others[at].1 = folio;
                    }
                }
            }
        });
        let end = Instant::now() + Duration::from_secs(2);
        let mut counts = vec![0_u64; blocks.len()];
        while Instant::now() < end {
            for (block, count) in blocks.iter_mut().zip(&mut counts) {
                let mut bytes = block.write().unwrap();
                let own = usize::from_ne_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(own, bytes.as_ptr().addr());
                let last = bytes.last_chunk_mut::<8>().unwrap();
                if *count > 0 {
                    assert_eq!(u64::from_ne_bytes(*last), *count, "a write is lost");
                }
                *count += 1;
                *last = count.to_ne_bytes();
            }
        }
        is_over.store(true, SeqCst);
    });
    pool.verify().unwrap();
    drop((blocks, others));
    assert_all_back(&pool);
}
