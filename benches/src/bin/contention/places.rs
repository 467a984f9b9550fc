//! Names for places in the code, and for the locks that are taken there.

use std::collections::HashMap;

/// A function, as a place in the code is in it, from the innermost outwards: what is inlined has a frame, too.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// The functions that a place is in; none, where the program does not say.
pub(crate) fn frames(place: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    backtrace::resolve(place as *mut libc::c_void, |symbol| {
        let file = symbol.filename().map(|file| file.display().to_string());
        frames.push(Frame {
            function: symbol
                .name()
                .map_or_else(String::new, |name| format!("{name:#}")),
            file: file.unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    frames
}

/// The innermost place in the library, with what its path begins with left out: `zone/put.rs:152`.
pub(crate) fn in_library(frames: &[Frame]) -> Option<String> {
    let source = |frame: &Frame| {
        let (_, below) = frame.file.split_once("crates/pagepool/src/")?;
        // What is behind its facade says only that there is a lock.
        (!below.starts_with("sync/")).then(|| format!("{below}:{}", frame.line))
    };
    frames.iter().find_map(source)
}

/// The name of the lock that is taken at a place; none, if it is no lock of the library's that is known.
pub(crate) fn lock(frames: &[Frame]) -> Option<&'static str> {
    let known = [
        ("zone::depot::Depot", "the depot"),
        ("zone::pcp::PcpLists", "the cache of a CPU"),
        ("zone::Core", "the zone"),
        ("zone::magazine::Keeper", "the keeper"),
    ];
    // std's function for a lock is named after what is behind it.
    let takes = |content: &str| {
        let is_it = |frame: &Frame| {
            frame
                .function
                .contains(&format!("lock<pagepool::{content}>"))
        };
        frames.iter().any(is_it)
    };
    let name = known.iter().find(|(content, _)| takes(content));
    name.map(|(_, name)| *name)
}

/// The places that most of `counts` are of, and how many.
pub(crate) fn busiest(counts: &HashMap<u64, u64>, most: usize) -> String {
    let mut sums: HashMap<String, u64> = HashMap::new();
    for (&place, count) in counts {
        let frames = frames(place);
        let name = in_library(&frames)
            .or_else(|| frames.first().map(|frame| frame.function.clone()))
            .unwrap_or_else(|| format!("{place:#x}"));
        *sums.entry(name).or_default() += count;
    }
    let mut sums: Vec<(String, u64)> = sums.into_iter().collect();
    sums.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let names: Vec<String> = { sums.into_iter().take(most) }
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str, line: u32) -> Frame {
        Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line,
        }
    }

    #[test]
    fn a_lock_is_named_by_who_takes_it() {
        let depot = [
            frame("try_lock<pagepool::zone::depot::Depot>", "mutex.rs", 1),
            frame("try_depot", "magazine.rs", 2),
        ];
        assert_eq!(lock(&depot), Some("the depot"));
        assert_eq!(lock(&depot[1..]), None, "nothing is taken there");
    }

    #[test]
    fn a_place_is_said_without_the_facade() {
        let frames = [
            frame("lock", "/x/crates/pagepool/src/sync/lock.rs", 84),
            frame("put", "/x/crates/pagepool/src/zone/put.rs", 113),
        ];
        assert_eq!(in_library(&frames).as_deref(), Some("zone/put.rs:113"));
        assert_eq!(in_library(&frames[..1]), None);
    }
}
