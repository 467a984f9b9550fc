//! A cache of an application that gives way when memory is short: it grows as long as nobody needs the
//! memory, and nobody is refused on account of it.
//!
//! Run with `cargo run -p pagepool --example shrinker`.

#![expect(clippy::disallowed_types, reason = "an example is not modelled")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use pagepool::{AllocError, Freeable, Gfp, Order, PagePool, Pages};
use pagepool::{Scanned, ShrinkControl, Shrinker, ShrinkerHandle, ShrinkerOptions, Stop};

/// Tiles that are costly to draw, by number. The oldest is the next to go.
#[derive(Default)]
struct Tiles {
    drawn: HashMap<u32, Pages>,
    by_age: VecDeque<u32>,
}

/// The cache, with its place among the pool's shrinkers for as long as it lives.
struct Cache {
    pool: PagePool,
    tiles: Mutex<Tiles>,
}

impl Cache {
    fn new(pool: &PagePool) -> Result<(Arc<Cache>, ShrinkerHandle), Box<dyn std::error::Error>> {
        let cache = Arc::new(Cache {
            pool: pool.clone(),
            tiles: Mutex::default(),
        });
        // Only what is behind it is registered: the pool keeps that alive, and not the cache.
        let behind = Arc::new(Behind(Arc::downgrade(&cache)));
        let handle = pool.register_shrinker(ShrinkerOptions::new("tiles").batch(16), behind)?;
        Ok((cache, handle))
    }

    /// Sees to it that a tile is there; returns whether it was.
    fn look_at(&self, tile: u32) -> Result<bool, AllocError> {
        if self.tiles.lock().unwrap().drawn.contains_key(&tile) {
            return Ok(true);
        }
        // Not under the lock, since the shrinker needs it.
        let mut pages = self
            .pool
            .alloc_pages(Order::ZERO, Gfp::KERNEL | Gfp::RECLAIMABLE)?;
        pages.fill(tile as u8);
        let mut tiles = self.tiles.lock().unwrap();
        tiles.drawn.insert(tile, pages);
        tiles.by_age.push_back(tile);
        Ok(false)
    }
}

/// What the pool knows of the cache.
struct Behind(Weak<Cache>);

impl Shrinker for Behind {
    fn count(&self, _: &ShrinkControl) -> Freeable {
        match self.0.upgrade() {
            Some(cache) => Freeable::Count(cache.tiles.lock().unwrap().drawn.len()),
            None => Freeable::Empty,
        }
    }

    fn scan(&self, _: &ShrinkControl, nr: usize) -> Result<Scanned, Stop> {
        let cache = self.0.upgrade().ok_or(Stop)?;
        let mut tiles = cache.tiles.lock().unwrap();
        let nr = nr.min(tiles.by_age.len());
        let oldest: Vec<_> = tiles.by_age.drain(..nr).collect();
        for tile in oldest {
            tiles.drawn.remove(&tile);
        }
        Ok(Scanned {
            freed: nr,
            scanned: nr,
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PagePool::builder().managed(8 << 20).build()?;
    let (cache, handle) = Cache::new(&pool)?;

    // More tiles than there is memory: old ones go, and no request fails.
    for tile in 0..10_000 {
        cache.look_at(tile)?;
    }
    let stats = handle.stats();
    println!(
        "of 10000 tiles {} are there; {} pages were freed in {} calls",
        cache.tiles.lock().unwrap().drawn.len(),
        stats.pages_freed,
        stats.calls
    );
    assert!(stats.pages_freed > 7_000);
    assert!(cache.look_at(9_999)?, "what is new is still there");

    // Somebody needs most of the memory for something else, and gets it.
    let needed = (0..1500).map(|_| pool.alloc_pages(Order::ZERO, Gfp::KERNEL));
    let needed: Vec<Pages> = needed.collect::<Result<_, _>>()?;
    println!(
        "{} pages were needed, and {} tiles are left",
        needed.len(),
        cache.tiles.lock().unwrap().drawn.len()
    );
    drop(needed);

    // Everything that caches can do without, on request.
    let bytes = pool.drop_slab(Duration::from_secs(5));
    println!("on request {} KiB more were freed", bytes >> 10);

    // Out of service: nobody calls it any more, and what it still has is freed by its owner.
    drop(handle);
    drop(cache);
    pool.verify()?;
    Ok(())
}
