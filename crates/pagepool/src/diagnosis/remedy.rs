//! What would help a request that failed (pure).

use std::fmt;
use std::time::Duration;

use crate::error::AllocError;
use crate::types::{GroupId, Order};

/// The one thing that would help. Prints as what to do, with the figures that it goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Remedy {
    /// The request may not wait, and whoever may would get memory.
    LetItWait,
    /// The request may not do I/O, or not now.
    LetItDoIo,
    /// Nobody reclaims or compacts in the background.
    StartDaemons,
    /// There is no swap.
    AddSwap,
    /// All of swap is used.
    AddMoreSwap {
        /// Its pages.
        pages: usize,
    },
    /// Pinned folios are in the way.
    DropPins {
        /// How many are pinned, at least.
        folios: usize,
        /// How long the oldest has been.
        oldest: Duration,
    },
    /// Locked folios, and those that are being used, are in the way.
    UnlockFolios {
        /// Pages of locked folios.
        pages: usize,
    },
    /// Small blocks are free that could be moved together, and more of them would be if more were kept free.
    CompactOrKeepMoreFree {
        /// `min_free_kbytes` now.
        min_free_kbytes: u64,
        /// The most that it can be.
        most: u64,
    },
    /// Small blocks are free that could be moved together.
    Compact,
    /// Nobody keeps pageblocks free beforehand.
    RaiseProactiveness {
        /// `compaction_proactiveness` now.
        percent: u8,
    },
    /// Everything that can be moved together was: what is in between stays where it is.
    HoldInFolios {
        /// The order asked for.
        order: Order,
    },
    /// The block is larger than any could be.
    AskForLess {
        /// The order asked for.
        order: Order,
    },
    /// Other nodes have memory.
    WidenMask,
    /// A lower zone keeps it back.
    LowerReserve,
    /// The group has all that it may.
    RaiseGroupLimit {
        /// Which group.
        group: GroupId,
        /// The lower of its `max` and `high`, in bytes.
        limit: usize,
    },
    /// A device does not answer.
    SeeToDevice,
    /// More is in use than the pool has.
    MoreMemory {
        /// Its budget, in bytes.
        budget: usize,
    },
    /// The request was made where it might wait for itself.
    AllocateElsewhere,
    /// What is used at once does not fit into memory.
    UseLessAtOnce,
    /// The table of folios is full.
    RaiseMaxFolios {
        /// `max_folios`.
        max: usize,
    },
    /// The request contradicts itself.
    MendFlags,
}

/// What is known when a remedy is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    /// Why the request failed.
    pub(crate) cause: AllocError,
    /// Its order.
    pub(crate) order: Order,
    /// Whether it may reclaim for itself.
    pub(crate) may_reclaim: bool,
    /// Whether it may do I/O.
    pub(crate) may_io: bool,
    /// Whether daemons run.
    pub(crate) has_daemons: bool,
    /// Whether it compacted for itself.
    pub(crate) has_compacted: bool,
    /// Pages of swap.
    pub(crate) swap_total: usize,
    /// Of these, those that hold nothing.
    pub(crate) swap_free: usize,
    /// Pages of anonymous folios that could go.
    pub(crate) anon: usize,
    /// Pages of folios of mappings that could go.
    pub(crate) file: usize,
    /// Pages of locked folios.
    pub(crate) locked: usize,
    /// Pinned folios that were found.
    pub(crate) pinned: usize,
    /// How long the oldest of them has been.
    pub(crate) oldest_pin: Duration,
    /// `compaction_proactiveness`.
    pub(crate) proactiveness: u8,
    /// `min_free_kbytes`.
    pub(crate) min_free_kbytes: u64,
    /// The most that it can be.
    pub(crate) min_free_most: u64,
    /// The budget, in bytes.
    pub(crate) budget: usize,
    /// The most folios that there can be.
    pub(crate) max_folios: usize,
    /// The group that is full, and the lower of its limits in bytes.
    pub(crate) group: (GroupId, usize),
}

/// What would help.
pub(crate) fn remedy_for(facts: &Facts) -> Remedy {
    match facts.cause {
        AllocError::Fragmented => of_fragmented(facts),
        AllocError::BelowMin => of_short(facts),
        AllocError::AllPinned => of_pinned(facts),
        AllocError::SwapFull if facts.swap_total == 0 => Remedy::AddSwap,
        AllocError::SwapFull => Remedy::AddMoreSwap {
            pages: facts.swap_total,
        },
        AllocError::StoreStalled => Remedy::SeeToDevice,
        AllocError::NodeMask => Remedy::WidenMask,
        AllocError::LowmemReserve => Remedy::LowerReserve,
        AllocError::GroupLimit => Remedy::RaiseGroupLimit {
            group: facts.group.0,
            limit: facts.group.1,
        },
        AllocError::Reentrant => Remedy::AllocateElsewhere,
        AllocError::Thrashing => Remedy::UseLessAtOnce,
        AllocError::NeverFits => Remedy::AskForLess { order: facts.order },
        AllocError::TooManyFolios => Remedy::RaiseMaxFolios {
            max: facts.max_folios,
        },
        AllocError::InvalidFlags => Remedy::MendFlags,
    }
}

/// Who may not wait has nobody compact for it; else whatever keeps compaction from helping comes first.
fn of_fragmented(facts: &Facts) -> Remedy {
    if !facts.may_reclaim {
        Remedy::LetItWait
    } else if !facts.may_io {
        Remedy::LetItDoIo
    } else if facts.pinned > 0 && facts.has_compacted {
        of_pinned(facts)
    } else if !facts.has_daemons {
        Remedy::StartDaemons
    } else if facts.proactiveness == 0 {
        Remedy::RaiseProactiveness { percent: 0 }
    } else if facts.has_compacted {
        Remedy::HoldInFolios { order: facts.order }
    } else if facts.min_free_kbytes < facts.min_free_most {
        Remedy::CompactOrKeepMoreFree {
            min_free_kbytes: facts.min_free_kbytes,
            most: facts.min_free_most,
        }
    } else {
        Remedy::Compact
    }
}

/// Reclaim first, if there is something to reclaim and somewhere to put it.
fn of_short(facts: &Facts) -> Remedy {
    let could_go = facts.file > 0 || facts.anon > 0 && facts.swap_free > 0;
    if could_go && !facts.may_reclaim {
        Remedy::LetItWait
    } else if could_go && !facts.may_io {
        Remedy::LetItDoIo
    } else if facts.anon > 0 && facts.swap_total == 0 {
        Remedy::AddSwap
    } else {
        Remedy::MoreMemory {
            budget: facts.budget,
        }
    }
}

fn of_pinned(facts: &Facts) -> Remedy {
    if facts.pinned == 0 {
        return Remedy::UnlockFolios {
            pages: facts.locked,
        };
    }
    Remedy::DropPins {
        folios: facts.pinned,
        oldest: facts.oldest_pin,
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::LetItWait => f.write_str(
                "let the request wait (`Gfp::DIRECT_RECLAIM`, part of `Gfp::KERNEL`)",
            ),
            Remedy::LetItDoIo => {
                f.write_str("let the request do I/O (`Gfp::IO`, and no scope that forbids it)")
            }
            Remedy::StartDaemons => {
                f.write_str("start the daemons (`PagePool::start_daemons`): nothing works in the background")
            }
            Remedy::AddSwap => f.write_str("add a swap area (`PagePool::swap_on`): there is none"),
            Remedy::AddMoreSwap { pages } => write!(
                f,
                "add a swap area (`PagePool::swap_on`), or drop folios: all {pages} pages of swap are used"
            ),
            Remedy::DropPins { folios, oldest } => write!(
                f,
                "drop pins: {folios} folios are pinned, the oldest for at least {:.1} s",
                oldest.as_secs_f64()
            ),
            Remedy::UnlockFolios { pages: 0 } => {
                f.write_str("drop pins and guards: none was found among the folios looked at")
            }
            Remedy::UnlockFolios { pages } => write!(
                f,
                "unlock folios ({pages} pages are locked), or drop guards"
            ),
            Remedy::CompactOrKeepMoreFree {
                min_free_kbytes,
                most,
            } => write!(
                f,
                "compact (`PagePool::compact`), or raise min_free_kbytes ({min_free_kbytes}, of at most {most})"
            ),
            Remedy::Compact => f.write_str("compact (`PagePool::compact`)"),
            Remedy::RaiseProactiveness { percent } => {
                write!(f, "raise compaction_proactiveness ({percent})")
            }
            Remedy::HoldInFolios { order } => write!(
                f,
                "hold what lives long in folios, which can be moved (all that could be was), or ask for less than order {order}"
            ),
            Remedy::AskForLess { order } => write!(f, "ask for less than order {order}"),
            Remedy::WidenMask => f.write_str("widen the node mask: other nodes have memory"),
            Remedy::LowerReserve => f.write_str(
                "raise lowmem_reserve_ratio of the lower zone (0 keeps nothing back), or ask for the higher zone",
            ),
            Remedy::RaiseGroupLimit { group, limit } => write!(
                f,
                "free memory of group {}, or raise its limit of {limit} bytes",
                group.get()
            ),
            Remedy::SeeToDevice => f.write_str("see to the device of the store that does not answer"),
            Remedy::MoreMemory { budget } => write!(
                f,
                "free memory, or build the pool with more than {budget} bytes"
            ),
            Remedy::AllocateElsewhere => {
                f.write_str("allocate before the callback, or from another pool")
            }
            Remedy::UseLessAtOnce => f.write_str(
                "use less at once, or give the pool more memory: what is evicted is needed again at once",
            ),
            Remedy::RaiseMaxFolios { max } => {
                write!(f, "drop folios, or build the pool with max_folios above {max}")
            }
            Remedy::MendFlags => f.write_str(AllocError::InvalidFlags.remedy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const FACTS: Facts = Facts {
        cause: AllocError::Fragmented,
        order: Order::ZERO,
        may_reclaim: true,
        may_io: true,
        has_daemons: true,
        has_compacted: true,
        swap_total: 100,
        swap_free: 50,
        anon: 10,
        file: 0,
        locked: 3,
        pinned: 0,
        oldest_pin: Duration::ZERO,
        proactiveness: 90,
        min_free_kbytes: 5368,
        min_free_most: 9000,
        budget: 1 << 30,
        max_folios: 77,
        group: (GroupId::ROOT, 0),
    };

    pub(super) const CAUSES: [AllocError; 13] = [
        AllocError::Fragmented,
        AllocError::BelowMin,
        AllocError::AllPinned,
        AllocError::SwapFull,
        AllocError::StoreStalled,
        AllocError::NodeMask,
        AllocError::LowmemReserve,
        AllocError::GroupLimit,
        AllocError::Reentrant,
        AllocError::Thrashing,
        AllocError::NeverFits,
        AllocError::TooManyFolios,
        AllocError::InvalidFlags,
    ];

    fn after(change: impl FnOnce(&mut Facts)) -> Remedy {
        let mut facts = FACTS;
        change(&mut facts);
        remedy_for(&facts)
    }

    #[test]
    fn memory_in_pieces_is_compacted_by_whoever_can() {
        let more = Remedy::CompactOrKeepMoreFree {
            min_free_kbytes: 5368,
            most: 9000,
        };
        assert_eq!(after(|f| f.has_compacted = false), more);
        let order = Order::ZERO;
        assert_eq!(after(|_| ()), Remedy::HoldInFolios { order });
        assert_eq!(after(|f| f.may_reclaim = false), Remedy::LetItWait);
        assert_eq!(after(|f| f.may_io = false), Remedy::LetItDoIo);
        assert_eq!(after(|f| f.has_daemons = false), Remedy::StartDaemons);
        let pinned = after(|f| (f.pinned, f.oldest_pin) = (5, Duration::from_secs(2)));
        assert_eq!(
            pinned.to_string(),
            "drop pins: 5 folios are pinned, the oldest for at least 2.0 s"
        );
    }

    #[test]
    fn lack_of_memory_is_met_by_swap_where_there_is_something_to_swap() {
        let short = |change: fn(&mut Facts)| {
            after(|f| {
                f.cause = AllocError::BelowMin;
                change(f);
            })
        };
        assert_eq!(short(|f| f.swap_total = 0), Remedy::AddSwap);
        assert_eq!(short(|f| f.may_reclaim = false), Remedy::LetItWait);
        let more = Remedy::MoreMemory { budget: 1 << 30 };
        assert_eq!(short(|f| f.anon = 0), more);
        assert_eq!(short(|_| ()), more);
        // Clean pages of mappings are free for the asking, but not for who may not wait.
        let by_file = short(|f| (f.anon, f.file, f.may_reclaim) = (0, 9, false));
        assert_eq!(by_file, Remedy::LetItWait);
        // With swap full there is nothing to wait for.
        let full = short(|f| (f.swap_free, f.may_reclaim) = (0, false));
        assert_eq!(full, more);
    }

    #[test]
    fn f2_no_remedy_is_what_is_so_already() {
        for cause in CAUSES {
            for bits in 0..1 << 8 {
                let bit = |n: u32| bits >> n & 1 == 1;
                let facts = Facts {
                    cause,
                    may_reclaim: bit(0),
                    may_io: bit(1),
                    has_daemons: bit(2),
                    has_compacted: bit(3),
                    swap_total: usize::from(bit(4)) * 100,
                    pinned: usize::from(bit(5)),
                    proactiveness: u8::from(bit(6)) * 100,
                    min_free_kbytes: if bit(7) { 9000 } else { 10 },
                    ..FACTS
                };
                let is_news = match remedy_for(&facts) {
                    Remedy::LetItWait => !facts.may_reclaim,
                    Remedy::LetItDoIo => !facts.may_io,
                    Remedy::StartDaemons => !facts.has_daemons,
                    Remedy::AddSwap => facts.swap_total == 0,
                    Remedy::AddMoreSwap { .. } => facts.swap_total > 0,
                    Remedy::DropPins { .. } => facts.pinned > 0,
                    Remedy::RaiseProactiveness { percent } => percent < 100,
                    Remedy::CompactOrKeepMoreFree {
                        min_free_kbytes,
                        most,
                    } => min_free_kbytes < most && !facts.has_compacted,
                    Remedy::Compact => !facts.has_compacted,
                    _ => true,
                };
                assert!(is_news, "{facts:?}");
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod properties {
    use proptest::prelude::*;

    use super::tests::{CAUSES, FACTS};
    use super::*;

    fn facts() -> impl Strategy<Value = Facts> {
        let few = || prop_oneof![Just(0usize), 1..50usize];
        let numbers = (few(), few(), few(), few(), few(), few());
        (
            prop::sample::select(CAUSES.to_vec()),
            any::<[bool; 5]>(),
            numbers,
        )
            .prop_map(|(cause, bits, numbers)| {
                let [
                    may_reclaim,
                    may_io,
                    has_daemons,
                    has_compacted,
                    is_proactive,
                ] = bits;
                let (swap_total, swap_free, anon, file, locked, pinned) = numbers;
                Facts {
                    cause,
                    may_reclaim,
                    may_io,
                    has_daemons,
                    has_compacted,
                    swap_total,
                    swap_free: swap_free.min(swap_total),
                    anon,
                    file,
                    locked,
                    pinned,
                    proactiveness: u8::from(is_proactive),
                    ..FACTS
                }
            })
    }

    /// The facts after somebody has done what was advised; none if then there is nothing more to say.
    fn followed(facts: Facts, remedy: Remedy) -> Option<Facts> {
        match remedy {
            Remedy::LetItWait => Some(Facts {
                may_reclaim: true,
                ..facts
            }),
            Remedy::LetItDoIo => Some(Facts {
                may_io: true,
                ..facts
            }),
            Remedy::StartDaemons => Some(Facts {
                has_daemons: true,
                ..facts
            }),
            Remedy::AddSwap => Some(Facts {
                swap_total: 9,
                swap_free: 9,
                ..facts
            }),
            Remedy::DropPins { .. } => Some(Facts { pinned: 0, ..facts }),
            Remedy::RaiseProactiveness { .. } => Some(Facts {
                proactiveness: 50,
                ..facts
            }),
            Remedy::Compact => Some(Facts {
                has_compacted: true,
                ..facts
            }),
            Remedy::CompactOrKeepMoreFree { .. } => Some(Facts {
                min_free_kbytes: facts.min_free_most,
                ..facts
            }),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn nobody_is_told_twice_and_the_advice_comes_to_an_end(facts in facts()) {
            let mut facts = facts;
            let mut told = vec![];
            loop {
                let remedy = remedy_for(&facts);
                let name = std::mem::discriminant(&remedy);
                prop_assert!(!told.contains(&name), "{:?} again", remedy);
                told.push(name);
                let text = remedy.to_string();
                prop_assert!(!text.is_empty() && !text.contains('\n'));
                match followed(facts, remedy) {
                    Some(then) => facts = then,
                    None => break,
                }
            }
        }

        #[test]
        fn nobody_is_told_to_do_what_is_done(facts in facts()) {
            match remedy_for(&facts) {
                Remedy::LetItWait => prop_assert!(!facts.may_reclaim),
                Remedy::LetItDoIo => prop_assert!(!facts.may_io),
                Remedy::StartDaemons => prop_assert!(!facts.has_daemons),
                Remedy::AddSwap => prop_assert_eq!(facts.swap_total, 0),
                Remedy::AddMoreSwap { pages } => prop_assert!(pages > 0 && pages == facts.swap_total),
                Remedy::DropPins { folios, .. } => prop_assert!(folios > 0 && folios == facts.pinned),
                Remedy::HoldInFolios { .. } => prop_assert!(facts.has_compacted),
                Remedy::Compact | Remedy::CompactOrKeepMoreFree { .. } => prop_assert!(!facts.has_compacted),
                Remedy::RaiseProactiveness { percent } => prop_assert_eq!((percent, facts.proactiveness), (0, 0)),
                _ => {}
            }
        }
    }
}
