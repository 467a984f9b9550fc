//! Tests that look at their whole process, each in one of its own: its threads, its subscriber, its
//! children.

use std::fs;
use std::process::Command;

/// Says to a process that it was started for one test.
const MARK: &str = "PAGEPOOL_TEST_ALONE";

/// Runs `body` in a process of its own, as the test of the full name `test`: the same program, told to
/// run that test only.
#[track_caller]
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "there is no test {test}: {said}");
}

/// A thread of this process.
pub(crate) struct Task {
    pub(crate) name: String,
    directory: String,
}

/// The threads of this process whose names begin so.
pub(crate) fn tasks(prefix: &str) -> Vec<Task> {
    let entries = fs::read_dir("/proc/self/task").unwrap();
    let mut tasks: Vec<_> = entries
        .filter_map(|entry| {
            let directory = entry.ok()?.path().display().to_string();
            // One that ends meanwhile has no name any more.
            let name = fs::read_to_string(format!("{directory}/comm")).ok()?;
            let name = name.trim_end().to_owned();
            name.starts_with(prefix).then_some(Task { name, directory })
        })
        .collect();
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    tasks
}

/// The names of [`tasks`].
pub(crate) fn names(prefix: &str) -> Vec<String> {
    tasks(prefix).into_iter().map(|task| task.name).collect()
}

impl Task {
    /// How often it went to sleep.
    pub(crate) fn sleeps(&self) -> u64 {
        let status = fs::read_to_string(format!("{}/status", self.directory)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// The CPU time it used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("{}/stat", self.directory)).unwrap();
        // What comes before is its name, in parentheses.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        [11, 12]
            .iter()
            .map(|field| fields[*field].parse::<u64>().unwrap())
            .sum()
    }
}
