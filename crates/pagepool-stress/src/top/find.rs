//! Which pool is meant: by a path, by a process, or the only one there is.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::link::{Link, Trouble};
use crate::cli::Top;

/// The pool that the user means, and the connection to it.
pub(super) fn find(options: &Top, folder: &Path) -> Result<(PathBuf, Link), String> {
    if let Some(path) = &options.path {
        let link = Link::to(path).map_err(|trouble| trouble.to_string())?;
        return Ok((path.clone(), link));
    }
    let (mut live, troubles) = live(folder, options.pid);
    match (live.len(), troubles.into_iter().next()) {
        (1, _) => Ok(live.remove(0)),
        (0, Some(trouble)) => Err(trouble.to_string()),
        (0, None) => Err(nobody(options.pid, folder)),
        _ => Err(several(&live)),
    }
}

/// All that are served in the folder, and why others cannot be seen that seem to be.
fn live(folder: &Path, pid: Option<u32>) -> (Vec<(PathBuf, Link)>, Vec<Trouble>) {
    let (mut links, mut troubles) = (Vec::new(), Vec::new());
    for path in sockets(folder, pid) {
        match Link::to(&path) {
            Ok(link) => links.push((path, link)),
            // Its process was killed.
            Err(Trouble::Nothing { .. }) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    (links, troubles)
}

/// Files that are called as servers call them, in order.
fn sockets(folder: &Path, pid: Option<u32>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name
            .and_then(|name| name.strip_suffix(".sock")?.split_once('-'))
            .and_then(|(number, _)| number.parse::<u32>().ok());
        number.is_some_and(|number| pid.is_none_or(|pid| pid == number))
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(is_meant).collect();
    paths.sort();
    paths
}

fn nobody(pid: Option<u32>, folder: &Path) -> String {
    let who = pid.map_or_else(String::new, |pid| format!(" by process {pid}"));
    format!(
        "no pool is served{who} in {}: start one with --serve auto, or name a path",
        folder.display()
    )
}

fn several(live: &[(PathBuf, Link)]) -> String {
    let paths: Vec<_> = live
        .iter()
        .map(|(path, _)| path.display().to_string())
        .collect();
    format!("several pools are served, name one: {}", paths.join(" "))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let unique = crate::rng::any_seed();
            let path = std::env::temp_dir().join(format!("pagepool-find-{unique}"));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn find(&self, pid: Option<u32>) -> Result<String, String> {
            let options = Top {
                pid,
                ..Top::default()
            };
            let (path, _) = find(&options, &self.0)?;
            Ok(path.file_name().unwrap().to_str().unwrap().to_owned())
        }

        fn serve(&self, name: &str) -> UnixListener {
            UnixListener::bind(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn the_only_one_that_lives_is_meant() {
        let folder = Folder::new();
        assert!(
            folder
                .find(None)
                .unwrap_err()
                .starts_with("no pool is served in ")
        );
        let _cache = folder.serve("7-cache.sock");
        drop(folder.serve("8-dead.sock"));
        let _foreign = folder.serve("other.sock");
        fs::write(folder.0.join("9-notes.txt"), "").unwrap();
        assert_eq!(folder.find(None).unwrap(), "7-cache.sock");
        assert!(folder.find(Some(8)).unwrap_err().contains("by process 8"));
    }

    #[test]
    fn of_several_one_must_be_named() {
        let folder = Folder::new();
        let _all = ["7-a.sock", "7-b.sock", "8-c.sock"].map(|name| folder.serve(name));
        let several = folder.find(None).unwrap_err();
        for name in ["7-a.sock", "7-b.sock", "8-c.sock"] {
            assert!(several.contains(name), "{several}");
        }
        assert_eq!(folder.find(Some(8)).unwrap(), "8-c.sock");
        assert!(folder.find(Some(7)).is_err());
    }
}
