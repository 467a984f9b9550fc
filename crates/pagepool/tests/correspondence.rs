//! The table in `docs/src/correspondence.md` names items of the code: each must exist.
//!
//! Every row has four columns: kernel function, spec section, our path and item, deviation and why.
//! The section has the form `N.N` or `N.N.N`; several are separated by commas. The third column holds
//! one or more code spans `path/to/file.rs: item`, or `none` where we have no counterpart. Such spans
//! may stand in the last column too, for tests, and are resolved there as well.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const HEADER: &str = "| kernel function | spec section | our path and item | deviation and why |";

/// A row of the table that does not hold.
#[derive(Debug, PartialEq, Eq)]
struct BadRow {
    line: usize,
    row: String,
    why: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}\n    {}", self.line, self.why, self.row)
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Checks every row of `text`; returns how many there are, and the bad ones.
fn check(root: &Path, text: &str) -> (usize, Vec<BadRow>) {
    let mut rows = 0;
    let mut bad = Vec::new();
    let mut in_table = false;
    for (number, line) in (1..).zip(text.lines()) {
        if !line.starts_with('|') {
            in_table = false;
        } else if line == HEADER {
            in_table = true;
        } else if in_table && !line.starts_with("|---") {
            rows += 1;
            if let Err(why) = check_row(root, line) {
                bad.push(BadRow {
                    line: number,
                    row: line.to_owned(),
                    why,
                });
            }
        }
    }
    (rows, bad)
}

fn check_row(root: &Path, row: &str) -> Result<(), String> {
    let columns: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [function, section, items, why] = columns[..] else {
        return Err(format!("{} columns instead of 4", columns.len()));
    };
    if function.is_empty() || why.is_empty() {
        return Err("an empty column".to_owned());
    }
    if let Some(odd) = section.split(", ").find(|section| !is_section(section)) {
        return Err(format!(
            "the section {odd:?} is not of the form N.N or N.N.N"
        ));
    }
    let named = references(items);
    if named.is_empty() && items != "none" {
        return Err("neither an item nor \"none\" in the third column".to_owned());
    }
    let references = named.into_iter().chain(references(why));
    references
        .map(|(path, item)| resolve(root, path, item))
        .collect()
}

fn is_section(section: &str) -> bool {
    let parts: Vec<&str> = section.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (2..=3).contains(&parts.len()) && parts.iter().all(is_number)
}

/// The code spans of the form `file.rs: item`.
fn references(cell: &str) -> Vec<(&str, &str)> {
    let spans = cell.split('`').skip(1).step_by(2);
    spans
        .filter_map(|span| span.split_once(": "))
        .filter(|(path, _)| path.ends_with(".rs"))
        .collect()
}

fn resolve(root: &Path, path: &str, item: &str) -> Result<(), String> {
    let text = fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
    if defines(&text, item) {
        return Ok(());
    }
    let elsewhere = sources(&root.join("crates"))
        .into_iter()
        .find(|file| fs::read_to_string(file).is_ok_and(|text| defines(&text, item)))
        .map_or_else(String::new, |file| {
            format!(
                "; {} does",
                file.strip_prefix(root).unwrap_or(&file).display()
            )
        });
    Err(format!("{path} does not define {item:?}{elsewhere}"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Whether `text` defines `item`: `name`, or `Type::name` for what an `impl`, a trait, an enum or a
/// bit-flag type contains.
fn defines(text: &str, item: &str) -> bool {
    match item.split_once("::") {
        None => text.lines().any(|line| is_definition(line, item)),
        Some((owner, name)) => {
            bodies(text, owner).any(|line| is_definition(line, name) || is_variant(line, name))
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

fn is_definition(line: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 9] = [
        "fn",
        "struct",
        "enum",
        "const",
        "static",
        "trait",
        "type",
        "mod",
        "macro_rules",
    ];
    if line.trim_start().starts_with("//") {
        return false;
    }
    let words: Vec<&str> = words(line).collect();
    words
        .windows(2)
        .any(|pair| KEYWORDS.contains(&pair[0]) && pair[1] == name)
}

fn is_variant(line: &str, name: &str) -> bool {
    line.trim_start()
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with([',', ' ', '(', '{']))
}

/// The lines between the braces of whatever is headed by `owner`.
fn bodies<'a>(text: &'a str, owner: &'a str) -> impl Iterator<Item = &'a str> {
    let mut end: Option<String> = None;
    let mut header = false;
    text.lines().filter(move |line| {
        if let Some(close) = &end {
            if line.starts_with(close.as_str()) {
                end = None;
                return false;
            }
            return true;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let opens = words(line).any(|word| ["impl", "trait", "enum", "struct"].contains(&word));
        header |= opens && !line.trim_start().starts_with("//") && words(line).any(|w| w == owner);
        if header && line.trim_end().ends_with('{') {
            header = false;
            end = Some(format!("{indent}}}"));
        } else if line.trim_end().ends_with([';', '}']) {
            header = false;
        }
        false
    })
}

#[test]
fn every_item_of_the_table_exists() {
    let root = repository();
    let text = fs::read_to_string(root.join("docs/src/correspondence.md"))
        .expect("the table is part of the repository");
    let (rows, bad) = check(&root, &text);
    assert!(rows > 100, "only {rows} rows were recognised");
    let list: Vec<String> = bad.iter().map(ToString::to_string).collect();
    assert!(
        bad.is_empty(),
        "{} bad rows\n{}",
        bad.len(),
        list.join("\n")
    );
}

#[track_caller]
fn assert_bad(row: &str, why: &str) {
    let text = format!("{HEADER}\n|---|---|---|---|\n{row}\n");
    let (rows, bad) = check(&repository(), &text);
    assert_eq!(rows, 1);
    assert!(
        bad.len() == 1 && bad[0].to_string().contains(why) && bad[0].line == 3,
        "{bad:?}"
    );
}

#[test]
fn a_row_that_does_not_hold_is_reported_with_the_reason() {
    const FILE: &str = "crates/pagepool/src/types.rs";
    assert_bad(
        &format!("| `x` | 1.5 | `{FILE}: Orderly` | same |"),
        "does not define \"Orderly\"",
    );
    assert_bad(
        &format!("| `x` | 1.5 | `{FILE}: Order::nothing` | same |"),
        "does not define \"Order::nothing\"",
    );
    assert_bad(
        &format!("| `x` | 1.5 | `{FILE}: Order` | tested by `{FILE}: s1_5_nothing` |"),
        "does not define \"s1_5_nothing\"",
    );
    assert_bad(
        &format!("| `x` | 2.2 | `{FILE}: compute_marks` | same |"),
        "crates/pagepool/src/zone/watermark.rs does",
    );
    assert_bad(
        "| `x` | 1.5 | `crates/pagepool/src/nothing.rs: Order` | same |",
        "nothing.rs: ",
    );
    for section in ["1", "1.", "1.2.3.4", "one", "1.5 ", "S1.5"] {
        let section = section.replace(' ', "x");
        assert_bad(
            &format!("| `x` | {section} | `{FILE}: Order` | same |"),
            "is not of the form",
        );
    }
    assert_bad("| `x` | 1.5 | Order | same |", "neither an item");
    assert_bad("| `x` | 1.5 | none | |", "an empty column");
    assert_bad("| `x` | 1.5 | none |", "3 columns");
}

#[test]
fn rows_that_hold_pass() {
    let root = repository();
    let good = [
        "| `MAX_ORDER` | 1.5 | `crates/pagepool/src/types.rs: NR_ORDERS` | same |",
        "| `x` | 1.5, 9.17.1 | `crates/pagepool/src/types.rs: Order::pages` | same |",
        "| `x` | 1.1 | `crates/pagepool/src/types.rs: ZoneType::Movable` | a variant |",
        "| `x` | 3.1 | `crates/pagepool/src/gfp.rs: Gfp::ATOMIC` | inside a macro |",
        "| `x` | 3.16 | none | left out |",
    ];
    for row in good {
        assert_eq!(check_row(&root, row), Ok(()), "{row}");
    }
}
