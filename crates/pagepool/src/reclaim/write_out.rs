//! Writing folios out: gathered into buffers, two of which are in flight at once.
//!
//! *Kernel counterpart:* `pageout`, `swap_writepage`, `end_swap_bio_write` (v5.0).
//!
//! ```text
//!  push ──► STABLE, snapshot ──► open buffer ──(full, or not contiguous)──► in flight
//!                                                                             │
//!    back to its list  ◄── held or written to meanwhile, or failed ───────────┤
//!    out of memory     ◄── still STABLE ──────────────────────────────────────┘
//! ```
//!
//! Nobody waits for the device in order to write to a folio: a writer takes STABLE away, and the copy
//! that was made is out of date. A folio whose write failed, or was given up on, stays dirty.

use arrayvec::ArrayVec;

use super::control::ScanControl;
use super::domain::Domain;
use super::shrink::{Batch, Reclaimer};
use super::state::Obstacle;
use super::trace;
use crate::backing::{Completed, Direction, Entry, IO_PAGES, InFlight, IoBuf, Store, StoreError};
use crate::folio::copy_racing;
use crate::node::Node;
use crate::node::lru::Isolated;
use crate::node::lru_list::FolioKind;
use crate::sync::clock;
use crate::types::{GroupId, PAGE_SIZE};
use crate::zone::vmstat::{NodeItem, VmEvent};

/// Buffers in flight at once: one is written while the next is filled.
const DEPTH: usize = 2;

/// How long the writer waits for a store that a reclaim without a deadline writes to.
const STORE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// A folio that is in a buffer.
#[derive(Clone, Copy, Debug)]
struct Passenger {
    one: Isolated,
    /// Where it goes.
    entry: Entry,
    /// Its first page in the buffer.
    first: usize,
}

type Passengers = ArrayVec<Passenger, IO_PAGES>;

/// How the write of a folio in pieces ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pieces {
    /// All of it was written.
    AllWritten,
    /// It was written to meanwhile, so that the rest was not.
    OutOfDate,
}

/// A buffer that is being filled.
struct Open {
    store: Store,
    buf: IoBuf,
    /// The store's page that the buffer's first goes to.
    page: u32,
    nr: usize,
    passengers: Passengers,
}

/// A buffer that is being written.
struct Flight {
    transfer: InFlight,
    passengers: Passengers,
}

/// Pieces of one folio that are being written, the oldest first, with their pages.
type Flying = ArrayVec<(InFlight, usize), DEPTH>;

/// Writes the folios of one pass over a node.
pub(super) struct Writer<'a> {
    reclaimer: Reclaimer<'a>,
    node: &'a Node,
    group: GroupId,
    open: Option<Open>,
    flights: ArrayVec<Flight, DEPTH>,
    pushed: usize,
    /// A store did not answer: nothing more is written in this pass.
    has_stalled: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(reclaimer: Reclaimer<'a>, Domain { node, group }: Domain<'a>) -> Writer<'a> {
        Writer {
            reclaimer,
            node,
            group,
            open: None,
            flights: ArrayVec::new(),
            pushed: 0,
            has_stalled: false,
        }
    }

    /// Pages taken on so far.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// Takes a folio on. Returns it if it cannot be written now.
    pub(super) fn push(&mut self, one: Isolated, sc: &mut ScanControl) -> Result<(), Isolated> {
        if self.has_stalled {
            return Err(one);
        }
        let entry = self.place_for(&one).ok_or(one)?;
        let slot = self.reclaimer.custodian.folios.slot(one.folio);
        if !slot.begin_copy() {
            self.give_up_place(&one, entry);
            return Err(one);
        }
        // From here on, who writes to the folio takes STABLE away, and marks it dirty again.
        let custodian = self.reclaimer.custodian;
        custodian.count_clean(self.node, one.folio, one.order);
        let pages = one.order.pages();
        let is_taken_on = if self.fits_a_buffer(entry, pages) {
            self.board(one, entry, sc)
        } else {
            self.write_alone(one, entry, sc)
        };
        match is_taken_on {
            Ok(()) => {
                self.pushed += pages;
                Ok(())
            }
            Err(one) => {
                self.leave_dirty(&one, entry);
                Err(one)
            }
        }
    }

    /// Finds a place for a folio's copy. What it had is out of date.
    fn place_for(&self, one: &Isolated) -> Option<Entry> {
        let copy = self.node.map().copy(one.pfn);
        match one.kind {
            FolioKind::File => Entry::from_raw(copy),
            FolioKind::Anon => {
                self.reclaimer.custodian.give_up_copy(one);
                let pages = one.order.pages();
                self.reclaimer.swap.alloc(pages as u32, one.folio.get())
            }
        }
    }

    fn give_up_place(&self, one: &Isolated, entry: Entry) {
        if one.kind == FolioKind::Anon {
            self.reclaimer.swap.free(entry);
        }
    }

    /// The copy came to nothing.
    fn leave_dirty(&self, one: &Isolated, entry: Entry) {
        let custodian = self.reclaimer.custodian;
        custodian.count_dirty_again(self.node, one.folio, one.order);
        custodian.folios.slot(one.folio).end_copy();
        self.give_up_place(one, entry);
    }

    fn fits_a_buffer(&self, entry: Entry, pages: usize) -> bool {
        pages <= IO_PAGES && self.run(entry, pages).0 == pages
    }

    /// How many pages from `entry` on follow each other, of `pages`, and where the rest begins.
    fn run(&self, entry: Entry, pages: usize) -> (usize, Option<Entry>) {
        self.reclaimer.run(entry, pages)
    }

    /// Puts a folio into the open buffer, or into a new one.
    fn board(&mut self, one: Isolated, entry: Entry, sc: &mut ScanControl) -> Result<(), Isolated> {
        let pages = one.order.pages();
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.has_room_for(entry, pages))
        {
            self.depart(sc);
        }
        if self.open.is_none() {
            self.open = Some(self.new_buffer(entry, sc).ok_or(one)?);
        }
        let open = self.open.as_mut().expect("it was opened above");
        let first = open.nr;
        let arena = self.node.arena();
        copy_racing(arena, one.pfn, 0, open.buf.pages_mut(first, pages));
        let slot = self.reclaimer.custodian.folios.slot(one.folio);
        if !slot.is_stable() {
            if open.passengers.is_empty() {
                self.open = None;
            }
            return Err(one);
        }
        open.nr += pages;
        open.passengers.push(Passenger { one, entry, first });
        if open.nr == IO_PAGES {
            self.depart(sc);
        }
        Ok(())
    }

    fn new_buffer(&mut self, entry: Entry, sc: &mut ScanControl) -> Option<Open> {
        let store = self.reclaimer.stores.get(entry.store())?;
        let buf = self.take_buf(&store, sc).ok()?;
        Some(Open {
            store,
            buf,
            page: entry.page(),
            nr: 0,
            passengers: Passengers::new(),
        })
    }

    fn take_buf(&mut self, store: &Store, sc: &mut ScanControl) -> Result<IoBuf, StoreError> {
        loop {
            if let Some(buf) = store.try_take_buf(Direction::Write) {
                return Ok(buf);
            }
            // One of ours comes back first.
            if !self.land_oldest(sc) {
                break;
            }
        }
        let taken = store.take_buf(Direction::Write, deadline(sc));
        taken.inspect_err(|&error| self.give_up_on_store(error))
    }

    /// The store did not answer in the time that there was. If that was enough, the next request is told of it.
    fn give_up_on_store(&mut self, error: StoreError) {
        self.has_stalled = true;
        if error == StoreError::Stalled {
            let state = self.reclaimer.state;
            state.note_obstacle(Some(Obstacle::Stalled));
        }
    }

    /// Sends the open buffer off.
    fn depart(&mut self, sc: &mut ScanControl) {
        let Some(open) = self.open.take() else {
            return;
        };
        if self.flights.is_full() {
            self.land_oldest(sc);
        }
        let nr = open.nr as u64;
        let events = self.reclaimer.custodian.nodes.events();
        if open.passengers[0].one.kind == FolioKind::Anon {
            events.add(VmEvent::Pswpout, nr);
        }
        self.node.count(NodeItem::Writeback, nr as i64);
        self.node.count(NodeItem::VmscanWrite, nr as i64);
        self.charge(open.passengers[0].one.kind, open.nr);
        open.passengers
            .iter()
            .for_each(|passenger| trace::writepage(&passenger.one));
        let transfer = open
            .store
            .submit_write(open.buf, u64::from(open.page), open.nr);
        self.flights.push(Flight {
            transfer,
            passengers: open.passengers,
        });
    }

    /// What is written costs its kind something.
    fn charge(&self, kind: FolioKind, pages: usize) {
        let Writer { node, group, .. } = *self;
        let lru_pages = Domain { node, group }.all_sizes().total();
        let memory = self.reclaimer.memory(node);
        memory.history(group, |history| history.charge(kind, pages, lru_pages));
    }

    /// Waits for the oldest buffer in flight; returns whether there was one.
    fn land_oldest(&mut self, sc: &mut ScanControl) -> bool {
        if self.flights.is_empty() {
            return false;
        }
        let Flight {
            transfer,
            passengers,
        } = self.flights.remove(0);
        let landed = transfer.wait(deadline(sc));
        let nr: usize = passengers.iter().map(|p| p.one.order.pages()).sum();
        self.node.count(NodeItem::Writeback, -(nr as i64));
        let mut back = Batch::new();
        for passenger in passengers {
            let written = match &landed {
                Ok(Completed { outcome, .. }) => {
                    outcome.of(passenger.first, passenger.one.order.pages())
                }
                Err(error) => Err(*error),
            };
            self.arrive(passenger, written, sc, &mut back);
        }
        if let Err(error) = landed {
            self.give_up_on_store(error);
        }
        self.reclaimer.put_back(self.node, &back);
        true
    }

    /// Sees to a folio whose write has ended.
    fn arrive(
        &self,
        passenger: Passenger,
        written: Result<(), StoreError>,
        sc: &mut ScanControl,
        back: &mut Batch,
    ) {
        let Passenger { mut one, entry, .. } = passenger;
        if let Err(error) = written {
            self.note_failure(&one, entry, error);
            self.leave_dirty(&one, entry);
            one.list = one.list.with_active(true);
            back.push(one);
            return;
        }
        let pages = one.order.pages();
        self.node.count(NodeItem::Written, pages as i64);
        match self.reclaimer.evict(self.node, one, entry.raw()) {
            Ok(pages) => self.reclaimer.note_stolen(sc, pages),
            Err(one) => {
                self.keep_with_copy(&one, entry);
                back.push(one);
            }
        }
    }

    /// The folio stays in memory. If nobody has written to it since, the copy is good, and it is clean.
    fn keep_with_copy(&self, one: &Isolated, entry: Entry) {
        let slot = self.reclaimer.custodian.folios.slot(one.folio);
        if slot.end_copy() {
            self.node
                .set_copy(one.kind, one.pfn, one.order, entry.raw());
        } else {
            let custodian = self.reclaimer.custodian;
            custodian.count_dirty_again(self.node, one.folio, one.order);
            self.give_up_place(one, entry);
        }
    }

    /// Who holds a folio of the store learns of it.
    fn note_failure(&self, one: &Isolated, entry: Entry, error: StoreError) {
        if matches!(error, StoreError::Held | StoreError::Late) {
            return;
        }
        let Reclaimer {
            custodian, state, ..
        } = self.reclaimer;
        custodian.nodes.events().count(VmEvent::WriteErrors);
        if one.kind == FolioKind::File {
            state.write_errors(entry.store()).note(error);
        }
    }

    /// Writes a folio that is larger than a buffer, or whose place is in pieces. If it was written to
    /// meanwhile, its word says so.
    fn write_alone(
        &mut self,
        one: Isolated,
        entry: Entry,
        sc: &mut ScanControl,
    ) -> Result<(), Isolated> {
        self.depart(sc);
        let written = match self.write_pieces(&one, entry, sc) {
            Ok(Pieces::AllWritten) => Ok(()),
            Ok(Pieces::OutOfDate) | Err(StoreError::Closed) => return Err(one),
            Err(error) => Err(error),
        };
        let mut back = Batch::new();
        let passenger = Passenger {
            one,
            entry,
            first: 0,
        };
        self.arrive(passenger, written, sc, &mut back);
        self.reclaimer.put_back(self.node, &back);
        Ok(())
    }

    /// Writes a folio piece by piece. Returns whether all of it was copied before somebody wrote to it:
    /// then the store has what it held.
    fn write_pieces(
        &mut self,
        one: &Isolated,
        entry: Entry,
        sc: &mut ScanControl,
    ) -> Result<Pieces, StoreError> {
        let store = self.reclaimer.stores.get(entry.store());
        let store = store.ok_or(StoreError::Closed)?;
        let slot = self.reclaimer.custodian.folios.slot(one.folio);
        let total = one.order.pages();
        let events = self.reclaimer.custodian.nodes.events();
        let mut flying = Flying::new();
        let mut next = Some(entry);
        let mut done = 0;
        while let Some(piece) = next.filter(|_| done < total) {
            let (nr, after) = self.run(piece, (total - done).min(IO_PAGES));
            let mut buf = self.take_buf_for_piece(&store, &mut flying, sc)?;
            let bytes = buf.pages_mut(0, nr);
            copy_racing(self.node.arena(), one.pfn, done * PAGE_SIZE, bytes);
            if !slot.is_stable() {
                // Out of date already; to write on would be in vain. What flies is waited for below.
                break;
            }
            if one.kind == FolioKind::Anon {
                events.add(VmEvent::Pswpout, nr as u64);
            }
            self.node.count(NodeItem::VmscanWrite, nr as i64);
            self.charge(one.kind, nr);
            flying.push((store.submit_write(buf, u64::from(piece.page()), nr), nr));
            done += nr;
            next = after;
        }
        while land_piece(&mut flying, sc)? {}
        Ok(if done == total {
            Pieces::AllWritten
        } else {
            Pieces::OutOfDate
        })
    }

    /// Takes a buffer for the next piece. Two who each wait for a third while their first two have
    /// ended would wait for each other: so the pieces under way come first.
    fn take_buf_for_piece(
        &mut self,
        store: &Store,
        flying: &mut Flying,
        sc: &mut ScanControl,
    ) -> Result<IoBuf, StoreError> {
        if flying.is_full() {
            land_piece(flying, sc)?;
        }
        loop {
            if let Some(buf) = store.try_take_buf(Direction::Write) {
                return Ok(buf);
            }
            if !land_piece(flying, sc)? {
                return self.take_buf(store, sc);
            }
        }
    }

    /// Sends off and waits for all that is left.
    pub(super) fn finish(mut self, sc: &mut ScanControl) {
        self.depart(sc);
        while self.land_oldest(sc) {}
    }
}

impl Reclaimer<'_> {
    /// Writes an isolated folio out to its store, keeps it in memory, and puts it back. None if a writer
    /// was there, or came before all of it was copied: then it is still isolated.
    pub(crate) fn write_back(
        &self,
        one: Isolated,
        deadline: Option<clock::Instant>,
    ) -> Option<Result<(), StoreError>> {
        let node = self.custodian.nodes.node(one.pfn.node());
        let slot = self.custodian.folios.slot(one.folio);
        let entry = Entry::from_raw(node.map().copy(one.pfn))?;
        if !slot.begin_copy_in_place() {
            return None;
        }
        self.custodian.count_clean(node, one.folio, one.order);
        let mut sc = ScanControl::for_flush(deadline);
        let group = self.custodian.folios.group(one.folio);
        let mut writer = Writer::new(*self, Domain { node, group });
        let written = writer.write_pieces(&one, entry, &mut sc);
        let is_current = slot.end_copy();
        // Not written, or written to since: dirty all the same.
        if !is_current || written != Ok(Pieces::AllWritten) {
            self.custodian.count_dirty_again(node, one.folio, one.order);
        }
        if written == Ok(Pieces::OutOfDate) {
            return None;
        }
        self.put_back_one(one);
        Some(written.map(|_| ()))
    }

    /// Puts one isolated folio back.
    pub(crate) fn put_back_one(&self, one: Isolated) {
        let node = self.custodian.nodes.node(one.pfn.node());
        self.put_back(node, &[one]);
    }
}

impl Open {
    fn has_room_for(&self, entry: Entry, pages: usize) -> bool {
        entry.store() == self.store.id()
            && entry.page() as usize == self.page as usize + self.nr
            && self.nr + pages <= IO_PAGES
    }
}

impl Drop for Writer<'_> {
    /// Nothing is lost if a pass unwinds: the folios are put back, dirty.
    fn drop(&mut self) {
        let mut back = Batch::new();
        let open = self.open.take().map(|open| open.passengers);
        let flying = self.flights.drain(..).map(|flight| flight.passengers);
        let all: ArrayVec<Passengers, { DEPTH + 1 }> = flying.chain(open).collect();
        for Passenger { one, entry, .. } in all.into_iter().flatten() {
            self.leave_dirty(&one, entry);
            back.push(one);
            if back.is_full() {
                self.reclaimer.put_back(self.node, &back);
                back.clear();
            }
        }
        self.reclaimer.put_back(self.node, &back);
    }
}

/// Waits for the oldest piece; returns whether there was one.
fn land_piece(flying: &mut Flying, sc: &ScanControl) -> Result<bool, StoreError> {
    if flying.is_empty() {
        return Ok(false);
    }
    let (transfer, nr) = flying.remove(0);
    transfer.wait(deadline(sc))?.outcome.of(0, nr)?;
    Ok(true)
}

/// When to give up on a store.
fn deadline(sc: &ScanControl) -> Option<clock::Instant> {
    sc.deadline
        .or_else(|| clock::deadline_after(STORE_PATIENCE))
}
