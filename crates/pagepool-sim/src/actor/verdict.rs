//! Which errors are in order.

use std::sync::atomic::Ordering::Relaxed;

use pagepool::{AccessError, AllocError, FlushError};

use super::Actor;

impl Actor {
    /// Whether a device may seem to have stalled: it has, or its worker did not run for as long as a request
    /// has patience.
    fn may_be_slow(&self) -> bool {
        let world = &self.scene.world;
        self.scene.troubled.load(Relaxed) || world.early > 0 || world.patience_ms < 200
    }

    pub(super) fn note_refusal(&self, error: AllocError) {
        self.scene.note(error.cause().len() as u64);
        let is_possible = match error {
            AllocError::InvalidFlags | AllocError::Reentrant | AllocError::Thrashing => false,
            AllocError::StoreStalled => self.may_be_slow(),
            _ => true,
        };
        assert!(is_possible, "refused for no reason: {error}");
    }

    pub(super) fn note_access(&self, error: AccessError) {
        self.scene.note(error.cause().len() as u64);
        match error {
            AccessError::Alloc(error) => self.note_refusal(error),
            AccessError::Corrupt => {
                assert!(self.scene.lied.load(Relaxed), "no device has lied: {error}");
            }
            AccessError::StoreFailed => {
                assert!(
                    self.scene.troubled.load(Relaxed),
                    "no device has failed: {error}"
                );
            }
            AccessError::StoreStalled => {
                assert!(self.may_be_slow(), "no device has stalled: {error}");
            }
            AccessError::TimedOut => {}
            AccessError::WouldBlock | AccessError::Deadlock | AccessError::TooManyPins => {
                panic!("that was not asked for: {error}")
            }
            _ => panic!("an error that this test does not know: {error}"),
        }
    }

    pub(super) fn note_flush(&self, flushed: Result<(), FlushError>) {
        let is_possible = match flushed {
            Ok(()) => true,
            // One failure is reported to each folio of the store, also to those that had nothing to write.
            Err(FlushError::Failed | FlushError::Full) => self.scene.troubled.load(Relaxed),
            Err(FlushError::Stalled) => self.may_be_slow(),
            Err(FlushError::InUse | FlushError::TimedOut) => true,
            Err(_) => false,
        };
        assert!(is_possible, "not written for no reason: {flushed:?}");
        self.scene.note(u64::from(flushed.is_ok()));
    }
}
