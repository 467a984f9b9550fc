//! Making, finding and deleting groups.

use super::{GroupError, GroupLimits, Groups, MAX_DEPTH};
use crate::error::{Violation, ensure};
use crate::sync::atomic::Ordering;
use crate::types::GroupId;

/// The longest name, in bytes.
const MAX_NAME: usize = 64;

/// What only those look at who make, find and delete groups.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The name of each, by place; the root's is empty.
    names: Vec<Option<Box<str>>>,
}

impl Tree {
    /// What a name may come to take.
    pub(super) const BYTES_PER_GROUP: usize = size_of::<Option<Box<str>>>() + MAX_NAME;

    fn name(&self, group: GroupId) -> &str {
        let name = self.names.get(group.get()).and_then(Option::as_deref);
        name.unwrap_or_default()
    }

    fn set_name(&mut self, group: GroupId, name: Option<&str>) {
        if self.names.len() <= group.get() {
            self.names.resize(group.get() + 1, None);
        }
        self.names[group.get()] = name.map(Into::into);
    }
}

fn check_name(name: &str) -> Result<(), GroupError> {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c.is_control());
    if is_name {
        return Ok(());
    }
    Err(GroupError::BadName { name: name.into() })
}

impl Groups {
    /// Makes a group below another, with a handle.
    pub(crate) fn create(
        &self,
        parent: GroupId,
        name: &str,
        limits: &GroupLimits,
    ) -> Result<GroupId, GroupError> {
        check_name(name)?;
        limits.check()?;
        let mut tree = self.tree.lock();
        if self.find_child(&tree, parent, name).is_some() {
            return Err(GroupError::Exists { name: name.into() });
        }
        let depth = match parent {
            GroupId::ROOT => 0,
            parent => self.slot(parent).depth() + 1,
        };
        if depth >= MAX_DEPTH {
            let limit = usize::from(MAX_DEPTH);
            return Err(GroupError::TooDeep { limit });
        }
        let limit = self.limit();
        let mut places = (1..=limit).map(GroupId::at);
        let free = places.find(|group| !self.slot(*group).is_live());
        let group = free.ok_or(GroupError::NoRoom { limit })?;
        tree.set_name(group, Some(name));
        self.slot(group).open(parent, depth);
        // Nobody waits yet.
        let _ = self.apply_limits(group, limits);
        // Relaxed: as in `under`.
        self.nr_used.fetch_max(group.get() + 1, Ordering::Relaxed);
        Ok(group)
    }

    fn find_child(&self, tree: &Tree, parent: GroupId, name: &str) -> Option<GroupId> {
        self.children(parent)
            .find(|group| tree.name(*group) == name)
    }

    /// Finds a group by the names on the way to it, and takes a handle to it.
    pub(crate) fn find(&self, path: &str) -> Option<GroupId> {
        let tree = self.tree.lock();
        let mut group = GroupId::ROOT;
        for name in path.split('/') {
            group = self.find_child(&tree, group, name)?;
        }
        self.slot(group).take_handle();
        Some(group)
    }

    /// The names on the way to a group; the root's path is empty.
    pub(crate) fn path(&self, group: GroupId) -> String {
        let tree = self.tree.lock();
        let mut names: Vec<_> = self.chain(group).map(|one| tree.name(one)).collect();
        names.reverse();
        names.join("/")
    }

    /// Deletes a group, for the only one who has a handle to it.
    pub(crate) fn delete(&self, group: GroupId) -> Result<(), GroupError> {
        if group.is_root() {
            return Err(GroupError::Root);
        }
        let mut tree = self.tree.lock();
        let slot = self.slot(group);
        let children = self.children(group).count();
        let (handles, members, pages) = (slot.handles() - 1, slot.members(), slot.pages());
        if handles + members + pages + children > 0 {
            return Err(GroupError::InUse {
                pages,
                members,
                children,
                handles,
            });
        }
        // Without a member, nobody waits.
        let _ = self.apply_limits(group, &GroupLimits::new());
        slot.close();
        tree.set_name(group, None);
        Ok(())
    }

    /// All groups that there are, parents before their children, the root left out.
    pub(crate) fn all(&self) -> Vec<GroupId> {
        let _tree = self.tree.lock();
        let mut groups: Vec<_> = self.under(GroupId::ROOT).skip(1).collect();
        groups.sort_by_key(|group| (self.slot(*group).depth(), *group));
        groups
    }

    /// Checks the tree, and that each group is charged for what `held` says it has by itself, in pages.
    /// Exact while nothing else runs.
    pub(crate) fn verify(&self, held: &[usize]) -> Result<(), Violation> {
        let groups = self.all();
        for group in &groups {
            let parent = self.slot(*group).parent();
            let is_there = parent.is_root() || self.slot(parent).is_live();
            ensure!(
                is_there,
                "G4",
                "{group:?} is below {parent:?}, which is gone"
            );
            let below = groups.iter().filter(|one| self.is_under(**one, *group));
            let sum: usize = below.map(|one| held[one.get()]).sum();
            let pages = self.slot(*group).pages();
            ensure!(
                pages == sum,
                "G3",
                "{group:?} is charged for {pages} pages, but has {sum}"
            );
        }
        for (place, held) in held.iter().enumerate().skip(1) {
            let slot = self.slot(GroupId::at(place));
            let is_empty = slot.pages() == 0 && *held == 0 && slot.members() == 0;
            ensure!(
                slot.is_live() || is_empty,
                "G4",
                "group{place} is gone, but has members"
            );
        }
        Ok(())
    }
}
