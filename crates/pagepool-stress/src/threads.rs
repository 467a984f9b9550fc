//! What the pool's own threads do, by the system's account of them.
#![forbid(unsafe_code)]

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Serialize;

/// Beginnings of the names of a pool's threads.
const NAMES: [&str; 4] = ["kswapd", "kcompactd", "pool-io", SERVER];

/// The thread that serves a pool to who looks at it.
pub(crate) const SERVER: &str = "pool-serve";

/// Nanoseconds in a tick of `/proc/*/stat`, which Linux shows in hundredths of a second.
const TICK_NS: u64 = 10_000_000;

/// A thread's account since its start, or over a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// Times that it gave up the CPU to wait, that is, woke up before or after.
    pub(crate) wakeups: u64,
    pub(crate) cpu_ns: u64,
}

/// The accounts of all threads of pools in this process, by thread number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts(BTreeMap<u64, Account>);

impl Accounts {
    /// Looks at all threads of this process.
    pub(crate) fn take() -> io::Result<Accounts> {
        let mut accounts = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/task")? {
            let path = entry?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            // A thread may end while it is looked at.
            if let (Some(number), Ok(Some(account))) = (number, account(&path)) {
                accounts.insert(number, account);
            }
        }
        Ok(Accounts(accounts))
    }

    /// What the threads did since `before`; a thread that has ended since is left out.
    pub(crate) fn since(&self, before: &Accounts) -> Vec<Account> {
        let change = |(number, now): (&u64, &Account)| {
            let (wakeups, cpu_ns) = before
                .0
                .get(number)
                .map_or((0, 0), |before| (before.wakeups, before.cpu_ns));
            Account {
                name: now.name.clone(),
                wakeups: now.wakeups.saturating_sub(wakeups),
                cpu_ns: now.cpu_ns.saturating_sub(cpu_ns),
            }
        };
        self.0.iter().map(change).collect()
    }
}

/// Threads of this process, where the system tells.
pub(crate) fn nr_threads() -> Option<u64> {
    count("/proc/self/task")
}

/// Files that this process has open, where the system tells.
pub(crate) fn nr_files() -> Option<u64> {
    // One is the folder itself.
    count("/proc/self/fd").map(|count| count.saturating_sub(1))
}

fn count(folder: &str) -> Option<u64> {
    Some(fs::read_dir(folder).ok()?.count() as u64)
}

/// A thread's account, if it is a pool's.
fn account(task: &Path) -> io::Result<Option<Account>> {
    let name = fs::read_to_string(task.join("comm"))?.trim_end().to_owned();
    if !NAMES.iter().any(|known| name.starts_with(known)) {
        return Ok(None);
    }
    let status = fs::read_to_string(task.join("status"))?;
    let wakeups = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .and_then(|count| count.trim().parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(Account {
        name,
        wakeups,
        cpu_ns: cpu_ns(task)?,
    }))
}

/// CPU time: exact where the system keeps it, else in ticks.
fn cpu_ns(task: &Path) -> io::Result<u64> {
    let exact = fs::read_to_string(task.join("schedstat")).ok();
    let exact = exact.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
    if let Some(ns) = exact.filter(|ns| *ns > 0) {
        return Ok(ns);
    }
    let stat = fs::read_to_string(task.join("stat"))?;
    ticks(&stat)
        .map(|ticks| ticks * TICK_NS)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Fields 14 and 15 of a stat line, user and system time; the second field may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 22 33 0 0";
        assert_eq!(ticks(stat), Some(11 + 22));
        assert_eq!(ticks("7"), None);
    }

    #[test]
    fn a_thread_of_a_pool_is_counted_by_its_name() {
        let Ok(before) = Accounts::take() else { return };
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("kswapd77".to_owned());
        let thread = thread
            .spawn(move || {
                let nap = std::time::Duration::from_millis(5);
                while stopped.recv_timeout(nap) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                }
            })
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let accounts = Accounts::take().unwrap().since(&before);
        drop(stop);
        thread.join().unwrap();
        let ours = accounts.iter().find(|account| account.name == "kswapd77");
        assert!(ours.is_some_and(|ours| ours.wakeups > 5), "{accounts:?}");
    }
}
