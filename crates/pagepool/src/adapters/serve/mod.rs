//! A pool at a local socket, for tools that look at it from outside, such as `pagepool-stress top`.
//!
//! *Kernel counterpart:* none in `mm`; what `/proc` is to `top`. There whoever may read a file has it made; here
//! whoever may connect asks, and one thread answers.
//!
//! ```text
//!   Server ── bell ──► Desk, a thread ── WeakPool ──► the pool, for as long as a snapshot takes
//!     │                  │ poll
//!     └ SocketFile       ├ Conversation ── a client
//!       0600             └ Conversation ── another
//! ```
//!
//! | File | |
//! |---|---|
//! | `conversation` | whose turn it is, for how long, with how many bytes (policy) |
//! | `message` | what is said |
//! | `place` | paths, and the folder of those who name none |
//! | `socket` | a socket at a path, for its owner alone |
//! | `desk` | the thread |
//! | `error` | why a pool cannot be served |
//!
//! **Invariants:** C1 and C2 in `conversation`, C3 and C4 in `socket`, C5 to C7 in `desk`.
//! - C8: who drops the server waits for the thread, and the thread for no client.
//! - C9: in a process that was forked, the thread is not there, and the file is the parent's: dropping the server does
//!   nothing.
//!
//! **Locking:** none of its own. A snapshot takes locks of the pool as [`PagePool::stats`] does, one after the other,
//! and is written down and sent with none held.

#![forbid(unsafe_code)]

mod conversation;
mod desk;
mod error;
mod message;
mod place;
mod socket;

#[cfg(test)]
mod tests;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

pub use self::error::{ServeError, ServeStep};

use self::desk::Desk;
use self::message::Identity;
use self::socket::SocketFile;
use crate::pool::PagePool;
use crate::sync::thread;

/// Serves a pool to tools that look at it, until it is dropped.
///
/// It does not keep the pool alive: once that has ended, clients are told so. Dropping it ends its thread, tells
/// clients, and removes the socket; it waits for no client, and no allocation, free or end of a pool waits for it.
///
/// A process that was forked has a server that does nothing, and whose drop does nothing. It also has the socket,
/// unless it calls `exec`: should the parent die without dropping its server, a later one at the same path finds the
/// socket in use until the child has ended.
#[derive(Debug)]
#[must_use = "the pool is served until this is dropped"]
pub struct Server {
    name: String,
    /// The process that has the thread.
    pid: u32,
    bell: UnixStream,
    thread: Option<thread::JoinHandle<()>>,
    file: Option<SocketFile>,
}

#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
impl PagePool {
    /// Serves what the pool has and does at a Unix socket, to tools such as `pagepool-stress top`. They call the
    /// pool by the file's name, less what follows its last dot.
    ///
    /// Only the user of this process, and root, can connect: the socket has the permissions 0600 before anybody
    /// can, and the system is asked for each client's user. Its folder must exist. A socket that a dead process has
    /// left there is replaced.
    ///
    /// A thread `pool-serve` sleeps until a client asks, with `{"get":"snapshot"}` in a line, and answers with a line
    /// of JSON: see the chapter *Observing a pool*. It answers at most 20 times a second, serves 8 clients
    /// at a time, and lets go after 5 seconds who begins a request and does not end it, or does not take an answer.
    ///
    /// ```
    /// use std::io::{BufRead, BufReader, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// use pagepool::PagePool;
    ///
    /// let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let path = std::env::temp_dir().join(format!("{}-cache.sock", std::process::id()));
    /// let server = pool.serve(&path)?;
    ///
    /// let mut tool = UnixStream::connect(server.path())?;
    /// tool.write_all(b"{\"get\":\"snapshot\"}\n")?;
    /// let mut answer = String::new();
    /// BufReader::new(tool).read_line(&mut answer)?;
    /// assert!(answer.starts_with("{\"protocol\":1,\"snapshot\":{\"name\":"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServeError`] says what to change: a path that is too long, in use, or no socket's, or what the system
    /// refuses.
    pub fn serve(&self, path: impl AsRef<Path>) -> Result<Server, ServeError> {
        let path = place::resolve(path.as_ref())?;
        Server::start(self, place::name_at(&path), &path)
    }

    /// The same in the folder where `pagepool-stress top` looks when it is told no path
    /// ([`Server::folder`]), which is made if it is missing: there, several processes and several pools have
    /// their places.
    ///
    /// ```no_run
    /// # let pool = pagepool::PagePool::builder().memory(64 << 20).build()?;
    /// let server = pool.serve_as("cache")?; // at /run/user/1000/pagepool/4711-cache.sock
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`serve`](Self::serve); a name that is none, or that another pool of this process is served as; a folder
    /// that others can get at.
    pub fn serve_as(&self, name: &str) -> Result<Server, ServeError> {
        let folder = Server::folder();
        let path = folder.join(place::file_name(std::process::id(), name)?);
        let path = place::resolve(&path)?;
        place::make_folder(&folder)?;
        Server::start(self, name.to_owned(), &path)
    }
}

impl Server {
    /// The folder of [`PagePool::serve_as`]: `$XDG_RUNTIME_DIR/pagepool`, or, if that variable names no folder,
    /// `/tmp/pagepool-UID` with the user's number. A file there is called `PID-NAME.sock`.
    #[must_use]
    pub fn folder() -> PathBuf {
        place::folder(std::env::var_os("XDG_RUNTIME_DIR"))
    }

    fn start(pool: &PagePool, name: String, path: &Path) -> Result<Server, ServeError> {
        let failed = || ServeError::system(ServeStep::Start, path);
        let (bell, at_desk) = UnixStream::pair().map_err(failed())?;
        let (listener, file) = SocketFile::publish(path)?;
        let pid = std::process::id();
        let who = Identity {
            name: name.clone(),
            pid,
        };
        let desk = Desk::new(pool.watch(), who, geteuid(), listener, at_desk);
        let thread = thread::spawn("pool-serve", move || desk.run()).map_err(failed())?;
        Ok(Server {
            name,
            pid,
            bell,
            thread: Some(thread),
            file: Some(file),
        })
    }

    /// Where the pool is served.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.as_ref().map_or(Path::new(""), SocketFile::path)
    }

    /// What tools call the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends the thread. If it has panicked, its clients know by the end of their streams.
    fn stop(&mut self) {
        // Nobody finds it any more, and who comes next finds nothing in its place.
        drop(self.file.take());
        // Not by dropping this end: a child that was forked may have another of it.
        let rung = self.bell.shutdown(Shutdown::Both);
        if let (Ok(()), Some(thread)) = (rung, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.stop();
        } else {
            // C9.
            std::mem::forget((self.file.take(), self.thread.take()));
        }
    }
}
