//! Why a group could not be made, changed or deleted.

use crate::error::{Printable, RangeError};

/// Why a group could not be made, changed or deleted. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The pool was built for fewer groups.
    #[error(
        "the pool has as many groups as max_groups = {limit} permits; build it with a higher `max_groups`"
    )]
    NoRoom {
        /// The limit.
        limit: usize,
    },
    /// Groups stand too far below each other.
    #[error("groups are at most {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The group above has one of this name.
    #[error("there is a group `{name}` already")]
    Exists {
        /// The name.
        name: String,
    },
    /// The name is not one.
    #[error(
        "`{}` is no name for a group: it has 1 to 64 bytes, none of them `/` or unprintable",
        Printable(name)
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// A limit that contradicts another, or none at all.
    #[error(transparent)]
    OutOfRange(#[from] RangeError),
    /// The group has something, or is in use.
    #[error(
        "the group has {pages} pages, {members} folios and raw blocks and {children} groups below it, and {handles} other handles; drop or move them first"
    )]
    InUse {
        /// Pages that it is charged for.
        pages: usize,
        /// Folios, in memory or away, and raw blocks.
        members: usize,
        /// Groups directly below it.
        children: usize,
        /// Handles beside the one that it was to be deleted by.
        handles: usize,
    },
    /// The group that something was to be moved to, or one above it, has all that it may.
    #[error("the group `{path}` is at its limit; free memory of it, or raise its `max`")]
    Full {
        /// The group that is full.
        path: String,
    },
    /// What was to be moved to the group was in others' hands until the deadline.
    #[error("what was to be moved to the group `{path}` was in use until the deadline")]
    Busy {
        /// The group that it was to be moved to.
        path: String,
    },
    /// The root cannot be limited or deleted.
    #[error("the root group is the pool itself: it has no limits, and cannot be deleted")]
    Root,
    /// The two belong to different pools.
    #[error("the group belongs to another pool")]
    OtherPool,
}
