//! A pool that follows the memory limit of its process.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use super::{ContainerStats, ResizeObstacle, Resized};
use crate::daemon::limit::{self, Container, Fit};
use crate::error::{BuildError, LimitError};
use crate::host::LimitReader;
use crate::pool::lifetime::DaemonRef;
use crate::pool::{Inner, PagePool};
use crate::sync::clock;

/// Looks with the same open files, before the files are looked for anew: the process may have been moved to another
/// group, or a limit been set where there was none. Two seconds.
const LOOKS_WITH_THE_SAME_FILES: u32 = 8;

/// What a pool that follows its container has to know.
#[derive(Clone, Debug)]
pub(in crate::pool) struct Following {
    /// The pool's share, in percent.
    pub(in crate::pool) percent: u8,
    /// Where the host's files begin.
    pub(in crate::pool) root: PathBuf,
}

impl Following {
    /// Its share of a limit.
    fn share(&self, limit: u64) -> usize {
        let bytes = limit / 100 * u64::from(self.percent);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// What the thread has that follows the limit.
struct Site {
    pool: DaemonRef,
    following: Following,
    reader: LimitReader,
    looks: u32,
}

impl Container for Site {
    fn look(&mut self) -> Result<u64, LimitError> {
        self.looks += 1;
        if self.looks > LOOKS_WITH_THE_SAME_FILES {
            self.reader = LimitReader::resolve(&self.following.root)?;
            self.looks = 1;
        }
        Ok(self.reader.read_limit()?.bytes())
    }

    fn fit(&self, limit: u64, patience: Duration) -> Fit {
        let pool = self.pool.pool();
        let before = pool.budget_in_force();
        let share = self.following.share(limit);
        let deadline = clock::deadline_after(patience);
        let Resized {
            budget_bytes,
            obstacle,
            ..
        } = pool.change_budget(deadline, |aims| aims.allowed = share);
        match obstacle {
            None => Fit::Met,
            Some(ResizeObstacle::Busy) => Fit::Busy,
            Some(_) if budget_bytes < before => Fit::Nearer,
            Some(_) => Fit::Stuck,
        }
    }
}

impl PagePool {
    /// Starts the thread that follows the limit, if the pool does and the thread does not run.
    pub(in crate::pool) fn follow_container(&self) -> Result<(), BuildError> {
        let Some(following) = &self.inner.following else {
            return Ok(());
        };
        let reader = LimitReader::resolve(&following.root)?;
        let known = reader.read_limit()?.bytes();
        let site = Site {
            pool: self.inner.for_daemons(),
            following: following.clone(),
            reader,
            looks: 0,
        };
        let started = self.inner.limit_watch.start(site, known);
        started.map_err(|source| BuildError::Thread {
            name: limit::NAME.to_owned(),
            source,
        })
    }
}

impl Inner {
    pub(super) fn container_stats(&self) -> Option<ContainerStats> {
        self.following.as_ref()?;
        let seen = self.limit_watch.seen();
        Some(ContainerStats {
            follower: seen.state,
            limit_bytes: seen.limit,
            changes: seen.changes,
            errors: seen.errors,
            error: seen.error,
        })
    }
}
