//! A pool ends once, when the last handle and the last block are gone, after its last user.
//!
//! *Threads:* one that drops the last handle, which stops the caches and counts what is out; two
//! owners that give a block back, of which one may cause an idle block to be withdrawn; or two that
//! each drop a handle. The zone and the census are real; the pool is a cell that whoever uses the
//! pool reads and its end writes. *Property:* the end comes exactly once, and after every use: loom
//! reports a use that nothing orders before the end. *The bug it would catch:* a block that is
//! counted neither as free nor as out, so that the pool ends under its owner, or never; an end that
//! does not wait for what others did just before they let go. *The edits that make it fail:* mutants
//! `census.retire`, `census.leave`,
//! `census.enter_in_one`, `pcp.stopped`.

#![cfg(loom)]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom runs its threads one at a time, and checks what is not Sync"
)]

use loom::cell::UnsafeCell;
use loom_tests::{Outcomes, Shared, actor, check, join, join_all};
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Census, Page, Zone, cpu};

const PAGES: usize = 4;

struct Pool {
    census: Census,
    zone: Zone,
    /// Stands for everything that the end takes apart.
    parts: UnsafeCell<()>,
    nr_ends: AtomicUsize,
}

impl Pool {
    fn new(zone: Zone) -> Pool {
        Pool {
            census: Census::with_one_handle(),
            zone,
            parts: UnsafeCell::new(()),
            nr_ends: AtomicUsize::new(0),
        }
    }

    fn touch(&self) {
        self.parts.with(|_| ());
    }

    fn end(&self) {
        self.parts.with_mut(|_| ());
        self.nr_ends.fetch_add(1, Relaxed);
    }

    fn take(&self) -> Page {
        self.zone.take().expect("there is a page for each")
    }

    /// Drops a handle, as `PoolRef` does; returns the pages that were out if it was the last.
    fn leave(&self) -> Option<usize> {
        self.touch();
        let mut out = None;
        let is_over = self.census.leave(|| *out.insert(self.zone.begin_close()));
        if is_over {
            self.end();
        }
        out
    }

    /// Drops a block, as `Pages` does.
    fn free(&self, page: Page) {
        self.touch();
        let closing_pages = self.zone.put(page, || self.touch());
        if closing_pages > 0 && self.census.retire(closing_pages) {
            self.end();
        }
    }
}

/// Two blocks come back while the last handle is dropped; returns how many it found out.
fn close_while_blocks_come_back(pool: Pool) -> usize {
    let pool = Shared::new(pool);
    let pages = [pool.take(), pool.take()];
    pool.zone.drain();
    let mut cpu_idx = 0;
    let owners = pages.map(|page| {
        let (pool, my_cpu) = (Shared::clone(&pool), cpu_idx);
        cpu_idx += 1;
        actor(move || {
            cpu::set_for_model(my_cpu);
            pool.free(page);
        })
    });
    let h = Shared::clone(&pool);
    let holder = actor(move || h.leave());

    let out = join(holder).expect("it was the last handle");
    join_all(owners);
    assert_eq!(pool.nr_ends.load(Relaxed), 1);
    out
}

#[test]
fn a_pool_ends_once_after_its_last_block() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("lifetime_blocks", 1_600, move || {
        let zone = Zone::new(PAGES, 2, 1, 4);
        seen.record(close_while_blocks_come_back(Pool::new(zone)));
    });
    outcomes.assert_exactly([0, 1, 2]);
}

#[test]
fn a_pool_ends_once_after_its_last_idle_block() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("lifetime_idle_block", 2_500, move || {
        let zone = Zone::new(PAGES, 2, 1, 0);
        zone.set_keep_resident(0);
        seen.record(close_while_blocks_come_back(Pool::new(zone)));
    });
    outcomes.assert_exactly([0, 1, 2, PAGES]); // all of it, if both are back and one block
}

#[test]
fn a_pool_ends_once_after_its_last_handle() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("lifetime_handles", 18, move || {
        let pool = Shared::new(Pool::new(Zone::new(PAGES, 2, 1, 4)));
        pool.census.enter();
        let holders = [(); 2].map(|()| {
            let pool = Shared::clone(&pool);
            actor(move || pool.leave())
        });
        seen.record(join_all(holders));
        assert_eq!(pool.nr_ends.load(Relaxed), 1);
    });
    outcomes.assert_exactly([[None, Some(0)], [Some(0), None]]);
}

#[test]
fn a_pool_whose_last_handle_is_gone_does_not_come_back() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("lifetime_watch", 10, move || {
        let pool = Shared::new(Pool::new(Zone::new(PAGES, 2, 1, 4)));
        let h = Shared::clone(&pool);
        let holder = actor(move || h.leave());
        // That the census is still there is the list's lock's doing, which is not part of this.
        let w = Shared::clone(&pool);
        let watcher = actor(move || w.census.enter_unless_over().then(|| w.leave()));
        seen.record((join(holder), join(watcher)));
        assert_eq!(pool.nr_ends.load(Relaxed), 1);
    });
    // Too late, there and gone before the last handle, the last handle itself.
    outcomes.assert_exactly([
        (Some(0), None),
        (Some(0), Some(None)),
        (None, Some(Some(0))),
    ]);
}
