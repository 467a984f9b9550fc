//! When a run ends (spec 6.8).
//!
//! *Kernel counterpart:* `compact_finished` (v5.0). It is asked after each batch of folios moved and at
//! the end of each unit.
//!
//! For a request that cannot be moved itself it is not enough that a block of another type can be taken
//! over: that pageblock will hold what stays for ever, so a unit that was begun is emptied to its end
//! first. The more of it is free, the longer it lasts until the next must be taken over.
//!
//! One difference: a block of the request's own type counts at every order before one of another type
//! counts at any, since that is how the buddy will serve it.

use super::positions::Coverage;
use super::terms::{MigrateMode, Terms};
use crate::buddy::Availability;
use crate::compact::CompactResult;
use crate::types::{Migratetype, Order};
use crate::zone::score::{FreeShape, ProactiveMarks};

/// What a run is for, and how near it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// A free block.
    Block {
        /// Its order.
        order: Order,
        /// The type of request that it is for.
        want: Migratetype,
        /// How the run works.
        mode: MigrateMode,
        /// What is free in the zone.
        available: Availability,
        /// The order of the zone's pageblocks.
        block_order: Order,
    },
    /// As many free blocks as there can be.
    Everything,
    /// A lower score.
    Score {
        /// Between which scores the zone is kept.
        marks: ProactiveMarks,
        /// What is free in the zone.
        shape: FreeShape,
        /// Whether the background reclaimer of the node is at work, which comes first.
        kswapd_runs: bool,
    },
}

impl Aim {
    /// The aim of a run that somebody asked for.
    pub(crate) fn of(terms: &Terms, available: Availability, block_order: Order) -> Aim {
        match terms.order {
            None => Aim::Everything,
            Some(order) => Aim::Block {
                order,
                want: terms.want,
                mode: terms.mode,
                available,
                block_order,
            },
        }
    }
}

/// The state of a run between two steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Whether a lock was contended, targets ran out, the thread must stop, or its time is over.
    pub(crate) interrupted: bool,
    /// What was covered, if the zone's end was met.
    pub(crate) met: Option<Coverage>,
    /// Whether no unit is begun: it was emptied or given up.
    pub(crate) at_boundary: bool,
    /// What the last answer said about it.
    pub(crate) finishing: bool,
    /// What the run is for.
    pub(crate) aim: Aim,
}

/// Whether a run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// It does.
    GoOn {
        /// Whether only to the end of the unit that is begun (kernel: `finishing_block`).
        finishing: bool,
    },
    /// It ends.
    End(CompactResult),
}

/// Whether a run goes on.
pub(crate) fn compact_finished(moment: &Moment) -> Next {
    const GO_ON: Next = Next::GoOn { finishing: false };
    if moment.interrupted {
        return Next::End(CompactResult::Contended);
    }
    if let Some(coverage) = moment.met {
        return Next::End(result_of(coverage));
    }
    match moment.aim {
        Aim::Everything => GO_ON,
        Aim::Score {
            kswapd_runs: true, ..
        } => Next::End(CompactResult::Contended),
        Aim::Score { marks, shape, .. } if marks.is_settled(shape) => {
            Next::End(CompactResult::Success)
        }
        Aim::Score { .. } => GO_ON,
        Aim::Block { .. } if moment.finishing && !moment.at_boundary => {
            Next::GoOn { finishing: true }
        }
        Aim::Block {
            order,
            want,
            mode,
            available,
            block_order,
        } => {
            let takes_over = can_take_over(available, order, want, block_order);
            let may_stop =
                want == Migratetype::Movable || mode == MigrateMode::Async || moment.at_boundary;
            if available.at_least(want, order) || takes_over && may_stop {
                Next::End(CompactResult::Success)
            } else {
                Next::GoOn {
                    finishing: takes_over,
                }
            }
        }
    }
}

/// The result of a run that met the zone's end.
fn result_of(coverage: Coverage) -> CompactResult {
    match coverage {
        Coverage::WholeZone => CompactResult::Complete,
        Coverage::Rest => CompactResult::PartialSkipped,
    }
}

/// Whether a request of type `want` could take over a free block of another type together with its
/// pageblock (spec 1.15). What can be moved takes over large blocks only.
fn can_take_over(
    available: Availability,
    order: Order,
    want: Migratetype,
    block_order: Order,
) -> bool {
    use Migratetype::{HighAtomic, Movable, Reclaimable, Unmovable};
    let least = match want {
        Movable => order.max(Order::at(block_order.idx() / 2)),
        Unmovable | Reclaimable => order,
        HighAtomic => return false,
    };
    [Unmovable, Movable, Reclaimable]
        .into_iter()
        .any(|mt| mt != want && available.at_least(mt, least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NR_ORDERS;

    const MOVABLE: Migratetype = Migratetype::Movable;
    const UNMOVABLE: Migratetype = Migratetype::Unmovable;
    const GO_ON: Next = Next::GoOn { finishing: false };
    const FINISHING: Next = Next::GoOn { finishing: true };
    const SUCCESS: Next = Next::End(CompactResult::Success);

    fn free(blocks: &[(Migratetype, usize)]) -> Availability {
        let bit = |(mt, order): &(Migratetype, usize)| 1 << (mt.idx() * NR_ORDERS + order);
        Availability::from_raw(blocks.iter().map(bit).sum())
    }

    /// A run for order 4 in a zone with pageblocks of order 9, in the middle of a unit.
    fn block(want: Migratetype, mode: MigrateMode, blocks: &[(Migratetype, usize)]) -> Moment {
        Moment {
            interrupted: false,
            met: None,
            at_boundary: false,
            finishing: false,
            aim: Aim::Block {
                order: Order::at(4),
                want,
                mode,
                available: free(blocks),
                block_order: Order::at(9),
            },
        }
    }

    fn movable(blocks: &[(Migratetype, usize)]) -> Next {
        compact_finished(&block(MOVABLE, MigrateMode::SyncLight, blocks))
    }

    fn unmovable(blocks: &[(Migratetype, usize)]) -> Moment {
        block(UNMOVABLE, MigrateMode::SyncLight, blocks)
    }

    mod tv {
        use super::*;

        #[test]
        fn s6_8_an_interruption_counts_before_anything_else() {
            let moment = Moment {
                interrupted: true,
                met: Some(Coverage::WholeZone),
                ..block(MOVABLE, MigrateMode::SyncLight, &[(MOVABLE, 9)])
            };
            assert_eq!(
                compact_finished(&moment),
                Next::End(CompactResult::Contended)
            );
        }

        #[test]
        fn s6_8_who_has_met_the_end_ends_even_if_the_block_is_there() {
            for (coverage, result) in [
                (Coverage::WholeZone, CompactResult::Complete),
                (Coverage::Rest, CompactResult::PartialSkipped),
            ] {
                let moment = Moment {
                    met: Some(coverage),
                    finishing: true,
                    ..block(MOVABLE, MigrateMode::SyncLight, &[(MOVABLE, 9)])
                };
                assert_eq!(compact_finished(&moment), Next::End(result));
                let manual = Moment {
                    aim: Aim::Everything,
                    ..moment
                };
                assert_eq!(compact_finished(&manual), Next::End(result));
            }
        }

        #[test]
        fn s6_8_who_wants_everything_goes_on() {
            let moment = Moment {
                at_boundary: true,
                aim: Aim::Everything,
                ..block(MOVABLE, MigrateMode::Sync, &[])
            };
            assert_eq!(compact_finished(&moment), GO_ON);
        }

        #[test]
        fn s6_8_a_block_of_the_type_at_the_order_or_above_is_success() {
            assert_eq!(movable(&[]), GO_ON);
            assert_eq!(movable(&[(MOVABLE, 3)]), GO_ON);
            for order in 4..NR_ORDERS {
                assert_eq!(movable(&[(MOVABLE, order)]), SUCCESS);
                assert_eq!(compact_finished(&unmovable(&[(UNMOVABLE, order)])), SUCCESS);
            }
        }

        #[test]
        fn s6_8_what_can_be_moved_ends_with_a_block_that_it_may_take_over() {
            for mt in [UNMOVABLE, Migratetype::Reclaimable] {
                assert_eq!(movable(&[(mt, 3)]), GO_ON);
                assert_eq!(movable(&[(mt, 4)]), SUCCESS, "half of a pageblock's order");
            }
            assert_eq!(movable(&[(Migratetype::HighAtomic, 9)]), GO_ON);
        }

        #[test]
        fn s6_8_what_cannot_be_moved_finishes_the_unit_first() {
            let begun = unmovable(&[(MOVABLE, 5)]);
            assert_eq!(compact_finished(&begun), FINISHING);
            let taken = Moment {
                finishing: true,
                ..unmovable(&[])
            };
            assert_eq!(
                compact_finished(&taken),
                FINISHING,
                "even if somebody took the block"
            );
            let boundary = Moment {
                at_boundary: true,
                finishing: true,
                ..begun
            };
            assert_eq!(compact_finished(&boundary), SUCCESS);
            let in_vain = Moment {
                at_boundary: true,
                ..taken
            };
            assert_eq!(compact_finished(&in_vain), GO_ON);
            let hasty = block(UNMOVABLE, MigrateMode::Async, &[(MOVABLE, 5)]);
            assert_eq!(compact_finished(&hasty), SUCCESS);
        }
    }

    #[test]
    fn a_block_of_the_own_type_ends_the_run_even_if_a_smaller_one_could_be_taken_over() {
        let moment = unmovable(&[(MOVABLE, 5), (UNMOVABLE, 6)]);
        assert_eq!(compact_finished(&moment), SUCCESS);
    }

    #[test]
    fn small_movable_blocks_may_not_take_over_what_is_small_in_a_zone_of_small_pageblocks() {
        let least = |block_order| {
            let available = |order| free(&[(UNMOVABLE, order)]);
            let block_order = Order::at(block_order);
            (0..NR_ORDERS)
                .find(|order| can_take_over(available(*order), Order::ZERO, MOVABLE, block_order))
        };
        assert_eq!(least(9), Some(4));
        assert_eq!(least(4), Some(2));
    }

    #[test]
    fn proactive_runs_end_with_a_low_score_or_for_the_sake_of_reclaim() {
        let run = |whole, kswapd_runs| {
            let aim = Aim::Score {
                marks: ProactiveMarks::of(20),
                shape: FreeShape {
                    free: 10_000,
                    whole,
                    block_pages: 512,
                    sparse: 1,
                },
                kswapd_runs,
            };
            compact_finished(&Moment {
                aim,
                ..block(MOVABLE, MigrateMode::SyncLight, &[])
            })
        };
        assert_eq!(run(512, false), GO_ON);
        assert_eq!(run(4 * 512, false), SUCCESS);
        assert_eq!(run(512, true), Next::End(CompactResult::Contended));
    }

    #[test]
    fn the_aim_follows_from_the_terms() {
        let available = free(&[]);
        let manual = Aim::of(&Terms::manual(), available, Order::at(9));
        assert!(matches!(manual, Aim::Everything));
        let terms = Terms::kcompactd(Order::at(3), crate::types::ZoneType::Normal);
        let Aim::Block { order, want, .. } = Aim::of(&terms, available, Order::at(9)) else {
            panic!("a request wants a block");
        };
        assert_eq!((order, want), (Order::at(3), UNMOVABLE));
    }
}
