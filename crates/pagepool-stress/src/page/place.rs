//! The folder that the page goes to: looked at before the run, written after it, each file whole or not at all.
#![forbid(unsafe_code)]

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use super::{data, page};
use crate::{record::Recording, report::Report};

/// A folder that files could be made in when the run began.
#[derive(Debug)]
pub(crate) struct PagePlace {
    dir: PathBuf,
}

const PAGE: &str = "report.html";
const DATA: &str = "report.json";

impl PagePlace {
    /// Makes the folder if it is not there, and sees that files can be made in it: a run should not end with nowhere
    /// to report to. Nothing stays behind but the folder.
    pub(crate) fn prepare(dir: &Path) -> Result<PagePlace, String> {
        let is_new = match fs::create_dir(dir) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => false,
            Err(error) => return Err(complaint(dir, &error)),
        };
        let place = PagePlace {
            dir: dir.to_owned(),
        };
        place.probe().inspect_err(|_| {
            if is_new {
                // It was made a moment ago, and is empty.
                let _ = fs::remove_dir(dir);
            }
        })?;
        Ok(place)
    }

    /// Where the page will be.
    pub(crate) fn page(&self) -> PathBuf {
        self.dir.join(PAGE)
    }

    fn probe(&self) -> Result<(), String> {
        for name in [PAGE, DATA] {
            let path = self.dir.join(name);
            if path.is_dir() {
                return Err(format!(
                    "--report {}: a directory is in its place: remove it, or name another folder",
                    path.display()
                ));
            }
            Draft::create(&path)?;
        }
        Ok(())
    }

    /// Writes the page and its data.
    pub(crate) fn write(&self, report: &Report, recordings: Vec<Recording>) -> Result<(), String> {
        let data = data(report, recordings);
        let title = format!("pagepool-stress {}, seed {}", report.command, report.seed);
        let mut drafts = Vec::new();
        for (name, text) in [(DATA, &data), (PAGE, &page(&title, &data))] {
            let mut draft = Draft::create(&self.dir.join(name))?;
            draft.write(text.as_bytes())?;
            drafts.push(draft);
        }
        drafts.into_iter().try_for_each(Draft::publish)
    }
}

fn complaint(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "; make the folder above it first",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "; a file is in its place: remove it, or name another folder"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; name a folder that may be written to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
            "; make room, or name a folder with some"
        }
        _ => "",
    };
    format!("--report {}: {error}{remedy}", path.display())
}

/// A file beside its place; it goes if it is not published.
#[derive(Debug)]
struct Draft {
    /// Where it is to be.
    goal: PathBuf,
    /// Where it is; none once it is published.
    path: Option<PathBuf>,
    file: File,
}

impl Draft {
    fn create(goal: &Path) -> Result<Draft, String> {
        let name = goal.file_name().unwrap_or_default().to_string_lossy();
        let path = goal.with_file_name(format!(".{name}.{}", process::id()));
        let file = File::create(&path).map_err(|error| complaint(goal, &error))?;
        Ok(Draft {
            goal: goal.to_owned(),
            path: Some(path),
            file,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| complaint(&self.goal, &error))
    }

    fn publish(mut self) -> Result<(), String> {
        let path = self.path.as_ref().expect("published once");
        fs::rename(path, &self.goal).map_err(|error| complaint(&self.goal, &error))?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If it cannot be removed, there is nobody to tell: an error is on its way already.
            let _ = fs::remove_file(path);
        }
    }
}
