//! Bars of text: free memory beside the marks, and a part of a whole.
#![forbid(unsafe_code)]

/// Free pages on a scale that ends at twice the high mark, with the marks on it; `+` says that there are more.
pub(crate) fn gauge(free: usize, marks: [usize; 3], nr_cells: usize) -> String {
    let end = (2 * marks[2]).max(1);
    let cell = |pages: usize| pages * nr_cells / end;
    let mut cells: Vec<char> = (0..nr_cells)
        .map(|at| if at < cell(free) { '=' } else { ' ' })
        .collect();
    if let (true, Some(last)) = (free >= end, cells.last_mut()) {
        *last = '+';
    }
    for (mark, letter) in marks.into_iter().zip(['m', 'l', 'h']) {
        if let Some(cell) = cells.get_mut(cell(mark).min(nr_cells.saturating_sub(1))) {
            *cell = letter;
        }
    }
    cells.into_iter().collect()
}

/// A part of a whole; what is not nothing is seen.
pub(crate) fn bar(part: u64, whole: u64, nr_cells: usize) -> String {
    let share = part as f64 / whole.max(1) as f64;
    let nr = (share * nr_cells as f64).round() as usize;
    let nr = nr
        .clamp(usize::from(part > 0), nr_cells.max(1))
        .min(nr_cells);
    "#".repeat(nr) + &".".repeat(nr_cells - nr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_shows_free_memory_beside_the_marks() {
        assert_eq!(gauge(0, [30, 60, 120], 24), "   m  l     h           ");
        assert_eq!(gauge(70, [30, 60, 120], 24), "===m==l     h           ");
        assert_eq!(gauge(500, [30, 60, 120], 24), "===m==l=====h==========+");
        assert_eq!(gauge(5, [0, 0, 0], 24).chars().count(), 24);
        assert_eq!(gauge(5, [1, 2, 3], 0), "");
    }

    #[test]
    fn a_bar_shows_a_part_of_a_whole() {
        assert_eq!(bar(0, 100, 10), "..........");
        assert_eq!(bar(1, 1000, 10), "#.........");
        assert_eq!(bar(50, 100, 10), "#####.....");
        assert_eq!(bar(200, 100, 10), "##########");
        assert_eq!(bar(0, 0, 4), "....");
        assert_eq!(bar(5, 10, 0), "");
    }
}
