//! The threads of a pool: that they are there, rest, stand still and end; and what callbacks may do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{slice, thread};

use pagepool::{
    AccessError, AllocError, Backing, BackingError, DaemonStart, DaemonState, Fault, Faults,
    FaultyDevice, FlushError, Folio, Gfp, NodeId, Order, PAGE_SIZE, PagePool, SwapFile, WriteOut,
};

use crate::locks::Mutex;
use crate::processes::{alone, names, tasks};
use crate::{assert_all_back, assert_filled, eventually, evict, filled_folios, press, vmstat};

const PATIENCE: Duration = Duration::from_secs(10);

fn pool() -> PagePool {
    PagePool::builder()
        .managed(8 << 20)
        .swap(SwapFile::temporary(32 << 20).unwrap())
        .daemons(DaemonStart::AtOnce)
        .deadline(PATIENCE)
        .build()
        .unwrap()
}

fn kcompactd(pool: &PagePool) -> DaemonState {
    pool.stats().nodes[0].kcompactd
}

fn kswapd(pool: &PagePool) -> DaemonState {
    pool.stats().nodes[0].kswapd
}

/// Waits until kswapd sleeps and is not asked for anything.
fn settle() {
    eventually("kswapd rests", || {
        let sleeps = || tasks("kswapd0")[0].sleeps();
        let before = sleeps();
        thread::sleep(Duration::from_millis(300));
        sleeps() == before
    });
}

#[test]
fn a_node_has_a_thread_of_its_name_as_long_as_its_pool_lives() {
    alone(
        "daemons::a_node_has_a_thread_of_its_name_as_long_as_its_pool_lives",
        || {
            let both = || (names("kswapd"), names("kcompactd"));
            let is_nobody = || both() == (vec![], vec![]);
            let are_all = || {
                names("kswapd") == ["kswapd0", "kswapd1"]
                    && names("kcompactd") == ["kcompactd0", "kcompactd1"]
            };
            assert!(is_nobody());
            let pool = PagePool::builder().memory(16 << 20).nodes(2);
            let pool = pool.daemons(DaemonStart::AtOnce);
            let without = pool.clone().daemons(false).build().unwrap();
            thread::sleep(Duration::from_millis(50));
            assert!(is_nobody());
            assert_eq!(kswapd(&without), DaemonState::Absent);
            assert_eq!(kcompactd(&without), DaemonState::Absent);
            without.start_daemons().unwrap();
            eventually("they start later", are_all);
            drop(without);
            eventually("they ended", is_nobody);

            let pool = pool.build().unwrap();
            eventually("they start", are_all);
            let other = pool.clone();
            let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
            drop(pool);
            drop(other);
            assert!(are_all(), "a folio keeps its pool");
            drop(folio);
            eventually("they ended", is_nobody);
        },
    );
}

#[test]
fn daemons_start_and_stop_by_node_and_more_than_once() {
    alone(
        "daemons::daemons_start_and_stop_by_node_and_more_than_once",
        || {
            let pool = PagePool::builder()
                .memory(16 << 20)
                .nodes(2)
                .daemons(DaemonStart::AtOnce)
                .build()
                .unwrap();
            let node = |n| NodeId::new(n).unwrap();
            let state = |n: usize| pool.stats().nodes[n].kswapd;
            for _ in 0..2 {
                pool.offline_node(node(0));
                eventually("one ended", || names("kswapd") == ["kswapd1"]);
                assert_eq!(
                    (state(0), state(1)),
                    (DaemonState::Stopped, DaemonState::Running)
                );
            }
            for _ in 0..2 {
                pool.online_node(node(0)).unwrap();
                pool.start_daemons().unwrap();
                eventually("it runs", || names("kswapd") == ["kswapd0", "kswapd1"]);
                assert_eq!(state(0), DaemonState::Running);
            }
            // There is no such node.
            pool.online_node(node(7)).unwrap();
            pool.offline_node(node(7));
            assert_eq!(names("kswapd").len(), 2);
        },
    );
}

#[test]
fn an_idle_pool_wakes_nobody() {
    alone("daemons::an_idle_pool_wakes_nobody", || {
        let pool = pool();
        let folios = filled_folios(&pool, 2560, PAGE_SIZE);
        settle();
        let daemons = [&tasks("kswapd0")[0], &tasks("kcompactd0")[0]];
        let work = || daemons.map(|daemon| (daemon.sleeps(), daemon.ticks()));
        let before = work();
        thread::sleep(Duration::from_secs(2));
        assert_eq!(work(), before);
        drop(folios);
    });
}

#[test]
fn while_daemons_stand_still_requests_reclaim_for_themselves() {
    let pool = pool();
    pool.freeze(PATIENCE).unwrap();
    assert_eq!(kswapd(&pool), DaemonState::Frozen);
    assert_eq!(kcompactd(&pool), DaemonState::Frozen);
    let runs = vmstat(&pool, "pageoutrun");
    let asked = vmstat(&pool, "pagepool_kswapd_posts");
    let folios = filled_folios(&pool, 3072, PAGE_SIZE);
    assert_eq!(kswapd(&pool), DaemonState::Frozen);
    assert_eq!(vmstat(&pool, "pageoutrun"), runs);
    assert_eq!(vmstat(&pool, "pgsteal_kswapd"), 0);
    assert!(vmstat(&pool, "pgsteal_direct") >= 1024);
    assert!(vmstat(&pool, "pagepool_kswapd_posts") > asked);
    for (n, folio) in folios.iter().enumerate() {
        assert_filled(&folio.read().unwrap(), n as u64);
    }
    pool.verify().unwrap();
    // To freeze what is frozen changes nothing.
    pool.freeze(PATIENCE).unwrap();
    assert_eq!(kswapd(&pool), DaemonState::Frozen);
    pool.thaw();
    eventually("what was asked meanwhile is served", || {
        vmstat(&pool, "pageoutrun") > runs
    });
    assert_eq!(kswapd(&pool), DaemonState::Running);
    drop(folios);
    assert_all_back(&pool);
}

#[test]
fn a_freeze_that_does_not_come_about_in_time_names_who_runs() {
    let device = Arc::new(FaultyDevice::in_memory(16 << 20, Faults::none()));
    let pool = PagePool::builder()
        .managed(4 << 20)
        .swap(Arc::clone(&device))
        .deadline(Duration::from_millis(1))
        .build()
        .unwrap();
    let give_up = Instant::now() + PATIENCE;
    let refused = loop {
        device.set_faults(Faults::none().one_in(1, Fault::StalledWrite));
        let mut folios: Vec<Folio> = vec![];
        while device.nr_stalled() == 0 {
            // It takes what there is, and does not reclaim for itself.
            let hasty = Gfp::USER_MOVABLE - Gfp::DIRECT_RECLAIM;
            if let Ok(mut folio) = pool.alloc_folio(PAGE_SIZE, hasty) {
                // What was never written is dropped, not written.
                folio.try_write().unwrap().fill(1);
                folios.push(folio);
            }
            assert!(Instant::now() < give_up, "kswapd does not write");
        }
        let asked = Instant::now();
        let frozen = pool.freeze(Duration::from_millis(2));
        assert!(asked.elapsed() < PATIENCE);
        device.set_faults(Faults::none());
        match frozen {
            // On a busy machine kcompactd may have had no CPU either; if only that, again.
            Err(refused) if refused.names().contains(&"kswapd0".to_owned()) => break refused,
            Err(_) => {}
            // It had waited for long, and gave up waiting just then.
            Ok(()) => pool.thaw(),
        }
        assert!(Instant::now() < give_up, "kswapd does not wait");
    };
    assert!(refused.to_string().contains("kswapd0"), "{refused}");
    assert_eq!(kswapd(&pool), DaemonState::Running, "none is frozen");
    pool.freeze(PATIENCE).unwrap();
    pool.thaw();
    assert_all_back(&pool);
}

/// A store whose callbacks are the test's.
struct Callbacks<F>(F);

impl<F> Backing for Callbacks<F>
where
    F: Fn() -> Result<(), BackingError> + Send + Sync + 'static,
{
    fn read_in(&self, _page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        bytes.fill(0);
        (self.0)()
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        (self.0)().map(|()| WriteOut::Written)
    }
}

fn mapping_pool() -> PagePool {
    PagePool::builder()
        .managed(4 << 20)
        .max_stores(1)
        .deadline(PATIENCE)
        .build()
        .unwrap()
}

/// A folio of a store that calls this.
fn calling(
    pool: &PagePool,
    call: impl Fn() -> Result<(), BackingError> + Send + Sync + 'static,
) -> Folio {
    let mapping = pool.map_backing(Callbacks(call)).unwrap();
    mapping.folio(0, Order::ZERO).unwrap()
}

#[test]
fn a_callback_that_has_the_last_handle_ends_the_pool() {
    alone(
        "daemons::a_callback_that_has_the_last_handle_ends_the_pool",
        || {
            let pool = PagePool::builder()
                .managed(4 << 20)
                .max_stores(1)
                .daemons(DaemonStart::AtOnce)
                .deadline(Duration::from_millis(100))
                .build()
                .unwrap();
            let kept = Arc::new(Mutex::new(Some(pool.clone())));
            let may_go_on = Arc::new(AtomicBool::new(false));
            let mut folio = {
                let (kept, may_go_on) = (Arc::clone(&kept), Arc::clone(&may_go_on));
                let has_read = AtomicBool::new(false);
                calling(&pool, move || {
                    if !has_read.swap(true, SeqCst) {
                        return Ok(());
                    }
                    while !may_go_on.load(SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    drop(kept.lock().unwrap().take());
                    Ok(())
                })
            };
            folio.write_within(PATIENCE).unwrap().fill(1);
            assert_eq!(folio.flush(), Err(FlushError::Stalled));
            drop(folio);
            drop(pool);
            eventually("the daemon runs on", || names("kswapd") == ["kswapd0"]);
            may_go_on.store(true, SeqCst);
            eventually("no thread is left", || {
                names("kswapd").is_empty() && names("pool-io").is_empty()
            });
            assert!(kept.lock().unwrap().is_none());
        },
    );
}

#[test]
fn a_callback_must_not_allocate_from_its_own_pool() {
    let pool = mapping_pool();
    let seen = Arc::new(Mutex::new(vec![]));
    let folio = {
        let (inside, seen) = (pool.clone(), Arc::clone(&seen));
        calling(&pool, move || {
            let mut seen = seen.lock().unwrap();
            seen.push(inside.alloc_pages(Order::ZERO, Gfp::KERNEL).err());
            seen.push(inside.alloc_pages(Order::ZERO, Gfp::ATOMIC).err());
            seen.push(inside.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).err());
            let blank = inside.blank_folio(PAGE_SIZE).unwrap();
            let touched = blank.read().map(drop);
            assert_eq!(touched, Err(AccessError::Alloc(AllocError::Reentrant)));
            Ok(())
        })
    };
    assert_eq!(folio.read().unwrap()[0], 0);
    assert_eq!(*seen.lock().unwrap(), [Some(AllocError::Reentrant); 3]);
    // The thread that asked for the folio is not inside.
    drop(pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
}

#[test]
fn a_callback_may_use_another_pool_that_does_not_come_back_to_the_first() {
    let (first, second) = (mapping_pool(), mapping_pool());
    let back = Arc::new(OnceLock::new());
    let of_second = {
        let (first, back) = (first.clone(), Arc::clone(&back));
        calling(&second, move || {
            back.set(first.alloc_pages(Order::ZERO, Gfp::KERNEL).err())
                .unwrap();
            Ok(())
        })
    };
    let allocated = Arc::new(AtomicUsize::new(0));
    let of_first = {
        let (second, allocated) = (second.clone(), Arc::clone(&allocated));
        calling(&first, move || {
            drop(second.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
            allocated.fetch_add(1, SeqCst);
            // This calls the second pool's store, on behalf of the first's.
            assert_eq!(of_second.read().unwrap()[0], 0);
            Ok(())
        })
    };
    assert_eq!(of_first.read().unwrap()[0], 0);
    assert_eq!(allocated.load(SeqCst), 1);
    assert_eq!(back.get(), Some(&Some(AllocError::Reentrant)));
}

#[test]
fn a_callback_that_panics_is_a_transfer_that_failed() {
    let pool = mapping_pool();
    let panics = Arc::new(AtomicBool::new(false));
    let mut folio = {
        let panics = Arc::clone(&panics);
        calling(&pool, move || {
            assert!(!panics.load(SeqCst), "told to");
            Ok(())
        })
    };
    folio.write().unwrap().fill(1);
    panics.store(true, SeqCst);
    assert_eq!(folio.flush(), Err(FlushError::Failed));
    eventually("reclaim tries as well", || {
        press(&pool);
        vmstat(&pool, "pagepool_write_errors") > 0
    });
    assert!(folio.is_resident() && folio.is_dirty());
    assert_eq!(folio.read().unwrap()[0], 1);
    panics.store(false, SeqCst);
    // The first tells what happened in the background.
    let _reported = folio.flush();
    folio.flush().unwrap();
    evict(&pool, slice::from_ref(&folio));
    panics.store(true, SeqCst);
    assert_eq!(folio.read().unwrap_err(), AccessError::StoreFailed);
    panics.store(false, SeqCst);
    assert_eq!(folio.read().unwrap()[0], 0, "what this store reads");
    assert_eq!(kswapd(&pool), DaemonState::Running);
    pool.verify().unwrap();
}

#[test]
fn a_child_process_reads_and_writes_what_was_in_memory() {
    alone(
        "daemons::a_child_process_reads_and_writes_what_was_in_memory",
        || {
            let pool = pool();
            let mut folios = filled_folios(&pool, 64, PAGE_SIZE);
            let mut block = pool
                .alloc_pages(Order::new(2).unwrap(), Gfp::KERNEL)
                .unwrap();
            block.fill(7);
            pool.freeze(PATIENCE).unwrap();
            // SAFETY: the child has this thread only. It uses what is in memory, locks that nobody held
            // who is not there any more, and ends by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let is_right = use_in_child(&mut folios, &mut block);
                // SAFETY: it does not return, and runs nothing.
                unsafe { libc::_exit(i32::from(!is_right)) };
            }
            pool.thaw();
            assert!(child > 0, "{}", std::io::Error::last_os_error());
            let mut status = 0;
            // SAFETY: the child is ours, and the status is written here.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child);
            assert_eq!(status, 0, "the child found something wrong");
            // What it wrote is its own.
            for (n, folio) in folios.iter().enumerate() {
                assert_filled(&folio.read().unwrap(), n as u64);
            }
            assert!(block.iter().all(|byte| *byte == 7));
            drop((folios, block));
            assert_all_back(&pool);
        },
    );
}

/// Uses memory that was there before the fork; returns whether it was right.
fn use_in_child(folios: &mut [Folio], block: &mut [u8]) -> bool {
    let mut page = [0; PAGE_SIZE];
    for (n, folio) in folios.iter_mut().enumerate() {
        crate::fill(&mut page, n as u64);
        let Ok(mut bytes) = folio.try_write() else {
            return false;
        };
        if *bytes != page {
            return false;
        }
        bytes.fill(n as u8);
    }
    let are_kept = folios
        .iter()
        .enumerate()
        .all(|(n, folio)| folio.try_read().is_ok_and(|bytes| bytes[99] == n as u8));
    let is_right = block.iter().all(|byte| *byte == 7);
    block.fill(8);
    are_kept && is_right
}
