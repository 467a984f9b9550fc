//! The page in a browser: all of it is drawn, and the map shows what was recorded.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    DATA, LOAD, MOVES,
    film::{develop, moved_out},
    folder, list, page_and_json, sum,
};
use crate::support::{number, write};

/// Where the browser is: as the environment says, or on the path.
fn browser() -> Option<PathBuf> {
    if let Some(named) = env::var_os("PAGEPOOL_CHROMIUM") {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "PAGEPOOL_CHROMIUM is no file: {}",
            named.display()
        );
        return Some(named);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .flat_map(|dir| {
            ["chromium", "chromium-browser", "google-chrome"].map(|name| dir.join(name))
        })
        .find(|candidate| candidate.is_file());
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "no chromium: name one in PAGEPOOL_CHROMIUM"
    );
    found
}

/// The page as it is after its scripts ran.
fn dom_of(browser: &Path, dir: &Path) -> String {
    let profile = dir.with_extension("profile");
    let page = dir
        .join("report.html")
        .canonicalize()
        .expect("the page is there");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--window-size=1400,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.to_str().expect("plain")))
        .output()
        .expect("the browser runs");
    let (dom, log) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    // How a browser logs what a script says or does wrong.
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(said.is_empty(), "{said:#?}");
    fs::remove_dir_all(&profile).expect("the browser has ended");
    String::from_utf8(dom).expect("text")
}

/// What the page says of itself.
#[track_caller]
fn noted(dom: &str, name: &str) -> u64 {
    let (_, rest) = dom
        .split_once(&format!("data-{name}=\""))
        .unwrap_or_else(|| panic!("no data-{name}: the script did not get there"));
    let (value, _) = rest.split_once('"').expect("a value");
    value.parse().expect("a number")
}

/// Canvases that the first recording is drawn on.
fn expected_plots(recording: &Value) -> usize {
    let kinds = ["alloc", "free", "fault"];
    let timed = kinds
        .iter()
        .filter(|kind| sum(&recording["latency"][kind]["count"]) > 0.0);
    let swap = if sum(&recording["swap_used"]) > 0.0 {
        2
    } else {
        0
    };
    // Free memory, fragmentation and pageblocks of each zone; throughput, two of daemons, pressure, moves.
    5 + timed.count() + swap + 3 * list(&recording["zones"]).len()
}

#[test]
fn a_browser_draws_all_of_it_without_a_complaint() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let dir = folder("drawn");
    let (page, _) = page_and_json(&dir, &LOAD);
    let dom = dom_of(&browser, &dir);
    let recording = &page["recordings"][0];
    let expected = expected_plots(recording) as u64;
    assert!(expected >= 12, "{expected}");
    assert_eq!(noted(&dom, "errors"), 0);
    assert_eq!(noted(&dom, "plots"), expected);
    assert_eq!(noted(&dom, "drawn"), expected);
    assert!(dom.contains("All verified"));
    let pictures = develop(&recording["pageblocks"]);
    assert_shows(&dom, recording, (pictures.len() - 1) / 2);
}

/// The map shows the picture of this number as it was recorded: the browser and we read it independently.
#[track_caller]
fn assert_shows(dom: &str, recording: &Value, shown: usize) {
    let film = &recording["pageblocks"];
    let (pictures, moves) = (develop(film), moved_out(film));
    let (mut signs, mut moves) = (pictures[shown].iter(), moves[shown].iter());
    for zone in list(&film["zones"]) {
        let count = number(&zone["pageblocks"]) as usize;
        let levels: Vec<u8> = signs.by_ref().take(count).map(|sign| sign & 63).collect();
        let of =
            |wanted: &dyn Fn(u8) -> bool| levels.iter().filter(|level| wanted(**level)).count();
        let label = format!(
            "node {} {}: {} pageblocks free, {} in part, {} full, {} pages moved out of them\"",
            zone["node"],
            zone["name"].as_str().expect("a name"),
            of(&|level| level == 0),
            of(&|level| (1..62).contains(&level)),
            of(&|level| level == 62),
            moves.by_ref().take(count).sum::<u64>(),
        );
        assert!(dom.contains(&label), "{label}");
    }
}

/// What somebody does who looks at the page.
const HANDS: &str = r#"<script>
window.addEventListener("load", () => {
  const slider = document.querySelector("input[type=range]");
  slider.value = AT;
  slider.dispatchEvent(new Event("input"));
  for (const text of ["What changed", "All of it", "Near the marks"]) {
    [...document.querySelectorAll("button")].find((button) => button.textContent === text)?.click();
  }
});
</script>"#;

#[test]
fn the_slider_moves_through_the_pictures() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let dir = folder("slid");
    let (page, _) = page_and_json(&dir, &LOAD);
    let recording = &page["recordings"][0];
    let pictures = develop(&recording["pageblocks"]);
    let html = fs::read_to_string(dir.join("report.html")).expect("a page");
    let in_use =
        |picture: &Vec<u8>| -> u32 { picture.iter().map(|sign| u32::from(sign & 63)).sum() };
    let fullest = (0..pictures.len()).max_by_key(|&n| in_use(&pictures[n]));
    for n in [0, fullest.expect("some"), pictures.len() - 1] {
        let hands = HANDS.replace("AT", &n.to_string());
        fs::write(dir.join("report.html"), format!("{html}{hands}")).expect("our own folder");
        let dom = dom_of(&browser, &dir);
        assert_eq!(noted(&dom, "errors"), 0);
        assert_eq!(noted(&dom, "plots"), noted(&dom, "drawn"));
        assert_shows(&dom, recording, n);
        assert!(dom.contains("less in use"), "the key of what changed");
    }
}

/// Somebody who points at one pageblock after the other, until it is one that something was moved out of.
const POINTER: &str = r#"<script>
window.addEventListener("load", () => {
  const map = document.querySelector(".map");
  const { left, top, width, height } = map.getBoundingClientRect();
  for (let y = 2; y < height; y += 3) for (let x = 2; x < width; x += 3) {
    const last = [...document.querySelectorAll(".wide .note")].pop();
    if (last.textContent.includes("moved out")) return;
    map.dispatchEvent(new PointerEvent("pointermove", { clientX: left + x, clientY: top + y }));
  }
});
</script>"#;

#[test]
fn a_pageblock_says_what_was_moved_out_of_it() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let dir = folder("marked");
    let (page, _) = page_and_json(&dir, &MOVES);
    let recording = &page["recordings"][0];
    let moves = moved_out(&recording["pageblocks"]);
    let shown = (0..moves.len()).max_by_key(|&n| moves[n].iter().sum::<u64>());
    let shown = shown.expect("some");
    let html = fs::read_to_string(dir.join("report.html")).expect("a page");
    let hands = HANDS.replace("AT", &shown.to_string());
    fs::write(dir.join("report.html"), format!("{html}{hands}{POINTER}")).expect("our own folder");
    let dom = dom_of(&browser, &dir);
    assert_eq!(noted(&dom, "errors"), 0);
    assert_shows(&dom, recording, shown);
    let first = moves[shown].iter().position(|pages| *pages > 0);
    let first = first.expect("something was moved");
    let words = format!(
        "{} pages moved out since the picture before.",
        moves[shown][first]
    );
    let hint = format!("Pageblock {first} of node 0 Normal: ");
    let (_, read) = dom.split_once(&hint).unwrap_or_else(|| panic!("no {hint}"));
    let (read, _) = read.split_once('<').expect("an element ends");
    assert!(read.ends_with(&words), "{read}: {words}");
}

/// As of a phase that ended before there was anything to see.
#[test]
fn lists_of_nothing_and_of_what_is_not_known_are_drawn() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let dir = folder("empty");
    let (page, _) = page_and_json(&dir, &LOAD);
    let html = fs::read_to_string(dir.join("report.html")).expect("a page");
    let (before, rest) = html.split_once(DATA).expect("it has data");
    let (_, after) = rest.split_once("</script>").expect("that ends");
    let nothing = |_: &mut Vec<Value>| Vec::new();
    let first = |list: &mut Vec<Value>| list.drain(..1).collect();
    let not_known = |list: &mut Vec<Value>| vec![Value::Null; list.len()];
    let variants: [Change<'_>; 3] = [&nothing, &first, &not_known];
    for (n, change) in variants.into_iter().enumerate() {
        let mut page = page.clone();
        let recording = &mut page["recordings"][0];
        // Time is always known, and a picture is there or is not.
        let (times, mut film) = (recording["time_s"].take(), recording["pageblocks"].take());
        change_lists(recording, change);
        let nr_samples = list(&recording["events"]).len();
        recording["time_s"] = list(&times)[..nr_samples].into();
        for pictures in ["time_s", "changes", "moved_out"] {
            film[pictures] = list(&film[pictures])[..nr_samples.min(1)].into();
        }
        recording["pageblocks"] = film;
        let data = page.to_string().replace('<', r"\u003c");
        fs::write(
            dir.join("report.html"),
            format!("{before}{DATA}{data}</script>{after}"),
        )
        .expect("our own folder");
        let dom = dom_of(&browser, &dir);
        assert_eq!(noted(&dom, "errors"), 0, "variant {n}");
        assert_eq!(noted(&dom, "plots"), noted(&dom, "drawn"), "variant {n}");
        assert!(noted(&dom, "plots") >= 4, "variant {n}");
    }
}

/// Another list of figures, made of one.
type Change<'a> = &'a dyn Fn(&mut Vec<Value>) -> Vec<Value>;

/// Changes each list of figures.
fn change_lists(value: &mut Value, change: Change<'_>) {
    match value {
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| change_lists(field, change));
        }
        Value::Array(parts) if parts.iter().any(|part| part.is_array() || part.is_object()) => {
            parts.iter_mut().for_each(|part| change_lists(part, change));
        }
        Value::Array(figures) => *figures = change(figures),
        _ => {}
    }
}

#[test]
fn names_of_files_are_text_in_a_browser_too() {
    let Some(browser) = browser() else {
        eprintln!("not run: no chromium, and PAGEPOOL_CHROMIUM names none");
        return;
    };
    let path = write(
        "<img src=x onerror=alert(1)><!--<script>.pga",
        b"A 0 0 1 140cca 0 0\nF 0\n",
    );
    let dir = folder("names");
    page_and_json(&dir, &["replay", path.to_str().expect("plain")]);
    let dom = dom_of(&browser, &dir);
    assert!(
        !dom.contains("<img") && dom.contains("&lt;img src=x"),
        "{dom}"
    );
    assert_eq!(noted(&dom, "errors"), 0);
    assert_eq!(noted(&dom, "plots"), noted(&dom, "drawn"));
}
