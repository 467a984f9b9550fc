//! A log of latencies, interval by interval, that HdrHistogram's tools read.
//!
//! A thread of its own takes each interval out of the [ledgers](crate::ledger), so that nobody who is measured writes
//! a file. Each interval is two lines, one tagged `latency` and one tagged `service`: values are nanoseconds, maxima
//! milliseconds, as is usual.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag},
    },
};

use crate::ledger::{Ledger, Times};

/// Nanoseconds in the unit of the maxima.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// Compression takes some of it, without optimisation several times as much.
const STACK: usize = 1 << 20;

/// A file that a log is to go to, and the memory that is needed on the way.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    spare: Spare,
}

impl LogFile {
    /// Makes the file, so that a run does not end with nowhere to write to. All memory is touched here.
    pub(crate) fn create(path: &Path) -> io::Result<LogFile> {
        Ok(LogFile {
            path: path.to_owned(),
            file: File::create(path)?,
            spare: Spare::new(),
        })
    }
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    pub(crate) intervals: u64,
    /// Why the rest is missing, if it is.
    pub(crate) error: Option<String>,
}

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct HdrLog {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Written>,
}

impl HdrLog {
    /// Begins the first interval; each lasts for `period`.
    pub(crate) fn start(
        file: LogFile,
        ledgers: Arc<[Ledger]>,
        period: Duration,
    ) -> io::Result<HdrLog> {
        let (stop, stopped) = mpsc::channel();
        let LogFile {
            path,
            file,
            mut spare,
        } = file;
        let thread = thread::Builder::new()
            .name("hdr-log".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let mut intervals = 0;
                let wait = |time| stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
                let written = write(&file, &ledgers, period, &mut spare, wait, &mut intervals);
                Written {
                    path,
                    intervals,
                    error: written.err().map(|error| error.to_string()),
                }
            })?;
        Ok(HdrLog { stop, thread })
    }

    /// Writes the last interval, which is shorter, and ends the log.
    pub(crate) fn finish(self) -> Written {
        // It may have ended by itself, on account of an error.
        let _ = self.stop.send(());
        let joined = self.thread.join();
        joined.expect("the thread has no reason to panic")
    }
}

/// Room for an interval of one thread, and of all.
#[derive(Debug)]
struct Spare {
    one: Times,
    all: Times,
}

impl Spare {
    fn new() -> Spare {
        Spare {
            one: Times::new(),
            all: Times::new(),
        }
    }

    /// Takes the interval out of all ledgers.
    fn gather(&mut self, ledgers: &[Ledger]) {
        self.all.reset();
        for ledger in ledgers {
            self.one.reset();
            ledger.take_interval(&mut self.one);
            self.all.add(&self.one);
        }
    }
}

/// Writes interval after interval, for as long as `wait` says that nobody wants it to end.
fn write(
    file: &File,
    ledgers: &[Ledger],
    period: Duration,
    spare: &mut Spare,
    wait: impl Fn(Duration) -> bool,
    intervals: &mut u64,
) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    let mut serializer = V2DeflateSerializer::new();
    let now = SystemTime::now();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[pagepool-stress latency: nanoseconds, maxima of intervals in milliseconds]")
        .with_start_time(now)
        .with_base_time(now)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut writer, &mut serializer)?;
    let begin = Instant::now();
    let mut start = Duration::ZERO;
    loop {
        let rest = (start + period).saturating_sub(begin.elapsed());
        let goes_on = wait(rest);
        let end = begin.elapsed();
        spare.gather(ledgers);
        let (times, lasted) = (&spare.all, end - start);
        write_interval(&mut log, "latency", &times.latency, start, lasted)?;
        write_interval(&mut log, "service", &times.service, start, lasted)?;
        *intervals += 1;
        start = end;
        if !goes_on {
            break;
        }
    }
    drop(log);
    writer.flush()
}

fn write_interval<W: Write>(
    log: &mut IntervalLogWriter<'_, '_, W, V2DeflateSerializer>,
    tag: &str,
    times: &Histogram<u64>,
    start: Duration,
    lasted: Duration,
) -> io::Result<()> {
    let tag = Tag::new(tag).expect("a word without a comma");
    let written = log.write_histogram(times, start, lasted, Some(tag));
    written.map_err(|error| match error {
        IntervalLogWriterError::IoError(error) => error,
        IntervalLogWriterError::SerializeError(error) => io::Error::other(error.to_string()),
    })
}
