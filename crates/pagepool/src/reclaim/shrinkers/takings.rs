//! What calls of shrinkers brought.

use std::ops::AddAssign;

/// What calls of shrinkers brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Takings {
    /// Objects looked at.
    pub(crate) scanned: usize,
    /// Objects freed.
    pub(crate) freed: usize,
    /// Pages freed.
    pub(crate) pages: usize,
    /// Of these, pages of mappings.
    pub(crate) pages_of_files: usize,
}

impl Takings {
    /// The same without the pages: what was freed while nobody waited is not the merit of who asks later.
    pub(crate) fn without_merit(self) -> Takings {
        Takings {
            freed: 0,
            pages: 0,
            ..self
        }
    }
}

impl AddAssign for Takings {
    fn add_assign(&mut self, other: Takings) {
        self.scanned += other.scanned;
        self.freed += other.freed;
        self.pages += other.pages;
        self.pages_of_files += other.pages_of_files;
    }
}
