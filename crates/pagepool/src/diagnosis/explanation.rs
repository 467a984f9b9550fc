//! The answer to "there is free memory: why would my allocation fail?", in one line.

use std::fmt;

use super::remedy::Remedy;
use super::zone::{Standing, ZoneReport};
use crate::error::AllocError;
use crate::types::Order;

/// Whether a request would get a block now without waiting, and why, or why not. Prints as one line.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The order asked for.
    pub order: Order,
    /// Why it would be refused; none if it would get its block.
    pub cause: Option<AllocError>,
    /// The zone that decides: the one that would serve it, or that comes closest to it.
    pub zone: Option<ZoneReport>,
    /// What would help, if anything needs to.
    pub remedy: Option<Remedy>,
}

/// The zone that decides: where a request passes, else the one with most free of those that are closest to
/// let it pass.
pub(crate) fn deciding(zones: impl Iterator<Item = ZoneReport>) -> Option<ZoneReport> {
    zones.min_by_key(|zone| (zone.standing, std::cmp::Reverse(zone.free)))
}

/// What a zone has to say of a request of `order`, in one sentence without its end.
pub(super) struct Sentence<'a> {
    pub(super) order: Order,
    pub(super) zone: &'a ZoneReport,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sentence { order, zone } = *self;
        let ZoneReport {
            free, min, boost, ..
        } = zone;
        write!(
            f,
            "{} of node {} has {free} pages free",
            zone.zone, zone.node
        )?;
        let raised = |f: &mut fmt::Formatter<'_>| match boost {
            0 => Ok(()),
            boost => write!(f, " (raised by {boost} against fragmentation)"),
        };
        match zone.standing {
            Standing::Passes => write!(f, " and can serve order {}", order.get()),
            Standing::Fragmented => {
                let (name, mark) = zone.mark_below();
                write!(f, ", above its {name} mark of {mark}")?;
                raised(f)?;
                write!(f, ", but no free block of {} pages", order.pages())?;
                match zone.largest_free() {
                    Some(largest) => {
                        write!(f, " (the largest has {}): fragmented", largest.pages())
                    }
                    None => write!(f, ": fragmented"),
                }
            }
            Standing::Reserved => write!(
                f,
                ", of which it keeps {} for requests that cannot use a higher zone, beside its min mark of {min}",
                zone.reserve
            ),
            Standing::BelowMark => {
                write!(f, " and must keep {min}")?;
                raised(f)?;
                write!(f, ": {} are missing", zone.shortfall)
            }
            Standing::TooSmall => write!(
                f,
                " of {}, and can never hold a block of {} pages",
                zone.managed,
                order.pages()
            ),
        }
    }
}

impl ZoneReport {
    /// The highest mark that what is free stands above.
    fn mark_below(&self) -> (&'static str, usize) {
        let marks = [("high", self.high), ("low", self.low)];
        let below = marks
            .into_iter()
            .find(|(_, mark)| self.free > mark + self.boost);
        below.unwrap_or(("min", self.min))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, &self.zone) {
            (Some(cause), None) => write!(f, "{cause}")?,
            (_, Some(zone)) => {
                let order = self.order;
                write!(f, "{}", Sentence { order, zone })?;
            }
            (None, None) => f.write_str("nothing stands in its way")?,
        }
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::types::{NR_MIGRATETYPES, NR_ORDERS, NodeId, ZoneType};

    /// A zone with the figures that readers sent in.
    pub(in crate::diagnosis) fn of_the_readers() -> ZoneReport {
        let mut nr_free = [[0; NR_ORDERS]; NR_MIGRATETYPES];
        nr_free[0][..4].copy_from_slice(&[2985, 1000, 300, 100]);
        ZoneReport {
            node: NodeId::new(0).unwrap(),
            zone: ZoneType::Normal,
            managed: 1 << 20,
            free: 6985,
            cached: 0,
            min: 1342,
            low: 4204,
            high: 4540,
            boost: 0,
            reserve: 0,
            shortfall: 0,
            nr_free,
            fragmentation_index: 900,
            standing: Standing::Fragmented,
        }
    }

    fn order(n: u8) -> Order {
        Order::new(n).unwrap()
    }

    #[test]
    fn there_is_free_memory_and_yet_an_order_4_fails() {
        let explanation = Explanation {
            order: order(4),
            cause: Some(AllocError::Fragmented),
            zone: Some(of_the_readers()),
            remedy: Some(Remedy::CompactOrKeepMoreFree {
                min_free_kbytes: 5368,
                most: 1 << 20,
            }),
        };
        assert_eq!(
            explanation.to_string(),
            "Normal of node 0 has 6985 pages free, above its high mark of 4540, but no free block of 16 pages \
             (the largest has 8): fragmented; compact (`PagePool::compact`), or raise min_free_kbytes \
             (5368, of at most 1048576)"
        );
    }

    #[test]
    fn what_is_missing_is_said_in_pages() {
        let zone = ZoneReport {
            free: 1300,
            boost: 512,
            shortfall: 555,
            standing: Standing::BelowMark,
            ..of_the_readers()
        };
        let sentence = Sentence {
            order: order(0),
            zone: &zone,
        };
        assert_eq!(
            sentence.to_string(),
            "Normal of node 0 has 1300 pages free and must keep 1342 (raised by 512 against fragmentation): \
             555 are missing"
        );
    }

    #[test]
    fn the_zone_that_comes_closest_decides() {
        let with = |standing, free| ZoneReport {
            standing,
            free,
            ..of_the_readers()
        };
        let all = [
            with(Standing::BelowMark, 9000),
            with(Standing::Fragmented, 5000),
            with(Standing::Fragmented, 6000),
            with(Standing::TooSmall, 9999),
        ];
        assert_eq!(deciding(all.into_iter()), Some(all[2]));
        assert_eq!(deciding([].into_iter()), None);
    }
}
