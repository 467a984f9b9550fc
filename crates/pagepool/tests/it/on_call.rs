//! Daemons that have no thread until something is asked of them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{DaemonState, Folio, Gfp, Order, PAGE_SIZE, PagePool, SwapFile};

use crate::processes::{alone, names};
use crate::{assert_all_back, assert_filled, eventually, filled_folios, vmstat};

const PATIENCE: Duration = Duration::from_secs(30);

fn pool() -> PagePool {
    PagePool::builder()
        .managed(8 << 20)
        .swap(SwapFile::temporary(32 << 20).unwrap())
        .deadline(PATIENCE)
        .build()
        .unwrap()
}

fn kswapd(pool: &PagePool) -> DaemonState {
    pool.stats().nodes[0].kswapd
}

#[test]
fn a_pool_has_no_thread_before_memory_runs_short() {
    alone(
        "on_call::a_pool_has_no_thread_before_memory_runs_short",
        || {
            let pool = pool();
            let all = || [names("kswapd"), names("kcompactd")].concat();
            for gfp in [Gfp::KERNEL, Gfp::NOWAIT, Gfp::ATOMIC] {
                drop(pool.alloc_pages(Order::ZERO, gfp).unwrap());
            }
            let folios = filled_folios(&pool, 64, PAGE_SIZE);
            pool.verify().unwrap();
            assert!(all().is_empty(), "{:?}", all());
            assert_eq!(kswapd(&pool), DaemonState::OnCall);
            let text = pool.state().to_string();
            assert!(
                text.contains("kswapd0: on call; request word: empty"),
                "{text}"
            );

            let more = filled_folios(&pool, 3072, PAGE_SIZE);
            assert_eq!(kswapd(&pool), DaemonState::Running);
            eventually("it is called by its name", || {
                names("kswapd") == ["kswapd0"]
            });
            eventually("it works", || vmstat(&pool, "pgsteal_kswapd") > 0);
            for (n, folio) in more.iter().enumerate() {
                assert_filled(&folio.read().unwrap(), n as u64);
            }
            drop((folios, more));
            assert_all_back(&pool);
            drop(pool);
            assert!(
                all().is_empty(),
                "its end waits for its threads: {:?}",
                all()
            );
        },
    );
}

/// Who may not block starts no thread, and would be refused for ever if nobody else did: the one that is refused
/// has it started.
#[test]
fn a_pool_of_which_nobody_may_wait_gets_its_kswapd_by_the_first_refusal() {
    let pool = pool();
    let hasty = Gfp::USER_MOVABLE - Gfp::DIRECT_RECLAIM;
    let mut folios: Vec<Folio> = vec![];
    let give_up = Instant::now() + PATIENCE;
    let mut was_refused = false;
    while folios.len() < 3072 {
        match pool.alloc_folio(PAGE_SIZE, hasty) {
            Ok(mut folio) => {
                if !was_refused {
                    assert_eq!(
                        kswapd(&pool),
                        DaemonState::OnCall,
                        "who may not block starts none"
                    );
                }
                folio.write().unwrap().fill(1);
                folios.push(folio);
            }
            Err(_) => {
                was_refused = true;
                assert_eq!(kswapd(&pool), DaemonState::Running);
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(Instant::now() < give_up, "nobody reclaims");
    }
    assert!(was_refused && vmstat(&pool, "pgsteal_kswapd") >= 1024);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn while_daemons_stand_still_none_is_started_and_after_that_what_was_asked_is_served() {
    alone(
        "on_call::while_daemons_stand_still_none_is_started_and_after_that_what_was_asked_is_served",
        || {
            let pool = pool();
            pool.freeze(PATIENCE).unwrap();
            let folios = filled_folios(&pool, 3072, PAGE_SIZE);
            // A check does not thaw what somebody else has frozen.
            pool.verify().unwrap();
            assert!(names("kswapd").is_empty() && names("kcompactd").is_empty());
            assert_eq!(kswapd(&pool), DaemonState::OnCall);
            assert!(vmstat(&pool, "pgsteal_direct") >= 1024);
            assert!(!pool.state().nodes[0].kswapd.asked.is_empty());
            pool.thaw();
            assert_eq!(kswapd(&pool), DaemonState::Running);
            eventually("what was asked meanwhile is served", || {
                vmstat(&pool, "pageoutrun") > 0
            });
            drop(folios);
            assert_all_back(&pool);
        },
    );
}

#[test]
fn memory_that_falls_to_pieces_has_kcompactd_started_though_nobody_asks() {
    let pool = PagePool::builder()
        .managed(64 << 20)
        .movable_share(100)
        .build()
        .unwrap();
    let kcompactd = || pool.stats().nodes[0].kcompactd;
    let take = |_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
    let mut folios: Vec<Folio> = (0..12 << 10).map(take).collect();
    assert_eq!(kcompactd(), DaemonState::OnCall);
    let mut n = 0;
    folios.retain(|_| {
        n += 1;
        n % 4 == 0
    });
    eventually("it is started", || kcompactd() == DaemonState::Running);
    eventually("it moves folios together", || {
        vmstat(&pool, "compact_daemon_migrate_scanned") > 0
    });
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn a_stopped_node_is_not_started_by_who_asks() {
    let pool = pool();
    let node = pool.stats().nodes[0].id;
    pool.offline_node(node);
    assert_eq!(kswapd(&pool), DaemonState::Stopped);
    let folios = filled_folios(&pool, 3072, PAGE_SIZE);
    assert_eq!(kswapd(&pool), DaemonState::Stopped);
    pool.online_node(node).unwrap();
    assert_eq!(kswapd(&pool), DaemonState::Running);
    drop(folios);
    assert_all_back(&pool);
}

/// Ends that race with a first request.
#[test]
fn a_pool_may_end_at_any_moment_of_a_first_start() {
    for round in 0..40 {
        let pool = PagePool::builder().managed(4 << 20).build().unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                let pool = pool.clone();
                scope.spawn(move || {
                    let flags = Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN;
                    let blocks: Vec<_> = (0..1024)
                        .map_while(|_| pool.alloc_pages(Order::ZERO, flags).ok())
                        .collect();
                    drop(pool);
                    drop(blocks);
                });
            }
            if round % 2 == 0 {
                pool.freeze(PATIENCE).unwrap();
                pool.thaw();
            }
            drop(pool);
        });
    }
}

/// Has the system map no more memory for this process than it has, and a little, until the result is dropped: a
/// thread's stack is more than that. (A limit of threads would not hold for root.)
struct NoRoomForStacks(libc::rlimit);

fn limit_memory(limit: &libc::rlimit) {
    // SAFETY: the limit is read, and is there.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

impl NoRoomForStacks {
    fn new() -> NoRoomForStacks {
        let mut before = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the limit is written, and is there.
        let got = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut before) };
        assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        limit_memory(&libc::rlimit {
            rlim_cur: pages * 4096 + (1 << 20),
            rlim_max: before.rlim_max,
        });
        NoRoomForStacks(before)
    }
}

impl Drop for NoRoomForStacks {
    fn drop(&mut self) {
        limit_memory(&self.0);
    }
}

/// Folios that nobody has written to are dropped by who reclaims, without a store and its workers.
fn blank_folios(pool: &PagePool, count: usize) -> Vec<Folio> {
    let take = |_| pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
    (0..count).map(take).collect()
}

#[test]
fn where_no_thread_can_be_had_requests_reclaim_and_a_later_one_tries_again() {
    alone(
        "on_call::where_no_thread_can_be_had_requests_reclaim_and_a_later_one_tries_again",
        || {
            let pool = pool();
            let mut folios = Vec::with_capacity(6144);
            {
                let _no_room = NoRoomForStacks::new();
                folios.extend(blank_folios(&pool, 3072));
                assert_eq!(kswapd(&pool), DaemonState::Failed);
                assert!(names("kswapd").is_empty());
                let report = pool.state().nodes.remove(0).kswapd;
                assert!(report.start_failures >= 1);
                let why = report.start_error.clone().unwrap();
                assert!(why.contains("os error 11"), "{why}");
                assert!(vmstat(&pool, "pgsteal_direct") >= 1024, "requests reclaim");
                // Whoever wants it to be there is told why it cannot.
                let error = pool.start_daemons().unwrap_err();
                assert!(
                    error.to_string().contains("cannot start kcompactd0"),
                    "{error}"
                );
            }
            let give_up = Instant::now() + PATIENCE;
            while kswapd(&pool) != DaemonState::Running {
                assert!(Instant::now() < give_up, "it is not tried again");
                folios.truncate(2560);
                folios.extend(blank_folios(&pool, 512));
            }
            assert_eq!(pool.state().nodes[0].kswapd.start_error, None);
            drop(folios);
            assert_all_back(&pool);
        },
    );
}
