//! The pageblocks of a zone, a cell each: what type it has, and how full it is.
//!
//! With colours a cell is a shade in the colour of its type, or in another one if something was moved out of it since
//! the snapshot before. Without, a letter says the type, in lower case if something was moved out, and the shade stands
//! behind it.
#![forbid(unsafe_code)]

use super::{
    emptied::Blocks,
    row::{Row, Tint},
    wire::Zone,
};

/// From empty to full.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// The letters of types, and what they stand for.
pub(super) const KINDS: [(char, &str); 4] = [
    ('U', "unmovable"),
    ('M', "movable"),
    ('E', "reclaimable"),
    ('H', "high-atomic"),
];

/// How a type is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kinds {
    Colours,
    Letters,
}

impl Kinds {
    /// How a pageblock is shown that something was moved out of.
    pub(super) fn sign_of_moves(self) -> &'static str {
        match self {
            Kinds::Colours => "cyan",
            Kinds::Letters => "lower case",
        }
    }
}

/// The map of a zone in lines of at most `width` columns. `emptied` are the pageblocks that something was moved out of.
pub(super) fn rows(zone: &Zone, emptied: &Blocks, kinds: Kinds, width: usize) -> Vec<Row> {
    let pages = 1 << zone.pageblock_order.min(32);
    let cells = zone.pageblocks.iter().zip(zone.pageblock_types.chars());
    let cell = |(block, (in_use, letter)): (usize, (&u64, char))| {
        let letter = match emptied.contains(&block) {
            true => letter.to_ascii_lowercase(),
            false => letter,
        };
        (letter, shade(*in_use, pages))
    };
    let cells: Vec<_> = cells.enumerate().map(cell).collect();
    let cell_width = match kinds {
        Kinds::Colours => 1,
        Kinds::Letters => 2,
    };
    let nr_in_line = per_line(width.saturating_sub(LABEL) / cell_width);
    let label = |line: usize| format!("{:>7} ", line * nr_in_line);
    let lines = cells.chunks(nr_in_line).enumerate();
    lines
        .map(|(n, line)| {
            let begin = Row::default().and(label(n), Tint::Dim);
            line.chunk_by(|(a, _), (b, _)| a == b)
                .fold(begin, |row, run| {
                    row.and(text(run, kinds), Tint::Kind(run[0].0))
                })
        })
        .collect()
}

/// Columns for the number of a line's first pageblock.
const LABEL: usize = 8;

/// As many as are easy to count, of those that fit.
fn per_line(fit: usize) -> usize {
    match fit {
        0..8 => fit.max(1),
        8..64 => fit / 8 * 8,
        _ => fit / 32 * 32,
    }
}

fn text(run: &[(char, char)], kinds: Kinds) -> String {
    let cell = |(letter, shade): &(char, char)| match kinds {
        Kinds::Colours => shade.to_string(),
        Kinds::Letters => format!("{letter}{shade}"),
    };
    run.iter().map(cell).collect()
}

/// Only an empty one is shown as empty, and only a full one as full.
fn shade(in_use: u64, pages: u64) -> char {
    match in_use {
        0 => SHADES[0],
        _ if in_use >= pages => SHADES[4],
        _ => SHADES[1 + (in_use * 3 / pages) as usize],
    }
}

/// What the signs mean.
pub(super) fn legend(kinds: Kinds) -> Row {
    let shades: String = SHADES.iter().collect();
    let row = Row::default().and(format!("{shades} empty to full; "), Tint::Dim);
    KINDS.iter().fold(row, |row, (letter, name)| {
        let sign = match kinds {
            Kinds::Colours => format!("█ {name}  "),
            Kinds::Letters => format!("{letter} {name}  "),
        };
        row.and(sign, Tint::Kind(*letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone {
            pageblock_order: 9,
            pageblocks: vec![512, 511, 1, 0, 200],
            pageblock_types: "UUMME".to_owned(),
            ..Zone::default()
        }
    }

    #[test]
    fn a_cell_says_type_and_occupancy_without_a_colour() {
        let rows = rows(&zone(), &Blocks::new(), Kinds::Letters, 80);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].text(), "      0 U█U▓M░M·E▒");
    }

    #[test]
    fn with_colours_the_type_is_the_tint() {
        let rows = rows(&zone(), &Blocks::new(), Kinds::Colours, 80);
        let pieces: Vec<_> = rows[0]
            .0
            .iter()
            .map(|(text, tint)| (text.as_str(), *tint))
            .collect();
        let expected = [
            ("      0 ", Tint::Dim),
            ("█▓", Tint::Kind('U')),
            ("░·", Tint::Kind('M')),
            ("▒", Tint::Kind('E')),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_cell_that_something_was_moved_out_of_stands_out() {
        let moved = Blocks::from([2, 3]);
        let letters = rows(&zone(), &moved, Kinds::Letters, 80);
        assert_eq!(letters[0].text(), "      0 U█U▓m░m·E▒");
        let colours = rows(&zone(), &moved, Kinds::Colours, 80);
        assert_eq!(colours[0].0[2], ("░·".to_owned(), Tint::Kind('m')));
    }

    #[test]
    fn lines_fit_whatever_the_width() {
        let mut zone = zone();
        zone.pageblocks = vec![7; 1000];
        zone.pageblock_types = "M".repeat(1000);
        for width in 0..200 {
            for kinds in [Kinds::Colours, Kinds::Letters] {
                let rows = rows(&zone, &Blocks::new(), kinds, width);
                let cells: usize = rows.iter().map(|row| row.text().matches('░').count()).sum();
                assert_eq!(cells, 1000);
                assert!(width < 10 || rows.iter().all(|row| row.width() <= width));
            }
        }
    }
}
