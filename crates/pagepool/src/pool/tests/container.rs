//! Pools that are sized by the memory limit of their process.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, fs, process};

use super::*;
use crate::error::BuildError;
use crate::host::LimitKind;

/// A root with a control group that is limited to what the text says; it goes with its test.
struct Container(PathBuf);

impl Container {
    fn limited_to(name: &str, max: &str) -> Container {
        let root = env::temp_dir().join(format!("pagepool-container-{name}-{}", process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let mount = "26 20 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        write("proc/self/cgroup", "0::/\n");
        write("proc/self/mountinfo", mount);
        write("proc/meminfo", "MemTotal:       16777216 kB\n");
        write("sys/fs/cgroup/memory.max", max);
        Container(root)
    }

    fn builder(&self, percent: u8) -> Builder {
        PagePool::builder()
            .host_root(self.0.clone())
            .memory_of_container(percent)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A directory that is left behind is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_budget_is_a_share_of_the_limit_and_the_settings_say_of_which() {
    let container = Container::limited_to("share", "134217728\n");
    let pool = container.builder(25).build().unwrap();
    assert_eq!(pool.config().budget_bytes(), (134_217_728 / 100) * 25);
    let limit = pool.config().memory_limit().unwrap();
    assert_eq!(limit.bytes(), 128 << 20);
    assert_eq!(limit.kind(), LimitKind::CgroupMax);
    assert!(limit.file().ends_with("sys/fs/cgroup/memory.max"));
    let text = pool.config().to_string();
    let line = "the budget is 25 % of 128 MiB, the control group's maximum (";
    assert!(text.contains(line), "{text}");
    pool.verify().unwrap();
}

#[test]
fn shares_out_of_range_are_refused_with_the_range() {
    let container = Container::limited_to("range", "134217728\n");
    for percent in [0, 91, 100] {
        let error = container.builder(percent).build().unwrap_err();
        let BuildError::OutOfRange(range) = &error else {
            panic!("{error}");
        };
        assert_eq!(range.field(), "memory_of_container");
        assert_eq!(range.value(), percent.to_string());
        assert_eq!(range.accepted(), "1 to 90 percent");
    }
    for percent in [1, 90] {
        container.builder(percent).build().unwrap();
    }
}

#[test]
fn a_limit_that_is_not_understood_is_an_error_and_not_a_pool() {
    let container = Container::limited_to("junk", "a lot\n");
    let error = container.builder(50).build().unwrap_err();
    assert!(matches!(error, BuildError::Limit(_)), "{error:?}");
    assert!(error.to_string().contains("memory.max"), "{error}");
}

#[test]
fn the_last_size_given_counts() {
    let container = Container::limited_to("last", "134217728\n");
    let pool = container.builder(50).memory(8 << 20).build().unwrap();
    assert_eq!(pool.config().budget_bytes(), 8 << 20);
    assert!(pool.config().memory_limit().is_none(), "nobody asked");
    let pool = container.builder(50).managed(8 << 20).build().unwrap();
    assert_eq!(pool.config().managed_bytes(), 8 << 20);
    let builder = PagePool::builder().memory(8 << 20);
    let pool = builder
        .host_root(container.0.clone())
        .memory_of_container(50);
    assert_eq!(
        pool.build().unwrap().config().budget_bytes(),
        134_217_728 / 100 * 50
    );
}

#[test]
fn a_share_too_small_for_a_pool_names_the_memory_that_it_is() {
    let container = Container::limited_to("small", "100000\n");
    let error = container.builder(10).build().unwrap_err();
    assert!(error.to_string().starts_with("memory = 10000 "), "{error}");
}
