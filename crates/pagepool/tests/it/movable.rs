//! Memory whose owners have a say in its moves: stores that keep an address, and blocks that are objects of
//! their owners'.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use pagepool::{Backing, BackingError, Folio, Gfp, Order, PAGE_SIZE, PagePool, WriteOut};

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

/// Folios of a store of this mood, in the midst of others; and what is left of those.
fn backed(mood: Mood) -> (PagePool, Arc<Answers>, Numbered, Numbered) {
    let pool = quiet(16 << 20);
    let answers = Arc::new(Answers::new(mood));
    let mapping = pool.map_backing(Registrar(Arc::clone(&answers))).unwrap();
    let mut stored = Vec::new();
    let mut others = Vec::new();
    loop {
        let n = others.len() as u64;
        let Ok(mut folio) = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE | Gfp::NORETRY) else {
            break;
        };
        fill(&mut folio.write().unwrap(), n);
        others.push((n, folio));
        // One in each pageblock, or so, and most of the last ones without.
        if n % 600 == 300 {
            let mut folio = mapping.folio(n, Order::ZERO).unwrap();
            fill(&mut folio.write().unwrap(), n);
            stored.push((n, folio));
        }
    }
    let mut rng = fastrand::Rng::with_seed(5);
    others.retain(|_| rng.usize(..4) == 0);
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
