//! What the figures were taken on: figures of different machines do not compare.

#[cfg(target_env = "gnu")]
use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

/// The machine and its state, as far as they move the figures.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    /// The CPUs that this process may use.
    cpus: usize,
    memory_gib: f64,
    kernel: String,
    glibc: String,
    /// The system's setting for transparent huge pages.
    huge_pages: String,
    /// Runnable threads over the last minute, before the bench began: a busy machine tells here.
    load: String,
}

impl Machine {
    /// Reads the machine's description. What cannot be read becomes "unknown".
    pub(crate) fn read(cpus: usize) -> Machine {
        let memory_kib = field("/proc/meminfo", "MemTotal").and_then(|text| first_number(&text));
        Machine {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cpus,
            memory_gib: memory_kib.map_or(0.0, |kib| (kib / 104_857.6).round() / 10.0),
            kernel: whole("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            glibc: glibc_version(),
            huge_pages: whole("/sys/kernel/mm/transparent_hugepage/enabled")
                .as_deref()
                .and_then(chosen)
                .unwrap_or_else(unknown),
            load: whole("/proc/loadavg")
                .and_then(|text| text.split(' ').next().map(str::to_owned))
                .unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            cpu,
            cpus,
            memory_gib,
            kernel,
            glibc,
            huge_pages,
            load,
        } = self;
        write!(
            f,
            "{cpu}, {cpus} CPUs, {memory_gib} GiB, Linux {kernel}, glibc {glibc}, \
             transparent huge pages {huge_pages}, load {load}"
        )
    }
}

/// The value of `name : value` in a file of such lines.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once(':')?;
    Some(value.trim().to_owned())
}

/// The number that `text` begins with.
pub(crate) fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

fn whole(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The choice in brackets, as the system shows settings: `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(target_env = "gnu")]
fn glibc_version() -> String {
    // SAFETY: takes nothing, and returns a pointer to a constant string.
    let version = unsafe { libc::gnu_get_libc_version() };
    // SAFETY: (1) the string ends in a zero; (2) it is never changed or freed.
    unsafe { CStr::from_ptr(version) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(target_env = "gnu"))]
fn glibc_version() -> String {
    "none".to_owned()
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The time that the calling thread has had a CPU.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live value of the type that the call fills.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every thread has such a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
