//! What a loom model says: in its head what it shows, and at the end of each of its checks which outcomes it had.

use std::fs;

use super::{assert_one, identifier, is_word, repository};

/// A function at the top level of a file, as rustfmt lays it out.
struct Function<'a> {
    name: &'a str,
    /// What stands right above it.
    attributes: String,
    body: String,
}

impl Function<'_> {
    fn is_test(&self) -> bool {
        self.attributes.contains("#[test]")
    }

    /// A negative twin is a wrong implementation, which must fail.
    fn is_twin(&self) -> bool {
        self.attributes.contains("#[should_panic")
    }

    fn nr_calls(&self, name: &str) -> usize {
        let places = self.body.match_indices(name);
        let calls = places.filter(|(at, _)| {
            let rest = &self.body[at + name.len()..];
            !self.body[..*at].ends_with(is_word) && rest.starts_with(['(', ':'])
        });
        calls.count()
    }

    /// How many models it has loom explore.
    fn nr_explored(&self) -> usize {
        let ways = ["check", "check_deeper", "check_shallower"];
        ways.iter().map(|way| self.nr_calls(way)).sum()
    }

    fn nr_sets(&self) -> usize {
        self.nr_calls("assert_exactly")
    }
}

fn functions(model: &str) -> Vec<Function<'_>> {
    let mut functions: Vec<Function> = vec![];
    let mut above = String::new();
    let mut is_inside = false;
    for line in model.lines() {
        let code = line.find("//").map_or(line, |at| &line[..at]);
        let begun = line
            .strip_prefix("pub ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        if is_inside {
            let function = functions.last_mut().expect("one has begun");
            function.body += code;
            function.body += "\n";
            is_inside = line != "}";
        } else if let Some(begun) = begun {
            functions.push(Function {
                name: identifier(begun),
                attributes: std::mem::take(&mut above),
                body: String::new(),
            });
            is_inside = !line.ends_with('}');
        } else if line.is_empty() || line == "}" {
            above.clear();
        } else {
            above += code;
        }
    }
    functions
}

/// Each check asserts the set of its outcomes, by itself or by the function that all of a kind call.
fn checks_without_outcomes(model: &str) -> Vec<String> {
    let functions = functions(model);
    let tests = || functions.iter().filter(|function| function.is_test());
    let has_outcomes = |test: &Function| {
        let mut asserting = functions.iter().filter(|function| function.nr_sets() > 0);
        test.nr_sets() > 0 || asserting.any(|function| test.nr_calls(function.name) > 0)
    };
    let mut complaints = vec![];
    for test in tests() {
        if test.is_twin() && test.nr_calls("check_twin") == 0 {
            complaints.push(format!("{}: may panic and is no twin", test.name));
        }
        if !test.is_twin() && !has_outcomes(test) {
            complaints.push(format!("{}: no set of outcomes", test.name));
        }
    }
    for function in &functions {
        let (explored, sets) = (function.nr_explored(), function.nr_sets());
        if explored > sets && (sets > 0 || !function.is_test()) {
            let what = format!("{explored} models, {sets} sets of outcomes");
            complaints.push(format!("{}: {what}", function.name));
        }
    }
    let (all, seen) = (model.matches("#[test]").count(), tests().count());
    if all != seen {
        complaints.push(format!(
            "checks that are not at the top level: {}",
            all - seen
        ));
    }
    complaints
}

/// A model says what it shows, and each of its checks asserts what it saw.
fn what_a_model_does_not_say(name: &str, model: &str) -> Vec<String> {
    let head: String = model
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!"))
        .collect();
    let in_head = ["*Threads:*", "*Property:*", " would catch:*"];
    let missing = in_head.iter().filter(|part| !head.contains(*part));
    let missing = missing.map(|part| format!("its head has no {part}"));
    let complaints = missing.chain(checks_without_outcomes(model));
    complaints.map(|what| format!("{name}: {what}")).collect()
}

// ---- the models ----

fn models() -> Vec<(String, String)> {
    let entries = fs::read_dir(repository().join("loom-tests/tests")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let models = paths.filter(|path| !path.ends_with("main.rs"));
    let models: Vec<_> = models
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(models.len() > 40, "there are more models than that");
    models
}

#[test]
fn every_model_says_what_it_shows_and_every_check_what_it_saw() {
    let models = models();
    let complaints = models
        .iter()
        .flat_map(|(name, model)| what_a_model_does_not_say(name, model));
    let complaints: Vec<_> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_set_that_is_taken_away_is_missed() {
    for (name, model) in models() {
        for (at, call) in model.match_indices(".assert_exactly(") {
            let without = [&model[..at], ".forget(", &model[at + call.len()..]].concat();
            let complaints = what_a_model_does_not_say(&name, &without);
            let line = model[..at].lines().count();
            assert!(!complaints.is_empty(), "{name}:{line}: nobody misses it");
        }
    }
}

// ---- the rules themselves ----

const HEAD: &str = "//! *Threads:* two. *Property:* one. *The bug it would\n//! catch:* none.\n\n";
const SET: &str =
    "#[test]\nfn a() {\n    check(\"a\", 1, f);\n    outcomes.assert_exactly([1]);\n}\n";
const NONE: &str = "#[test]\nfn b() {\n    check_deeper(\"b\", 3, 1, f);\n}\n";

fn check(parts: &[&str]) -> Vec<String> {
    what_a_model_does_not_say("r1.rs", &parts.concat())
}

#[test]
fn a_model_that_does_not_say_what_it_shows_is_found() {
    assert!(check(&[HEAD, SET]).is_empty());
    assert_eq!(check(&[SET]).len(), 3);
}

#[test]
fn a_check_without_outcomes_is_found_beside_others_that_have_some() {
    assert_one(&check(&[HEAD, SET, NONE]), "r1.rs: b: no set of outcomes");
    assert_one(&check(&[HEAD, NONE, SET]), "r1.rs: b: no set of outcomes");
    let commented = "#[test]\nfn c() {\n    // outcomes.assert_exactly([1]);\n}\n";
    assert_one(&check(&[HEAD, SET, commented]), "c: no set of outcomes");
    let nested = "mod more {\n    #[test]\n    fn d() {}\n}\n";
    assert_one(&check(&[HEAD, SET, nested]), "not at the top level: 1");
}

#[test]
fn checks_may_share_the_function_that_asserts() {
    let kind = "fn check_kind<P: Park>(n: usize) {\n    check(\"k\", n, f);\n    seen.assert_exactly([n]);\n}\n";
    let one = "#[test]\nfn e() {\n    check_kind::<P>(1);\n}\n";
    assert!(check(&[HEAD, kind, one]).is_empty());
    let other = "#[test]\nfn e() {\n    recheck_kind::<P>(1);\n}\n";
    assert_one(&check(&[HEAD, kind, other]), "e: no set of outcomes");
    let silent = "fn explore() {\n    check_shallower(\"k\", 1, 9, f);\n}\n";
    assert_one(&check(&[HEAD, silent]), "explore: 1 models, 0 sets");
}

#[test]
fn a_function_has_as_many_sets_as_it_has_models_explored() {
    let two = "#[test]\nfn g() {\n    check(\"a\", 1, f);\n    check(\"b\", 1, f);\n    seen.assert_exactly([1]);\n}\n";
    assert_one(&check(&[HEAD, two]), "g: 2 models, 1 sets");
}

#[test]
fn a_twin_needs_no_outcomes_but_is_one() {
    let twin = "/// Wrong.\n#[test]\n#[should_panic(expected = \"lost\")]\nfn h() {\n    check_twin(f);\n}\n";
    assert!(check(&[HEAD, SET, twin]).is_empty());
    let other =
        "#[test]\n#[should_panic(expected = \"lost\")]\nfn h() {\n    check(\"h\", 1, f);\n}\n";
    assert_one(&check(&[HEAD, SET, other]), "h: may panic and is no twin");
}
