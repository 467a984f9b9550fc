//! The real code, stepped: what is true of it on any machine.

use super::*;
use crate::loads::Kind;

const MEASURED: Measured = Measured {
    locked_ns: 3.0,
    line_ns: 50.0,
    syscall_ns: 200.0,
    pause_ns: 20.0,
    wake_ns: 2_000.0,
};

const COSTS: Costs = Costs {
    instruction_ns: 0.2,
    locked_ns: MEASURED.locked_ns,
    line_ns: MEASURED.line_ns,
    far: 3.0,
    socket: 32,
    wake_ns: MEASURED.wake_ns,
};

fn played(kind: Kind, nodes: usize, threads: usize, counted: usize) -> (Books, f64) {
    let extent = Extent { warm: 1, counted };
    pin_to(allowed_cpus().unwrap()[0]).unwrap();
    play_for(extent, Load { kind, nodes }, threads, COSTS, MEASURED).unwrap()
}

fn hand_overs(books: &Books) -> u64 {
    books.locks.values().map(|lock| lock.hand_overs).sum()
}

// One test: there is one stage.
#[test]
fn counts_of_the_real_code_are_what_they_must_be() {
    // Single pages that go straight back touch nothing that another thread has, and no lock.
    let (pairs, _) = played(Kind::Pair, 1, 3, 10);
    assert_eq!(pairs.counts.transfers, 0, "{:?}", pairs.lines);
    assert_eq!(pairs.counts.locked, 0);
    assert!(pairs.locks.is_empty());
    assert!(pairs.pairs() >= 30.0);

    // What one allocates and another frees moves; the locks hardly, since each has a depot, from which it takes what
    // it left there itself.
    let (handed_over, _) = played(Kind::Handover, 1, 2, 1);
    assert!(handed_over.counts.transfers as f64 > handed_over.pairs());
    assert!((hand_overs(&handed_over) as f64) < handed_over.pairs() / 8.0);

    // Larger blocks have one lock, for which all others wait who find it taken.
    let (mixed, span) = played(Kind::Mixed, 1, 4, 2);
    // Not the one that is held longest: that may be a cache's, by a thread that waits for the zone's.
    let most = |lock: &&machine::LockBook| lock.hand_overs;
    let busiest = mixed.locks.values().max_by_key(most).unwrap();
    assert!(
        busiest.hand_overs > 0 && busiest.found_taken > 0,
        "{busiest:?}"
    );
    assert!(busiest.held_ns <= span, "a lock has one holder at a time");

    // Four nodes have a lock each.
    let (apart, _) = played(Kind::Mixed, 4, 4, 1);
    assert_eq!(hand_overs(&apart), 0, "each thread has a node for itself");
}
