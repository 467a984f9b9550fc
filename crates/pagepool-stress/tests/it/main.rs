//! Runs the binary as a user does: what it prints, what it writes, how it ends.

#![allow(
    clippy::disallowed_types,
    reason = "a test outside the model-checked library"
)]

mod bad_input; // exit status 2 and one line that says where
mod fragment; // large blocks out of free memory in pieces
mod groups; // groups that share a pool
mod latency; // requests at a given rate
mod loads; // run and churn
mod misses; // what is missed of a trace, by policies and by a pool
mod mixed; // movable and unmovable memory side by side
mod page; // what --report writes
mod paging; // overcommit, faults and idle
mod progress; // what is shown meanwhile
mod recordings; // made, replayed, and replayed otherwise
mod replays; // every format
mod signals; // Ctrl-C
mod soak; // every kind of load at once
mod support; // running the binary, writing traces
mod top; // a pool of another process
