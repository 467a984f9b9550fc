//! Makes a list that fails shorter, as long as it fails (delta debugging: Zeller and Hildebrandt, 2002).

/// Returns a part of `items`, in order, for which `fails` still holds and of which no single item can be left
/// out, as far as `fails` always answers the same; `None` if it does not hold for the whole.
pub fn minimise<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Option<Vec<T>> {
    if !fails(items) {
        return None;
    }
    let mut kept = items.to_vec();
    let mut chunk = kept.len().div_ceil(2);
    while chunk > 0 {
        let before = kept.len();
        kept = without_chunks(kept, chunk, &mut fails);
        let shrank = kept.len() < before;
        chunk = match chunk {
            1 if shrank => 1,
            1 => 0,
            _ => chunk.div_ceil(2).min(kept.len()),
        };
    }
    Some(kept)
}

/// Leaves out each chunk without which it still fails, from the end on: what comes late depends on what came
/// before.
fn without_chunks<T: Clone>(
    mut kept: Vec<T>,
    chunk: usize,
    fails: &mut impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut end = kept.len();
    while end > 0 {
        let start = end.saturating_sub(chunk);
        let mut shorter = kept.clone();
        shorter.drain(start..end);
        if fails(&shorter) {
            kept = shorter;
        }
        end = start;
    }
    kept
}

/// What stays the same of a message when the same thing goes wrong in a shorter case: its first words, without
/// numbers, and where it came from.
#[must_use]
pub fn way_of_failing(message: &str) -> String {
    let (text, place) = message.split_once(" (at ").unwrap_or((message, ""));
    let has_no_digit = |word: &&str| !word.contains(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = (text.split_whitespace().filter(has_no_digit).take(6)).collect();
    format!(
        "{} (at {}",
        words.join(" "),
        place.lines().next().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_by_its_words_and_its_place() {
        let way = way_of_failing("a block: byte 12 of page 3 and on is [2a] (at shadow.rs:80:9)");
        let same =
            way_of_failing("a block: byte 4096 of page 0 and on is [ff] (at shadow.rs:80:9)");
        assert_eq!(way, same);
        for other in [
            "a folio: byte 12 of page 3 and on is [2a] (at shadow.rs:80:9)",
            "a block: byte 12 of page 3 and on is [2a] (at shadow.rs:81:9)",
            "",
        ] {
            assert_ne!(way_of_failing(other), way);
        }
    }

    #[test]
    fn what_it_takes_to_fail_remains() {
        let items: Vec<u32> = (0..1000).collect();
        let needs = |part: &[u32]| [3, 500, 997].iter().all(|item| part.contains(item));
        assert_eq!(minimise(&items, needs), Some(vec![3, 500, 997]));
    }

    #[test]
    fn what_always_fails_shrinks_to_nothing_and_what_never_does_is_no_case() {
        assert_eq!(minimise(&[1, 2, 3], |_| true), Some(vec![]));
        assert_eq!(minimise(&[1, 2, 3], |_| false), None);
    }

    #[test]
    fn a_hundred_items_take_hundreds_of_tries_and_not_thousands() {
        let items: Vec<u32> = (0..100).collect();
        let mut tries = 0;
        let found = minimise(&items, |part| {
            tries += 1;
            part.contains(&42)
        });
        assert_eq!(found, Some(vec![42]));
        assert!(tries < 300, "{tries}");
    }
}
