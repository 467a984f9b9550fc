//! What the texts look like, and what becomes of files that cannot be written.

#![forbid(unsafe_code)]

mod layout;
mod writing;
