//! What happens to a pool, written down event by event.
//!
//! *Kernel counterpart:* the trace points `mm_page_alloc`, `mm_page_free` and their ring buffers (`trace/ring_buffer`,
//! v5.0). There, each CPU writes to a buffer of its own without a lock. Here a thread writes to a *lane*, a buffer
//! behind a lock that nobody else has, as a rule; and what is recorded can be played again.
//!
//! ```text
//!   whoever allocates, frees, accesses          the writer's thread
//!   ──────────────────────────────────          ───────────────────
//!   level? ─► a lane that is not taken          the oldest full chunk ─► file
//!             full? an empty chunk of the  ◄──► an empty one goes back
//!             stock, or the event is lost
//! ```
//!
//! | file | what |
//! |---|---|
//! | `event` | what can be recorded (pure) |
//! | `code` | the 32 bytes of an event (pure) |
//! | `tape` | a whole recording: header, events, end (pure but for reading a file) |
//! | `stock` | chunks, empty and full |
//! | `recorder` | lanes, and whether anything is recorded |
//! | `writer` | what the writer's thread does |
//!
//! **Invariants**
//! - W1: while nothing is recorded, an event costs one relaxed load, and the shortest paths not even that: a page
//!   that passes through a thread's magazine, and a use of a folio that was used before. Each of them tests a word
//!   anyway, which says that it is to be left; while something is recorded, that word says so, too
//!   (`Magazines::watch`, `Mark::Watched`), and the long way notes what happens.
//! - W2: who records waits for nobody, allocates nothing and does no I/O: what finds no room is counted as lost.
//! - W3: of two events of which one is the reason for the other (a block is freed, and somebody else gets it), the
//!   first has the smaller sequence number.
//! - W4: what is noted of a block's coming is noted of its going: magazines are watched before a lane is open, and
//!   who notes something has seen one open.
//!
//! **Locking:** a lane's lock, then the stock's. Neither has a rank: nothing else is taken under them, and no ranked
//! lock is held by who records.

#![forbid(unsafe_code)]

mod code;
mod event;
mod recorder;
mod stock;
mod tape;
mod writer;

pub(crate) use code::{EVENT_BYTES, End};
pub use event::{AccessKind, Cause, Event, Happening};
pub(crate) use recorder::{Level, Recorder, Session, Yield, took_ns};
pub(crate) use stock::Stock;
pub(crate) use tape::header;
pub use tape::{Tape, TapeError};
pub(crate) use writer::write_out;
