//! What an actor does.
//!
//! An operation names what it acts on by a number that is reduced by how many there are, so that it still means
//! something after others were taken out of the list.

use serde::{Deserialize, Serialize};

/// What a request for memory may do to get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// It waits and reclaims.
    Patient,
    /// It wakes daemons only.
    Nowait,
    /// It reaches into the reserve.
    Atomic,
    /// One light try.
    Noretry,
    /// It waits, but starts no I/O.
    Noio,
}

/// How a folio is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// By a guard that reads.
    Read,
    /// By a guard that writes.
    Write,
    /// By a pin.
    Pin,
}

/// What goes wrong with the swap devices from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing.
    None,
    /// Calls fail for a moment.
    Transient,
    /// Writes fail, are short or torn, or find no room.
    Writes,
    /// Reads fail or bring damaged bytes.
    Reads,
    /// Calls do not return for a while.
    Stalls,
    /// Writes are torn and say that they were done.
    Lies,
}

/// An operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Allocates a block and fills it.
    Alloc {
        /// Of 2^order pages.
        order: u8,
        /// Whether it may be grouped with what can move.
        movable: bool,
        /// How hard to try.
        urgency: Urgency,
        /// The node to prefer, by number.
        node: u8,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Allocates several blocks at once.
    Bulk {
        /// Of 2^order pages.
        order: u8,
        /// So many.
        count: u8,
    },
    /// Compares a block with its shadow and frees it.
    Free {
        /// Which of this actor's.
        which: u16,
    },
    /// Splits a block in two, if it has two pages or more.
    Split {
        /// Which of this actor's.
        which: u16,
    },
    /// Makes a folio and fills it.
    Folio {
        /// Of so many pages.
        pages: u8,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Makes a folio that is in memory only when it is touched.
    Blank {
        /// Of so many pages.
        pages: u8,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Compares a folio with its shadow.
    Read {
        /// Which of this actor's.
        which: u16,
    },
    /// Compares a page of it, through a copy.
    Peek {
        /// Which of this actor's.
        which: u16,
    },
    /// Fills a folio anew.
    Write {
        /// Which of this actor's.
        which: u16,
    },
    /// Holds a folio for a while, and compares it at the end.
    Hold {
        /// Which of this actor's.
        which: u16,
        /// How.
        how: Hold,
        /// Milliseconds.
        ms: u8,
    },
    /// Says whether a folio will be needed.
    Advise {
        /// Which of this actor's.
        which: u16,
        /// Not soon, or soon.
        cold: bool,
    },
    /// Forgets what is in a folio: it reads as zeros.
    Discard {
        /// Which of this actor's.
        which: u16,
    },
    /// Locks a folio in memory, or lets it go.
    Lock {
        /// Which of this actor's.
        which: u16,
        /// Which of the two.
        on: bool,
    },
    /// Moves a folio to another group.
    Regroup {
        /// Which of this actor's.
        which: u16,
        /// The group, 0 for the root.
        group: u8,
    },
    /// Makes a folio over a part of the mapped store that no other folio is over.
    Map {
        /// Which part.
        which: u16,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Writes a folio out, if it has a store.
    Flush {
        /// Which of this actor's.
        which: u16,
    },
    /// Allocates a block that its owner is asked to move, and fills it.
    Movable {
        /// Of 2^order pages.
        order: u8,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Compares such a block with its shadow, and fills it anew or frees it.
    Moved {
        /// Which of this actor's.
        which: u16,
        /// Which of the two.
        frees: bool,
    },
    /// Allocates blocks that the pool may have freed when memory is short, and fills them.
    Cache {
        /// Of 2^order pages.
        order: u8,
        /// So many.
        count: u8,
        /// By a cache that knows nodes and groups apart, or by one that does not.
        aware: bool,
        /// The group that is charged, 0 for none.
        group: u8,
    },
    /// Takes such a block out of its cache, compares it, and frees it.
    Uncache {
        /// Which.
        which: u16,
        /// Of which cache.
        aware: bool,
    },
    /// Drops a folio.
    Drop {
        /// Which of this actor's.
        which: u16,
    },
    /// Reads a folio that all actors share.
    ReadShared {
        /// Which of all.
        which: u16,
        /// Without keeping anybody from writing.
        optimistic: bool,
    },
    /// Fills a folio that all actors share.
    WriteShared {
        /// Which of all.
        which: u16,
        /// Milliseconds for which it is held.
        ms: u8,
    },
    /// Has a folio that all actors share written out, and reclaims.
    CoolShared {
        /// Which of all.
        which: u16,
        /// So many pages.
        pages: u8,
    },
    /// Compacts a node.
    Compact {
        /// Which.
        node: u8,
    },
    /// Reclaims.
    Reclaim {
        /// So many pages.
        pages: u16,
    },
    /// Empties all caches.
    Drain,
    /// Gives free memory back to the system.
    Trim,
    /// Drops clean copies and asks shrinkers.
    DropCaches,
    /// Takes pageblocks out of service.
    Offline {
        /// Of which node.
        node: u8,
        /// From the Movable zone, or from Normal.
        movable: bool,
        /// So many pages.
        pages: u16,
    },
    /// Puts all of them back.
    Online,
    /// Changes the budget.
    Resize {
        /// To so many percent of what the pool was built with.
        percent: u8,
    },
    /// Changes a setting.
    Tune {
        /// Which.
        which: u8,
        /// Where within its range.
        value: u8,
    },
    /// Limits a group.
    Limit {
        /// Which, 1 and up.
        group: u8,
        /// Percent of the pool that it may have.
        max: u8,
        /// Percent of the pool that is protected.
        low: u8,
    },
    /// Makes a group of this actor's own, or deletes it.
    OwnGroup {
        /// Percent of the pool that it may have.
        max: u8,
    },
    /// Takes a swap device away, or adds it again.
    Swap {
        /// Which.
        which: u8,
        /// Which of the two.
        on: bool,
    },
    /// Takes a cache away from the pool, or has it trim that again.
    Register {
        /// Which cache.
        aware: bool,
        /// Which of the two.
        on: bool,
    },
    /// Has the pool ask its owner when nothing else helps, or nobody.
    Owner {
        /// Which of the two.
        on: bool,
    },
    /// Devices fail from now on.
    Fail {
        /// How.
        trouble: Trouble,
    },
    /// Holds all daemons at rest for a while.
    Freeze {
        /// Milliseconds.
        ms: u8,
    },
    /// Ends a node's daemons, or starts them.
    Daemons {
        /// Which node.
        node: u8,
        /// Which of the two.
        on: bool,
    },
    /// Asks for all that the pool can say about itself.
    Explain,
    /// Does nothing for a while.
    Sleep {
        /// Milliseconds.
        ms: u8,
    },
}
