//! Recordings of what happens to a pool.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use pagepool::{
    AccessKind, Accesses, Advice, AllocError, Event, Gfp, Happening, NodeId, NodeMask, Order,
    PAGE_SIZE, PagePool, Pages, RecordError, RecordOptions, Recorded, Recording, SwapFile, Tape,
    TapeError,
};

use crate::{StopOnDrop, assert_all_back, order, press, vmstat};

/// A ring that is large enough for any test here.
fn ring() -> RecordOptions {
    RecordOptions::ring(16 << 20)
}

fn quiet_pool(memory: usize) -> PagePool {
    let builder = PagePool::builder().managed(memory).daemons(false);
    builder.deadline(Duration::ZERO).build().unwrap()
}

#[track_caller]
fn tape_of(recording: Recording) -> Tape {
    let recorded = recording.stop().unwrap();
    assert_eq!((recorded.dropped, recorded.overwritten), (0, 0));
    let tape = recorded.tape.expect("a ring has one");
    assert_eq!(tape.events().len() as u64, recorded.events);
    assert!(!tape.is_cut_off() && tape.lost() == 0);
    tape
}

fn pages_where(tape: &Tape, of: impl Fn(&Happening) -> Option<Order>) -> u64 {
    let orders = tape.events().iter().filter_map(|event| of(&event.what));
    orders.map(|order| order.pages() as u64).sum()
}

fn allocated(tape: &Tape) -> u64 {
    pages_where(tape, |what| match what {
        Happening::Alloc { order, .. }
        | Happening::Fault {
            order, cause: None, ..
        } => Some(*order),
        _ => None,
    })
}

fn freed(tape: &Tape) -> u64 {
    pages_where(tape, |what| match what {
        Happening::Free { order, .. } => Some(*order),
        _ => None,
    })
}

fn all_of(pool: &PagePool, beginning: &str) -> u64 {
    let stats = pool.stats();
    let figures = stats
        .vmstat
        .iter()
        .filter(|(name, _)| name.starts_with(beginning));
    figures.map(|(_, value)| value).sum()
}

/// Pages that threads have at hand.
fn at_hand(pool: &PagePool) -> u64 {
    let stats = pool.stats();
    let zones = stats.nodes.iter().flat_map(|node| &node.zones);
    zones.map(|zone| zone.magazines.pages as u64).sum()
}

/// Fills the calling thread's magazine; returns what is in it.
fn stock_up(pool: &PagePool) -> u64 {
    let blocks = (0..40).map(|_| pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
    drop(blocks.collect::<Vec<_>>());
    at_hand(pool)
}

/// What has happened since, without time and number.
fn happened(recording: Recording) -> Vec<Happening> {
    let tape = tape_of(recording);
    tape.events().iter().map(|event| event.what).collect()
}

/// The shortest path has no test of its own: a thread that goes on to use its magazine is noted all the same.
#[test]
fn a_page_at_hand_is_recorded_when_it_goes_and_when_it_comes_back() {
    let pool = quiet_pool(32 << 20);
    let nr = stock_up(&pool);
    assert!(nr > 2);
    let recording = pool.record(ring()).unwrap();
    let block = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    let pfn = block.pfn();
    assert_eq!(at_hand(&pool), nr - 1, "it was not at hand");
    drop(block);
    assert_eq!(at_hand(&pool), nr, "it is not at hand");
    let [
        Happening::Alloc {
            pfn: came, order, ..
        },
        Happening::Free { pfn: went, .. },
    ] = happened(recording)[..]
    else {
        panic!("an event is missing, or is there twice")
    };
    assert_eq!((came, order, went), (pfn, Order::ZERO, pfn));
    // More than a magazine holds: it is filled and emptied by halves.
    let recording = pool.record(ring()).unwrap();
    stock_up(&pool);
    let tape = tape_of(recording);
    assert_eq!((allocated(&tape), freed(&tape)), (40, 40));
    assert_all_back(&pool);
}

#[test]
fn each_block_of_many_is_recorded() {
    let pool = quiet_pool(32 << 20);
    stock_up(&pool);
    let recording = pool.record(ring()).unwrap();
    let mut blocks = Vec::new();
    let nr = pool.alloc_bulk(order(1), Gfp::KERNEL, 300, &mut blocks);
    assert_eq!(nr.unwrap(), 300);
    let expected: Vec<_> = blocks.iter().map(Pages::pfn).collect();
    pool.free_bulk(blocks);
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for what in happened(recording) {
        match what {
            Happening::Alloc { pfn, order: of, .. } if of == order(1) => came.push(pfn),
            Happening::Free { pfn, order: of } if of == order(1) => went.push(pfn),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((&came, &went), (&expected, &expected));
}

#[test]
fn recorded_blocks_are_those_that_vmstat_counts() {
    let pool = quiet_pool(32 << 20);
    assert!(stock_up(&pool) > 0);
    let recording = pool.record(ring()).unwrap();
    let (alloc, free) = (all_of(&pool, "pgalloc_"), vmstat(&pool, "pgfree"));
    let mut rng = fastrand::Rng::with_seed(7);
    let mut held = Vec::new();
    for n in 0..3000 {
        let gfp = [
            Gfp::KERNEL,
            Gfp::USER_MOVABLE,
            Gfp::KERNEL | Gfp::RECLAIMABLE,
        ][n % 3];
        match rng.u8(..8) {
            0..3 => held.extend(pool.alloc_pages(Order::ZERO, gfp)),
            3 => held.extend(pool.request(order(rng.u8(..5)), gfp).alloc()),
            4 if n % 8 == 0 => {
                pool.alloc_bulk(Order::ZERO, gfp, 70, &mut held).unwrap();
            }
            5 => {
                if let Ok(block) = pool.alloc_pages(order(3), gfp) {
                    held.extend(block.split(order(1)).skip(1));
                }
            }
            _ if !held.is_empty() => drop(held.swap_remove(rng.usize(..held.len()))),
            _ => {}
        }
    }
    drop(held);
    let alloc = all_of(&pool, "pgalloc_") - alloc;
    let free = vmstat(&pool, "pgfree") - free;
    let tape = tape_of(recording);
    assert!(alloc > 3000 && alloc == free, "{alloc} {free}");
    assert_eq!(allocated(&tape), alloc);
    assert_eq!(freed(&tape), free);
    assert_all_back(&pool);
}

/// A block that somebody frees and somebody else gets is free in between: the numbers tell in which order, whichever
/// threads they were.
#[test]
fn numbers_tell_who_had_a_block_first() {
    let pool = quiet_pool(16 << 20);
    let recording = pool.record(ring()).unwrap();
    thread::scope(|scope| {
        for seed in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..3000 {
                    drop(pool.alloc_pages(order(rng.u8(..3)), Gfp::KERNEL));
                }
            });
        }
    });
    let tape = tape_of(recording);
    let mut live = HashMap::new();
    for Event { number, what, .. } in tape.events() {
        match what {
            Happening::Alloc { pfn, order, .. } => {
                assert_eq!(live.insert(pfn, order), None, "{number}: {pfn} twice");
            }
            Happening::Free { pfn, order } => {
                assert_eq!(live.remove(pfn), Some(order), "{number}: {pfn}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(live.is_empty());
    assert_eq!(tape.events().len(), 18_000);
    assert!(tape.events().is_sorted_by_key(|event| event.number));
    let threads: std::collections::HashSet<_> =
        tape.events().iter().map(|event| event.thread).collect();
    assert_eq!(threads.len(), 3);
}

/// Magazines are watched while threads use them: once something is recorded of a block, all is.
#[test]
fn a_recording_may_begin_at_any_moment() {
    let pool = quiet_pool(16 << 20);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let two = [(); 2].map(|()| pool.alloc_pages(Order::ZERO, Gfp::KERNEL));
                    drop(two);
                }
            });
        }
        for round in 0..20 {
            let recording = pool.record(ring()).unwrap();
            while recording.events() < 200 {
                thread::yield_now();
            }
            let tape = tape_of(recording);
            let mut live = HashMap::new();
            for Event { number, what, .. } in tape.events() {
                match what {
                    Happening::Alloc { pfn, .. } => {
                        assert_eq!(live.insert(*pfn, true), None, "{round}, {number}: {pfn}");
                    }
                    // That it came may be from before.
                    Happening::Free { pfn, .. } => {
                        live.remove(pfn);
                    }
                    other => panic!("{round}, {number}: {other:?}"),
                }
            }
            assert!(live.len() <= 4, "{round}: {live:?}");
        }
    });
}

#[test]
fn what_is_refused_is_recorded_with_its_cause() {
    let pool = quiet_pool(8 << 20);
    let recording = pool.record(ring()).unwrap();
    let nowhere = NodeMask::only(NodeId::new(3).unwrap());
    let request = pool.request(order(2), Gfp::KERNEL).nodes(nowhere);
    assert_eq!(request.alloc().unwrap_err(), AllocError::NodeMask);
    let mut held = Vec::new();
    let gfp = Gfp::KERNEL | Gfp::NORETRY;
    let error = loop {
        match pool.alloc_pages(Order::ZERO, gfp) {
            Ok(block) => held.push(block),
            Err(error) => break error,
        }
    };
    let tape = tape_of(recording);
    let refused: Vec<_> = { tape.events().iter() }
        .filter_map(|event| match event.what {
            Happening::Refused { order, gfp, cause } => Some((order, gfp, cause.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        refused,
        [
            (order(2), Gfp::KERNEL, "node_mask"),
            (Order::ZERO, gfp, error.cause())
        ]
    );
    assert_eq!(tape.events().len(), held.len() + 2);
}

#[test]
fn the_life_of_a_folio_is_recorded() {
    let swap = SwapFile::temporary(16 << 20).unwrap();
    let builder = PagePool::builder().managed(8 << 20).daemons(false);
    let pool = builder.swap(swap).build().unwrap();
    let recording = pool.record(ring()).unwrap();
    let faults = vmstat(&pool, "pgfault");
    let mut folio = pool.alloc_folio(3 * PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
    folio.write().unwrap().fill(7);
    for _ in 0..3 {
        assert_eq!(folio.read().unwrap()[5], 7);
    }
    folio.lock().unwrap();
    folio.unlock();
    folio.advise(Advice::Cold).unwrap();
    press(&pool);
    assert!(!folio.is_resident());
    folio.read_at(0, &mut [0; 4]).unwrap();
    folio.discard().unwrap();
    drop(folio);
    let faults = vmstat(&pool, "pgfault") - faults;
    let tape = tape_of(recording);

    let of_folio = |event: &Event| match event.what {
        Happening::Open { len, backed, .. } => Some(format!("open {len} {backed}")),
        Happening::Fault {
            order, kind, cause, ..
        } => Some(format!("fault {order} {kind:?} {cause:?}")),
        Happening::Access { kind, .. } => Some(format!("{kind:?}")),
        Happening::Lock { .. } => Some("lock".into()),
        Happening::Unlock { .. } => Some("unlock".into()),
        Happening::Cool { .. } => Some("cool".into()),
        Happening::Discard { .. } => Some("discard".into()),
        Happening::Close { .. } => Some("close".into()),
        _ => None,
    };
    let happened: Vec<_> = tape.events().iter().filter_map(of_folio).collect();
    let expected = [
        "open 12288 false",
        "fault 2 Idle None",
        "Write",
        "Read",
        "Read",
        "Read",
        "Pin",
        "lock",
        "unlock",
        "cool",
        // A copy that is not to be had without a trace becomes an ordinary read.
        "Read",
        "Read",
        "fault 2 Read None",
        "discard",
        "close",
    ];
    assert_eq!(happened, expected);
    assert_eq!(faults, 2);
}

#[test]
fn how_many_accesses_are_recorded_is_the_users_choice() {
    for (accesses, expected) in [
        (Accesses::None, 0),
        (Accesses::FirstUses, 2),
        (Accesses::All, 10),
    ] {
        let pool = quiet_pool(8 << 20);
        let recording = pool.record(ring().accesses(accesses)).unwrap();
        let folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
        for _ in 0..10 {
            folio.read_at(0, &mut [0; 4]).unwrap();
        }
        drop(folio);
        let tape = tape_of(recording);
        let is_access = |event: &&Event| {
            matches!(
                event.what,
                Happening::Access {
                    kind: AccessKind::Read,
                    ..
                }
            )
        };
        let found = tape.events().iter().filter(is_access).count();
        assert_eq!(found, expected, "{accesses:?}");
    }
}

#[test]
fn a_file_holds_what_happened_and_says_where_it_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ppr");
    let pool = quiet_pool(16 << 20);
    pool.tunables().set_swappiness(11).unwrap();
    let recording = pool.record(RecordOptions::file(&path)).unwrap();
    for _ in 0..20_000 {
        drop(pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
    }
    let Recorded {
        events,
        dropped,
        tape,
        ..
    } = recording.stop().unwrap();
    assert_eq!((events, dropped), (40_000, 0));
    assert!(tape.is_none());
    let bytes = fs::read(&path).unwrap();
    let header = bytes.len() - 40_001 * 32;
    assert!(header < 4096, "32 bytes an event and one header: {header}");
    let tape = Tape::open(&path).unwrap();
    assert_eq!((tape.events().len(), tape.is_cut_off()), (40_000, false));
    assert_eq!(tape.setting("swappiness"), Some("11"));
    assert_eq!(tape.setting("daemons"), Some("off"));
    let memory = pool.config().budget_bytes().to_string();
    assert_eq!(tape.setting("memory"), Some(memory.as_str()));
    for tunable in pool.tunables().all() {
        assert_eq!(tape.setting(tunable.name), Some(tunable.value.as_str()));
    }

    fs::write(&path, &bytes[..bytes.len() - 40]).unwrap();
    let tape = Tape::open(&path).unwrap();
    assert_eq!((tape.events().len(), tape.is_cut_off()), (39_999, true));
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(matches!(Tape::open(&path), Err(TapeError::HeaderCutOff)));
}

#[test]
fn a_ring_keeps_the_last_and_counts_the_others() {
    let pool = quiet_pool(8 << 20);
    let recording = pool.record(RecordOptions::ring(64 << 10)).unwrap();
    for _ in 0..5000 {
        drop(pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap());
    }
    assert_eq!((recording.events(), recording.dropped()), (10_000, 0));
    let recorded = recording.stop().unwrap();
    let tape = recorded.tape.unwrap();
    assert_eq!(recorded.events + recorded.overwritten, 10_000);
    assert!(tape.events().len() > 1000 && tape.events().len() <= 2048);
    assert_eq!(tape.lost(), recorded.overwritten);
    assert_eq!(tape.events().last().unwrap().number, 9999);
}

#[test]
fn a_pool_has_one_recording_at_a_time_and_a_bad_one_is_refused() {
    let pool = quiet_pool(8 << 20);
    let first = pool.record(ring()).unwrap();
    assert!(matches!(pool.record(ring()), Err(RecordError::Busy)));
    drop(first);
    let error = pool.record(RecordOptions::ring(1000)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("buffer = 1000 is out of range"),
        "{error}"
    );
    let error = pool
        .record(RecordOptions::file("/nowhere/at/all"))
        .unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    // None of these is in the way of another.
    drop(pool.record(ring()).unwrap());
}

#[test]
fn a_recording_outlives_the_other_handles_of_its_pool() {
    let pool = quiet_pool(8 << 20);
    let block = pool.alloc_pages(Order::ZERO, Gfp::KERNEL).unwrap();
    let recording = pool.record(ring()).unwrap();
    drop(pool);
    drop(block);
    assert_eq!(freed(&tape_of(recording)), 1);
}
