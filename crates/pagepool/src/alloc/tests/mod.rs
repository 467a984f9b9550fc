//! Requests on small nodes, with reclaimers and compactors that do as they are told.

mod bulk;
mod matrix;
mod refusals;
mod rounds;
mod stalls;
mod waiting;

use super::*;
use crate::compact::CompactResult;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::types::Pfn;
use crate::zone::Zone;

const MS: Duration = Duration::from_millis(1);

/// Long enough for anything that does not hang, on a busy machine.
const AGES: Duration = Duration::from_secs(20);

/// How late a thread may be scheduled on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

fn order(n: usize) -> Order {
    Order::at(n)
}

/// A reclaimer that does as it is told and counts.
#[derive(Default)]
struct FakeReclaim<'a> {
    calls: AtomicUsize,
    /// What it says that it freed.
    claims: usize,
    /// What it says that it could free.
    reclaimable: usize,
    /// Pages that it frees for good, all of them at the given call.
    frees: Mutex<Vec<Pfn>>,
    at_call: usize,
    nodes: Option<&'a Nodes>,
}

impl Reclaim for FakeReclaim<'_> {
    fn reclaim(&self, _request: &Request, _deadline: Option<Instant>) -> usize {
        assert!(scope::is_memalloc(), "a reclaimer may use the reserves");
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let (Some(nodes), true) = (self.nodes, call == self.at_call) {
            let pages = std::mem::take(&mut *self.frees.lock());
            pages.iter().for_each(|pfn| nodes.give(*pfn, 0));
            return pages.len();
        }
        self.claims
    }

    fn reclaimable_pages(&self, _zone: &Zone) -> usize {
        self.reclaimable
    }
}

impl FakeReclaim<'_> {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// A compactor that always ends alike and remembers how hard it was asked to try.
struct FakeCompact {
    result: CompactResult,
    asked: Mutex<Vec<CompactPriority>>,
}

impl FakeCompact {
    fn ending_in(result: CompactResult) -> FakeCompact {
        FakeCompact {
            result,
            asked: Mutex::new(vec![]),
        }
    }
}

impl Compact for FakeCompact {
    fn compact(
        &self,
        _request: &Request,
        _flags: AllocFlags,
        priority: CompactPriority,
        _deadline: Option<Instant>,
    ) -> DirectRun {
        assert!(scope::is_memalloc(), "a compactor may use the reserves");
        self.asked.lock().push(priority);
        DirectRun {
            result: self.result,
            captured: None,
        }
    }

    fn note_success(&self, _request: &Request, _zone: &Zone) {}

    fn would_help(&self, _request: &Request, _flags: AllocFlags) -> bool {
        false
    }
}

/// The groups of a pool that has only the root.
fn no_groups() -> &'static Groups {
    // Within reach to the end, so that nobody takes them for lost.
    static ALL: Mutex<Vec<&'static Groups>> = Mutex::new(Vec::new());
    let groups: &Groups = Box::leak(Box::new(Groups::new(0)));
    ALL.lock().push(groups);
    groups
}

fn bare(nodes: &Nodes, patience: Duration) -> Allocator<'_> {
    Allocator {
        nodes,
        groups: no_groups(),
        reclaimer: None,
        compactor: None,
        overseer: None,
        patience,
        pool: None,
    }
}

/// Takes single pages until they are refused; returns them and the cause.
fn exhaust(allocator: &Allocator<'_>, gfp: Gfp) -> (Vec<Pfn>, AllocError) {
    let mut pages = vec![];
    loop {
        match allocator.alloc(Order::ZERO, gfp) {
            Ok(granted) => pages.push(granted.taken.pfn()),
            Err(error) => return (pages, error),
        }
    }
}

fn free(nodes: &Nodes) -> usize {
    nodes.zones().map(Zone::free_pages).sum()
}

fn refused(allocator: &Allocator<'_>, n: usize, gfp: Gfp) -> AllocError {
    allocator.alloc(order(n), gfp).unwrap_err()
}

const ASYNC: CompactPriority = CompactPriority::Async;
const LIGHT: CompactPriority = CompactPriority::SyncLight;
