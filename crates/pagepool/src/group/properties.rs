//! Protection, limits and the counter against what must hold of them for any numbers.

use proptest::prelude::*;

use super::counter::{PageCounter, UNLIMITED};
use super::limits::GroupLimits;
use super::protection::{Claim, Protection, Verdict, beyond};
use crate::types::PAGE_SIZE;

#[derive(Clone, Copy, Debug)]
enum Step {
    Charge(usize),
    Uncharge(usize),
    SetMax(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop_oneof![1..64usize, Just(usize::MAX / 2)].prop_map(Step::Charge),
        3 => (1..64usize).prop_map(Step::Uncharge),
        1 => prop::option::of(0..300usize).prop_map(Step::SetMax),
    ]
}

/// Bytes, or no limit.
fn limit() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(
        0.7,
        prop_oneof![
            Just(0usize),
            Just(PAGE_SIZE - 1),
            Just(PAGE_SIZE),
            0..(1usize << 30)
        ],
    )
}

proptest! {
    #[test]
    fn what_is_granted_is_claimed_and_no_more_than_there_is(
        claims in prop::collection::vec((0..1_000_000usize, 0..1_000_000usize), 1..12), parent in 0..2_000_000usize,
        more in 0..100_000usize,
    ) {
        let claims: Vec<Claim> = claims.into_iter().map(|(usage, limit)| Claim { usage, limit }).collect();
        let all: usize = claims.iter().map(|claim| claim.claimed()).sum();
        let granted = |parent| -> Vec<usize> { claims.iter().map(|claim| claim.granted(parent, all)).collect() };
        let now = granted(parent);
        for ((claim, got), richer) in claims.iter().zip(&now).zip(granted(parent + more)) {
            prop_assert!(*got <= claim.usage && *got <= claim.limit);
            prop_assert!(richer >= *got, "a richer parent gives no less");
            // In proportion: nobody gets a page more than his share.
            let share = claim.claimed() as f64 * parent as f64 / all.max(1) as f64;
            prop_assert!(*got == claim.claimed() || (share - 1.0..=share + 1e-6).contains(&(*got as f64)));
        }
        let sum: usize = now.iter().sum();
        prop_assert!(sum <= parent.min(all));
        // What was not given away is less than a page a group.
        prop_assert!(sum + claims.len() > parent.min(all));
    }

    #[test]
    fn need_takes_what_else_is_left_and_never_what_is_protected_in_any_case(
        min in 0..1000usize, low in 0..1000usize, usage in 0..2000usize, pages in 0..2000usize,
    ) {
        let protection = Protection { min, low };
        let [calm, needy] = [false, true].map(|in_need| protection.verdict(usage, in_need));
        let left = |verdict| match verdict {
            Verdict::Never | Verdict::NotYet => usage,
            Verdict::Beyond { protected } => usage.min(protected),
        };
        prop_assert!(left(needy) <= left(calm));
        prop_assert!(left(needy) >= min.min(usage));
        prop_assert!(left(calm) >= min.max(low).min(usage));
        prop_assert_ne!(needy, Verdict::NotYet);

        let looked = beyond(pages, usage, min);
        prop_assert!(looked <= pages);
        if usage > 0 && min > 0 {
            let exact = pages as f64 * usage.saturating_sub(min) as f64 / usage as f64;
            prop_assert!((exact - 1e-6..exact + 1.0).contains(&(looked as f64)));
        }
    }

    #[test]
    fn limits_are_taken_if_they_are_in_order(
        min in limit(), low in limit(), soft in limit(), high in limit(), max in limit(),
    ) {
        let mut limits = GroupLimits::new();
        limits = min.map_or(limits, |bytes| limits.min(bytes));
        limits = low.map_or(limits, |bytes| limits.low(bytes));
        limits = soft.map_or(limits, |bytes| limits.soft_limit(bytes));
        limits = high.map_or(limits, |bytes| limits.high(bytes));
        limits = max.map_or(limits, |bytes| limits.max(bytes));
        // No protection is the least, no limit the most.
        let (min, low) = (min.unwrap_or(0), low.unwrap_or(0));
        let [soft, high, max] = [soft, high, max].map(|bytes| bytes.unwrap_or(usize::MAX));
        let protection_fits = min.max(low) <= high.min(max) && min <= soft;
        let fits = |limit| limit <= max || limit == usize::MAX;
        let limits_fit = fits(high) && fits(soft) && max >= PAGE_SIZE;
        prop_assert_eq!(limits.check().is_ok(), protection_fits && limits_fit, "{:?}", limits);
    }

    #[test]
    fn a_charge_never_goes_beyond_the_limit(steps in prop::collection::vec(step(), 1..80)) {
        let counter = PageCounter::default();
        let (mut pages, mut max, mut peak) = (0usize, UNLIMITED, 0);
        for step in steps {
            match step {
                Step::Charge(more) => {
                    // More than there can be is refused, whatever the limit.
                    let fits = pages.checked_add(more).is_some_and(|sum| sum <= max);
                    if more < 64 || max != UNLIMITED {
                        prop_assert_eq!(counter.try_charge(more), fits);
                        pages += if fits { more } else { 0 };
                        peak = peak.max(pages);
                    }
                }
                Step::Uncharge(less) => {
                    let less = less.min(pages);
                    prop_assert!(!counter.uncharge(less), "nobody waits");
                    pages -= less;
                }
                Step::SetMax(limit) => {
                    max = limit.unwrap_or(UNLIMITED);
                    prop_assert!(!counter.set_max(max), "nobody waits");
                }
            }
            prop_assert_eq!((counter.pages(), counter.max(), counter.peak()), (pages, max, peak));
        }
    }
}
