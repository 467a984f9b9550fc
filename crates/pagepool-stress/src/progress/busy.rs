//! What is shown while there is no pool yet: what the program is at, and for how long.
#![forbid(unsafe_code)]

use std::{
    io::{Write, stderr},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Instant,
};

use indicatif::ProgressBar;

use super::{PLAIN, REDRAW, STACK, Screen, goes_on, new_line};

/// It is shown until this is dropped. What takes less than a second is not mentioned in a pipe.
#[derive(Debug)]
pub(crate) struct Busy {
    spinner: Option<ProgressBar>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// From now on the program is at `what`.
    pub(crate) fn busy(&self, what: &str) -> Busy {
        let mut busy = Busy {
            spinner: None,
            stop: None,
            thread: None,
        };
        match self {
            Screen::Terminal(lines) => {
                let spinner = lines.add(new_line());
                spinner.set_message(what.to_owned());
                spinner.enable_steady_tick(REDRAW);
                busy.spinner = Some(spinner);
            }
            Screen::Plain => {
                let (stop, stopped) = mpsc::channel();
                let what = what.to_owned();
                let thread = thread::Builder::new()
                    .name("progress".to_owned())
                    .stack_size(STACK)
                    .spawn(move || write_lines(&what, &stopped));
                // A run without it is the same run.
                busy.thread = thread.ok();
                busy.stop = Some(stop);
            }
            Screen::Nowhere => {}
        }
        busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It cannot fail; if it did, there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn write_lines(what: &str, stopped: &mpsc::Receiver<()>) {
    let begin = Instant::now();
    while goes_on(stopped, PLAIN) {
        let line = format!("{what}: {:.0} s\n", begin.elapsed().as_secs_f64());
        // Whoever closed the pipe does not want to know.
        let _ = stderr().write_all(line.as_bytes());
    }
}
