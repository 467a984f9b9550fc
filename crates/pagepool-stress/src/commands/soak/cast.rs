//! The loads of a soak, and the threads that play them.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use pagepool::{GroupLimits, PAGE_SIZE};

use crate::{
    cli::SoakPlant,
    crew::Seat,
    pattern::{Pattern, Touches},
    player::{
        member::{Deeds, Member},
        mixed::{self, Exchange, MixedPlayer},
        paging::{Habits, Orders, PagingPlayer, Plant, Trust, WorkingSet},
        turn::TurnPlayer,
        two_kinds::{self, Notebook, TwoKindsPlayer},
    },
    rng::nth,
};

/// How uneven the touches of folios are.
const THETA: f64 = 0.99;

/// Touches a second of a thread of the protected group.
const PACE: u64 = 2_000;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Folios of mixed orders, three quarters of the memory, by Zipf's law.
    Folios,
    /// Raw blocks of all orders and flags, an eighth of the memory.
    Blocks,
    /// A group that loops over half of the memory and may have an eighth of it.
    Bounded,
    /// Movable and unmovable memory side by side, an eighth of the memory, and large blocks asked for meanwhile.
    TwoKinds,
    /// A group that is protected, with half of the memory in phases.
    Protected,
}

impl Role {
    pub(super) const ALL: [Role; 5] = [
        Role::Folios,
        Role::Blocks,
        Role::Bounded,
        Role::TwoKinds,
        Role::Protected,
    ];

    /// The name and the limits of its group, if it plays for one.
    pub(super) fn group(self, pages: usize) -> Option<(&'static str, GroupLimits)> {
        let bytes = pages * PAGE_SIZE;
        let limits = GroupLimits::new();
        match self {
            Role::Bounded => Some(("bounded", limits.high(bytes / 10).max(bytes / 8))),
            Role::Protected => Some(("protected", limits.low(bytes / 8))),
            Role::Folios | Role::Blocks | Role::TwoKinds => None,
        }
    }

    /// Pages of its folios, if it is one that touches folios.
    fn set_pages(self, pages: usize) -> Option<usize> {
        match self {
            Role::Folios => Some(pages * 3 / 4),
            Role::Bounded | Role::Protected => Some(pages / 2),
            Role::Blocks | Role::TwoKinds => None,
        }
    }

    fn pattern(self) -> Pattern {
        match self {
            Role::Bounded => Pattern::Loop,
            Role::Protected => Pattern::Phases,
            Role::Folios | Role::Blocks | Role::TwoKinds => Pattern::Zipf,
        }
    }
}

/// What all loads are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    /// Pages of the pool.
    pub(super) pages: usize,
    pub(super) nodes: usize,
    pub(super) threads: usize,
    pub(super) turn: Duration,
    pub(super) plant: Option<SoakPlant>,
    pub(super) seed: u64,
}

impl Plot {
    /// Pages that folios may need of swap.
    pub(super) fn swap_pages(&self) -> u64 {
        let sets = Role::ALL
            .iter()
            .filter_map(|role| role.set_pages(self.pages));
        (sets.sum::<usize>() + self.pages / 4) as u64
    }

    /// A player for each thread: the roles are dealt out in turn.
    pub(super) fn players(&self) -> Vec<Seat> {
        let mut players: Vec<(usize, Seat)> = Vec::with_capacity(self.threads);
        for (n, role) in Role::ALL.into_iter().enumerate() {
            let seats: Vec<usize> = (n..self.threads).step_by(Role::ALL.len()).collect();
            let seed = nth(self.seed, n as u64);
            let of_role = self.players_of(role, seats.len(), seed);
            players.extend(seats.into_iter().zip(of_role));
        }
        players.sort_by_key(|(thread, _)| *thread);
        let take_turns = |(_, player)| Box::new(TurnPlayer::new(player, self.turn)) as Seat;
        players.into_iter().map(take_turns).collect()
    }

    fn players_of(&self, role: Role, of: usize, seed: u64) -> Vec<Seat> {
        if let Some(pages) = role.set_pages(self.pages) {
            let set = Arc::new(WorkingSet::new(pages as u64, Orders::Mixed, seed));
            return (0..of)
                .map(|n| self.toucher(role, &set, (n, of), nth(seed, n as u64)))
                .collect();
        }
        let exchange = mixed::exchange(of);
        (0..of)
            .map(|n| match role {
                Role::Blocks => self.allocator(&exchange, of, nth(seed, n as u64)),
                _ => self.mixer(of, nth(seed, n as u64)),
            })
            .collect()
    }

    fn toucher(&self, role: Role, set: &Arc<WorkingSet>, seat: (usize, usize), seed: u64) -> Seat {
        let plant = match self.plant {
            Some(SoakPlant::LostWrite) => Some(Plant::LostWrite),
            Some(SoakPlant::Hang) => Some(Plant::Hang),
            Some(SoakPlant::Leak) | None => None,
        };
        let habits = Habits {
            write_share: 0.2,
            churn_share: 0.05,
            trust: Trust::Sound,
            plant: plant.filter(|_| role == Role::Folios),
        };
        let touches = Touches::new(role.pattern(), set.len(), THETA, seat);
        let player = PagingPlayer::new(Arc::clone(set), habits, touches, seat, seed);
        match role.group(self.pages) {
            None => Box::new(player),
            Some((name, _)) => {
                let pace = (role == Role::Protected).then_some(PACE);
                Box::new(Member::new(player, name, pace, Arc::new(Deeds::default())))
            }
        }
    }

    fn allocator(&self, exchange: &Exchange, of: usize, seed: u64) -> Seat {
        let load = mixed::Load {
            share_pages: (self.pages / 8 / of).max(1),
            nr_nodes: self.nodes,
            events: u64::MAX,
        };
        Box::new(MixedPlayer::new(load, Arc::clone(exchange), seed))
    }

    fn mixer(&self, of: usize, seed: u64) -> Seat {
        let load = two_kinds::Load {
            pages: (self.pages / 8 / of).max(1),
            fill: 0.8,
            unmovable: 0.2,
            events: None,
            look: (u64::MAX, Duration::from_secs(1)),
            plant: None,
        };
        Box::new(TwoKindsPlayer::new(load, Notebook::new(), seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_a_player_and_every_role_a_thread() {
        let plot = Plot {
            pages: 4096,
            nodes: 1,
            threads: 7,
            turn: Duration::from_secs(1),
            plant: None,
            seed: 1,
        };
        assert_eq!(plot.players().len(), 7);
        assert_eq!(plot.swap_pages(), 3072 + 2 * 2048 + 1024);
    }
}
