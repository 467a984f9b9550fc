//! Memory that leaves service and comes back.

#![forbid(unsafe_code)]

use super::*;
use crate::types::{NodeId, NodeMask};

#[test]
fn memory_leaves_service_and_comes_back() {
    let pool = PagePool::builder()
        .managed(32 << 20)
        .nodes(2)
        .build()
        .unwrap();
    let (first, second) = (NodeId::at(0), NodeId::at(1));
    let pages = |pool: &PagePool| pool.stats().managed_pages;
    let block = pool
        .request(order(0), Gfp::KERNEL)
        .prefer(first)
        .alloc()
        .unwrap();

    // One pageblock is in use, the other seven can go.
    assert_eq!(pool.offline(first, ZoneType::Normal, usize::MAX), 14 << 20);
    assert_eq!(pages(&pool), (18 << 20) / PAGE_SIZE);
    pool.verify().unwrap();
    let low = pool.stats().nodes[0].zones[0].low;
    drop(block);
    assert_eq!(pool.offline(first, ZoneType::Normal, usize::MAX), 2 << 20);
    pool.verify().unwrap();

    // The first node has no memory any more: its requests go to the second.
    assert!(pool.stats().nodes[0].zones.is_empty());
    let elsewhere = pool
        .request(order(0), Gfp::KERNEL)
        .prefer(first)
        .alloc()
        .unwrap();
    assert_eq!(elsewhere.node(), second);
    let only = NodeMask::only(first);
    let refused = pool
        .request(order(0), Gfp::KERNEL)
        .nodes(only)
        .alloc()
        .unwrap_err();
    assert_eq!(refused, AllocError::NodeMask);

    assert_eq!(
        pool.online(first, ZoneType::Normal, 3 << 20),
        2 << 20,
        "whole pageblocks"
    );
    assert_eq!(pool.online(first, ZoneType::Normal, usize::MAX), 14 << 20);
    assert_eq!(pages(&pool), (32 << 20) / PAGE_SIZE);
    assert!(pool.stats().nodes[0].zones[0].low > low);
    pool.verify().unwrap();
    let back = pool
        .request(order(9), Gfp::KERNEL)
        .nodes(only)
        .alloc()
        .unwrap();
    assert_eq!(back.node(), first);
    assert_eq!(pool.offline(NodeId::at(7), ZoneType::Normal, 1 << 30), 0);
}
