//! Lists: complete, in order, of one revision.

use super::{Seen, create, get, list, pool, put, update, watch};
use crate::server::{Foreign, Server};
use model::{BgpPeer, BgpPeerSpec, Key, Kind, NetworkPolicy, NetworkPolicySpec, Query};
use std::sync::Arc;
use store::Datastore;

pub(crate) async fn a_list_is_of_one_revision<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    assert_eq!(list(&*datastore).await.0, []);
    let mut expected: Vec<Seen> = Vec::new();
    for name in ["b", "a", "c"] {
        let revision = create(&*datastore, name, name).await;
        expected.push((pool(name), name.into(), revision));
    }
    expected.sort();
    let peer = BgpPeer::new("other", BgpPeerSpec::default());
    let last = datastore.create(&peer.key(), peer.to_stored()).await.expect("a new object");
    let (entries, revision) = list(&*datastore).await;
    assert_eq!(entries, expected);
    assert!(revision >= last);

    let mut revisions = Vec::new();
    for namespace in ["red", "blue", "red-2"] {
        server.make_namespace(namespace);
        let mut policy = NetworkPolicy::new("x", NetworkPolicySpec::default());
        policy.metadata.namespace = Some(namespace.into());
        let created = datastore.create(&policy.key(), policy.to_stored()).await;
        revisions.push(created.expect("a new object"));
    }
    let kind = Kind::NetworkPolicy;
    let one = Query::Resources { kind, namespace: Some("red".into()) };
    let found = datastore.list(&one).await.expect("a list").entries;
    assert_eq!(found.iter().map(|entry| entry.revision).collect::<Vec<_>>(), revisions[..1]);
    assert_eq!(found[0].key, Key::namespaced(kind, "red", "x"));
    assert_eq!(datastore.list(&Query::kind(kind)).await.expect("a list").entries.len(), 3);
}

pub(crate) async fn foreign_keys_are_left_out<S: Foreign>(server: &mut S) {
    let datastore = server.datastore().await;
    let begin = list(&*datastore).await.1;
    let mut changes = watch(&*datastore, begin).await;
    server.write_foreign(Kind::IpPool).await;
    let revision = create(&*datastore, "ours", 1).await;
    assert_eq!(list(&*datastore).await.0, [(pool("ours"), "1".to_owned(), revision)]);
    assert_eq!(changes.next().await, Ok(put(pool("ours"), 1, revision)));
}

const WRITERS: usize = 64;

/// Many objects are created, watched from the start, and listed page by page while they change.
pub(crate) async fn many_keys<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let begin = list(&*datastore).await.1;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let datastore = datastore.clone();
        writers.spawn(async move {
            for number in (writer..S::MANY).step_by(WRITERS) {
                create(&*datastore, format!("{number:05}"), number).await;
            }
        });
    }
    writers.join_all().await;
    let mut entries = list(&*datastore).await.0;
    assert_eq!(entries.len(), S::MANY);
    for (number, (key, note, _)) in entries.iter().enumerate() {
        assert_eq!((key, note), (&pool(format!("{number:05}")), &number.to_string()));
    }

    let mut changes = watch(&*datastore, begin).await;
    entries.sort_by_key(|(.., revision)| *revision);
    for (key, note, revision) in entries {
        assert_eq!(changes.next().await, Ok(put(key, note, revision)));
    }
    pages_agree::<S>(datastore).await;
}

/// The first object of the list and the last are counted up in turn: at every single revision the
/// first is level with the last or one ahead.
async fn pages_agree<S: Server>(datastore: Arc<dyn Datastore>) {
    let many = S::MANY;
    let writer = datastore.clone();
    let counting = tokio::spawn(async move {
        let names = [format!("{:05}", 0), format!("{:05}", many - 1)];
        let mut revisions = Vec::new();
        for name in &names {
            revisions.push(get(&*writer, &pool(name)).await.expect("it is there").2);
        }
        for count in 0..usize::MAX {
            for (name, revision) in names.iter().zip(&mut revisions) {
                *revision = update(&*writer, name, count + many, *revision).await;
            }
        }
    });
    let number = |seen: &Seen| -> usize { seen.1.parse().expect("a number") };
    let mut counted = 0;
    while counted < 3 {
        let (entries, revision) = list(&*datastore).await;
        assert_eq!(entries.len(), many);
        assert!(entries.iter().all(|seen| seen.2 <= revision));
        let (first, last) = (number(&entries[0]), number(&entries[many - 1]));
        // Before both have been counted once they still hold their numbers.
        if first >= many && last >= many {
            counted += 1;
            assert!(first == last || first == last + 1, "{first} and {last} in one list");
        }
    }
    assert!(!counting.is_finished(), "the objects did not change meanwhile");
    counting.abort();
}
