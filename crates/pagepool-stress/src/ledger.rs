//! What requests took that were due by a schedule: from when they were due, and from when they were begun.
//!
//! Each thread has a ledger and writes to it alone; whoever keeps a log takes the current interval out of it. All
//! memory is touched when a ledger is made.
#![forbid(unsafe_code)]

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hdrhistogram::Histogram;
use pagepool::{NR_ORDERS, Order};

use crate::tally::latencies;

/// Latencies of the same requests, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// From when a request was due until it was served.
    pub(crate) latency: Histogram<u64>,
    /// From when it was begun.
    pub(crate) service: Histogram<u64>,
}

impl Times {
    pub(crate) fn new() -> Times {
        Times {
            latency: latencies(),
            service: latencies(),
        }
    }

    pub(crate) fn add(&mut self, other: &Times) {
        let same = "both have the same bounds";
        self.latency.add(&other.latency).expect(same);
        self.service.add(&other.service).expect(same);
    }

    /// Makes it empty. (What a histogram calls clear keeps its maximum.)
    pub(crate) fn reset(&mut self) {
        self.latency.reset();
        self.service.reset();
    }
}

/// When a request was due, was begun, and was served or refused; nanoseconds from the schedule's beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) due: u64,
    pub(crate) begun: u64,
    pub(crate) done: u64,
}

/// What one thread, or several, did.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) times: Times,
    /// Service times by order.
    pub(crate) by_order: Vec<Histogram<u64>>,
    /// From when a request was due until it was begun, at most.
    pub(crate) behind_ns: u64,
    pub(crate) done: u64,
    /// Requests that were due and not begun when the time was up.
    pub(crate) unbegun: u64,
    /// How long it lasted.
    pub(crate) elapsed_ns: u64,
}

impl Account {
    pub(crate) fn new() -> Account {
        Account {
            times: Times::new(),
            by_order: (0..NR_ORDERS).map(|_| latencies()).collect(),
            behind_ns: 0,
            done: 0,
            unbegun: 0,
            elapsed_ns: 0,
        }
    }

    /// Adds what another thread did at the same time.
    pub(crate) fn add(&mut self, other: &Account) {
        self.times.add(&other.times);
        for (all, other) in self.by_order.iter_mut().zip(&other.by_order) {
            all.add(other).expect("both have the same bounds");
        }
        self.behind_ns = self.behind_ns.max(other.behind_ns);
        self.done += other.done;
        self.unbegun += other.unbegun;
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
    }
}

#[derive(Debug)]
struct Pages {
    account: Account,
    interval: Times,
}

/// One thread's ledger.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Mutex<Pages>>);

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger(Arc::new(Mutex::new(Pages {
            account: Account::new(),
            interval: Times::new(),
        })))
    }

    fn open(&self) -> MutexGuard<'_, Pages> {
        // A player that panics is reported; what it has written is looked at all the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down.
    pub(crate) fn served(&self, order: Order, served: Served) {
        let Served { due, begun, done } = served;
        let pages = &mut *self.open();
        let (latency, service) = (done.saturating_sub(due), done.saturating_sub(begun));
        for times in [&mut pages.account.times, &mut pages.interval] {
            times.latency.saturating_record(latency);
            times.service.saturating_record(service);
        }
        let account = &mut pages.account;
        account.by_order[usize::from(order.get())].saturating_record(service);
        account.behind_ns = account.behind_ns.max(begun.saturating_sub(due));
        account.done += 1;
    }

    /// Writes a request down that waits still, when the time is up: it has waited for so long, and nobody knows how
    /// much longer.
    pub(crate) fn unbegun(&self, waited_ns: u64) {
        let pages = &mut *self.open();
        for times in [&mut pages.account.times, &mut pages.interval] {
            times.latency.saturating_record(waited_ns);
        }
        let account = &mut pages.account;
        account.behind_ns = account.behind_ns.max(waited_ns);
        account.unbegun += 1;
    }

    /// The time is up.
    pub(crate) fn close(&self, elapsed_ns: u64) {
        self.open().account.elapsed_ns = elapsed_ns;
    }

    /// Exchanges the interval so far for `fresh`, which is empty.
    pub(crate) fn take_interval(&self, fresh: &mut Times) {
        mem::swap(&mut self.open().interval, fresh);
    }

    /// Adds everything so far to the account of all threads.
    pub(crate) fn add_to(&self, all: &mut Account) {
        all.add(&self.open().account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_when_it_was_due() {
        let ledger = Ledger::new();
        let served = Served {
            due: 1_000,
            begun: 5_000,
            done: 5_500,
        };
        ledger.served(Order::ZERO, served);
        ledger.unbegun(9_000);
        ledger.close(10_000);
        let mut account = Account::new();
        ledger.add_to(&mut account);
        let Account { times, .. } = &account;
        assert_eq!((times.latency.len(), times.service.len()), (2, 1));
        assert!(times.latency.equivalent(times.latency.min(), 4_500));
        assert!(times.latency.equivalent(times.latency.max(), 9_000));
        assert!(times.service.equivalent(times.service.max(), 500));
        assert_eq!((account.done, account.unbegun), (1, 1));
        assert_eq!((account.behind_ns, account.elapsed_ns), (9_000, 10_000));
        assert_eq!(account.by_order[0].len(), 1);
    }

    #[test]
    fn an_interval_is_taken_once_and_the_account_keeps_all() {
        let ledger = Ledger::new();
        let mut fresh = Times::new();
        ledger.unbegun(1);
        ledger.take_interval(&mut fresh);
        assert_eq!(fresh.latency.len(), 1);
        fresh.reset();
        ledger.take_interval(&mut fresh);
        assert_eq!((fresh.latency.len(), fresh.latency.max()), (0, 0));
        let mut all = Account::new();
        ledger.add_to(&mut all);
        ledger.add_to(&mut all);
        assert_eq!(all.times.latency.len(), 2);
    }
}
