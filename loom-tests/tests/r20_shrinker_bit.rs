//! R20: a shrinker that has an object has its bit, whoever takes it off meanwhile.
//!
//! *Threads:* one or two that add an object and note it; a reclaimer that finds the shrinker empty, and
//! settles its bit. *Property:* in the end, the bit is set if there is an object; else reclaim would never
//! ask for it. *The bug it would catch:* a bit that is taken off after the shrinker said "empty" and an
//! object came, or set before the object can be seen. *The edits that make it fail:* mutants
//! `shrinker_map.add`, `shrinker_map.clear`, `shrinker_map.recount`, `shrinker_map.publish`,
//! `shrinker_map.one_step`.

#![cfg(loom)]

use loom_tests::{Outcomes, Shared, actor, check, check_deeper, join, join_all};
use pagepool::model::ShrinkerMap;
use pagepool::model::atomic::{AtomicUsize, Ordering::Relaxed};

/// The place of the shrinker.
const PLACE: usize = 5;

/// A shrinker's objects, counted, and where it is noted that there are some.
struct Cache {
    objects: AtomicUsize,
    map: ShrinkerMap,
}

impl Cache {
    /// Nothing is there any more, and the note of it still is.
    fn emptied() -> Shared<Cache> {
        let map = ShrinkerMap::new();
        map.set(PLACE);
        Shared::new(Cache {
            objects: AtomicUsize::new(0),
            map,
        })
    }

    // Relaxed throughout: the map has to order it.

    fn add(&self) {
        self.objects.fetch_add(1, Relaxed);
        self.map.note_object(PLACE);
    }

    fn count(&self) -> usize {
        self.objects.load(Relaxed)
    }

    /// What reclaim does for one shrinker; returns how many objects it was told of.
    fn look(&self) -> usize {
        if !self.map.is_set(PLACE) {
            return 0;
        }
        match self.count() {
            0 => {
                let again = || self.count();
                self.map.settle_empty(PLACE, again, |objects| *objects == 0)
            }
            objects => objects,
        }
    }

    #[track_caller]
    fn assert_noted(&self) {
        let is_noted = self.map.is_set(PLACE);
        assert!(
            is_noted || self.count() == 0,
            "there is an object, and nobody will ask for it"
        );
    }
}

#[test]
fn an_object_is_noted_whenever_it_comes() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check_deeper("r20_shrinker_bit", 3, 440, move || {
        let cache = Cache::emptied();
        let (adder, reclaimer) = (Shared::clone(&cache), Shared::clone(&cache));
        let adder = actor(move || adder.add());
        let reclaimer = actor(move || reclaimer.look());

        join(adder);
        let told = join(reclaimer);
        cache.assert_noted();
        seen.record(told);
    });
    outcomes.assert_exactly([0, 1]);
}

#[test]
fn two_that_add_and_a_reclaimer_that_looks_twice() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r20_shrinker_bit_two", 6_500, move || {
        let cache = Cache::emptied();
        let adders = [(); 2].map(|()| {
            let cache = Shared::clone(&cache);
            actor(move || cache.add())
        });
        let reclaimer = Shared::clone(&cache);
        let reclaimer = actor(move || [reclaimer.look(), reclaimer.look()]);

        join_all(adders);
        let told = join(reclaimer);
        cache.assert_noted();
        seen.record(told);
    });
    // What it is told of never becomes less.
    outcomes.assert_exactly([[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]);
}

#[test]
fn of_two_shrinkers_in_one_word_neither_loses_its_bit() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r20_two_places", 65, move || {
        let cache = Cache::emptied();
        let (adder, reclaimer) = (Shared::clone(&cache), Shared::clone(&cache));
        let adder = actor(move || adder.map.note_object(PLACE + 1));
        let reclaimer = actor(move || {
            assert_eq!(reclaimer.look(), 0);
            reclaimer.map.is_set(PLACE + 1)
        });
        join(adder);
        let came_first = join(reclaimer);
        assert!(cache.map.is_set(PLACE + 1) && !cache.map.is_set(PLACE));
        seen.record(came_first);
    });
    // The other's bit came after the look, or before.
    outcomes.assert_exactly([false, true]);
}

#[test]
fn an_object_is_seen_by_who_takes_its_bit_off() {
    let outcomes = Outcomes::new();
    let seen = outcomes.clone();
    check("r20_object_of_the_bit", 27, move || {
        let cache = Shared::new(Cache {
            objects: AtomicUsize::new(0),
            map: ShrinkerMap::new(),
        });
        let (adder, reclaimer) = (Shared::clone(&cache), Shared::clone(&cache));
        // As who knows that the bit is off.
        let adder = actor(move || {
            adder.objects.fetch_add(1, Relaxed);
            adder.map.set(PLACE);
        });
        let reclaimer = actor(move || reclaimer.look());
        join(adder);
        let told = join(reclaimer);
        cache.assert_noted();
        seen.record(told);
    });
    outcomes.assert_exactly([0, 1]);
}
