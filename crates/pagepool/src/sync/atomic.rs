//! Atomic integers: std's in production and in a simulation, loom's under loom.
//!
//! The names are aliases and not re-exports, because clippy's `disallowed_types` looks through a
//! re-export and would forbid std's atomics under this name too.
//!
//! **The probe.** loom 0.7 remembers only the last access to each atomic, so a thread's own load
//! hides an earlier load of another thread from the race check of the store that follows, and whole
//! families of interleavings are never tried (loom issues 166 and 392). Under loom each atomic
//! therefore carries a second one, which every access touches first by a read-modify-write: those
//! are tracked correctly and order any two accesses both ways, while the value itself may still be
//! read stale. It costs two to four times the executions. `PAGEPOOL_LOOM_PLAIN=1` switches it off,
//! for a run at a higher preemption bound.
//!
//! In a simulation, the probe is where another thread may go on; see [`sim`](super::sim).

#[cfg(not(any(loom, shuttle)))]
pub use imp::*;
pub use std::sync::atomic::Ordering;

#[cfg(any(loom, shuttle))]
pub use probed::*;

#[cfg(not(any(loom, shuttle)))]
mod imp {
    /// A `bool` that threads share.
    pub type AtomicBool = std::sync::atomic::AtomicBool;
    /// An `i8` that threads share.
    pub type AtomicI8 = std::sync::atomic::AtomicI8;
    /// An `i64` that threads share.
    pub type AtomicI64 = std::sync::atomic::AtomicI64;
    /// A `u8` that threads share.
    pub type AtomicU8 = std::sync::atomic::AtomicU8;
    /// A `u32` that threads share.
    pub type AtomicU32 = std::sync::atomic::AtomicU32;
    /// A `u64` that threads share.
    pub type AtomicU64 = std::sync::atomic::AtomicU64;
    /// A `usize` that threads share.
    pub type AtomicUsize = std::sync::atomic::AtomicUsize;
}

#[cfg(any(loom, shuttle))]
mod probed {
    use std::fmt;
    use std::sync::atomic::Ordering;

    #[cfg(loom)]
    use loom::sync::atomic as imp;
    #[cfg(shuttle)]
    use std::sync::atomic as imp;

    #[cfg(shuttle)]
    use crate::sync::sim::Probe;

    /// The second atomic, which makes loom see every pair of accesses to the first.
    #[cfg(loom)]
    struct Probe(Option<imp::AtomicUsize>);

    #[cfg(loom)]
    impl Probe {
        fn new() -> Probe {
            static PLAIN: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
            let plain = PLAIN.get_or_init(|| std::env::var_os("PAGEPOOL_LOOM_PLAIN").is_some());
            Probe((!plain).then(|| imp::AtomicUsize::new(0)))
        }

        /// Makes the access that follows a choice of loom's scheduler.
        #[track_caller]
        fn touch(&self) {
            if let Some(probe) = &self.0 {
                // Relaxed: it must not order what the access under test does not order itself.
                probe.fetch_add(0, Ordering::Relaxed);
            }
        }
    }

    macro_rules! probed_atomic {
        ($name:ident, $int:ty, { $($op:ident)* }) => {
            #[doc = concat!("A `", stringify!($int), "` that a model's threads share.")]
            #[cfg_attr(shuttle, repr(transparent))]
            pub struct $name {
                value: imp::$name,
                probe: Probe,
            }

            #[cfg_attr(shuttle, allow(dead_code, reason = "the set is that of the models"))]
            impl $name {
                /// Returns an atomic that holds `value`.
                #[track_caller]
                pub fn new(value: $int) -> Self {
                    Self { value: imp::$name::new(value), probe: Probe::new() }
                }

                /// Returns the value.
                #[track_caller]
                pub fn load(&self, order: Ordering) -> $int {
                    self.probe.touch();
                    self.value.load(order)
                }

                /// Replaces the value.
                #[track_caller]
                pub fn store(&self, value: $int, order: Ordering) {
                    self.probe.touch();
                    self.value.store(value, order);
                }

                /// Replaces the value if it is `current`; returns what it was.
                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $int,
                    new: $int,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$int, $int> {
                    self.probe.touch();
                    self.value.compare_exchange(current, new, success, failure)
                }

                /// The same; models make no spurious failures.
                #[track_caller]
                pub fn compare_exchange_weak(
                    &self,
                    current: $int,
                    new: $int,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$int, $int> {
                    self.compare_exchange(current, new, success, failure)
                }

                /// Replaces the value by what `f` makes of it, unless that is nothing.
                #[track_caller]
                pub fn fetch_update(
                    &self,
                    set_order: Ordering,
                    fetch_order: Ordering,
                    mut f: impl FnMut($int) -> Option<$int>,
                ) -> Result<$int, $int> {
                    let mut old = self.load(fetch_order);
                    while let Some(new) = f(old) {
                        match self.compare_exchange(old, new, set_order, fetch_order) {
                            Ok(_) => return Ok(old),
                            Err(now) => old = now,
                        }
                    }
                    Err(old)
                }

                $(
                    /// The read-modify-write operation of std that has this name.
                    #[track_caller]
                    pub fn $op(&self, value: $int, order: Ordering) -> $int {
                        self.probe.touch();
                        self.value.$op(value, order)
                    }
                )*
            }

            impl Default for $name {
                #[track_caller]
                fn default() -> Self {
                    Self::new(<$int>::default())
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.value.fmt(f)
                }
            }
        };
    }

    macro_rules! probed_int {
        ($name:ident, $int:ty) => {
            probed_atomic!($name, $int, {
                swap fetch_add fetch_sub fetch_or fetch_and fetch_xor fetch_max fetch_min
            });

            #[cfg_attr(shuttle, allow(dead_code, reason = "the set is that of the models"))]
            impl $name {
                /// Returns the value of an atomic that nobody shares any more.
                #[must_use]
                #[track_caller]
                pub fn into_inner(self) -> $int {
                    self.value.into_inner()
                }
            }
        };
    }

    probed_atomic!(AtomicBool, bool, { swap fetch_or fetch_and fetch_xor });
    probed_int!(AtomicI8, i8);
    probed_int!(AtomicI64, i64);
    probed_int!(AtomicU8, u8);
    probed_int!(AtomicU32, u32);
    probed_int!(AtomicU64, u64);
    probed_int!(AtomicUsize, usize);
}
