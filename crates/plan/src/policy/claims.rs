//! Which workloads say that something is theirs; the first is believed.

use policy::input::WorkloadId;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// Claims on interfaces, or on addresses.
#[derive(Debug)]
pub(super) struct Claims<T>(BTreeMap<T, BTreeSet<WorkloadId>>);

impl<T> Default for Claims<T> {
    fn default() -> Claims<T> {
        Claims(BTreeMap::new())
    }
}

impl<T: Ord> Claims<T> {
    /// A workload says that it is its.
    pub(super) fn add(&mut self, what: T, id: &WorkloadId) {
        self.0.entry(what).or_default().insert(id.clone());
    }

    /// It doesn't any more.
    pub(super) fn remove(&mut self, what: &T, id: &WorkloadId) {
        if let Some(claims) = self.0.get_mut(what) {
            claims.remove(id);
            if claims.is_empty() {
                self.0.remove(what);
            }
        }
    }

    /// Everything that somebody says is theirs.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.keys()
    }

    /// Whose it is.
    pub(super) fn first<Q: Ord + ?Sized>(&self, what: &Q) -> Option<&WorkloadId>
    where
        T: Borrow<Q>,
    {
        self.0.get(what)?.first()
    }
}
