//! Where a phase's pool swaps to.
#![forbid(unsafe_code)]

use std::{fmt, fs, io, path::PathBuf, sync::Arc};

use pagepool::{BuildError, FaultyDevice, PAGE_SIZE, SwapDevice, SwapFile};

use crate::units::parse_bytes;

/// What the user says about swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SwapChoice {
    /// A file without a name of so many bytes, in the system's folder for temporary files.
    Temporary(usize),
    /// A file of this name, made for the run and removed after it.
    Path(PathBuf),
}

impl SwapChoice {
    /// Parses a size or a path. What begins with a digit is a size.
    pub(crate) fn parse(text: &str) -> Result<SwapChoice, String> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let bytes = parse_bytes(text)
                .map_err(|error| format!("{error}, or the path of a file that does not exist"))?;
            return match bytes >= 2 * PAGE_SIZE {
                true => Ok(SwapChoice::Temporary(bytes)),
                false => Err("swap needs at least 8K".to_owned()),
            };
        }
        match text.is_empty() {
            true => Err("write a size, or the path of a file that does not exist".to_owned()),
            false => Ok(SwapChoice::Path(PathBuf::from(text))),
        }
    }
}

/// The swap area of one phase.
#[derive(Clone)]
pub(crate) enum SwapPlan {
    /// A file that is made when the phase begins, and removed after it if it has a name.
    File { path: Option<PathBuf>, bytes: u64 },
    /// A device that somebody outside of the pool has a hand on.
    Faulty(Arc<FaultyDevice>),
}

impl SwapPlan {
    /// A file for `pages` pages, unless the user says something else.
    pub(crate) fn for_pages(pages: u64, choice: Option<&SwapChoice>) -> SwapPlan {
        // One page is the header, and a folio's pages are consecutive: some room is left over.
        let enough = (pages + pages / 8 + 1024) * PAGE_SIZE as u64;
        match choice {
            None => SwapPlan::File {
                path: None,
                bytes: enough,
            },
            Some(SwapChoice::Temporary(bytes)) => SwapPlan::File {
                path: None,
                bytes: *bytes as u64,
            },
            Some(SwapChoice::Path(path)) => SwapPlan::File {
                path: Some(path.clone()),
                bytes: enough,
            },
        }
    }

    /// Makes the device.
    pub(crate) fn open(&self) -> Result<SharedDevice, BuildError> {
        Ok(SharedDevice(match self {
            SwapPlan::File { path: None, bytes } => Arc::new(SwapFile::temporary(*bytes)?),
            SwapPlan::File {
                path: Some(path),
                bytes,
            } => Arc::new(SwapFile::create(path, *bytes)?),
            SwapPlan::Faulty(device) => Arc::clone(device) as Arc<dyn SwapDevice>,
        }))
    }

    /// Removes what `open` has made and what does not go by itself.
    pub(crate) fn remove(&self) {
        if let SwapPlan::File {
            path: Some(path), ..
        } = self
        {
            // Whoever removed it already has done what was wanted.
            let _ = fs::remove_file(path);
        }
    }
}

impl fmt::Debug for SwapPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwapPlan")
    }
}

/// A device of which others have a reference, too.
pub(crate) struct SharedDevice(Arc<dyn SwapDevice>);

impl SwapDevice for SharedDevice {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_paths_are_told_apart() {
        assert_eq!(
            SwapChoice::parse("64M"),
            Ok(SwapChoice::Temporary(64 << 20))
        );
        assert_eq!(
            SwapChoice::parse("/tmp/swap"),
            Ok(SwapChoice::Path("/tmp/swap".into()))
        );
        assert!(SwapChoice::parse("").is_err());
        assert!(SwapChoice::parse("12q").is_err());
        assert!(SwapChoice::parse("4096").is_err());
    }
}
