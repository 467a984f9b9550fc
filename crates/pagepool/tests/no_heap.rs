//! What must not take memory from the heap: it happens when there is none.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;

use pagepool::{AllocError, DaemonStart, Gfp, Order, PagePool, RecordOptions};

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count of what each thread has taken.
struct Counting;

// SAFETY: everything is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Times that `f` takes memory from the heap, in this thread.
fn taken_by(f: impl FnOnce()) -> u64 {
    let before = TAKEN.get();
    f();
    TAKEN.get() - before
}

/// A line of text of a fixed size.
struct Buffer {
    text: [u8; 16 << 10],
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let room = { self.text[self.len..].get_mut(..s.len()) }.ok_or(std::fmt::Error)?;
        room.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

#[test]
fn the_count_sees_what_is_taken() {
    assert_eq!(taken_by(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_refusal_and_its_report_take_nothing() {
    let pool = PagePool::builder().managed(8 << 20).build().unwrap();
    let alloc = || pool.alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::NORETRY);
    let mut blocks = Vec::with_capacity(4096);
    while let Ok(block) = alloc() {
        blocks.push(block);
    }
    assert!(blocks.len() > 1000 && blocks.len() < 4096);
    let before = pool.stats().failure_reports;
    let taken = taken_by(|| {
        let refused = alloc();
        assert_eq!(refused.unwrap_err(), AllocError::BelowMin);
    });
    assert_eq!(pool.stats().failure_reports, before + 1);
    assert_eq!(taken, 0, "a refusal took memory from the heap");

    let report = pool.failures().pop().unwrap();
    let mut buffer = Buffer {
        text: [0; 16 << 10],
        len: 0,
    };
    assert_eq!(taken_by(|| write!(buffer, "{report}").unwrap()), 0);
    let text = std::str::from_utf8(&buffer.text[..buffer.len]).unwrap();
    assert_eq!(text, report.to_string());
}

#[test]
fn what_is_recorded_takes_nothing() {
    // Pages of two types in a small pool raise a mark; who first tells a daemon starts its thread.
    let pool = PagePool::builder().managed(8 << 20);
    let pool = pool.daemons(DaemonStart::AtOnce).build().unwrap();
    // Less than what is recorded, and so much that not all of it goes to the file at once.
    let small = RecordOptions::ring(64 << 10);
    let file = tempfile::NamedTempFile::new().unwrap();
    for options in [small, RecordOptions::file(file.path()).buffer(64 << 10)] {
        let recording = pool.record(options).unwrap();
        let mut folio = pool.alloc_folio(4096, Gfp::USER_MOVABLE).unwrap();
        let taken = taken_by(|| {
            for _ in 0..5000 {
                drop(pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
                folio.write().unwrap()[0] += 1;
                folio.discard().unwrap();
            }
        });
        assert_eq!(taken, 0, "the heap was asked for memory");
        drop(folio);
        let recorded = recording.stop().unwrap();
        let all = recorded.events + recorded.dropped + recorded.overwritten;
        assert!(all > 20_000, "{recorded:?}");
    }
}
