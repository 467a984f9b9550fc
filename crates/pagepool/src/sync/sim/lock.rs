//! A lock and a condition variable whose waiters are tasks of a simulation, with std's signatures.
//!
//! Shuttle has its own, which ask the scheduler at each step; these ask it at [points](super::point) only, as
//! atomics do, and whenever somebody has to wait.
//!
//! **Invariant** I1: whoever waits is in `waiters` until somebody lets go, or rings, after it came there. No
//! other task runs between a look at the lock and the entry, so none is missed.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult};

use shuttle::thread::{self, Thread};

use super::point;

/// Tasks that wait for the same thing.
#[derive(Debug, Default)]
struct Waiters(std::sync::Mutex<Vec<Arc<Waiter>>>);

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    // Relaxed throughout: the tasks of a simulation share one real thread.
    is_called: AtomicBool,
}

impl Waiters {
    /// Held for a look only: no task waits for it.
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter {
            thread: thread::current(),
            is_called: AtomicBool::new(false),
        });
        self.list().push(Arc::clone(&waiter));
        waiter
    }

    fn call_all(&self) {
        let called = std::mem::take(&mut *self.list());
        for waiter in called {
            waiter.is_called.store(true, Relaxed);
            waiter.thread.unpark();
        }
    }
}

impl Waiter {
    fn wait(&self) {
        while !self.is_called.load(Relaxed) {
            thread::park();
        }
    }
}

/// Mutual exclusion of tasks.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    // Only ever tried: it is the task that waits, not the thread.
    inner: std::sync::Mutex<T>,
    waiters: Waiters,
}

impl<T> Mutex<T> {
    /// Returns a lock around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            inner: std::sync::Mutex::new(value),
            waiters: Waiters(std::sync::Mutex::new(Vec::new())),
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// If a holder panicked; the lock is taken all the same.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        point();
        loop {
            match self.inner.try_lock() {
                Ok(inner) => return Ok(self.guard(inner)),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return Ok(self.guard(poisoned.into_inner()));
                }
                Err(TryLockError::WouldBlock) => self.waiters.enter().wait(),
            }
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// If it is not.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        point();
        match self.inner.try_lock() {
            Ok(inner) => Ok(self.guard(inner)),
            Err(TryLockError::Poisoned(poisoned)) => Ok(self.guard(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }

    fn guard<'a>(&'a self, inner: std::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard {
            lock: self,
            inner: Some(inner),
        }
    }
}

/// A held [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    inner: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("held until it is dropped")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("held until it is dropped")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.take());
        if !std::thread::panicking() {
            self.lock.waiters.call_all();
            point();
        }
    }
}

/// A condition variable of tasks.
#[derive(Debug, Default)]
pub struct Condvar(Waiters);

impl Condvar {
    /// Unlocks, waits to be notified, locks again.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let lock = guard.lock;
        let waiter = self.0.enter();
        drop(guard);
        waiter.wait();
        lock.lock()
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.call_all();
        point();
    }
}
