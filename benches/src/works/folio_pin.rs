//! What does holding a folio cost when nobody else wants it? We expect two locked read-modify-writes
//! and hardly more: at most 1.1 times their time.
//!
//! The yardstick is two such instructions on a word of their own. Each guard is taken, its bytes' address
//! is made use of, and it is dropped.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{folio_of, pool_of, timed_on_cpu};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const ROWS: &[&str] = &["folio_hold_t1"];

/// Takes hold of one folio in every way there is.
pub(crate) fn measure_holding(plan: &Plan) -> Result<Outcome, Failure> {
    let holds = plan.scale.holds;
    let pool = pool_of(64 << 20)?;
    let folio = folio_of(&pool, 4096)?;
    let mut written = folio_of(&pool, 4096)?;
    let count = AtomicU64::new(0);
    let two_updates = || {
        // AcqRel and Release, as the folio's word is updated; on this machine all are one instruction.
        let before = black_box(&count).fetch_add(1, Ordering::AcqRel);
        black_box(before);
        black_box(&count).fetch_sub(1, Ordering::Release);
    };
    let folio = &folio;
    let contestants = vec![
        each("two updates", holds, two_updates),
        // What a count costs that must not be taken unless it may: the word decides.
        each("load, two updates", holds, || {
            let count = black_box(&count);
            // Relaxed: as above.
            let before = count.load(Ordering::Relaxed);
            // AcqRel: as above.
            let after = before + 1;
            let taken = count.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed);
            black_box(taken.is_ok());
            count.fetch_sub(1, Ordering::Release);
        }),
        each("read", holds, || {
            let bytes = black_box(folio).read().expect("it is in memory");
            black_box(bytes.as_ptr());
        }),
        each("try_read", holds, || {
            let bytes = black_box(folio).try_read().expect("it is in memory");
            black_box(bytes.as_ptr());
        }),
        each("pin", holds, || {
            let pin = black_box(folio).pin().expect("it is in memory");
            black_box(pin.as_ptr());
        }),
        each("write", holds, || {
            let mut bytes = black_box(&mut written).write().expect("it is in memory");
            black_box(bytes.as_mut_ptr());
        }),
    ];
    contest(ROWS, contestants, plan, Placement::OneCpu)
}

/// Does `once` over and over.
fn each<'a>(name: &'static str, times: usize, mut once: impl FnMut() + 'a) -> Contestant<'a> {
    Contestant::of_one(name, move || {
        timed_on_cpu(times, || {
            for _ in 0..times {
                once();
            }
        })
    })
}
