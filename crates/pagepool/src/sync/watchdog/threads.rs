//! What the system knows of the threads of this process.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Between two looks at how much time a thread takes.
const INTERVAL: Duration = Duration::from_millis(100);

/// A thread, as `/proc` has it.
#[derive(Debug)]
struct Thread {
    id: u32,
    place: PathBuf,
    name: String,
    /// A letter, as in `ps`: R runs, S sleeps, D waits for a device.
    state: char,
    /// Time that it took so far, in hundredths of a second.
    ticks: u64,
}

/// Each thread of this process, in a line: its number, name and state, whether it takes time, in which system call
/// it is and what it waits for there; below, its stack in the kernel, where that may be read.
pub(super) fn threads() -> String {
    let before = all();
    thread::sleep(INTERVAL);
    let mut out = String::new();
    for thread in all() {
        let earlier = before.iter().find(|one| one.id == thread.id);
        let ticks = thread.ticks - earlier.map_or(0, |one| one.ticks.min(thread.ticks));
        let _ = write!(
            out,
            "thread {} {}: {}",
            thread.id,
            thread.name,
            called(thread.state)
        );
        if ticks > 0 {
            let _ = write!(out, ", takes {} % of a CPU", ticks * 10);
        }
        out.push_str(&thread.call());
        out.push('\n');
        out.push_str(&thread.stack());
    }
    if out.is_empty() {
        out.push_str("no threads: /proc cannot be read\n");
    }
    out
}

/// The threads of this process.
fn all() -> Vec<Thread> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let mut threads: Vec<_> = { tasks.flatten() }
        .filter_map(|task| Thread::read(&task.path()))
        .collect();
    threads.sort_by_key(|thread| thread.id);
    threads
}

impl Thread {
    /// None if it has ended meanwhile.
    fn read(place: &Path) -> Option<Thread> {
        let id = place.file_name()?.to_str()?.parse().ok()?;
        let stat = fs::read_to_string(place.join("stat")).ok()?;
        let (state, ticks) = read_stat(&stat)?;
        Some(Thread {
            id,
            name: read(place, "comm"),
            place: place.to_owned(),
            state,
            ticks,
        })
    }

    /// In which system call it is, and what it waits for.
    fn call(&self) -> String {
        let mut said = String::new();
        let wchan = read(&self.place, "wchan");
        if !matches!(wchan.as_str(), "" | "0") {
            said = format!(", waits in {wchan}");
        }
        let syscall = read(&self.place, "syscall");
        match syscall.split(' ').next() {
            None | Some("" | "running" | "-1") => said,
            Some(number) => format!("{said}, system call {number}"),
        }
    }

    fn stack(&self) -> String {
        let stack = read(&self.place, "stack");
        stack.lines().map(|line| format!("    {line}\n")).collect()
    }
}

/// State and time of a thread, from its `stat`; its name, in brackets, may have any characters.
fn read_stat(stat: &str) -> Option<(char, u64)> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let state = fields.first()?.chars().next()?;
    let time = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((state, time(11)? + time(12)?))
}

/// A file of a thread; empty if it cannot be read.
fn read(place: &Path, file: &str) -> String {
    let text = fs::read_to_string(place.join(file)).unwrap_or_default();
    text.trim_end().to_owned()
}

/// What a letter means.
fn called(state: char) -> &'static str {
    match state {
        'R' => "running",
        'S' => "sleeping",
        'D' => "waiting for a device",
        'T' | 't' => "stopped",
        'Z' | 'X' => "ended",
        'I' => "idle",
        _ => "in an unknown state",
    }
}

#[cfg(test)]
mod tests {
    use std::hint;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        let stat = "17 (a) S 1) R 1 1 1 0 -1 4194304 1 0 0 0 7 5 0 0 20 0 1 0 1 1 1";
        assert_eq!(read_stat(stat), Some(('R', 12)));
        assert_eq!(read_stat("17 (a) S 1"), None);
    }

    #[test]
    fn a_sleeping_and_a_running_thread_are_told_apart() {
        let (sender, receiver) = mpsc::channel::<()>();
        let spinner = thread::Builder::new()
            .name("spinner".into())
            .spawn(move || {
                while receiver.try_recv() == Err(mpsc::TryRecvError::Empty) {
                    hint::spin_loop();
                }
            });
        let sleeper = thread::Builder::new()
            .name("sleeper".into())
            .spawn(thread::park);
        thread::sleep(Duration::from_millis(50));
        let said = threads();
        drop(sender);
        let sleeper = sleeper.unwrap();
        sleeper.thread().unpark();
        sleeper.join().unwrap();
        spinner.unwrap().join().unwrap();

        let line = |name: &str| {
            let mut lines = said.lines();
            lines.find(|line| line.contains(name)).unwrap().to_owned()
        };
        assert!(line("spinner").contains("takes "), "{said}");
        assert!(line("sleeper: sleeping").contains("system call"), "{said}");
    }
}
