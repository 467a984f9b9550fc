//! What is printed when something hangs: the state of every pool; and that it is printed, since each test here is
//! watched over.

use std::process::Command;
use std::time::Duration;
use std::{env, iter, thread};

use pagepool::{
    Backing, BackingError, DaemonActivity, DaemonStart, DaemonState, Gfp, PagePool, PoolState,
    WriteOut,
};

use crate::{eventually, order};

const AGES: Duration = Duration::from_secs(3600);

/// A store that does not come back from a read.
struct Stuck;

impl Backing for Stuck {
    fn read_in(&self, _page: u64, _bytes: &mut [u8]) -> Result<(), BackingError> {
        loop {
            thread::park();
        }
    }

    fn write_out(&self, _page: u64, _bytes: &[u8]) -> Result<WriteOut, BackingError> {
        Ok(WriteOut::Written)
    }
}

/// Stands still with a request for kswapd that it will not come to, and a read that does not end.
fn hang() {
    let pool = PagePool::builder()
        .managed(8 << 20)
        .max_stores(1)
        .daemons(DaemonStart::AtOnce)
        .deadline(AGES)
        .build()
        .unwrap();
    pool.freeze(Duration::from_secs(10)).unwrap();
    let blocks: Vec<_> = iter::from_fn(|| pool.alloc_pages(order(3), Gfp::NOWAIT).ok()).collect();
    drop(blocks);
    let mapping = pool.map_backing(Stuck).unwrap();
    let _ = mapping.folio(0, order(0)).unwrap().read();
}

#[test]
fn a_test_that_hangs_in_a_store_is_ended_with_the_state_of_its_pool() {
    const TEST: &str = "watchdog::a_test_that_hangs_in_a_store_is_ended_with_the_state_of_its_pool";
    const LIMIT: &str = "PAGEPOOL_WATCHDOG_S";
    const HANGS: &str = "PAGEPOOL_TEST_HANGS";
    if env::var_os(HANGS).is_some() {
        return hang();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .envs([(HANGS, "1"), (LIMIT, "3")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for part in [
        // Who hangs, in the system's words.
        &format!("watchdog: {TEST} is not over after 3 s"),
        " kswapd0: sleeping",
        " pool-io/0: sleeping",
        // What the pool says of itself.
        "kswapd0: frozen; request word: Normal o3",
        "asked to stand still",
        "turn to change the budget: held",
        "store 0: 0 threads wait for a buffer, 1 for the end of a transfer",
        "read of 1 pages at 0: under way",
        "pool-io/0: busy for ",
        "progress: pagepool_slowpath_entries ",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_pool_at_rest_says_so_and_all_pools_are_found_until_they_end() {
    let ours = |state: &&PoolState| state.built_bytes == 9 << 20;
    let count = || PoolState::of_all().iter().filter(ours).count();
    let pool = PagePool::builder().memory(9 << 20);
    let pool = pool.daemons(DaemonStart::AtOnce).build().unwrap();
    let other = PagePool::builder()
        .memory(9 << 20)
        .daemons(false)
        .build()
        .unwrap();
    assert_eq!(count(), 2);
    drop(other);
    assert_eq!(count(), 1);

    eventually("kswapd rests", || {
        let kswapd = pool.state().nodes.remove(0).kswapd;
        kswapd.activity == DaemonActivity::Asleep && kswapd.asked.is_empty()
    });
    let state = pool.state();
    assert_eq!(state.nodes[0].kcompactd.state, DaemonState::Running);
    assert!(state.turns.iter().all(|turn| !turn.is_held), "{state}");
    let waiting = [
        state.nodes[0].nr_throttled,
        state.nr_waiting_for_memory,
        state.nr_waiting_for_group,
        state.nr_waiting_for_folio,
    ];
    assert_eq!(waiting, [0; 4]);
    assert!(
        state.to_string().contains("kswapd0: running, asleep for"),
        "{state}"
    );

    let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
    drop(pool);
    assert_eq!(count(), 1, "a block keeps its pool");
    drop(block);
    assert_eq!(count(), 0);
}

#[test]
fn who_waits_for_memory_shows() {
    let pool = PagePool::builder()
        .managed(1 << 20)
        .deadline(AGES)
        .build()
        .unwrap();
    let blocks: Vec<_> = iter::from_fn(|| pool.alloc_pages(order(0), Gfp::NOWAIT).ok()).collect();
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || pool.alloc_pages(order(0), Gfp::KERNEL).is_ok()
    });
    eventually("it waits", || pool.state().nr_waiting_for_memory == 1);
    drop(blocks);
    assert!(waiter.join().unwrap());
    assert_eq!(pool.state().nr_waiting_for_memory, 0);
}
