//! When a pool's daemons get their threads.

#![forbid(unsafe_code)]

/// When a pool's daemons, a `kswapd` and a `kcompactd` a node, get their threads. From a `bool`: `true` is on
/// demand, `false` never.
///
/// ```
/// use pagepool::{DaemonStart, DaemonState, PagePool};
///
/// let pool = PagePool::builder().memory(64 << 20);
/// let kswapd = |pool: &PagePool| pool.stats().nodes[0].kswapd;
/// assert_eq!(kswapd(&pool.clone().build()?), DaemonState::OnCall);
/// assert_eq!(kswapd(&pool.clone().daemons(DaemonStart::AtOnce).build()?), DaemonState::Running);
/// assert_eq!(kswapd(&pool.daemons(false).build()?), DaemonState::Absent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum DaemonStart {
    /// There are none: requests that find memory short reclaim for themselves.
    Never,
    /// A daemon gets its thread when something is first asked of it: when memory runs short, or has come to be in
    /// pieces. Who asks starts it, once in its life, which takes some tens of microseconds and memory from the
    /// program's allocator; a request that may not block leaves that to the next one that may, unless it is about
    /// to be refused. If the system has no thread to give, requests do the daemon's work, and one of them tries
    /// again from time to time.
    #[default]
    OnDemand,
    /// All have their threads when the pool is built, or it is not built. For programs in which a request must
    /// start none: it may come from inside the allocator that a new thread would need, or no thread can be had
    /// later.
    AtOnce,
}

impl From<bool> for DaemonStart {
    fn from(wanted: bool) -> DaemonStart {
        if wanted {
            DaemonStart::OnDemand
        } else {
            DaemonStart::Never
        }
    }
}
