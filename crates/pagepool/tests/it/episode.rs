//! One episode of pressure, from the request that finds too little memory to the quiet after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pagepool::scope::{self, ScopeKind};
use pagepool::{DaemonStart, Faults, FaultyDevice, Folio, Gfp, PAGE_SIZE, PagePool, ZoneStats};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::locks::Mutex;
use crate::processes::alone;
use crate::{assert_all_back, eventually, vmstat};

/// What an event said, and when.
#[derive(Clone, Debug)]
struct Heard {
    name: &'static str,
    fields: BTreeMap<&'static str, u64>,
    at: Instant,
}

/// Keeps what those say who reclaim, and who wake them.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Vec<Heard>>>);

impl Listener {
    fn heard(&self, name: &str) -> Vec<Heard> {
        let heard = self.0.lock().unwrap();
        heard
            .iter()
            .filter(|event| event.name == name)
            .cloned()
            .collect()
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

struct Numbers(BTreeMap<&'static str, u64>);

impl Visit for Numbers {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value);
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "pagepool::vmscan" && metadata.name() != "mm_lru_insertion"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut numbers = Numbers(BTreeMap::new());
        event.record(&mut numbers);
        self.0.lock().unwrap().push(Heard {
            name: event.metadata().name(),
            fields: numbers.0,
            at: Instant::now(),
        });
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

/// Takes all memory in single pages: nobody is asked for more, and no mark is minded. In the order of
/// their addresses.
fn take_everything(pool: &PagePool) -> Vec<Folio> {
    let quietly = Gfp::MEMALLOC | Gfp::NOWARN;
    let all = || pool.alloc_folio(PAGE_SIZE, quietly).ok();
    let mut folios: Vec<_> = std::iter::from_fn(all).collect();
    for folio in &mut folios {
        folio.write().unwrap().fill(1);
    }
    folios.sort_by_key(address);
    folios
}

fn address(folio: &Folio) -> usize {
    folio.pin().unwrap().as_ptr().addr()
}

/// The first 8 pages that are a block of order 3, of folios in the order of their addresses.
fn find_block(folios: &[Folio]) -> usize {
    let block = 8 * PAGE_SIZE;
    let is_block = |eight: &[Folio]| {
        let first = address(&eight[0]);
        first.is_multiple_of(block) && address(&eight[7]) == first + 7 * PAGE_SIZE
    };
    folios.windows(8).position(is_block).unwrap()
}

fn zones(pool: &PagePool) -> Vec<ZoneStats> {
    pool.drain();
    pool.stats().nodes.remove(0).zones
}

/// How much is free of what a request for movable memory may use above a mark of this zone.
fn free_for_movable(zone: &ZoneStats) -> usize {
    zone.free.saturating_sub(zone.protection[2])
}

#[test]
fn one_pressure_episode() {
    alone("episode::one_pressure_episode", || {
        let listener = Listener::default();
        tracing::subscriber::set_global_default(listener.clone()).unwrap();
        let pool = PagePool::builder()
            .managed(32 << 20)
            .movable_share(50)
            .watermark_boost_factor(0)
            .daemons(DaemonStart::AtOnce)
            .swap(FaultyDevice::in_memory(64 << 20, Faults::none()))
            .deadline(Duration::from_secs(10))
            .build()
            .unwrap();
        eventually("kswapd has gone to sleep", || {
            listener.heard("mm_vmscan_kswapd_sleep").len() == 1
        });
        listener.forget();
        let (mut folios, kept) = arrange(&pool);
        assert!(listener.0.lock().unwrap().is_empty(), "nobody noticed");
        let count = |name| vmstat(&pool, name);
        let before = [
            "allocstall_movable",
            "pagepool_slowpath_entries",
            "pagepool_kcompactd_posts",
            "pgsteal_kswapd",
        ]
        .map(count);

        // 1, 2: the request fails at the low mark in both zones, wakes kswapd, and is served at the
        // minimum without reclaiming for itself.
        let large = pool.alloc_folio(8 * PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
        large.lock().unwrap();
        assert_eq!(count("allocstall_movable"), before[0]);
        assert_eq!(count("pagepool_slowpath_entries"), before[1] + 1);
        let wakeups = listener.heard("mm_vmscan_wakeup_kswapd");
        let expected = BTreeMap::from([("nid", 0), ("zid", 2), ("order", 3)]);
        assert_eq!(wakeups.len(), 1);
        assert_eq!(wakeups[0].fields, expected);

        // 3: kswapd works for what was asked.
        eventually("kswapd sleeps again", || {
            !listener.heard("mm_vmscan_kswapd_sleep").is_empty()
        });
        let wakes = listener.heard("mm_vmscan_kswapd_wake");
        assert_eq!(wakes.len(), 1, "{wakes:?}");
        assert_eq!(wakes[0].fields, expected);
        // At least the gap that lets it leave the rest to compaction.
        assert!(count("pgsteal_kswapd") >= before[3] + 16);
        assert_eq!(count("allocstall_movable"), before[0]);

        // 4, 5: a block of order 3 is still missing, so that the compactor is asked; single pages suffice
        // for sleep.
        let after = zones(&pool);
        let missing = after
            .iter()
            .all(|zone| zone.nr_free[3..].iter().all(|nr| *nr == 0));
        assert!(missing, "{after:?}");
        assert_eq!(count("pagepool_kcompactd_posts"), before[2] + 1);
        let is_above_high = |zone: &ZoneStats| free_for_movable(zone) > zone.high;
        assert!(after.iter().any(is_above_high), "{after:?}");

        // 6: it napped before it slept for long.
        let slept = &listener.heard("mm_vmscan_kswapd_sleep")[0];
        let awake = slept.at - wakes[0].at;
        assert!(awake >= Duration::from_millis(100), "{awake:?}");

        // And nothing more happens: single pages can be had, and nobody is woken for them.
        let runs = count("pageoutrun");
        for _ in 0..4 {
            let mut page = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
            page.write().unwrap().fill(2);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(count("pageoutrun"), runs);
        assert_eq!(listener.heard("mm_vmscan_kswapd_sleep").len(), 1);
        for folio in folios.drain(..).chain(kept) {
            assert!(folio.read().unwrap().iter().all(|byte| *byte == 1));
        }
        drop(large);
        assert_all_back(&pool);
    });
}

#[test]
fn who_reclaims_for_himself_says_what_he_does() {
    alone(
        "episode::who_reclaims_for_himself_says_what_he_does",
        || {
            let listener = Listener::default();
            tracing::subscriber::set_global_default(listener.clone()).unwrap();
            let pool = PagePool::builder()
                .managed(16 << 20)
                .daemons(false)
                .swap(FaultyDevice::in_memory(64 << 20, Faults::none()))
                .build()
                .unwrap();
            let _folios: Vec<_> = (0..8192)
                .map(|_| {
                    let mut folio = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap();
                    folio.write().unwrap().fill(1);
                    folio
                })
                .collect();

            let stalls = vmstat(&pool, "allocstall_normal") + vmstat(&pool, "allocstall_movable");
            let begun = listener.heard("mm_vmscan_direct_reclaim_begin");
            let ended = listener.heard("mm_vmscan_direct_reclaim_end");
            assert!(begun.len() as u64 >= stalls && stalls > 0, "{stalls}");
            assert_eq!(begun.len(), ended.len());
            assert!(begun.iter().all(|one| one.fields["order"] == 0));

            let sum = |name: &str, field: &str| -> u64 {
                let heard = listener.heard(name);
                heard.iter().map(|one| one.fields[field]).sum()
            };
            let reclaimed = sum("mm_vmscan_direct_reclaim_end", "nr_reclaimed");
            assert_eq!(reclaimed, vmstat(&pool, "pgsteal_direct"));
            let inactive = "mm_vmscan_lru_shrink_inactive";
            assert_eq!(sum(inactive, "nr_scanned"), vmstat(&pool, "pgscan_direct"));
            let written = listener.heard("mm_vmscan_writepage").len() as u64;
            assert_eq!(written, vmstat(&pool, "pswpout"));
            assert_eq!(sum(inactive, "writeback"), written);
            let active = "mm_vmscan_lru_shrink_active";
            let refilled = sum("mm_vmscan_lru_isolate", "nr_scanned") - sum(inactive, "nr_scanned");
            assert_eq!(refilled, vmstat(&pool, "pgrefill"));
            assert_eq!(sum(active, "nr_deactivated"), vmstat(&pool, "pgdeactivate"));
            assert!(!listener.heard("mm_vmscan_inactive_list_is_low").is_empty());
        },
    );
}

#[test]
fn who_is_exempt_from_reclaim_waits_for_others() {
    let pool = PagePool::builder()
        .managed(16 << 20)
        .daemons(false)
        .deadline(Duration::from_secs(1))
        .swap(FaultyDevice::in_memory(64 << 20, Faults::none()))
        .build()
        .unwrap();
    let mut folios = take_everything(&pool);
    let exempt = scope::enter(ScopeKind::NoReclaim);
    let began = Instant::now();
    let refused = pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap_err();
    assert!(began.elapsed() >= Duration::from_secs(1), "{refused}");
    assert_eq!(vmstat(&pool, "pgscan_direct"), 0);
    assert_eq!(vmstat(&pool, "pswpout"), 0);

    // The same request helps itself once the scope has ended.
    drop(exempt);
    folios.push(pool.alloc_folio(PAGE_SIZE, Gfp::USER_MOVABLE).unwrap());
    assert!(vmstat(&pool, "pgscan_direct") > 0);
}

/// Uses up memory until it is between the minimum and the low mark in both zones: a block of order 3 and
/// single pages are free, and whatever kswapd frees is single pages too, since every second page is locked.
/// Returns what may leave memory, and what may not.
fn arrange(pool: &PagePool) -> (Vec<Folio>, Vec<Folio>) {
    let mut folios = take_everything(pool);
    let start = find_block(&folios);
    drop(folios.drain(start..start + 8));
    let (mut may_leave, mut kept) = (vec![], vec![]);
    for folio in folios {
        if (address(&folio) / PAGE_SIZE).is_multiple_of(2) {
            may_leave.push(folio);
        } else {
            folio.lock().unwrap();
            kept.push(folio);
        }
    }
    // Single pages of both zones, whose addresses lie apart.
    for from_the_end in [false, true] {
        loop {
            let zones = zones(pool);
            let zone = &zones[usize::from(from_the_end)];
            if free_for_movable(zone) > zone.min + 10 {
                break;
            }
            let at = if from_the_end { may_leave.len() - 1 } else { 0 };
            drop(may_leave.remove(at));
        }
    }
    for zone in zones(pool) {
        let free = free_for_movable(&zone);
        assert!(free > zone.min + 8 && free <= zone.low, "{zone:?}");
    }
    (may_leave, kept)
}
