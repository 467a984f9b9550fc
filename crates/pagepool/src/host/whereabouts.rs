//! Where the limits of a process's control groups are to be found (pure).
//!
//! | the process's group | the mount shows | looked at |
//! |---|---|---|
//! | `/a/b` | `/`: a host | `a/b`, `a`, and the mount itself |
//! | `/` | `/`: a namespace of groups | the mount itself |
//! | `/docker/x/app` | `/docker/x`: a container without one | `app`, and the mount itself |
//! | `/docker/x` | `/other`, or the group is `/../..` | the mount itself |
//!
//! In the last line the process's group cannot be seen. Then what the mount shows is taken for what is meant: a
//! container shows its own group there, and a limit that is too small is better than one that is too large.

use std::path::{Path, PathBuf};

/// A mounted hierarchy of control groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    V1,
    V2,
}

/// The directories of one hierarchy in which limits are set, the nearest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) directories: Vec<PathBuf>,
}

/// A line of `mountinfo`.
struct Mount {
    version: Version,
    /// Which group of the hierarchy the mount shows.
    root: String,
    /// Where.
    point: String,
}

/// The places, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`. Lines that mean nothing to us,
/// or nothing at all, are passed over: there are mounts of all kinds.
pub(super) fn places(cgroup: &str, mountinfo: &str) -> Vec<Place> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let groups = cgroup.lines().filter_map(parse_group);
    groups
        .filter_map(|(version, group)| {
            let mount = best_mount(&mounts, version, group)?;
            let directories = mount.directories(group);
            Some(Place {
                version,
                directories,
            })
        })
        .collect()
}

/// The group of the hierarchy that memory belongs to, from a line `ID:CONTROLLERS:PATH`.
fn parse_group(line: &str) -> Option<(Version, &str)> {
    let (id, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    if controllers.split(',').any(|name| name == "memory") {
        return Some((Version::V1, path));
    }
    (id == "0" && controllers.is_empty()).then_some((Version::V2, path))
}

/// The mount that shows the most of what is around the group; else any.
fn best_mount<'a>(mounts: &'a [Mount], version: Version, group: &str) -> Option<&'a Mount> {
    let known = || mounts.iter().filter(move |mount| mount.version == version);
    let showing = known().filter(|mount| mount.relative(group).is_some());
    showing
        .min_by_key(|mount| mount.root.len())
        .or_else(|| known().next())
}

impl Mount {
    /// From a line `ID PARENT DEVICE ROOT POINT OPTIONS… - TYPE SOURCE OPTIONS`.
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split_ascii_whitespace().skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split_ascii_whitespace();
        let kind = right.next()?;
        let mut options = right.next_back()?.split(',');
        let version = match kind {
            "cgroup2" => Version::V2,
            "cgroup" if options.any(|name| name == "memory") => Version::V1,
            _ => return None,
        };
        Some(Mount {
            version,
            root: unescape(root),
            point: unescape(point),
        })
    }

    /// The group as seen from the mount's root, without a slash in front, if it can be seen.
    fn relative<'a>(&self, group: &'a str) -> Option<&'a str> {
        let below = match self.root.as_str() {
            "/" => group,
            root => group.strip_prefix(root)?,
        };
        let is_inside = below.is_empty() || below.starts_with('/');
        let is_plain = !below.split('/').any(|part| part == "..");
        (is_inside && is_plain).then(|| below.trim_matches('/'))
    }

    fn directories(&self, group: &str) -> Vec<PathBuf> {
        let below = Path::new(self.relative(group).unwrap_or(""));
        let point = Path::new(&self.point);
        below
            .ancestors()
            .map(|group| joined(point, group))
            .collect()
    }
}

/// `below` under `point`; not with a slash at its end if `below` is empty.
fn joined(point: &Path, below: &Path) -> PathBuf {
    match below.as_os_str().is_empty() {
        true => point.to_owned(),
        false => point.join(below),
    }
}

/// Takes back what `mountinfo` does to spaces and the like: a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "26 20 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    const V1: &str = "\
20 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
25 20 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:28 / /sys/fs/cgroup/memory rw shared:10 master:3 - cgroup cgroup rw,memory
32 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[track_caller]
    fn assert_places(cgroup: &str, mountinfo: &str, expected: &[(Version, &[&str])]) {
        let found = places(cgroup, mountinfo);
        let expected: Vec<_> = expected
            .iter()
            .map(|(version, directories)| Place {
                version: *version,
                directories: directories.iter().map(PathBuf::from).collect(),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn on_a_host_all_groups_up_to_the_mount_count() {
        assert_places(
            "0::/user.slice/user-1000.slice/session-2.scope\n",
            V2,
            &[(
                Version::V2,
                &[
                    "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope",
                    "/sys/fs/cgroup/user.slice/user-1000.slice",
                    "/sys/fs/cgroup/user.slice",
                    "/sys/fs/cgroup",
                ],
            )],
        );
    }

    #[test]
    fn in_a_namespace_the_mount_is_the_group() {
        assert_places("0::/\n", V2, &[(Version::V2, &["/sys/fs/cgroup"])]);
    }

    #[test]
    fn a_group_outside_the_namespace_is_taken_for_what_the_mount_shows() {
        for group in ["0::/../..\n", "0::/../sibling\n"] {
            assert_places(group, V2, &[(Version::V2, &["/sys/fs/cgroup"])]);
        }
    }

    #[test]
    fn a_container_of_version_1_sees_its_own_group_as_the_mount() {
        let mounts = "700 690 0:28 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let memory = "/sys/fs/cgroup/memory";
        assert_places("5:memory:/docker/4f\n", mounts, &[(Version::V1, &[memory])]);
        assert_places(
            "5:memory:/docker/4f/app\n",
            mounts,
            &[(Version::V1, &["/sys/fs/cgroup/memory/app", memory])],
        );
        // The name goes on: another container.
        assert_places(
            "5:memory:/docker/4fe\n",
            mounts,
            &[(Version::V1, &[memory])],
        );
    }

    #[test]
    fn a_mount_made_in_another_namespace_shows_the_same_group() {
        let mounts = "31 25 0:28 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_places("0::/../..\n", mounts, &[(Version::V2, &["/sys/fs/cgroup"])]);
    }

    #[test]
    fn hybrid_hosts_have_both_versions() {
        assert_places(
            "5:memory:/a\n1:name=systemd:/init\n0::/init.scope\n",
            V1,
            &[
                (
                    Version::V1,
                    &["/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"],
                ),
                (
                    Version::V2,
                    &[
                        "/sys/fs/cgroup/unified/init.scope",
                        "/sys/fs/cgroup/unified",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn memory_may_share_its_hierarchy() {
        let mounts = "31 25 0:28 / /cg rw - cgroup none rw,cpuset,memory\n";
        assert_places("3:cpuset,memory:/\n", mounts, &[(Version::V1, &["/cg"])]);
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_most_counts() {
        let mounts = "\
31 25 0:28 /a/b /mnt/inner rw - cgroup2 cgroup2 rw
32 25 0:28 /other /mnt/other rw - cgroup2 cgroup2 rw
33 25 0:28 /a /mnt/outer rw - cgroup2 cgroup2 rw
";
        assert_places(
            "0::/a/b\n",
            mounts,
            &[(Version::V2, &["/mnt/outer/b", "/mnt/outer"])],
        );
    }

    #[test]
    fn names_with_spaces_and_colons_are_names() {
        let mounts = "31 25 0:28 / /my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_places(
            "0::/a b:c\n",
            mounts,
            &[(Version::V2, &["/my groups/a b:c", "/my groups"])],
        );
        assert_eq!(unescape("a\\134b\\"), "a\\b\\");
        assert_eq!(unescape("\\9"), "\\9");
    }

    #[test]
    fn without_groups_or_mounts_there_is_no_place() {
        assert_places("", "", &[]);
        assert_places("0::/\n", "", &[]);
        assert_places("", V2, &[]);
        assert_places("junk\n7:\n:::\n", "junk - \n1 2 3 - cgroup2\n", &[]);
    }
}
