//! The way from one state to another.

use crate::{Change, Ownership, State};

/// What to do so that the kernel has what is desired, and of what is ours nothing else.
pub fn diff(_desired: &State, _actual: &State, _owned: &Ownership) -> Vec<Change> {
    todo!()
}
