//! Reservations (stand-in until merged).
use crate::error::BuildError;
use std::ops::{Deref, DerefMut};
#[derive(Debug)]
pub(crate) struct ZeroedTable<T>(Vec<T>);
impl<T: Default> ZeroedTable<T> {
    pub(crate) fn new(len: usize, _what: &'static str) -> Result<Self, BuildError> {
        Ok(ZeroedTable((0..len).map(|_| T::default()).collect()))
    }
    pub(crate) fn bytes(&self) -> usize {
        size_of::<T>() * self.0.len()
    }
}
impl<T> Deref for ZeroedTable<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}
impl<T> DerefMut for ZeroedTable<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
