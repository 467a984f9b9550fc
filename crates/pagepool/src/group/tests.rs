//! The tree, charges through it, and what it protects.

use super::*;
use crate::types::PAGE_SIZE;

fn limits(max: usize) -> GroupLimits {
    GroupLimits::new().max(max * PAGE_SIZE)
}

#[test]
fn a_charge_counts_up_to_the_top_and_stops_where_there_is_no_room() {
    let groups = Groups::new(4);
    let top = groups.create(GroupId::ROOT, "top", &limits(10)).unwrap();
    let a = groups.create(top, "a", &limits(8)).unwrap();
    let b = groups.create(top, "b", &limits(8)).unwrap();
    assert_eq!(groups.try_charge(a, 6), Ok(()));
    assert_eq!(groups.try_charge(a, 3), Err(Full(a)));
    assert_eq!(groups.try_charge(b, 5), Err(Full(top)));
    assert_eq!(groups.slot(b).pages(), 0, "taken back");
    assert_eq!(groups.try_charge(b, 4), Ok(()));
    assert_eq!(groups.slot(top).pages(), 10);
    groups.uncharge(a, 6);
    assert_eq!((groups.slot(top).pages(), groups.slot(a).pages()), (4, 0));
    assert_eq!(groups.try_charge(GroupId::ROOT, 1 << 40), Ok(()));
}

#[test]
fn a_charge_that_moves_leaves_those_above_both_alone() {
    let groups = Groups::new(4);
    let top = groups.create(GroupId::ROOT, "top", &limits(10)).unwrap();
    let a = groups.create(top, "a", &limits(10)).unwrap();
    let b = groups.create(top, "b", &limits(4)).unwrap();
    groups.try_charge(a, 10).unwrap();
    assert_eq!(
        groups.move_charge(a, b, 4),
        Ok(()),
        "the top is full, but is not asked"
    );
    assert_eq!(groups.move_charge(a, b, 1), Err(Full(b)));
    assert_eq!(groups.slot(a).pages(), 6);
    assert_eq!(groups.move_charge(b, GroupId::ROOT, 4), Ok(()));
    assert_eq!((groups.slot(top).pages(), groups.slot(b).pages()), (6, 0));
    assert_eq!(groups.move_charge(GroupId::ROOT, b, 4), Ok(()));
    assert_eq!(groups.slot(top).pages(), 10);
}

#[test]
fn groups_are_found_by_their_path_and_deleted_when_nothing_uses_them() {
    let groups = Groups::new(2);
    let none = GroupLimits::new();
    let a = groups.create(GroupId::ROOT, "a", &none).unwrap();
    let b = groups.create(a, "b", &none).unwrap();
    assert_eq!(groups.path(b), "a/b");
    assert_eq!(groups.find("a/b"), Some(b));
    assert_eq!(groups.find("b"), None);
    let exists = groups.create(a, "b", &none).unwrap_err();
    assert_eq!(exists.to_string(), "there is a group `b` already");
    let full = groups.create(a, "c", &none).unwrap_err();
    assert!(full.to_string().contains("max_groups = 2"));
    assert!(matches!(
        groups.delete(a),
        Err(GroupError::InUse {
            children: 1,
            handles: 0,
            ..
        })
    ));
    assert!(matches!(
        groups.delete(b),
        Err(GroupError::InUse { handles: 1, .. })
    ));
    groups.slot(b).drop_handle();
    groups.slot(b).join();
    assert!(matches!(
        groups.delete(b),
        Err(GroupError::InUse { members: 1, .. })
    ));
    groups.slot(b).leave(1);
    assert_eq!(groups.delete(b), Ok(()));
    assert_eq!(groups.delete(a), Ok(()));
    assert_eq!(groups.delete(GroupId::ROOT), Err(GroupError::Root));
    assert!(groups.verify(&[0; 3]).is_ok());
}

#[test]
fn names_and_depth_are_checked() {
    let groups = Groups::new(20);
    let none = GroupLimits::new();
    let long = "x".repeat(65);
    for name in ["", "a/b", "a\nb", long.as_str()] {
        let error = groups.create(GroupId::ROOT, name, &none).unwrap_err();
        assert_eq!(error, GroupError::BadName { name: name.into() });
    }
    let mut group = GroupId::ROOT;
    for _ in 0..MAX_DEPTH {
        group = groups.create(group, "deeper", &none).unwrap();
    }
    let error = groups.create(group, "deeper", &none).unwrap_err();
    assert_eq!(error, GroupError::TooDeep { limit: 8 });
}

#[test]
fn protection_is_divided_down_the_tree() {
    let groups = Groups::new(4);
    let low = |pages: usize| GroupLimits::new().low(pages * PAGE_SIZE);
    let top = groups.create(GroupId::ROOT, "top", &low(40)).unwrap();
    let a = groups.create(top, "a", &low(80)).unwrap();
    let b = groups.create(top, "b", &low(20)).unwrap();
    groups.try_charge(a, 60).unwrap();
    groups.try_charge(b, 20).unwrap();
    let low = |group, target| groups.protection(group, target).low;
    assert_eq!(low(top, GroupId::ROOT), 40);
    assert_eq!((low(a, GroupId::ROOT), low(b, GroupId::ROOT)), (30, 10));
    // For reclaim from the top, its own limit says nothing.
    assert_eq!((low(a, top), low(b, top)), (60, 20));
    assert_eq!(low(a, a), 0);
}

#[test]
fn the_worst_offender_is_the_farthest_beyond_its_soft_limit() {
    let groups = Groups::new(4);
    let soft = |pages: usize| GroupLimits::new().soft_limit(pages * PAGE_SIZE);
    let a = groups.create(GroupId::ROOT, "a", &soft(10)).unwrap();
    let b = groups.create(GroupId::ROOT, "b", &soft(50)).unwrap();
    assert!(groups.has_soft_limits());
    assert_eq!(groups.worst_offender(&[]), None);
    groups.try_charge(a, 30).unwrap();
    groups.try_charge(b, 60).unwrap();
    assert_eq!(groups.worst_offender(&[]), Some((a, 20)));
    assert_eq!(groups.worst_offender(&[a]), Some((b, 10)));
    groups.set_limits(a, &GroupLimits::new());
    groups.set_limits(b, &GroupLimits::new());
    assert!(!groups.has_soft_limits());
}

#[test]
fn high_is_that_of_the_nearest() {
    let groups = Groups::new(4);
    let high = |pages: usize| GroupLimits::new().high(pages * PAGE_SIZE);
    let top = groups.create(GroupId::ROOT, "top", &high(10)).unwrap();
    let a = groups.create(top, "a", &high(8)).unwrap();
    groups.try_charge(a, 8).unwrap();
    assert_eq!(groups.beyond_high(a), None);
    groups.try_charge(a, 3).unwrap();
    assert_eq!(groups.beyond_high(a), Some((a, 3)));
    groups.set_limits(a, &GroupLimits::new());
    assert_eq!(groups.beyond_high(a), Some((top, 1)));
}
