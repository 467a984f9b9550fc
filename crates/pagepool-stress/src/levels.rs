//! How much groups have, sampled a thousand times a second beside their limits.
//!
//! The sampler is a thread of its own, started before the load: it costs the pool's budget nothing. It looks
//! at whatever groups it is given, until they are taken from it again.
#![forbid(unsafe_code)]

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagepool::{Group, GroupLimits};

const PERIOD: Duration = Duration::from_millis(1);
const STACK: usize = 64 << 10;

/// The most that a group was seen to have, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// In all.
    pub(crate) most: usize,
    /// Beyond its high limit.
    pub(crate) over_high: usize,
    /// Beyond its max.
    pub(crate) over_max: usize,
}

impl Level {
    /// Takes a look into account at which a group with these limits had `current` bytes.
    pub(crate) fn look(&mut self, limits: &GroupLimits, current: usize) {
        let over = |limit| current.saturating_sub(limit);
        self.most = self.most.max(current);
        self.over_high = self.over_high.max(over(limits.high_bytes()));
        self.over_max = self.over_max.max(over(limits.max_bytes()));
    }
}

/// What was seen of several groups, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    pub(crate) samples: u64,
    pub(crate) groups: Vec<Level>,
}

/// A running sampler; ends when dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A word that stands for itself: nothing is ordered by it.
    stop: AtomicBool,
    watched: Mutex<Option<Watched>>,
}

#[derive(Debug)]
struct Watched {
    groups: Vec<(Group, GroupLimits)>,
    levels: Levels,
}

impl Watched {
    fn look(&mut self) {
        self.levels.samples += 1;
        for ((group, limits), level) in self.groups.iter().zip(&mut self.levels.groups) {
            level.look(limits, group.stats().current_bytes);
        }
    }
}

impl Sampler {
    /// Starts one that looks at nothing yet.
    pub(crate) fn start() -> io::Result<Sampler> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("levels".to_owned())
            .stack_size(STACK)
            .spawn(move || sample(&theirs))?;
        Ok(Sampler {
            shared,
            thread: Some(thread),
        })
    }

    /// Begins to look at groups, each beside the limits that it is to keep.
    pub(crate) fn watch(&self, groups: Vec<(Group, GroupLimits)>) {
        let levels = Levels {
            samples: 0,
            groups: vec![Level::default(); groups.len()],
        };
        *self.shared.watched() = Some(Watched { groups, levels });
    }

    /// Ends that, and returns what was seen; nothing if nothing was watched.
    pub(crate) fn unwatch(&self) -> Option<Levels> {
        // The guard is gone before the groups are: with them may go the last handle to a pool.
        let watched = self.shared.watched().take();
        watched.map(|watched| watched.levels)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // The sampler cannot fail; if it did, there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watched(&self) -> MutexGuard<'_, Option<Watched>> {
        // Nobody panics with it held.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(shared: &Shared) {
    let mut next = Instant::now();
    while !shared.stop.load(Relaxed) {
        if let Some(watched) = &mut *shared.watched() {
            watched.look();
        }
        next += PERIOD;
        match next.checked_duration_since(Instant::now()) {
            Some(rest) => thread::sleep(rest),
            None => next = Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pagepool::{Gfp, Order, PAGE_SIZE, PagePool};

    use super::*;

    #[test]
    fn a_level_remembers_the_most_beyond_each_limit() {
        let limits = GroupLimits::new().high(10).max(20);
        let mut level = Level::default();
        [5, 21, 12]
            .into_iter()
            .for_each(|current| level.look(&limits, current));
        let Level {
            most,
            over_high,
            over_max,
        } = level;
        assert_eq!((most, over_high, over_max), (21, 11, 1));
        let mut level = Level::default();
        level.look(&GroupLimits::new(), usize::MAX);
        assert_eq!((level.over_high, level.over_max), (0, 0));
    }

    #[test]
    fn a_group_with_more_than_it_is_to_have_is_seen() {
        let pool = PagePool::builder().memory(8 << 20).build().unwrap();
        let group = pool.create_group("g", GroupLimits::new()).unwrap();
        let sampler = Sampler::start().unwrap();
        assert!(sampler.unwatch().is_none());
        // It is told of a limit that the group does not have.
        sampler.watch(vec![(group.clone(), GroupLimits::new().max(PAGE_SIZE))]);
        let block = group
            .alloc_pages(Order::new(2).unwrap(), Gfp::KERNEL)
            .unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(block);
        let levels = sampler.unwatch().unwrap();
        assert!(levels.samples > 1);
        assert_eq!(levels.groups[0].over_max, 3 * PAGE_SIZE);
    }
}
