//! Readers on directories that look like a container's root, and on this host.

use std::path::PathBuf;
use std::{env, fs, process};

use super::*;
use crate::error::LimitError;

const MIB: u64 = 1 << 20;

const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:         1000000 kB\n";

const V2_MOUNT: &str = "26 20 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

/// A directory that looks like a root, and goes with its test.
struct Root(PathBuf);

impl Root {
    /// With 16 GiB of memory, a process in `cgroup`, and mounts.
    fn new(name: &str, cgroup: &str, mountinfo: &str) -> Root {
        let name = format!("pagepool-host-{name}-{}", process::id());
        let root = Root(env::temp_dir().join(name));
        root.write("proc/self/cgroup", cgroup);
        root.write("proc/self/mountinfo", mountinfo);
        root.write("proc/meminfo", MEMINFO);
        root
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn reader(&self) -> LimitReader {
        LimitReader::resolve(&self.0).unwrap()
    }

    #[track_caller]
    fn assert_limit(&self, bytes: u64, kind: LimitKind, file: &str) {
        let limit = self.reader().read_limit().unwrap();
        assert_eq!((limit.bytes(), limit.kind()), (bytes, kind));
        assert_eq!(limit.file(), self.0.join(file));
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // A directory that is left behind is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_smallest_limit_on_the_way_up_wins() {
    let root = Root::new("v2", "0::/a/b\n", V2_MOUNT);
    root.write("sys/fs/cgroup/a/b/memory.max", "max\n");
    root.write("sys/fs/cgroup/a/b/memory.high", "max\n");
    root.write("sys/fs/cgroup/a/memory.max", "1073741824\n");
    root.write("sys/fs/cgroup/a/memory.high", "max\n");
    root.assert_limit(
        1024 * MIB,
        LimitKind::CgroupMax,
        "sys/fs/cgroup/a/memory.max",
    );
    root.write("sys/fs/cgroup/a/b/memory.high", "536870912\n");
    root.assert_limit(
        512 * MIB,
        LimitKind::CgroupHigh,
        "sys/fs/cgroup/a/b/memory.high",
    );
}

#[test]
fn of_equal_limits_the_nearest_is_named() {
    let root = Root::new("equal", "0::/a\n", V2_MOUNT);
    root.write("sys/fs/cgroup/a/memory.max", "1048576\n");
    root.write("sys/fs/cgroup/memory.max", "1048576\n");
    root.assert_limit(MIB, LimitKind::CgroupMax, "sys/fs/cgroup/a/memory.max");
}

#[test]
fn in_a_namespace_the_mount_s_own_files_count() {
    let root = Root::new("namespace", "0::/\n", V2_MOUNT);
    root.write("sys/fs/cgroup/memory.max", "268435456\n");
    root.assert_limit(256 * MIB, LimitKind::CgroupMax, "sys/fs/cgroup/memory.max");
}

#[test]
fn a_limit_beyond_the_host_s_memory_is_none() {
    let root = Root::new("huge", "0::/\n", V2_MOUNT);
    root.write("sys/fs/cgroup/memory.max", "1099511627776\n");
    root.assert_limit(16 * 1024 * MIB, LimitKind::Physical, "proc/meminfo");
}

#[test]
fn version_1_knows_the_limits_above_what_can_be_seen() {
    let mounts = "31 25 0:28 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let root = Root::new("v1", "5:memory:/docker/4f\n", mounts);
    let none = "9223372036854771712\n";
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", none);
    root.assert_limit(16 * 1024 * MIB, LimitKind::Physical, "proc/meminfo");
    let stat = "cache 0\nrss 1\nhierarchical_memory_limit 104857600\ntotal_cache 0\n";
    root.write("sys/fs/cgroup/memory/memory.stat", stat);
    root.assert_limit(
        100 * MIB,
        LimitKind::CgroupV1Hierarchy,
        "sys/fs/cgroup/memory/memory.stat",
    );
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "52428800\n");
    root.assert_limit(
        50 * MIB,
        LimitKind::CgroupV1,
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
    );
}

#[test]
fn a_hybrid_host_is_asked_in_both_versions() {
    let mounts = "\
31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    let root = Root::new("hybrid", "4:memory:/job\n0::/init\n", mounts);
    // Version 2 has the group but not the controller: there is no file.
    root.write("sys/fs/cgroup/unified/init/cgroup.procs", "1\n");
    root.write(
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes",
        "209715200\n",
    );
    root.assert_limit(
        200 * MIB,
        LimitKind::CgroupV1,
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes",
    );
}

#[test]
fn without_groups_there_is_the_host_s_memory() {
    let root = Root::new("none", "", "");
    root.assert_limit(16 * 1024 * MIB, LimitKind::Physical, "proc/meminfo");
    fs::remove_file(root.0.join("proc/self/cgroup")).unwrap();
    fs::remove_file(root.0.join("proc/self/mountinfo")).unwrap();
    root.assert_limit(16 * 1024 * MIB, LimitKind::Physical, "proc/meminfo");
}

/// The system writes names as they are, and a name need not be text.
#[test]
fn a_mount_with_a_name_that_is_no_text_is_passed_over() {
    let root = Root::new("bytes", "0::/\n", V2_MOUNT);
    let stick = b"40 20 8:1 / /media/caf\xe9 rw - vfat /dev/sdb1 rw\n";
    root.write(
        "proc/self/mountinfo",
        [&stick[..], V2_MOUNT.as_bytes()].concat(),
    );
    root.write("sys/fs/cgroup/memory.max", "268435456\n");
    root.assert_limit(256 * MIB, LimitKind::CgroupMax, "sys/fs/cgroup/memory.max");
}

#[test]
fn a_limit_that_changes_is_seen_by_the_same_reader() {
    let root = Root::new("change", "0::/\n", V2_MOUNT);
    root.write("sys/fs/cgroup/memory.max", "max\n");
    let reader = root.reader();
    assert_eq!(reader.read_limit().unwrap().kind(), LimitKind::Physical);
    for mib in [300, 20, 9999] {
        root.write("sys/fs/cgroup/memory.max", format!("{}\n", mib * MIB));
        assert_eq!(reader.read_limit().unwrap().bytes(), mib * MIB);
    }
}

#[test]
fn what_is_there_and_not_understood_is_an_error_that_names_it() {
    let root = Root::new("junk", "0::/\n", V2_MOUNT);
    root.write("sys/fs/cgroup/memory.max", "plenty\n");
    let error = root.reader().read_limit().unwrap_err();
    let LimitError::NotUnderstood { file, text } = &error else {
        panic!("{error}");
    };
    assert_eq!(*file, root.0.join("sys/fs/cgroup/memory.max"));
    assert_eq!(text, "plenty\n");
    assert!(error.to_string().contains("memory.max"), "{error}");
}

#[test]
fn what_is_there_and_cannot_be_read_is_an_error_that_names_it() {
    let root = Root::new("folder", "0::/\n", V2_MOUNT);
    fs::create_dir_all(root.0.join("sys/fs/cgroup/memory.max")).unwrap();
    let error = root.reader().read_limit().unwrap_err();
    assert!(matches!(&error, LimitError::Unreadable { file, .. } if file.ends_with("memory.max")));
    let none = Root::new("no-meminfo", "", "");
    fs::remove_file(none.0.join("proc/meminfo")).unwrap();
    let error = LimitReader::resolve(&none.0).unwrap_err();
    assert!(error.to_string().contains("proc/meminfo"), "{error}");
}

/// Whatever this host has: some limit, not above its memory, and the same when it is read again.
#[test]
fn this_host_has_a_limit() {
    let reader = LimitReader::resolve(std::path::Path::new(HOST_ROOT)).unwrap();
    let limit = reader.read_limit().unwrap();
    assert!(limit.bytes() >= MIB, "{limit}");
    assert!(limit.file().exists(), "{limit}");
    assert_eq!(reader.read_limit().unwrap().file(), limit.file());
}
