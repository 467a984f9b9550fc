//! A zone whose marks fragmentation has raised: the rig of the models of boosts.

use pagepool::model::Zone;

/// Pages in a pageblock of the zone, which is what one event adds.
pub const STEP: usize = 2;

/// A zone in which one event has happened, and each unmovable page taken is another. Two pageblocks
/// are of movable pages but for one page each that is free.
///
/// # Panics
/// If the event has not raised the marks.
pub fn boosted_zone() -> Zone {
    let zone = Zone::new(8, 1, 1, 0);
    zone.set_marks(0, 4);
    zone.set_boost_factor(10_000);
    let mut movable: Vec<_> = (0..8).filter_map(|_| zone.take()).collect();
    for idx in [6, 4, 2] {
        let _ = zone.put(movable.remove(idx), || ());
    }
    let _fragmenting = zone.take_unmovable();
    assert_eq!(zone.boost(), STEP);
    zone
}
