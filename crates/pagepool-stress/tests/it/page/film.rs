//! The pictures of a recording, read independently of the page's script.

use serde_json::Value;

use super::list;
use crate::support::number;

/// The pictures of all pageblocks, out of their changes.
pub(super) fn develop(film: &Value) -> Vec<Vec<u8>> {
    let mut picture = vec![0; nr_pageblocks(film)];
    let changes = list(&film["changes"]).iter();
    let pictures = changes.map(|change| {
        let mut code = bytes_of(change.as_str().expect("text")).into_iter();
        let mut place = 0;
        while let Some(skipped) = next_number(&mut code) {
            place += skipped;
            for _ in 0..next_number(&mut code).expect("how many") {
                picture[place] = code.next().expect("a sign");
                place += 1;
            }
        }
        picture.clone()
    });
    pictures.collect()
}

/// For each picture the pages that were moved out of pageblocks since the one before, pageblock by pageblock.
pub(super) fn moved_out(film: &Value) -> Vec<Vec<u64>> {
    let moves = list(&film["moved_out"]).iter();
    let of_picture = |moves: &Value| {
        let mut pages = vec![0; nr_pageblocks(film)];
        let mut code = bytes_of(moves.as_str().expect("text")).into_iter();
        let mut place = 0;
        while let Some(skipped) = next_number(&mut code) {
            place += skipped;
            pages[place] = next_number(&mut code).expect("how many") as u64;
            place += 1;
        }
        pages
    };
    moves.map(of_picture).collect()
}

fn nr_pageblocks(film: &Value) -> usize {
    let zones = list(&film["zones"]).iter();
    zones.map(|zone| number(&zone["pageblocks"]) as usize).sum()
}

fn next_number(code: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = code.next()?;
        number |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            return Some(number);
        }
    }
}

/// Out of base 64.
fn bytes_of(text: &str) -> Vec<u8> {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = text.trim_end_matches('=').bytes().map(digit);
    let bits: Vec<bool> = digits
        .flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1))
        .collect();
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    bits.chunks_exact(8).map(byte).collect()
}
