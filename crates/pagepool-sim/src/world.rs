//! What a case is played in: how large the pool is, what it swaps to, and how finely its threads are stepped.

use fastrand::Rng;
use pagepool::PAGE_SIZE;
use serde::{Deserialize, Serialize};

/// A world; everything in it follows from its numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct World {
    /// Of the scheduler, of CPU numbers and of devices that fail by chance.
    pub seed: u64,
    /// One access to an atomic in so many is where another thread may go on.
    pub density: u32,
    /// Time may pass though somebody could run: at one choice in so many, or never for 0.
    pub early: u64,
    /// Threads of the program.
    pub actors: u8,
    /// Operations of all actors between two verifications.
    pub round: u16,
    /// Nodes of the pool.
    pub nodes: u8,
    /// Pages of the whole pool.
    pub pages: usize,
    /// Percent of it in the Movable zone, if that is not left to the pool.
    pub movable: Option<u8>,
    /// Pages of each swap device, by falling priority.
    pub swap: Vec<u32>,
    /// Parts of the store that folios are mapped over; there is none for 0.
    #[serde(default)]
    pub file_parts: u8,
    /// Groups beside the root.
    pub groups: u8,
    /// Whether the program has caches, which the pool trims.
    #[serde(default)]
    pub shrinkers: bool,
    /// Whether the pool asks its owner for memory when nothing else helps.
    #[serde(default)]
    pub owner: bool,
    /// Whether kswapd and kcompactd run.
    pub daemons: bool,
    /// Whether threads and CPUs keep pages for themselves: a pool as small as this does not, by itself.
    #[serde(default)]
    pub caches: bool,
    /// Whether the pool checks and clears what is given back.
    pub hardened: bool,
    /// Milliseconds after which a request gives up.
    pub patience_ms: u64,
}

impl World {
    /// A world by chance.
    pub fn random(dice: &mut Rng) -> World {
        let pages = [256, 256, 512, 512, 1024, 2048][dice.usize(..6)];
        let swap = match dice.usize(..5) {
            0 => vec![],
            1 => vec![dice.u32(64..=256)],
            2 => vec![dice.u32(32..=128), dice.u32(64..=256)],
            _ => vec![1024],
        };
        World {
            seed: dice.u64(..),
            density: [4, 64, 512, 1024][dice.usize(..4)],
            early: [0, 4096][dice.usize(..2)],
            actors: dice.u8(1..=3),
            round: [1, 4, 16, 32][dice.usize(..4)],
            nodes: dice.u8(1..=2),
            pages,
            movable: [None, Some(0), Some(50)][dice.usize(..3)],
            swap,
            file_parts: [0, 4, 24][dice.usize(..3)],
            groups: dice.u8(..3),
            shrinkers: dice.bool(),
            owner: dice.usize(..4) == 0,
            daemons: dice.usize(..6) > 0,
            caches: dice.bool(),
            hardened: dice.usize(..4) == 0,
            patience_ms: [20, 200, 1000][dice.usize(..3)],
        }
    }

    /// Bytes of the pool's memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages * PAGE_SIZE
    }
}
