//! The figures of one pool of several, with the labels that tell it from the others.

use std::ops::Deref;

use super::family::Labels;
use crate::adapters::figures::Figures;
use crate::pool::PagePool;

/// What a pool said of itself.
#[derive(Debug)]
pub(super) struct Snapshot {
    name: Option<String>,
    figures: Figures,
}

impl Snapshot {
    pub(super) fn of(name: Option<String>, pool: &PagePool) -> Snapshot {
        let figures = Figures::of(pool);
        Snapshot { name, figures }
    }

    /// The labels that every sample of the pool has, and others.
    pub(super) fn labels<const N: usize>(&self, others: [(&'static str, String); N]) -> Labels {
        let name = self.name.iter().map(|name| ("pool", name.clone()));
        name.chain(others)
            .map(|(key, value)| (key, value.into()))
            .collect()
    }
}

impl Deref for Snapshot {
    type Target = Figures;

    fn deref(&self) -> &Figures {
        &self.figures
    }
}
