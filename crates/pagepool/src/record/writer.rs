//! What the writer's thread does: chunks go to a file.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::time::Duration;

use super::code::EVENT_BYTES;
use super::stock::{Find, Stock};
use crate::sync::thread;

/// How long the writer sleeps when there is nothing to write. It is not woken, so that who records has nobody to
/// wake; meanwhile, what is recorded fills the stock.
const NAP: Duration = Duration::from_millis(1);

/// Writes what comes to the stock, until nothing comes any more; returns how many events it has written. After an
/// error it goes on, so that chunks come back, and writes nothing more.
///
/// # Errors
/// The first of the system.
pub(crate) fn write_out(stock: &Stock, file: &mut impl Write) -> io::Result<u64> {
    let mut written = Ok(0);
    loop {
        match stock.find() {
            Find::Chunk(chunk) => {
                written = written.and_then(|events| {
                    file.write_all(chunk.bytes())?;
                    Ok(events + (chunk.bytes().len() / EVENT_BYTES) as u64)
                });
                stock.bring_back(chunk);
            }
            Find::Nothing => thread::sleep(NAP),
            Find::Over => return written,
        }
    }
}
