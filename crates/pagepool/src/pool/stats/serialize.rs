//! How those figures are written down that are no plain structures: counts by name, types by letter, moves by
//! pageblock.

#![forbid(unsafe_code)]

use serde::{Serialize, Serializer};

use super::Vmstat;
use crate::types::Migratetype;

impl Serialize for Vmstat {
    /// As a map from name to count, in its order.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A letter for each pageblock: a pool of 256 GiB has 131072 of them.
pub(super) fn pageblock_types<S: Serializer>(
    types: &[Migratetype],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let letters: String = types
        .iter()
        .map(|migratetype| migratetype.letter())
        .collect();
    serializer.serialize_str(&letters)
}

/// Those that are not 0, by their place: most pageblocks have never seen a move.
pub(super) fn sparse<S: Serializer>(counts: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let counts = counts.iter().enumerate();
    serializer.collect_map(counts.filter(|(_, count)| **count > 0))
}

#[cfg(all(test, feature = "serve", not(any(loom, shuttle))))]
mod tests {
    use serde_json::json;

    use crate::gfp::Gfp;
    use crate::group::GroupLimits;
    use crate::pool::PagePool;
    use crate::types::Order;

    #[test]
    fn what_a_pool_says_is_written_down_by_the_names_of_its_fields() {
        let pool = PagePool::builder().memory(64 << 20).build().unwrap();
        let _block = pool.alloc_pages(Order::new(3).unwrap(), Gfp::KERNEL);
        let stats = pool.stats();
        let written = serde_json::to_value(&stats).unwrap();

        assert_eq!(written["budget_bytes"], json!(64 << 20));
        assert_eq!(written["budget"]["obstacle"], json!(null));
        assert_eq!(written["free_pages"], json!(stats.free_pages));
        assert_eq!(written["vmstat"]["pgalloc_normal"], json!(8));
        let (node, expected) = (&written["nodes"][0], &stats.nodes[0]);
        assert_eq!(node["id"], json!(0));
        assert_eq!(node["kswapd"], json!("on_call"));
        assert_eq!(node["pressure"]["some"]["avg10"], json!(0.0));
        let (zone, expected) = (&node["zones"][0], &expected.zones[0]);
        assert_eq!(zone["name"], json!(expected.name));
        assert_eq!(zone["nr_free"], json!(expected.nr_free));
        assert_eq!(zone["pageblocks"], json!(expected.pageblocks));
        let letters = zone["pageblock_types"].as_str().unwrap();
        assert_eq!(letters.len(), expected.pageblock_types.len());
        assert!(letters.chars().all(|letter| "UMEH".contains(letter)));
        assert_eq!(
            letters.matches('U').count() as u64,
            expected.pageblocks_by_type[0]
        );
        assert_eq!(zone["pageblock_moved_out"], json!({}));
    }

    #[test]
    fn what_is_mostly_nothing_is_written_without_it() {
        #[derive(serde::Serialize)]
        struct Counts(#[serde(serialize_with = "super::sparse")] Vec<u64>);
        let written = serde_json::to_value(Counts(vec![0, 0, 7, 0, 1])).unwrap();
        assert_eq!(written, json!({ "2": 7, "4": 1 }));
    }

    #[test]
    fn a_limit_that_is_none_is_written_as_none() {
        let limits = GroupLimits::new().low(4096).max(1 << 20);
        let written = serde_json::to_value(limits).unwrap();
        let expected = json!({ "min": 0, "low": 4096, "soft": null, "high": null, "max": 1 << 20 });
        assert_eq!(written, expected);
    }
}
