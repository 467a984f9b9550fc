//! Where pools are served: what a path may be, and the folder of those who name none.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::error::{ServeError, ServeStep};

/// Bytes of a socket's path: `sun_path`, less the zero at its end.
pub(super) const MAX_PATH: usize = 107;

/// Bytes of its folder: the socket is made there under another name first, of 16 bytes at most.
pub(super) const MAX_FOLDER: usize = MAX_PATH - 17;

/// Bytes of a pool's name.
pub(super) const MAX_NAME: usize = 64;

/// What comes before `.sock` names the process and the pool.
const SUFFIX: &str = ".sock";

/// The folder of the sockets of this user's pools: `$XDG_RUNTIME_DIR/pagepool`, or, without that,
/// `/tmp/pagepool-UID`.
pub(super) fn folder(runtime_dir: Option<OsString>) -> PathBuf {
    let dir = runtime_dir
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    match dir {
        Some(dir) => dir.join("pagepool"),
        None => PathBuf::from(format!("/tmp/pagepool-{}", geteuid().as_raw())),
    }
}

/// Makes sure that `folder` is there, and nobody else's.
pub(super) fn make_folder(folder: &Path) -> Result<(), ServeError> {
    let failed = || ServeError::system(ServeStep::MakeFolder, folder);
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed()(error)),
        _ => {}
    }
    // Not through a link: somebody else may have made it.
    let found = fs::symlink_metadata(folder).map_err(failed())?;
    let is_private = found.mode() & 0o077 == 0;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || !is_private {
        let path = folder.to_owned();
        return Err(ServeError::SharedFolder { path });
    }
    Ok(())
}

/// The file of a pool in the folder of all.
pub(super) fn file_name(pid: u32, name: &str) -> Result<String, ServeError> {
    let is_printable = |letter: char| !letter.is_control() && letter != '/';
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_printable);
    if !is_name {
        let name = name.to_owned();
        return Err(ServeError::Name { name });
    }
    Ok(format!("{pid}-{name}{SUFFIX}"))
}

/// Makes a path absolute, since the process may go elsewhere, and sees whether a socket can have it.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, ServeError> {
    let path = std::path::absolute(path).map_err(ServeError::system(ServeStep::Resolve, path))?;
    let bytes = path.as_os_str().len();
    let folder = path.parent().map_or(0, |folder| folder.as_os_str().len());
    if bytes > MAX_PATH || folder > MAX_FOLDER {
        return Err(ServeError::TooLong { path, bytes });
    }
    Ok(path)
}

/// What a pool is called that is served at a path: the file's name, without its end.
pub(super) fn name_at(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_that_of_the_users_session_if_there_is_one() {
        let of = |dir: &str| folder(Some(dir.into()));
        assert_eq!(of("/run/user/7"), Path::new("/run/user/7/pagepool"));
        let other = PathBuf::from(format!("/tmp/pagepool-{}", geteuid().as_raw()));
        assert_eq!(folder(None), other);
        assert_eq!(of(""), other);
        assert_eq!(of("here"), other, "nobody would find it");
    }

    #[test]
    fn a_folder_that_others_can_get_at_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("pagepool");
        make_folder(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        make_folder(&folder).unwrap();

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        let refused = make_folder(&folder).unwrap_err().to_string();
        assert!(refused.contains("with the permissions 0700"), "{refused}");
        let link = dir.path().join("link");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(make_folder(&link).is_err());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make_folder(&file).is_err());
    }

    #[test]
    fn a_file_names_the_process_and_the_pool() {
        assert_eq!(file_name(7, "my cache").unwrap(), "7-my cache.sock");
        for name in ["", "a/b", "a\nb", &"x".repeat(65)] {
            let refused = file_name(7, name).unwrap_err().to_string();
            assert!(refused.contains("1 to 64 bytes"), "{refused}");
        }
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let of = |len: usize| format!("/{}", "x".repeat(len - 1));
        assert!(resolve(Path::new(&of(107))).is_ok());
        let refused = resolve(Path::new(&of(108))).unwrap_err().to_string();
        assert!(refused.contains("it has 108 bytes, 1 of them"), "{refused}");
        assert!(refused.contains("at most 107, 90 of them"), "{refused}");
        assert!(resolve(Path::new(&(of(90) + "/s"))).is_ok());
        assert!(resolve(Path::new(&(of(91) + "/s"))).is_err());
        assert!(resolve(Path::new("")).is_err());
    }

    #[test]
    fn a_pool_is_called_after_its_file() {
        assert_eq!(name_at(Path::new("/run/cache.sock")), "cache");
        assert_eq!(name_at(Path::new("/run/cache")), "cache");
    }
}
