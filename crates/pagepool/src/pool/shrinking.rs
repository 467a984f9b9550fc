//! Users' caches: how they come to be trimmed with everything else when memory is short.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::PagePool;
use crate::reclaim::shrinkers::{Shrinker, ShrinkerError, ShrinkerHandle, ShrinkerOptions};
use crate::sync::clock;
use crate::types::PAGE_SIZE;

impl PagePool {
    /// Has a cache trimmed from now on when memory is short, until the handle is dropped (kernel:
    /// `register_shrinker`). See [`Shrinker`] for what it is called for, and what it may do.
    ///
    /// kswapd calls it, on a thread of the shrinker's own, and so do requests that may wait for locks of the
    /// application ([`Gfp::FS`](crate::Gfp::FS), part of [`Gfp::KERNEL`](crate::Gfp::KERNEL)). Reclaim does
    /// not stand still for this, nor the other way round.
    ///
    /// # Errors
    /// [`ShrinkerError::OutOfRange`] names an option, its value and what is accepted;
    /// [`ShrinkerError::TooMany`] if there is no room for another, for which
    /// [`max_shrinkers`](super::Builder::max_shrinkers) plans.
    pub fn register_shrinker(
        &self,
        options: ShrinkerOptions,
        shrinker: Arc<dyn Shrinker>,
    ) -> Result<ShrinkerHandle, ShrinkerError> {
        let handle = self.inner.shrinkers.register(options, shrinker)?;
        // Memory may be had from now on that somebody waits for.
        self.inner.nodes.freed().wake_all();
        Ok(handle)
    }

    /// Has every registered cache free what it can, again and again until hardly anything comes of it or
    /// `patience` ends; returns the bytes that were freed (kernel: `drop_caches`, 2).
    ///
    /// Does nothing inside a call of the pool's own stores or shrinkers, which it would wait for, nor while
    /// [`vfs_cache_pressure`](super::Tunables::vfs_cache_pressure) is 0.
    pub fn drop_slab(&self, patience: Duration) -> usize {
        let deadline = clock::deadline_after(patience);
        self.inner.reclaimer().drop_slab(deadline) * PAGE_SIZE
    }
}
