//! Writing a snapshot into a directory, as `/proc` would look: the only file here that touches the system.
//!
//! A file is written under a name of its own beside its place, and renamed when it is whole (O3). Nothing is
//! synced to the disk: after a crash of the machine it tells of a pool that is gone.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{ProcFile, ProcText};
use crate::pool::stats::Stats;

/// A file of [`Stats::write_proc`] that could not be written. Prints with the file, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}{}", .path.display(), Remedy(.source.kind()))]
#[non_exhaustive]
pub struct ProcWriteError {
    /// The file, or the directory below the one that was named.
    pub path: PathBuf,
    /// What could not be done.
    pub step: ProcStep,
    /// What the system said.
    pub source: io::Error,
}

/// What is done for a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProcStep {
    /// Its directory is made, if it is not the one that was named.
    MakeDirectory,
    /// A new file is created beside it, under a name that begins with a dot.
    Create,
    /// The text is written to that.
    Write,
    /// The new file takes its place.
    Replace,
}

impl fmt::Display for ProcStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProcStep::MakeDirectory => "make the directory",
            ProcStep::Create => "create",
            ProcStep::Write => "write",
            ProcStep::Replace => "replace",
        })
    }
}

/// What to do about an error of the system, if it is one that can be helped.
struct Remedy(io::ErrorKind);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            io::ErrorKind::NotFound => "; make the directory first",
            io::ErrorKind::PermissionDenied => {
                "; the process must be allowed to create files in the directory"
            }
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => "; make room, or name a directory with some",
            io::ErrorKind::ReadOnlyFilesystem => "; name a directory that can be written to",
            io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
                "; a directory is in its place: remove it, or name another"
            }
            _ => "",
        })
    }
}

impl Stats {
    /// Writes every [`ProcFile`] below `dir`, as `/proc` would look, for tools that read a directory instead of
    /// `/proc`: `dir/vmstat`, `dir/pressure/memory` and so on. The directory must exist; those below it are made.
    ///
    /// Each file is replaced in one step, so that a reader finds the old one or the new one, never a part;
    /// all together they are of one snapshot only once this has returned. Several threads and processes may write
    /// to one directory: the last wins. A process that is killed here may leave a file behind whose name begins
    /// with a dot.
    ///
    /// ```
    /// # use pagepool::PagePool;
    /// # let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let dir = std::env::temp_dir().join(format!("pagepool-proc-{}", std::process::id()));
    /// std::fs::create_dir(&dir)?;
    /// pool.stats().write_proc(&dir)?;
    /// assert!(std::fs::read_to_string(dir.join("buddyinfo"))?.starts_with("Node 0, zone "));
    /// std::fs::remove_dir_all(&dir)?;
    ///
    /// let error = pool.stats().write_proc(&dir).unwrap_err();
    /// assert!(error.to_string().ends_with("make the directory first"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ProcWriteError`] for the first file that could not be written. Those before it are new, it and those
    /// after it are as they were.
    pub fn write_proc(&self, dir: impl AsRef<Path>) -> Result<(), ProcWriteError> {
        let dir = dir.as_ref();
        ProcFile::ALL
            .into_iter()
            .try_for_each(|file| write_whole(&dir.join(file.path()), dir, self.proc(file)))
    }
}

fn write_whole(path: &Path, dir: &Path, text: ProcText<'_>) -> Result<(), ProcWriteError> {
    let failed = |step| {
        move |source| ProcWriteError {
            path: path.to_owned(),
            step,
            source,
        }
    };
    let parent = path.parent().unwrap_or(dir);
    if parent != dir {
        make_directory(parent)?;
    }
    let mut draft = Draft::create_beside(path).map_err(failed(ProcStep::Create))?;
    draft.write(text).map_err(failed(ProcStep::Write))?;
    draft.replace(path).map_err(failed(ProcStep::Replace))
}

fn make_directory(path: &Path) -> Result<(), ProcWriteError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(ProcWriteError {
            path: path.to_owned(),
            step: ProcStep::MakeDirectory,
            source: error,
        }),
        _ => Ok(()),
    }
}

/// A file that is not in its place yet. It goes with this value, unless it gets there.
struct Draft {
    file: File,
    path: PathBuf,
    is_in_place: bool,
}

/// How many names are tried: drafts of this process that are being written, and those that processes of the same
/// number have left behind.
const MAX_NAMES: usize = 1000;

impl Draft {
    fn create_beside(path: &Path) -> io::Result<Draft> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for nr in 0..MAX_NAMES {
            let draft = path.with_file_name(format!(".{name}.{}.{nr}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&draft) {
                Ok(file) => {
                    return Ok(Draft {
                        file,
                        path: draft,
                        is_in_place: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    fn write(&mut self, text: ProcText<'_>) -> io::Result<()> {
        let mut out = BufWriter::new(&mut self.file);
        write!(out, "{text}")?;
        out.flush()
    }

    fn replace(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_in_place = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_in_place {
            // Whoever could create it can remove it, unless the directory is gone, and it with that.
            let _ = fs::remove_file(&self.path);
        }
    }
}
