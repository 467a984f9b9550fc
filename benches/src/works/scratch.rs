//! Files on the disk that swap is compared on.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use pagepool::{PAGE_SIZE, SwapFile};

use crate::Failure;

/// What is written at once: as much as the pool's own buffers hold.
pub(crate) const UNIT: usize = 64 << 10;

/// A directory of our own, gone with its files when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one in `directory`.
    pub(crate) fn new(directory: &Path) -> Result<Scratch, Failure> {
        let name = format!("pagepool-bench.{}.{:x}", process::id(), fastrand::u32(..));
        let path = directory.join(name);
        fs::create_dir(&path).map_err(|error| failed(&path, &error))?;
        Ok(Scratch { path })
    }

    /// A swap file of `bytes`, all of which the file system has room for.
    pub(crate) fn swap_file(&self, bytes: usize) -> Result<SwapFile, Failure> {
        let path = self.path.join(format!("swap.{:x}", fastrand::u64(..)));
        let swap = SwapFile::create(&path, bytes as u64);
        let swap = swap.map_err(|error| Failure::broken(error.to_string()))?;
        if !swap.is_direct() {
            let path = path.display();
            return Err(Failure::broken(format!(
                "{path}: the file system has no direct I/O; choose another by --directory"
            )));
        }
        write_full(&path, bytes)?;
        Ok(swap)
    }

    /// A file of `bytes` that is written and read past the page cache.
    pub(crate) fn plain_file(&self, bytes: usize) -> Result<PlainFile, Failure> {
        let path = self.path.join("plain");
        write_full(&path, bytes)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        let file = options.open(&path).map_err(|error| failed(&path, &error))?;
        Ok(PlainFile {
            file,
            buffer: RefCell::new(Box::new(Buffer([1; UNIT]))),
            path,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If it cannot be removed there is nobody to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes every byte of a file, so that later writes allocate nothing on the disk.
fn write_full(path: &Path, bytes: usize) -> Result<(), Failure> {
    let write = || {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let chunk = vec![1; UNIT];
        for start in (0..bytes).step_by(UNIT) {
            file.write_all_at(&chunk[..UNIT.min(bytes - start)], start as u64)?;
        }
        file.sync_all()
    };
    write().map_err(|error| failed(path, &error))
}

#[repr(align(4096))]
#[derive(Debug)]
struct Buffer([u8; UNIT]);

/// The yardstick's file.
#[derive(Debug)]
pub(crate) struct PlainFile {
    file: File,
    buffer: RefCell<Box<Buffer>>,
    path: PathBuf,
}

impl PlainFile {
    /// Writes the unit with the given number.
    pub(crate) fn write_unit(&self, unit: usize) -> Result<(), Failure> {
        let written = self
            .file
            .write_all_at(&self.buffer.borrow().0, (unit * UNIT) as u64);
        written.map_err(|error| failed(&self.path, &error))
    }

    /// Reads `nr` pages from page `first` on.
    pub(crate) fn read_pages(&self, first: usize, nr: usize) -> Result<(), Failure> {
        let bytes = &mut self.buffer.borrow_mut().0[..nr * PAGE_SIZE];
        let read = self.file.read_exact_at(bytes, (first * PAGE_SIZE) as u64);
        read.map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::broken(format!("{}: {error}", path.display()))
}

/// The sample at `share` of the sorted ones.
pub(crate) fn at_share(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
