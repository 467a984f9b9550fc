//! What stands in for `uring` on machines whose system calls it does not know. Nothing is ever read this
//! way.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;

use super::buffer::Buffer;
use crate::sync::clock::Instant;

/// A ring, of which there are none.
#[derive(Debug)]
pub(super) enum Ring {}

impl Ring {
    pub(super) fn is_available() -> bool {
        false
    }

    pub(super) fn for_buffer(_file: &File, _bytes: &mut [u8]) -> io::Result<Ring> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A read by a ring, of which there are none.
#[derive(Debug)]
pub(super) struct Flight(Ring);

/// A read that has ended.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) buffer: Buffer,
    pub(super) is_whole: bool,
}

impl Flight {
    pub(super) fn prepare(mut buffer: Buffer, _page: u64, _nr: usize) -> Flight {
        Flight(*buffer.ring.take().expect("who reads by a ring has one"))
    }

    pub(super) fn wait(self, _deadline: Option<Instant>) -> Result<Landed, Flight> {
        match self.0 {}
    }
}
