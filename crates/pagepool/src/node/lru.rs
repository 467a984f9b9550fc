//! The lists of a node's folios, from recently used to next to go: five of each group.
//!
//! *Kernel counterpart:* `struct lruvec`, `mm/swap.c` (`pagevec_lru_move_fn`, `lru_add_drain`,
//! `activate_page`), `isolate_lru_pages`, `putback_inactive_pages` (v5.0).
//!
//! ```text
//!  fault ──► batch of this CPU ──(15 folios)──► head ┌─────────┐ tail ──► isolated ──► reclaimed
//!                                               ────►│  list   │────►        │
//!                                    put back        └─────────┘             │
//!                                      ▲─────────────────────────────────────┘
//! ```
//!
//! **Invariants**
//! - U1: a frame's custody says `Listed` exactly while it is on that list; the lists of a node hold heads
//!   of blocks of that node only.
//! - U2: a listed or isolated frame holds a resident folio, and that folio's word says so.
//! - U3: `sizes` are the pages on the lists, by zone, whenever the lock is free; so are those of each
//!   group, of its lists.
//! - U4: a folio's owner lets go of its frame under the lock. So whoever puts an isolated folio back sees
//!   either that it is an orphan, and frees it, or the owner will find the frame on a list (see
//!   `folio/custody.rs`).
//!
//! **Locking:** one lock for the lists of all groups and the custody of all frames of the node. A CPU's batch has
//! a lock of its own, which is let go before the lists are locked.
//!
//! Not here: which list a folio belongs on, and which leaves memory (`reclaim`).

mod moving;
mod relist;
mod vec;

use arrayvec::ArrayVec;

use super::Node;
use super::lru_list::{FolioKind, LruList};
use crate::error::{Violation, ensure};
use crate::folio::{Custody, CustodyFlag, FolioId, FolioTable, FolioWord, Heir, Mark, Place};
use crate::memmap::{Memmap, PfnList};
use crate::sync::atomic::Ordering;
use crate::sync::{CoreGuard, CoreMutex, PerCpu, Rank};
use crate::types::{GroupId, NR_ZONES, Order, Pfn, ZoneType};
use crate::zone::vmstat::{NodeItem, VmEvent, VmEvents};
use vec::Sizes;

pub(crate) use vec::LruVec;

/// Number of lists.
const NR_LRU: usize = LruList::ALL.len();

/// Folios that a CPU gathers before it takes the lock (kernel: `PAGEVEC_SIZE`).
const BATCH: usize = 15;

/// Folios that are isolated at once.
pub(crate) const ISOLATE_MAX: usize = 32;

/// Folios above the zone of interest that one isolation passes over (spec 9.23).
const SKIP_MAX: usize = 32 * 1024;

/// A folio that is to be put on a list. It may have gone by the time it is: see [`Locked::add`].
#[derive(Clone, Copy, Debug)]
struct Addition {
    pfn: Pfn,
    folio: FolioId,
    list: LruList,
}

/// A folio that was taken off its list. Whoever has it sees that it gets back, or that its frames do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "an isolated folio is lost unless it is put back"]
pub(crate) struct Isolated {
    /// The folio.
    pub(crate) folio: FolioId,
    /// Its first frame.
    pub(crate) pfn: Pfn,
    /// Its size.
    pub(crate) order: Order,
    /// What its contents come from.
    pub(crate) kind: FolioKind,
    /// The list it was on, or is to be put on.
    pub(crate) list: LruList,
}

/// What an isolation brought, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Isolation {
    /// Looked at.
    pub(crate) scanned: usize,
    /// Passed over since they lie in higher zones.
    pub(crate) skipped: usize,
    /// Taken.
    pub(crate) taken: usize,
}

/// The lists of one group.
type Lists = [PfnList; NR_LRU];

/// The lists of one node.
#[derive(Debug)]
pub(crate) struct Lru {
    /// Of each group, by its place in the table.
    lists: CoreMutex<Box<[Lists]>>,
    vecs: Box<[LruVec]>,
    /// Of all groups together.
    sizes: Sizes,
    batches: PerCpu<CoreMutex<ArrayVec<Addition, BATCH>>>,
}

impl Lru {
    pub(super) fn new(nr_cpus: usize, max_groups: usize) -> Lru {
        let lists = (0..=max_groups).map(|_| Lists::default()).collect();
        Lru {
            lists: CoreMutex::ranked(Rank::Lru, lists),
            vecs: (0..=max_groups).map(|_| LruVec::default()).collect(),
            sizes: Sizes::default(),
            batches: PerCpu::new(nr_cpus, |_| CoreMutex::new(ArrayVec::new())),
        }
    }

    /// Bytes beside the value itself.
    pub(super) fn bytes(nr_cpus: usize, max_groups: usize) -> usize {
        let batch = size_of::<CoreMutex<ArrayVec<Addition, BATCH>>>().next_multiple_of(128);
        let group = size_of::<Lists>() + size_of::<LruVec>();
        nr_cpus * batch + (max_groups + 1) * group
    }

    /// How many groups there are lists for, beside the root.
    pub(super) fn max_groups(&self) -> usize {
        self.vecs.len() - 1
    }

    /// What is known of a group's lists.
    #[inline]
    pub(crate) fn of(&self, group: GroupId) -> &LruVec {
        &self.vecs[group.get()]
    }

    /// Pages of all groups on a list in zones up to `up_to`.
    pub(crate) fn size(&self, list: LruList, up_to: ZoneType) -> usize {
        self.sizes.sum(list, up_to)
    }

    /// Pages of all groups on a list in one zone.
    pub(crate) fn size_in(&self, list: LruList, zone: ZoneType) -> usize {
        // Relaxed: a number by itself (U3).
        self.sizes.cell(list, zone).load(Ordering::Relaxed)
    }
}

/// The lists, locked, with what they are lists of.
struct Locked<'a> {
    lists: CoreGuard<'a, Box<[Lists]>>,
    node: &'a Node,
    folios: &'a FolioTable,
}

impl Locked<'_> {
    fn map(&self) -> &Memmap {
        self.node.map()
    }

    fn custody(&self, pfn: Pfn) -> Custody {
        // Relaxed: guarded by the lock.
        Custody::from_bits(self.map().lru_cell(pfn).load(Ordering::Relaxed))
    }

    fn set_custody(&self, pfn: Pfn, custody: Custody) {
        // Relaxed: as above.
        self.map()
            .lru_cell(pfn)
            .store(custody.bits(), Ordering::Relaxed);
    }

    fn order(&self, pfn: Pfn) -> Order {
        let block = self.map().state(pfn).block();
        block.expect("U2: a listed frame heads a block").0
    }

    /// The group of the folio in a frame.
    fn group(&self, pfn: Pfn) -> GroupId {
        let folio = self.map().owner(pfn).map(FolioId::from_raw);
        self.folios
            .group(folio.expect("U2: a listed frame holds a folio"))
    }

    /// Adds to the published sizes of a list.
    fn resize(&self, pfn: Pfn, group: GroupId, list: LruList, change: isize) {
        let zone = self.node.zone_of(pfn).expect("D1: a frame has a zone");
        let zone = zone.zone_type();
        self.node.lru.sizes.change(list, zone, change);
        self.node.lru.of(group).sizes.change(list, zone, change);
    }

    fn list(&mut self, group: GroupId, list: LruList) -> &mut PfnList {
        &mut self.lists[group.get()][list.idx()]
    }

    fn link(&mut self, pfn: Pfn, list: LruList) {
        let group = self.note_linked(pfn, list);
        let map = self.node.map();
        self.list(group, list).push_front(map, pfn);
    }

    fn link_at_tail(&mut self, pfn: Pfn, list: LruList) {
        let group = self.note_linked(pfn, list);
        let map = self.node.map();
        self.list(group, list).push_back(map, pfn);
    }

    /// Returns the group whose list it is.
    fn note_linked(&mut self, pfn: Pfn, list: LruList) -> GroupId {
        let custody = self.custody(pfn).listed(list.idx() as u8);
        self.set_custody(pfn, custody);
        let pages = self.order(pfn).pages() as isize;
        let group = self.group(pfn);
        self.resize(pfn, group, list, pages);
        group
    }

    fn unlink(&mut self, pfn: Pfn, list: LruList) {
        let map = self.node.map();
        let group = self.group(pfn);
        self.list(group, list).remove(map, pfn);
        let pages = self.order(pfn).pages() as isize;
        self.resize(pfn, group, list, -pages);
    }

    /// The list that a folio goes to, given where it should: locked ones are out of reclaim's sight, and
    /// one that was unlocked on its way there is not.
    fn list_for(&self, folio: FolioId, list: LruList) -> LruList {
        match list {
            _ if self.folios.slot(folio).is(Mark::Locked) => LruList::Unevictable,
            LruList::Unevictable => kind_of(self.folios, folio).inactive(),
            list => list,
        }
    }

    /// Puts a batched folio on its list, unless it has gone: then its frame is free, or somebody else's,
    /// who has an addition of his own.
    fn add(&mut self, addition: Addition) {
        let Addition { pfn, folio, list } = addition;
        // Acquire: this mark is set without the lock. Pairs with the Release in `expect_on_lru`.
        let custody = Custody::from_bits(self.map().lru_cell(pfn).load(Ordering::Acquire));
        let is_there = custody.place() == Place::Batched
            && self.map().owner(pfn) == Some(folio.get())
            && is_at(self.folios.slot(folio).word(), pfn);
        if is_there {
            let list = self.list_for(folio, list);
            self.link(pfn, list);
        }
    }

    /// Takes up to `nr` pages off the tail of a list of a group, from zones up to `up_to`.
    fn isolate(
        &mut self,
        group: GroupId,
        list: LruList,
        nr: usize,
        up_to: ZoneType,
        taken: &mut ArrayVec<Isolated, ISOLATE_MAX>,
        mut skip: impl FnMut(ZoneType, usize),
    ) -> Isolation {
        let node = self.node;
        let (map, folios) = (node.map(), self.folios);
        let mut found = Isolation::default();
        let mut passed_over = PfnList::new();
        while found.scanned < nr && found.skipped < SKIP_MAX && !taken.is_full() {
            let Some(pfn) = self.list(group, list).back(map) else {
                break;
            };
            let order = self.order(pfn);
            let zone = node.zone_of(pfn).expect("D1: a frame has a zone");
            if zone.zone_type() > up_to {
                self.list(group, list).remove(map, pfn);
                passed_over.push_front(map, pfn);
                found.skipped += order.pages();
                skip(zone.zone_type(), order.pages());
                continue;
            }
            found.scanned += order.pages();
            let folio = map.owner(pfn).map(FolioId::from_raw);
            let folio = folio.expect("U2: a listed frame holds a folio");
            // It may have been killed, by an owner who is on his way to the lock.
            debug_assert_eq!(folios.slot(folio).word().location(), pfn.get(), "U2");
            self.unlink(pfn, list);
            let isolated = self.custody(pfn).isolated();
            self.set_custody(pfn, isolated.expect("U1: it was listed"));
            found.taken += order.pages();
            taken.push(Isolated {
                folio,
                pfn,
                order,
                kind: kind_of(folios, folio),
                list,
            });
        }
        // At the head: at the tail they would be passed over again at once.
        while let Some(pfn) = passed_over.pop_back(map) {
            self.list(group, list).push_front(map, pfn);
        }
        found
    }
}

fn list_at(number: u8) -> LruList {
    LruList::ALL[usize::from(number)]
}

/// What a folio's contents come from.
pub(crate) fn kind_of(folios: &FolioTable, folio: FolioId) -> FolioKind {
    if folios.slot(folio).is(Mark::Backed) {
        FolioKind::File
    } else {
        FolioKind::Anon
    }
}

/// Whether the word is that of a folio in the frame `pfn` that has not ended.
fn is_at(word: FolioWord, pfn: Pfn) -> bool {
    word.is_resident() && word.location() == pfn.get() && !word.is_dead()
}

fn item_isolated(kind: FolioKind) -> NodeItem {
    match kind {
        FolioKind::Anon => NodeItem::IsolatedAnon,
        FolioKind::File => NodeItem::IsolatedFile,
    }
}

impl Node {
    fn lock_lists<'a>(&'a self, folios: &'a FolioTable) -> Locked<'a> {
        Locked {
            lists: self.lru.lists.lock(),
            node: self,
            folios,
        }
    }

    /// The lists of its folios.
    pub(crate) fn lru(&self) -> &Lru {
        &self.lru
    }

    /// Marks the frame of a folio that is about to become resident there, before its word says so: from
    /// then on, whoever drops it finds it in the hands of a batch.
    pub(crate) fn expect_on_lru(&self, pfn: Pfn, flags: impl Iterator<Item = CustodyFlag>) {
        let custody = Custody::default().batched();
        let custody = custody.expect("C2: the frame held no folio");
        let custody = flags.fold(custody, Custody::with);
        // Release: who empties a batch and finds an old entry for this frame and slot sees that the folio
        // is on its way back, and not where it was before. Pairs with the Acquire in `add`.
        self.map
            .lru_cell(pfn)
            .store(custody.bits(), Ordering::Release);
    }

    /// Takes the mark back: the folio has not become resident after all.
    pub(crate) fn clear_lru(&self, pfn: Pfn) {
        // Relaxed: the frame is still the caller's alone.
        self.map
            .lru_cell(pfn)
            .store(Custody::default().bits(), Ordering::Relaxed);
    }

    /// Puts a folio that has become resident on a list, soon: it is gathered with others of this CPU.
    pub(crate) fn add_to_lru(
        &self,
        folios: &FolioTable,
        folio: FolioId,
        pfn: Pfn,
        order: Order,
        list: LruList,
    ) {
        let addition = Addition { pfn, folio, list };
        let full = {
            let mut batch = self.lru.batches.local().lock();
            batch.push(addition);
            (batch.is_full() || order > Order::ZERO).then(|| std::mem::take(&mut *batch))
        };
        if let Some(batch) = full {
            self.add_batch(folios, batch);
        }
    }

    fn add_batch(&self, folios: &FolioTable, batch: ArrayVec<Addition, BATCH>) {
        for addition in &batch {
            tracing::event!(
                name: "mm_lru_insertion",
                target: "pagepool::vmscan",
                tracing::Level::TRACE,
                pfn = addition.pfn.get(),
                lru = addition.list.name(),
            );
        }
        let mut locked = self.lock_lists(folios);
        for addition in batch {
            locked.add(addition);
        }
    }

    /// Puts what this CPU has gathered on the lists (kernel: `lru_add_drain`).
    pub(crate) fn drain_lru(&self, folios: &FolioTable) {
        let batch = std::mem::take(&mut *self.lru.batches.local().lock());
        self.add_batch(folios, batch);
    }

    /// Puts what all CPUs have gathered on the lists (kernel: `lru_add_drain_all`).
    pub(crate) fn drain_lru_all(&self, folios: &FolioTable) {
        for batch in self.lru.batches.iter() {
            let batch = std::mem::take(&mut *batch.lock());
            self.add_batch(folios, batch);
        }
    }

    /// Takes folios of up to `nr` pages off the tail of a list of a group, from zones up to `up_to` (kernel:
    /// `isolate_lru_pages`).
    pub(crate) fn isolate_from_lru(
        &self,
        folios: &FolioTable,
        (group, list): (GroupId, LruList),
        nr: usize,
        up_to: ZoneType,
        events: &VmEvents,
        taken: &mut ArrayVec<Isolated, ISOLATE_MAX>,
    ) -> Isolation {
        let mut skipped = [0; NR_ZONES];
        let before = taken.len();
        let found = {
            let mut locked = self.lock_lists(folios);
            let skip = |zone: ZoneType, pages| skipped[zone.idx()] += pages;
            locked.isolate(group, list, nr, up_to, taken, skip)
        };
        for one in &taken[before..] {
            self.count_isolated(one, 1);
        }
        let pgskip = [
            VmEvent::PgskipDma,
            VmEvent::PgskipNormal,
            VmEvent::PgskipMovable,
        ];
        for (event, pages) in pgskip.into_iter().zip(skipped) {
            if pages > 0 {
                events.add(event, pages as u64);
            }
        }
        found
    }

    /// Puts isolated folios back, each at the head of the list that it names. Those that have ended
    /// meanwhile are handed to `ended`, with no lock held: they are its to free (U4).
    pub(crate) fn put_back_on_lru(
        &self,
        folios: &FolioTable,
        isolated: &[Isolated],
        mut ended: impl FnMut(Isolated),
    ) {
        let mut dead = ArrayVec::<Isolated, ISOLATE_MAX>::new();
        {
            let mut locked = self.lock_lists(folios);
            for one in isolated.iter().copied() {
                if locked.custody(one.pfn).is_orphan() {
                    locked.set_custody(one.pfn, Custody::default());
                    dead.push(one);
                    continue;
                }
                let list = locked.list_for(one.folio, one.list);
                locked.link(one.pfn, list);
            }
        }
        for one in isolated {
            self.count_isolated(one, -1);
        }
        dead.into_iter().for_each(&mut ended);
    }

    fn count_isolated(&self, one: &Isolated, sign: i64) {
        self.count(item_isolated(one.kind), sign * one.order.pages() as i64);
    }

    /// An isolated folio has left its frames: they are on no list, and hold nothing.
    pub(crate) fn forget_isolated(&self, isolated: &Isolated) {
        let pfn = isolated.pfn;
        self.map.set_owner(pfn, None);
        self.set_copy(isolated.kind, pfn, isolated.order, 0);
        // Relaxed: the folio is elsewhere by its word, so the frames are the caller's alone.
        self.map
            .lru_cell(pfn)
            .store(Custody::default().bits(), Ordering::Relaxed);
        self.count_isolated(isolated, -1);
    }

    /// Notes where the copy of a resident folio is kept, or that it has none; for whoever owns the
    /// folio's transition.
    pub(crate) fn set_copy(&self, kind: FolioKind, pfn: Pfn, order: Order, copy: u32) {
        let had_one = self.map.copy(pfn) != 0;
        self.map.set_copy(pfn, copy);
        let change = i64::from(copy != 0) - i64::from(had_one);
        if kind == FolioKind::Anon && change != 0 {
            self.count(NodeItem::SwapCached, change * order.pages() as i64);
        }
    }

    /// Flags of an isolated folio's frame, for its isolator.
    pub(crate) fn custody_of(&self, isolated: &Isolated) -> Custody {
        // Relaxed: an isolated frame's flags are its isolator's.
        Custody::from_bits(self.map.lru_cell(isolated.pfn).load(Ordering::Relaxed))
    }

    /// Sets or clears a flag of an isolated folio's frame, for its isolator. One step, since the folio's
    /// owner may make the frame an orphan meanwhile; a flag that this loses to was advice.
    pub(crate) fn set_flag_of(&self, isolated: &Isolated, flag: CustodyFlag, is_set: bool) {
        let cell = self.map.lru_cell(isolated.pfn);
        // Relaxed, both: advice, and the orphan's mark is looked at under the lock.
        if is_set {
            cell.fetch_or(flag as u8, Ordering::Relaxed);
        } else {
            cell.fetch_and(!(flag as u8), Ordering::Relaxed);
        }
    }

    /// Notes how often an isolated folio was found used, for its isolator, as one step as well.
    pub(crate) fn set_uses_of(&self, isolated: &Isolated, uses: u8) {
        let flips = self.custody_of(isolated).flips_to(uses);
        if flips != 0 {
            // Relaxed: as above.
            let cell = self.map.lru_cell(isolated.pfn);
            cell.fetch_xor(flips, Ordering::Relaxed);
        }
    }

    /// Lets go of the frame of a folio that has been killed in it, for its owner. Returns whether the
    /// frame, which is on no list then, is the owner's to free; else whoever holds it isolated frees it.
    pub(crate) fn disown(&self, folios: &FolioTable, pfn: Pfn) -> bool {
        let mut locked = self.lock_lists(folios);
        let (custody, heir) = locked.custody(pfn).dropped();
        if let Heir::OwnerUnlinks(list) = heir {
            locked.unlink(pfn, list_at(list));
        }
        locked.set_custody(pfn, custody);
        heir != Heir::Isolator
    }

    /// Moves a folio that is pinned in this frame to a group, and to its lists, if it is on one.
    pub(crate) fn regroup(&self, folios: &FolioTable, folio: FolioId, pfn: Pfn, group: GroupId) {
        let mut locked = self.lock_lists(folios);
        let Place::Listed(list) = locked.custody(pfn).place() else {
            // Put on a list of its group's later.
            folios.set_group_of_pinned(folio, group);
            return;
        };
        locked.unlink(pfn, list_at(list));
        folios.set_group_of_pinned(folio, group);
        locked.link(pfn, list_at(list));
    }

    /// Makes a listed folio the next of its kind to be reclaimed (kernel: `deactivate_file_page`,
    /// `rotate_reclaimable_page`); returns whether it did.
    pub(crate) fn cool(
        &self,
        folios: &FolioTable,
        folio: FolioId,
        pfn: Pfn,
        kind: FolioKind,
    ) -> bool {
        let mut locked = self.lock_lists(folios);
        let place = locked.custody(pfn).place();
        match place {
            Place::Listed(from)
                if is_at(folios.slot(folio).word(), pfn)
                    && list_at(from) != LruList::Unevictable =>
            {
                locked.unlink(pfn, list_at(from));
                locked.link_at_tail(pfn, kind.inactive());
                true
            }
            _ => false,
        }
    }

    /// Takes one folio off the list that it is on, if it is on one.
    pub(crate) fn isolate_folio(
        &self,
        folios: &FolioTable,
        folio: FolioId,
        pfn: Pfn,
    ) -> Option<Isolated> {
        let isolated = {
            let mut locked = self.lock_lists(folios);
            if !is_at(folios.slot(folio).word(), pfn) {
                return None;
            }
            let Place::Listed(from) = locked.custody(pfn).place() else {
                return None;
            };
            let list = list_at(from);
            locked.unlink(pfn, list);
            let custody = locked.custody(pfn).isolated();
            locked.set_custody(pfn, custody.expect("U1: it was listed"));
            Isolated {
                folio,
                pfn,
                order: locked.order(pfn),
                kind: kind_of(folios, folio),
                list,
            }
        };
        self.count_isolated(&isolated, 1);
        Some(isolated)
    }

    /// Whether somebody has the folio in this frame isolated.
    pub(crate) fn is_isolated(&self, folios: &FolioTable, pfn: Pfn) -> bool {
        self.lock_lists(folios).custody(pfn).place() == Place::Isolated
    }

    /// The list that a resident folio of this node is on, if any.
    #[cfg(test)]
    pub(crate) fn listed_on(&self, folios: &FolioTable, pfn: Pfn) -> Option<LruList> {
        match self.lock_lists(folios).custody(pfn).place() {
            Place::Listed(list) => Some(list_at(list)),
            Place::Off | Place::Batched | Place::Isolated => None,
        }
    }

    /// Checks the lists against their invariants. Exact while nobody reclaims.
    pub(crate) fn verify_lru(&self, folios: &FolioTable) -> Result<(), Violation> {
        let locked = self.lock_lists(folios);
        let mut sizes = [[0; NR_LRU]; NR_ZONES];
        for (group, lists) in locked.lists.iter().enumerate() {
            let of_group = self.verify_lists(&locked, GroupId::at(group), lists)?;
            for (all, group) in sizes.iter_mut().flatten().zip(of_group.iter().flatten()) {
                *all += group;
            }
        }
        ensure_sizes(&self.lru.sizes, &sizes)
    }

    /// Checks the lists of a group; returns the pages that are on them.
    fn verify_lists(
        &self,
        locked: &Locked<'_>,
        group: GroupId,
        lists: &Lists,
    ) -> Result<[[usize; NR_LRU]; NR_ZONES], Violation> {
        let folios = locked.folios;
        let mut sizes = [[0; NR_LRU]; NR_ZONES];
        for list in LruList::ALL {
            let frames = &lists[list.idx()];
            frames.verify(self.map())?;
            for pfn in frames.iter(self.map()) {
                let place = locked.custody(pfn).place();
                let is_listed = place == Place::Listed(list.idx() as u8);
                ensure!(is_listed, "U1", "{pfn} is on {list:?}, but {place:?}");
                let folio = self.map.owner(pfn).map(FolioId::from_raw);
                let word = folio.map(|folio| folios.slot(folio).word());
                let is_there = word.is_some_and(|word| is_at(word, pfn) || word.is_dead());
                ensure!(is_there, "U2", "{pfn} is on {list:?}, its folio {word:?}");
                let own = locked.group(pfn);
                ensure!(
                    own == group,
                    "U1",
                    "{pfn} of {own:?} is on a list of {group:?}"
                );
                let zone = self.zone_of(pfn).expect("D1: a frame has a zone");
                sizes[zone.zone_type().idx()][list.idx()] += locked.order(pfn).pages();
            }
        }
        ensure_sizes(&self.lru.of(group).sizes, &sizes)?;
        Ok(sizes)
    }
}

fn ensure_sizes(said: &Sizes, are: &[[usize; NR_LRU]; NR_ZONES]) -> Result<(), Violation> {
    for zone in ZoneType::ALL {
        for list in LruList::ALL {
            // Relaxed: a number by itself (U3).
            let said = said.cell(list, zone).load(Ordering::Relaxed);
            let is = are[zone.idx()][list.idx()];
            ensure!(said == is, "U3", "{zone} {list:?}: {said}, but {is}");
        }
    }
    Ok(())
}
