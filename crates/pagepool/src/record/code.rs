//! The 32 bytes that an event is written in, and those that end a file.
//!
//! *Kernel counterpart:* none; there each trace point has a format of its own (`events/kmem/*/format`, v5.0).
//!
//! ```text
//!  0        8         16       20       24       28    29     30     31    32
//! +--------+---------+--------+--------+--------+-----+------+------+-----+
//! | number | time/ns | subject| detail | thread |kind |order |cause |extra|    little-endian
//! +--------+---------+--------+--------+--------+-----+------+------+-----+
//! ```
//!
//! What the fields mean is said by the kind; those that a kind does not use are 0.
//!
//! **Invariants**
//! - V1: what was encoded is decoded to the same event, and what does not decode is refused, never guessed at.

#![forbid(unsafe_code)]

use super::event::{AccessKind, Cause, Event, Happening};
use crate::gfp::Gfp;
use crate::types::{Migratetype, Order, Pfn};

/// Bytes of an event.
pub(crate) const EVENT_BYTES: usize = 32;

/// The bytes of an event.
pub(crate) type EventBytes = [u8; EVENT_BYTES];

/// Numbers of kinds, which files rely on.
pub(crate) mod kind {
    pub(super) const ALLOC: u8 = 1;
    pub(super) const REFUSED: u8 = 2;
    pub(super) const FREE: u8 = 3;
    pub(super) const SPLIT: u8 = 4;
    pub(super) const OPEN: u8 = 5;
    pub(super) const NOT_OPENED: u8 = 6;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const ACCESS: u8 = 8;
    pub(super) const FAULT: u8 = 9;
    pub(super) const DISCARD: u8 = 10;
    pub(super) const LOCK: u8 = 11;
    pub(super) const UNLOCK: u8 = 12;
    pub(super) const COOL: u8 = 13;
    /// The record that ends a file.
    pub(crate) const END: u8 = 0xff;
}

/// The fields behind number, time and thread.
#[derive(Clone, Copy, Debug, Default)]
struct Raw {
    subject: u32,
    detail: u32,
    kind: u8,
    order: u8,
    cause: u8,
    extra: u8,
}

impl Raw {
    fn of(what: Happening) -> Raw {
        let of_folio = |kind: u8, folio: u32| Raw {
            kind,
            subject: folio,
            ..Raw::default()
        };
        match what {
            Happening::Alloc {
                pfn,
                order,
                gfp,
                migratetype,
            } => Raw {
                kind: kind::ALLOC,
                subject: pfn.get(),
                detail: gfp.bits(),
                order: order.get(),
                extra: migratetype.idx() as u8,
                ..Raw::default()
            },
            Happening::Refused { order, gfp, cause } => Raw {
                kind: kind::REFUSED,
                detail: gfp.bits(),
                order: order.get(),
                cause: cause.raw(),
                ..Raw::default()
            },
            Happening::Free { pfn, order } => Raw {
                kind: kind::FREE,
                subject: pfn.get(),
                order: order.get(),
                ..Raw::default()
            },
            Happening::Split { pfn, order, into } => Raw {
                kind: kind::SPLIT,
                subject: pfn.get(),
                order: order.get(),
                extra: into.get(),
                ..Raw::default()
            },
            Happening::Open { folio, len, backed } => Raw {
                detail: len,
                extra: u8::from(backed),
                ..of_folio(kind::OPEN, folio)
            },
            Happening::NotOpened { len, cause } => Raw {
                kind: kind::NOT_OPENED,
                detail: len,
                cause: cause.raw(),
                ..Raw::default()
            },
            Happening::Close { folio } => of_folio(kind::CLOSE, folio),
            Happening::Access { folio, kind } => Raw {
                extra: kind as u8,
                ..of_folio(kind::ACCESS, folio)
            },
            Happening::Fault {
                folio,
                order,
                kind,
                took_ns,
                cause,
            } => Raw {
                detail: took_ns,
                order: order.get(),
                cause: cause.map_or(0, Cause::raw),
                extra: kind as u8,
                ..of_folio(kind::FAULT, folio)
            },
            Happening::Discard { folio } => of_folio(kind::DISCARD, folio),
            Happening::Lock { folio } => of_folio(kind::LOCK, folio),
            Happening::Unlock { folio } => of_folio(kind::UNLOCK, folio),
            Happening::Cool { folio } => of_folio(kind::COOL, folio),
        }
    }

    /// What it says, or which field says nothing.
    fn happening(self) -> Result<Happening, &'static str> {
        let folio = self.subject;
        let pfn = Pfn::from_raw(self.subject);
        Ok(match self.kind {
            kind::ALLOC => Happening::Alloc {
                pfn,
                order: order_of(self.order)?,
                gfp: self.gfp()?,
                migratetype: *{ Migratetype::ALL.get(usize::from(self.extra)) }
                    .ok_or("migratetype")?,
            },
            kind::REFUSED => Happening::Refused {
                order: order_of(self.order)?,
                gfp: self.gfp()?,
                cause: self.cause()?,
            },
            kind::FREE => Happening::Free {
                pfn,
                order: order_of(self.order)?,
            },
            kind::SPLIT => Happening::Split {
                pfn,
                order: order_of(self.order)?,
                into: order_of(self.extra).and_then(|into| {
                    (into.get() <= self.order)
                        .then_some(into)
                        .ok_or("order of parts")
                })?,
            },
            kind::OPEN => Happening::Open {
                folio,
                len: self.len()?,
                backed: self.extra != 0,
            },
            kind::NOT_OPENED => Happening::NotOpened {
                len: self.detail,
                cause: self.cause()?,
            },
            kind::CLOSE => Happening::Close { folio },
            kind::ACCESS => Happening::Access {
                folio,
                kind: self.access()?,
            },
            kind::FAULT => Happening::Fault {
                folio,
                order: order_of(self.order)?,
                kind: self.access()?,
                took_ns: self.detail,
                cause: match self.cause {
                    0 => None,
                    _ => Some(self.cause()?),
                },
            },
            kind::DISCARD => Happening::Discard { folio },
            kind::LOCK => Happening::Lock { folio },
            kind::UNLOCK => Happening::Unlock { folio },
            kind::COOL => Happening::Cool { folio },
            _ => return Err("kind"),
        })
    }

    fn gfp(self) -> Result<Gfp, &'static str> {
        Gfp::from_bits(self.detail).ok_or("flags")
    }

    fn cause(self) -> Result<Cause, &'static str> {
        Cause::from_raw(self.cause).ok_or("cause")
    }

    fn access(self) -> Result<AccessKind, &'static str> {
        let kind = AccessKind::ALL.get(usize::from(self.extra));
        kind.copied().ok_or("access")
    }

    fn len(self) -> Result<u32, &'static str> {
        let is_possible = self.detail > 0 && Order::for_bytes(self.detail as usize).is_some();
        is_possible.then_some(self.detail).ok_or("length")
    }
}

fn order_of(raw: u8) -> Result<Order, &'static str> {
    Order::new(raw).map_err(|_| "order")
}

/// The record that ends a file: how many events there are before it, how long was recorded, and how many events
/// were lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct End {
    pub(crate) events: u64,
    pub(crate) time_ns: u64,
    pub(crate) lost: u64,
}

impl End {
    pub(crate) fn encode(self) -> EventBytes {
        let mut bytes = [0; EVENT_BYTES];
        bytes[0..8].copy_from_slice(&self.events.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lost.to_le_bytes());
        bytes[28] = kind::END;
        bytes
    }

    /// The end that the bytes say, if it is one.
    pub(crate) fn decode(bytes: &EventBytes) -> Option<End> {
        (bytes[28] == kind::END).then(|| End {
            events: u64_at(bytes, 0),
            time_ns: u64_at(bytes, 8),
            lost: u64_at(bytes, 16),
        })
    }
}

fn u64_at(bytes: &EventBytes, at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

fn u32_at(bytes: &EventBytes, at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]))
}

impl Event {
    pub(crate) fn encode(&self) -> EventBytes {
        let raw = Raw::of(self.what);
        let mut bytes = [0; EVENT_BYTES];
        bytes[0..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16..20].copy_from_slice(&raw.subject.to_le_bytes());
        bytes[20..24].copy_from_slice(&raw.detail.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.thread.to_le_bytes());
        bytes[28..].copy_from_slice(&[raw.kind, raw.order, raw.cause, raw.extra]);
        bytes
    }

    /// The event that the bytes say, or which field of it says nothing.
    pub(crate) fn decode(bytes: &EventBytes) -> Result<Event, &'static str> {
        let raw = Raw {
            subject: u32_at(bytes, 16),
            detail: u32_at(bytes, 20),
            kind: bytes[28],
            order: bytes[29],
            cause: bytes[30],
            extra: bytes[31],
        };
        Ok(Event {
            number: u64_at(bytes, 0),
            time_ns: u64_at(bytes, 8),
            thread: u32_at(bytes, 24),
            what: raw.happening()?,
        })
    }
}

#[cfg(all(test, not(loom)))]
pub(super) mod tests {
    use super::*;
    use crate::error::{AccessError, AllocError};

    /// One event of each kind, numbered from 0.
    pub(in crate::record) fn one_of_each() -> Vec<Event> {
        let (pfn, order, folio) = (Pfn::from_raw(0x1000_0007), Order::at(3), 9);
        let cause = Cause::of_alloc(AllocError::Fragmented);
        let kind = AccessKind::Write;
        let gfp = Gfp::KERNEL;
        let fault = |cause| Happening::Fault {
            folio,
            order,
            kind: AccessKind::Idle,
            took_ns: u32::MAX,
            cause,
        };
        let all = [
            Happening::Alloc {
                pfn,
                order,
                gfp,
                migratetype: Migratetype::Reclaimable,
            },
            Happening::Refused { order, gfp, cause },
            Happening::Free { pfn, order },
            Happening::Split {
                pfn,
                order,
                into: Order::ZERO,
            },
            Happening::Open {
                folio,
                len: 4 << 20,
                backed: true,
            },
            Happening::NotOpened { len: 7, cause },
            Happening::Close { folio },
            Happening::Access { folio, kind },
            fault(None),
            fault(Some(Cause::of_access(AccessError::StoreFailed))),
            Happening::Discard { folio },
            Happening::Lock { folio },
            Happening::Unlock { folio },
            Happening::Cool { folio },
        ];
        let event = |(number, what): (u64, Happening)| Event {
            number,
            time_ns: 1 << 40 | number,
            thread: 77,
            what,
        };
        (0..).zip(all).map(event).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for event in one_of_each() {
            let bytes = event.encode();
            assert_eq!(Event::decode(&bytes), Ok(event));
            assert_eq!(End::decode(&bytes), None);
        }
    }

    #[test]
    fn a_field_that_says_nothing_is_named() {
        let bytes = |n: usize, at: usize, value: u8| {
            let mut bytes = one_of_each()[n].encode();
            bytes[at] = value;
            Event::decode(&bytes).unwrap_err()
        };
        assert_eq!(bytes(0, 28, 0), "kind");
        assert_eq!(bytes(0, 28, 14), "kind");
        assert_eq!(bytes(0, 29, 11), "order");
        assert_eq!(bytes(0, 23, 0x80), "flags");
        assert_eq!(bytes(0, 31, 4), "migratetype");
        assert_eq!(bytes(1, 30, 0), "cause");
        assert_eq!(bytes(1, 30, 21), "cause");
        assert_eq!(bytes(3, 31, 4), "order of parts");
        assert_eq!(bytes(4, 23, 1), "length");
        assert_eq!(bytes(7, 31, 4), "access");
    }

    #[test]
    fn the_end_is_no_event() {
        let end = End {
            events: 5,
            time_ns: 6,
            lost: 7,
        };
        assert_eq!(End::decode(&end.encode()), Some(end));
        assert_eq!(Event::decode(&end.encode()), Err("kind"));
    }
}
