//! Whose turn it is, of several groups, when less is wanted than all of them have (pure).
//!
//! *Kernel counterpart:* the shared iterator of `shrink_node` over groups (v5.0), which visits them in turn,
//! whatever they have. Here each earns credit by its size and pays with what is looked at of it, so that
//! over time each gives in proportion, though a pass takes from few (deficit round robin). Else a pass for 32
//! pages would take that many from each of a hundred groups, or as much from the small as from the large.

/// Pages that a group must have earned before it is looked at: what one pass takes on.
pub(crate) const STAKE: i64 = 32;

/// The most that a group can owe or be owed, in stakes: what was long ago is forgotten.
const MEMORY: i64 = 32;

/// What a group earns by a pass that wants `wanted` pages, if it has `own` of `all` that could be taken. At
/// least one page, if it has any.
pub(crate) fn earned(wanted: usize, own: usize, all: usize) -> i64 {
    if own == 0 || all == 0 {
        return 0;
    }
    let share = (wanted as u128 * own as u128).div_ceil(all as u128);
    i64::try_from(share).unwrap_or(i64::MAX)
}

/// A credit after a change.
pub(crate) fn changed(credit: i64, change: i64) -> i64 {
    let bound = STAKE * MEMORY;
    credit.saturating_add(change).clamp(-bound, bound)
}

/// Whether a group with this credit is looked at by a pass that wants `wanted` pages.
pub(crate) fn has_turn(credit: i64, wanted: usize) -> bool {
    credit >= STAKE.min(i64::try_from(wanted).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays passes for 32 pages over groups of these sizes; returns what each gave.
    fn play(sizes: &[usize], passes: usize) -> Vec<usize> {
        let all = sizes.iter().sum();
        let mut credits = vec![0; sizes.len()];
        let mut given = vec![0; sizes.len()];
        for _ in 0..passes {
            for (credit, own) in credits.iter_mut().zip(sizes) {
                *credit = changed(*credit, earned(32, *own, all));
            }
            for (credit, given) in credits.iter_mut().zip(&mut given) {
                if has_turn(*credit, 32) {
                    *credit = changed(*credit, -32);
                    *given += 32;
                }
            }
        }
        given
    }

    #[test]
    fn each_gives_in_proportion_to_what_it_has() {
        let given = play(&[1000, 2000, 5000], 1000);
        let all: usize = given.iter().sum();
        // Rounding up earns a page more than wanted a pass, at most, for each group.
        assert!((32_000..=35_000).contains(&all), "{given:?}");
        for (given, size) in given.iter().zip([1000, 2000, 5000]) {
            let share = *given as f64 / all as f64;
            assert!(
                (share - size as f64 / 8000.0).abs() < 0.01,
                "{given} of {all}"
            );
        }
    }

    #[test]
    fn a_small_group_has_its_turn_and_an_empty_one_never() {
        let given = play(&[100_000, 1, 0], 1000);
        assert!(given[1] >= 32, "{given:?}");
        assert_eq!(given[2], 0);
    }

    #[test]
    fn little_is_enough_for_who_wants_little() {
        assert!(has_turn(3, 3) && !has_turn(2, 3));
        assert!(has_turn(32, 1000) && !has_turn(31, 1000));
    }

    #[test]
    fn credit_is_bounded_both_ways() {
        assert_eq!(changed(i64::MAX, 1), 1024);
        assert_eq!(changed(0, -5000), -1024);
    }
}
