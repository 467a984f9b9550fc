//! What comes and what goes next, of two kinds of memory in a pool that stays about as full (pure).
//!
//! - *Which kind:* events are shared out as the pages are that are to be held.
//! - *Comes or goes:* below its band something comes, above it something goes, inside a coin decides.
//! - *How long it stays:* a quarter of what is held is short-lived and goes in three events of four; the
//!   rest lives nine times as long.
#![forbid(unsafe_code)]

use pagepool::Order;

use crate::rng::Rng;

/// How far what is held swings, as a share of it. The fill is to be steady; the small part that cannot be
/// moved grows and shrinks, so that it needs pageblocks and leaves them again.
const SWING_MOVABLE: f64 = 1.0 / 64.0;
const SWING_UNMOVABLE: f64 = 1.0 / 8.0;

/// One folio in so many is larger than the others.
const LARGE_ONE_IN: usize = 256;

/// Folios and raw blocks are at most of this order, but for one in [`LARGE_ONE_IN`].
const LARGEST_SMALL: u8 = 3;

/// The larger folios are at most as large as a pageblock.
pub(super) const LARGEST: u8 = 9;

/// One in so many of those that are held is short-lived, and one in so many of those that go is not.
const SHORT_OF: usize = 4;

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Comes,
    Goes,
}

/// How many pages of a kind are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Band {
    pub(crate) low: usize,
    pub(crate) high: usize,
}

impl Band {
    fn around(pages: f64, swing: f64) -> Band {
        Band {
            low: (pages * (1.0 - swing)) as usize,
            high: (pages * (1.0 + swing)).ceil() as usize,
        }
    }

    /// What happens to a kind of which `held` pages are there.
    pub(crate) fn next(self, held: usize, rng: &mut Rng) -> Event {
        match held {
            _ if held < self.low => Event::Comes,
            _ if held >= self.high => Event::Goes,
            _ if rng.one_in(2) => Event::Comes,
            _ => Event::Goes,
        }
    }
}

/// The bands of movable and unmovable memory, in a pool of `pages` of which the share `fill` is held, and
/// of that the share `unmovable` cannot be moved.
pub(crate) fn bands(pages: usize, fill: f64, unmovable: f64) -> [Band; 2] {
    let held = pages as f64 * fill;
    [
        Band::around(held * (1.0 - unmovable), SWING_MOVABLE),
        Band::around(held * unmovable, SWING_UNMOVABLE),
    ]
}

/// The order of a raw block: seven in eight are single pages, seven in eight of the rest one order larger, and
/// so on.
pub(crate) fn small_order(rng: &mut Rng) -> Order {
    let order = (rng.next().trailing_zeros() / 3) as u8;
    Order::new(order.min(LARGEST_SMALL)).expect("in range")
}

/// The order of a folio: as of a raw block, but now and then one of orders 4 to 9, as many pages of each.
pub(crate) fn folio_order(rng: &mut Rng) -> Order {
    if !rng.one_in(LARGE_ONE_IN) {
        return small_order(rng);
    }
    let order = LARGEST_SMALL + 1 + rng.next().trailing_zeros() as u8;
    Order::new(order.min(LARGEST)).expect("in range")
}

/// How long something stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Age {
    Short,
    Long,
}

impl Age {
    /// To whom the next one belongs that comes: a quarter of what is held is short-lived.
    pub(crate) fn of_next(nr_short: usize, nr_long: usize) -> Age {
        match nr_short * (SHORT_OF - 1) < nr_long {
            true => Age::Short,
            false => Age::Long,
        }
    }

    /// Of whom one goes next: three in four are short-lived, which so live a ninth as long as the others.
    pub(crate) fn of_victim(rng: &mut Rng) -> Age {
        match rng.one_in(SHORT_OF) {
            true => Age::Long,
            false => Age::Short,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_in_its_band() {
        let mut rng = Rng::new(1);
        let [movable, unmovable] = bands(10_000, 0.8, 0.05);
        for band in [movable, unmovable] {
            let mut held = 0;
            let (mut least, mut most) = (usize::MAX, 0);
            for n in 0..200_000 {
                match band.next(held, &mut rng) {
                    Event::Comes => held += 1,
                    Event::Goes => held -= 1,
                }
                if n > band.low {
                    (least, most) = (least.min(held), most.max(held));
                }
            }
            assert!(
                least + 1 >= band.low && most <= band.high,
                "{least} to {most}"
            );
            assert!(most > least);
        }
        assert_eq!((movable.low, unmovable.high), (7481, 450));
    }

    #[test]
    fn a_kind_without_a_share_never_comes() {
        let [_, unmovable] = bands(10_000, 0.8, 0.0);
        assert_eq!(unmovable.next(0, &mut Rng::new(1)), Event::Goes);
    }

    #[test]
    fn most_folios_are_single_pages_and_some_as_large_as_a_pageblock() {
        let mut rng = Rng::new(2);
        let mut counts = [0_u32; 11];
        (0..1_000_000).for_each(|_| counts[usize::from(folio_order(&mut rng).get())] += 1);
        assert!(counts[0] > 850_000 && counts[0] < 890_000, "{counts:?}");
        assert!(counts[..10].iter().all(|count| *count > 0), "{counts:?}");
        assert_eq!(counts[10], 0);
        let large: u32 = counts[4..].iter().sum();
        assert!((3_500..4_400).contains(&large), "{large}");
    }

    #[test]
    fn a_quarter_is_short_lived_and_three_in_four_of_those_that_go() {
        let mut rng = Rng::new(3);
        let (mut short, mut long) = (0_usize, 0_usize);
        for _ in 0..1000 {
            match Age::of_next(short, long) {
                Age::Short => short += 1,
                Age::Long => long += 1,
            }
        }
        assert!((249..=251).contains(&short), "{short} beside {long}");
        let victims = (0..1000).filter(|_| Age::of_victim(&mut rng) == Age::Short);
        assert!((700..800).contains(&victims.count()));
    }
}
