//! Threads: std's in production, loom's under loom, shuttle's in a simulation.
//!
//! No layer below the daemons starts a thread; this is only where they get them.

use std::io;
use std::time::Duration;

#[cfg(loom)]
use loom::thread as imp;
#[cfg(shuttle)]
use shuttle::thread as imp;
#[cfg(not(any(loom, shuttle)))]
use std::thread as imp;

/// Declares values that each thread has for itself. Constant and without a destructor: using them
/// neither allocates nor fails at the thread's end.
macro_rules! per_thread {
    ($(static $name:ident: $type:ty = $init:expr;)+) => {
        #[cfg(not(any(loom, shuttle)))]
        std::thread_local! {
            $(static $name: $type = const { $init };)+
        }
        #[cfg(shuttle)]
        shuttle::thread_local! {
            $(static $name: $type = $init;)+
        }
        #[cfg(loom)]
        loom::thread_local! {
            $(static $name: $type = $init;)+
        }
    };
}
pub(crate) use per_thread;

/// The same for values that have something to do when their thread ends. The first use of one may allocate, and
/// there is none any more while its thread ends.
macro_rules! per_thread_until_its_end {
    ($($all:tt)+) => { $crate::sync::thread::per_thread! { $($all)+ } };
}
pub(crate) use per_thread_until_its_end;

/// Returns a number that it has not returned before, from 1 on.
#[must_use]
pub fn next_unique() -> u64 {
    // std's also in models: it is nothing that threads agree on anything by, and lives longer than they do.
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Whether this thread unwinds because its model failed: then a destructor can touch nothing that the
/// model shares. Never so in production.
#[must_use]
pub fn is_model_over() -> bool {
    cfg!(any(loom, shuttle)) && std::thread::panicking()
}

/// The right to wait for a thread's end and result.
pub type JoinHandle<T> = imp::JoinHandle<T>;

/// What tells threads apart.
pub type ThreadId = imp::ThreadId;

/// Returns the calling thread's.
#[must_use]
pub fn current_id() -> ThreadId {
    imp::current().id()
}

/// Returns the number by which the system knows the calling thread (kernel: its pid).
#[cfg(not(loom))]
#[must_use]
pub fn os_id() -> u32 {
    per_thread! {
        static OS_ID: std::cell::Cell<u32> = std::cell::Cell::new(0);
    }
    OS_ID.with(|known| {
        if known.get() == 0 {
            // SAFETY: it takes nothing and cannot fail.
            known.set(unsafe { libc::gettid() }.cast_unsigned());
        }
        known.get()
    })
}

/// The same in a model, where there is nobody to look a thread up.
#[cfg(loom)]
#[must_use]
pub fn os_id() -> u32 {
    0
}

/// Starts a thread. The system shows at most 15 bytes of `name`.
///
/// # Errors
/// When the system has no thread to give.
///
/// # Panics
/// In debug builds, if the thread holds a ranked lock: it takes memory from the program's allocator, and may wait
/// for whoever maps memory.
pub fn spawn<T, F>(name: &str, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    super::lock_order::assert_none_held("starting a thread");
    #[cfg(all(feature = "__watched-tests", not(any(loom, shuttle))))]
    super::watchdog::watch_this_test();
    imp::Builder::new().name(name.to_owned()).spawn(f)
}

/// Lets other threads run. A loop that waits for another thread must call it, or a model never
/// ends.
pub fn yield_now() {
    imp::yield_now();
}

/// Suspends this thread. A wait that somebody may want to cut short goes through a wait queue
/// instead.
#[cfg(not(any(loom, shuttle)))]
pub fn sleep(duration: Duration) {
    imp::sleep(duration);
}

/// Lets other threads run: time stands still in a model.
#[cfg(loom)]
pub fn sleep(_duration: Duration) {
    imp::yield_now();
}

/// Suspends this thread until the simulation's time has come.
#[cfg(shuttle)]
pub fn sleep(duration: Duration) {
    super::sim::pause(duration);
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_name_and_gives_its_result() {
        let thread = spawn("kswapd0", || {
            std::thread::current().name().map(str::to_owned)
        });
        let name = thread
            .expect("threads are to be had")
            .join()
            .expect("it does not panic");
        assert_eq!(name.as_deref(), Some("kswapd0"));
    }
}
