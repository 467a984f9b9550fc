//! Users' caches under pressure: they give way before anybody is refused, and one that misbehaves costs
//! others little.

mod misbehaving;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{
    AllocError, Backing, BackingError, Folio, Freeable, Gfp, Group, GroupId, GroupLimits, NodeId,
    NodeMask, Order, PAGE_SIZE, PagePool, Pages, Scanned, ShrinkControl, Shrinker, ShrinkerError,
    ShrinkerHandle, ShrinkerOptions, ShrinkerState, ShrinkerStats, Stop, WriteOut,
};

use crate::locks::{Condvar, Mutex};
use crate::processes::{alone, names};
use crate::{StopOnDrop, eventually, vmstat};

/// What a cache does when it is to free something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Willing,
    /// Looks at everything, and frees nothing.
    Idle,
    /// Does not even look.
    Deaf,
    /// Cannot just now.
    Stops,
    Blocks,
    Panics,
}

/// Blocks that can be had again; the oldest is the next to go.
struct Cache {
    blocks: Mutex<Vec<Pages>>,
    mood: Mutex<Mood>,
    changed: Condvar,
    asked: AtomicUsize,
    /// Scans from which nobody has returned.
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl Cache {
    fn new(mood: Mood) -> Arc<Cache> {
        Arc::new(Cache {
            blocks: Mutex::default(),
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            asked: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn len(&self) -> usize {
        self.blocks.lock().unwrap().len()
    }

    /// Allocates pages into the cache until one is refused, `most` at most.
    fn fill(&self, pool: &PagePool, gfp: Gfp, most: usize) -> Result<(), AllocError> {
        for _ in 0..most {
            let page = pool.alloc_pages(Order::ZERO, gfp | Gfp::RECLAIMABLE)?;
            self.blocks.lock().unwrap().push(page);
        }
        Ok(())
    }

    fn free(&self, nr: usize) -> Result<Scanned, Stop> {
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
        let freed = match mood {
            Mood::Deaf => return Ok(Scanned::default()),
            Mood::Stops => return Err(Stop),
            Mood::Willing => {
                let mut blocks = self.blocks.lock().unwrap();
                let nr = nr.min(blocks.len());
                blocks.drain(..nr).count()
            }
            Mood::Idle | Mood::Blocks | Mood::Panics => 0,
        };
        Ok(Scanned { freed, scanned: nr })
    }
}

impl Shrinker for Cache {
    fn count(&self, _: &ShrinkControl) -> Freeable {
        match self.len() {
            0 => Freeable::Empty,
            blocks => Freeable::Count(blocks),
        }
    }

    fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        self.asked.fetch_add(1, SeqCst);
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most_inside.fetch_max(inside, SeqCst);
        let scanned = self.free(nr);
        self.inside.fetch_sub(1, SeqCst);
        scanned
    }
}

/// 8 MiB of raw pages, of which nothing comes back but by shrinkers.
fn pool(daemons: bool) -> PagePool {
    let builder = PagePool::builder().managed(8 << 20).daemons(daemons);
    builder.deadline(Duration::from_secs(10)).build().unwrap()
}

const PAGES: usize = (8 << 20) / PAGE_SIZE;

fn options(name: &str) -> ShrinkerOptions {
    ShrinkerOptions::new(name)
}

fn stats(pool: &PagePool, name: &str) -> ShrinkerStats {
    let all = pool.stats().shrinkers;
    let found = all.into_iter().find(|stats| stats.name == name);
    found.unwrap_or_else(|| panic!("no shrinker {name}"))
}

// ---- what they are for ----

#[test]
fn kswapd_trims_a_cache_before_a_request_fails() {
    let pool = pool(true);
    let cache = Cache::new(Mood::Willing);
    let _handle = pool
        .register_shrinker(options("pages"), cache.clone())
        .unwrap();
    for _ in 0..30 {
        // Without FS a thread calls no shrinker itself.
        cache.fill(&pool, Gfp::NOFS, PAGES / 10).unwrap();
        let failures = pool.stats().nodes[0].kswapd_failures;
        assert!(failures < 16, "shrinkers free memory, so there is hope");
    }
    eventually("it rests, and all is accounted for", || {
        let stats = stats(&pool, "pages");
        let missing = (30 * (PAGES / 10) - cache.len()) as u64;
        stats.state == ShrinkerState::Ready
            && stats.freed == missing
            && stats.pages_freed == missing
            && vmstat(&pool, "slabs_scanned") == stats.scanned
    });
    assert!(vmstat(&pool, "pageoutrun") > 0);
    assert_eq!(vmstat(&pool, "pgsteal_kswapd"), 0, "no folio is there");
    pool.verify().unwrap();
}

#[test]
fn a_thread_has_caches_trimmed_if_it_may_wait_for_locks() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Willing);
    let _handle = pool
        .register_shrinker(options("pages"), cache.clone())
        .unwrap();
    cache.fill(&pool, Gfp::KERNEL, 3 * PAGES).unwrap();
    assert!(stats(&pool, "pages").pages_freed as usize >= 2 * PAGES);
    assert!(vmstat(&pool, "allocstall_normal") > 0);
    pool.verify().unwrap();

    let before = stats(&pool, "pages").calls;
    let refused = cache.fill(&pool, Gfp::NOFS | Gfp::NORETRY, PAGES);
    assert_eq!(refused, Err(AllocError::BelowMin));
    assert_eq!(stats(&pool, "pages").calls, before);
}

#[test]
fn a_shrinker_is_not_trimmed_by_more_than_is_needed() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Willing);
    let _handle = pool
        .register_shrinker(options("pages"), cache.clone())
        .unwrap();
    let mut least = PAGES;
    cache.fill(&pool, Gfp::KERNEL, PAGES * 9 / 10).unwrap();
    for _ in 0..PAGES {
        cache.fill(&pool, Gfp::KERNEL, 1).unwrap();
        least = least.min(cache.len());
    }
    assert!(least > PAGES / 2, "{least} of {PAGES} pages were left");
}

#[test]
fn pressure_is_in_inverse_proportion_to_seeks() {
    /// Has always as much.
    struct Endless;
    impl Shrinker for Endless {
        fn count(&self, _: &ShrinkControl) -> Freeable {
            Freeable::Count(1 << 14)
        }
        fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
            let scanned = Scanned {
                freed: nr,
                scanned: nr,
            };
            Ok(scanned)
        }
    }
    // A busy machine may keep a callback from returning in time, or from being asked: then this says nothing.
    let round = || {
        let pool = pool(false);
        let handles = [1, 2, 8].map(|seeks| {
            let patient = options(&format!("{seeks}")).deadline(Duration::from_secs(10));
            let options = patient.seeks(seeks);
            pool.register_shrinker(options, Arc::new(Endless)).unwrap()
        });
        let held = Cache::new(Mood::Idle);
        let refused = held.fill(&pool, Gfp::KERNEL | Gfp::NORETRY, PAGES);
        assert_eq!(refused, Err(AllocError::BelowMin));
        pool.verify().unwrap();
        let stats = handles.map(|handle| handle.stats());
        let is_in_time = |one: &ShrinkerStats| one.timeouts == 0 && one.calls == stats[0].calls;
        let is_undisturbed = stats.iter().all(is_in_time);
        is_undisturbed.then(|| stats.map(|stats| stats.scanned + stats.deferred))
    };
    let asked = (0..20).find_map(|_| round());
    let asked = asked.expect("of twenty rounds one was not disturbed");
    assert!(asked[2] > 0);
    let [cheap, usual, dear] = asked.map(|asked| asked as f64);
    assert!((3.9..=4.2).contains(&(usual / dear)), "{asked:?}");
    assert!((1.9..=2.1).contains(&(cheap / usual)), "{asked:?}");
}

#[test]
fn a_node_that_is_short_is_named_to_those_who_know_nodes() {
    /// Notes what it is asked for.
    #[derive(Default)]
    struct Noting(Mutex<Vec<ShrinkControl>>);
    impl Shrinker for Noting {
        fn count(&self, ctl: &ShrinkControl) -> Freeable {
            self.0.lock().unwrap().push(*ctl);
            Freeable::Unknown
        }
        fn scan(&self, _: &ShrinkControl, _: usize) -> Result<Scanned, Stop> {
            Err(Stop)
        }
    }
    let pool = PagePool::builder()
        .managed(8 << 20)
        .nodes(2)
        .daemons(false)
        .build()
        .unwrap();
    let (aware, unaware) = (Arc::new(Noting::default()), Arc::new(Noting::default()));
    let by_node = options("by node").numa_aware(true).group_aware(true);
    let _handles = [
        pool.register_shrinker(by_node, aware.clone()).unwrap(),
        pool.register_shrinker(options("all"), unaware.clone())
            .unwrap(),
    ];
    let second = NodeId::new(1).unwrap();
    let on_second = || {
        let gfp = Gfp::KERNEL | Gfp::NORETRY;
        pool.request(Order::ZERO, gfp)
            .nodes(NodeMask::only(second))
            .alloc()
            .ok()
    };
    let held: Vec<_> = std::iter::from_fn(on_second).collect();
    let asked = aware.0.lock().unwrap();
    assert!(!asked.is_empty() && !held.is_empty());
    assert!(asked.iter().all(|ctl| ctl.node == second));
    assert!(asked.iter().all(|ctl| ctl.group == Some(GroupId::ROOT)));
    let priorities: Vec<_> = asked.iter().map(|ctl| ctl.priority).collect();
    assert!(priorities.contains(&12) && priorities.contains(&0));
    let asked = unaware.0.lock().unwrap();
    assert!(!asked.is_empty());
    let first = |ctl: &ShrinkControl| ctl.node == NodeId::default() && ctl.group.is_none();
    assert!(asked.iter().all(first));
}

#[test]
fn one_that_knows_groups_is_asked_only_where_it_has_noted_something() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Willing);
    let options = options("noted").group_aware(true);
    let handle = pool.register_shrinker(options, cache.clone()).unwrap();
    let drop_slab = || pool.drop_slab(Duration::from_secs(10));
    // It may have had something before it was registered.
    assert_eq!(drop_slab(), 0);
    assert_eq!(handle.stats().calls, 1);
    cache.fill(&pool, Gfp::KERNEL, 20).unwrap();
    assert_eq!(drop_slab(), 0, "nobody knows of them");
    assert_eq!(handle.stats().calls, 1);
    handle.note_object(GroupId::ROOT, NodeId::default());
    assert_eq!(drop_slab(), 20 * PAGE_SIZE);
    assert!(handle.stats().calls > 1);
}

#[test]
fn a_group_at_its_limit_has_its_own_objects_freed_and_no_others() {
    /// Blocks by group.
    #[derive(Default)]
    struct Caches(Mutex<Vec<(GroupId, Pages)>>);
    impl Caches {
        fn len_of(&self, group: GroupId) -> usize {
            let blocks = self.0.lock().unwrap();
            blocks.iter().filter(|(owner, _)| *owner == group).count()
        }
    }
    impl Shrinker for Caches {
        fn count(&self, ctl: &ShrinkControl) -> Freeable {
            match self.len_of(ctl.group.unwrap()) {
                0 => Freeable::Empty,
                nr => Freeable::Count(nr),
            }
        }
        fn scan(&self, ctl: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
            let mut blocks = self.0.lock().unwrap();
            let mut freed = 0;
            blocks.retain(|(owner, _)| {
                let goes = Some(*owner) == ctl.group && freed < nr;
                freed += usize::from(goes);
                !goes
            });
            Ok(Scanned { freed, scanned: nr })
        }
    }
    let pool = PagePool::builder().memory(32 << 20).build().unwrap();
    let limits = GroupLimits::new().max(1 << 20);
    let tenants = ["first", "second"].map(|name| pool.create_group(name, limits).unwrap());
    let caches = Arc::new(Caches::default());
    let options = options("by group").group_aware(true);
    let handle = pool.register_shrinker(options, caches.clone()).unwrap();
    let add = |tenant: &Group, nr: usize| {
        for _ in 0..nr {
            let page = tenant.alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::RECLAIMABLE);
            caches.0.lock().unwrap().push((tenant.id(), page.unwrap()));
            handle.note_object(tenant.id(), NodeId::default());
        }
    };
    let [first, second] = &tenants;
    add(second, 200);
    add(first, 1000);
    assert_eq!(caches.len_of(second.id()), 200);
    assert!(caches.len_of(first.id()) <= 256);
    assert_eq!(first.stats().refusals, 0);
    drop(handle);
    caches.0.lock().unwrap().clear();
    pool.verify().unwrap();
}

#[test]
fn folios_of_mappings_that_go_with_objects_are_counted_apart() {
    struct Zeros;
    impl Backing for Zeros {
        fn read_in(&self, _: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
            bytes.fill(0);
            Ok(())
        }
        fn write_out(&self, _: u64, _: &[u8]) -> Result<WriteOut, BackingError> {
            Ok(WriteOut::Written)
        }
    }
    /// Keeps them in memory, but for when it is asked.
    struct Inodes(Mutex<Vec<Folio>>);
    impl Shrinker for Inodes {
        fn count(&self, _: &ShrinkControl) -> Freeable {
            Freeable::Count(self.0.lock().unwrap().len())
        }
        fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
            let mut folios = self.0.lock().unwrap();
            let kept = folios.len().saturating_sub(nr);
            let freed = folios.drain(kept..).count();
            Ok(Scanned { freed, scanned: nr })
        }
    }
    let pool = PagePool::builder()
        .managed(8 << 20)
        .max_stores(1)
        .daemons(false)
        .build()
        .unwrap();
    let mapping = pool.map_backing(Zeros).unwrap();
    let folios = (0..200).map(|page| {
        let folio = mapping.folio(page, Order::ZERO).unwrap();
        drop(folio.read().unwrap());
        folio.lock().unwrap();
        folio
    });
    let inodes = Arc::new(Inodes(Mutex::new(folios.collect())));
    let _handle = pool
        .register_shrinker(options("inodes"), inodes.clone())
        .unwrap();
    let held = Cache::new(Mood::Idle);
    held.fill(&pool, Gfp::KERNEL, PAGES - 150).unwrap();
    let gone = 200 - inodes.0.lock().unwrap().len() as u64;
    assert!(gone > 0);
    assert_eq!(vmstat(&pool, "pginodesteal"), gone);
    assert_eq!(vmstat(&pool, "kswapd_inodesteal"), 0);
    assert_eq!(stats(&pool, "inodes").pages_freed, gone);
    pool.verify().unwrap();
}

#[test]
fn everything_that_caches_can_do_without_is_freed_on_request() {
    let pool = pool(true);
    let caches = ["one", "two"].map(|name| {
        let cache = Cache::new(Mood::Willing);
        let handle = pool
            .register_shrinker(options(name), cache.clone())
            .unwrap();
        cache.fill(&pool, Gfp::KERNEL, 500).unwrap();
        (cache, handle)
    });
    let bytes = pool.drop_slab(Duration::from_secs(10));
    let left: usize = caches.iter().map(|(cache, _)| cache.len()).sum();
    assert_eq!(bytes, (1000 - left) * PAGE_SIZE);
    assert!(left <= 10, "{left} are hardly any");
    assert_eq!(vmstat(&pool, "drop_slab"), 1);

    // It ends in time, whatever shrinkers do.
    caches[0].0.fill(&pool, Gfp::KERNEL, 500).unwrap();
    caches[0].0.set(Mood::Blocks);
    let start = Instant::now();
    pool.drop_slab(Duration::from_millis(20));
    assert!(start.elapsed() < Duration::from_secs(5));
    caches[0].0.set(Mood::Willing);
}

#[test]
fn without_cache_pressure_nothing_is_asked_for() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Willing);
    let _handle = pool
        .register_shrinker(options("pages"), cache.clone())
        .unwrap();
    assert_eq!(pool.tunables().vfs_cache_pressure(), 100);
    pool.tunables().set_vfs_cache_pressure(0).unwrap();
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    assert_eq!(cache.fill(&pool, gfp, PAGES), Err(AllocError::BelowMin));
    assert_eq!(pool.drop_slab(Duration::from_secs(1)), 0);
    assert_eq!(stats(&pool, "pages").scanned, 0);
    pool.tunables().set_vfs_cache_pressure(1000).unwrap();
    cache.fill(&pool, gfp, PAGES).unwrap();
    pool.verify().unwrap();
}

// ---- coming and going ----

#[test]
fn a_shrinker_that_does_not_return_keeps_its_place_and_nobody_waiting() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .max_shrinkers(1)
        .build()
        .unwrap();
    let cache = Cache::new(Mood::Blocks);
    let short = options("stuck").deadline(Duration::from_millis(30));
    let handle = pool.register_shrinker(short, cache.clone()).unwrap();
    cache.fill(&pool, Gfp::KERNEL, 1000).unwrap();
    pool.drop_slab(Duration::from_secs(1));
    let start = Instant::now();
    drop(handle);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(stats(&pool, "stuck").state, ShrinkerState::Leaving);
    let again = || pool.register_shrinker(options("next"), Cache::new(Mood::Willing));
    assert!(matches!(
        again(),
        Err(ShrinkerError::TooMany { limit: 1, .. })
    ));
    assert!(Arc::strong_count(&cache) > 1, "its thread keeps it alive");

    cache.set(Mood::Willing);
    eventually("its place is free", || again().is_ok());
    assert_eq!(Arc::strong_count(&cache), 1);
    pool.verify().unwrap();
}

#[test]
fn dropping_the_handle_waits_for_a_call_that_does_return() {
    let pool = pool(false);
    let cache = Cache::new(Mood::Blocks);
    let patient = options("slow").deadline(Duration::from_secs(10));
    let handle = pool.register_shrinker(patient, cache.clone()).unwrap();
    cache.fill(&pool, Gfp::KERNEL, 1000).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| pool.drop_slab(Duration::from_secs(10)));
        eventually("it is in a call", || cache.inside.load(SeqCst) == 1);
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            cache.set(Mood::Willing);
        });
        drop(handle);
        assert_eq!(cache.inside.load(SeqCst), 0);
        assert!(pool.stats().shrinkers.is_empty());
    });
    let asked = cache.asked.load(SeqCst);
    pool.drop_slab(Duration::from_secs(1));
    assert_eq!(cache.asked.load(SeqCst), asked, "it is called no more");
}

#[test]
fn shrinkers_come_and_go_while_memory_is_short() {
    let pool = pool(true);
    let steady = Cache::new(Mood::Willing);
    let _handle = pool
        .register_shrinker(options("steady"), steady.clone())
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    steady.fill(&pool, Gfp::KERNEL, 50).unwrap();
                }
            });
        }
        for n in 0..100 {
            let passing = Cache::new(Mood::Willing);
            let name = format!("passing {n}");
            let options = ShrinkerOptions::new(name).group_aware(n % 2 == 0);
            let handle = pool.register_shrinker(options, passing.clone()).unwrap();
            passing.fill(&pool, Gfp::KERNEL, 100).unwrap();
            handle.note_object(GroupId::ROOT, NodeId::default());
            drop(handle);
            assert_eq!(Arc::strong_count(&passing), 1, "nobody has it any more");
        }
    });
    assert_eq!(pool.stats().shrinkers.len(), 1);
    eventually("all is accounted for", || pool.verify().is_ok());
}

#[test]
fn a_cache_may_end_in_its_own_call() {
    /// A cache that is kept alive by its users alone.
    struct Own {
        blocks: Mutex<Vec<Pages>>,
        handle: OnceLock<ShrinkerHandle>,
    }
    /// What is registered of it.
    struct Behind {
        cache: Mutex<Weak<Own>>,
        held: Mutex<Option<Arc<Own>>>,
    }
    impl Shrinker for Behind {
        fn count(&self, _: &ShrinkControl) -> Freeable {
            let cache = self.cache.lock().unwrap().upgrade();
            cache.map_or(Freeable::Empty, |cache| {
                Freeable::Count(cache.blocks.lock().unwrap().len())
            })
        }
        fn scan(&self, _: &ShrinkControl, _: usize) -> Result<Scanned, Stop> {
            // The last of its users lets go of it meanwhile: it ends here, with the handle and the pages.
            self.held.lock().unwrap().take();
            Err(Stop)
        }
    }
    let pool = pool(false);
    let cache = Arc::new(Own {
        blocks: Mutex::default(),
        handle: OnceLock::new(),
    });
    let behind = Arc::new(Behind {
        cache: Mutex::new(Arc::downgrade(&cache)),
        held: Mutex::default(),
    });
    let handle = pool
        .register_shrinker(options("own"), behind.clone())
        .unwrap();
    cache.handle.set(handle).unwrap();
    for _ in 0..500 {
        let page = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
        cache.blocks.lock().unwrap().push(page);
    }
    *behind.held.lock().unwrap() = Some(cache);
    let start = Instant::now();
    let bytes = pool.drop_slab(Duration::from_secs(20));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(bytes, 500 * PAGE_SIZE);
    eventually("it is out of service", || pool.stats().shrinkers.is_empty());
    assert_eq!(Arc::strong_count(&behind), 1);
}

#[test]
fn workers_start_when_they_are_needed_and_end_with_handle_or_pool() {
    alone(
        "shrinkers::workers_start_when_they_are_needed_and_end_with_handle_or_pool",
        || {
            let pool = pool(true);
            let caches = [(); 2].map(|()| Cache::new(Mood::Willing));
            let [first, second] = &caches;
            let register = |name, cache: &Arc<Cache>| {
                pool.register_shrinker(options(name), cache.clone())
                    .unwrap()
            };
            let (one, two) = (register("one", first), register("two", second));
            assert_eq!(names("pool-shrink"), [""; 0]);
            pool.drop_slab(Duration::from_secs(10));
            assert_eq!(names("pool-shrink"), ["pool-shrink/0", "pool-shrink/1"]);
            drop(one);
            eventually("one ends", || names("pool-shrink") == ["pool-shrink/1"]);
            drop(pool);
            eventually("both end", || names("pool-shrink").is_empty());
            assert_eq!(two.name(), "two");
            drop(two);
            assert_eq!(Arc::strong_count(second), 1);
        },
    );
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let pool = pool(false);
    let refusal = |options| {
        let refused = pool.register_shrinker(options, Cache::new(Mood::Willing));
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refusal(options("")),
        "name =  is out of range: accepted is 1 to 64 bytes"
    );
    assert_eq!(
        refusal(options("x").deadline(Duration::ZERO)),
        "deadline = 0ns is out of range: accepted is more than 0, up to 10s"
    );
    let none = PagePool::builder().max_shrinkers(0).build().unwrap();
    let refused = none.register_shrinker(options("x"), Cache::new(Mood::Willing));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the pool has 0 shrinkers already: build it with a larger `max_shrinkers` (accepted is 0 to 64), or \
         drop a handle"
    );
    let error = PagePool::builder().max_shrinkers(65).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_shrinkers = 65 is out of range: accepted is 0 to 64"
    );
}
