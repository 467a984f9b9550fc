//! The steps of the protocols between threads, by name: each in sight, with a model that misses it, and told in the
//! book.

use std::collections::BTreeSet;

use super::{Source, assert_none, assert_one, is_word, of_repository, repository, source, sources};

/// What has the name of a barrier, a step or an ordering as its argument. Matched where a name ends so.
const NAMED: &[&str] = &[
    "fence_at(",
    "mutated(",
    "ordering_at(",
    "acq_rel_at(",
    "acquire(",
    "light(",
    "heavy(",
    "somebody_waits(",
    "waiters(",
    "waker: ",
    "sleeper: ",
];

/// The names of the barriers, steps and orderings that a file uses: what stands quoted after one of
/// [`NAMED`], up to two of them.
fn step_names(source: &Source) -> Vec<(usize, String)> {
    let mut names = vec![];
    for (n, line) in source.production() {
        for start in NAMED {
            for (at, _) in line.match_indices(start) {
                let arguments = line[at + start.len()..].split(')').next().unwrap_or("");
                let quoted = arguments.split('"').skip(1).step_by(2).take(2);
                let is_first = arguments.trim_start().starts_with('"');
                names.extend(quoted.filter(|_| is_first).map(|name| (n, name.to_owned())));
            }
        }
    }
    names
}

/// What takes the name of a step at last, and where it gets one that is not written there.
const NAMING: &[&str] = &[
    "fence_at(",
    "mutated(",
    "ordering_at(",
    "acq_rel_at(",
    "asym::light(",
    "asym::heavy(",
];
const PASSED_ON: &[(&str, &str)] = &[
    ("folio/slot.rs", "name"),
    ("sync/asym.rs", "name"),
    ("sync/waitqueue.rs", "fences.sleeper"),
    ("sync/waitqueue.rs", "fences.waker"),
    ("zone/put.rs", "look"),
];

/// A name stands where it is used, so that [`step_names`] finds it; or is passed on by one of the few that do.
fn names_out_of_sight(source: &Source) -> Vec<String> {
    let mut complaints = vec![];
    if source.is_test() || source.path == "sync/fence.rs" {
        return complaints;
    }
    for (n, line) in source.production() {
        for start in NAMING {
            for (at, _) in line.match_indices(start) {
                let arguments = &line[at + start.len()..];
                let first = arguments.split([',', ')']).next().unwrap_or("").trim();
                let is_in_sight =
                    first.starts_with('"') || PASSED_ON.contains(&(source.path.as_str(), first));
                if !is_in_sight {
                    let call = format_args!("{start}{first}: no name in sight");
                    complaints.push(source.complain(n, call));
                }
            }
        }
    }
    complaints
}

/// Orderings without a name, by file: what is said of each under "Equivalents" in `mutants.md`.
const EQUIVALENT: &[(&str, usize)] = &[
    ("folio/slot.rs", 1),
    ("node/daemon_control.rs", 1),
    ("node/lru.rs", 2),
    ("node/lru/moving.rs", 1),
    ("zone/magazine.rs", 1),
    ("zone/zonelist.rs", 1),
];

/// How many lines after a [`mutated`](NAMING) its two ways go on.
const STEP_LINES: usize = 3;

/// The lines on which something is ordered by more than Relaxed, with no name on them or just before them.
fn unnamed_orderings(source: &Source) -> Vec<usize> {
    let mut unnamed = vec![];
    if source.is_test() || source.path == "sync/fence.rs" || source.module() == "model" {
        return unnamed;
    }
    let is_word_at = |line: &str, at: usize, word: &str| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    };
    let is_imported = ["Acquire", "Release", "AcqRel"].map(|order| {
        let import = format!(", Ordering::{order}");
        (order, source.text.contains(&import))
    });
    let mut named_until = 0;
    for (n, line) in source.production() {
        if NAMING.iter().any(|start| line.contains(start)) {
            named_until = named_until.max(n);
        }
        if line.contains("mutated(") {
            named_until = n + STEP_LINES;
        }
        let is_ordered = is_imported.iter().any(|&(order, is_imported)| {
            let mut places = line.match_indices(order);
            places.any(|(at, _)| {
                let is_ordering = is_imported || line[..at].ends_with("Ordering::");
                is_ordering && is_word_at(line, at, order)
            })
        });
        if is_ordered && n > named_until && !line.trim_start().starts_with("use ") {
            unnamed.push(n);
        }
    }
    unnamed
}

/// Every ordering has a name, and so a mutant, or is known to need none.
fn unexplained_orderings(source: &Source) -> Vec<String> {
    let unnamed = unnamed_orderings(source);
    let known = EQUIVALENT.iter().find(|(path, _)| *path == source.path);
    let nr_known = known.map_or(0, |(_, nr)| *nr);
    if unnamed.len() == nr_known {
        return vec![];
    }
    let orderings = format_args!("orderings without a name: lines {unnamed:?}, {nr_known} known");
    vec![source.complain(1, orderings)]
}

/// The mutants of `mutants.txt`, or the rows of a table of `mutants.md` that name them.
fn listed_mutants(mutants: &str) -> BTreeSet<String> {
    let lines = mutants.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The first cells of the rows of a document's tables, without the backquotes; heads are left out.
fn first_cells(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split('`').next());
    cells.map(str::to_owned).collect()
}

/// Every barrier has a model that misses it.
fn unmodelled_steps(source: &Source, mutants: &str) -> Vec<String> {
    if source.is_test() {
        return vec![];
    }
    let known = listed_mutants(mutants);
    step_names(source)
        .into_iter()
        .filter(|(_, name)| !known.contains(name))
        .map(|(n, name)| source.complain(n, format_args!("{name} is not in mutants.txt")))
        .collect()
}

/// No mutant is left whose step is gone, or is spelled otherwise.
fn unused_mutants(sources: &[Source], mutants: &str) -> Vec<String> {
    let production = sources.iter().filter(|source| !source.is_test());
    let used: BTreeSet<_> = production
        .flat_map(step_names)
        .map(|(_, name)| name)
        .collect();
    let listed = listed_mutants(mutants);
    let unused = listed.difference(&used);
    unused
        .map(|name| format!("mutants.txt: no source has a step {name}"))
        .collect()
}

// ---- the crate ----

#[test]
fn every_name_is_in_sight() {
    assert_none(names_out_of_sight);
}

#[test]
fn every_ordering_has_a_name_or_needs_none() {
    assert_none(unexplained_orderings);
    let paths: BTreeSet<_> = sources().into_iter().map(|source| source.path).collect();
    assert!(EQUIVALENT.iter().all(|(path, _)| paths.contains(*path)));
}

#[test]
fn every_barrier_has_a_model_that_misses_it() {
    let mutants = of_repository("loom-tests/mutants.txt");
    let nr_used: usize = sources()
        .iter()
        .map(|source| step_names(source).len())
        .sum();
    assert!(nr_used >= 100, "the names were not recognised");
    assert_none(|source| unmodelled_steps(source, &mutants));
}

#[test]
fn every_mutant_has_a_step_that_it_leaves_out() {
    let unused = unused_mutants(&sources(), &of_repository("loom-tests/mutants.txt"));
    assert!(unused.is_empty(), "\n{}", unused.join("\n"));
}

#[test]
fn every_mutant_has_a_model_that_is_there() {
    for line in of_repository("loom-tests/mutants.txt").lines() {
        let mut words = line.split_whitespace();
        if let (false, Some(_), Some(model)) = (line.starts_with('#'), words.next(), words.next()) {
            let path = repository().join(format!("loom-tests/tests/{model}.rs"));
            assert!(path.exists(), "there is no {model}");
        }
    }
}

#[test]
fn every_mutant_stands_in_its_chapter_and_no_other_does() {
    let listed = listed_mutants(&of_repository("loom-tests/mutants.txt"));
    let chapter = of_repository("docs/src/mutants.md");
    let table = chapter.split("## Equivalents").next().unwrap();
    assert_eq!(listed, first_cells(table));
}

// ---- the rules themselves ----

#[test]
fn a_step_without_a_mutant_is_found() {
    let mutants = "# name  test\nkswapd.waker  r02\n";
    let check = |text: &str| unmodelled_steps(&source("node/wake.rs", text), mutants);
    assert_one(&check("fence_at(\"kswapd.napper\");"), "kswapd.napper");
    assert_one(&check("waker: \"freed.waker\", // x"), "freed.waker");
    assert_one(&check("if mutated(\"epoch\") {}"), "epoch");
    assert_one(&check("release_fence_at(\"folio.end\");"), "folio.end");
    assert_one(&check("ordering_at(\"folio.open\", Release)"), "folio.open");
    assert_eq!(check("acq_rel_at(\"a.a\", \"a.r\")").len(), 2);
    assert_one(&check("self.waiters(\"freed.look\")"), "freed.look");
    assert!(check("fence_at(\"kswapd.waker\")").is_empty());
    assert!(check("let lines = waiters(n, \"x\");").is_empty());
}

#[test]
fn a_mutant_without_a_step_is_found() {
    let mutants = "# name  test\nkswapd.waker  r02\nkswapd.gone  r02\n";
    let used = [source("node/wake.rs", "fence_at(\"kswapd.waker\");")];
    assert_one(&unused_mutants(&used, mutants), "kswapd.gone");
}

#[test]
fn a_name_out_of_sight_is_found() {
    let check = |path: &str, text: &str| names_out_of_sight(&source(path, text));
    assert_one(&check("node/wake.rs", "if mutated(STEP) {}"), "STEP");
    assert_one(
        &check("node/wake.rs", "let a = ordering_at("),
        "ordering_at(",
    );
    assert_one(&check("node/wake.rs", "release_fence_at(look)"), "look");
    assert!(check("node/wake.rs", "fence_at(\"a.b\")").is_empty());
    assert!(check("zone/put.rs", "!mutated(look)").is_empty());
}

#[test]
fn an_ordering_without_a_name_is_found() {
    let check = |path: &str, text: &str| unexplained_orderings(&source(path, text));
    let imported = "use super::atomic::{AtomicU8, Ordering::Release};\nw.store(1, Release);";
    assert_one(&check("node/wake.rs", imported), "[2]");
    assert_one(&check("node/wake.rs", "w.load(Ordering::Acquire)"), "[1]");
    assert_one(&check("zone/zonelist.rs", "w.load(Relaxed)"), "1 known");
    let named = "if mutated(\"a.b\") {\n    w.load(Ordering::Acquire)";
    assert!(check("node/wake.rs", named).is_empty());
    let beside = "let a = ordering_at(\"a.b\", Ordering::Acquire);\nw.load(Ordering::Acquire)";
    assert_one(&check("node/wake.rs", beside), "[2]");
    let other = "struct Release;\nfn f() -> Release {}";
    assert!(check("zone/evacuate.rs", other).is_empty());
}

#[test]
fn the_rows_of_a_table_are_found_by_their_first_cells() {
    let table = "| mutant | model |\n|---|---|\n| `a.b` | `r01` |\n";
    assert_eq!(first_cells(table), BTreeSet::from(["a.b".to_owned()]));
}
