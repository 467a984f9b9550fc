//! The groups that share a pool, and who plays for them.
#![forbid(unsafe_code)]

use std::sync::Arc;

use pagepool::{GroupLimits, PAGE_SIZE};

use super::super::paging::{MEMORY, habits, orders, pattern_name};
use crate::{
    cli::{Common, Overcommit},
    crew::Seat,
    pattern::{Pattern, Touches},
    player::{
        member::{Deeds, Member},
        paging::{PagingPlayer, Trust, WorkingSet},
    },
    report::Members,
    rng::nth,
    units::grouped,
};

/// The pool's memory, as a multiple of the protected group's set.
const PROTECTED_PART: f64 = 4.0;

/// A group, its folios, and how many threads touch them.
pub(super) struct Role {
    pub(super) name: String,
    pub(super) limits: GroupLimits,
    pub(super) deeds: Arc<Deeds>,
    set: Arc<WorkingSet>,
    threads: usize,
    /// What its folios' contents and its choices follow from.
    seed: u64,
}

impl Role {
    /// The group that is protected.
    fn protected(common: &Common, options: &Overcommit, threads: usize, seed: u64) -> Role {
        let set = new_set(common, options, 1.0 / PROTECTED_PART, seed);
        let low = match options.groups.unprotected {
            true => 0,
            false => set.pages() as usize * PAGE_SIZE,
        };
        Role {
            name: "protected".to_owned(),
            limits: GroupLimits::new().low(low),
            deeds: Arc::default(),
            set,
            threads,
            seed,
        }
    }

    /// The `n`-th neighbour, counted from 1.
    fn neighbour(
        common: &Common,
        options: &Overcommit,
        n: usize,
        threads: usize,
        seed: u64,
    ) -> Role {
        let none = GroupLimits::new();
        let (high, max) = (options.groups.high, options.groups.max);
        Role {
            name: format!("neighbour{n}"),
            limits: none
                .high(high.unwrap_or(none.high_bytes()))
                .max(max.unwrap_or(none.max_bytes())),
            deeds: Arc::default(),
            set: new_set(common, options, options.factor, seed),
            threads,
            seed,
        }
    }

    /// Its folios and threads, for the report.
    pub(super) fn members(&self) -> Members {
        Members {
            threads: self.threads,
            set_pages: self.set.pages(),
        }
    }

    /// A player that touches the folios in the order of `pattern`, with so many touches a second or as many as
    /// it can.
    fn player(
        &self,
        options: &Overcommit,
        pattern: Pattern,
        touches_per_s: Option<u64>,
        seat: usize,
    ) -> Seat {
        let seats = (seat, self.threads);
        let touches = Touches::new(pattern, self.set.len(), options.load.theta, seats);
        let player = PagingPlayer::new(
            Arc::clone(&self.set),
            habits(&options.load, Trust::Sound),
            touches,
            seats,
            nth(self.seed, seat as u64),
        );
        let deeds = Arc::clone(&self.deeds);
        Box::new(Member::new(player, &self.name, touches_per_s, deeds))
    }
}

/// Folios of `factor` times the pool.
fn new_set(common: &Common, options: &Overcommit, factor: f64, seed: u64) -> Arc<WorkingSet> {
    let pages = (common.memory.unwrap_or(MEMORY) / PAGE_SIZE) as f64 * factor;
    Arc::new(WorkingSet::new(pages as u64, orders(&options.load), seed))
}

/// The groups of a phase, the protected one first, and their players.
pub(super) struct Cast {
    pub(super) roles: Vec<Role>,
    pub(super) players: Vec<Seat>,
}

impl Cast {
    /// The first `nr` of `of` groups, each with the players that it has when all of them play.
    pub(super) fn new(
        common: &Common,
        options: &Overcommit,
        (nr, of): (usize, usize),
        threads: usize,
        seed: u64,
    ) -> Cast {
        let role = |n: usize| {
            let (threads, seed) = ((n..threads).step_by(of).count(), nth(seed, n as u64));
            match n {
                0 => Role::protected(common, options, threads, seed),
                _ => Role::neighbour(common, options, n, threads, seed),
            }
        };
        let roles: Vec<Role> = (0..nr).map(role).collect();
        let habit = |n: usize| match n {
            0 => (options.load.pattern, Some(options.groups.pace)),
            _ => (Pattern::Loop, None),
        };
        let mut players = Vec::new();
        for (n, role) in roles.iter().enumerate() {
            let (pattern, pace) = habit(n);
            players.extend((0..role.threads).map(|seat| role.player(options, pattern, pace, seat)));
        }
        Cast { roles, players }
    }

    /// Pages of all folios.
    pub(super) fn pages(&self) -> u64 {
        self.roles.iter().map(|role| role.set.pages()).sum()
    }

    /// In one line.
    pub(super) fn describe(&self, options: &Overcommit) -> String {
        let protected = format!(
            "a group of {} pages, {}, {} touches a second and thread",
            grouped(self.roles[0].set.pages()),
            pattern_name(options.load.pattern),
            grouped(options.groups.pace)
        );
        match self.roles.len() - 1 {
            0 => format!("{protected}, alone"),
            nr => format!(
                "{protected}, beside {nr} that loop over {} x the pool",
                options.factor
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn cast(args: &str, nr: usize, threads: usize) -> Cast {
        let args = format!("stress overcommit --memory 8M {args}");
        let cli = Cli::parse_from(args.split_whitespace());
        let Some(Command::Overcommit(options)) = &cli.command else {
            panic!("{cli:?}");
        };
        Cast::new(&cli.common, options, (nr, 3), threads, 7)
    }

    #[test]
    fn the_first_is_protected_by_its_whole_set_and_the_others_are_limited() {
        let cast = cast("--groups 3 --high 1M --max 2M", 3, 4);
        let limits: Vec<_> = cast.roles.iter().map(|role| role.limits).collect();
        let neighbour = GroupLimits::new().high(1 << 20).max(2 << 20);
        let protected = GroupLimits::new().low(2 << 20);
        assert_eq!(limits, [protected, neighbour, neighbour]);
        let threads: Vec<_> = cast.roles.iter().map(|role| role.threads).collect();
        assert_eq!((threads, cast.players.len()), (vec![2, 1, 1], 4));
        assert_eq!(cast.pages(), 512 + 2 * 4096);
    }

    #[test]
    fn alone_it_has_the_threads_and_the_folios_that_it_has_among_others() {
        let alone = cast("--groups 3", 1, 4);
        assert_eq!((alone.roles.len(), alone.players.len()), (1, 2));
        assert_eq!(alone.pages(), 512);
        let unprotected = cast("--groups 3 --unprotected", 1, 3);
        assert_eq!(unprotected.roles[0].limits, GroupLimits::new());
    }
}
