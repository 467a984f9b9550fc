//! Columns that line up: the first to the left, the others to the right.
#![forbid(unsafe_code)]

/// Rows of cells.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with one row, its head.
    pub(super) fn new<S: ToString>(head: impl IntoIterator<Item = S>) -> Table {
        let mut table = Table::default();
        table.row(head);
        table
    }

    /// Adds a row.
    pub(super) fn row<S: ToString>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows
            .push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// Writes the rows, each with `indent` in front.
    pub(super) fn write(&self, indent: &str, to: &mut String) {
        let nr_columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..nr_columns).map(|column| self.width(column)).collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => line += &format!("{cell:<width$}"),
                    _ => line += &format!("  {cell:>width$}"),
                }
            }
            to.push_str(line.trim_end());
            to.push('\n');
        }
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["name", "n"]);
        table.row(["a", "1000"]);
        let mut text = String::new();
        table.write("  ", &mut text);
        assert_eq!(text, "  name     n\n  a     1000\n");
    }
}
