//! Which orders are asked for, and how often each: `0:80,3:15,9:5`. Pure.
#![forbid(unsafe_code)]

use pagepool::{NR_ORDERS, Order};

use crate::rng::Rng;

/// The largest weight of one order.
const MOST: u32 = 1_000_000;

/// Orders by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderMix {
    /// Each order with the weights up to and including its own.
    upto: Vec<(Order, u32)>,
}

impl OrderMix {
    /// Parses orders with weights: `0:80,3:15,9:5`; without a weight it is 1.
    pub(crate) fn parse(text: &str) -> Result<OrderMix, String> {
        let mut upto: Vec<(Order, u32)> = Vec::with_capacity(NR_ORDERS);
        let mut sum = 0;
        for part in text.split(',') {
            let (order, weight) = part.split_once(':').unwrap_or((part, "1"));
            let order = order.trim().parse().ok().and_then(|n| Order::new(n).ok());
            let order =
                order.ok_or("write orders from 0 to 10 with weights, such as 0:80,3:15,9:5")?;
            let weight = weight
                .trim()
                .parse()
                .ok()
                .filter(|n| (1..=MOST).contains(n));
            sum += weight.ok_or_else(|| format!("a weight is a number from 1 to {MOST}"))?;
            if upto.iter().any(|(other, _)| *other == order) {
                return Err(format!("order {order} stands there twice"));
            }
            upto.push((order, sum));
        }
        Ok(OrderMix { upto })
    }

    /// Any order, as often as its weight says.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Order {
        let (_, sum) = self.upto.last().expect("there is an order");
        let drawn = rng.below(*sum as usize) as u32;
        let found = self.upto.iter().find(|(_, upto)| drawn < *upto);
        found.expect("drawn below the sum").0
    }

    /// As it is written.
    pub(crate) fn describe(&self) -> String {
        let mut before = 0;
        let part = |(order, upto): &(Order, u32)| {
            let weight = upto - std::mem::replace(&mut before, *upto);
            format!("{order}:{weight}")
        };
        self.upto.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_drawn_by_weight() {
        let mix = OrderMix::parse("0:80, 3:15,9:5").unwrap();
        assert_eq!(mix.describe(), "0:80,3:15,9:5");
        let mut counts = [0; NR_ORDERS];
        let mut rng = Rng::new(1);
        (0..100_000).for_each(|_| counts[usize::from(mix.draw(&mut rng).get())] += 1);
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 3);
        assert!((79_000..81_000).contains(&counts[0]), "{counts:?}");
        assert!((4_500..5_500).contains(&counts[9]), "{counts:?}");
        assert_eq!(OrderMix::parse("4").unwrap().draw(&mut rng).get(), 4);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "11", "0:0", "0:x", "-1", "0,0", "0:1,", "0:9999999"] {
            assert!(OrderMix::parse(text).is_err(), "{text}");
        }
    }
}
