//! Where loads serve their pools to who looks at them.
#![forbid(unsafe_code)]

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use pagepool::{PagePool, ServeError, Server};

/// Where a pool is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServeAt {
    /// In the folder in which `top` looks.
    Folder,
    Path(PathBuf),
}

impl FromStr for ServeAt {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<ServeAt, Infallible> {
        Ok(match text {
            "auto" => ServeAt::Folder,
            path => ServeAt::Path(path.into()),
        })
    }
}

/// Where the pools of a run are served, one after the other, and what they are called in the folder of all.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) at: ServeAt,
    pub(crate) name: &'static str,
}

impl Serving {
    /// Bytes that a pool's server and its thread may take beside the pool.
    pub(crate) const BYTES: u64 = 4 << 20;

    /// Serves one of them.
    pub(crate) fn begin(&self, pool: &PagePool) -> Result<Server, ServeError> {
        match &self.at {
            ServeAt::Folder => pool.serve_as(self.name),
            ServeAt::Path(path) => pool.serve(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_called_auto_has_a_path() {
        assert_eq!("auto".parse(), Ok(ServeAt::Folder));
        assert_eq!("./auto".parse(), Ok(ServeAt::Path("./auto".into())));
    }
}
