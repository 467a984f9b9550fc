//! The stores of a pool.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn stores_get_the_first_vacant_number() {
    let stores = Stores::new();
    let add = || {
        let make = |id| {
            Store::new(StoreSpec {
                id,
                pool: pool(),
                backing: Scripted::new(pool()),
                in_file: None,
                watch: None,
                spawn: thread::spawn,
                stuck_after: StoreSpec::STUCK_AFTER,
                max_asks: StoreSpec::ONE_ASK,
            })
        };
        stores.add(make).expect("there is room")
    };
    let ids: Vec<_> = std::iter::from_fn(add).map(|store| store.id()).collect();
    assert!(ids.iter().copied().eq(StoreId::all()));
    stores.remove(ids[4]);
    assert!(stores.get(ids[4]).is_none());
    assert_eq!(add().map(|store| store.id()), Some(ids[4]));
    assert_eq!(stores.iter().count(), StoreId::MAX);
}
