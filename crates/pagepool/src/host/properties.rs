//! The host's files, written by a writer of our own and read back.

use std::path::PathBuf;

use proptest::prelude::*;

use super::limits::{LimitKind, Said};
use super::whereabouts::{Place, Version, places};

/// A name of a directory, now and then one that `mountinfo` has to escape.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9.-]{0,8}", "[a-z \\t\\\\#]{1,6}x"]
        .prop_map(|name| name.replace('\n', "x"))
}

fn path() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 0..5)
}

fn absolute(parts: &[String]) -> String {
    format!("/{}", parts.join("/"))
}

/// As the kernel writes a path into `mountinfo`.
fn escaped(path: &str) -> String {
    path.chars()
        .map(|letter| match letter {
            ' ' | '\t' | '\n' | '\\' | '#' => format!("\\{:03o}", letter as u32),
            letter => letter.to_string(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_group_is_found_below_its_mount_with_all_above_it(
        root in path(), below in path(), point in path(), is_v2 in any::<bool>(), noise in ".{0,40}",
    ) {
        let point = absolute(&[vec!["sys".to_owned()], point].concat());
        let (kind, options, group) = match is_v2 {
            true => ("cgroup2", "rw", "0::"),
            false => ("cgroup", "rw,memory", "7:cpu,memory:"),
        };
        let mount = format!("31 25 0:28 {} {} rw shared:1 - {kind} x {options}\n", escaped(&absolute(&root)), escaped(&point));
        let noise = noise.replace(['\n', '\r'], " ");
        let mountinfo = format!("20 1 259:1 / / rw - ext4 /dev/root rw\n{noise}\n{mount}");
        let group_path = [root.clone(), below.clone()].concat();
        let cgroup = format!("1:cpuset:/\n{group}{}\n", absolute(&group_path));

        let mut directories = vec![];
        for depth in (0..=below.len()).rev() {
            directories.push([vec![point.clone()], below[..depth].to_vec()].concat().iter().collect::<PathBuf>());
        }
        let version = if is_v2 { Version::V2 } else { Version::V1 };
        let found = places(&cgroup, &mountinfo);
        prop_assert!(found.contains(&Place { version, directories }), "{:?}", found);
    }

    #[test]
    fn numbers_are_read_as_they_are_written(bytes in any::<u64>(), kib in 1..(1u64 << 54), around in "[ \t]{0,3}") {
        let text = format!("{around}{bytes}\n");
        prop_assert_eq!(LimitKind::CgroupMax.parse(&text), Ok(Said::Bytes(bytes)));
        prop_assert_eq!(LimitKind::CgroupHigh.parse(&text), Ok(Said::Bytes(bytes)));
        let v1 = if bytes < 1 << 62 { Said::Bytes(bytes) } else { Said::NoLimit };
        prop_assert_eq!(LimitKind::CgroupV1.parse(&text), Ok(v1));
        let stat = format!("cache 1\nhierarchical_memory_limit {bytes}\nhierarchical_memsw_limit 5\n");
        prop_assert_eq!(LimitKind::CgroupV1Hierarchy.parse(&stat), Ok(v1));
        let meminfo = format!("MemTotal:{around} {kib} kB\nMemFree: 1 kB\n");
        prop_assert_eq!(LimitKind::Physical.parse(&meminfo), Ok(Said::Bytes(kib * 1024)));
    }

    #[test]
    fn what_is_no_number_is_no_limit_and_no_crash(text in ".{0,60}") {
        for kind in [LimitKind::CgroupMax, LimitKind::CgroupV1, LimitKind::Physical] {
            if let Ok(Said::Bytes(bytes)) = kind.parse(&text) {
                prop_assert!(text.contains(|letter: char| letter.is_ascii_digit()), "{} of {:?}", bytes, text);
            }
        }
        let _ = places(&text, &text);
    }
}
