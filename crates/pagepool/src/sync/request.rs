//! What a daemon was asked to do: one word that any thread adds to and the daemon empties.
//!
//! *Kernel counterpart:* `pg_data_t.kswapd_order`, `kswapd_classzone_idx`, `kcompactd_max_order`,
//! `kcompactd_classzone_idx` (v5.0). There, each daemon has a maximal order and one class zone,
//! read and written without atomics: requests are lost when two are posted at once or one is posted
//! while the daemon consumes, and the pair may describe a request that nobody made. Here each class
//! zone has a lane of its own, so that nothing is lost and nothing invented. Where a single order
//! and class are wanted, they are derived by the kernel's rule.
//!
//! The class of a request is the index of the highest zone that the requester may use.
//!
//! ```text
//! bit  63  25   24   23          16 15           8 7            0
//!     ┌──────┬──────┬──────────────┬──────────────┬──────────────┐      ┌───┬───────┬───────────┐
//!     │  0   │ look │   class 2    │   class 1    │   class 0    │ lane:│ 0 │ valid │ order (5) │
//!     └──────┴──────┴──────────────┴──────────────┴──────────────┘      └───┴───────┴───────────┘
//! ```
//!
//! | Lane | Meaning | `post(class, o)` makes it | `take` makes it |
//! |---|---|---|---|
//! | 0 | nobody asked for this class | valid, `o` | 0, and returns nothing for the class |
//! | valid, `p` < `o` | somebody asked for up to `p` | valid, `o` | 0, and returns `p` |
//! | valid, `p` ≥ `o` | somebody asked for as much or more | the same, stored anew | 0, and returns `p` |
//!
//! A lane with the valid bit above the order is greater than an empty one, and two valid lanes
//! compare as their orders do: merging is the maximum of two numbers.
//!
//! `look` is nobody's request: something has happened, and the daemon is to see for itself whether it has
//! anything to do ([`RequestWord::ring`]). It is in the same word, so that one look tells a daemon that
//! goes to sleep of both, and one swap takes both.
//!
//! **Invariants**
//! - R1: what `take` returns for a class is the greatest order posted for it since the last `take`,
//!   or nothing.
//! - R2: bits outside the lanes and `look` are 0.
//!
//! **Ordering.** To post is the waker's half of the sleep protocol: `post`, then
//! [`WaitQueue::wake_all`](super::WaitQueue::wake_all), whose fence orders the two. The sleeper's
//! condition has `!word.peek().is_empty()` in it.

use std::fmt;

use super::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use super::fence::{mutated, ordering_at};

/// Number of class zones, and so of lanes. The public layer asserts that it is its number of zone
/// types.
pub const NR_CLASSES: usize = 3;

const LANE_BITS: usize = 8;
const LANE_MASK: u64 = 0xff;
const ORDER_BITS: u32 = 5;
const ORDER_MASK: u64 = (1 << ORDER_BITS) - 1;
const VALID: u64 = 1 << ORDER_BITS;

const _: () = assert!(NR_CLASSES * LANE_BITS < u64::BITS as usize);
const _: () = assert!(
    VALID << 1 <= LANE_MASK + 1,
    "order and valid bit fit a lane"
);

/// Beside the lanes.
const LOOK: u64 = 1 << (NR_CLASSES * LANE_BITS);

/// A set of requests, at most one a class zone, and whether the daemon is to look for itself.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Requests(u64);

impl Requests {
    /// No request.
    pub const NONE: Requests = Requests(0);

    /// No request, but the daemon is to look for itself.
    pub const LOOK: Requests = Requests(LOOK);

    /// Returns the set with this request merged in, or `None` if it is covered already.
    ///
    /// # Panics
    /// If `class_idx` is no class zone, or the order does not fit its lane.
    #[must_use]
    pub fn with(self, class_idx: usize, order: u8) -> Option<Requests> {
        assert!(
            class_idx < NR_CLASSES,
            "class zone {class_idx} of {NR_CLASSES}"
        );
        assert!(
            u64::from(order) <= ORDER_MASK,
            "order {order} does not fit a lane"
        );

        let asked = VALID | u64::from(order);
        let lane = self.lane(class_idx);
        (asked > lane).then(|| {
            let shift = class_idx * LANE_BITS;
            Requests(self.0 & !(LANE_MASK << shift) | asked << shift)
        })
    }

    /// Whether the daemon is to look for itself.
    #[must_use]
    pub fn has_look(self) -> bool {
        self.0 & LOOK != 0
    }

    /// Returns only what somebody asked for.
    #[must_use]
    pub fn without_look(self) -> Requests {
        Requests(self.0 & !LOOK)
    }

    /// Returns the set without what was asked for one class.
    #[must_use]
    pub fn without(self, class_idx: usize) -> Requests {
        Requests(self.0 & !(LANE_MASK << (class_idx * LANE_BITS)))
    }

    /// Whether nothing is asked for, not even to look.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Requests::NONE
    }

    /// Returns the greatest order asked for with this class, if any was.
    #[must_use]
    pub fn order(self, class_idx: usize) -> Option<u8> {
        let lane = self.lane(class_idx);
        (lane & VALID != 0).then_some((lane & ORDER_MASK) as u8)
    }

    /// Returns the requests as `(class_idx, order)`, the lowest class first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (usize, u8)> {
        (0..NR_CLASSES).filter_map(move |class_idx| Some((class_idx, self.order(class_idx)?)))
    }

    /// Returns every lane's maximum over both sets, and a look if either has one.
    #[must_use]
    pub fn union(self, other: Requests) -> Requests {
        let looks = Requests(self.0 | other.0 & LOOK);
        other.iter().fold(looks, |set, (class_idx, order)| {
            set.with(class_idx, order).unwrap_or(set)
        })
    }

    /// Returns the same classes with order 0: what is left to do for requesters who will have their
    /// blocks built by compaction.
    #[must_use]
    pub fn at_order_zero(self) -> Requests {
        let classes = self.iter();
        classes.fold(Requests::NONE, |set, (class_idx, _)| {
            set.with(class_idx, 0).unwrap_or(set)
        })
    }

    /// Returns the order and class that v5.0's kswapd would work for: the greatest order, the
    /// highest class, so that it may free from every zone that any requester can use.
    #[must_use]
    pub fn for_reclaim(self) -> Option<RequestPair> {
        let class_idx = self.iter().map(|(class_idx, _)| class_idx).max()?;
        Some(RequestPair {
            order: self.max_order()?,
            class_idx,
        })
    }

    /// Returns the order and class that v5.0's kcompactd would work for: the greatest order, the
    /// lowest class, so that every requester can use the block it builds.
    #[must_use]
    pub fn for_compaction(self) -> Option<RequestPair> {
        let class_idx = self.iter().map(|(class_idx, _)| class_idx).min()?;
        Some(RequestPair {
            order: self.max_order()?,
            class_idx,
        })
    }

    fn max_order(self) -> Option<u8> {
        self.iter().map(|(_, order)| order).max()
    }

    fn lane(self, class_idx: usize) -> u64 {
        self.0 >> (class_idx * LANE_BITS) & LANE_MASK
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        map.entries(self.iter());
        if self.has_look() {
            map.entry(&format_args!("look"), &true);
        }
        map.finish()
    }
}

/// One order and class in place of a set of requests, by the kernel's rules. It may match no
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPair {
    /// The greatest order that anybody asked for.
    pub order: u8,
    /// The class zone: the highest asked for by reclaim's rule, the lowest by compaction's.
    pub class_idx: usize,
}

/// The word that threads post requests to and a daemon takes them from.
#[derive(Debug, Default)]
pub struct RequestWord(AtomicU64);

impl RequestWord {
    /// Returns a word with no request.
    #[must_use]
    pub fn new() -> RequestWord {
        RequestWord::default()
    }

    /// Merges a request in; returns whether it changed anything. The caller wakes the daemon either
    /// way: whoever posted the request that covers this one may not have come to it yet.
    ///
    /// # Panics
    /// If `class_idx` is no class zone, or the order does not fit its lane.
    pub fn post(&self, class_idx: usize, order: u8) -> bool {
        // One look says both whether the class is asked for and with what to merge. Without, who has seen
        // a request leaves the validity to it, and it may have been taken before the order is merged in.
        let was_asked = mutated("request.one_look") && self.peek().order(class_idx).is_some();
        self.merge(|old| match old.order(class_idx) {
            None if was_asked => old,
            _ => old.with(class_idx, order).unwrap_or(old),
        })
    }

    /// Merges a set of requests in, as a daemon does with those that it took and could not serve.
    pub fn post_all(&self, requests: Requests) -> bool {
        !requests.is_empty() && self.merge(|old| old.union(requests))
    }

    /// Has the daemon look for itself; returns whether it was not about to. If it was, somebody else has
    /// said so and wakes it, or it need not hurry: this caller has nothing more to do.
    pub fn ring(&self) -> bool {
        self.merge(|old| old.union(Requests::LOOK))
    }

    /// Returns whether anything changed.
    fn merge(&self, transition: impl Fn(Requests) -> Requests) -> bool {
        let stores_anew = !mutated("request.store_anew");
        if mutated("request.merge_in_one") {
            let old = self.peek();
            let new = transition(old);
            self.0.store(new.0, Release);
            return new != old;
        }
        // Release: publishes what made the caller ask. Pairs with the Acquire in `take`. It stores also
        // where nothing changes: a mere load may find requests that were taken already, and then the
        // daemon, which works for them, may not see what made *this* caller ask. Relaxed on failure: only
        // the number is used; the look for a sleeper that follows is ordered by the wait queue's fence.
        self.0
            .fetch_update(ordering_at("request.publish", Release), Relaxed, |word| {
                let new = transition(Requests(word)).0;
                (new != word || stores_anew).then_some(new)
            })
            .is_ok_and(|old| transition(Requests(old)).0 != old)
    }

    /// Takes all requests. A request posted at the same time is in this set or in the next.
    #[must_use = "requests that are taken and dropped are lost"]
    pub fn take(&self) -> Requests {
        // Acquire: sees what made the posters ask. Pairs with the Release in `merge`. One swap,
        // since between a load and a store a request could be posted and wiped out.
        let acquire = ordering_at("request.observe", Acquire);
        if mutated("request.take_in_one") {
            let taken = self.0.load(acquire);
            self.0.store(0, Relaxed);
            return Requests(taken);
        }
        Requests(self.0.swap(0, acquire))
    }

    /// Returns the requests without taking them.
    #[must_use]
    pub fn peek(&self) -> Requests {
        // Relaxed: a look that decides whether to sleep, ordered by the wait queue's fence.
        Requests(self.0.load(Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn posted(requests: &[(usize, u8)]) -> RequestWord {
        let word = RequestWord::new();
        for &(class_idx, order) in requests {
            word.post(class_idx, order);
        }
        word
    }

    #[test]
    fn a_lane_keeps_the_greatest_order_of_its_class() {
        let word = posted(&[(1, 3)]);
        assert!(!word.post(1, 3));
        assert!(!word.post(1, 0));
        assert!(word.post(1, 9));
        assert_eq!(word.take().iter().collect::<Vec<_>>(), [(1, 9)]);
    }

    #[test]
    fn order_0_is_a_request() {
        let word = RequestWord::new();
        assert!(word.post(0, 0));
        assert!(!word.peek().is_empty());
        assert_eq!(word.peek().order(0), Some(0));
        assert_eq!(word.peek().order(1), None);
    }

    #[test]
    fn take_empties_the_word() {
        let word = posted(&[(0, 1), (2, 10)]);
        assert_eq!(word.take().iter().collect::<Vec<_>>(), [(0, 1), (2, 10)]);
        assert!(word.take().is_empty());
        assert_eq!(word.take().for_reclaim(), None);
    }

    #[test]
    fn requests_of_two_classes_stay_apart_and_pair_by_the_kernels_rules() {
        let requests = posted(&[(0, 9), (2, 3)]).take();
        assert_eq!(requests.iter().collect::<Vec<_>>(), [(0, 9), (2, 3)]);
        assert_eq!(
            requests.for_reclaim(),
            Some(RequestPair {
                order: 9,
                class_idx: 2
            })
        );
        assert_eq!(
            requests.for_compaction(),
            Some(RequestPair {
                order: 9,
                class_idx: 0
            })
        );
    }

    #[test]
    fn without_orders_the_classes_stay() {
        let requests = posted(&[(0, 9), (2, 0)]).take().at_order_zero();
        assert_eq!(requests.iter().collect::<Vec<_>>(), [(0, 0), (2, 0)]);
        assert!(Requests::NONE.at_order_zero().is_empty());
    }

    #[test]
    fn requests_put_back_merge_with_newer_ones() {
        let word = posted(&[(0, 2), (1, 5)]);
        let unserved = word.take();
        word.post(0, 4);
        assert!(word.post_all(unserved));
        assert!(!word.post_all(unserved));
        assert_eq!(word.take().iter().collect::<Vec<_>>(), [(0, 4), (1, 5)]);
    }

    #[test]
    fn every_pair_of_posts_merges_to_the_maximum_in_either_order() {
        let all = || (0..NR_CLASSES).flat_map(|class_idx| (0..=10).map(move |o| (class_idx, o)));
        for a in all() {
            for b in all() {
                let set = posted(&[a, b]).take();
                assert_eq!(set, posted(&[b, a]).take());
                for class_idx in 0..NR_CLASSES {
                    let expected = [a, b]
                        .iter()
                        .filter(|r| r.0 == class_idx)
                        .map(|r| r.1)
                        .max();
                    assert_eq!(set.order(class_idx), expected, "{a:?} {b:?}"); // R1
                }
                assert_eq!(set.0 >> (NR_CLASSES * LANE_BITS), 0); // R2
            }
        }
    }

    #[test]
    fn a_ring_is_kept_beside_the_requests_and_taken_with_them() {
        let word = posted(&[(1, 3)]);
        assert!(word.ring());
        assert!(!word.ring(), "it was to look already");
        word.post(1, 4);
        let taken = word.take();
        assert!(taken.has_look() && !taken.without_look().has_look());
        assert_eq!(taken.iter().collect::<Vec<_>>(), [(1, 4)]);
        assert_eq!(format!("{taken:?}"), "{1: 4, look: true}");
        assert!(word.take().is_empty());

        assert!(!Requests::LOOK.is_empty());
        assert!(Requests::LOOK.without_look().is_empty());
        assert_eq!(Requests::LOOK.iter().count(), 0);
        assert_eq!(Requests::LOOK.for_compaction(), None);
    }

    #[test]
    fn a_look_is_put_back_as_requests_are() {
        let word = posted(&[(0, 2)]);
        assert!(word.post_all(Requests::LOOK) && !word.post_all(Requests::LOOK));
        assert_eq!(word.take().order(0), Some(2));
        let looks = Requests::LOOK.union(Requests::NONE);
        assert_eq!(looks, Requests::NONE.union(Requests::LOOK));
        assert_eq!(looks, Requests::LOOK);
        assert!(looks.at_order_zero().is_empty());
    }

    #[test]
    fn the_debug_form_lists_class_and_order() {
        assert_eq!(
            format!("{:?}", posted(&[(0, 9), (2, 3)]).peek()),
            "{0: 9, 2: 3}"
        );
    }

    #[test]
    #[should_panic(expected = "class zone 3 of 3")]
    fn a_class_that_does_not_exist_is_refused() {
        RequestWord::new().post(3, 0);
    }
}

/// A set of requests against an order a class, and a flag.
#[cfg(all(test, not(loom)))]
mod model {
    use proptest::prelude::*;

    use super::*;

    type Plain = ([Option<u8>; NR_CLASSES], bool);

    fn plain(requests: Requests) -> Plain {
        let orders = std::array::from_fn(|class_idx| requests.order(class_idx));
        (orders, requests.has_look())
    }

    fn set() -> impl Strategy<Value = (Requests, Plain)> {
        let orders = prop::array::uniform3(prop::option::of(0..=ORDER_MASK as u8));
        (orders, any::<bool>()).prop_map(|(orders, looks)| {
            let mut requests = if looks {
                Requests::LOOK
            } else {
                Requests::NONE
            };
            for (class_idx, order) in orders.iter().enumerate() {
                if let Some(order) = order {
                    requests = requests.with(class_idx, *order).expect("not covered");
                }
            }
            (requests, (orders, looks))
        })
    }

    proptest! {
        #[test]
        fn a_set_is_an_order_a_class_and_a_flag(
            (a, (orders, looks)) in set(), (b, (others, looks_too)) in set(),
            class_idx in 0..NR_CLASSES, order in 0..=ORDER_MASK as u8,
        ) {
            prop_assert_eq!(plain(a), (orders, looks));
            let with = a.with(class_idx, order);
            let is_news = orders[class_idx].is_none_or(|known| known < order);
            prop_assert_eq!(with.is_some(), is_news);
            let mut more = orders;
            more[class_idx] = more[class_idx].max(Some(order));
            prop_assert_eq!(plain(with.unwrap_or(a)), (more, looks));

            let both = std::array::from_fn(|n| orders[n].max(others[n]));
            prop_assert_eq!(plain(a.union(b)), (both, looks || looks_too));
            prop_assert_eq!(a.union(b), b.union(a));

            let mut fewer = orders;
            fewer[class_idx] = None;
            prop_assert_eq!(plain(a.without(class_idx)), (fewer, looks));
            prop_assert_eq!(plain(a.without_look()), (orders, false));
            prop_assert_eq!(a.is_empty(), (orders, looks) == ([None; NR_CLASSES], false));
            let zeros = orders.map(|order| order.map(|_| 0));
            prop_assert_eq!(plain(a.at_order_zero()), (zeros, false));

            let asked: Vec<_> = (0..NR_CLASSES).filter(|n| orders[*n].is_some()).collect();
            let greatest = orders.iter().flatten().max().copied();
            let pair = |class_idx: Option<&usize>| {
                Some(RequestPair { order: greatest?, class_idx: *class_idx? })
            };
            prop_assert_eq!(a.for_reclaim(), pair(asked.last()));
            prop_assert_eq!(a.for_compaction(), pair(asked.first()));
        }

        #[test]
        fn a_take_brings_all_that_was_posted_and_leaves_nothing(
            posts in prop::collection::vec((0..5usize, 0..NR_CLASSES, 0..=ORDER_MASK as u8), 0..40),
        ) {
            let word = RequestWord::new();
            let mut model: Plain = ([None; NR_CLASSES], false);
            for (kind, class_idx, order) in posts {
                let before = model;
                let (changed, is_post) = match kind {
                    0 => {
                        prop_assert_eq!(plain(word.take()), std::mem::take(&mut model));
                        (false, false)
                    }
                    1 => {
                        model.1 = true;
                        (word.ring(), true)
                    }
                    _ => {
                        model.0[class_idx] = model.0[class_idx].max(Some(order));
                        (word.post(class_idx, order), true)
                    }
                };
                prop_assert!(!is_post || changed == (model != before));
                prop_assert_eq!(plain(word.peek()), model);
            }
        }
    }
}
