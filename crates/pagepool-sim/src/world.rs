//! What a case is played in: how large the pool is, what it swaps to, and how finely its threads are stepped.

use pagepool::PAGE_SIZE;
use serde::{Deserialize, Serialize};

use crate::op::Dice;

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
    /// Groups beside the root.
    pub groups: u8,
    /// Whether kswapd and kcompactd run.
    pub daemons: bool,
    /// Whether the pool checks and clears what is given back.
    pub hardened: bool,
    /// Milliseconds after which a request gives up.
    pub patience_ms: u64,
}

impl World {
    /// A world by chance.
    pub fn random(dice: &mut Dice) -> World {
        let pages = [256, 256, 512, 1024][dice.below(4)];
        let swap = match dice.below(5) {
            0 => vec![],
            1 => vec![dice.between(64, 256) as u32],
            2 => vec![dice.between(32, 128) as u32, dice.between(64, 256) as u32],
            _ => vec![1024],
        };
        World {
            seed: dice.next_u64(),
            density: [4, 64, 512, 1024][dice.below(4)],
            early: [0, 4096][dice.below(2)],
            actors: dice.between(1, 3) as u8,
            round: [1, 4, 16, 32][dice.below(4)],
            nodes: dice.between(1, 2) as u8,
            pages,
            movable: [None, Some(0), Some(50)][dice.below(3)],
            swap,
            groups: dice.below(3) as u8,
            daemons: dice.below(6) > 0,
            hardened: dice.below(4) == 0,
            patience_ms: [20, 200, 1000][dice.below(3)],
        }
    }

    /// Bytes of the pool's memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages * PAGE_SIZE
    }
}
