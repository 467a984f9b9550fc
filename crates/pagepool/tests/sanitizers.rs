//! Bugs that a sanitizer must report, each planted in a process of its own.
//!
//! A sanitizer that reports nothing may have nothing to report, or be told of nothing: suppressions that match
//! too much, pages that nobody poisoned. So each test here makes a mistake that the pool's users could make, and
//! fails unless the sanitizer that looks at this build names it. `.ci/sanitize` runs them before anything else.
//!
//! In other builds there is nothing here.

#![cfg(any(pagepool_asan, pagepool_tsan))]

use std::env;
use std::process::Command;

/// The test whose bug this process is to make.
const PLANTED: &str = "PAGEPOOL_PLANTED";

/// Runs the test `name` of this program again, as the one that makes the mistake; fails unless it ends by a report
/// whose summary says `what`, of something that the function `who` did.
#[track_caller]
fn assert_reported(name: &str, what: &str, who: &str) {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(PLANTED, name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    let mut lines = said.lines().map(str::trim_start);
    let is_named = { lines.clone() }.any(|line| line.starts_with("SUMMARY") && line.contains(what));
    // Of the first stack that comes through this file, the innermost frame in it.
    let culprit = lines.find(|line| line.starts_with('#') && line.contains("sanitizers::"));
    let is_found = is_named && culprit.is_some_and(|line| line.contains(who));
    assert!(
        !child.status.success() && is_found,
        "{name} ended with {} and was not reported as \"{what}\" in {who}:\n{said}{}",
        child.status,
        String::from_utf8_lossy(&child.stdout)
    );
}

/// Tests that make a mistake when they are started by themselves.
macro_rules! reported {
    ($($(#[$doc:meta])* $name:ident as $what:literal in $who:ident $body:block)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let (_, name) = path.split_once("::").unwrap();
            if env::var(PLANTED).is_ok_and(|planted| planted == name) {
                $body
            } else {
                assert_reported(name, $what, stringify!($who));
            }
        }
    )*};
}

#[cfg(pagepool_asan)]
mod address {
    use std::collections::HashSet;
    use std::hint::black_box;
    use std::ptr::NonNull;
    use std::time::Duration;
    use std::{iter, mem};

    use pagepool::{Folio, Gfp, NodeId, Order, PAGE_SIZE, PagePool, SwapFile, ZoneType};

    use super::{PLANTED, assert_reported, env};

    fn order(n: u8) -> Order {
        Order::new(n).unwrap()
    }

    /// 64 MiB without daemons, so that nothing is moved and freed but by the test.
    fn pool() -> PagePool {
        PagePool::builder()
            .managed(64 << 20)
            .daemons(false)
            .build()
            .unwrap()
    }

    /// A block that the pool has back, by its address.
    fn freed(pool: &PagePool, size: u8) -> NonNull<u8> {
        let block = pool.alloc_pages(order(size), Gfp::KERNEL).unwrap();
        let start = block.into_raw();
        // SAFETY: it comes from `into_raw`, just now.
        unsafe { pool.free_raw(start) };
        start
    }

    /// Where a folio is that is in memory.
    fn address(folio: &mut Folio) -> NonNull<u8> {
        NonNull::new(folio.write().unwrap().as_mut_ptr()).unwrap()
    }

    /// Reads a byte where the test has no right to.
    fn peek(at: NonNull<u8>) {
        // SAFETY: none; this is the mistake.
        black_box(unsafe { at.read_volatile() });
    }

    /// Writes a byte where the test has no right to.
    fn poke(at: NonNull<u8>) {
        // SAFETY: none; this is the mistake.
        unsafe { at.write_volatile(1) };
    }

    reported! {
        heap_memory_after_its_end as "heap-use-after-free" in peek {
            let boxed = Box::new([1_u8; 100]);
            let start = NonNull::from(&*boxed).cast();
            drop(boxed);
            peek(start);
        }

        leaked_memory as "12345 byte" in leaked_memory {
            mem::forget(black_box(vec![1_u8; 12_345]));
        }

        /// A single page lies in a per-CPU cache.
        page_in_a_cache as "use-after-poison" in peek {
            let pool = pool();
            peek(freed(&pool, 0));
        }

        /// A block of 4 MiB goes past the caches.
        block_on_a_free_list as "use-after-poison" in poke {
            let pool = pool();
            poke(freed(&pool, 10));
        }

        block_that_was_drained_from_its_cache as "use-after-poison" in poke {
            let pool = pool();
            let start = freed(&pool, 0);
            pool.drain();
            poke(start);
        }

        block_whose_memory_the_system_has_back as "use-after-poison" in peek {
            let pool = pool();
            let start = freed(&pool, 10);
            assert!(pool.trim() > 0);
            peek(start);
        }

        page_that_nobody_ever_had as "use-after-poison" in peek {
            let pool = pool();
            let block = pool.alloc_pages(order(0), Gfp::KERNEL).unwrap();
            // Single pages come from the start of a pageblock of 2 MiB.
            peek(NonNull::from(&block[0]).map_addr(|at| at | (PAGE_SIZE << 8)));
        }

        run_past_a_block_into_its_free_neighbour as "use-after-poison" in poke {
            let pool = pool();
            let block = pool.alloc_pages(order(1), Gfp::KERNEL).unwrap();
            poke(NonNull::from(&block[0]).map_addr(|at| at.saturating_add(block.len())));
        }

        page_out_of_service as "use-after-poison" in peek {
            let pool = pool();
            let start = freed(&pool, 10);
            let zone = ZoneType::Normal;
            assert!(pool.offline(NodeId::new(0).unwrap(), zone, 64 << 20) > 0);
            peek(start);
        }

        part_of_a_block_that_was_split as "use-after-poison" in poke {
            let pool = pool();
            let block = pool.alloc_pages(order(2), Gfp::KERNEL).unwrap();
            let mut parts: Vec<_> = block.split(order(0)).collect();
            let start = NonNull::from(&parts[1][0]);
            drop(parts.remove(1));
            poke(start);
        }

        pool_after_its_end as "heap-use-after-free" in peek {
            let pool = pool();
            let start = freed(&pool, 0);
            drop(pool);
            peek(start);
        }

        folio_after_its_end as "use-after-poison" in poke {
            let pool = pool();
            let mut folio = pool.alloc_folio(PAGE_SIZE, Gfp::KERNEL).unwrap();
            let start = address(&mut folio);
            drop(folio);
            poke(start);
        }

        folio_that_is_in_swap as "use-after-poison" in peek {
            let swap = SwapFile::temporary(1 << 20).unwrap();
            let pool = PagePool::builder().managed(64 << 20).swap(swap).daemons(false).build().unwrap();
            let mut folio = pool.alloc_folio(PAGE_SIZE, Gfp::KERNEL).unwrap();
            let start = address(&mut folio);
            pool.reclaim(PAGE_SIZE, Duration::from_secs(10));
            assert!(!folio.is_resident());
            peek(start);
        }

        /// Compaction has moved the folio. Who has the address still, of a guard that is gone, is in free memory.
        folio_that_was_moved as "use-after-poison" in peek {
            let pool = pool();
            let all = iter::from_fn(|| pool.alloc_folio(PAGE_SIZE, Gfp::NOWAIT).ok());
            let mut folios: Vec<_> = all.collect::<Vec<_>>().into_iter().step_by(4).collect();
            let before: Vec<_> = folios.iter_mut().map(address).collect();
            pool.compact(Duration::from_secs(10));
            let after: HashSet<_> = folios.iter_mut().map(address).collect();
            let left = before.into_iter().find(|start| !after.contains(start));
            peek(left.expect("something was moved"));
        }
    }
}

#[cfg(pagepool_tsan)]
mod thread {
    use std::cell::UnsafeCell;
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::{PLANTED, assert_reported, env};
    use pagepool::{Gfp, Order, PagePool};

    /// How often each of two threads writes: the second must begin before the sanitizer has forgotten the first.
    const WRITES: usize = 1000;

    /// A number that is not guarded by anything, and says that it is.
    #[derive(Default)]
    struct Unguarded(UnsafeCell<u64>);

    // SAFETY: none; this is the mistake.
    unsafe impl Sync for Unguarded {}

    impl Unguarded {
        fn increment(&self) {
            for _ in 0..WRITES {
                // SAFETY: none; this is the mistake.
                unsafe { *self.0.get() += 1 };
            }
        }
    }

    reported! {
        number_of_two_spawned_threads as "data race" in increment {
            let number = Arc::new(Unguarded::default());
            let threads = [(); 2].map(|()| {
                let number = Arc::clone(&number);
                thread::spawn(move || number.increment())
            });
            let _ended = threads.map(|thread| thread.join().unwrap());
        }

        number_of_two_scoped_threads as "data race" in increment {
            let number = Unguarded::default();
            thread::scope(|scope| {
                scope.spawn(|| number.increment());
                scope.spawn(|| number.increment());
            });
        }

        number_of_a_test_and_its_thread as "data race" in increment {
            let number = Unguarded::default();
            thread::scope(|scope| {
                scope.spawn(|| number.increment());
                number.increment();
            });
        }

        /// What a sender has sent is not his any more.
        number_that_was_sent as "data race" in increment {
            let number = Arc::new(Unguarded::default());
            let (sender, receiver) = mpsc::channel::<Arc<Unguarded>>();
            let thread = thread::spawn(move || receiver.recv().unwrap().increment());
            sender.send(Arc::clone(&number)).unwrap();
            number.increment();
            thread.join().unwrap();
        }

        /// Each thread is inside a lock, but not of the same.
        number_under_two_locks as "data race" in increment {
            let number = Arc::new(Unguarded::default());
            let threads = [(); 2].map(|()| {
                let number = Arc::clone(&number);
                thread::spawn(move || {
                    let lock = parking_lot::Mutex::new(());
                    let _inside = lock.lock();
                    number.increment();
                })
            });
            let _ended = threads.map(|thread| thread.join().unwrap());
        }

        page_of_two_threads as "data race" in increment {
            let pool = PagePool::builder().managed(64 << 20).build().unwrap();
            let mut block = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
            let start = block.as_mut_ptr() as usize;
            let threads = [(); 2].map(|()| {
                thread::spawn(move || {
                    // SAFETY: none; this is the mistake.
                    let number = unsafe { &*(start as *const Unguarded) };
                    number.increment();
                })
            });
            let _ended = threads.map(|thread| thread.join().unwrap());
        }

        /// One thread frees a page, and goes on writing to it; another has it by then.
        page_that_another_has_got as "data race" in increment {
            let pool = PagePool::builder().managed(64 << 20).daemons(false).build().unwrap();
            let (sender, receiver) = mpsc::channel();
            let (over, is_over) = mpsc::channel::<()>();
            let writer = thread::spawn({
                let pool = pool.clone();
                move || {
                    let start = pool.alloc_raw(Order::ZERO, Gfp::KERNEL).unwrap();
                    // SAFETY: it comes from `alloc_raw`.
                    unsafe { pool.free_raw(start) };
                    sender.send(start.as_ptr() as usize).unwrap();
                    // SAFETY: none; this is the mistake.
                    let number = unsafe { &*start.cast::<Unguarded>().as_ptr() };
                    number.increment();
                    // A thread that ends gives its magazine back under a lock, which a drain takes after that.
                    is_over.recv().unwrap();
                }
            });
            let freed = receiver.recv().unwrap();
            pool.drain();
            // Not zeroed: that would be a race as well.
            let block = pool.alloc_pages_uninit(Order::ZERO, Gfp::KERNEL).unwrap();
            assert_eq!(block.as_ptr() as usize, freed, "the same page, from the front of the list");
            // SAFETY: the page is this thread's, or so it believes.
            let number = unsafe { &*block.as_ptr().cast::<Unguarded>() };
            number.increment();
            over.send(()).unwrap();
            writer.join().unwrap();
        }
    }
}
