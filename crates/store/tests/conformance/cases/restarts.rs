//! Servers that go away and come back.

use super::{create, next, pool, pools, put};
use crate::server::{Server, Stop};
use futures_util::StreamExt;
use model::{DatastoreEvent, Key, Query, Revision};
use std::collections::BTreeMap;
use store::{Datastore, Error};
use tokio::sync::mpsc::Receiver;

pub(crate) async fn a_restart_keeps_everything_and_ends_watches<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    for number in 0..50 {
        create(&*datastore, number, b"x").await;
    }
    for how in [Stop::Orderly, Stop::Kill] {
        let before = datastore.list(&pools()).await.expect("a list");
        let mut changes = datastore.watch(&pools(), before.revision).await.expect("a watch");
        server.stop(how).await;
        let end = next(&mut changes).await;
        assert!(matches!(end, Err(Error::Unreachable { .. })), "{end:?}");
        assert!(changes.next().await.is_none());
        server.resume().await;
        assert_eq!(datastore.list(&pools()).await, Ok(before.clone()));
        let after = create(&*datastore, format!("{how:?}").to_lowercase(), b"y").await;
        assert!(after > before.revision);
    }
}

pub(crate) async fn a_watch_resumes_after_a_restart<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let first = create(&*datastore, "one", b"1").await;
    let mut changes = datastore.watch(&pools(), Revision(first.0 - 1)).await.expect("a watch");
    assert_eq!(next(&mut changes).await, Ok(put(pool("one"), b"1", first)));
    let second = create(&*datastore, "two", b"2").await;
    server.stop(Stop::Kill).await;
    server.resume().await;
    let third = create(&*datastore, "three", b"3").await;
    let mut changes = datastore.watch(&pools(), first).await.expect("a watch");
    assert_eq!(next(&mut changes).await, Ok(put(pool("two"), b"2", second)));
    assert_eq!(next(&mut changes).await, Ok(put(pool("three"), b"3", third)));
}

const WRITERS: usize = 8;
/// Writes acknowledged before the kill.
const ACKNOWLEDGED: usize = 200;

/// Several clients write until the server is killed: what was acknowledged is there, what wasn't is
/// there as written or not at all.
pub(crate) async fn kill_in_the_middle_of_writes_loses_nothing_acknowledged<S: Server>(
    server: &mut S,
) {
    for round in 0..3 {
        let (acknowledge, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (datastore, acknowledge) = (server.datastore().await, acknowledge.clone());
            writers.spawn(async move {
                for number in 0.. {
                    let name = format!("{round}-{writer}-{number}");
                    match datastore.create(&pool(&name), name.clone().into_bytes()).await {
                        Ok(revision) => acknowledge.send((name, revision)).expect("a reader"),
                        Err(Error::Unreachable { .. }) => return name,
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
                unreachable!("the server is killed")
            });
        }
        drop(acknowledge);
        let mut kept = BTreeMap::new();
        while kept.len() < ACKNOWLEDGED {
            kept.extend(acknowledged.recv().await);
        }
        server.stop(Stop::Kill).await;
        let in_doubt = writers.join_all().await;
        while let Some((name, revision)) = acknowledged.recv().await {
            kept.insert(name, revision);
        }
        server.resume().await;
        let datastore = server.datastore().await;
        let listing = datastore.list(&pools()).await.expect("a list");
        let mut found = BTreeMap::new();
        for entry in listing.entries {
            let Key::Resource { name, .. } = entry.key else { panic!("{:?}", entry.key) };
            assert_eq!(entry.value, name.as_bytes());
            assert!(found.insert(name, entry.revision).is_none());
        }
        found.retain(|name, _| name.starts_with(&format!("{round}-")));
        found.retain(|name, _| !in_doubt.contains(name));
        assert_eq!(found, kept);
    }
}

pub(crate) async fn a_watcher_follows_through_restart_kill_and_compaction<S: Server>(
    server: &mut S,
) {
    let datastore = server.datastore().await;
    create(&*datastore, "stays", b"0").await;
    create(&*datastore, "goes", b"0").await;
    let queries = vec![pools(), Query::Blocks];
    let mut events = store::watcher::watch(server.datastore().await, queries);
    let mut told = BTreeMap::new();
    let mut syncs = 0;
    follow(&*datastore, &mut events, &mut told, &mut syncs).await;

    for (round, how) in [Stop::Orderly, Stop::Kill, Stop::Kill].into_iter().enumerate() {
        server.stop(how).await;
        loop {
            match events.recv().await.expect("the watcher lives") {
                DatastoreEvent::Unreachable(_) => break,
                event => take(event, &mut told, &mut syncs),
            }
        }
        server.resume().await;
        for number in 0..20 {
            create(&*datastore, format!("{round}-{number}"), b"1").await;
        }
        if round == 1 {
            datastore.delete(&pool("goes"), None).await.expect("it is there");
            let last = create(&*datastore, "last", b"1").await;
            server.compact(last).await;
        }
        follow(&*datastore, &mut events, &mut told, &mut syncs).await;
    }
    assert_eq!(syncs, 1);
    assert!(!told.contains_key(&pool("goes")));
}

/// Reads events until they come to what the datastore holds.
async fn follow(
    datastore: &dyn Datastore,
    events: &mut Receiver<DatastoreEvent>,
    told: &mut BTreeMap<Key, Revision>,
    syncs: &mut usize,
) {
    let listing = datastore.list(&pools()).await.expect("a list");
    let wanted: BTreeMap<Key, Revision> =
        listing.entries.into_iter().map(|entry| (entry.key, entry.revision)).collect();
    while *told != wanted || *syncs == 0 {
        let event = events.recv().await.expect("the watcher lives");
        take(event, told, syncs);
    }
}

fn take(event: DatastoreEvent, told: &mut BTreeMap<Key, Revision>, syncs: &mut usize) {
    match event {
        DatastoreEvent::Changed(entry) => {
            let before = told.insert(entry.key.clone(), entry.revision);
            assert!(before < Some(entry.revision), "{} is told twice", entry.key);
        }
        DatastoreEvent::Deleted { key, revision } => {
            assert!(told.remove(&key).expect("it was told") < revision);
        }
        DatastoreEvent::InSync => *syncs += 1,
        DatastoreEvent::Unreachable(_) | DatastoreEvent::Reachable => {}
    }
}

pub(crate) async fn a_stopped_server_is_unreachable<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    create(&*datastore, "one", b"1").await;
    server.stop(Stop::Orderly).await;
    let endpoint = server.settings().endpoints[0].to_string();
    let key = pool("one");
    let failures = [
        datastore.get(&key).await.map(|_| ()),
        datastore.list(&pools()).await.map(|_| ()),
        datastore.create(&key, Vec::new()).await.map(|_| ()),
        datastore.update(&key, Vec::new(), Revision(1)).await.map(|_| ()),
        datastore.delete(&key, None).await,
        datastore.watch(&pools(), Revision(1)).await.map(|_| ()),
    ];
    for failure in failures {
        let error = failure.expect_err("nobody is there");
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        for part in [&endpoint, "refused", "is the server running"] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
    }
    server.resume().await;
    assert!(datastore.get(&key).await.expect("it is back").is_some());
}
