//! A pretended container: a directory with the files in which a process finds its memory limit, version 2, and a
//! hand that cuts it while a pool follows.
#![forbid(unsafe_code)]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagepool::{PAGE_SIZE, PagePool, ResizeObstacle};

use crate::interrupt::Interrupt;

/// The pool's share of the limit, in percent.
pub(crate) const SHARE: u8 = 50;

/// The time between two looks at the pool.
const LOOK: Duration = Duration::from_millis(1);

/// How long the pool has to follow before that counts as a violation: many times what is promised, since the
/// machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directory; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Container {
    root: PathBuf,
    limit: u64,
}

impl Container {
    /// One in which a pool's share is `budget` bytes.
    pub(crate) fn with_share(budget: usize) -> io::Result<Container> {
        let name = format!("pagepool-stress-container-{}", process::id());
        let container = Container {
            root: env::temp_dir().join(name),
            // A share is of whole hundredths.
            limit: (budget as u64).div_ceil(u64::from(SHARE)) * 100,
        };
        container.write("proc/self/cgroup", "0::/\n")?;
        let mount = "26 20 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        container.write("proc/self/mountinfo", mount)?;
        container.write("proc/meminfo", "MemTotal: 1099511627776 kB\n")?;
        container.set_limit(container.limit)?;
        Ok(container)
    }

    /// Where the process's files seem to be.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn set_limit(&self, bytes: u64) -> io::Result<()> {
        self.write("sys/fs/cgroup/memory.max", &format!("{bytes}\n"))
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder"))?;
        fs::write(path, text)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A directory that is left behind is in nobody's way.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What came of a cut.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) limit_before: u64,
    pub(crate) limit_after: u64,
    pub(crate) share: u64,
    pub(crate) budget: u64,
    /// How long it took until the pool was within its share, if it came there.
    pub(crate) within: Option<Duration>,
    pub(crate) given_back: u64,
    pub(crate) obstacle: Option<ResizeObstacle>,
}

/// What a hand comes back with: nothing if it was interrupted.
pub(crate) type Hand = JoinHandle<io::Result<Option<Followed>>>;

/// Cuts the limit by half after `delay`, and watches the pool follow, unless somebody interrupts.
pub(crate) fn cut(
    container: Arc<Container>,
    pool: PagePool,
    delay: Duration,
    interrupt: Interrupt,
) -> io::Result<Hand> {
    let act = move || {
        if interrupt.rest(delay).is_break() {
            return Ok(None);
        }
        let given_back = |pool: &PagePool| {
            let pages = pool.stats().vmstat.get("pagepool_given_back");
            pages.unwrap_or(0) * PAGE_SIZE as u64
        };
        let before = given_back(&pool);
        let limit_after = container.limit / 2;
        let share = limit_after / 100 * u64::from(SHARE);
        let cut = Instant::now();
        container.set_limit(limit_after)?;
        let is_within = || pool.stats().budget_bytes as u64 <= share;
        let within = loop {
            if is_within() {
                break Some(cut.elapsed());
            }
            if cut.elapsed() >= PATIENCE {
                break None;
            }
            if interrupt.rest(LOOK).is_break() {
                return Ok(None);
            }
        };
        let stats = pool.stats();
        Ok(Some(Followed {
            limit_before: container.limit,
            limit_after,
            share,
            budget: stats.budget_bytes as u64,
            within,
            given_back: given_back(&pool) - before,
            obstacle: stats.budget.obstacle.filter(|_| within.is_none()),
        }))
    };
    thread::Builder::new().name("cut".to_owned()).spawn(act)
}
