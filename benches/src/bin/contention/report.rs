//! From what was counted to a row of the table, and the table: arithmetic and text.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::machine::{Books, LineBook, LockBook};
use crate::places;
use crate::queue::Demand;

/// A lock or line is saturated that is in use for more than this share of the time: the rest passes on the way from
/// one to the next, who may have to be woken.
const SATURATED: f64 = 0.7;

/// Lines and locks that are named.
const NAMED: usize = 8;

/// What so many threads got done.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) threads: usize,
    /// Allocations with their frees, in a second.
    pub(crate) rate: f64,
    pub(crate) instructions: f64,
    pub(crate) locked: f64,
    transfers: f64,
    hand_overs: f64,
    found_taken: f64,
    sleeps: f64,
    /// The same by the formula for queues, and what is beyond reach.
    queued: f64,
    bound: f64,
    lock: Option<Busiest>,
    line: Option<Busiest>,
}

/// What is in use for the greatest share of the time.
#[derive(Clone, Debug)]
struct Busiest {
    name: String,
    share: f64,
}

impl Row {
    /// What was written down of so many threads, within so many nanoseconds.
    pub(crate) fn of(books: &Books, span: f64, threads: usize) -> Row {
        let counts = books.counts;
        let pairs = books.pairs();
        let each = |count: u64| count as f64 / pairs;
        let sum = |count: fn(&LockBook) -> u64| each(books.locks.values().map(count).sum());
        let demand = demand(books);
        Row {
            threads,
            rate: pairs / span * 1e9,
            instructions: each(counts.instructions),
            locked: each(counts.locked),
            transfers: each(counts.transfers),
            hand_overs: sum(|lock| lock.hand_overs),
            found_taken: sum(|lock| lock.found_taken),
            sleeps: each(counts.sleeps),
            queued: demand.rate(threads),
            bound: demand.bound(threads),
            lock: busiest(&books.locks, span, |lock| lock.held_ns, lock_name),
            line: busiest(
                &books.lines,
                span,
                |line| line.busy_ns,
                |line| places::busiest(&line.places, 1),
            ),
        }
    }
}

/// What an allocation with its free takes of a thread alone, of each lock, and of each line outside of locks.
fn demand(books: &Books) -> Demand {
    let pairs = books.pairs();
    let is_shared = |lock: &&LockBook| lock.hand_overs > 0;
    let locks = { books.locks.values() }
        .filter(is_shared)
        .map(|lock| lock.held_ns);
    let lines = { books.lines.values() }.map(|line| line.unlocked_ns);
    let stations_ns: Vec<f64> = locks.chain(lines).map(|ns| ns / pairs).collect();
    let at_stations: f64 = stations_ns.iter().sum();
    Demand {
        alone_ns: (books.counts.work_ns / pairs - at_stations).max(0.0),
        stations_ns,
    }
}

fn busiest<'a, B: 'a>(
    books: impl IntoIterator<Item = (&'a u64, &'a B)>,
    span: f64,
    busy: impl Fn(&B) -> f64,
    name: impl Fn(&B) -> String,
) -> Option<Busiest> {
    let books = books.into_iter().map(|(_, book)| (busy(book), book));
    let (busy, book) = books.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (busy > 0.0).then(|| Busiest {
        name: name(book),
        share: busy / span,
    })
}

fn lock_name(lock: &LockBook) -> String {
    let place = lock.places.iter().max_by_key(|(_, count)| **count);
    let known = place.and_then(|(place, _)| places::lock(&places::frames(*place)));
    known.map_or_else(|| places::busiest(&lock.places, 1), str::to_owned)
}

/// What stands above the rows.
pub(crate) fn heading() -> String {
    format!(
        "{:>7} {:>10} {:>10} {:>9} {:>9} {:>9} {:>8} {:>8} {:>7} {:>9} {:>9}  {}\n",
        "threads",
        "million/s",
        "efficiency",
        "instr",
        "transfers",
        "handovers",
        "taken",
        "sleeps",
        "locked",
        "queue",
        "bound",
        "busiest lock; line"
    )
}

/// A row as text, beside what one thread gets done.
pub(crate) fn line(row: &Row, alone: f64) -> String {
    let named = |busiest: &Option<Busiest>| match busiest {
        Some(Busiest { name, share }) => format!("{name} {:.0} %", share * 100.0),
        None => "none".to_owned(),
    };
    format!(
        "{:>7} {:>10.2} {:>8.0} % {:>9.0} {:>9.2} {:>9.3} {:>8.3} {:>8.4} {:>7.2} {:>9.2} {:>9.2}  {}; {}\n",
        row.threads,
        row.rate / 1e6,
        row.rate / alone / row.threads as f64 * 100.0,
        row.instructions,
        row.transfers,
        row.hand_overs,
        row.found_taken,
        row.sleeps,
        row.locked,
        row.queued / 1e6,
        row.bound / 1e6,
        named(&row.lock),
        named(&row.line)
    )
}

/// What is the first to be saturated, in a sentence.
pub(crate) fn verdict(rows: &[Row]) -> String {
    for row in rows {
        for (what, busiest) in [("lock", &row.lock), ("line", &row.line)] {
            if let Some(Busiest { name, share }) = busiest
                && *share > SATURATED
                && row.threads > 1
            {
                let percent = share * 100.0;
                return format!(
                    "first saturated: the {what} of {name}, at {} threads ({percent:.0} % of the time)\n",
                    row.threads
                );
            }
        }
    }
    "nothing is saturated\n".to_owned()
}

/// The busiest locks and lines, with the places in the code that took or moved them.
pub(crate) fn details(books: &Books, span: f64) -> String {
    let pairs = books.pairs();
    let mut text = String::new();
    for lock in most(books.locks.values(), |lock| lock.held_ns) {
        writeln!(
            text,
            "    lock {:>3.0} %, {:.3} takes of {:.0} ns, {:.3} hand-overs, {:.3} found taken: {}",
            lock.held_ns / span * 100.0,
            lock.takes as f64 / pairs,
            lock.held_ns / lock.takes.max(1) as f64,
            lock.hand_overs as f64 / pairs,
            lock.found_taken as f64 / pairs,
            places::busiest(&lock.places, 3)
        )
        .expect("writing to a string does not fail");
    }
    for line in most(books.lines.values(), |line: &LineBook| line.busy_ns) {
        writeln!(
            text,
            "    line {:>3.0} %, {:.3} transfers: {}",
            line.busy_ns / span * 100.0,
            line.transfers as f64 / pairs,
            places::busiest(&line.places, 3)
        )
        .expect("writing to a string does not fail");
    }
    let mut places = std::collections::HashMap::new();
    for line in books.lines.values() {
        for (place, count) in &line.places {
            *places.entry(*place).or_default() += count;
        }
    }
    let (most_of, sum) = (places::busiest(&places, NAMED), books.counts.transfers);
    writeln!(text, "    of {sum} transfers: {most_of}").expect("writing to a string does not fail");
    text
}

fn most<'a, B>(books: impl Iterator<Item = &'a B>, busy: impl Fn(&B) -> f64) -> Vec<&'a B> {
    let mut books: Vec<&B> = books.filter(|book| busy(book) > 0.0).collect();
    books.sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    books.truncate(NAMED);
    books
}
