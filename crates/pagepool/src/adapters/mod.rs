//! Pools behind the interfaces of other libraries, a feature each.

#[cfg(feature = "allocator-api2")]
mod allocator;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
