//! Lines of text with a meaning for each piece: what a terminal shows in colours, and a pipe gets as it is.
#![forbid(unsafe_code)]

/// What a piece of text means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Tint {
    #[default]
    Plain,
    Title,
    Dim,
    Good,
    Warn,
    Bad,
    /// A pageblock of the type with this letter; in lower case, if something was moved out of it just now.
    Kind(char),
}

/// A line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Row(pub(super) Vec<(String, Tint)>);

impl Row {
    pub(super) fn new(text: impl Into<String>) -> Row {
        Row(vec![(text.into(), Tint::Plain)])
    }

    pub(super) fn title(text: impl Into<String>) -> Row {
        Row(vec![(text.into(), Tint::Title)])
    }

    /// The same with a piece more.
    pub(super) fn and(mut self, text: impl Into<String>, tint: Tint) -> Row {
        self.0.push((text.into(), tint));
        self
    }

    /// Columns that it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.chars().count()).sum()
    }

    /// Without its meaning.
    pub(super) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(text, _)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// Puts two columns side by side, the second from column `at` on.
pub(super) fn beside(left: Vec<Row>, right: Vec<Row>, at: usize) -> Vec<Row> {
    let nr = left.len().max(right.len());
    let mut right = right.into_iter();
    let mut rows = left;
    rows.resize(nr, Row::default());
    for (row, other) in rows.iter_mut().zip(&mut right) {
        let gap = at.saturating_sub(row.width()).max(2);
        row.0.push((" ".repeat(gap), Tint::Plain));
        row.0.extend(other.0);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_side_by_side() {
        let rows = |texts: &[&str]| texts.iter().map(|text| Row::new(*text)).collect::<Vec<_>>();
        let both = beside(rows(&["a", "bb"]), rows(&["1", "2", "3"]), 5);
        let texts: Vec<_> = both.iter().map(Row::text).collect();
        assert_eq!(texts, ["a    1", "bb   2", "     3"]);
        let both = beside(rows(&["long one"]), rows(&["1"]), 5);
        assert_eq!(both[0].text(), "long one  1");
    }
}
