//! A lock and a condition variable whose waiters are tasks of a simulation, with std's signatures.
//!
//! Shuttle has its own, which ask the scheduler at each step; these ask it at [points](super::point) only, as
//! atomics do, and whenever somebody has to wait.
//!
//! **Invariant** I1: whoever waits is in `waiters` until somebody lets go, or rings, after it came there. No
//! other task runs between a look at the lock and the entry, so none is missed.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::{LockResult, TryLockError, TryLockResult};

use shuttle::thread::{self, Thread};

use super::point;

/// Tasks that wait for the same thing.
#[derive(Debug, Default)]
struct Waiters(RefCell<Vec<Rc<Waiter>>>);

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    is_called: Cell<bool>,
}

// SAFETY: the tasks of a simulation share one real thread, and nothing else uses these locks.
unsafe impl Send for Waiters {}
// SAFETY: as above.
unsafe impl Sync for Waiters {}

impl Waiters {
    fn enter(&self) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter {
            thread: thread::current(),
            is_called: Cell::new(false),
        });
        self.0.borrow_mut().push(Rc::clone(&waiter));
        waiter
    }

    fn call_all(&self) {
        if self.0.borrow().is_empty() {
            return;
        }
        for waiter in self.0.take() {
            waiter.is_called.set(true);
            waiter.thread.unpark();
        }
    }
}

impl Waiter {
    fn wait(&self) {
        while !self.is_called.get() {
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
            waiters: Waiters(RefCell::new(Vec::new())),
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
