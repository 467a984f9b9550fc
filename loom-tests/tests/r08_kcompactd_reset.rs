//! R8: what is asked of kcompactd while it works is served, be it more, less, or the same again.
//!
//! *Threads:* kcompactd, which works for order 3; one who makes work for it and asks for it, at order 9 or
//! at order 3 again. *Property:* the 9 is served, and the work that the second request was for is found
//! (INV-1, INV-4). *The bug it would catch:* v5.0's reset after the work, which wipes what is not more than
//! was worked for, and is no single step; a request that is covered by one that was taken already, and so
//! publishes nothing. *The edits that make it fail:* mutant `request.store_anew`; reset after the work, the
//! negative twin below.

#![cfg(loom)]

use loom_tests::{Shared, actor, check, check_twin, join, join_all};
use pagepool::ZoneType;
use pagepool::model::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use pagepool::model::{Kcompactd, Requests, Site};

/// A node on which a piece of work is done by whatever run finds it.
struct Node {
    /// The order that has to be asked for.
    wanted: u8,
    /// Relaxed: the request must order it.
    nr_pieces: AtomicUsize,
}

impl Site for Node {
    fn compact(
        &self,
        daemon: &Kcompactd<Node>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        let is_wanted = asked.order(1) == Some(self.wanted);
        if is_wanted && self.nr_pieces.load(Relaxed) == 1 {
            daemon.ask_to_stop();
        }
        Ok(())
    }
}

fn ask_at_work(wanted: u8) {
    let daemon = Kcompactd::new(Node {
        wanted,
        nr_pieces: AtomicUsize::new(0),
    });
    daemon.begin();
    daemon.ask(ZoneType::Normal, 3);
    let (k, a) = (daemon.clone(), daemon.clone());
    let kcompactd = actor(move || k.run_here());
    let asker = actor(move || {
        a.site().nr_pieces.store(1, Relaxed);
        a.ask(ZoneType::Normal, wanted);
    });
    // It ends once the work that was wanted is found; if the first run finds it, nobody takes the second
    // request.
    join_all([asker, kcompactd]);
}

#[test]
fn a_higher_order_asked_at_work_is_served() {
    check("r08_kcompactd_higher", 490, || ask_at_work(9));
}

#[test]
fn the_same_order_asked_again_at_work_is_served_again() {
    check("r08_kcompactd_same", 850, || ask_at_work(3));
}

#[test]
#[should_panic(expected = "the 9 is lost")]
fn twin_a_reset_after_the_work_loses_the_higher_order() {
    check_twin(|| {
        let max_order = Shared::new(AtomicU64::new(3));
        let (k, a) = (Shared::clone(&max_order), Shared::clone(&max_order));
        let kcompactd = actor(move || {
            let mine = k.load(Relaxed);
            if k.load(Relaxed) <= mine {
                k.store(0, Relaxed);
            }
            mine
        });
        let asker = actor(move || a.fetch_max(9, Relaxed));
        join(asker);
        let served = join(kcompactd);
        assert!(served.max(max_order.load(Relaxed)) == 9, "the 9 is lost");
    });
}
