//! Recording what happens to a pool, for whoever wants to see it, or play it again.
//!
//! *Kernel counterpart:* `tracefs`: `events/kmem`, `events/vmscan`, `trace_pipe` (v5.0). What the kernel traces in
//! its ring buffers one reads, and cannot play; here a recording has all that it takes to play it again.
//!
//! Not here: how an event is noted, written and read ([`record`](crate::record)).

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Inner, PagePool};
use crate::error::{AccessError, RangeError};
use crate::fault::Claim;
use crate::folio::{FolioId, Mark};
use crate::node::DaemonState;
use crate::record::{
    AccessKind, Cause, EVENT_BYTES, End, Happening, Level, Session, Stock, Tape, Yield, header,
    took_ns, write_out,
};
use crate::sync::thread::{self, JoinHandle};
use crate::types::PAGE_SIZE;

/// Which accesses to folios are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Accesses {
    /// None. What can be played again is who allocates and frees, and not what is in use.
    None,
    /// The first one since reclaim last looked at the folio: what the kernel's accessed bit sees. In a pool whose
    /// memory suffices, reclaim hardly ever looks.
    FirstUses,
    /// All: each guard, pin and copy that was asked for.
    #[default]
    All,
}

/// Where a recording goes, and how much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "options do nothing until a pool records by them"]
pub struct RecordOptions {
    file: Option<PathBuf>,
    bytes: usize,
    accesses: Accesses,
}

/// What is set aside for events on their way to a file, unless the options say otherwise: 2^18 events.
const DEFAULT_BUFFER: usize = 8 << 20;
/// What can be set aside.
const LEAST: usize = 64 << 10;
const MOST: usize = 4 << 30;

/// Events that are handed over at once, at most; 32 KiB.
const CHUNK: usize = 1024;
/// Chunks for each lane: fewer, and one that waits keeps another from being filled.
const CHUNKS_PER_LANE: usize = 4;

impl RecordOptions {
    /// Keeps the last events in memory, in so many bytes, 64 KiB to 4 GiB; each takes 32.
    pub fn ring(bytes: usize) -> RecordOptions {
        RecordOptions {
            file: None,
            bytes,
            accesses: Accesses::default(),
        }
    }

    /// Writes events to a file, which is made or replaced. Such files are called `.ppr`.
    pub fn file(path: impl Into<PathBuf>) -> RecordOptions {
        RecordOptions {
            file: Some(path.into()),
            bytes: DEFAULT_BUFFER,
            accesses: Accesses::default(),
        }
    }

    /// How many bytes are set aside for events that are on their way to the file, 64 KiB to 4 GiB; 8 MiB by default.
    /// What finds no room there is lost, and counted. The size of the ring, if there is one.
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Which accesses to folios are recorded; all by default.
    pub fn accesses(mut self, accesses: Accesses) -> Self {
        self.accesses = accesses;
        self
    }

    fn level(&self) -> Level {
        match self.accesses {
            Accesses::None => Level::NoAccesses,
            Accesses::FirstUses => Level::FirstUses,
            Accesses::All => Level::All,
        }
    }

    /// Chunks for so many lanes.
    fn stock(&self, lanes: usize) -> Result<Stock, RecordError> {
        if !(LEAST..=MOST).contains(&self.bytes) {
            let accepted = format!("{LEAST} to {MOST} bytes");
            return Err(RangeError::new("buffer", self.bytes, accepted).into());
        }
        let events = self.bytes / EVENT_BYTES;
        let of_chunk = (events / (lanes * CHUNKS_PER_LANE)).clamp(1, CHUNK);
        Ok(Stock::new(events / of_chunk, of_chunk, self.file.is_none()))
    }
}

/// Why a recording did not begin, or did not end as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is one already.
    #[error("the pool is being recorded already: stop that recording first")]
    Busy,
    /// An option is out of range.
    #[error(transparent)]
    OutOfRange(#[from] RangeError),
    /// The file could not be made or written.
    #[error("the recording {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no thread for the writer.
    #[error("no thread to write the recording: {0}")]
    Thread(io::Error),
}

/// What came of a recording.
#[derive(Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// Events that are in the file or on the tape.
    pub events: u64,
    /// Events that found no room, because the file was too slow.
    pub dropped: u64,
    /// Events that were overwritten by later ones, because the ring was too small.
    pub overwritten: u64,
    /// What was kept in memory, if it was to be; else it is in the file.
    pub tape: Option<Tape>,
}

/// Who writes.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    thread: JoinHandle<(File, io::Result<u64>)>,
}

impl Writer {
    /// Makes the file, and starts the thread.
    fn start(
        path: PathBuf,
        settings: &[(String, String)],
        stock: &Arc<Stock>,
    ) -> Result<Writer, RecordError> {
        let mut file = File::create(&path).map_err(|source| of_file(&path, source))?;
        { file.write_all(&header(settings)) }.map_err(|source| of_file(&path, source))?;
        let stock = Arc::clone(stock);
        let write = move || {
            let written = write_out(&stock, &mut file);
            (file, written)
        };
        Ok(Writer {
            path,
            thread: thread::spawn("pool-record", write).map_err(RecordError::Thread)?,
        })
    }

    /// Waits for all to be written, and writes the end; returns how many events there are. The stock was told that
    /// nothing comes any more.
    fn finish(self, end: End) -> Result<u64, RecordError> {
        let Ok((mut file, written)) = self.thread.join() else {
            let source = io::Error::other("its writer has panicked");
            return Err(of_file(&self.path, source));
        };
        let finished = written.and_then(|events| {
            file.write_all(&End { events, ..end }.encode())?;
            Ok(events)
        });
        finished.map_err(|source| of_file(&self.path, source))
    }
}

fn of_file(path: &Path, source: io::Error) -> RecordError {
    RecordError::File {
        path: path.to_owned(),
        source,
    }
}

/// A pool that is being recorded, until this is stopped or dropped.
#[derive(Debug)]
#[must_use = "the recording ends when this is dropped"]
pub struct Recording {
    pool: PagePool,
    session: Arc<Session>,
    stock: Arc<Stock>,
    settings: Vec<(String, String)>,
    writer: Option<Writer>,
    is_over: bool,
}

impl Recording {
    /// Ends the recording. Everything that has happened so far on threads that the caller has waited for is in it.
    ///
    /// # Errors
    /// [`RecordError::File`] if the file could not be written: what it holds then was cut off.
    pub fn stop(mut self) -> Result<Recorded, RecordError> {
        self.end()
    }

    /// Events that found no room so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.session.so_far().dropped
    }

    /// Events that were noted so far, those included that were overwritten since.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.session.so_far().noted
    }

    fn end(&mut self) -> Result<Recorded, RecordError> {
        self.is_over = true;
        let pool = &*self.pool.inner;
        pool.recorder.disarm(&self.session);
        pool.watch_magazines(false);
        pool.recorder.release();
        let Yield {
            dropped, time_ns, ..
        } = self.session.so_far();
        let overwritten = self.stock.overwritten();
        let end = End {
            events: 0,
            time_ns,
            lost: dropped + overwritten,
        };
        let (events, tape) = match self.writer.take() {
            Some(writer) => (writer.finish(end)?, None),
            None => {
                let settings = std::mem::take(&mut self.settings);
                let tape = Tape::of_ring(settings, &self.stock, end);
                (tape.events().len() as u64, Some(tape))
            }
        };
        Ok(Recorded {
            events,
            dropped,
            overwritten,
            tape,
        })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.is_over {
            // Who wants to know how it ended stops it.
            let _ = self.end();
        }
    }
}

impl PagePool {
    /// Records from now on what happens to the pool: blocks and folios that come and go, what is refused and why,
    /// accesses, and folios that are brought back. Off by default; while nothing is recorded it costs one relaxed
    /// load an event, and nothing where a thread takes a page that it has at hand or uses a folio that was used
    /// lately.
    ///
    /// Who records waits for nothing and allocates nothing: an event that finds no room is lost, and counted. While
    /// a pool is recorded, the shortest paths end in longer ones, which note what passes. The memory for events is
    /// not part of the pool's budget.
    ///
    /// Groups, what shrinkers and daemons do, and contents are not recorded.
    ///
    /// ```
    /// # use pagepool::{Gfp, Happening, Order, PagePool, RecordOptions};
    /// let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let recording = pool.record(RecordOptions::ring(1 << 20))?;
    /// drop(pool.alloc_pages(Order::new(3)?, Gfp::KERNEL)?);
    /// let tape = recording.stop()?.tape.expect("a ring has a tape");
    /// let orders: Vec<_> = { tape.events().iter() }
    ///     .map(|event| match event.what {
    ///         Happening::Alloc { order, .. } => ("alloc", order.get()),
    ///         Happening::Free { order, .. } => ("free", order.get()),
    ///         other => panic!("{other:?}"),
    ///     })
    ///     .collect();
    /// assert_eq!(orders, [("alloc", 3), ("free", 3)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RecordError`]: the pool is being recorded already, the size is out of range, or the file cannot be made.
    pub fn record(&self, options: RecordOptions) -> Result<Recording, RecordError> {
        let pool = &*self.inner;
        let stock = Arc::new(options.stock(pool.recorder.nr_lanes())?);
        let level = options.level();
        if !pool.recorder.take() {
            return Err(RecordError::Busy);
        }
        let settings = self.settings_for_record();
        let writer = options
            .file
            .map(|path| Writer::start(path, &settings, &stock));
        let writer = writer
            .transpose()
            .inspect_err(|_| pool.recorder.release())?;
        let session = Arc::new(Session::new(Arc::clone(&stock)));
        // First of all: who notes that a page came sees all of them watched, and so does whom he gives it to (W4).
        pool.watch_magazines(true);
        pool.recorder.arm(&session);
        pool.recorder.set_level(level);
        pool.watch_folios(level);
        Ok(Recording {
            pool: self.clone(),
            session,
            stock,
            settings,
            writer,
            is_over: false,
        })
    }

    /// What the pool is, by name, as a recording says it.
    fn settings_for_record(&self) -> Vec<(String, String)> {
        let pool = &*self.inner;
        let config = &pool.config;
        let dma: usize = config.zones().iter().map(|zones| zones[0]).sum();
        let movable = config.movable_percent();
        let movable = movable.map_or("default".to_owned(), |percent| percent.to_string());
        // A thread that was not to be had once may be to be had when this is played.
        let serves = |state: DaemonState| state.is_in_service() || state == DaemonState::Failed;
        let has_daemons = pool.nodes.iter().any(|node| serves(node.kswapd.state()));
        let own = [
            ("memory", config.budget_bytes().to_string()),
            ("nodes", config.nodes().to_string()),
            ("movable_share", movable),
            ("dma", (dma / config.nodes()).to_string()),
            ("swap", (pool.swap.total_pages() * PAGE_SIZE).to_string()),
            ("max_folios", pool.folios.most().to_string()),
            ("deadline_ms", config.deadline().as_millis().to_string()),
            ("daemons", if has_daemons { "on" } else { "off" }.to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let tunables = { self.tunables().all() }.map(|one| (one.name.to_owned(), one.value));
        own.into_iter().chain(tunables).collect()
    }
}

impl Inner {
    fn watch_magazines(&self, watched: bool) {
        for zone in self.nodes.zones() {
            zone.magazines().watch(watched);
        }
    }

    /// Has every access to the folios that there are noted, if that is to be. Those that are made later, their first
    /// use watches.
    fn watch_folios(&self, level: Level) {
        if level == Level::All {
            for (_, slot) in self.folios.iter() {
                slot.set(Mark::Watched);
            }
        }
    }

    /// Notes an access to a folio, and whether the next one comes here, too.
    pub(in crate::pool) fn note_access(&self, folio: FolioId, kind: AccessKind, is_first: bool) {
        let slot = self.folios.slot(folio);
        if self.recorder.notes_all_accesses() {
            slot.set(Mark::Watched);
        } else if slot.is(Mark::Watched) {
            self.recorder
                .unless_all_accesses(|| slot.clear(Mark::Watched));
        }
        let folio = folio.get();
        let what = || Happening::Access { folio, kind };
        self.recorder.note_access(is_first, what);
    }

    /// Notes how a folio is brought to memory, unless somebody else does it.
    pub(in crate::pool) fn note_fault(
        &self,
        folio: FolioId,
        kind: AccessKind,
        fault: impl FnOnce() -> Result<Claim, AccessError>,
    ) -> Result<Claim, AccessError> {
        let begin = self.recorder.begin();
        let claim = fault();
        if claim != Ok(Claim::Taken) {
            self.recorder.note(|| Happening::Fault {
                folio: folio.get(),
                order: self.folios.slot(folio).order(),
                kind,
                took_ns: took_ns(begin),
                cause: claim.err().map(Cause::of_access),
            });
        }
        claim
    }
}
