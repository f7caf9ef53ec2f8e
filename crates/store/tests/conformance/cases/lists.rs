//! Lists: complete, in order, of one revision.

use super::{create, next, pool, pools, put};
use crate::server::Server;
use model::{Entry, Key, Kind, Query, Revision};
use std::sync::Arc;
use store::{Datastore, Error};

pub(crate) async fn a_list_is_of_one_revision<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let empty = datastore.list(&pools()).await.expect("a list");
    assert_eq!(empty.entries, []);
    let mut expected = Vec::new();
    for name in ["b", "a", "c"] {
        let revision = create(&*datastore, name, name.as_bytes()).await;
        expected.push(Entry { key: pool(name), value: name.into(), revision });
    }
    expected.sort_by(|one, other| one.key.cmp(&other.key));
    let node = Key::cluster(Kind::Node, "worker-1");
    let last = datastore.create(&node, b"{}".to_vec()).await.expect("a new object");
    let listing = datastore.list(&pools()).await.expect("a list");
    assert_eq!((listing.entries, listing.revision), (expected, last));

    let mut revisions = Vec::new();
    for (namespace, name) in [("red", "x"), ("blue", "x"), ("red-2", "x")] {
        let key = Key::namespaced(Kind::WorkloadEndpoint, namespace, name);
        revisions.push(datastore.create(&key, b"{}".to_vec()).await.expect("a new object"));
    }
    let kind = Kind::WorkloadEndpoint;
    let one = Query::Resources { kind, namespace: Some("red".into()) };
    let found = datastore.list(&one).await.expect("a list").entries;
    assert_eq!(found.iter().map(|entry| entry.revision).collect::<Vec<_>>(), revisions[..1]);
    assert_eq!(datastore.list(&Query::kind(kind)).await.expect("a list").entries.len(), 3);
}

pub(crate) async fn foreign_keys_are_left_out<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let begin = datastore.list(&pools()).await.expect("a list").revision;
    let mut changes = datastore.watch(&pools(), begin).await.expect("a watch");
    server.write_foreign(Kind::IpPool).await;
    let revision = create(&*datastore, "ours", b"1").await;
    let ours = Entry { key: pool("ours"), value: b"1".to_vec(), revision };
    assert_eq!(datastore.list(&pools()).await.expect("a list").entries, [ours]);
    assert_eq!(next(&mut changes).await, Ok(put(pool("ours"), b"1", revision)));
}

const KEYS: usize = 10_000;
const WRITERS: usize = 64;

/// Ten thousand objects are created, watched from the start, and listed page by page while they
/// change.
pub(crate) async fn ten_thousand_keys<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let begin = datastore.list(&pools()).await.expect("a list").revision;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let datastore = datastore.clone();
        writers.spawn(async move {
            for number in (writer..KEYS).step_by(WRITERS) {
                create(&*datastore, format!("{number:05}"), number.to_string().as_bytes()).await;
            }
        });
    }
    writers.join_all().await;
    let listing = datastore.list(&pools()).await.expect("a list");
    assert_eq!(listing.entries.len(), KEYS);
    for (number, entry) in listing.entries.iter().enumerate() {
        assert_eq!(entry.key, pool(format!("{number:05}")));
        assert_eq!(entry.value, number.to_string().into_bytes());
    }

    let mut changes = datastore.watch(&pools(), begin).await.expect("a watch");
    let mut by_revision = listing.entries;
    by_revision.sort_by_key(|entry| entry.revision);
    for entry in by_revision {
        assert_eq!(next(&mut changes).await, Ok(store::Change::Put(entry)));
    }
    pages_agree(datastore).await;
}

/// The first object of the list and the last are counted up in turn: at every single revision the
/// first is level with the last or one ahead.
async fn pages_agree(datastore: Arc<dyn Datastore>) {
    let writer = datastore.clone();
    let counting = tokio::spawn(async move {
        let names = [format!("{:05}", 0), format!("{:05}", KEYS - 1)];
        let mut revisions = Vec::new();
        for name in &names {
            revisions.push(writer.get(&pool(name)).await.unwrap().unwrap().revision);
        }
        for count in 0..u32::MAX {
            for (name, revision) in names.iter().zip(&mut revisions) {
                let value = (count + KEYS as u32).to_string().into_bytes();
                *revision = update(&*writer, name, value, *revision).await.unwrap();
            }
        }
    });
    let number = |entry: &Entry| -> i64 {
        std::str::from_utf8(&entry.value).unwrap().parse::<i64>().unwrap()
    };
    let mut counted = 0;
    while counted < 3 {
        let listing = datastore.list(&pools()).await.expect("a list");
        assert_eq!(listing.entries.len(), KEYS);
        assert!(listing.entries.iter().all(|entry| entry.revision <= listing.revision));
        let (first, last) = (number(&listing.entries[0]), number(&listing.entries[KEYS - 1]));
        // Before both have been counted once they still hold their numbers.
        if first >= KEYS as i64 && last >= KEYS as i64 {
            counted += 1;
            assert!((0..=1).contains(&(first - last)), "{first} and {last} in one list");
        }
    }
    assert!(!counting.is_finished(), "the objects did not change meanwhile");
    counting.abort();
}

async fn update(
    datastore: &dyn Datastore,
    name: &str,
    value: Vec<u8>,
    read: Revision,
) -> Result<Revision, Error> {
    datastore.update(&pool(name), value, read).await
}
