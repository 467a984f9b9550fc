//! The stores of a pool: which number is whose.

#![forbid(unsafe_code)]

use super::Store;
use crate::backing::entry::StoreId;
use crate::sync::CoreMutex;

/// The stores of a pool, by number.
#[derive(Debug)]
pub(crate) struct Stores {
    stores: [CoreMutex<Option<Store>>; StoreId::MAX],
}

impl Stores {
    /// Returns a table without stores.
    pub(crate) fn new() -> Stores {
        Stores {
            stores: std::array::from_fn(|_| CoreMutex::new(None)),
        }
    }

    /// Makes a store under the first number that is vacant; none if there is none.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn add<E>(
        &self,
        make: impl FnOnce(StoreId) -> Result<Store, E>,
    ) -> Result<Option<Store>, E> {
        for id in StoreId::all() {
            let mut place = self.stores[id.idx()].lock();
            if place.is_none() {
                let store = make(id)?;
                *place = Some(store.clone());
                return Ok(Some(store));
            }
        }
        Ok(None)
    }

    /// A store, if there is one of this number.
    pub(crate) fn get(&self, id: StoreId) -> Option<Store> {
        self.stores[id.idx()].lock().clone()
    }

    /// Forgets a store, whose number may then be another's. It was shut down.
    pub(crate) fn remove(&self, id: StoreId) -> Option<Store> {
        self.stores[id.idx()].lock().take()
    }

    /// Where a store is, if there is one of this number.
    pub(super) fn place(&self, id: StoreId) -> &CoreMutex<Option<Store>> {
        &self.stores[id.idx()]
    }

    /// All stores.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Store> {
        StoreId::all().filter_map(|id| self.get(id))
    }
}
