//! What the models in the crate `loom-tests` are made of: the doors to parts of the crate that are
//! not public. Nothing here decides anything.

#![forbid(unsafe_code)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "who gives a page back has it no more"
)]

mod folio;
mod group;
mod io;
mod kcompactd;
mod kswapd;
mod nodes;
mod oom;
mod psi;
mod shrinking;
mod swapping;
mod tables;
mod zone;

pub use folio::Folio;
pub use group::{GroupedFolio, Room};
pub use io::Io;
pub use kcompactd::{Kcompactd, Look, Site};
pub use kswapd::{Daemon, Node};
pub use nodes::Nodes;
pub use oom::Desk;
pub use psi::Psi;
pub use shrinking::Shrinking;
pub use swapping::{Leaving, Slot, Swap};
pub use tables::{Family, Memory, Opening, RawFrame};
pub use zone::{Block, Page, Zone, Zonelists};

pub use crate::node::DaemonState;
pub use crate::sync::parker::{CorePark, DaemonPark, Park};
pub use crate::sync::{
    CoreMutex, DeltaCounters, FenceNames, PerCpu, RequestWord, Requests, SleepOutcome, Turn,
    WaitOutcome, WaitQueue, atomic, clock, cpu, fence, request, thread,
};

pub use crate::folio::{
    Courtesy, Custody, FolioSlot, FolioWord, Heir, Landing, Mark as FolioMark, Obstacle, Place,
    Released, follow_last_owner,
};
pub use crate::pool::census::Census;
pub use crate::reclaim::shrinkers::map::ShrinkerMap;
