//! What an actor does, and how operations are chosen by chance.
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

/// Chance, by a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// An order: small ones are common, as in real programs.
    fn order(&mut self) -> u8 {
        match self.below(16) {
            0..=7 => 0,
            8..=12 => self.between(1, 3) as u8,
            13 | 14 => self.between(4, 7) as u8,
            _ => self.between(8, 10) as u8,
        }
    }

    fn urgency(&mut self) -> Urgency {
        match self.below(8) {
            0 => Urgency::Nowait,
            1 => Urgency::Atomic,
            2 => Urgency::Noretry,
            3 => Urgency::Noio,
            _ => Urgency::Patient,
        }
    }

    fn which(&mut self) -> u16 {
        self.next_u64() as u16
    }

    fn group(&mut self) -> u8 {
        self.below(4) as u8
    }

    fn pages(&mut self) -> u8 {
        match self.below(8) {
            0..=4 => 1,
            5 | 6 => self.between(2, 8) as u8,
            _ => self.between(9, 64) as u8,
        }
    }

    fn millis(&mut self) -> u8 {
        [0, 1, 10, 120][self.below(4)]
    }
}

impl Op {
    /// An operation by chance.
    pub fn random(dice: &mut Dice) -> Op {
        match dice.below(100) {
            0..=15 => Op::Alloc {
                order: dice.order(),
                movable: dice.coin(),
                urgency: dice.urgency(),
                node: dice.below(2) as u8,
                group: dice.group(),
            },
            16 => Op::Bulk {
                order: dice.between(0, 2) as u8,
                count: dice.between(1, 40) as u8,
            },
            17..=30 => Op::Free {
                which: dice.which(),
            },
            31 => Op::Split {
                which: dice.which(),
            },
            32..=45 => Op::Folio {
                pages: dice.pages(),
                group: dice.group(),
            },
            46 | 47 => Op::Blank {
                pages: dice.pages(),
                group: dice.group(),
            },
            48..=53 => Op::Read {
                which: dice.which(),
            },
            54 | 55 => Op::Peek {
                which: dice.which(),
            },
            56..=59 => Op::Write {
                which: dice.which(),
            },
            60 | 61 => Op::Hold {
                which: dice.which(),
                how: [Hold::Read, Hold::Write, Hold::Pin][dice.below(3)],
                ms: dice.millis(),
            },
            62..=64 => Op::Advise {
                which: dice.which(),
                cold: dice.below(4) > 0,
            },
            65..=73 => Op::Drop {
                which: dice.which(),
            },
            74..=76 => Op::ReadShared {
                which: dice.which(),
                optimistic: dice.coin(),
            },
            77..=80 => Op::WriteShared {
                which: dice.which(),
                ms: [0, 0, 0, 1, 10][dice.below(5)],
            },
            81..=83 => Op::CoolShared {
                which: dice.which(),
                pages: dice.between(1, 32) as u8,
            },
            _ => Op::rare(dice),
        }
    }

    /// One of those that change more than one object.
    fn rare(dice: &mut Dice) -> Op {
        match dice.below(22) {
            0 => Op::Discard {
                which: dice.which(),
            },
            1 => Op::Lock {
                which: dice.which(),
                on: dice.coin(),
            },
            2 => Op::Regroup {
                which: dice.which(),
                group: dice.group(),
            },
            3 | 4 => Op::Compact {
                node: dice.below(2) as u8,
            },
            5 | 6 => Op::Reclaim {
                pages: dice.between(1, 256) as u16,
            },
            7 => Op::Drain,
            8 => Op::Trim,
            9 => Op::DropCaches,
            10 => Op::Offline {
                node: dice.below(2) as u8,
                movable: dice.coin(),
                pages: dice.between(1, 512) as u16,
            },
            11 => Op::Online,
            12 => Op::Resize {
                percent: [60, 80, 100][dice.below(3)],
            },
            13 => Op::Tune {
                which: dice.below(64) as u8,
                value: dice.next_u64() as u8,
            },
            14 => Op::Limit {
                group: dice.between(1, 3) as u8,
                max: [10, 40, 100][dice.below(3)],
                low: [0, 10][dice.below(2)],
            },
            15..=17 => Op::Fail {
                trouble: [
                    Trouble::None,
                    Trouble::None,
                    Trouble::Transient,
                    Trouble::Writes,
                    Trouble::Reads,
                    Trouble::Stalls,
                    Trouble::Lies,
                ][dice.below(7)],
            },
            18 => Op::Freeze { ms: dice.millis() },
            19 => Op::Daemons {
                node: dice.below(2) as u8,
                on: dice.below(3) > 0,
            },
            20 => Op::Explain,
            _ => Op::Sleep { ms: dice.millis() },
        }
    }
}
