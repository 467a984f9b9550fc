//! Draws a view on a terminal's cells.
#![forbid(unsafe_code)]

use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
};

use super::{
    app::{App, View},
    map::Kinds,
    row::{Row, Tint},
};

/// Draws all of it; what is wider than the screen is cut off.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let kinds = app.kinds();
    let View { head, body, foot } = app.view(area.width.into(), area.height.into());
    let lines = |rows: &[Row]| Constraint::Length(rows.len() as u16);
    let parts = Layout::vertical([lines(&head), Constraint::Fill(1), lines(&foot)]);
    let areas: [_; 3] = parts.areas(area);
    for (rows, area) in [head, body, foot].into_iter().zip(areas) {
        let lines: Vec<_> = rows.into_iter().map(|row| line(row, kinds)).collect();
        frame.render_widget(Text::from(lines), area);
    }
}

fn line(row: Row, kinds: Kinds) -> Line<'static> {
    let spans = row.0.into_iter();
    spans
        .map(|(text, tint)| Span::styled(text, style(tint, kinds)))
        .collect()
}

/// Without colours, what is bad is told by weight alone.
fn style(tint: Tint, kinds: Kinds) -> Style {
    let plain = Style::new();
    let colour = |colour: Color| match kinds {
        Kinds::Colours => plain.fg(colour),
        Kinds::Letters => plain,
    };
    match tint {
        Tint::Plain => plain,
        Tint::Title => plain.add_modifier(Modifier::BOLD),
        Tint::Dim => plain.add_modifier(Modifier::DIM),
        Tint::Good => colour(Color::Green),
        Tint::Warn => colour(Color::Yellow).add_modifier(Modifier::BOLD),
        Tint::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        Tint::Kind(letter) if letter.is_ascii_lowercase() => colour(Color::Cyan),
        Tint::Kind('U') => colour(Color::Red),
        Tint::Kind('M') => colour(Color::Green),
        Tint::Kind('E') => colour(Color::Yellow),
        Tint::Kind(_) => colour(Color::Magenta),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{
        Terminal,
        backend::TestBackend,
        buffer::{Buffer, Cell},
    };

    use super::*;
    use crate::top::tests::snapshot;

    fn drawn(width: u16, height: u16, kinds: Kinds) -> Buffer {
        let mut app = App::new(Duration::from_secs(1), kinds);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &mut app)).unwrap();
        app.show(snapshot());
        terminal.draw(|frame| draw(frame, &mut app)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width).max(1);
        let cells = buffer.content.chunks(width);
        cells
            .map(|cells| cells.iter().map(Cell::symbol).collect::<String>())
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    #[test]
    fn a_usual_terminal_shows_the_pool_line_by_line() {
        let lines = lines(&drawn(80, 24, Kinds::Letters));
        let expected = [
            "cache  pid 4711  served for 0:01:23  pagepool 0.1.0",
            "memory [#########...........] 9.0 MiB of 20.0 MiB in use, 2.0 MiB free, 1.0 MiB",
            "swap   [#####...............] 25.0 MiB of 100.0 MiB in use; 1,234 folios",
            "ZONES          (m, l, h: marks)             free    managed    min    low   high",
            "node 0 Normal  [===m==l===h         ]        300      2,048    100    200    300",
        ];
        for (line, expected) in lines.iter().zip(expected) {
            assert_eq!(line, expected);
        }
        assert_eq!(lines.len(), 24);
        assert!(lines[23].starts_with("every 1 s  q quit"), "{lines:?}");
    }

    #[test]
    fn a_tall_terminal_shows_every_panel() {
        let text = lines(&drawn(80, 80, Kinds::Letters)).join("\n");
        for part in [
            "\nLISTS ",
            "\nDAEMONS\nkswapd0        running  napping  for 20.00 ms\nkcompactd0     dead\n",
            "\nSWAP\n[#####...............]      6,400 of     25,600 pages, a file 3 errors\n",
            "\nFREE BLOCKS by order        0    1    2",
            "\npages allocated                     -            5,000\n",
            "\nsome         12.50    3.25    0.50               2.50 s\n",
            "\nwaiting    2 for memory, 1 for kswapd, 0 for a group, 0 for a folio\n",
            "\ntenant                      5.0 MiB    8.0 MiB    1.50        7\n",
            "\nPAGEBLOCKS  ·░▒▓█ empty to full; U unmovable  M movable",
            "\nnode 0 Normal: 4 of 2.0 MiB\n      0 U█U▒M░M·\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_wide_terminal_has_two_columns() {
        let lines = lines(&drawn(160, 50, Kinds::Letters));
        let title = lines.iter().find(|line| line.starts_with("ZONES")).unwrap();
        assert!(title.contains("WORK "), "{lines:?}");
    }

    #[test]
    fn a_tiny_terminal_shows_what_fits() {
        let tiny = lines(&drawn(20, 5, Kinds::Letters));
        let expected = [
            "cache  pid 4711  ser",
            "memory [#########...",
            "ZONES          (m, l",
            "node 0 Normal  [===m",
            "every 1 s  q quit  p",
        ];
        assert_eq!(tiny, expected);
        for (width, height) in [(1, 1), (1, 50), (200, 1), (3, 2), (0, 0), (5, 3)] {
            drawn(width, height, Kinds::Colours);
        }
    }

    #[test]
    fn types_have_colours_only_where_colours_are_wanted() {
        let colours = |kinds| {
            let buffer = drawn(80, 80, kinds);
            let cells = buffer.content.iter();
            let mut colours: Vec<_> = cells.map(|cell| cell.fg).collect();
            colours.sort_by_key(|colour| format!("{colour:?}"));
            colours.dedup();
            colours
        };
        assert_eq!(colours(Kinds::Letters), [Color::Reset]);
        let seen = colours(Kinds::Colours);
        for colour in [Color::Red, Color::Green, Color::Yellow, Color::Magenta] {
            assert!(seen.contains(&colour), "{seen:?}");
        }
        assert!(!seen.contains(&Color::Cyan), "nothing was moved");
        let text = lines(&drawn(80, 80, Kinds::Colours)).join("\n");
        assert!(text.contains("\n      0 █▒░·\n"), "{text}");
    }

    #[test]
    fn what_was_moved_since_the_last_snapshot_is_on_the_map() {
        for (kinds, cells, sign) in [
            (Kinds::Letters, "U█U▒M░m·", "lower case"),
            (Kinds::Colours, "█▒░·", "cyan"),
        ] {
            let mut app = App::new(Duration::from_secs(1), kinds);
            app.show(snapshot());
            let mut later = snapshot();
            later.served_for += Duration::from_secs(1);
            later.stats.nodes[0].zones[0]
                .pageblock_moved_out
                .insert(3, 9);
            app.show(later);
            let mut terminal = Terminal::new(TestBackend::new(80, 80)).unwrap();
            terminal.draw(|frame| draw(frame, &mut app)).unwrap();
            let buffer = terminal.backend().buffer();
            let text = lines(buffer).join("\n");
            let expected = format!(
                "\nnode 0 Normal: 4 of 2.0 MiB; pages moved out of 1 just now ({sign})\n      0 {cells}\n"
            );
            assert!(text.contains(&expected), "{expected} in {text}");
            let cyan = buffer.content.iter().filter(|cell| cell.fg == Color::Cyan);
            assert_eq!(cyan.count(), usize::from(kinds == Kinds::Colours));
        }
    }
}
