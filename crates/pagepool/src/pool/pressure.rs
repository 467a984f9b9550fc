//! Pressure: for how long threads have waited for memory, who works meanwhile, and waiting for pressure.
//!
//! *Kernel counterpart:* `/proc/pressure/memory`, read and polled (v5.0 and 5.2, spec 4.16).

#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::time::Duration;

use super::PagePool;
use super::groups::Group;
use crate::error::RangeError;
use crate::psi::trigger::Terms;
use crate::psi::{Pressure, PressureKind, Trigger};
use crate::types::{GroupId, NodeId};

impl PagePool {
    /// Returns for how long threads have waited for memory: those that allocate and had to compact, reclaim,
    /// or wait; those that waited for a folio of the working set to be read back; and the pool's own daemons
    /// while they work for others. Exact at this moment, and it costs nothing while nobody asks.
    ///
    /// Without [workers](Self::register_worker), `full` equals `some`.
    pub fn pressure(&self) -> Pressure {
        self.inner.nodes.psi().pressure()
    }

    /// Returns the same for the memory of one node: of requests that prefer it, of folios that were evicted
    /// from it, and of its daemons. None if there is no such node.
    pub fn node_pressure(&self, node: NodeId) -> Option<Pressure> {
        let node = self.inner.nodes.get(node)?;
        Some(node.psi().pressure())
    }

    /// Makes the calling thread a worker of the pool until the result is dropped: one whose work stands still
    /// while it waits for memory. Pressure is `full` while somebody waits and every worker does.
    ///
    /// A thread that waits and is no worker counts as one for the while, so that without any worker `full`
    /// equals `some`. For a node, a worker that waits for another node's memory works. To register twice is
    /// to register once, until the last is dropped. A thread can be a worker of 16 pools and
    /// groups at once; of more it is none.
    ///
    /// Not to be made or dropped inside what the pool calls: the thread may be waiting just then.
    ///
    /// ```
    /// # use pagepool::PagePool;
    /// # let pool = PagePool::builder().memory(64 << 20).build()?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| {
    ///             let _worker = pool.register_worker();
    ///             // `full` rises only while all four wait for memory.
    ///         });
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register_worker(&self) -> Worker {
        Worker {
            is_counted: self.inner.nodes.enlist_worker(),
            pool: self.clone(),
            group: None,
            _thread: PhantomData,
        }
    }

    /// Returns something that waits for pressure: for stalls that last `threshold` within any time of
    /// length `window`, from now on. It has a handle to the pool.
    ///
    /// No thread polls for it: who [waits](PressureTrigger::wait) sleeps while nothing stalls, and costs
    /// nothing.
    ///
    /// ```
    /// # use pagepool::{PagePool, PressureKind};
    /// # use std::time::Duration;
    /// # let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let ms = Duration::from_millis;
    /// let trigger = pool.pressure_trigger(PressureKind::Some, ms(150), ms(1000))?;
    /// if trigger.wait(ms(20)) {
    ///     // Memory is short: shed load.
    /// }
    /// let error = pool.pressure_trigger(PressureKind::Some, ms(1), ms(100)).unwrap_err();
    /// assert_eq!(error.accepted(), "500ms to 10s");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If `window` is not between 500 ms and 10 s, or `threshold` is 0 or more than `window`.
    pub fn pressure_trigger(
        &self,
        kind: PressureKind,
        threshold: Duration,
        window: Duration,
    ) -> Result<PressureTrigger, RangeError> {
        let terms = Terms::new(threshold, window)?;
        Ok(PressureTrigger {
            trigger: Trigger::new(self.inner.nodes.psi(), kind, terms),
            pool: self.clone(),
        })
    }
}

impl Group {
    /// Returns for how long threads have waited for memory of this group and those below it: see
    /// [`PagePool::pressure`]. Of the root it is that of the pool.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        match self.id() {
            GroupId::ROOT => self.pool().pressure(),
            id => self.pool().inner.groups.slot(id).psi().pressure(),
        }
    }

    /// Makes the calling thread a worker of this group, of those above it, and of the pool, until the result
    /// is dropped: see [`PagePool::register_worker`].
    pub fn register_worker(&self) -> Worker {
        let mut worker = self.pool().register_worker();
        let nr = self.pool().inner.groups.enlist_worker(self.id());
        worker.group = Some((self.clone(), nr));
        worker
    }
}

/// The time for which a thread is a worker of a pool: see [`PagePool::register_worker`].
///
/// It has a handle to the pool, or to the group. It stays on its thread:
///
/// ```compile_fail,E0277
/// fn elsewhere(worker: pagepool::Worker) {
///     std::thread::spawn(move || drop(worker));
/// }
/// ```
#[derive(Debug)]
#[must_use = "the thread is no worker any more once this is dropped"]
pub struct Worker {
    pool: PagePool,
    is_counted: bool,
    /// A group, and of how many groups from there on up it is a worker.
    group: Option<(Group, usize)>,
    /// Not `Send`: it ends where it began.
    _thread: PhantomData<*const ()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some((group, nr)) = self.group.take() {
            self.pool.inner.groups.dismiss_worker(group.id(), nr);
        }
        if self.is_counted {
            self.pool.inner.nodes.dismiss_worker();
        }
    }
}

/// Waits for pressure on a pool: see [`PagePool::pressure_trigger`].
#[derive(Debug)]
pub struct PressureTrigger {
    pool: PagePool,
    trigger: Trigger,
}

impl PressureTrigger {
    /// Waits until stalls have lasted for the threshold within a window; returns whether they have before
    /// `timeout`, at most once in the length of a window. A `timeout` of zero only looks.
    ///
    /// It is told within a sixty-fourth of the window after a calm; while stalls come and go all the time, it
    /// may miss what exceeds the threshold by less than an eighth of the window. It is never told for less than
    /// the threshold. What happened while nobody waited counts as far as it is certain that it was within the
    /// last window. If several threads wait, one is told.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.trigger.wait(self.pool.inner.nodes.psi(), timeout)
    }
}
