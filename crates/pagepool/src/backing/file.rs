//! A file as a backing.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Backing, BackingError, WriteOut};
use crate::types::PAGE_SIZE;

/// A file whose pages folios can stand for: page n is its bytes from n × 4096 on.
///
/// Reading beyond its end gives zeros, writing there makes it longer. Written pages are in the system's
/// hands and not yet on the disk; [`sync`](FileBacking::sync) sees to that.
///
/// A backing that holds pages back until a log is durable wraps this one and answers
/// [`WriteOut::Held`] itself.
#[derive(Debug)]
pub struct FileBacking {
    file: File,
}

impl FileBacking {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(path: impl AsRef<Path>) -> io::Result<FileBacking> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(FileBacking { file })
    }

    /// Makes an empty file; one that is there loses its contents.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(path: impl AsRef<Path>) -> io::Result<FileBacking> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path)?;
        Ok(FileBacking { file })
    }

    /// The length in bytes.
    ///
    /// # Errors
    /// What the system said.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system said.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl From<File> for FileBacking {
    /// A file that is open for reading and writing.
    fn from(file: File) -> FileBacking {
        FileBacking { file }
    }
}

impl Backing for FileBacking {
    fn read_in(&self, page: u64, bytes: &mut [u8]) -> Result<(), BackingError> {
        let mut offset = page * PAGE_SIZE as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.read_at(rest, offset)? {
                0 => {
                    rest.fill(0);
                    break;
                }
                n => {
                    rest = &mut rest[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    fn write_out(&self, page: u64, bytes: &[u8]) -> Result<WriteOut, BackingError> {
        match self.file.write_all_at(bytes, page * PAGE_SIZE as u64) {
            Ok(()) => Ok(WriteOut::Written),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(BackingError::Full),
            Err(error) => Err(error.into()),
        }
    }
}
