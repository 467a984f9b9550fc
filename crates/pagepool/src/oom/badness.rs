//! Who is to give most (pure).

use std::ops::RangeInclusive;

use super::situation::{MAX_VICTIMS, Victim};
use arrayvec::ArrayVec;

use crate::types::{GroupId, PAGE_SIZE};

/// What a group's adjustment may be; the least exempts it (kernel: `oom_score_adj`).
pub(crate) const ADJ_RANGE: RangeInclusive<i16> = -1000..=1000;

/// A group that may have to give memory up, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) group: GroupId,
    /// What it has by itself, without the groups below it.
    pub(crate) pages: usize,
    /// What of that is protected in any case.
    pub(crate) protected: usize,
    /// What it has beyond its `high`.
    pub(crate) beyond_high: usize,
    /// The owner's adjustment, in thousandths of all there is.
    pub(crate) adj: i16,
}

impl Candidate {
    /// Its points: pages that are not protected, adjusted; none if it is exempt, or has nothing to give
    /// (kernel: `oom_badness`).
    fn points(&self, total: usize) -> Option<usize> {
        if self.adj == *ADJ_RANGE.start() {
            return None;
        }
        let spare = self.pages.checked_sub(self.protected + 1)? + 1;
        let adjusted = spare as i64 + i64::from(self.adj) * (total / 1000) as i64;
        Some(adjusted.max(1) as usize)
    }
}

/// Those who have most, the first of all first. `total` is all that could be had, in pages.
pub(super) fn ranked(
    candidates: impl Iterator<Item = Candidate>,
    total: usize,
) -> ArrayVec<Victim, MAX_VICTIMS> {
    let mut victims = ArrayVec::<Victim, MAX_VICTIMS>::new();
    for one in candidates {
        let Some(points) = one.points(total) else {
            continue;
        };
        let at = victims.partition_point(|other| other.points >= points);
        if at == MAX_VICTIMS {
            continue;
        }
        if victims.is_full() {
            victims.pop();
        }
        victims.insert(
            at,
            Victim {
                group: one.group,
                points,
                bytes: one.pages * PAGE_SIZE,
                protected_bytes: one.protected * PAGE_SIZE,
                beyond_high_bytes: one.beyond_high * PAGE_SIZE,
            },
        );
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(group: usize, pages: usize) -> Candidate {
        Candidate {
            group: GroupId::at(group),
            pages,
            protected: 0,
            beyond_high: 0,
            adj: 0,
        }
    }

    fn order_of(candidates: &[Candidate]) -> Vec<(usize, usize)> {
        let victims = ranked(candidates.iter().copied(), 10_000);
        victims
            .iter()
            .map(|one| (one.group.get(), one.points))
            .collect()
    }

    #[test]
    fn who_has_most_comes_first() {
        let all = [candidate(1, 10), candidate(2, 30), candidate(3, 20)];
        assert_eq!(order_of(&all), [(2, 30), (3, 20), (1, 10)]);
    }

    #[test]
    fn what_is_protected_does_not_count_and_who_has_no_more_is_left_alone() {
        let protected = |group, pages, protected| Candidate {
            protected,
            ..candidate(group, pages)
        };
        let all = [protected(1, 50, 45), protected(2, 30, 30), candidate(3, 20)];
        assert_eq!(order_of(&all), [(3, 20), (1, 5)]);
        assert_eq!(order_of(&[candidate(4, 0)]), []);
    }

    #[test]
    fn an_adjustment_is_in_thousandths_of_all_and_the_least_exempts() {
        let adjusted = |group, pages, adj| Candidate {
            adj,
            ..candidate(group, pages)
        };
        let all = [
            adjusted(1, 100, 500),
            adjusted(2, 9000, -1000),
            adjusted(3, 4000, -999),
            candidate(4, 3000),
        ];
        assert_eq!(order_of(&all), [(1, 5100), (4, 3000), (3, 1)]);
    }

    #[test]
    fn there_is_room_for_the_worst() {
        let all: Vec<_> = (1..100).map(|n| candidate(n, n)).collect();
        let ranks = order_of(&all);
        assert_eq!(
            (ranks.len(), ranks[0], ranks[MAX_VICTIMS - 1]),
            (MAX_VICTIMS, (99, 99), (84, 84))
        );
    }
}

#[cfg(all(test, not(loom)))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn candidate() -> impl Strategy<Value = (usize, usize, i16)> {
        let adj = prop_oneof![Just(-1000), Just(0), -999..=1000i16];
        (0..5000usize, prop_oneof![Just(0usize), 0..5000usize], adj)
    }

    proptest! {
        #[test]
        fn those_with_most_points_are_named_in_their_order(
            candidates in prop::collection::vec(candidate(), 0..40), total in 0..2_000_000usize,
        ) {
            let all: Vec<Candidate> = { candidates.iter().enumerate() }
                .map(|(n, &(pages, protected, adj))| Candidate {
                    group: GroupId::at(n), pages, protected, beyond_high: 0, adj,
                })
                .collect();
            // Who has nothing to give, or is exempt, is nobody's victim.
            let mut expected: Vec<(i64, usize)> = { all.iter() }
                .filter(|one| one.pages > one.protected && one.adj > -1000)
                .map(|one| {
                    let share = i64::from(one.adj) * (total / 1000) as i64;
                    (((one.pages - one.protected) as i64 + share).max(1), one.group.get())
                })
                .collect();
            expected.sort_by_key(|(points, group)| (-points, *group));
            expected.truncate(MAX_VICTIMS);
            let victims = ranked(all.into_iter(), total);
            let got: Vec<(i64, usize)> = { victims.iter() }
                .map(|victim| (victim.points as i64, victim.group.get()))
                .collect();
            prop_assert_eq!(got, expected);
        }
    }
}
