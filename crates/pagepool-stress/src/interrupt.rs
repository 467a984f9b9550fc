//! Ctrl-C, and a polite request to end: the run ends with the report so far, and the next one ends the process.
#![forbid(unsafe_code)]

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag::{register, register_conditional_shutdown},
};

/// The exit status of a process that did not wait for its report: as a shell says of one that was interrupted.
const STATUS: i32 = 130;

/// How long somebody who rests may not know of it.
const NAP: Duration = Duration::from_millis(50);

/// Whether somebody wants the run to end. Nothing is ordered by the word: it stands for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on SIGINT and SIGTERM ask for the end; when one was asked for already, they end the process.
    pub(crate) fn heed() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag clear, and sets it.
            register_conditional_shutdown(signal, STATUS, Arc::clone(&interrupt.0))?;
            register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Whether the run is to end.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Rests for `time`, or until the run is to end.
    pub(crate) fn rest(&self, time: Duration) -> ControlFlow<()> {
        let begin = Instant::now();
        while let Some(rest) = time.checked_sub(begin.elapsed()) {
            if self.is_set() {
                return ControlFlow::Break(());
            }
            thread::sleep(rest.min(NAP));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_lasts_until_it_is_interrupted() {
        let interrupt = Interrupt::default();
        let begin = Instant::now();
        assert!(interrupt.rest(Duration::from_millis(60)).is_continue());
        assert!(begin.elapsed() >= Duration::from_millis(60));
        let other = interrupt.clone();
        let sleeper = thread::spawn(move || other.rest(Duration::from_secs(60)));
        interrupt.0.store(true, Relaxed);
        assert!(sleeper.join().unwrap().is_break());
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
