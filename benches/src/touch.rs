//! The same accesses on a pool with swap, and on plain memory under the kernel's swap.
//!
//! Pages are touched by Zipf's law with exponent 0.99 over a working set of twice the memory; every
//! fourth touch writes. `scripts/memcg_swap.sh` runs the plain half in a group with limited memory and
//! the kernel's swap on a file, and the pool's half with as much memory and its swap beside that file.
//!
//! A miss is a touch that had to wait for the disk: for plain memory a major fault, by the kernel's own
//! count; for the pool a folio that was away. The clock is read around every touch of either kind.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use pagepool::{DaemonStart, Folio, PAGE_SIZE, PagePool, SwapFile};

use crate::Failure;
use crate::works::at_share;

const EXPONENT: f64 = 0.99;

/// Touches longer than this are looked at: no miss is shorter.
const SUSPICIOUS: Duration = Duration::from_micros(3);

/// How much is touched, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Half of the working set.
    pub(crate) memory: usize,
    pub(crate) seconds: u64,
}

impl Terms {
    fn pages(self) -> usize {
        2 * self.memory / PAGE_SIZE
    }
}

/// Memory that can be touched page by page.
trait Touched {
    /// Reads or writes a word of a page; returns whether that had to wait for the disk.
    fn touch(&mut self, page: usize, write: bool) -> Result<(Duration, bool), Failure>;
}

/// Touches plain memory.
pub(crate) fn plain(terms: Terms) -> Result<(), Failure> {
    run("plain", terms, Plain::map(terms.pages())?)
}

/// Touches folios of a pool that swaps to a file in `directory`.
pub(crate) fn pool(terms: Terms, directory: &Path) -> Result<(), Failure> {
    run("pool", terms, Folios::open(terms, directory)?)
}

fn run(name: &str, terms: Terms, mut memory: impl Touched) -> Result<(), Failure> {
    let pages = terms.pages();
    for page in 0..pages {
        memory.touch(page, true)?;
    }
    let mut zipf = Zipf::new(pages);
    // A tenth of the time until the hot pages are where they belong.
    run_for(terms.seconds / 10, &mut zipf, &mut memory)?;
    let (touches, mut misses, elapsed) = run_for(terms.seconds, &mut zipf, &mut memory)?;
    misses.sort_by(f64::total_cmp);
    let at = |share| match misses.is_empty() {
        true => 0.0,
        false => at_share(&misses, share) / 1000.0,
    };
    println!(
        "{name}: {:.0} touches/s, {} misses, miss ratio {:.4}, fault µs p50 {:.1} p99 {:.1} p99.9 {:.1}",
        touches as f64 / elapsed.as_secs_f64(),
        misses.len(),
        misses.len() as f64 / touches as f64,
        at(0.5),
        at(0.99),
        at(0.999)
    );
    Ok(())
}

fn run_for(
    seconds: u64,
    zipf: &mut Zipf,
    memory: &mut impl Touched,
) -> Result<(u64, Vec<f64>, Duration), Failure> {
    let begun = Instant::now();
    let (mut touches, mut misses) = (0, Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..64 {
            let (elapsed, is_miss) = memory.touch(zipf.next_page(), touches % 4 == 0)?;
            touches += 1;
            if is_miss {
                misses.push(elapsed.as_nanos() as f64);
            }
        }
    }
    Ok((touches, misses, begun.elapsed()))
}

/// Pages by Zipf's law, the frequent ones scattered over all.
struct Zipf {
    /// For each rank, the share of draws up to it.
    up_to: Vec<f64>,
    rng: fastrand::Rng,
}

impl Zipf {
    fn new(pages: usize) -> Zipf {
        let weights = (1..=pages).map(|rank| (rank as f64).powf(-EXPONENT));
        let mut up_to: Vec<f64> = weights
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let all = up_to[pages - 1];
        up_to.iter_mut().for_each(|share| *share /= all);
        Zipf {
            up_to,
            rng: fastrand::Rng::with_seed(7),
        }
    }

    fn next_page(&mut self) -> usize {
        // A prime, so that every rank has a page of its own unless the pages are a multiple of it.
        const STEP: usize = 2_654_435_761;
        let draw = self.rng.f64();
        let rank = self.up_to.partition_point(|share| *share < draw);
        rank.min(self.up_to.len() - 1) * STEP % self.up_to.len()
    }
}

/// A mapping of its own.
struct Plain {
    start: *mut u64,
    bytes: usize,
    faults: i64,
}

impl Plain {
    fn map(pages: usize) -> Result<Plain, Failure> {
        let bytes = pages * PAGE_SIZE;
        // SAFETY: a new private mapping at an address of the system's choosing touches nothing else.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(Failure::broken(format!(
                "cannot map {bytes} bytes: {error}"
            )));
        }
        // SAFETY: the range is the mapping's. Page by page, as the pool's folios are; where the system
        // has no huge pages the advice is refused, which is as well.
        unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
        Ok(Plain {
            start: start.cast(),
            bytes,
            faults: major_faults(),
        })
    }
}

impl Touched for Plain {
    fn touch(&mut self, page: usize, write: bool) -> Result<(Duration, bool), Failure> {
        assert!(page < self.bytes / PAGE_SIZE, "the page is mapped");
        let begun = Instant::now();
        // SAFETY: the page lies in the mapping, just checked.
        let word = unsafe { self.start.byte_add(page * PAGE_SIZE) };
        // SAFETY: as above; the mapping is this thread's alone, and all of it is initialised: zeros.
        let value = unsafe { word.read_volatile() };
        if write {
            // SAFETY: as above.
            unsafe { word.write_volatile(value + 1) };
        }
        let elapsed = begun.elapsed();
        if elapsed < SUSPICIOUS {
            return Ok((elapsed, false));
        }
        let before = std::mem::replace(&mut self.faults, major_faults());
        Ok((elapsed, self.faults > before))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a pointer into it any more.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

/// Faults of this thread that the kernel had to read for.
fn major_faults() -> i64 {
    // SAFETY: a structure of integers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live value of the type that the call fills.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(status, 0, "a thread may ask about itself");
    usage.ru_majflt
}

/// Folios of a page each.
struct Folios {
    _pool: PagePool,
    folios: Vec<Folio>,
}

impl Folios {
    fn open(terms: Terms, directory: &Path) -> Result<Folios, Failure> {
        let broken = |error: &dyn std::error::Error| Failure::broken(format!("a pool: {error}"));
        let swap = SwapFile::builder(4 * terms.memory as u64)
            .directory(directory)
            .temporary()
            .map_err(|error| broken(&error))?;
        let pool = PagePool::builder()
            .managed(terms.memory)
            .swap(swap)
            .huge_pages(false)
            .daemons(DaemonStart::AtOnce)
            .build()
            .map_err(|error| broken(&error))?;
        let folios = (0..terms.pages())
            .map(|_| pool.blank_folio(PAGE_SIZE).map_err(|error| broken(&error)))
            .collect::<Result<Vec<Folio>, Failure>>()?;
        Ok(Folios {
            _pool: pool,
            folios,
        })
    }
}

impl Touched for Folios {
    fn touch(&mut self, page: usize, write: bool) -> Result<(Duration, bool), Failure> {
        let failed = |error| Failure::broken(format!("a folio: {error}"));
        let folio = &mut self.folios[page];
        let begun = Instant::now();
        let is_miss = !folio.is_resident();
        if write {
            let mut bytes = folio.write().map_err(failed)?;
            bytes[0] = bytes[0].wrapping_add(1);
        } else {
            let mut word = [0; 8];
            folio.read_at(0, &mut word).map_err(failed)?;
            black_box(word);
        }
        Ok((begun.elapsed(), is_miss))
    }
}
