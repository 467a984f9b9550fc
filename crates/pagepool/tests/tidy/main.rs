//! The rules of the house that no compiler checks: who may import whom, who may be unsafe, who may
//! name std's threads and locks; in `protocols`, that every step of a protocol has a model that misses it; and in
//! `models`, that every check of a model says what it saw.
//!
//! Each rule is a function from a source file to complaints; the tests at the end show that it
//! complains about a bad file, those before them that no file of the crate gives it reason to.

mod models;
mod protocols;

use std::fs;
use std::path::{Path, PathBuf};

/// Imports within a layer that are intended: the first may use the second.
const SAME_LAYER: &[(&str, &str)] = &[
    ("types", "error"),
    ("gfp", "types"),
    ("memmap", "arena"),
    ("swap", "backing"),
    ("node", "group"),
    ("node", "psi"),
    ("group", "psi"),
    ("fault", "alloc"),
];

/// Where `unsafe` may be written: whole modules, and single files of others.
const UNSAFE_MODULES: &[&str] = &["sync", "arena", "memmap", "folio", "adapters"];
const UNSAFE_FILES: &[&str] = &[
    "backing/uring.rs",
    "pool/at_hand.rs",
    "pool/block_ptr.rs",
    "pool/lifetime.rs",
    "pool/pages.rs",
    "pool/folio/handle.rs",
    "pool/folio/guard.rs",
    "pool/tests/raw.rs",
    "pool/tests/trim.rs",
];

/// A file of the crate.
struct Source {
    /// Relative to `src`, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The module below the crate's root that the file is, or is part of.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_root(&self) -> bool {
        self.path == "lib.rs"
    }

    /// Test code may use std's threads: it is not modelled.
    fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| ["tests", "tests.rs", "fixture.rs"].contains(&part))
    }

    /// How many modules deep the file's own items are, below the crate's root.
    fn depth(&self) -> usize {
        self.path.split('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// Numbered lines, comments cut off.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate();
        numbered.map(|(n, line)| (n + 1, line.find("//").map_or(line, |at| &line[..at])))
    }

    /// As `code`, without the unit tests at the file's end.
    fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code()
            .take_while(|(_, line)| !line.starts_with("mod tests {"))
    }

    fn complain(&self, n: usize, what: impl std::fmt::Display) -> String {
        format!("src/{}:{n}: {what}", self.path)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The modules of `lib.rs` and their layers, in order.
fn layers(lib: &str) -> Vec<(String, u32)> {
    lib.lines()
        .filter_map(|line| {
            let (code, comment) = line.split_once("//")?;
            let name = code.trim().strip_suffix(';')?.split_once("mod ")?.1;
            let layer = comment.split_whitespace().next()?.parse().ok()?;
            Some((name.to_owned(), layer))
        })
        .collect()
}

/// The identifier that `text` begins with.
fn identifier(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// The names right below the crate's root that a line mentions: `crate::name`, and `super::name` with
/// as many `super` as the line is deep. An indented import is taken to be in a module of its own.
fn mentions(source: &Source, line: &str) -> Vec<String> {
    let mut names = vec![];
    for (at, path) in line.match_indices("crate::") {
        if line[..at].ends_with(is_word) {
            continue;
        }
        let rest = &line[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(group.split(',').map(|item| identifier(item.trim()))),
            None => names.push(identifier(rest)),
        }
    }
    let import = line.trim_start();
    let indent = (line.len() - import.len()) / 4;
    if let Some((_, mut path)) = import.split_once("use ") {
        let mut ups = 0;
        while let Some(rest) = path.strip_prefix("super::") {
            (path, ups) = (rest, ups + 1);
        }
        if ups > 0 && ups == source.depth() + indent {
            names.push(identifier(path));
        }
    }
    names.retain(|name| !name.is_empty());
    names.into_iter().map(str::to_owned).collect()
}

/// Imports point downwards: a module uses only modules of lower layers, and of its own layer those
/// that are stated.
fn wrong_imports(source: &Source, layers: &[(String, u32)]) -> Vec<String> {
    let layer_of = |module: &str| {
        let found = layers.iter().find(|(name, _)| name == module);
        found.map(|(_, layer)| *layer)
    };
    if source.is_root() {
        return vec![];
    }
    let from = source.module();
    let Some(own) = layer_of(from) else {
        return vec![source.complain(1, format_args!("{from} has no layer in lib.rs"))];
    };
    let mut complaints = vec![];
    for (n, line) in source.code() {
        for to in mentions(source, line) {
            let complaint = match layer_of(&to) {
                _ if to == from => continue,
                None => format!("crate::{to} is no module: import from where it is defined"),
                Some(layer) if layer < own => continue,
                Some(layer) if layer == own && SAME_LAYER.contains(&(from, &to)) => continue,
                Some(layer) => format!("{from} (layer {own}) imports {to} (layer {layer})"),
            };
            complaints.push(source.complain(n, complaint));
        }
    }
    complaints
}

/// Unsafe code stays in its places, and elsewhere the compiler is told so.
fn wrong_unsafe(source: &Source) -> Vec<String> {
    let module = source.module();
    let is_allowed = UNSAFE_MODULES.contains(&module)
        || UNSAFE_FILES.contains(&source.path.as_str())
        || source.is_root();
    if is_allowed {
        return vec![];
    }
    let is_module_root =
        source.path == format!("{module}.rs") || source.path == format!("{module}/mod.rs");
    // A folder with unsafe files cannot forbid it in its `mod.rs`: then each of the others does.
    let has_unsafe_files = UNSAFE_FILES
        .iter()
        .any(|file| file.split('/').next() == Some(module));
    let is_above_unsafe = source
        .path
        .strip_suffix("mod.rs")
        .is_some_and(|folder| UNSAFE_FILES.iter().any(|file| file.starts_with(folder)));
    let must_forbid = if has_unsafe_files {
        !is_above_unsafe
    } else {
        is_module_root
    };

    let mut complaints: Vec<_> = source
        .code()
        .filter(|(_, line)| line.split(|c| !is_word(c)).any(|word| word == "unsafe"))
        .map(|(n, _)| source.complain(n, "unsafe code outside its places"))
        .collect();
    if must_forbid && !source.text.contains("#![forbid(unsafe_code)]") {
        complaints.push(source.complain(1, "#![forbid(unsafe_code)] is missing"));
    }
    complaints
}

/// Barriers have names.
fn bare_fences(source: &Source) -> Vec<String> {
    if source.path == "sync/fence.rs" {
        return vec![];
    }
    let is_bare = |line: &str| {
        line.match_indices("fence(")
            .any(|(at, _)| !line[..at].ends_with(is_word))
    };
    source
        .code()
        .filter(|(_, line)| is_bare(line))
        .map(|(n, _)| source.complain(n, "a barrier without a name: use fence_at"))
        .collect()
}

/// Threads, locks and time come through `sync`, so that a model can replace them.
fn past_the_facade(source: &Source) -> Vec<String> {
    const NAMES: [&str; 7] = [
        "std::sync",
        "std::thread",
        "std::time::Instant",
        "thread_local",
        "parking_lot",
        "loom",
        "shuttle",
    ];
    if source.module() == "sync" || source.is_test() {
        return vec![];
    }
    let is_named = |line: &str, name: &str| {
        line.match_indices(name).any(|(at, _)| {
            let rest = &line[at + name.len()..];
            let is_part =
                line[..at].ends_with(|c| is_word(c) || c == ':') || rest.starts_with(is_word);
            !is_part && !["Arc", "Weak"].contains(&identifier(rest.trim_start_matches(':')))
        })
    };
    let mut complaints = vec![];
    for (n, line) in source.production() {
        for name in NAMES {
            // Of an attribute that goes over several lines, the one with the predicate alone.
            let is_predicate = line.contains("cfg") || line.trim_start().starts_with("not(any(");
            let is_cfg = ["loom", "shuttle"].contains(&name) && is_predicate;
            if is_named(line, name) && !is_cfg {
                complaints.push(source.complain(n, format_args!("{name} outside sync")));
            }
        }
    }
    complaints
}

/// A file begins by saying what it is for.
fn missing_head(source: &Source) -> Vec<String> {
    // The tests of a module are for what it is for, unless there are several files of them.
    let is_named_for_it = source.is_test() && !source.path.contains("tests/");
    if source.text.starts_with("//! ") || source.is_root() || is_named_for_it {
        return vec![];
    }
    vec![source.complain(1, "the file does not say what it is for (//!)")]
}

// ---- the crate ----

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut dirs = vec![root.clone()];
    let mut sources = vec![];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
                sources.push(Source {
                    path: relative.to_owned(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    assert!(sources.len() > 40, "the crate has more files than that");
    sources
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn of_repository(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

#[track_caller]
fn assert_none(rule: impl Fn(&Source) -> Vec<String>) {
    let complaints: Vec<_> = sources().iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn imports_point_downwards() {
    let lib = sources().into_iter().find(Source::is_root).unwrap();
    let layers = layers(&lib.text);
    assert!(layers.len() >= 10, "{layers:?}");
    assert!(layers.is_sorted_by_key(|(_, layer)| *layer), "{layers:?}");
    assert_none(|source| wrong_imports(source, &layers));
}

#[test]
fn unsafe_code_stays_in_its_places() {
    assert_none(wrong_unsafe);
}

#[test]
fn every_barrier_has_a_name() {
    assert_none(bare_fences);
}

#[test]
fn threads_locks_and_time_come_through_the_facade() {
    assert_none(past_the_facade);
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_none(missing_head);
}

// ---- the rules themselves ----

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
    }
}

#[track_caller]
fn assert_one(complaints: &[String], part: &str) {
    let is_one = complaints.len() == 1 && complaints[0].contains(part);
    assert!(is_one, "{complaints:?}");
}

fn example_layers() -> Vec<(String, u32)> {
    layers(
        "pub(crate) mod sync; // 0  x\npub mod types; // 1\npub mod error; // 1\n\
         pub(crate) mod zone; // 4  y\nmod alloc; // 9\n",
    )
}

#[test]
fn layers_are_read_from_the_module_list() {
    let expected = [
        ("sync", 0),
        ("types", 1),
        ("error", 1),
        ("zone", 4),
        ("alloc", 9),
    ];
    let expected = expected.map(|(name, layer)| (name.to_owned(), layer));
    assert_eq!(example_layers(), expected);
}

#[test]
fn an_import_that_points_upwards_is_found() {
    let check = |path, text| wrong_imports(&source(path, text), &example_layers());
    let up = "zone (layer 4) imports alloc (layer 9)";
    assert_one(&check("zone/mod.rs", "use crate::alloc::Request;"), up);
    assert_one(&check("zone/pcp.rs", "fn f() { crate::alloc::go() }"), up);
    assert_one(&check("zone/pcp.rs", "use super::super::alloc;"), up);
    assert_one(&check("zone/mod.rs", "use super::alloc::Request;"), up);
    assert_one(&check("zone/mod.rs", "use crate::{sync, alloc};"), up);
    assert_one(&check("zone/mod.rs", "    use super::super::alloc;"), up);
    assert_one(
        &check("error.rs", "use crate::types::Order;"),
        "imports types",
    );
    assert_one(
        &check("zone/mod.rs", "use crate::Order;"),
        "where it is defined",
    );
    assert_one(&check("stray.rs", ""), "no layer");
}

#[test]
fn imports_that_point_downwards_or_stay_inside_are_left_alone() {
    let text = "use crate::sync::CoreMutex;\nuse super::pcp;\nuse crate::zone::x;\n\
                // crate::alloc\nuse super::*;";
    assert!(wrong_imports(&source("zone/take.rs", text), &example_layers()).is_empty());
    let stated = source("types.rs", "use crate::error::OrderError;");
    assert!(wrong_imports(&stated, &example_layers()).is_empty());
}

#[test]
fn unsafe_code_in_other_places_is_found() {
    let check = |path: &str, text: &str| wrong_unsafe(&source(path, text));
    assert_one(&check("zone/mod.rs", ""), "missing");
    assert_one(&check("gfp.rs", ""), "missing");
    assert_one(&check("pool/stats.rs", ""), "missing");
    assert_one(
        &check("zone/pcp.rs", "unsafe { x() }"),
        "outside its places",
    );
    assert_one(
        &check("pool/mod.rs", "unsafe fn f() {}"),
        "outside its places",
    );
    assert!(check("zone/mod.rs", "#![forbid(unsafe_code)]").is_empty());
    assert!(check("zone/pcp.rs", "// unsafe").is_empty());
    assert!(check("pool/mod.rs", "mod pages;").is_empty());
    assert!(check("pool/pages.rs", "unsafe { x() }").is_empty());
    assert!(check("sync/lock.rs", "unsafe { x() }").is_empty());
}

#[test]
fn a_bare_barrier_is_found() {
    let check = |path: &str, text: &str| bare_fences(&source(path, text));
    assert_one(&check("node/wake.rs", "fence(SeqCst);"), "without a name");
    assert_one(
        &check("node/wake.rs", "atomic::fence(SeqCst);"),
        "without a name",
    );
    assert!(check("node/wake.rs", "fence_at(\"x\"); // fence(x)").is_empty());
    assert!(check("sync/fence.rs", "fence(SeqCst);").is_empty());
}

#[test]
fn a_way_past_the_facade_is_found() {
    let check = |path: &str, text: &str| past_the_facade(&source(path, text));
    assert_one(&check("zone/mod.rs", "use std::sync::Mutex;"), "std::sync");
    assert_one(
        &check("zone/mod.rs", "use std::sync::{Arc, Mutex};"),
        "std::sync",
    );
    assert_one(
        &check("pool/mod.rs", "std::thread::yield_now()"),
        "std::thread",
    );
    assert_one(
        &check("alloc/slow.rs", "use std::time::Instant;"),
        "Instant",
    );
    assert_one(
        &check("alloc/slow.rs", "parking_lot::Mutex::new(0)"),
        "parking_lot",
    );
    assert_one(&check("alloc/slow.rs", "loom::model(f)"), "loom");
    assert_one(&check("alloc/slow.rs", "thread_local! {"), "thread_local");
    let fine = "use std::sync::Arc;\n#[cfg(loom)]\nlet bloom = 1;";
    assert!(check("zone/mod.rs", fine).is_empty());
    assert!(check("sync/lock.rs", "use std::sync::Mutex;").is_empty());
    assert!(check("zone/tests.rs", "use std::thread;").is_empty());
    assert!(check("zone/tests/marks.rs", "use std::thread;").is_empty());
    assert!(check("zone/pcp.rs", "mod tests {\n    use std::thread;\n}").is_empty());
}

#[test]
fn a_file_without_a_head_is_found() {
    for path in ["zone/take.rs", "zone/tests/marks.rs"] {
        assert_one(&missing_head(&source(path, "use x;")), "what it is for");
    }
    assert!(missing_head(&source("zone/take.rs", "//! Taking.\n")).is_empty());
    assert!(missing_head(&source("zone/tests.rs", "use x;")).is_empty());
}
