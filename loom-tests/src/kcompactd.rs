//! A kcompactd that serves what it is asked for until a model has seen enough: the rig of the models of requests.

use pagepool::model::{FenceNames, Kcompactd, Requests, Site};

use crate::{Journal, actor};

/// The barriers of its queue, for models of the queue by itself.
pub const FENCES: FenceNames = FenceNames {
    waker: "kcompactd.waker",
    sleeper: "kcompactd.sleeper",
};

/// A node on which each run serves at once what is asked for in the Normal class, and the last ends the daemon.
#[derive(Debug)]
pub struct Served<F> {
    runs: Journal<Option<u8>>,
    is_last: F,
}

impl<F> Served<F> {
    /// The order that each run was for.
    pub fn orders(&self) -> Vec<Option<u8>> {
        self.runs.entries()
    }
}

impl<F: Fn(Option<u8>) -> bool + Send + Sync + 'static> Site for Served<F> {
    fn compact(
        &self,
        daemon: &Kcompactd<Served<F>>,
        asked: Requests,
        _is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), Requests> {
        let order = asked.order(1);
        self.runs.note(order);
        if (self.is_last)(order) {
            daemon.ask_to_stop();
        }
        Ok(())
    }
}

/// Returns a daemon that is about to [run](live), until after the run that `is_last`.
pub fn serving_until<F>(is_last: F) -> Kcompactd<Served<F>>
where
    F: Fn(Option<u8>) -> bool + Send + Sync + 'static,
{
    let runs = Journal::default();
    let daemon = Kcompactd::new(Served { runs, is_last });
    daemon.begin();
    daemon
}

/// Starts an actor that is the daemon, for its whole life.
pub fn live<S: Site>(daemon: &Kcompactd<S>) -> loom::thread::JoinHandle<()> {
    let daemon = daemon.clone();
    actor(move || daemon.run_here())
}
