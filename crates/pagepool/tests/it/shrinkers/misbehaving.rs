//! Shrinkers that free nothing, block, panic, allocate, or wait for who waits for them: it costs others little.

use super::*;

#[test]
fn one_that_frees_nothing_is_left_alone_for_a_while() {
    for mood in [Mood::Idle, Mood::Deaf] {
        let pool = pool(false);
        let cache = Cache::new(mood);
        let _handle = pool
            .register_shrinker(options("stingy"), cache.clone())
            .unwrap();
        let gfp = Gfp::KERNEL | Gfp::NORETRY;
        assert_eq!(cache.fill(&pool, gfp, PAGES), Err(AllocError::BelowMin));
        let is_quarantined = || {
            let state = stats(&pool, "stingy").state;
            matches!(state, ShrinkerState::Quarantined { .. })
        };
        eventually("nobody asks it any more", || {
            let _refused = pool.alloc_pages(Order::ZERO, gfp);
            is_quarantined()
        });
        let calls = stats(&pool, "stingy").calls;
        assert!(pool.alloc_pages(Order::ZERO, gfp).is_err());
        assert_eq!(stats(&pool, "stingy").calls, calls);
        pool.verify().unwrap();

        cache.set(Mood::Willing);
        eventually("it is asked again", || {
            pool.alloc_pages(Order::ZERO, gfp).is_ok()
        });
        let stats = stats(&pool, "stingy");
        assert_eq!((stats.state, stats.failures), (ShrinkerState::Ready, 0));
    }
}

#[test]
fn one_that_stops_is_asked_again_for_what_it_put_off() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Stops);
    let _handle = pool
        .register_shrinker(options("busy"), cache.clone())
        .unwrap();
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    assert_eq!(cache.fill(&pool, gfp, PAGES), Err(AllocError::BelowMin));
    let stats = || stats(&pool, "busy");
    assert!(stats().deferred > 0 && stats().scanned == 0);
    assert_eq!((stats().state, stats().failures), (ShrinkerState::Ready, 0));
    pool.verify().unwrap();
    cache.set(Mood::Willing);
    cache.fill(&pool, gfp, 1).unwrap();
    pool.verify().unwrap();
}

#[test]
fn one_that_blocks_is_left_behind_and_costs_others_little() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap();
    let (stuck, other) = (Cache::new(Mood::Blocks), Cache::new(Mood::Willing));
    let short = |name| options(name).deadline(Duration::from_millis(30));
    let _handles = [
        pool.register_shrinker(short("stuck").batch(8), stuck.clone())
            .unwrap(),
        pool.register_shrinker(short("other"), other.clone())
            .unwrap(),
    ];
    stuck.fill(&pool, Gfp::KERNEL, PAGES / 4).unwrap();
    other.fill(&pool, Gfp::KERNEL, 3 * PAGES).unwrap();
    let blocked = stats(&pool, "stuck");
    assert_eq!((blocked.state, blocked.timeouts), (ShrinkerState::Busy, 1));
    assert_eq!(blocked.pages_freed, 0);
    assert_eq!(stuck.most_inside.load(SeqCst), 1, "it is in one call");

    // Once it has returned, it counts again.
    stuck.set(Mood::Willing);
    eventually("it returns", || {
        stats(&pool, "stuck").state == ShrinkerState::Ready
    });
    assert!(pool.drop_slab(Duration::from_secs(10)) > 0);
    assert!(stats(&pool, "stuck").pages_freed > 0);
    eventually("all is accounted for", || pool.verify().is_ok());
}

#[test]
fn one_that_panics_is_caught_and_counted() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Panics);
    // To print a backtrace may take longer than anybody waits.
    let patient = options("panics").deadline(Duration::from_secs(10));
    let _handle = pool.register_shrinker(patient, cache.clone()).unwrap();
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    assert_eq!(cache.fill(&pool, gfp, PAGES), Err(AllocError::BelowMin));
    eventually("it is left alone after the third time", || {
        let _refused = pool.alloc_pages(Order::ZERO, gfp);
        let failed = stats(&pool, "panics");
        let is_quarantined = matches!(failed.state, ShrinkerState::Quarantined { .. });
        is_quarantined && (failed.panics, failed.failures, failed.timeouts) == (3, 3, 0)
    });
    pool.verify().unwrap();
    cache.set(Mood::Willing);
    eventually("it is asked again", || cache.fill(&pool, gfp, 1).is_ok());
    pool.verify().unwrap();
}

#[test]
fn a_shrinker_cannot_allocate_from_its_pool_but_from_others() {
    /// Asks two pools for memory.
    struct Greedy {
        own: Mutex<Option<PagePool>>,
        other: PagePool,
        answers: Mutex<Vec<[Result<(), AllocError>; 2]>>,
        bytes_dropped: AtomicUsize,
    }
    impl Shrinker for Greedy {
        fn count(&self, _: &ShrinkControl) -> Freeable {
            Freeable::Count(1000)
        }
        fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
            let own = self.own.lock().unwrap();
            let own = own.as_ref().unwrap();
            let answers =
                [own, &self.other].map(|pool| pool.alloc_pages(Order::ZERO, Gfp::KERNEL).map(drop));
            self.answers.lock().unwrap().push(answers);
            let bytes = own.drop_slab(Duration::from_secs(60));
            self.bytes_dropped.fetch_add(bytes, SeqCst);
            Ok(Scanned {
                freed: 0,
                scanned: nr,
            })
        }
    }
    let (own, other) = (pool(true), pool(true));
    let greedy = Arc::new(Greedy {
        own: Mutex::new(Some(own.clone())),
        other,
        answers: Mutex::default(),
        bytes_dropped: AtomicUsize::new(0),
    });
    let handle = own
        .register_shrinker(options("greedy"), greedy.clone())
        .unwrap();
    own.drop_slab(Duration::from_secs(10));
    let answers = greedy.answers.lock().unwrap().clone();
    assert!(!answers.is_empty());
    assert!(
        answers
            .iter()
            .all(|answers| *answers == [Err(AllocError::Reentrant), Ok(())])
    );
    assert_eq!(greedy.bytes_dropped.load(SeqCst), 0);
    // What it freed was another pool's, and so no help.
    assert_eq!(handle.stats().pages_freed, 0);
    greedy.own.lock().unwrap().take();
}

#[test]
fn what_a_callback_frees_counts_though_it_then_reclaims_from_another_pool() {
    /// Frees what it has, and then has another pool trim its caches.
    struct Chained {
        own: Arc<Cache>,
        other: PagePool,
        beyond: Arc<Cache>,
    }
    impl Shrinker for Chained {
        fn count(&self, ctl: &ShrinkControl) -> Freeable {
            self.own.count(ctl)
        }
        fn scan(&self, ctl: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
            let scanned = self.own.scan(ctl, nr)?;
            self.beyond.fill(&self.other, Gfp::KERNEL, nr).unwrap();
            Ok(scanned)
        }
    }
    let (pool, other) = (pool(false), pool(false));
    let (own, beyond) = (Cache::new(Mood::Willing), Cache::new(Mood::Willing));
    let patient = |name| options(name).deadline(Duration::from_secs(5));
    let _beyond = other
        .register_shrinker(patient("beyond"), beyond.clone())
        .unwrap();
    beyond.fill(&other, Gfp::KERNEL, PAGES).unwrap();
    let before = vmstat(&other, "allocstall_normal");
    let chained = Chained {
        own: own.clone(),
        other: other.clone(),
        beyond: beyond.clone(),
    };
    let handle = pool
        .register_shrinker(patient("chained"), Arc::new(chained))
        .unwrap();
    own.fill(&pool, Gfp::KERNEL, 500).unwrap();
    let bytes = pool.drop_slab(Duration::from_secs(20));
    assert!(vmstat(&other, "allocstall_normal") > before);
    assert_eq!(bytes, (500 - own.len()) * PAGE_SIZE);
    assert_eq!(handle.stats().pages_freed as usize, 500 - own.len());
    assert!(own.len() <= 10);
}

#[test]
fn what_holds_the_lock_of_a_shrinker_waits_for_it_in_vain_and_not_for_long() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Willing);
    let options = options("locked").deadline(Duration::from_millis(20));
    let _handle = pool.register_shrinker(options, cache.clone()).unwrap();
    cache
        .fill(&pool, Gfp::KERNEL, PAGES * 9 / 10)
        .expect("nobody is in its way");
    let start = Instant::now();
    let locked = cache.blocks.lock().unwrap();
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let held: Vec<_> = std::iter::from_fn(|| pool.alloc_pages(Order::ZERO, gfp).ok()).collect();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!held.is_empty());
    drop(locked);
    assert_eq!(stats(&pool, "locked").timeouts, 1);
    eventually("it gives way again", || {
        pool.alloc_pages(Order::ZERO, gfp).is_ok()
    });
}
