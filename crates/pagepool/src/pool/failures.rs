//! Requests that failed or came late: a report of each, in a place that was set aside for it.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Inner, PagePool};
use crate::diagnosis::{
    Facts, FailureReport, MemoryFigures, PinHolder, PinReport, ReportParts, ZoneReport, remedy_for,
};
use crate::error::AllocError;
use crate::gfp::Gfp;
use crate::node::lru_list::LruList;
use crate::sync::CoreMutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::clock::{self, Instant};
use crate::sync::thread::per_thread;
use crate::types::{GroupId, NR_ZONES, Order, PAGE_SIZE, ZoneType};
use crate::zone::Zone;
use crate::zone::watermark::{AllocFlags, Mark};

/// How many reports are kept.
const KEPT: usize = 4;

/// How many folios a report looks at for pins. The next report goes on where it ended.
const FOLIOS_LOOKED_AT: usize = 1 << 15;

/// A request that takes longer is reported, unless the pool says otherwise.
const DEFAULT_REPORT_AFTER: Duration = Duration::from_secs(1);

/// Reports that are sent to `tracing` in a window at most; all are kept (kernel: `warn_alloc`, ten in five
/// seconds).
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5);

per_thread! {
    // Whether this thread makes a report: what fails meanwhile fails because of that.
    static REPORTS: Cell<bool> = Cell::new(false);
}

/// Until it is dropped, this thread makes a report.
struct Reporting;

impl Reporting {
    fn begin() -> Option<Reporting> {
        (!REPORTS.with(|reports| reports.replace(true))).then_some(Reporting)
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        REPORTS.with(|reports| reports.set(false));
    }
}

/// How many reports were sent lately.
#[derive(Debug, Default)]
struct Sent {
    since: Option<Instant>,
    nr: u32,
}

impl Sent {
    /// Whether another may be sent; counts it then.
    fn may_send(&mut self, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) > WINDOW;
        if self.since.is_none_or(is_over) {
            *self = Sent {
                since: Some(now),
                nr: 0,
            };
        }
        self.nr += 1;
        self.nr <= BURST
    }
}

/// The last reports of a pool.
#[derive(Debug)]
pub(super) struct Failures {
    /// Places; one is empty while somebody has its report in hand.
    ring: [CoreMutex<Option<FailureReport>>; KEPT],
    made: AtomicU64,
    /// Where the next look for pins begins.
    cursor: AtomicUsize,
    /// Nanoseconds; all ones is never.
    report_after: AtomicU64,
    sent: CoreMutex<Sent>,
}

impl Failures {
    /// Places for reports on so many zones.
    pub(super) fn new(nr_zones: usize) -> Failures {
        Failures {
            ring: std::array::from_fn(|_| CoreMutex::new(Some(FailureReport::place(nr_zones)))),
            made: AtomicU64::new(0),
            cursor: AtomicUsize::new(0),
            report_after: AtomicU64::new(DEFAULT_REPORT_AFTER.as_nanos() as u64),
            sent: CoreMutex::new(Sent::default()),
        }
    }

    /// Takes the oldest report that nobody has in hand, for another to be made in its place.
    fn take_oldest(&self) -> Option<FailureReport> {
        let number_at = |place: &&CoreMutex<Option<FailureReport>>| {
            place
                .lock()
                .as_ref()
                .map_or(u64::MAX, |report| report.number)
        };
        // Somebody else may take it meanwhile: there are as many tries as places.
        (0..KEPT).find_map(|_| self.ring.iter().min_by_key(number_at)?.lock().take())
    }

    /// Puts a report where there is room: there is as much as was taken.
    fn put_back(&self, report: FailureReport) {
        let mut report = Some(report);
        for place in &self.ring {
            let mut place = place.lock();
            if place.is_none() {
                *place = report.take();
                return;
            }
        }
        debug_assert!(report.is_none(), "F1: a report has lost its place");
    }

    /// Bytes of the places for a pool of so many nodes.
    pub(super) fn bytes_for(nr_nodes: usize) -> usize {
        KEPT * FailureReport::bytes_for(nr_nodes * NR_ZONES)
    }

    /// How many were made so far.
    pub(super) fn made(&self) -> u64 {
        // Relaxed, here and below: a number by itself; what is in a place is guarded by its lock.
        self.made.load(Ordering::Relaxed)
    }

    /// How long a request takes that is reported although it is granted; none is never.
    pub(super) fn report_after(&self) -> Option<Duration> {
        match self.report_after.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Sets it.
    pub(super) fn set_report_after(&self, after: Option<Duration>) {
        let nanos = after.map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.report_after
            .store(nanos.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Tells whoever listens. What panics there is caught: the block that the report is about may be in nobody's
/// hands yet.
fn send(report: &FailureReport) {
    let sent = catch_unwind(AssertUnwindSafe(|| {
        tracing::warn!(
            target: "pagepool::report",
            number = report.number,
            cause = report.cause.cause(),
            remedy = %report.remedy,
            "{report}"
        );
    }));
    // What it panicked with may panic when it is dropped.
    std::mem::forget(sent);
}

impl Inner {
    /// Makes a report, and sends it, unless many were sent lately. Requests that fail because of that are not
    /// reported.
    pub(super) fn make_report(&self, parts: &ReportParts) {
        let Some(_reporting) = Reporting::begin() else {
            return;
        };
        let begin = clock::now();
        let number = self.failures.made.fetch_add(1, Ordering::Relaxed) + 1;
        // No place is free while reports are being sent somewhere slow: then this one is only counted.
        let Some(mut report) = self.failures.take_oldest() else {
            return;
        };
        let may_send = self.failures.sent.lock().may_send(begin);
        report.begin(number, parts);
        for zone in self.nodes.zones().filter(|zone| zone.is_managed()) {
            report.add_zone(ZoneReport::of(
                zone,
                parts.order,
                parts.class,
                AllocFlags::empty(),
            ));
        }
        report.memory = self.memory_figures();
        // The costly part, for those that somebody sees, or that are about it.
        if may_send || parts.cause == AllocError::AllPinned {
            report.pins = self.look_for_pins();
        }
        report.remedy = remedy_for(&self.facts(&report));
        report.took = clock::now().saturating_duration_since(begin);
        if may_send {
            send(&report);
        }
        self.failures.put_back(report);
    }

    /// What could leave memory, and where to.
    pub(super) fn memory_figures(&self) -> MemoryFigures {
        let pages = |lists: &[LruList]| {
            let of_node = |list| {
                let sizes = self.nodes.iter();
                sizes.map(move |node| node.lru().size(list, ZoneType::Movable))
            };
            lists.iter().copied().flat_map(of_node).sum()
        };
        MemoryFigures {
            anon: pages(&[LruList::InactiveAnon, LruList::ActiveAnon]),
            file: pages(&[LruList::InactiveFile, LruList::ActiveFile]),
            locked: pages(&[LruList::Unevictable]),
            swap_total: self.swap.total_pages(),
            swap_free: self.swap.free_pages(),
        }
    }

    /// Looks at some of the folios, if there are many.
    fn look_for_pins(&self) -> PinReport {
        let mut pins = PinReport::default();
        let nr = self.folios.nr_used();
        let looks = nr.min(FOLIOS_LOOKED_AT);
        // Relaxed: two who look at once may look at the same.
        let from = self.failures.cursor.fetch_add(looks, Ordering::Relaxed);
        self.pins.tick();
        for number in 0..looks {
            let id = self.folios.at((from + number) % nr);
            let slot = self.folios.slot(id);
            let word = slot.word();
            if !word.is_resident() || word.is_dead() || word.pins() == 0 {
                continue;
            }
            let (centis, site) = self.pins.of(id);
            pins.note(PinHolder {
                order: slot.order(),
                pins: word.pins() as u32,
                age: Duration::from_millis(u64::from(centis) * 10),
                site,
            });
        }
        pins.looked_at = looks;
        pins
    }

    pub(super) fn facts(&self, report: &FailureReport) -> Facts {
        Facts {
            has_compacted: report.tried.compactions > 0,
            anon: report.memory.anon,
            locked: report.memory.locked,
            pinned: report.pins.folios,
            oldest_pin: report.pins.oldest_age(),
            file: report.memory.file,
            group: self.limit_of(report.group),
            ..self.facts_of(report.cause, report.order, report.gfp)
        }
    }

    /// A group with the lower of its limits, in bytes.
    fn limit_of(&self, group: GroupId) -> (GroupId, usize) {
        let limits = self.groups.slot(group).limits();
        (group, limits.high_bytes().min(limits.max_bytes()))
    }

    /// What is known without a look at folios.
    pub(super) fn facts_of(&self, cause: AllocError, order: Order, gfp: Gfp) -> Facts {
        let lower = |zone: &&Zone| zone.zone_type() != ZoneType::Movable;
        let marks = { self.nodes.zones().filter(lower) }.map(|zone| zone.marks().get(Mark::Min));
        let kib = PAGE_SIZE as u64 / 1024;
        Facts {
            cause,
            order,
            may_reclaim: gfp.contains(Gfp::DIRECT_RECLAIM),
            may_io: gfp.contains(Gfp::IO),
            has_daemons: self
                .nodes
                .iter()
                .all(|node| node.kswapd.state().is_in_service()),
            has_compacted: false,
            swap_total: self.swap.total_pages(),
            swap_free: self.swap.free_pages(),
            anon: 0,
            file: 0,
            locked: 0,
            pinned: 0,
            oldest_pin: Duration::ZERO,
            proactiveness: { self.nodes.zones() }
                .map(Zone::proactiveness)
                .max()
                .unwrap_or(0),
            min_free_kbytes: marks.sum::<usize>() as u64 * kib,
            min_free_most: self.nodes.lowmem_pages() * kib / 2,
            budget: self.budget_in_force(),
            max_folios: self.folios.most(),
            group: (GroupId::ROOT, usize::MAX),
        }
    }
}

impl PagePool {
    /// The last four reports of requests that failed or came late, the newest last. Requests with
    /// [`Gfp::NOWARN`] are not reported.
    ///
    /// Each also goes to `tracing`, with the target `pagepool::report`: ten in five seconds at most.
    ///
    /// ```
    /// use pagepool::{AllocError, Gfp, NodeMask, NodeId, Order, PagePool};
    ///
    /// let pool = PagePool::builder().memory(64 << 20).build()?;
    /// let elsewhere = NodeMask::only(NodeId::new(3).unwrap());
    /// let request = pool.request(Order::ZERO, Gfp::KERNEL).nodes(elsewhere);
    /// assert_eq!(request.alloc().unwrap_err(), AllocError::NodeMask);
    /// let report = pool.failures().pop().unwrap();
    /// assert_eq!(report.cause, AllocError::NodeMask);
    /// assert!(report.to_string().contains("widen the node mask"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn failures(&self) -> Vec<FailureReport> {
        let ring = &self.inner.failures.ring;
        let reports = ring.iter().filter_map(|place| place.lock().clone());
        let mut made: Vec<_> = reports.filter(|report| report.number > 0).collect();
        made.sort_by_key(|report| report.number);
        made
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ten_are_sent_in_a_window() {
        let mut sent = Sent::default();
        let now = clock::now();
        let nr_sent = (0..30).filter(|_| sent.may_send(now)).count();
        assert_eq!(nr_sent, 10);
        let later = now.checked_add(WINDOW + Duration::from_millis(1)).unwrap();
        assert!(sent.may_send(later));
    }

    #[test]
    fn a_failure_inside_a_report_is_not_reported() {
        let first = Reporting::begin();
        assert!(first.is_some() && Reporting::begin().is_none());
        drop(first);
        assert!(Reporting::begin().is_some());
    }
}
