//! A state of pressure, whose threads a model makes stall and work.

use crate::psi::worker::{Change, Standing};
use crate::psi::{PressureKind, PsiState};
use crate::sync::clock;

/// Pressure on nothing in particular.
#[derive(Debug, Default)]
pub struct Psi(PsiState);

impl Psi {
    /// The calling thread, which is no worker, begins to wait for memory.
    pub fn stall(&self) {
        self.0.change(Change::Stall(Standing::Other));
    }

    /// It goes on.
    pub fn resume(&self) {
        self.0.change(Change::Resume(Standing::Other));
    }

    /// There is one more worker.
    pub fn join(&self) {
        self.0.change(Change::Join);
    }

    /// There is one less.
    pub fn leave(&self) {
        self.0.change(Change::Leave);
    }

    /// Waits for a stall to begin, for ever.
    ///
    /// # Panics
    /// If it is told that none has.
    pub fn wait(&self, kind: PressureKind) {
        assert!(self.0.wait_for_stall(kind, None));
    }

    /// Waits for a stall to begin until the model lets the time run out; returns whether one has.
    pub fn wait_timed(&self, kind: PressureKind) -> bool {
        self.0.wait_for_stall(kind, Some(clock::now()))
    }

    /// Lets one timed wait run out: the one going on, or else the next.
    pub fn fire_timeout(&self, kind: PressureKind) {
        self.0.fire_timeout(kind);
    }

    /// How often threads have slept until a stall began.
    pub fn nr_sleeps(&self, kind: PressureKind) -> u32 {
        self.0.nr_sleeps(kind)
    }

    /// Checks the state while nothing runs.
    ///
    /// # Panics
    /// If something is wrong, or somebody is stalled.
    pub fn assert_calm(&self) {
        self.0.verify(true).expect("it is calm");
    }
}
