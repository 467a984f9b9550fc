//! How operations are chosen by chance: what programs do often comes often, and what they rarely do often enough.

use fastrand::Rng;

use crate::op::{Hold, Op, Trouble, Urgency};

impl Op {
    /// An operation by chance.
    pub fn random(dice: &mut Rng) -> Op {
        match dice.u8(..116) {
            0..=15 => Op::Alloc {
                order: order(dice),
                movable: dice.bool(),
                urgency: urgency(dice),
                node: dice.u8(..2),
                group: group(dice),
            },
            16 => Op::Bulk {
                order: dice.u8(0..=2),
                count: dice.u8(1..=40),
            },
            17..=30 => Op::Free {
                which: dice.u16(..),
            },
            31 => Op::Split {
                which: dice.u16(..),
            },
            32..=45 => Op::Folio {
                pages: pages(dice),
                group: group(dice),
            },
            46 | 47 => Op::Blank {
                pages: pages(dice),
                group: group(dice),
            },
            48..=53 => Op::Read {
                which: dice.u16(..),
            },
            54 | 55 => Op::Peek {
                which: dice.u16(..),
            },
            56..=59 => Op::Write {
                which: dice.u16(..),
            },
            60 | 61 => Op::Hold {
                which: dice.u16(..),
                how: [Hold::Read, Hold::Write, Hold::Pin][dice.usize(..3)],
                ms: millis(dice),
            },
            62..=64 => Op::Advise {
                which: dice.u16(..),
                cold: dice.usize(..4) > 0,
            },
            65..=73 => Op::Drop {
                which: dice.u16(..),
            },
            74..=76 => Op::ReadShared {
                which: dice.u16(..),
                optimistic: dice.bool(),
            },
            77..=80 => Op::WriteShared {
                which: dice.u16(..),
                ms: [0, 0, 0, 1, 10][dice.usize(..5)],
            },
            81..=83 => Op::CoolShared {
                which: dice.u16(..),
                pages: dice.u8(1..=32),
            },
            84 | 85 => Op::Map {
                which: dice.u16(..),
                group: group(dice),
            },
            86 => Op::Flush {
                which: dice.u16(..),
            },
            87 | 88 => Op::Movable {
                order: dice.u8(0..=3),
                group: group(dice),
            },
            89..=91 => Op::Moved {
                which: dice.u16(..),
                frees: dice.u8(..3) > 0,
            },
            92..=97 => Op::Cache {
                order: [0, 0, 0, 1, 3][dice.usize(..5)],
                count: dice.u8(1..=16),
                aware: dice.bool(),
                group: group(dice),
            },
            98 => Op::Uncache {
                which: dice.u16(..),
                aware: dice.bool(),
            },
            _ => Op::rare(dice),
        }
    }

    /// One of those that change more than one object.
    fn rare(dice: &mut Rng) -> Op {
        match dice.u8(..27) {
            0 => Op::Discard {
                which: dice.u16(..),
            },
            1 => Op::Lock {
                which: dice.u16(..),
                on: dice.bool(),
            },
            2 => Op::Regroup {
                which: dice.u16(..),
                group: group(dice),
            },
            3 | 4 => Op::Compact { node: dice.u8(..2) },
            5 | 6 => Op::Reclaim {
                pages: dice.u16(1..=256),
            },
            7 => Op::Drain,
            8 => Op::Trim,
            9 => Op::DropCaches,
            10 => Op::Offline {
                node: dice.u8(..2),
                movable: dice.bool(),
                pages: dice.u16(1..=512),
            },
            11 => Op::Online,
            12 => Op::Resize {
                percent: [60, 80, 100][dice.usize(..3)],
            },
            13 => Op::Tune {
                which: dice.u8(..64),
                value: dice.u8(..),
            },
            14 => Op::Limit {
                group: dice.u8(1..=3),
                max: [10, 40, 100][dice.usize(..3)],
                low: [0, 10][dice.usize(..2)],
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
                ][dice.usize(..7)],
            },
            18 => Op::Freeze { ms: millis(dice) },
            19 => Op::Daemons {
                node: dice.u8(..2),
                on: dice.usize(..3) > 0,
            },
            20 => Op::Explain,
            21 => Op::OwnGroup {
                max: [10, 40, 100][dice.usize(..3)],
            },
            22 | 23 => Op::Swap {
                which: dice.u8(..2),
                on: dice.u8(..3) > 0,
            },
            24 => Op::Register {
                aware: dice.bool(),
                on: dice.u8(..3) > 0,
            },
            25 => Op::Owner {
                on: dice.u8(..3) > 0,
            },
            _ => Op::Sleep { ms: millis(dice) },
        }
    }
}

/// An order: small ones are common, as in real programs.
fn order(dice: &mut Rng) -> u8 {
    match dice.u8(..16) {
        0..=7 => 0,
        8..=12 => dice.u8(1..=3),
        13 | 14 => dice.u8(4..=7),
        _ => dice.u8(8..=10),
    }
}

fn urgency(dice: &mut Rng) -> Urgency {
    match dice.u8(..8) {
        0 => Urgency::Nowait,
        1 => Urgency::Atomic,
        2 => Urgency::Noretry,
        3 => Urgency::Noio,
        _ => Urgency::Patient,
    }
}

/// Mostly one that there may be; 4 is the actor's own.
fn group(dice: &mut Rng) -> u8 {
    dice.u8(..5)
}

fn pages(dice: &mut Rng) -> u8 {
    match dice.u8(..8) {
        0..=4 => 1,
        5 | 6 => dice.u8(2..=8),
        _ => dice.u8(9..=64),
    }
}

fn millis(dice: &mut Rng) -> u8 {
    [0, 1, 10, 120][dice.usize(..4)]
}
