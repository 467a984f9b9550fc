//! The memory that the process really uses, sampled a thousand times a second; and how far the zones of
//! a pool under pressure stand above their high marks.
//!
//! The figure is `resident` of `/proc/self/statm`. Where there is no such file, every figure is
//! `None` and the report says so.
//!
//! The check that the pool keeps its budget is honest only if nothing but the pool grows: whoever
//! calls [`Rss::mark`] has touched all other memory before.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    io,
    num::NonZero,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagepool::{PAGE_SIZE, PagePool};

use crate::units::wide;

const PERIOD: Duration = Duration::from_millis(1);
const STACK: usize = 64 << 10;

/// How far apart the growth between two samples and the truth may be, in bytes. Linux counts resident pages on each
/// CPU, and adds them to the common count when there are 32, or two for each CPU if that is more (since 6.2).
pub(crate) fn uncertainty() -> u64 {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    let of_one_sample = cpus * (2 * cpus).max(32) * PAGE_SIZE;
    wide(2 * of_one_sample)
}

/// A running sampler; ends when dropped.
#[derive(Debug)]
pub(crate) struct Rss {
    statm: Statm,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Counters between the sampler and the conductor. Nothing is ordered by them: each is a statistic.
#[derive(Debug, Default)]
struct Shared {
    max: AtomicU64,
    samples: AtomicU64,
    stop: AtomicBool,
    /// The pool whose zones are watched, if any.
    watched: Mutex<Option<PagePool>>,
    excess: Mutex<Excess>,
}

/// How far free memory stood above a high mark, at most.
///
/// A zone counts from when it is first seen below its high mark: what was free before pressure began
/// was not reclaimed by anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Excess {
    /// Pages above the high mark of the zone that was furthest above it.
    pub(crate) pages: u64,
    /// That as a share of the zone, in percent.
    pub(crate) percent: f64,
    /// Looks at the zones.
    pub(crate) samples: u64,
    /// Zones, by node and number, that were seen below their high marks.
    under_pressure: Vec<bool>,
}

impl Excess {
    fn look(&mut self, pool: &PagePool) {
        let stats = pool.stats();
        self.samples += 1;
        let zones = stats.nodes.iter().flat_map(|node| &node.zones);
        for (n, zone) in zones.enumerate() {
            if self.under_pressure.len() <= n {
                self.under_pressure.push(false);
            }
            self.under_pressure[n] |= zone.free < zone.high;
            if self.under_pressure[n] {
                let pages = zone.free.saturating_sub(zone.high);
                self.pages = self.pages.max(wide(pages));
                let percent = pages as f64 * 100.0 / zone.managed.max(1) as f64;
                self.percent = self.percent.max(percent);
            }
        }
    }
}

impl Rss {
    /// Starts sampling; `None` where the system has no `/proc/self/statm`, and under a sanitizer, which has more
    /// memory than the program.
    pub(crate) fn start() -> Option<Rss> {
        if cfg!(any(pagepool_asan, pagepool_tsan)) {
            return None;
        }
        let statm = Statm::open().ok()?;
        let shared = Arc::new(Shared::default());
        let sampler = (Statm::open().ok()?, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("rss".to_owned())
            .stack_size(STACK)
            .spawn(move || sample(&sampler.0, &sampler.1))
            .ok()?;
        Some(Rss {
            statm,
            shared,
            thread: Some(thread),
        })
    }

    /// Bytes resident now.
    pub(crate) fn now(&self) -> u64 {
        self.statm.resident().unwrap_or(0)
    }

    /// Forgets what was sampled and returns the bytes resident now.
    pub(crate) fn mark(&self) -> u64 {
        let now = self.now();
        self.shared.max.store(now, Relaxed);
        self.shared.samples.store(0, Relaxed);
        now
    }

    /// Begins to watch the zones of `pool`.
    pub(crate) fn watch(&self, pool: &PagePool) {
        *lock(&self.shared.excess) = Excess {
            under_pressure: Vec::with_capacity(64),
            ..Excess::default()
        };
        *lock(&self.shared.watched) = Some(pool.clone());
    }

    /// Ends that, and returns what was seen; nothing if no pool was watched.
    pub(crate) fn unwatch(&self) -> Option<Excess> {
        lock(&self.shared.watched).take()?;
        Some(lock(&self.shared.excess).clone())
    }

    /// The largest sample since the mark, and how many there were.
    pub(crate) fn max(&self) -> (u64, u64) {
        let max = self.shared.max.load(Relaxed).max(self.now());
        (max, self.shared.samples.load(Relaxed))
    }
}

impl Drop for Rss {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // The sampler cannot fail; if it did, there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// Nobody panics with one of these locks held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sample(statm: &Statm, shared: &Shared) {
    let mut next = Instant::now();
    while !shared.stop.load(Relaxed) {
        if let Ok(resident) = statm.resident() {
            shared.max.fetch_max(resident, Relaxed);
            shared.samples.fetch_add(1, Relaxed);
        }
        if let Some(pool) = &*lock(&shared.watched) {
            lock(&shared.excess).look(pool);
        }
        next += PERIOD;
        match next.checked_duration_since(Instant::now()) {
            Some(rest) => thread::sleep(rest),
            None => next = Instant::now(),
        }
    }
}

/// `/proc/self/statm`, kept open; reading it allocates nothing.
#[derive(Debug)]
struct Statm {
    file: File,
    page_size: u64,
}

impl Statm {
    fn open() -> io::Result<Statm> {
        let statm = Statm {
            file: File::open("/proc/self/statm")?,
            page_size: system_page_size()?,
        };
        statm.resident()?;
        Ok(statm)
    }

    fn resident(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let len = self.file.read_at(&mut text, 0)?;
        let pages = text[..len]
            .split(|byte| *byte == b' ')
            .nth(1)
            .and_then(decimal);
        pages
            .map(|pages| pages * self.page_size)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The unit that statm counts in, from the auxiliary vector: pairs of words, kind 6.
fn system_page_size() -> io::Result<u64> {
    const AT_PAGESZ: u64 = 6;
    let vector = fs::read("/proc/self/auxv")?;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let mut pairs = vector
        .chunks_exact(16)
        .map(|pair| (word(&pair[..8]), word(&pair[8..])));
    let found = pairs.find(|(kind, _)| *kind == AT_PAGESZ);
    found
        .map(|(_, size)| size)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_shows() {
        let Some(rss) = Rss::start() else { return };
        let before = rss.mark();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        thread::sleep(Duration::from_millis(20));
        let (max, samples) = rss.max();
        assert!(max >= before + (block.len() / 2) as u64, "{before} {max}");
        assert!(samples > 0);
    }
}
