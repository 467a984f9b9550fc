//! A thread that waits for its group's room in vain, with a clock in its hand: what the pool counts as pressure
//! beside the sum of the waits.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use pagepool::{Gfp, GroupLimits, Order, PAGE_SIZE, PagePool};

use crate::report::PressureCheck;

/// How often, and for how long each time.
const WAITS: u32 = 10;
const PATIENCE: Duration = Duration::from_millis(100);

/// Between two waits, time that must not count.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits in a group of one page, which is taken. None if the pool has no page for it, or no place.
pub(super) fn check_pressure(pool: &PagePool) -> Option<PressureCheck> {
    let limits = GroupLimits::new().max(PAGE_SIZE);
    let group = pool.create_group("full", limits).ok()?;
    let block = group.alloc_pages(Order::ZERO, Gfp::KERNEL).ok()?;
    let before = group.pressure().some.total;
    let mut waited = Duration::ZERO;
    for _ in 0..WAITS {
        let begin = Instant::now();
        let granted = group
            .request(Order::ZERO, Gfp::KERNEL)
            .deadline(PATIENCE)
            .alloc();
        waited += begin.elapsed();
        drop(granted);
        std::thread::sleep(PAUSE);
    }
    let counted = group.pressure().some.total - before;
    drop(block);
    Some(PressureCheck::new(u64::from(WAITS), waited, counted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_are_counted_and_the_pauses_are_not() {
        let pool = PagePool::builder().memory(8 << 20).build().unwrap();
        let check = check_pressure(&pool).unwrap();
        assert!(check.waited_us >= 1_000_000, "{check:?}");
        assert!(check.counted_us <= check.waited_us, "{check:?}");
        // A busy machine takes some away between the two clocks; a pause that counted would be a tenth.
        assert!(check.error_percent < 8.0, "{check:?}");
        pool.verify().unwrap();
    }
}
