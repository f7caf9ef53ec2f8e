//! A value that knows whether it may have changed.

use std::ops::Deref;

/// Read like what it holds; changed through [`Tracked::change`] only.
#[derive(Debug)]
pub(crate) struct Tracked<T> {
    value: T,
    changed: bool,
}

impl<T> Tracked<T> {
    /// A value that nobody has seen yet.
    pub(crate) fn new(value: T) -> Tracked<T> {
        Tracked { value, changed: true }
    }

    /// The value, to be changed.
    pub(crate) fn change(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }

    /// Whether it may have changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
