//! On which CPUs a daemon runs: those of its node, if the system agrees.
//!
//! *Kernel counterpart:* `kswapd_cpu_online`, `set_cpus_allowed_ptr` in `kswapd` (v5.0). A daemon binds
//! itself, when it starts and, after the system's CPUs have changed, when it next wakes; a thread that
//! sleeps runs nowhere. Affinity is never needed for correctness, so that a failure is no error.

use std::sync::Arc;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::cpu;

/// Says that the system's CPUs have changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuNews(Arc<AtomicU32>);

impl CpuNews {
    /// Has every daemon bind itself anew at its next wake.
    pub(crate) fn announce(&self) {
        // Relaxed: a number by itself; a daemon that misses it sees it the next time.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn edition(&self) -> u32 {
        // Relaxed: as in `announce`.
        self.0.load(Ordering::Relaxed)
    }
}

/// What one daemon has done about its CPUs.
#[derive(Debug)]
pub(crate) struct Affinity {
    news: CpuNews,
    /// The edition of the news that was acted on.
    seen: Option<u32>,
}

impl Affinity {
    pub(super) fn new(news: CpuNews) -> Affinity {
        Affinity { news, seen: None }
    }

    /// Binds this thread to `cpus`, if it was not yet or there is news. Returns whether it tried.
    pub(super) fn refresh(&mut self, cpus: &[usize]) -> bool {
        let edition = Some(self.news.edition());
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
        let daemon = std::thread::spawn({
            let news = news.clone();
            move || {
                let cpu = cpu::current();
                let mut affinity = Affinity::new(news.clone());
                let first = [(); 2].map(|()| affinity.refresh(&[cpu]));
                let bound_to = cpu::current();
                news.announce();
                let second = [(); 2].map(|()| affinity.refresh(&[cpu]));
                (first, second, cpu == bound_to)
            }
        });
        let [first, second] = [[true, false]; 2];
        assert_eq!(daemon.join().unwrap(), (first, second, true));
    }

    #[test]
    fn no_cpus_and_wrong_cpus_are_no_error() {
        let news = CpuNews::default();
        let mut affinity = Affinity::new(news);
        assert!(!affinity.refresh(&[]));
        assert!(affinity.refresh(&[usize::MAX]), "it tried");
    }
}
