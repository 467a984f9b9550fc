//! Which of some names somebody meant who has written another.
#![forbid(unsafe_code)]

/// The one of `names` that takes the fewest letters to be put in, left out or exchanged to make `written` of it, if
/// that is no more than a third of them.
pub(crate) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = written.chars().count().div_ceil(3);
    names
        .map(|name| (distance(written, name), name))
        .filter(|(distance, _)| *distance <= close)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out or exchanged to make one of the other (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // To the beginnings of the other, from the beginning of the one that was looked at last.
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, candidate) in other.iter().enumerate() {
            let exchanged = before + usize::from(letter != *candidate);
            before = row[j + 1];
            row[j + 1] = exchanged.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_symmetric_and_count_letters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("swap", "swap", 0),
            ("swap", "", 4),
            ("memroy", "memory", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn what_is_close_is_meant_and_what_is_far_is_nothing() {
        let names = ["memory", "swap", "swappiness", "nodes"];
        let meant = |written| nearest(written, names.into_iter());
        assert_eq!(meant("memroy"), Some("memory"));
        assert_eq!(meant("swapiness"), Some("swappiness"));
        assert_eq!(meant("node"), Some("nodes"));
        assert_eq!(meant("colour"), None);
        assert_eq!(meant(""), None);
    }
}
