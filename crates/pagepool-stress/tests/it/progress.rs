//! What is shown while a run goes on: a line a second in a pipe, lines that are redrawn in place on a terminal.

use std::process::Command;

use crate::support::{finished, run};

const LOAD: [&str; 5] = ["overcommit", "--memory", "8M", "--duration", "3s"];

#[test]
fn a_pipe_gets_a_line_a_second() {
    let run = run(LOAD);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!((2..=30).contains(&lines.len()), "{lines:?}");
    let mut shares = Vec::new();
    for line in &lines {
        for word in [
            "events",
            "/s; node 0 ",
            "free of",
            "kswapd0 ",
            "kcompactd0 ",
            "waiting some",
            "swap",
        ] {
            assert!(line.contains(word), "{word} in {line}");
        }
        assert!(!line.contains('\x1b'), "{line}");
        let (share, _) = line
            .strip_prefix("overcommit ")
            .unwrap()
            .split_once(" %")
            .unwrap();
        shares.push(share.parse::<u32>().expect("a share"));
    }
    assert!(
        shares.is_sorted() && shares[lines.len() - 1] > 50,
        "{shares:?}"
    );
    // Nothing of it is in the report.
    assert!(!run.stdout.contains("overcommit 5"), "{}", run.stdout);
}

#[test]
fn nothing_is_shown_where_that_is_wanted() {
    let run = run(LOAD.iter().chain(&["--progress", "none"]));
    assert_eq!((run.status, run.stderr.as_str()), (0, ""));
}

/// The program under a terminal of its own, by a tool that nearly every system has.
#[test]
fn a_terminal_has_lines_that_are_redrawn() {
    let program = env!("CARGO_BIN_EXE_pagepool-stress");
    let command = format!("{program} soak --memory 32M --duration 2s --state-every 1s");
    let probe = Command::new("script").arg("--version").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return;
    }
    let script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm")
        .output();
    let run = finished(script.expect("it was there"));
    assert_eq!(run.status, 0, "{}", run.stdout);
    // Up over the lines of the pool, and anew.
    assert!(run.stdout.contains("\x1b[3A"), "{}", run.stdout);
    for word in ["soak [", "node 0 Normal", "kswapd0 ", "waiting some"] {
        assert!(
            run.stdout.matches(word).count() > 3,
            "{word} in {}",
            run.stdout
        );
    }
    // Lines of state stand between, whole, and the report has the last word.
    let is_state = |line: &&str| line.contains("beside the pool") && line.contains("violation(s)");
    assert!(
        run.stdout.lines().filter(is_state).count() >= 1,
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.trim_end().ends_with("all verified"),
        "{}",
        run.stdout
    );
}
