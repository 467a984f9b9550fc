//! Which slots of a swap area are used, by clusters of 256 (pure).
//!
//! *Kernel counterpart:* `swap_info_struct: cluster_info, free_clusters, percpu_cluster` (v5.0).
//!
//! Each CPU fills a cluster of its own from front to back, so that what is swapped out together lies
//! together and goes out in one write. A cluster that nobody fills is on one of two lists: that of free
//! ones, or that of partial ones. So nothing is ever scanned but the bits of one cluster; v5.0 scans the
//! area once there is no free cluster left.
//!
//! ```text
//!            first use            a CPU takes it           left
//!  Untouched ─────────→ (Current) ←───────────── Free ←───────────── Current, no slot used
//!                           ↑                     ↑ last slot freed
//!                           └─────────────────── Partial ←────────── Current, some used
//!                                                 ↑ a slot freed
//!                                                Full ←───────────── Current, all used
//! ```
//!
//! **Invariants**
//! - A1: a slot is used if its bit is set. Slot 0, the header, always is, and so are the bits behind the
//!   end of the area in its last cluster; but for clusters that are untouched, whose bits are all clear.
//! - A2: a cluster's `nr_used` is the number of its bits set. `nr_free` is the number of slots that are
//!   not used, but for those of A1 in untouched clusters.
//! - A3: a cluster is `Free` if no bit is set, `Full` if all are, else `Partial`; and if it is free or
//!   partial, it is on that list. `Current` ones are each one CPU's, and on no list. Clusters from
//!   `nr_touched` on are untouched, the others not.

use crate::arena::ZeroedTable;
use crate::error::{BuildError, Violation, ensure};

/// Slots of a cluster (kernel: `SWAPFILE_CLUSTER`): 1 MiB.
pub(super) const CLUSTER: u32 = 256;

/// Slots that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// The first of them.
    pub(crate) page: u32,
    /// How many.
    pub(crate) len: u32,
}

/// What a cluster is at the moment (A3). Tables begin with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Place {
    Untouched = 0,
    Free = 1,
    Partial = 2,
    Current = 3,
    Full = 4,
}

impl Place {
    fn from_raw(raw: u8) -> Place {
        match raw {
            0 => Place::Untouched,
            1 => Place::Free,
            2 => Place::Partial,
            3 => Place::Current,
            4 => Place::Full,
            _ => unreachable!("no place is {raw}"),
        }
    }
}

/// 256 bits, a set one for a used slot.
type Bits = [u64; 4];

/// The first bit from `from` on whose value is `value`; 256 if there is none.
fn first_bit(bits: Bits, from: u32, value: bool) -> u32 {
    let first_word = from / 64;
    for word in first_word..4 {
        let set = match value {
            true => bits[word as usize],
            false => !bits[word as usize],
        };
        let skipped = if word == first_word { from % 64 } else { 0 };
        let rest = set & (u64::MAX << skipped);
        if rest != 0 {
            return word * 64 + rest.trailing_zeros();
        }
    }
    CLUSTER
}

fn set_bits(bits: &mut Bits, from: u32, len: u32) {
    for bit in from..from + len {
        bits[bit as usize / 64] |= 1 << (bit % 64);
    }
}

/// A list of clusters, first in, first out. Numbers are those of clusters and 1, so that 0 is none.
#[derive(Clone, Copy, Default, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// Where a CPU takes slots.
#[derive(Clone, Copy, Debug)]
struct Current {
    cluster: u32,
    /// Where in it to look next.
    offset: u32,
}

/// The clusters of an area.
#[derive(Debug)]
pub(super) struct Clusters {
    nr_pages: u32,
    bits: ZeroedTable<Bits>,
    nr_used: ZeroedTable<u16>,
    places: ZeroedTable<u8>,
    /// Previous and next on a list, each and 1.
    neighbours: ZeroedTable<[u32; 2]>,
    free: List,
    partial: List,
    nr_touched: u32,
    currents: Box<[Option<Current>]>,
    nr_free: u32,
}

impl Clusters {
    /// Returns the clusters of an area of `nr_pages`, all free but for the header.
    pub(super) fn new(nr_pages: u32, nr_cpus: usize) -> Result<Clusters, BuildError> {
        let nr = nr_pages.div_ceil(CLUSTER) as usize;
        Ok(Clusters {
            nr_pages,
            bits: ZeroedTable::new(nr, "the bits of swap slots")?,
            nr_used: ZeroedTable::new(nr, "the counts of swap clusters")?,
            places: ZeroedTable::new(nr, "the states of swap clusters")?,
            neighbours: ZeroedTable::new(nr, "the lists of swap clusters")?,
            free: List::default(),
            partial: List::default(),
            nr_touched: 0,
            currents: vec![None; nr_cpus].into_boxed_slice(),
            nr_free: nr_pages - 1,
        })
    }

    /// Bytes that the tables for so many slots may come to take.
    pub(super) fn bytes_for(nr_pages: usize) -> usize {
        let nr = nr_pages.div_ceil(CLUSTER as usize);
        ZeroedTable::<Bits>::bytes_for(nr)
            + ZeroedTable::<u16>::bytes_for(nr)
            + ZeroedTable::<u8>::bytes_for(nr)
            + ZeroedTable::<[u32; 2]>::bytes_for(nr)
    }

    /// Slots, the header included.
    pub(super) fn nr_pages(&self) -> u32 {
        self.nr_pages
    }

    /// Slots that can be taken.
    pub(super) fn nr_free(&self) -> u32 {
        self.nr_free
    }

    /// Whether a slot is used.
    pub(super) fn is_used(&self, page: u32) -> bool {
        self.bits[(page / CLUSTER) as usize][(page % CLUSTER) as usize / 64] >> (page % 64) & 1 != 0
    }

    /// Takes up to `want` slots in a row, for somebody on this CPU; none if all are used.
    ///
    /// What does not fit into the rest of the CPU's cluster begins a free one, if there is one. The rest
    /// is not lost: the cluster goes to the partial ones.
    pub(super) fn take_run(&mut self, cpu: usize, want: u32) -> Option<Run> {
        let slot = cpu % self.currents.len();
        loop {
            let Some(current) = self.currents[slot] else {
                let cluster = self.next_cluster()?;
                self.set_place(cluster, Place::Current);
                self.currents[slot] = Some(Current { cluster, offset: 0 });
                continue;
            };

            let idx = current.cluster as usize;
            let start = first_bit(self.bits[idx], current.offset, false);
            let end = first_bit(self.bits[idx], start, true);
            let len = want.min(end - start);
            let fits_elsewhere = len < want && self.nr_used[idx] > 0 && self.has_free_cluster();
            if len == 0 || fits_elsewhere {
                self.leave(slot);
                continue;
            }
            set_bits(&mut self.bits[idx], start, len);
            self.nr_used[idx] += len as u16;
            self.nr_free -= len;
            self.currents[slot] = Some(Current {
                offset: start + len,
                ..current
            });
            return Some(Run {
                page: current.cluster * CLUSTER + start,
                len,
            });
        }
    }

    /// Gives a used slot back. Returns whether its whole cluster is free now.
    pub(super) fn give(&mut self, page: u32) -> bool {
        debug_assert!(page != 0, "A1: the header is always used");
        debug_assert!(self.is_used(page), "A1: slot {page} is given back twice");
        let cluster = page / CLUSTER;
        self.bits[cluster as usize][(page % CLUSTER) as usize / 64] &= !(1 << (page % 64));
        self.nr_used[cluster as usize] -= 1;
        self.nr_free += 1;
        self.settle(cluster);
        self.nr_used[cluster as usize] == 0
    }

    fn has_free_cluster(&self) -> bool {
        self.free.head != 0 || (self.nr_touched as usize) < self.bits.len()
    }

    /// A cluster with free slots that nobody fills, or if need be one that another CPU does.
    fn next_cluster(&mut self) -> Option<u32> {
        if let Some(cluster) = self.free.head.checked_sub(1) {
            self.unlink(cluster);
            return Some(cluster);
        }
        if (self.nr_touched as usize) < self.bits.len() {
            return Some(self.touch());
        }
        if self.partial.head == 0 {
            (0..self.currents.len()).for_each(|slot| self.leave(slot));
        }
        // Whatever was left may be free as well as partial.
        let cluster = self.free.head.max(self.partial.head).checked_sub(1)?;
        self.unlink(cluster);
        Some(cluster)
    }

    /// The first cluster that was never used, with what of it is no slot marked as used (A1).
    fn touch(&mut self) -> u32 {
        let cluster = self.nr_touched;
        self.nr_touched += 1;
        let bits = &mut self.bits[cluster as usize];
        if cluster == 0 {
            set_bits(bits, 0, 1);
        }
        let len = (self.nr_pages - cluster * CLUSTER).min(CLUSTER);
        set_bits(bits, len, CLUSTER - len);
        let nr_used: u32 = bits.iter().map(|word| word.count_ones()).sum();
        self.nr_used[cluster as usize] = nr_used as u16;
        cluster
    }

    /// The CPU does not fill its cluster any more.
    fn leave(&mut self, slot: usize) {
        if let Some(Current { cluster, .. }) = self.currents[slot].take() {
            self.set_place(cluster, Place::Full);
            self.settle(cluster);
        }
    }

    /// Puts a cluster where it belongs by the number of its used slots (A3).
    fn settle(&mut self, cluster: u32) {
        let place = self.place(cluster);
        let wanted = match self.nr_used[cluster as usize] {
            _ if place == Place::Current => return,
            0 => Place::Free,
            nr if u32::from(nr) == CLUSTER => Place::Full,
            _ => Place::Partial,
        };
        if wanted == place {
            return;
        }
        self.unlink(cluster);
        self.set_place(cluster, wanted);
        self.append(cluster, wanted);
    }

    fn place(&self, cluster: u32) -> Place {
        Place::from_raw(self.places[cluster as usize])
    }

    fn set_place(&mut self, cluster: u32, place: Place) {
        self.places[cluster as usize] = place as u8;
    }

    fn list(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Free => Some(&mut self.free),
            Place::Partial => Some(&mut self.partial),
            Place::Untouched | Place::Current | Place::Full => None,
        }
    }

    /// Takes a cluster off the list that its place says it is on.
    fn unlink(&mut self, cluster: u32) {
        let [prev, next] = self.neighbours[cluster as usize];
        let Some(list) = self.list(self.place(cluster)) else {
            return;
        };
        if prev == 0 {
            list.head = next;
        }
        if next == 0 {
            list.tail = prev;
        }
        if let Some(prev) = prev.checked_sub(1) {
            self.neighbours[prev as usize][1] = next;
        }
        if let Some(next) = next.checked_sub(1) {
            self.neighbours[next as usize][0] = prev;
        }
        self.neighbours[cluster as usize] = [0, 0];
    }

    /// Puts a cluster, which is on none, at the end of the list of a place.
    fn append(&mut self, cluster: u32, place: Place) {
        let Some(list) = self.list(place) else { return };
        let last = list.tail;
        list.tail = cluster + 1;
        if last == 0 {
            list.head = cluster + 1;
        }
        self.neighbours[cluster as usize] = [last, 0];
        if let Some(last) = last.checked_sub(1) {
            self.neighbours[last as usize][1] = cluster + 1;
        }
    }

    /// Checks A1 to A3.
    pub(super) fn verify(&self) -> Result<(), Violation> {
        let mut nr_free = 0;
        for cluster in 0..self.bits.len() as u32 {
            let len = (self.nr_pages - cluster * CLUSTER).min(CLUSTER);
            if cluster >= self.nr_touched {
                let place = self.place(cluster);
                ensure!(
                    place == Place::Untouched,
                    "A3",
                    "cluster {cluster} is {place:?}"
                );
                nr_free += len - u32::from(cluster == 0);
                continue;
            }
            self.verify_cluster(cluster, len)?;
            nr_free += CLUSTER - u32::from(self.nr_used[cluster as usize]);
        }
        ensure!(
            nr_free == self.nr_free,
            "A2",
            "{nr_free} slots are free, {} are said to be",
            self.nr_free
        );
        self.verify_lists()
    }

    fn verify_cluster(&self, cluster: u32, len: u32) -> Result<(), Violation> {
        let bits = self.bits[cluster as usize];
        let nr_set: u32 = bits.iter().map(|word| word.count_ones()).sum();
        let nr_used = u32::from(self.nr_used[cluster as usize]);
        ensure!(
            nr_set == nr_used,
            "A2",
            "cluster {cluster}: {nr_set} bits, {nr_used} used"
        );
        ensure!(
            first_bit(bits, len, false) == CLUSTER && (cluster > 0 || bits[0] & 1 == 1),
            "A1",
            "cluster {cluster} has free slots that are none: {bits:x?}"
        );
        let nr_currents = self.currents.iter().flatten();
        let nr_currents = nr_currents
            .filter(|current| current.cluster == cluster)
            .count();
        let place = self.place(cluster);
        let expected = match nr_used {
            _ if nr_currents == 1 => Place::Current,
            0 => Place::Free,
            CLUSTER => Place::Full,
            _ => Place::Partial,
        };
        ensure!(
            place == expected && nr_currents <= 1,
            "A3",
            "cluster {cluster} with {nr_used} used slots and {nr_currents} CPUs is {place:?}"
        );
        Ok(())
    }

    fn verify_lists(&self) -> Result<(), Violation> {
        for (list, place) in [(self.free, Place::Free), (self.partial, Place::Partial)] {
            let (mut prev, mut at, mut len) = (0, list.head, 0);
            while let Some(cluster) = at.checked_sub(1) {
                let [back, next] = self.neighbours[cluster as usize];
                ensure!(
                    back == prev && self.place(cluster) == place,
                    "A3",
                    "cluster {cluster} is {:?} on the list {place:?}",
                    self.place(cluster)
                );
                (prev, at, len) = (at, next, len + 1);
            }
            let nr = self
                .places
                .iter()
                .filter(|&&raw| raw == place as u8)
                .count();
            ensure!(
                prev == list.tail && len == nr,
                "A3",
                "the list {place:?} has {len} of {nr} clusters"
            );
        }
        Ok(())
    }
}
