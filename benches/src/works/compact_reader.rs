//! What does a reader see of moves? We expect hardly anything: at the 99.99th percentile at most 10 µs more than
//! without them, a maximum no longer than that of a loop that reads nothing, and never a wrong byte.
//!
//! A thread reads a line of 64 bytes of a folio, each time another one, by a guard or by copying it out, and
//! looks at the clock before and after. All lines hold the number of the last write, which is done now and then,
//! so that a read that is torn or old is found; one ends the run. Beside it another thread has the folio
//! moved without pause ([`Dance`]): it leaves it alone in its part of the memory, makes another part the better
//! place for it, and has the pool compact. The yardstick is the same without that thread; the bare loop, beside
//! it, does nothing but look at the clock.
//!
//! *Not here:* folios of 4 MiB. The pool has no larger blocks to make, and so never moves them.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use pagepool::{AccessError, AllocError, Folio, Gfp, Order, PagePool, Pages, PagesUninit};

use super::companion::Companion;
use super::{folio_of, huge_order};
use crate::Failure;
use crate::contest::{Contestant, Placement, contest};
use crate::pin::pin_to;
use crate::plan::Plan;
use crate::report::Outcome;

pub(crate) const PAGE: &[&str] = &["compact_reader_4k_p9999", "compact_reader_4k_max"];
pub(crate) const CHUNK: &[&str] = &["compact_reader_128k_p9999", "compact_reader_128k_max"];
pub(crate) const HUGE: &[&str] = &["compact_reader_2m_p9999", "compact_reader_2m_max"];

/// What the pool has: all in the reach of a compaction of a few microseconds.
const MEMORY: usize = 64 << 20;

/// How long a compaction may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lines of a folio that are written and read, evenly spread.
const LINES: usize = 64;
const LINE: usize = 64;

/// Reads between two writes: rare enough for a copy of 2 MiB to come to its end.
const READS_PER_WRITE: usize = 16 << 10;

/// Reads a folio of `order` as often as the plan says, in every way.
pub(crate) fn measure_reading(
    plan: &Plan,
    order: u8,
    rows: &'static [&'static str],
) -> Result<Outcome, Failure> {
    let Some(&other_cpu) = plan.cpus.get(1) else {
        let why = "needs 2 CPUs, this process may use 1".to_owned();
        return Ok(Outcome::Skipped { works: rows, why });
    };
    let order = Order::new(order).expect("in range");
    let built = PagePool::builder()
        .managed(MEMORY)
        .movable_share(0)
        .daemons(false)
        .trim_threshold(MEMORY)
        .build();
    let pool = built.map_err(|error| Failure::broken(format!("a small pool: {error}")))?;
    let (folio, mut dance) = match order < huge_order() {
        true => Dance::of_parts(&pool, order)?,
        false => Dance::of_halves(&pool)?,
    };
    let reader = RefCell::new(Reader::new(folio, plan.scale.moved_reads));
    let companion = Companion::default();
    let moves: [Cell<u64>; 4] = Default::default();
    let outcome = thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let pinned = pin_to(other_cpu);
            companion.serve(|| dance.step(&pool));
            pinned
        });
        let beside = |who: usize, work: fn(&mut Reader) -> Result<Vec<f64>, Failure>| {
            let before = moved(&pool);
            companion.call(mover.thread());
            let figures = work(&mut reader.borrow_mut());
            companion.dismiss();
            moves[who].set(moves[who].get() + moved(&pool) - before);
            figures
        };
        let contestants = vec![
            Contestant::new("read, not moved", || reader.borrow_mut().by_guard()),
            Contestant::new("bare loop", || beside(1, Reader::bare)),
            Contestant::new("read", || beside(2, Reader::by_guard)),
            Contestant::new("read_at", || beside(3, Reader::by_copy)),
        ];
        let outcome = contest(rows, contestants, plan, Placement::OneCpu);
        companion.end(mover.thread());
        mover.join().expect("a panic ends the process")?;
        outcome
    });
    let mut outcome = outcome?;
    pool.verify()
        .map_err(|violation| Failure::broken(violation.to_string()))?;
    if reader.borrow().moves_seen == 0 {
        return Err(Failure::broken("the folio was never moved"));
    }
    if let Outcome::Rows(rows) = &mut outcome {
        for (row, moves) in rows.iter_mut().zip(moves.iter().cycle()) {
            row.moves = Some(moves.get()).filter(|moves| *moves > 0);
        }
    }
    Ok(outcome)
}

/// Folios of the pool that were moved until now.
fn moved(pool: &PagePool) -> u64 {
    pool.stats().vmstat.get("pgmigrate_success").unwrap_or(0)
}

/// Reads a folio that is its own, and looks at the clock.
struct Reader {
    folio: Folio,
    /// Reads in a round.
    reads: usize,
    /// The number of the last write, which is in every line.
    version: u64,
    next_line: usize,
    /// Where the folio was last, and how often it was elsewhere than before.
    place: usize,
    moves_seen: u64,
    /// Nanoseconds of each read of a round.
    samples: Vec<u32>,
}

type Line = [u64; 8];

impl Reader {
    fn new(folio: Folio, reads: usize) -> Reader {
        Reader {
            folio,
            reads,
            version: 0,
            next_line: 0,
            place: 0,
            moves_seen: 0,
            samples: Vec::with_capacity(reads),
        }
    }

    fn by_guard(&mut self) -> Result<Vec<f64>, Failure> {
        self.round(|folio, offset, line| {
            let bytes = folio.read()?;
            line.copy_from_slice(&bytes[offset..][..LINE]);
            Ok(Some(bytes.as_ptr().addr()))
        })
    }

    fn by_copy(&mut self) -> Result<Vec<f64>, Failure> {
        self.round(|folio, offset, line| folio.read_at(offset, line).map(|()| None))
    }

    /// Reads nothing: what the machine does to a loop.
    fn bare(&mut self) -> Result<Vec<f64>, Failure> {
        self.samples.clear();
        for number in 0..self.reads {
            let begun = Instant::now();
            black_box(number);
            self.samples.push(begun.elapsed().as_nanos() as u32);
        }
        Ok(self.figures())
    }

    /// `read` copies a line out, and may say where the folio is.
    #[inline]
    fn round(
        &mut self,
        read: impl Fn(&Folio, usize, &mut [u8; LINE]) -> Result<Option<usize>, AccessError>,
    ) -> Result<Vec<f64>, Failure> {
        self.samples.clear();
        for number in 0..self.reads {
            if number % READS_PER_WRITE == 0 {
                self.write()?;
            }
            let offset = self.any_line() * self.stride();
            let mut line = [0; LINE];
            let begun = Instant::now();
            let place = read(&self.folio, offset, &mut line).map_err(failed)?;
            self.samples.push(begun.elapsed().as_nanos() as u32);
            self.note(place);
            self.check(&line)?;
        }
        Ok(self.figures())
    }

    /// Bytes from one line to the next.
    fn stride(&self) -> usize {
        self.folio.len() / LINES
    }

    fn any_line(&mut self) -> usize {
        // An odd step through a power of two leaves none out.
        self.next_line = (self.next_line + 37) % LINES;
        self.next_line
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.version += 1;
        let (version, stride) = (self.version.to_ne_bytes(), self.stride());
        let mut bytes = self.folio.write().map_err(failed)?;
        for line in bytes.chunks_exact_mut(stride) {
            let words = line[..LINE].chunks_exact_mut(version.len());
            words.for_each(|word| word.copy_from_slice(&version));
        }
        let place = bytes.as_ptr().addr();
        drop(bytes);
        self.note(Some(place));
        Ok(())
    }

    fn note(&mut self, place: Option<usize>) {
        let Some(place) = place else { return };
        self.moves_seen += u64::from(self.place != 0 && self.place != place);
        self.place = place;
    }

    /// Every word is the number of the last write.
    fn check(&self, line: &[u8; LINE]) -> Result<(), Failure> {
        let word = |n: usize| u64::from_ne_bytes(line[8 * n..][..8].try_into().expect("a word"));
        let found: Line = std::array::from_fn(word);
        if found == [self.version; 8] {
            return Ok(());
        }
        let version = self.version;
        Err(Failure::broken(format!(
            "a read found {found:?} where {version} was written: torn, or lost"
        )))
    }

    fn figures(&mut self) -> Vec<f64> {
        self.samples.sort_unstable();
        let last = self.samples.len() - 1;
        let at = |share: f64| f64::from(self.samples[(last as f64 * share).round() as usize]);
        vec![at(0.9999), at(1.0)]
    }
}

fn failed(error: AccessError) -> Failure {
    Failure::broken(format!("a folio in memory: {error}"))
}

/// What has a folio moved, over and over. In each step the memory around the folio is such that to move it is
/// the cheapest way to a larger free block, and there is one place for it to go to.
enum Dance {
    /// A folio smaller than a pageblock. The rest of its pageblock is taken; as much is taken of another
    /// pageblock, so that there is one hole of the folio's size, and then the former is freed.
    Parts { order: Order, ballast: Ballast },
    /// A folio of a pageblock, of which two make a block of 4 MiB. It has one alone, another folio has half of
    /// another, and nothing else is so large. Whoever asks for 4 MiB while the other folio is held has this one
    /// moved beside it, and gets what it has left, half of which becomes the next other folio.
    Halves {
        other: Folio,
        /// All other memory, with holes that are smaller.
        _held: Vec<Pages>,
    },
}

impl Dance {
    fn of_parts(pool: &PagePool, order: Order) -> Result<(Folio, Dance), Failure> {
        let folio = folio_of(pool, order.bytes())?;
        let ballast = Ballast::take(pool, order)?;
        Ok((folio, Dance::Parts { order, ballast }))
    }

    fn of_halves(pool: &PagePool) -> Result<(Folio, Dance), Failure> {
        let mut whole = take_all(pool, Order::MAX);
        let too_few = || Failure::broken("a pool has too few blocks of 4 MiB");
        let (one, other) = whole.pop().zip(whole.pop()).ok_or_else(too_few)?;
        let quarter = Order::new(8).expect("in range");
        let mut held = Vec::new();
        for block in whole {
            let mut quarters = block.split(quarter);
            drop(quarters.next());
            held.extend(quarters);
        }
        // What could not be had before, for want of memory beside it.
        held.extend(take_all(pool, Order::MAX));
        held.extend(take_all(pool, huge_order()));
        let mut halves = one.split(huge_order());
        drop(halves.next());
        let folio = folio_of(pool, huge_order().bytes())?;
        drop(other);
        let other = half(pool)?;
        drop(halves);
        Ok((folio, Dance::Halves { other, _held: held }))
    }

    /// Has the folio moved once, if its reader lets it go.
    fn step(&mut self, pool: &PagePool) {
        match self {
            Dance::Parts {
                order,
                ballast: old,
            } => {
                let Ok(new) = Ballast::take(pool, *order) else {
                    return;
                };
                *old = new;
                pool.compact(PATIENCE);
            }
            Dance::Halves { other, .. } => {
                let flags = Gfp::USER_MOVABLE | Gfp::RETRY_MAYFAIL;
                let guard = other.read();
                let block = pool.alloc_pages_uninit(Order::MAX, flags);
                drop(guard);
                let Ok(block) = block else {
                    return;
                };
                drop(block);
                // Half of what was just given back: there is nothing else.
                if let Ok(next) = half(pool) {
                    *other = next;
                }
            }
        }
    }
}

/// All of a pageblock but a hole for a folio: a block of each order from the folio's up to half of it.
struct Ballast {
    _raw: Vec<PagesUninit>,
    /// Small blocks come out of a CPU's cache, from wherever that has them; so they can be moved, too.
    _folios: Vec<Folio>,
}

/// The largest order that CPUs cache, beside whole pageblocks.
const LARGEST_CACHED: u8 = 3;

impl Ballast {
    fn take(pool: &PagePool, order: Order) -> Result<Ballast, Failure> {
        let flags = Gfp::USER_MOVABLE | Gfp::NORETRY;
        let orders = Order::all().filter(|size| (order..huge_order()).contains(size));
        let (large, small): (Vec<Order>, Vec<Order>) =
            orders.rev().partition(|size| size.get() > LARGEST_CACHED);
        let raw = large.into_iter();
        let raw = raw.map(|order| pool.alloc_pages_uninit(order, flags));
        let raw = raw.collect::<Result<_, _>>().map_err(refused)?;
        let folios = small.into_iter();
        let folios = folios.map(|order| pool.alloc_folio(order.bytes(), flags));
        let folios = folios.collect::<Result<_, _>>().map_err(refused)?;
        Ok(Ballast {
            _raw: raw,
            _folios: folios,
        })
    }
}

fn refused(error: AllocError) -> Failure {
    Failure::broken(format!("a pool that is nearly empty: {error}"))
}

/// Takes blocks that are free, and has nobody moved for them.
fn take_all(pool: &PagePool, order: Order) -> Vec<Pages> {
    let flags = Gfp::USER_MOVABLE.difference(Gfp::DIRECT_RECLAIM);
    std::iter::from_fn(|| pool.alloc_pages(order, flags).ok()).collect()
}

/// A folio of 2 MiB.
fn half(pool: &PagePool) -> Result<Folio, Failure> {
    let half = pool.alloc_folio(huge_order().bytes(), Gfp::USER_MOVABLE | Gfp::NORETRY);
    half.map_err(|error| Failure::broken(format!("half of a block of 4 MiB: {error}")))
}
