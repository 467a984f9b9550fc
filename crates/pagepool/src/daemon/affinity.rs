//! On which CPUs a daemon runs: those of its node, if the system agrees.
//!
//! *Kernel counterpart:* `kswapd_cpu_online`, `kcompactd_cpu_online` and their registration as hotplug
//! states, `set_cpus_allowed_ptr` in `kswapd` and `kcompactd` (v5.0). A daemon binds itself, when it starts
//! and, after the system's CPUs have changed, when it next wakes; a thread that sleeps runs nowhere.
//! Affinity is never needed for correctness, so that a failure to bind is no error.

use std::sync::Arc;

use super::name::Kind;
use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::sync::cpu;

/// How many may hear the news (kernel: a table of states as well, which can be full): one for each kind
/// of daemon.
const NR_PLACES: usize = Kind::ALL.len();

/// There is no place left among those who hear of CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{NR_PLACES} subscribers hear of the system's CPUs already")]
pub(crate) struct NoPlace;

#[derive(Debug, Default)]
struct Board {
    edition: AtomicU32,
    nr_subscribers: AtomicUsize,
}

/// Says that the system's CPUs have changed, to those who have subscribed.
#[derive(Debug, Default)]
pub(crate) struct CpuNews(Arc<Board>);

impl CpuNews {
    /// Has every daemon bind itself anew at its next wake.
    pub(crate) fn announce(&self) {
        // Relaxed: a number by itself; a daemon that misses it sees it the next time.
        self.0.edition.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what the daemons of a kind hear the news by. It has a place until it is dropped.
    ///
    /// # Errors
    /// If all places are taken.
    pub(super) fn subscribe(&self) -> Result<Subscription, NoPlace> {
        let one_more = |nr: usize| (nr < NR_PLACES).then_some(nr + 1);
        // Relaxed: a count by itself.
        let subscribed =
            self.0
                .nr_subscribers
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        match subscribed {
            Ok(_) => Ok(Subscription(Arc::clone(&self.0))),
            Err(_) => Err(NoPlace),
        }
    }
}

/// A place among those who hear of CPUs.
#[derive(Debug)]
pub(crate) struct Subscription(Arc<Board>);

impl Subscription {
    fn edition(&self) -> u32 {
        // Relaxed: as in `announce`.
        self.0.edition.load(Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Relaxed: as in `subscribe`.
        self.0.nr_subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one daemon has done about its CPUs.
#[derive(Debug)]
pub(crate) struct Affinity {
    /// None for a daemon that hears nothing: it binds itself once.
    news: Option<Arc<Subscription>>,
    /// The edition of the news that was acted on.
    seen: Option<u32>,
}

impl Affinity {
    pub(super) fn new(news: Option<Arc<Subscription>>) -> Affinity {
        Affinity { news, seen: None }
    }

    /// Binds this thread to `cpus`, if it was not yet or there is news. Returns whether it tried.
    pub(super) fn refresh(&mut self, cpus: &[usize]) -> bool {
        let edition = Some(self.news.as_ref().map_or(0, |news| news.edition()));
        if self.seen == edition || cpus.is_empty() {
            return false;
        }
        self.seen = edition;
        if !cpu::bind_current_thread(cpus) {
            tracing::debug!(
                target: "pagepool::daemon",
                ?cpus,
                "a daemon could not be bound to its node's CPUs and runs anywhere"
            );
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_binds_itself_once_and_again_after_news() {
        let news = CpuNews::default();
        let subscription = Some(Arc::new(news.subscribe().unwrap()));
        let daemon = std::thread::spawn(move || {
            let cpu = cpu::current();
            let mut affinity = Affinity::new(subscription);
            let first = [(); 2].map(|()| affinity.refresh(&[cpu]));
            let bound_to = cpu::current();
            news.announce();
            let second = [(); 2].map(|()| affinity.refresh(&[cpu]));
            (first, second, cpu == bound_to)
        });
        let [first, second] = [[true, false]; 2];
        assert_eq!(daemon.join().unwrap(), (first, second, true));
    }

    #[test]
    fn a_thread_that_hears_nothing_binds_itself_once() {
        let mut affinity = Affinity::new(None);
        let tried = [(); 2].map(|()| affinity.refresh(&[usize::MAX]));
        assert_eq!(tried, [true, false]);
    }

    #[test]
    fn no_cpus_and_wrong_cpus_are_no_error() {
        let news = CpuNews::default();
        let mut affinity = Affinity::new(news.subscribe().ok().map(Arc::new));
        assert!(!affinity.refresh(&[]));
        assert!(affinity.refresh(&[usize::MAX]), "it tried");
    }

    #[test]
    fn there_is_a_place_for_each_kind_and_who_leaves_frees_one() {
        let news = CpuNews::default();
        let places = Kind::ALL.map(|_| news.subscribe().unwrap());
        assert_eq!(news.subscribe().unwrap_err(), NoPlace);
        drop(places);
        assert!(news.subscribe().is_ok());
    }
}
