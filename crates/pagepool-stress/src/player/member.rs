//! A player whose folios are a group's, at a pace or as fast as it can; counts what it does once its set is
//! filled.
#![forbid(unsafe_code)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Played, Player, Stage, paging::PagingPlayer};
use crate::tally::Tally;

/// Touches between two looks at the pace.
const BURST: u64 = 16;

/// How long a call of `play` lasts at most: members that are slow and fast play side by side, and all of them
/// stand still between two calls.
const TURN: Duration = Duration::from_secs(2);

/// What the members of a group have done together. Nothing is ordered by its words: each is a statistic.
#[derive(Debug, Default)]
pub(crate) struct Deeds {
    touches: AtomicU64,
    away: AtomicU64,
}

impl Deeds {
    /// Accesses to folios, and those of them that found the folio away.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.touches.load(Relaxed), self.away.load(Relaxed))
    }

    fn add(&self, before: (u64, u64), tally: &Tally) {
        let (touches, away) = before;
        self.touches.fetch_add(tally.nr_touches - touches, Relaxed);
        self.away.fetch_add(tally.nr_away - away, Relaxed);
    }
}

/// When the next burst is due.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between the beginnings of two bursts.
    gap: Duration,
    next: Instant,
}

impl Pace {
    fn new(touches_per_s: u64) -> Pace {
        Pace {
            gap: Duration::from_secs(1).mul_f64(BURST as f64 / touches_per_s as f64),
            next: Instant::now(),
        }
    }

    /// How long to rest from `now` on. Time that was lost is not made up for.
    fn rest(&mut self, now: Instant) -> Duration {
        self.next = now.max(self.next + self.gap);
        self.next - now
    }
}

/// A player of a group.
pub(crate) struct Member {
    player: PagingPlayer,
    /// The name of its group, which the pool has when it plays.
    group: String,
    pace: Option<Pace>,
    deeds: Arc<Deeds>,
    is_settled: bool,
}

impl Member {
    /// Has `player` play for a group, with so many touches a second or as many as it can.
    pub(crate) fn new(
        player: PagingPlayer,
        group: &str,
        touches_per_s: Option<u64>,
        deeds: Arc<Deeds>,
    ) -> Member {
        Member {
            player,
            group: group.to_owned(),
            pace: touches_per_s.map(Pace::new),
            deeds,
            is_settled: false,
        }
    }

    fn play_turn(&mut self, stage: &Stage, events: u64) -> Played {
        let end = Instant::now() + TURN;
        let mut left = events;
        while left > 0 && Instant::now() < end {
            let burst = left.min(BURST);
            left -= burst;
            let before = (self.tally().nr_touches, self.tally().nr_away);
            let played = self.player.play(stage, burst);
            self.deeds.add(before, self.player.tally());
            if played == Played::Stopped {
                return played;
            }
            if let Some(pace) = &mut self.pace {
                thread::sleep(pace.rest(Instant::now()));
            }
        }
        Played::Paused
    }
}

impl Player for Member {
    /// The first call fills the set, whatever the number of events.
    fn play(&mut self, stage: &Stage, events: u64) -> Played {
        let group = stage.pool.group(&self.group).expect("made with the pool");
        let _works = group.register_worker();
        if self.is_settled {
            return self.play_turn(stage, events);
        }
        self.is_settled = true;
        self.player.settle(Some(group.clone()));
        self.player.play(stage, events)
    }

    fn release(&mut self, stage: &Stage) {
        self.player.release(stage);
        self.player.settle(None);
    }

    fn rewind(&mut self) {
        self.player.rewind();
        self.is_settled = false;
    }

    fn tally(&self) -> &Tally {
        self.player.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_rests_until_the_next_burst_is_due_and_does_not_catch_up() {
        let mut pace = Pace::new(16_000);
        let begin = pace.next;
        let ms = Duration::from_millis;
        assert_eq!(pace.rest(begin), ms(1));
        assert_eq!(
            pace.rest(begin + Duration::from_micros(1500)),
            Duration::from_micros(500)
        );
        // Ten milliseconds late.
        assert_eq!(pace.rest(begin + ms(13)), Duration::ZERO);
        assert_eq!(pace.rest(begin + ms(13)), ms(1));
    }
}
