//! Finds the files that limit this process's memory, and reads them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, str};

use super::limits::{LimitKind, Said};
use super::whereabouts::{Version, places};
use crate::error::LimitError;

/// Where the host's files begin.
pub(crate) const HOST_ROOT: &str = "/";

/// Bytes of a file that are read: `memory.stat` of version 1 is the longest, with less than a thousand up to the
/// line that counts, and of `meminfo` the first line is enough.
const ENOUGH: usize = 4096;

/// The memory that a process may use at most, and what says so.
///
/// ```
/// use pagepool::{LimitKind, PagePool};
/// let pool = PagePool::builder().memory_of_container(1).nodes(1).build()?;
/// let limit = pool.config().memory_limit().expect("it was asked for");
/// println!("{} bytes: {} ({})", limit.bytes(), limit.kind(), limit.file().display());
/// assert!(pool.config().budget_bytes() as u64 <= limit.bytes() / 100);
/// # Ok::<(), pagepool::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryLimit {
    bytes: u64,
    kind: LimitKind,
    file: Arc<Path>,
}

impl MemoryLimit {
    /// Finds and reads the limit of this process, as [`memory_of_container`](crate::Builder::memory_of_container)
    /// does, to decide by it before a pool is built. The host's files are looked for under `root`: `/`, or, in a
    /// test, a directory with `proc` and `sys` in it.
    ///
    /// ```
    /// use std::path::Path;
    /// let limit = pagepool::MemoryLimit::find(Path::new("/"))?;
    /// assert!(limit.bytes() > 0);
    /// # Ok::<(), pagepool::LimitError>(())
    /// ```
    ///
    /// # Errors
    /// [`LimitError`] names the file, and what is wrong with it.
    pub fn find(root: &Path) -> Result<MemoryLimit, LimitError> {
        LimitReader::resolve(root)?.read_limit()
    }

    /// How much, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What kind of limit it is.
    #[must_use]
    pub fn kind(&self) -> LimitKind {
        self.kind
    }

    /// The file that says so.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `percent` of it, in bytes.
    pub(crate) fn share(&self, percent: u8) -> usize {
        let bytes = self.bytes / 100 * u64::from(percent);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// For people: `512 MiB, the control group's maximum (/sys/fs/cgroup/memory.max)`.
impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mib, file) = (self.bytes >> 20, self.file.display());
        write!(f, "{mib} MiB, {} ({file})", self.kind)
    }
}

/// The files that limit this process, open. A file that was not there when they were looked for is not missed
/// later, and a process that is moved to another group has to look for them anew.
#[derive(Debug)]
pub(crate) struct LimitReader {
    /// The nearest first; last, what the host has.
    sources: Vec<Source>,
}

impl LimitReader {
    /// Finds the files, under `root`: [`HOST_ROOT`], or a directory that looks like it.
    ///
    /// # Errors
    /// [`LimitError::Unreadable`] names the file that is there and cannot be read, or that has to be there.
    pub(crate) fn resolve(root: &Path) -> Result<LimitReader, LimitError> {
        let cgroup = text_of(&root.join("proc/self/cgroup"))?;
        let mountinfo = text_of(&root.join("proc/self/mountinfo"))?;
        let mut sources = Vec::new();
        for place in places(&cgroup, &mountinfo) {
            for (n, directory) in place.directories.iter().enumerate() {
                for (kind, name) in files(place.version, n == 0) {
                    sources.extend(Source::find(*kind, under(root, &directory.join(name)))?);
                }
            }
        }
        let meminfo = root.join("proc/meminfo");
        let total = Source::find(LimitKind::Physical, meminfo.clone())?;
        let missing = || unreadable(&meminfo, io::ErrorKind::NotFound.into());
        sources.push(total.ok_or_else(missing)?);
        Ok(LimitReader { sources })
    }

    /// The limit in force now: one small read a file, and nothing from the heap (H3).
    ///
    /// # Errors
    /// [`LimitError`] names the file, and what is wrong with it.
    pub(crate) fn read_limit(&self) -> Result<MemoryLimit, LimitError> {
        let mut least: Option<(u64, &Source)> = None;
        for source in &self.sources {
            if let Said::Bytes(bytes) = source.read()?
                && least.is_none_or(|(known, _)| bytes < known)
            {
                least = Some((bytes, source));
            }
        }
        let (bytes, source) = least.expect("H1: the host's memory is a number");
        Ok(MemoryLimit {
            bytes,
            kind: source.kind,
            file: Arc::clone(&source.path),
        })
    }
}

/// The files of a group in which limits stand; of version 1 the nearest group's `memory.stat` sums up those above.
fn files(version: Version, is_nearest: bool) -> &'static [(LimitKind, &'static str)] {
    const V1: &[(LimitKind, &str)] = &[
        (LimitKind::CgroupV1, "memory.limit_in_bytes"),
        (LimitKind::CgroupV1Hierarchy, "memory.stat"),
    ];
    match (version, is_nearest) {
        (Version::V1, true) => V1,
        (Version::V1, false) => &V1[..1],
        (Version::V2, _) => &[
            (LimitKind::CgroupMax, "memory.max"),
            (LimitKind::CgroupHigh, "memory.high"),
        ],
    }
}

/// A file in which a limit stands.
#[derive(Debug)]
struct Source {
    kind: LimitKind,
    path: Arc<Path>,
    file: File,
}

impl Source {
    /// Opens it, if it is there (H2).
    fn find(kind: LimitKind, path: PathBuf) -> Result<Option<Source>, LimitError> {
        match File::open(&path) {
            Ok(file) => Ok(Some(Source {
                kind,
                path: path.into(),
                file,
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(unreadable(&path, error)),
        }
    }

    fn read(&self) -> Result<Said, LimitError> {
        let mut bytes = [0; ENOUGH];
        let text = match read_some(&self.file, &mut bytes) {
            Ok(len) => &bytes[..len],
            // The group is gone: its processes have left it, and with it its limit.
            Err(error) if is_missing(&error) && self.kind != LimitKind::Physical => {
                return Ok(Said::NoLimit);
            }
            Err(error) => return Err(unreadable(&self.path, error)),
        };
        let said = str::from_utf8(text).ok().map(|text| self.kind.parse(text));
        match said {
            Some(Ok(said)) => Ok(said),
            Some(Err(_)) | None => Err(LimitError::NotUnderstood {
                file: self.path.to_path_buf(),
                text: String::from_utf8_lossy(text).chars().take(40).collect(),
            }),
        }
    }
}

/// Fills `bytes` from the beginning of the file; returns how many there were.
fn read_some(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The text of a file; empty if it is not there. Names that are no text, as others' mounts may have, do not
/// keep the rest from being read.
fn text_of(path: &Path) -> Result<String, LimitError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if is_missing(&error) => Ok(String::new()),
        Err(error) => Err(unreadable(path, error)),
    }
}

/// An absolute path, under another root.
fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether the error says that there is no such file, or no such group any more.
fn is_missing(error: &io::Error) -> bool {
    let gone = [libc::ENOENT, libc::ENOTDIR, libc::ENODEV];
    error.kind() == io::ErrorKind::NotFound
        || error
            .raw_os_error()
            .is_some_and(|code| gone.contains(&code))
}

fn unreadable(file: &Path, source: io::Error) -> LimitError {
    LimitError::Unreadable {
        file: file.to_owned(),
        source,
    }
}
