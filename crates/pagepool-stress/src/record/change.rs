//! How pictures are written down: as what is different from one to the next, in text.
#![forbid(unsafe_code)]

/// Of one picture and the next: bytes that are the same, bytes that are not, and these, over and over.
pub(super) fn difference(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < after.len() {
        let same = (at..after.len())
            .take_while(|&n| before[n] == after[n])
            .count();
        let begin = at + same;
        let changed = (begin..after.len())
            .take_while(|&n| before[n] != after[n])
            .count();
        if changed == 0 {
            break;
        }
        put_number(&mut bytes, same);
        put_number(&mut bytes, changed);
        bytes.extend_from_slice(&after[begin..begin + changed]);
        at = begin + changed;
    }
    bytes
}

/// Of counts of which most are 0: how many of these, and the one after, over and over.
pub(super) fn sparse(counts: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zeros = 0;
    for &count in counts {
        if count == 0 {
            zeros += 1;
            continue;
        }
        put_number(&mut bytes, zeros);
        put_number(&mut bytes, usize::from(count));
        zeros = 0;
    }
    bytes
}

/// Seven bits to a byte, the lowest first.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 with padding, as browsers read it.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            text.push(if n > group.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_as_others_write_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn only_what_changes_is_written() {
        assert!(difference(&[0, 1, 2, 3], &[0, 1, 2, 3]).is_empty());
        assert_eq!(difference(&[0, 1, 2, 3], &[0, 9, 9, 3]), [1, 2, 9, 9]);
        let (before, mut after) = ([0; 300], [0; 300]);
        (after[0], after[299]) = (7, 8);
        assert_eq!(difference(&before, &after), [0, 1, 7, 42 | 128, 2, 1, 8]);
    }

    #[test]
    fn counts_of_nothing_are_skipped() {
        assert!(sparse(&[0; 9]).is_empty());
        assert_eq!(sparse(&[0, 0, 5, 6, 0]), [2, 5, 0, 6]);
        let mut counts = [0; 200];
        counts[199] = 300;
        assert_eq!(sparse(&counts), [71 | 128, 1, 44 | 128, 2]);
    }
}
