//! Does one operation over and over, so that its instructions can be counted: `.ci/instructions` runs this
//! under a tool that counts, for two lengths, and divides the difference by that of the lengths.
//!
//! Starting, opening the pool and closing it are the same for both lengths and cancel out. The pool has no
//! daemons, so that every run executes the same; the row for two threads runs one after the other. Under
//! such a tool no restartable sequences are registered: what is counted is the path without them.
//!
//! `pagepool-instructions` lists the rows; `pagepool-instructions ROW LENGTH` runs one.
#![allow(
    clippy::disallowed_types,
    reason = "a bench measures real threads: nothing here is ever modelled or simulated"
)]

#[path = "../failure.rs"]
mod failure;
#[path = "../pin.rs"]
mod pin;

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::thread;

use pagepool::{Folio, Gfp, Order, PAGE_SIZE, PagePool, Pages, PagesUninit};

use crate::failure::Failure;
use crate::pin::{allowed_cpus, pin_to};

/// An operation.
struct Row {
    name: &'static str,
    /// How often it is done in the two runs. In both the pool's caches are as warm.
    lengths: [usize; 2],
    part: Part,
    run: fn(&Site, usize) -> Result<(), Failure>,
}

/// What a row's count is for.
enum Part {
    /// For the table.
    Whole,
    /// For the table, when the count of the row of this name is taken off.
    Less(&'static str),
    /// To be taken off another.
    Yardstick,
}

/// Where operations run.
struct Site {
    pool: PagePool,
    cpus: Vec<usize>,
}

/// Enough for the caches of up to 64 CPUs to be as large as they get.
const POOL_BYTES: usize = 8 << 30;

/// Pages that are asked for at once.
const BULK: usize = 64;

const ROWS: &[Row] = &[
    Row {
        name: "zero_page",
        lengths: [100 * BULK, 600 * BULK],
        part: Part::Yardstick,
        run: zero,
    },
    Row {
        name: "pair_o0",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, pairs| allocate_and_free(&site.pool, 0, pairs),
    },
    Row {
        name: "pair_o3",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, pairs| allocate_and_free(&site.pool, 3, pairs),
    },
    Row {
        name: "pair_o9",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, pairs| allocate_and_free(&site.pool, 9, pairs),
    },
    Row {
        name: "bulk_page",
        lengths: [100 * BULK, 600 * BULK],
        part: Part::Less("zero_page"),
        run: |site, pages| allocate_in_bulk(&site.pool, pages),
    },
    Row {
        name: "cross_thread_page",
        lengths: [4_096, 20_480],
        part: Part::Whole,
        run: free_elsewhere,
    },
    Row {
        name: "pin_unpin",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, times| {
            with_folio(&site.pool, times, |folio| {
                let pin = folio.pin().map_err(|error| broken(&error))?;
                black_box(pin.as_ptr());
                Ok(())
            })
        },
    },
    Row {
        name: "folio_read_guard",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, times| {
            with_folio(&site.pool, times, |folio| {
                let bytes = folio.read().map_err(|error| broken(&error))?;
                black_box(bytes.as_ptr());
                Ok(())
            })
        },
    },
    Row {
        name: "folio_read_at",
        lengths: [2_000, 12_000],
        part: Part::Whole,
        run: |site, times| {
            with_folio(&site.pool, times, |folio| {
                let mut word = [0; 8];
                { folio.read_at(64, &mut word) }.map_err(|error| broken(&error))?;
                black_box(word);
                Ok(())
            })
        },
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [] => list(),
        [name, length] => run(name, length),
        _ => Err(Failure::usage("give a row and a length, or nothing")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pagepool-instructions: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}

/// Prints the rows that can be run here: name, two lengths, and `whole`, `yardstick`, or the yardstick's name.
fn list() -> Result<(), Failure> {
    let can_cross = allowed_cpus()?.len() > 1;
    for row in ROWS {
        let [short, long] = row.lengths;
        if can_cross || row.name != "cross_thread_page" {
            let part = match row.part {
                Part::Whole => "whole",
                Part::Less(yardstick) => yardstick,
                Part::Yardstick => "yardstick",
            };
            println!("{} {short} {long} {part}", row.name);
        }
    }
    Ok(())
}

fn run(name: &str, length: &str) -> Result<(), Failure> {
    let row = { ROWS.iter() }
        .find(|row| row.name == name)
        .ok_or_else(|| Failure::usage(format!("there is no row {name:?}")))?;
    let length = { length.parse() }
        .map_err(|_| Failure::usage(format!("{length:?} is not a number of operations")))?;
    let cpus = allowed_cpus()?;
    pin_to(cpus[0])?;
    let pool = PagePool::builder()
        .managed(POOL_BYTES)
        .movable_share(0)
        .trim_threshold(POOL_BYTES)
        .daemons(false)
        .build()
        .map_err(|error| broken(&error))?;
    (row.run)(&Site { pool, cpus }, length)
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::broken(error.to_string())
}

#[inline(always)]
fn allocate(pool: &PagePool, order: Order) -> Result<PagesUninit, Failure> {
    { pool.alloc_pages_uninit(order, Gfp::KERNEL) }.map_err(|error| broken(&error))
}

fn allocate_and_free(pool: &PagePool, order: u8, pairs: usize) -> Result<(), Failure> {
    let order = Order::new(order).expect("a row's order is one");
    for _ in 0..pairs {
        drop(black_box(allocate(pool, order)?));
    }
    Ok(())
}

/// Zeroes pages as bulk blocks are: by a call of the C library, which has its own count on each machine.
fn zero(_site: &Site, pages: usize) -> Result<(), Failure> {
    let mut page = [1u8; PAGE_SIZE];
    for _ in 0..pages {
        black_box(page.as_mut_slice()).fill(0);
    }
    Ok(())
}

fn allocate_in_bulk(pool: &PagePool, pages: usize) -> Result<(), Failure> {
    let mut blocks: Vec<Pages> = Vec::with_capacity(BULK);
    for _ in 0..pages / BULK {
        let got = { pool.alloc_bulk(Order::ZERO, Gfp::KERNEL, BULK, &mut blocks) }
            .map_err(|error| broken(&error))?;
        if got != BULK {
            return Err(Failure::broken(format!("{got} pages of {BULK}")));
        }
        pool.free_bulk(blocks.drain(..));
    }
    Ok(())
}

/// Allocates all pages on one CPU, then frees all of them on another.
fn free_elsewhere(site: &Site, pages: usize) -> Result<(), Failure> {
    let other = *{ site.cpus.get(1) }.ok_or_else(|| Failure::usage("this row needs 2 CPUs"))?;
    let blocks = (0..pages)
        .map(|_| allocate(&site.pool, Order::ZERO))
        .collect::<Result<Vec<PagesUninit>, Failure>>()?;
    let freeing = thread::spawn(move || {
        let pinned = pin_to(other);
        drop(black_box(blocks));
        pinned
    });
    freeing.join().expect("freeing does not panic")
}

fn with_folio(
    pool: &PagePool,
    times: usize,
    mut once: impl FnMut(&Folio) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut folio =
        { pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE) }.map_err(|error| broken(&error))?;
    { folio.write() }.map_err(|error| broken(&error))?.fill(1);
    for _ in 0..times {
        once(black_box(&folio))?;
    }
    Ok(())
}
