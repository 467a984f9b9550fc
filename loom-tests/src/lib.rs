//! Models of pagepool protocols.
