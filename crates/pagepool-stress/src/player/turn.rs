//! A player whose turns last for a time, whatever it does in it: so loads that are slow and loads that are fast can
//! play side by side, and all of them stand still between two turns.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::{Played, Player, Stage};
use crate::{crew::Seat, tally::Tally};

/// Events between two looks at the clock.
const BURST: u64 = 256;

/// The player.
pub(crate) struct TurnPlayer {
    player: Seat,
    turn: Duration,
}

impl TurnPlayer {
    /// Has `player` play for `turn` at each call, or as long as its first call takes.
    pub(crate) fn new(player: Seat, turn: Duration) -> TurnPlayer {
        TurnPlayer { player, turn }
    }
}

impl Player for TurnPlayer {
    fn play(&mut self, stage: &Stage, _events: u64) -> Played {
        let end = Instant::now() + self.turn;
        loop {
            let played = self.player.play(stage, BURST);
            if played != Played::Paused || Instant::now() >= end {
                return played;
            }
        }
    }

    fn release(&mut self, stage: &Stage) {
        self.player.release(stage);
    }

    fn rewind(&mut self) {
        self.player.rewind();
    }

    fn tally(&self) -> &Tally {
        self.player.tally()
    }
}
