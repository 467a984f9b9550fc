//! The rules of reclaim against what must hold of them for any numbers.

use std::time::Duration;

use proptest::prelude::*;

use super::balance_lists::inactive_is_low;
use super::direct::{After, DirectRounds, RoundEnd, Shortfall};
use super::fairness::{STAKE, changed, earned, has_turn};
use super::for_compaction::{PassEnd, should_continue};
use super::page::{Action, Backup, PageFacts, PageTerms, StoreOwner, decide};
use super::proactive::Steps;
use super::scan_count::{ScanMode, scan_mode};
use super::throttle::{Powers, too_many_isolated};
use super::trust::{Conduct, LONGEST, SHORTEST, Trust};
use super::verdict::Verdict;
use super::*;
use crate::folio::MAX_USES;
use crate::reclaim::Who;
use crate::reclaim::control::DEF_PRIORITY;
use crate::types::Order;

const POLICIES: [TwoLists; 2] = [TwoLists::V5_0, TwoLists::REFINED];

fn kind() -> impl Strategy<Value = FolioKind> {
    prop::sample::select(FolioKind::ALL.to_vec())
}

/// Pages of a list: few, or many.
fn pages() -> impl Strategy<Value = usize> {
    prop_oneof![0..40usize, 0..3_000_000usize]
}

fn candidate() -> impl Strategy<Value = Candidate> {
    (kind(), 0..=MAX_USES, any::<[bool; 5]>()).prop_map(|(kind, uses, bits)| {
        let [accessed, locked, sticky, cold, in_need] = bits;
        Candidate {
            kind,
            accessed,
            uses,
            locked,
            sticky,
            cold,
            in_need,
        }
    })
}

/// How much a verdict does for its folio.
fn mercy(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Reclaim => 0,
        Verdict::ReclaimClean => 1,
        Verdict::Keep => 2,
        Verdict::Activate => 3,
    }
}

fn facts() -> impl Strategy<Value = PageFacts> {
    let backups = vec![
        Backup::None,
        Backup::Zeros,
        Backup::At(StoreOwner::Pool),
        Backup::At(StoreOwner::User),
    ];
    let verdicts = vec![
        Verdict::Activate,
        Verdict::Keep,
        Verdict::ReclaimClean,
        Verdict::Reclaim,
    ];
    let chosen = (
        prop::sample::select(backups),
        prop::sample::select(verdicts),
    );
    (any::<[bool; 4]>(), chosen).prop_map(|([held, pinned, locked, dirty], (backup, verdict))| {
        PageFacts {
            held,
            pinned,
            locked,
            dirty,
            backup,
            verdict,
        }
    })
}

fn terms() -> impl Strategy<Value = PageTerms> {
    any::<[bool; 3]>().prop_map(|[may_writepage, may_swap, may_enter_fs]| PageTerms {
        may_writepage,
        may_swap,
        may_enter_fs,
    })
}

fn scan_inputs() -> impl Strategy<Value = ScanInputs> {
    let sizes = prop::array::uniform4(pages());
    (
        sizes,
        0..=DEF_PRIORITY,
        0..64usize,
        0..=200u8,
        any::<[bool; 4]>(),
    )
        .prop_map(
            |(sizes, priority, least, swappiness, [can_swap, file_is_tiny, anon, file])| {
                ScanInputs {
                    eligible: PerList::each(|list| sizes[list.idx()]),
                    priority,
                    least,
                    swappiness,
                    can_swap,
                    file_is_tiny,
                    inactive_is_low: PerKind { anon, file },
                }
            },
        )
}

proptest! {
    #[test]
    fn to_be_used_never_brings_a_folio_nearer_to_its_end(candidate in candidate()) {
        for policy in POLICIES {
            let unused = policy.judge(&Candidate { accessed: false, ..candidate });
            let used = policy.judge(&Candidate { accessed: true, ..candidate });
            prop_assert!(mercy(used.verdict) >= mercy(unused.verdict));
            prop_assert!(used.uses >= unused.uses && used.uses <= MAX_USES);
            // Whom memory is short for is no more merciful.
            let in_need = policy.judge(&Candidate { in_need: true, ..candidate });
            let at_ease = policy.judge(&Candidate { in_need: false, ..candidate });
            prop_assert!(mercy(in_need.verdict) <= mercy(at_ease.verdict));
            // What nobody uses goes, after so many looks as it has uses and one.
            let mut left = Candidate { accessed: false, locked: false, ..candidate };
            let mut looks = 0;
            while mercy(policy.judge(&left).verdict) > 1 {
                left.uses = policy.judge(&left).uses;
                looks += 1;
                prop_assert!(looks <= MAX_USES, "{:?}", left);
            }
        }
    }

    #[test]
    fn what_is_locked_is_set_aside_and_what_is_aged_goes_to_its_own_kind(candidate in candidate()) {
        for policy in POLICIES {
            match policy.age(&candidate) {
                Aging::SetAside => prop_assert!(candidate.locked),
                Aging::Keep => prop_assert!(candidate.accessed && !candidate.locked),
                Aging::Deactivate { rotated, uses } => {
                    prop_assert!(!candidate.locked && uses <= MAX_USES);
                    prop_assert_eq!(rotated, candidate.accessed);
                }
            }
            let arrival = if candidate.sticky { Arrival::ReadAhead } else { Arrival::Fresh };
            let newcomer = Newcomer { kind: candidate.kind, arrival, locked: candidate.locked, cold: candidate.cold };
            let placement = policy.place(&newcomer);
            let expected = (!candidate.locked).then_some(candidate.kind);
            prop_assert_eq!(placement.list.kind(), expected);
            prop_assert!(!(candidate.cold && placement.list.is_active()));
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_written_that_may_not_be(facts in facts(), terms in terms()) {
        let action = decide(&facts, &terms);
        let writes = matches!(action, Action::NeedsSwapSlot | Action::StartWrite);
        if action == Action::Reclaim {
            // Its contents can be had again.
            prop_assert!(!facts.dirty && facts.backup != Backup::None);
        }
        if action == Action::Reclaim || writes {
            prop_assert!(!facts.held && !facts.pinned && !facts.locked);
            prop_assert!(mercy(facts.verdict) < 2);
        }
        prop_assert!(!writes || terms.may_writepage);
        if action == Action::NeedsSwapSlot {
            prop_assert!(terms.may_swap && !matches!(facts.backup, Backup::At(_)));
        }
        if action == Action::StartWrite {
            prop_assert!(facts.dirty && facts.verdict == Verdict::Reclaim);
            let may = match facts.backup {
                Backup::At(StoreOwner::User) => terms.may_enter_fs,
                Backup::At(StoreOwner::Pool) => terms.may_swap,
                Backup::None | Backup::Zeros => false,
            };
            prop_assert!(may);
        }
        prop_assert_eq!(action == Action::SetAside, facts.locked && !facts.held);
        // More powers never keep a folio that goes without.
        let all = PageTerms { may_writepage: true, may_swap: true, may_enter_fs: true };
        if action == Action::Reclaim {
            prop_assert_eq!(decide(&facts, &all), Action::Reclaim);
        }
    }

    #[test]
    fn a_pass_looks_at_no_more_than_there_is_and_harder_ones_at_no_less(
        inputs in scan_inputs(), costs in prop::collection::vec((kind(), 0..500usize), 0..12),
    ) {
        let mut history = History::default();
        for (kind, pages) in costs {
            history.charge(kind, pages, inputs.eligible.total());
            history.note_scanned(kind, pages);
            history.note_rotated(kind, pages / 2);
        }
        for policy in POLICIES {
            let scan = policy.scan_targets(&inputs, &history);
            prop_assert_eq!(scan.lru_pages, inputs.eligible.total());
            let mode = scan_mode(&inputs);
            for list in LruList::EVICTABLE {
                let target = scan.targets[list];
                prop_assert!(target <= inputs.eligible[list]);
                let is_anon = list.kind() == Some(FolioKind::Anon);
                let left_out = match mode {
                    ScanMode::FileOnly => is_anon,
                    ScanMode::AnonOnly => !is_anon,
                    ScanMode::Equal | ScanMode::Fraction => false,
                };
                prop_assert!(!left_out || target == 0);
                prop_assert!(inputs.can_swap || !is_anon || target == 0);
                if inputs.priority > 1 {
                    let harder = ScanInputs { priority: inputs.priority - 1, ..inputs };
                    if scan_mode(&harder) == mode {
                        prop_assert!(policy.scan_targets(&harder, &history).targets[list] >= target);
                    }
                }
            }
            // At the last priority, everything that may go is looked at.
            if inputs.priority == 0 && inputs.can_swap && inputs.swappiness > 0 {
                prop_assert_eq!(scan.targets.total(), inputs.eligible.total());
            }
        }
    }

    #[test]
    fn an_inactive_list_is_low_at_most_until_it_is_longer(
        kind in kind(), inactive in pages(), active in pages(), more in 1..1000usize,
        refaulted in any::<bool>(), has_swap in any::<bool>(),
    ) {
        let balance = Balance { kind, inactive, active, refaulted, has_swap };
        let is_low = inactive_is_low(&balance);
        prop_assert!(!(is_low && active == 0));
        prop_assert!(!(is_low && inactive >= active) || refaulted);
        if !is_low && active >= more {
            let later = Balance { inactive: inactive + more, active: active - more, ..balance };
            prop_assert!(!inactive_is_low(&later));
        }
        if is_low {
            let challenged = Balance { refaulted: true, ..balance };
            prop_assert!(inactive_is_low(&challenged));
        }
    }

    #[test]
    fn a_thread_takes_on_more_the_less_is_free_and_comes_to_an_end(
        min in 0..1000usize, gap in 0..500usize, free in 0..3000usize, less in 0..500usize, reclaimers in 0..20usize,
        gains in prop::collection::vec((0..20usize, prop::bool::weighted(0.05)), 16),
        may_writepage in any::<bool>(),
    ) {
        let shortfall = Shortfall { free, min, low: min + gap, high: min + 2 * gap, reclaimers };
        let stint = shortfall.stint();
        prop_assert!((4..=32).contains(&stint.nr_to_reclaim));
        prop_assert!((DEF_PRIORITY - 2..=DEF_PRIORITY).contains(&stint.priority));
        let worse = Shortfall { free: free.saturating_sub(less), ..shortfall }.stint();
        prop_assert!(worse.nr_to_reclaim >= stint.nr_to_reclaim && worse.priority <= stint.priority);

        let mut rounds = DirectRounds::start(stint, may_writepage);
        let mut sum = 0;
        for (n, (reclaimed, compaction_ready)) in gains.into_iter().enumerate() {
            prop_assert!(n <= usize::from(stint.priority), "a round too many");
            prop_assert!(rounds.may_writepage() || !may_writepage);
            sum += reclaimed;
            match rounds.after(RoundEnd { reclaimed, compaction_ready }) {
                After::Done(progress) => {
                    prop_assert_eq!(progress, sum.max(usize::from(compaction_ready)));
                    let is_enough = sum >= stint.nr_to_reclaim || compaction_ready;
                    prop_assert!(is_enough || rounds.priority() == 0);
                    return Ok(());
                }
                After::Again(next) => {
                    prop_assert!(sum < stint.nr_to_reclaim);
                    prop_assert_eq!(next.priority(), rounds.priority() - 1);
                    rounds = next;
                }
            }
        }
        prop_assert!(false, "no end");
    }

    #[test]
    fn groups_are_looked_at_in_proportion_to_what_they_have(own in prop::collection::vec(1..10_000usize, 1..8)) {
        const PASSES: usize = 500;
        let all: usize = own.iter().sum();
        let mut credits = vec![0; own.len()];
        let mut looked = vec![0usize; own.len()];
        for _ in 0..PASSES {
            for n in 0..own.len() {
                credits[n] = changed(credits[n], earned(STAKE as usize, own[n], all));
                if has_turn(credits[n], STAKE as usize) {
                    credits[n] = changed(credits[n], -STAKE);
                    looked[n] += 1;
                }
            }
        }
        for (looked, own) in looked.iter().zip(&own) {
            let share = PASSES as f64 * *own as f64 / all as f64;
            // What is earned is rounded up, by a page a pass at most.
            let most = share + PASSES as f64 / STAKE as f64 + 2.0;
            prop_assert!((share - 2.0..=most).contains(&(*looked as f64)), "{} of {}", looked, share);
        }
    }

    #[test]
    fn a_reclaim_on_request_neither_stops_early_nor_goes_on_for_ever(
        wanted in 0..5000usize, gains in prop::collection::vec(prop_oneof![Just(0usize), 0..200usize], 1..40),
    ) {
        let mut steps = Steps::towards(wanted);
        let mut sum = 0;
        let mut in_vain = 0;
        for gain in gains.iter().cycle().take(20_000) {
            let Some(pages) = steps.next() else {
                prop_assert!(sum >= wanted || in_vain > 16);
                prop_assert_eq!(steps.freed(), sum);
                return Ok(());
            };
            prop_assert!(sum < wanted && pages >= 1 && pages <= wanted - sum);
            steps.note(*gain);
            sum += gain;
            in_vain += usize::from(*gain == 0);
        }
        prop_assert!(false, "no end");
    }

    #[test]
    fn nobody_goes_over_a_node_again_who_found_nothing(
        order in 0..=10usize, priority in 0..=DEF_PRIORITY, reclaimed in 0..100usize, before in 0..5000usize,
        inactive in 0..5000usize, can_compact in any::<bool>(),
    ) {
        let order = Order::at(order);
        let end = PassEnd { order, priority, reclaimed, total_reclaimed: before + reclaimed, inactive, can_compact };
        let again = should_continue(&end);
        prop_assert!(!(again && (reclaimed == 0 || order == Order::ZERO)));
        // Who could compact and has made room stops.
        if again && can_compact {
            prop_assert!(end.total_reclaimed < 2 * order.pages() && inactive > 2 * order.pages());
        }
    }

    #[test]
    fn restricted_threads_go_on_where_others_wait(inactive in 0..100_000usize, isolated in 0..100_000usize) {
        let waits = |who, powers| too_many_isolated(who, powers, inactive, isolated);
        for who in [Who::Direct, Who::Controller] {
            prop_assert!(!waits(who, Powers::Restricted) || waits(who, Powers::Full));
        }
        prop_assert!(!waits(Who::Kswapd, Powers::Full) && !waits(Who::Kswapd, Powers::Restricted));
    }

    #[test]
    fn a_shrinker_is_left_alone_for_failures_in_a_row_and_for_a_minute_at_most(
        conducts in prop::collection::vec(0..6u8, 0..100), scanned in 0..50usize,
    ) {
        let mut trust = Trust::default();
        // Failures since it last freed something, and how often it looked at everything in vain.
        let (mut failures, mut in_vain) = (0u32, 0);
        let mut last = Duration::ZERO;
        for conduct in conducts {
            let conduct = match conduct {
                0 => Conduct::Freed,
                1 => Conduct::Panicked,
                2 => Conduct::Overdue,
                3 => Conduct::NoThread,
                4 => Conduct::InVain { scanned, freeable: 50 },
                _ => Conduct::Idle,
            };
            trust = trust.after(conduct);
            match conduct {
                Conduct::Freed => (failures, in_vain, last) = (0, 0, Duration::ZERO),
                Conduct::Idle => {}
                Conduct::InVain { .. } if in_vain + scanned < 100 => in_vain += scanned,
                _ => (failures, in_vain) = (failures + 1, 0),
            }
            prop_assert_eq!(trust.failures(), failures);
            let quarantine = trust.quarantine();
            prop_assert_eq!(quarantine.is_some(), failures >= 3);
            if let Some(time) = quarantine {
                prop_assert!((SHORTEST..=LONGEST).contains(&time) && time >= last);
                last = time;
            }
        }
    }
}
