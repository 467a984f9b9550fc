//! Which pageblocks something was moved out of between two snapshots.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::{
    rates::since,
    wire::{Snapshot, Zone},
};

/// The pageblocks of a zone, by number.
pub(super) type Blocks = BTreeSet<usize>;

/// Of each zone of `now`, in order, the pageblocks that something was moved out of since `before`; none, if there is
/// nothing to compare with.
pub(super) fn emptied(before: Option<&Snapshot>, now: &Snapshot) -> Vec<Blocks> {
    let before = since(before, now).map(|(before, _)| before);
    let same = |node: u64, name: &str| -> Option<&Zone> {
        let mut zones = before?.zones();
        let found = zones.find(|(other, zone)| *other == node && zone.name == name);
        found.map(|(_, zone)| zone)
    };
    let zones = now.zones();
    zones
        .map(|(node, zone)| same(node, &zone.name).map_or_else(Blocks::new, |then| of(then, zone)))
        .collect()
}

fn of(before: &Zone, now: &Zone) -> Blocks {
    let moves = now.pageblock_moved_out.iter();
    let has_risen = |block: &usize, pages: u64| {
        let before = before.pageblock_moved_out.get(block);
        pages > before.copied().unwrap_or(0)
    };
    moves
        .filter(|(block, pages)| has_risen(block, **pages))
        .map(|(block, _)| *block)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::top::tests::snapshot;

    fn moved(seconds: u64, moves: &[(usize, u64)]) -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.served_for = Duration::from_secs(seconds);
        snapshot.stats.nodes[0].zones[1].pageblock_moved_out = moves.iter().copied().collect();
        snapshot
    }

    #[test]
    fn what_has_risen_was_emptied() {
        let (before, now) = (moved(1, &[(0, 5)]), moved(2, &[(0, 5), (1, 3)]));
        let nothing = vec![Blocks::new(); 2];
        assert_eq!(emptied(None, &now), nothing);
        assert_eq!(
            emptied(Some(&before), &before),
            nothing,
            "no time has passed"
        );
        assert_eq!(emptied(Some(&before), &now), [Blocks::new(), [1].into()]);
        let more = moved(3, &[(0, 6), (1, 3)]);
        assert_eq!(emptied(Some(&now), &more)[1], [0].into());
    }

    #[test]
    fn a_zone_that_was_not_there_has_nothing_to_compare_with() {
        let (mut before, now) = (moved(1, &[]), moved(2, &[(1, 3)]));
        before.stats.nodes[0].zones.pop();
        assert_eq!(emptied(Some(&before), &now), vec![Blocks::new(); 2]);
    }
}
