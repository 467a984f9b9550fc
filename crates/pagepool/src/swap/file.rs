//! A file to swap to.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{SwapDevice, SwapError};
use crate::arena::ZeroedTable;
use crate::sync::rng::Rng;
use crate::types::PAGE_SIZE;

/// Only the owner may look: it is memory.
const MODE: u32 = 0o600;

/// A file that swap can be put on.
///
/// A [temporary](SwapFile::temporary) one has no name, so that nobody else opens it and it is gone with
/// the process. Either kind is sparse: it takes room on the disk as it fills, and if the disk is full,
/// what should have gone there stays in memory. It goes past the system's page cache where the file
/// system lets it, since the pool is the better cache for its own pages.
#[derive(Debug)]
pub struct SwapFile {
    file: File,
    name: String,
    bytes: u64,
    is_direct: bool,
    io_uring: bool,
}

impl SwapFile {
    /// Makes a file of `bytes` without a name in the system's directory for temporary files.
    ///
    /// # Errors
    /// [`SwapError::File`].
    pub fn temporary(bytes: u64) -> Result<SwapFile, SwapError> {
        SwapFile::builder(bytes).temporary()
    }

    /// Makes the file `path` of `bytes`, which must not exist yet, and which stays.
    ///
    /// # Errors
    /// [`SwapError::File`].
    pub fn create(path: impl AsRef<Path>, bytes: u64) -> Result<SwapFile, SwapError> {
        SwapFile::builder(bytes).create(path)
    }

    /// Returns the settings of a file of `bytes`.
    pub fn builder(bytes: u64) -> SwapFileBuilder {
        SwapFileBuilder {
            bytes,
            directory: None,
            direct: true,
            io_uring: true,
        }
    }

    /// Whether it goes past the system's page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// The file, for reading it by io_uring; none if that is not wanted.
    pub(super) fn file_for_rings(&self) -> Option<&File> {
        self.io_uring.then_some(&self.file)
    }

    /// The open file.
    #[cfg(test)]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl SwapDevice for SwapFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn capacity(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }
}

/// How a [`SwapFile`] is to be made.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing by itself"]
pub struct SwapFileBuilder {
    bytes: u64,
    directory: Option<PathBuf>,
    direct: bool,
    io_uring: bool,
}

impl SwapFileBuilder {
    /// Where a temporary file is made; the default is the system's directory for them.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> SwapFileBuilder {
        self.directory = Some(directory.into());
        self
    }

    /// Whether to go past the system's page cache where that is possible; the default is yes.
    pub fn direct(mut self, direct: bool) -> SwapFileBuilder {
        self.direct = direct;
        self
    }

    /// Whether who needs a page reads it through io_uring, without a thread in between; the default is
    /// yes. Where the system does not permit that, threads read, and nothing need be said here, unless it
    /// ends processes that only ask.
    pub fn io_uring(mut self, io_uring: bool) -> SwapFileBuilder {
        self.io_uring = io_uring;
        self
    }

    /// Makes a file without a name.
    ///
    /// # Errors
    /// [`SwapError::File`].
    pub fn temporary(self) -> Result<SwapFile, SwapError> {
        let directory = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        let name = format!("a temporary file in {}", directory.display());
        self.make(name, &directory, |flags| open_unnamed(&directory, flags))
    }

    /// Makes the file `path`, which must not exist yet.
    ///
    /// # Errors
    /// [`SwapError::File`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<SwapFile, SwapError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let mut is_ours = false;
        let made = self.make(name, path, |flags| {
            let mut options = options(flags);
            // The second time it is the one that was made the first time.
            let file = options.create_new(!is_ours).open(path)?;
            is_ours = true;
            Ok(file)
        });
        if made.is_err() && is_ours {
            // Nobody knows it yet. If it cannot be removed, the error at hand says more.
            let _ = fs::remove_file(path);
        }
        made
    }

    fn make(
        &self,
        name: String,
        path: &Path,
        mut open: impl FnMut(i32) -> io::Result<File>,
    ) -> Result<SwapFile, SwapError> {
        let bytes = self.bytes / PAGE_SIZE as u64 * PAGE_SIZE as u64;
        let error = |what, remedy| {
            move |source| SwapError::File {
                what,
                path: path.display().to_string(),
                source,
                remedy,
            }
        };
        if self.direct
            && let Ok(file) = open(libc::O_DIRECT)
            && file.set_len(bytes).is_ok()
            && takes_direct(&file)
        {
            return Ok(SwapFile {
                file,
                name,
                bytes,
                is_direct: true,
                io_uring: self.io_uring,
            });
        }
        let file = open(0).map_err(error(
            "make the swap file",
            "name a directory that exists and may be written to, and a file that does not exist",
        ))?;
        file.set_len(bytes).map_err(error(
            "set the length of the swap file",
            "choose a smaller size, or a file system that has room for it",
        ))?;
        Ok(SwapFile {
            file,
            name,
            bytes,
            is_direct: false,
            io_uring: self.io_uring,
        })
    }
}

fn options(flags: i32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(MODE)
        .custom_flags(flags);
    options
}

/// Opens a file that has no name, or where the file system has no such thing, one whose name is taken
/// away at once.
fn open_unnamed(directory: &Path, flags: i32) -> io::Result<File> {
    if let Ok(file) = options(flags | libc::O_TMPFILE).open(directory) {
        return Ok(file);
    }
    // Keyed at random by the system, as hash maps are.
    let mut rng = Rng::new(RandomState::new().build_hasher().finish());
    loop {
        let path = directory.join(format!(".pagepool-swap-{:016x}", rng.next_u64()));
        match options(flags).create_new(true).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the file system takes a page past its cache: some let the file be opened so and then do not.
/// What is written is the header, which holds nothing.
fn takes_direct(file: &File) -> bool {
    let Ok(memory) = ZeroedTable::<u8>::new(2 * PAGE_SIZE, "a page to try direct I/O with") else {
        return false;
    };
    let start = (memory.as_ptr() as usize).next_multiple_of(PAGE_SIZE) - memory.as_ptr() as usize;
    let page = &memory[start..start + PAGE_SIZE];
    matches!(file.write_at(page, 0), Ok(PAGE_SIZE))
}
