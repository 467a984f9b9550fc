//! parking_lot's lock and condition variable with the signatures of std's, for ThreadSanitizer.
//!
//! The sanitizer sees the code that is built for it, and std is not: it comes built. What one thread passes to
//! another by a contended lock of std's would be reported as a race. These are built with the crate. They allocate
//! and are never poisoned, which production's must not and need not be.

#![forbid(unsafe_code)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "the library uses some of it, its tests the rest"
)]

use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

/// A lock.
#[derive(Debug, Default)]
pub struct Mutex<T>(parking_lot::Mutex<T>);

/// A held [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T>(parking_lot::MutexGuard<'a, T>);

/// A condition variable.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(parking_lot::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(MutexGuard(self.0.lock()))
    }

    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let guard = self.0.try_lock().ok_or(TryLockError::WouldBlock)?;
        Ok(MutexGuard(guard))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Condvar {
    pub const fn new() -> Condvar {
        Condvar(parking_lot::Condvar::new())
    }

    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(&mut guard.0);
        Ok(guard)
    }

    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait_while(&mut guard.0, condition);
        Ok(guard)
    }

    pub fn wait_timeout<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Result<(MutexGuard<'a, T>, bool), PoisonError<(MutexGuard<'a, T>, bool)>> {
        let ended = self.0.wait_for(&mut guard.0, timeout);
        Ok((guard, ended.timed_out()))
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
