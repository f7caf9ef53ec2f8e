//! The cases, each on a server with an empty store.
//!
//! A value is a pool with a note; what a server adds to it (an identity, a time) doesn't count.

pub(crate) mod lists;
pub(crate) mod restarts;
pub(crate) mod watches;
pub(crate) mod writes;

use futures_util::StreamExt;
use model::{Entry, IpPool, IpPoolSpec, Key, Kind, Query, Revision};
use store::{BoxStream, Change, Datastore, Error};

fn pool(name: impl ToString) -> Key {
    Key::cluster(Kind::IpPool, name.to_string())
}

fn pools() -> Query {
    Query::kind(Kind::IpPool)
}

/// A pool that says so.
fn value(note: impl ToString) -> Vec<u8> {
    let spec = IpPoolSpec { cidr: "10.0.0.0/8".into(), ..IpPoolSpec::default() };
    let mut pool = IpPool::new("pool", spec);
    pool.metadata.annotations.insert("note".into(), note.to_string());
    pool.to_stored()
}

/// An object as the suite compares it: its key, its note, its revision.
type Seen = (Key, String, Revision);

fn seen(entry: Entry) -> Seen {
    let value: serde_json::Value = serde_json::from_slice(&entry.value).expect("JSON");
    let note = value["metadata"]["annotations"]["note"].as_str().unwrap_or_default();
    (entry.key, note.to_owned(), entry.revision)
}

/// A change as the suite compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Put(Seen),
    Delete(Key),
}

/// The changes of a watch, whose revisions grow.
struct Changes {
    changes: BoxStream<Result<Change, Error>>,
    last: Revision,
}

impl Changes {
    fn new(changes: BoxStream<Result<Change, Error>>) -> Changes {
        Changes { changes, last: Revision(0) }
    }

    /// The next change, progress left out.
    async fn next(&mut self) -> Result<Told, Error> {
        loop {
            let (told, revision) = match self.changes.next().await.expect("an error at the end")? {
                Change::Progress(_) => continue,
                Change::Put(entry) => (Told::Put(seen(entry.clone())), entry.revision),
                Change::Delete(key, revision) => (Told::Delete(key), revision),
            };
            assert!(revision > self.last, "{told:?} at {revision} after {}", self.last);
            self.last = revision;
            return Ok(told);
        }
    }

    async fn is_over(&mut self) -> bool {
        self.changes.next().await.is_none()
    }
}

async fn watch(datastore: &dyn Datastore, after: Revision) -> Changes {
    Changes::new(datastore.watch(&pools(), after).await.expect("a watch"))
}

fn put(key: Key, note: impl ToString, revision: Revision) -> Told {
    Told::Put((key, note.to_string(), revision))
}

/// What the datastore has of a key.
async fn get(datastore: &dyn Datastore, key: &Key) -> Option<Seen> {
    datastore.get(key).await.expect("an answer").map(seen)
}

/// The pools, and the revision to watch from.
async fn list(datastore: &dyn Datastore) -> (Vec<Seen>, Revision) {
    let listing = datastore.list(&pools()).await.expect("a list");
    (listing.entries.into_iter().map(seen).collect(), listing.revision)
}

/// Creates a pool with a note.
async fn create(datastore: &dyn Datastore, name: impl ToString, note: impl ToString) -> Revision {
    datastore.create(&pool(name), value(note)).await.expect("a new object")
}

/// Replaces a pool's note.
async fn update(
    datastore: &dyn Datastore,
    name: impl ToString,
    note: impl ToString,
    read: Revision,
) -> Revision {
    datastore.update(&pool(name), value(note), read).await.expect("unchanged")
}
