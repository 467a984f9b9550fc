//! A socket at a path: made, published, and removed again.
//!
//! ```text
//! socket · bind to a name beside the path · chmod 0600 · listen     nobody can connect before it listens
//! link to the path                                                  in one step, and only if nothing is there
//!    something is there and answers: in use
//!    something is there and does not: with the folder locked, looked at and removed; then once more from the link
//! ```
//!
//! **Invariants**
//! - C3: a socket that answers is never taken away by another server, however many begin at once: a stale one is
//!   removed only by who has locked the folder, and a new one comes only where nothing is.
//! - C4: what is removed at the end is the file that was made here, not that of a successor.

#![forbid(unsafe_code)]

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::error::{ServeError, ServeStep};
use crate::sync::thread::{self, next_unique};

/// Clients that may wait to be let in.
const BACKLOG: i32 = 16;

/// How often somebody else may be quicker.
const TRIES: usize = 8;

/// How often another server may have the folder locked, and how long each time: it is a matter of microseconds.
const LOCK_TRIES: usize = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The file of a socket that was published. It goes with this value.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number.
    inode: (u64, u64),
}

impl SocketFile {
    /// Makes a socket that only its owner can connect to, and puts it at `path`, which is absolute.
    pub(super) fn publish(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
        let draft = Draft::beside(path);
        let listener = draft
            .listen()
            .map_err(ServeError::system(ServeStep::Create, path))?;
        for _ in 0..TRIES {
            match fs::hard_link(&draft.0, path) {
                Ok(()) => return Ok((listener, SocketFile::of(&draft, path)?)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => make_room(path)?,
                Err(error) => return Err(ServeError::system(ServeStep::Publish, path)(error)),
            }
        }
        let path = path.to_owned();
        Err(ServeError::InUse { path })
    }

    fn of(draft: &Draft, path: &Path) -> Result<SocketFile, ServeError> {
        let found =
            fs::symlink_metadata(&draft.0).map_err(ServeError::system(ServeStep::Publish, path))?;
        Ok(SocketFile {
            path: path.to_owned(),
            inode: (found.dev(), found.ino()),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if is_ours {
            // If it cannot be removed, it is stale: the next one replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A name beside a path that goes away again.
struct Draft(PathBuf);

impl Draft {
    fn beside(path: &Path) -> Draft {
        let name = format!(".{:x}.{:x}", std::process::id(), next_unique() & 0xff_ffff);
        Draft(path.with_file_name(name))
    }

    /// Makes a socket here.
    fn listen(&self) -> io::Result<UnixListener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(&self.0)?;
        if bind(&socket, &address) == Err(Errno::ADDRINUSE) {
            // A process of the same number has left it behind.
            fs::remove_file(&self.0)?;
            bind(&socket, &address)?;
        }
        fs::set_permissions(&self.0, Permissions::from_mode(0o600))?;
        listen(&socket, BACKLOG)?;
        Ok(socket.into())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It is not there if nothing could be made.
        let _ = fs::remove_file(&self.0);
    }
}

/// What stands at a path.
#[derive(PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    /// A socket that nobody listens to any more.
    Stale,
    /// One that somebody listens to.
    Live,
    /// No socket.
    Other,
}

/// Removes what a dead process has left at `path`.
fn make_room(path: &Path) -> Result<(), ServeError> {
    let failed = |step| ServeError::system(step, path);
    let owned = || path.to_owned();
    let _turn = lock_folder_of(path).map_err(failed(ServeStep::Replace))?;
    match look(path).map_err(failed(ServeStep::Probe))? {
        Found::Nothing => Ok(()),
        Found::Live => Err(ServeError::InUse { path: owned() }),
        Found::Other => Err(ServeError::NotASocket { path: owned() }),
        Found::Stale => fs::remove_file(path).map_err(failed(ServeStep::Replace)),
    }
}

/// Waits for its turn to remove something from the folder; it is over when the file is dropped.
fn lock_folder_of(path: &Path) -> io::Result<File> {
    let folder = File::open(path.parent().unwrap_or(path))?;
    for _ in 0..LOCK_TRIES {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(LOOK_AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        // It waits for more than it lets in: then it is there.
        Ok(()) | Err(Errno::AGAIN) => Ok(Found::Live),
        Err(Errno::CONNREFUSED) => Ok(Found::Stale),
        Err(Errno::NOENT) => Ok(Found::Nothing),
        // A datagram socket, of another program.
        Err(Errno::PROTOTYPE) => Ok(Found::Live),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn files(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_its_owner_can_connect_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, file) = SocketFile::publish(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        assert_eq!(files(dir.path()), ["s"]);
        drop(file);
        assert_eq!(files(dir.path()), [""; 0]);
    }

    #[test]
    fn what_a_dead_process_has_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(look(&path).unwrap(), Found::Stale);
        let (_listener, _file) = SocketFile::publish(&path).unwrap();
        assert_eq!(look(&path).unwrap(), Found::Live);
        assert_eq!(files(dir.path()), ["s"]);
    }

    #[test]
    fn what_is_in_use_or_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _stream = UnixListener::bind(&path).unwrap();
        let refused = SocketFile::publish(&path).unwrap_err();
        assert!(matches!(refused, ServeError::InUse { .. }), "{refused}");
        UnixStream::connect(&path).unwrap();

        let other = dir.path().join("d");
        let _datagram = UnixDatagram::bind(&other).unwrap();
        let refused = SocketFile::publish(&other).unwrap_err();
        assert!(matches!(refused, ServeError::InUse { .. }), "{refused}");

        let file = dir.path().join("f");
        fs::write(&file, "dear").unwrap();
        let refused = SocketFile::publish(&file).unwrap_err();
        assert!(
            matches!(refused, ServeError::NotASocket { .. }),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "dear");

        let link = dir.path().join("l");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(SocketFile::publish(&link).is_err());
        assert_eq!(files(dir.path()), ["d", "f", "l", "s"]);
    }

    #[test]
    fn a_successors_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, first) = SocketFile::publish(&path).unwrap();
        drop(listener);
        let (_listener, _second) = SocketFile::publish(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn of_many_that_replace_a_stale_one_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for _ in 0..20 {
            drop(UnixListener::bind(&path).unwrap());
            let all: Vec<_> = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(|| SocketFile::publish(&path)));
                threads.map(|thread| thread.join().unwrap()).into()
            });
            let mut winners = all.iter().filter(|published| published.is_ok());
            assert!(
                winners.next().is_some() && winners.next().is_none(),
                "{all:?}"
            );
            UnixStream::connect(&path).unwrap();
            drop(all);
            assert_eq!(files(dir.path()), [""; 0]);
        }
    }

    #[test]
    fn the_system_has_the_last_word() {
        let path = Path::new("/nowhere/s");
        let refused = SocketFile::publish(path).unwrap_err().to_string();
        assert!(refused.starts_with("cannot create a socket for /nowhere/s: "));
        assert!(refused.ends_with("; make its folder first"), "{refused}");
    }
}
