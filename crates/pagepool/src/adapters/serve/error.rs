//! Why a pool cannot be served, and what to do about it.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{MAX_FOLDER, MAX_NAME, MAX_PATH};

/// Why a pool cannot be served. Prints with the path, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A socket's path is limited by the system.
    #[error(
        "cannot serve at {}: it has {bytes} bytes, {} of them its folder's; a socket's path has at most {MAX_PATH}, \
         {MAX_FOLDER} of them its folder's: name a shorter one",
        .path.display(), folder_len(.path)
    )]
    TooLong {
        /// The path, made absolute.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A server is at work there, of this process or another.
    #[error(
        "cannot serve at {}: another server is at work there; name another path, or stop that one",
        .path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something is there that no server has left behind.
    #[error(
        "cannot serve at {}: something is there that is no socket; remove it, or name another path",
        .path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The folder of sockets is not this user's alone.
    #[error(
        "cannot serve in {}: it must be a folder that belongs to this user, with the permissions 0700; \
         make it so, or name a path elsewhere",
        .path.display()
    )]
    SharedFolder {
        /// The folder.
        path: PathBuf,
    },
    /// That is no name.
    #[error(
        "cannot serve as {name:?}: a name has 1 to {MAX_NAME} bytes, none of them `/` or unprintable"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The system has refused something.
    #[error("cannot {step} {}: {source}{}", .path.display(), Remedy(.source.kind()))]
    System {
        /// Where the pool was to be served, or the folder of that.
        path: PathBuf,
        /// What could not be done.
        step: ServeStep,
        /// What the system said.
        source: io::Error,
    },
}

/// What is done to serve a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServeStep {
    /// The path is made absolute.
    Resolve,
    /// The folder of sockets is made, or looked at.
    MakeFolder,
    /// A socket is made beside the path, for its owner alone.
    Create,
    /// What stands at the path is looked at.
    Probe,
    /// What a dead process has left there is removed.
    Replace,
    /// The socket takes its place.
    Publish,
    /// The thread is started.
    Start,
}

impl fmt::Display for ServeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServeStep::Resolve => "find",
            ServeStep::MakeFolder => "make the folder",
            ServeStep::Create => "create a socket for",
            ServeStep::Probe => "look at what stands at",
            ServeStep::Replace => "replace what stands at",
            ServeStep::Publish => "publish a socket at",
            ServeStep::Start => "start a thread for",
        })
    }
}

impl ServeError {
    /// The same error of any step, made of what the system says.
    pub(super) fn system(step: ServeStep, path: &Path) -> impl FnOnce(io::Error) -> ServeError {
        let path = path.to_owned();
        move |source| ServeError::System { path, step, source }
    }
}

fn folder_len(path: &Path) -> usize {
    path.parent().map_or(0, |folder| folder.as_os_str().len())
}

/// What to do about an error of the system, if it is one that can be helped.
struct Remedy(io::ErrorKind);

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            io::ErrorKind::NotFound => "; make its folder first",
            io::ErrorKind::PermissionDenied => {
                "; the process must be allowed to create files in its folder"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; make room, or name a folder with some"
            }
            io::ErrorKind::ReadOnlyFilesystem => "; name a folder that can be written to",
            _ => "",
        })
    }
}
