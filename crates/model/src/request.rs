//! Datastore requests and answers as values.
//!
//! A protocol over the datastore (IPAM's, say) yields [`Request`]s and is fed [`Response`]s.
//! `store` carries them out; a test answers them from a map, with any conflict or failure it likes.

use crate::{Key, Query};
use serde::{Deserialize, Serialize};

/// The datastore's version of an object or of the whole store: etcd's ModRevision, Kubernetes'
/// resourceVersion. Grows with every change.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Revision(pub u64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One stored object: its key, its JSON bytes and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its value as stored.
    pub value: Vec<u8>,
    /// When it last changed.
    pub revision: Revision,
    /// What of the object behind it cannot be read, so that the value is without it: each names the
    /// object, the cause and the next step. Only objects of Kubernetes' have any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

impl Entry {
    /// An entry without problems.
    pub fn new(key: Key, value: Vec<u8>, revision: Revision) -> Entry {
        Entry { key, value, revision, problems: Vec::new() }
    }
}

/// What to ask of the datastore. Every write is atomic on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Read one key. Answer: [`Response::Entry`].
    Get(Key),
    /// Read a set of keys. Answer: [`Response::Entries`].
    List(Query),
    /// Write a key that must not exist. Answer: [`Response::Written`].
    Create {
        /// The new key.
        key: Key,
        /// Its value.
        value: Vec<u8>,
    },
    /// Replace a key that must still be at `revision`. Answer: [`Response::Written`].
    Update {
        /// The key.
        key: Key,
        /// Its new value.
        value: Vec<u8>,
        /// The revision that was read.
        revision: Revision,
    },
    /// Remove a key that must still be at `revision`. Answer: [`Response::Deleted`].
    Delete {
        /// The key.
        key: Key,
        /// The revision that was read.
        revision: Revision,
    },
}

/// What the datastore answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The key's entry, or `None` where it doesn't exist.
    Entry(Option<Entry>),
    /// All entries of the query, in key order.
    Entries(Vec<Entry>),
    /// Written; the key's new revision.
    Written(Revision),
    /// Removed.
    Deleted,
    /// Not done.
    Failed(Failure),
}

/// Why a request was not carried out, split by what the caller does about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// Create: the key exists. Update, delete: it has changed since it was read. Read again and
    /// retry.
    #[error("it was changed by somebody else meanwhile")]
    Conflict,
    /// Update, delete: the key does not exist (any more).
    #[error("it does not exist")]
    NotFound,
    /// The datastore gave no answer or refused; the text says why. Whether a write took place is
    /// unknown unless the text says so.
    #[error("{0}")]
    Unavailable(String),
}

/// What a watch tells, in an order in which every key's revisions only grow.
///
/// After a reconnect the watcher resumes from the last revision it told; where that is compacted it
/// lists again and tells the differences, so that a consumer never sees a gap and needs no second
/// mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatastoreEvent {
    /// The object is now this.
    Changed(Entry),
    /// The object is gone.
    Deleted {
        /// Its key.
        key: Key,
        /// When it went.
        revision: Revision,
    },
    /// Everything that stood in the datastore at the start has been told. Told once per watcher.
    InSync,
    /// The datastore doesn't answer; the text says why. What was told still stands.
    Unreachable(String),
    /// The datastore answers again.
    Reachable,
}

/// A protocol over the datastore as a pure state machine: ask, be answered, ask again, be done.
pub trait Protocol {
    /// What it comes to.
    type Output;
    /// Takes the answer to the last request (`None` the first time) and says what is next.
    fn step(&mut self, answer: Option<Response>) -> Step<Self::Output>;
}

/// What a [`Protocol`] wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Carry this out and call `step` with the answer.
    Ask(Request),
    /// Done; `step` must not be called again.
    Done(T),
}
