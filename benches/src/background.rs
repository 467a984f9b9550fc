//! Work that has nothing to do with allocation, for the CPUs beside the one that is measured.

#![forbid(unsafe_code)]

use std::sync::Mutex;

use pagepool::PAGE_SIZE;

/// Plain memory, and something to do with it.
#[derive(Debug)]
pub(crate) struct Background {
    pages: Mutex<Vec<[u8; PAGE_SIZE]>>,
}

impl Background {
    /// As much as a CPU's own caches do not hold.
    const PAGES: usize = 4096;

    /// The memory, touched.
    pub(crate) fn new() -> Background {
        Background {
            pages: Mutex::new(vec![[1; PAGE_SIZE]; Background::PAGES]),
        }
    }

    /// Copies pages to other pages, drawn at random, until `is_over`.
    pub(crate) fn copy_pages(&self, is_over: &dyn Fn() -> bool) {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut pages = self.pages.lock().expect("a panic ends the process");
        while !is_over() {
            let page = pages[rng.usize(..Background::PAGES)];
            pages[rng.usize(..Background::PAGES)] = page;
        }
    }
}
