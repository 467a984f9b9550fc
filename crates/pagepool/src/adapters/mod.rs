//! Pools behind the interfaces of other libraries and programs, a feature each.

#[cfg(feature = "allocator-api2")]
mod allocator;
#[cfg(any(feature = "metrics", all(feature = "serve", not(any(loom, shuttle)))))]
mod figures;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(all(feature = "serve", not(any(loom, shuttle))))]
pub(crate) mod serve;
