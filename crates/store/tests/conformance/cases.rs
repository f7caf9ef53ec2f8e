//! The cases, each on a server with an empty store.

pub(crate) mod lists;
pub(crate) mod restarts;
pub(crate) mod watches;
pub(crate) mod writes;

use futures_util::StreamExt;
use model::{Entry, Key, Kind, Query, Revision};
use store::{BoxStream, Change, Datastore, Error};

fn pool(name: impl ToString) -> Key {
    Key::cluster(Kind::IpPool, name.to_string())
}

fn pools() -> Query {
    Query::kind(Kind::IpPool)
}

/// The next change, progress left out.
async fn next(changes: &mut BoxStream<Result<Change, Error>>) -> Result<Change, Error> {
    loop {
        match changes.next().await.expect("a watch ends with an error") {
            Ok(Change::Progress(_)) => {}
            other => return other,
        }
    }
}

fn put(key: Key, value: &[u8], revision: Revision) -> Change {
    Change::Put(Entry { key, value: value.to_vec(), revision })
}

/// Creates `name` = `value`.
async fn create(datastore: &dyn Datastore, name: impl ToString, value: &[u8]) -> Revision {
    datastore.create(&pool(name), value.to_vec()).await.expect("a new object")
}
