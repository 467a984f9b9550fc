//! Bytes as operations: the first four say what the pool is like, and each four after them are a step.
//!
//! A record of fixed length keeps the rest of the list what it was when the fuzzer changes, drops or copies a step.

use pagepool::{Gfp, Order};

/// Steps of an input that are played.
const MAX_STEPS: usize = 48;

const RECORD: usize = 4;

/// An input.
pub(super) struct Script {
    pub(super) shape: Shape,
    pub(super) steps: Vec<Step>,
}

/// What the pool is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) nodes: usize,
    pub(super) pages_per_node: usize,
    pub(super) movable_share: u8,
    /// Caches of small pools are off unless they are asked for.
    pub(super) has_caches: bool,
    pub(super) hardened: bool,
    pub(super) swap_pages: usize,
}

/// What is asked of the pool. Numbers that choose among things are taken modulo their count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Alloc { order: u8, gfp: Gfp, whose: u8 },
    AllocOn { order: u8, mask: u8, prefer: u8 },
    Bulk { order: u8, count: u8 },
    Write { which: u8, at: u8, value: u8 },
    Free { which: u8 },
    Split { which: u8, order: u8 },
    Folio { pages: u8, less: u8, whose: u8 },
    Blank { pages: u8, less: u8, whose: u8 },
    Mapped { page: u8, order: u8 },
    FolioWrite { which: u8, at: u8, value: u8 },
    FolioFill { which: u8, value: u8 },
    FolioRead { which: u8, how: u8 },
    Hold { which: u8, how: u8, meanwhile: u8 },
    Cold { which: u8, count: u8 },
    WillNeed { which: u8 },
    Discard { which: u8 },
    Lock { which: u8 },
    Unlock { which: u8 },
    Flush { which: u8 },
    Share { which: u8 },
    Regroup { which: u8, whose: u8 },
    FolioDrop { which: u8, count: u8 },
    Movable { order: u8, whose: u8 },
    MovableWrite { which: u8, at: u8, value: u8 },
    MovableDrop { which: u8 },
    Consent { how: u8 },
    Group { under: u8 },
    GroupLimits { which: u8, max: u8, shape: u8 },
    GroupReclaim { which: u8, pages: u8 },
    GroupDelete { which: u8 },
    Reclaim { pages: u8, node: u8 },
    Compact { node: u8 },
    Offline { node: u8, zone: u8, share: u8 },
    Online { node: u8, zone: u8, share: u8 },
    Resize { share: u8 },
    Tunable { which: u8, value: u8 },
    Faults { kind: u8, one_in: u8, seed: u8 },
    SwapOn { priority: u8 },
    SwapOff,
    Press { pages: u8 },
    TrimAndDrain,
    Explain { order: u8, gfp: Gfp },
}

impl Script {
    /// None if the bytes do not even say what the pool is like.
    pub(super) fn new(bytes: &[u8]) -> Option<Script> {
        let (&[nodes, pages, shares, swap], rest) = bytes.split_first_chunk::<RECORD>()?;
        let choose = |from: [usize; 4], by: u8| from[usize::from(by) % from.len()];
        let shape = Shape {
            nodes: 1 + usize::from(nodes & 1),
            pages_per_node: choose([128, 256, 512, 2048], pages),
            movable_share: choose([0, 50, 25, 100], shares >> 1) as u8,
            has_caches: nodes & 2 == 0,
            hardened: shares & 1 != 0,
            swap_pages: choose([256, 64, 0, 512], swap),
        };
        let records = rest.as_chunks::<RECORD>().0.iter();
        Some(Script {
            shape,
            steps: records.take(MAX_STEPS).map(Step::new).collect(),
        })
    }
}

/// All flags that two bytes can say, but for `NOFAIL`, which may wait for ever.
fn flags(low: u8, high: u8) -> Gfp {
    const NAMED: [Gfp; 8] = [
        Gfp::KERNEL,
        Gfp::ATOMIC,
        Gfp::NOWAIT,
        Gfp::USER_MOVABLE,
        Gfp::TRANSHUGE,
        Gfp::MEMALLOC,
        Gfp::KERNEL.union(Gfp::NORETRY),
        Gfp::KERNEL.union(Gfp::RECLAIMABLE),
    ];
    match high < 128 {
        true => NAMED[usize::from(low) % NAMED.len()],
        false => {
            let bits = u32::from(low) | u32::from(high) << 8 | u32::from(high) << 13;
            Gfp::from_bits_truncate(bits).difference(Gfp::NOFAIL)
        }
    }
}

/// The order that a number means: small ones more often than not.
pub(super) fn order(n: u8) -> Order {
    let n = match n % 16 {
        small @ 0..=10 => small,
        other => other - 11,
    };
    Order::new(n).expect("10 at most")
}

impl Step {
    fn new(&[kind, a, b, c]: &[u8; RECORD]) -> Step {
        match kind % 44 {
            0 | 42 => Step::Alloc {
                order: a % 16,
                gfp: flags(b, c),
                whose: a / 16,
            },
            1 => Step::AllocOn {
                order: a,
                mask: b,
                prefer: c,
            },
            2 => Step::Bulk { order: a, count: b },
            3 => Step::Write {
                which: a,
                at: b,
                value: c,
            },
            4 => Step::Free { which: a },
            5 => Step::Split { which: a, order: b },
            6 | 43 => Step::Folio {
                pages: a,
                less: b,
                whose: c,
            },
            7 => Step::Blank {
                pages: a,
                less: b,
                whose: c,
            },
            8 => Step::Mapped { page: a, order: b },
            9 => Step::FolioWrite {
                which: a,
                at: b,
                value: c,
            },
            10 => Step::FolioFill { which: a, value: b },
            11 => Step::FolioRead { which: a, how: b },
            12 => Step::Hold {
                which: a,
                how: b,
                meanwhile: c,
            },
            13 => Step::Cold { which: a, count: b },
            14 => Step::WillNeed { which: a },
            15 => Step::Discard { which: a },
            16 => Step::Lock { which: a },
            17 => Step::Unlock { which: a },
            18 => Step::Flush { which: a },
            19 => Step::Share { which: a },
            20 => Step::Regroup { which: a, whose: b },
            21 => Step::FolioDrop { which: a, count: b },
            22 => Step::Movable { order: a, whose: b },
            23 => Step::MovableWrite {
                which: a,
                at: b,
                value: c,
            },
            24 => Step::MovableDrop { which: a },
            25 => Step::Consent { how: a },
            26 => Step::Group { under: a },
            27 => Step::GroupLimits {
                which: a,
                max: b,
                shape: c,
            },
            28 => Step::GroupReclaim { which: a, pages: b },
            29 => Step::GroupDelete { which: a },
            30 => Step::Reclaim { pages: a, node: b },
            31 => Step::Compact { node: a },
            32 => Step::Offline {
                node: a,
                zone: b,
                share: c,
            },
            33 => Step::Online {
                node: a,
                zone: b,
                share: c,
            },
            34 => Step::Resize { share: a },
            35 => Step::Tunable { which: a, value: b },
            36 => Step::Faults {
                kind: a,
                one_in: b,
                seed: c,
            },
            37 => Step::SwapOn { priority: a },
            38 => Step::SwapOff,
            39 => Step::Press { pages: a },
            40 => Step::TrimAndDrain,
            _ => Step::Explain {
                order: a,
                gfp: flags(b, c),
            },
        }
    }
}
