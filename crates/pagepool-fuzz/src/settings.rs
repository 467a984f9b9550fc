//! What people write to configure a pool: a letter that says which kind it is, and a text.
//!
//! | letter | text |
//! |---|---|
//! | `t` | lines `NAME VALUE`: tunables of a pool |
//! | `h` | files of a host, each after a line `@PATH`: the limit that a process is under |
//! | `n` | lines, each a number as options have them |
//! | `c` | a command line of the stress tool |
//! | `b` | steps of two bytes: settings of a builder, with values that are mostly absurd |

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use pagepool::{HugePages, LimitError, MemoryLimit, PagePool, Tunable};
use pagepool_stress::input;

use crate::assert_one_line;

/// Applies an input, whichever kind it is.
///
/// # Panics
/// If something is taken for what it is not, or refused with effects or in other than one line.
pub fn settings(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let text = || String::from_utf8_lossy(rest);
    match kind {
        b't' => tunables(&text()),
        b'h' => host(&text()),
        b'n' => text().lines().for_each(numbers),
        b'c' => command_line(&text()),
        b'b' => builder(rest),
        _ => {}
    }
}

/// Where a pool may ask for huge pages.
const HUGE_PAGES: [HugePages; 4] = [
    HugePages::Never,
    HugePages::Always,
    HugePages::AsHost,
    HugePages::WhenWhole,
];

/// Sets each line's tunable. What was taken reads back and can be set again; what was refused changed nothing.
fn tunables(text: &str) {
    let builder = PagePool::builder().memory(8 << 20).daemons(false);
    let pool = builder.build().expect("eight MiB");
    let tunables = pool.tunables();
    let all = || tunables.all().collect::<Vec<Tunable>>();
    for line in text.lines().take(16) {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let before = all();
        let changed = || {
            let pairs = all().into_iter().zip(before.clone());
            pairs.filter(|(now, was)| now.value != was.value).count()
        };
        match tunables.set(name, value) {
            Ok(()) => {
                assert!(changed() <= 1, "{line:?} changed {} settings", changed());
                let after = all();
                for tunable in &after {
                    tunables
                        .set(tunable.name, &tunable.value)
                        .unwrap_or_else(|error| panic!("as it was read: {error}"));
                }
                assert_eq!(all(), after, "setting what was read, after {line:?}");
            }
            Err(error) => {
                assert_eq!(changed(), 0, "{line:?} was refused");
                let known = before.iter().any(|tunable| tunable.name == error.field());
                assert!(known || error.field() == "tunable", "{error}");
                assert!(!error.accepted().is_empty(), "{error}");
                assert_one_line(&error.to_string());
            }
        }
    }
    pool.verify()
        .unwrap_or_else(|violation| panic!("{violation}"));
}

/// Lays out the files under a directory and looks for the limit there.
fn host(text: &str) {
    let root = Root::new();
    let mut file: Option<(PathBuf, String)> = None;
    for line in text.split_inclusive('\n').take(256) {
        match line.strip_prefix('@') {
            Some(path) => {
                root.write(file.take());
                file = inside(path.trim()).map(|path| (path, String::new()));
            }
            None => {
                if let Some((_, text)) = &mut file {
                    text.push_str(line);
                }
            }
        }
    }
    root.write(file);
    match MemoryLimit::find(&root.0) {
        Ok(limit) => {
            assert_eq!(MemoryLimit::find(&root.0).ok(), Some(limit.clone()));
            assert!(limit.file().starts_with(&root.0), "{limit}");
            assert!(limit.file().is_file(), "{limit}");
        }
        Err(LimitError::Unreadable { file, .. }) => assert!(file.starts_with(&root.0)),
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// A path that stays where it is put.
fn inside(path: &str) -> Option<PathBuf> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(path);
    let fits = path.as_os_str().len() < 200 && path.components().count() < 12;
    let plain = fits && path.components().all(is_plain) && !path.to_string_lossy().contains('\0');
    (plain && path.file_name().is_some()).then(|| path.to_owned())
}

/// A directory that goes with the input.
struct Root(PathBuf);

impl Root {
    fn new() -> Root {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: only that no two are equal counts.
        let nr = NEXT.fetch_add(1, Relaxed);
        let name = format!("pagepool-fuzz-{}-{nr}", std::process::id());
        let root = Root(std::env::temp_dir().join(name));
        fs::create_dir_all(&root.0).expect("a directory for temporary files");
        root
    }

    /// Writes a file. One that another is in the way of is left out.
    fn write(&self, file: Option<(PathBuf, String)>) {
        let Some((path, text)) = file else {
            return;
        };
        let path = self.0.join(path);
        let parent = path.parent().expect("the root at least");
        if fs::create_dir_all(parent).is_ok() {
            let _ = fs::write(path, text);
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // A directory that is left behind is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn numbers(line: &str) {
    for refusal in input::numbers(line).into_iter().filter_map(Result::err) {
        assert_one_line(&refusal);
    }
}

fn command_line(text: &str) {
    let args = text.split_whitespace().take(32).map(Into::into).collect();
    if let Err(refusal) = input::command_line(args) {
        assert_one_line(&refusal);
    }
}

/// Numbers that settings rarely have, and some that they do.
const VALUES: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    10,
    16,
    17,
    50,
    64,
    90,
    100,
    101,
    255,
    1000,
    4096,
    1 << 16,
    (1 << 20) - 1,
    8 << 20,
    (64 << 20) + 1,
    1 << 32,
    1 << 46,
    1 << 63,
    u64::MAX,
];

/// Builds a pool of settings, each of which may be absurd. It is built and sound, or refused in one line.
fn builder(bytes: &[u8]) {
    let mut builder = PagePool::builder().memory(4 << 20).daemons(false);
    for step in bytes.chunks_exact(2).take(12) {
        let value = VALUES[usize::from(step[1]) % VALUES.len()];
        let (size, small) = (value as usize, value as u8);
        builder = match step[0] % 22 {
            0 => builder.memory(size),
            1 => builder.managed(size),
            2 => builder.nodes(size),
            3 => builder.movable_share(small),
            4 => builder.dma(size),
            5 => builder.deadline(Duration::from_nanos(value)),
            6 => builder.hardened(value & 1 != 0),
            7 => builder.min_free_kbytes(value),
            8 => builder.watermark_scale_factor(value as u32),
            9 => builder.watermark_boost_factor(value as u32),
            10 => builder.lowmem_reserve_ratio([value as u32; 3]),
            11 => builder.percpu_pagelist_fraction(value as u32),
            12 => builder.compaction_proactiveness(small),
            13 => builder.trim_threshold(size),
            14 => builder.max_folios(size),
            15 => builder.max_groups(size),
            16 => builder.swap_limit(value),
            17 => builder.max_shrinkers(size),
            18 => builder.max_stores(size),
            19 => builder.cpus(vec![vec![size], vec![0, size.wrapping_add(1)]]),
            20 => builder.distances(vec![vec![small; 2], vec![small, 10]]),
            _ => builder.huge_pages(HUGE_PAGES[value as usize % HUGE_PAGES.len()]),
        };
    }
    match builder.build() {
        Ok(pool) => {
            let stats = pool.stats();
            assert!(stats.managed_pages > 0);
            assert!(!pool.config().to_string().is_empty());
            // Beyond that, looking at each frame takes longer than an input may.
            if stats.managed_pages < 1 << 18 {
                pool.verify()
                    .unwrap_or_else(|violation| panic!("{violation}"));
            }
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}
