//! `--record`: the first pool of a run is recorded into a file.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pagepool::{PagePool, RecordOptions, Recorded, Recording};

use crate::units::grouped;

/// What is to be recorded, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Taping {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// No pool was recorded yet.
    #[default]
    Waiting,
    /// One is or was, and this came of it.
    Begun(Option<Result<Recorded, String>>),
}

/// Set aside for events on their way to the file.
const BUFFER: usize = 8 << 20;

impl Taping {
    /// What a recording takes at most: its buffers, and a thread.
    pub(crate) const MOST_BYTES: u64 = (BUFFER + (1 << 20)) as u64;

    /// What is to be recorded into a file, which is made now, so that a run does not end with nowhere to write to.
    pub(crate) fn new(path: Option<&Path>) -> Result<Taping, String> {
        if let Some(path) = path {
            File::create(path).map_err(|error| format!("--record {}: {error}", path.display()))?;
        }
        Ok(Taping {
            path: path.map(Path::to_owned),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a pool, if one is to be recorded and none was.
    pub(crate) fn begin(&self, pool: &PagePool) -> Option<Recording> {
        let path = self.path.as_ref()?;
        let mut state = self.state();
        if matches!(*state, State::Begun(_)) {
            return None;
        }
        let recording = pool.record(RecordOptions::file(path).buffer(BUFFER));
        match recording {
            Ok(recording) => {
                *state = State::Begun(None);
                Some(recording)
            }
            Err(error) => {
                *state = State::Begun(Some(Err(error.to_string())));
                None
            }
        }
    }

    /// Ends a recording.
    pub(crate) fn end(&self, recording: Recording) {
        let recorded = recording.stop().map_err(|error| error.to_string());
        *self.state() = State::Begun(Some(recorded));
    }

    /// What came of it, in a line, if anything was to be recorded.
    ///
    /// # Errors
    /// Why there is no recording.
    pub(crate) fn outcome(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        match &*self.state() {
            State::Begun(Some(Ok(recorded))) => Ok(Some(format!(
                "recorded {} events into {}, {} lost\n",
                grouped(recorded.events),
                path.display(),
                grouped(recorded.dropped)
            ))),
            State::Begun(Some(Err(error))) => Err(format!("--record: {error}")),
            State::Begun(None) | State::Waiting => {
                Err("--record: no pool was played that could be recorded".to_owned())
            }
        }
    }
}
