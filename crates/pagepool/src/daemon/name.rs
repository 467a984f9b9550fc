//! The kinds of daemons, and what each one is called.

use std::fmt;

use crate::node::{DaemonPost, Node};
use crate::types::NodeId;

/// A kind of daemon. Each node has one of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Makes large blocks.
    Kcompactd,
    /// Keeps memory free.
    Kswapd,
}

impl Kind {
    /// All kinds, in the order in which they are started.
    pub(crate) const ALL: [Kind; 2] = [Kind::Kcompactd, Kind::Kswapd];

    /// Where a node's daemon of this kind is asked for work.
    pub(crate) fn post(self, node: &Node) -> &DaemonPost {
        match self {
            Kind::Kcompactd => &node.kcompactd,
            Kind::Kswapd => &node.kswapd,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Kcompactd => "kcompactd",
            Kind::Kswapd => "kswapd",
        })
    }
}

/// One daemon, as its thread is called: `kswapd0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    /// What it is.
    pub(crate) kind: Kind,
    /// Whose it is.
    pub(crate) node: NodeId,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.node.get())
    }
}
