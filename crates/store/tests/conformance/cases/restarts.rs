//! Servers that go away and come back.

use super::{create, get, list, pool, pools, put, value, watch};
use crate::server::{Server, Stop};
use model::{DatastoreEvent, Key, Query, Revision};
use std::collections::BTreeMap;
use store::{Datastore, Error};
use tokio::sync::mpsc::Receiver;

pub(crate) async fn a_restart_keeps_everything_and_ends_watches<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    for number in 0..50 {
        create(&*datastore, number, "x").await;
    }
    for how in [Stop::Orderly, Stop::Kill] {
        let (entries, revision) = list(&*datastore).await;
        let mut changes = watch(&*datastore, revision).await;
        server.stop(how).await;
        let end = changes.next().await;
        assert!(matches!(end, Err(Error::Unreachable { .. })), "{end:?}");
        assert!(changes.is_over().await);
        server.resume().await;
        assert_eq!(list(&*datastore).await.0, entries);
        let after = create(&*datastore, format!("{how:?}").to_lowercase(), "y").await;
        assert!(after > revision);
    }
}

pub(crate) async fn a_watch_resumes_after_a_restart<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let before = create(&*datastore, "before", 0).await;
    let first = create(&*datastore, "one", 1).await;
    let mut changes = watch(&*datastore, before).await;
    assert_eq!(changes.next().await, Ok(put(pool("one"), 1, first)));
    let second = create(&*datastore, "two", 2).await;
    server.stop(Stop::Kill).await;
    server.resume().await;
    let third = create(&*datastore, "three", 3).await;
    let mut changes = watch(&*datastore, first).await;
    assert_eq!(changes.next().await, Ok(put(pool("two"), 2, second)));
    assert_eq!(changes.next().await, Ok(put(pool("three"), 3, third)));
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
                    match datastore.create(&pool(&name), value(&name)).await {
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
        let mut found = BTreeMap::new();
        for (key, note, revision) in list(&*datastore).await.0 {
            assert_eq!(key, pool(&note));
            assert!(found.insert(note, revision).is_none());
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
    create(&*datastore, "stays", 0).await;
    create(&*datastore, "goes", 0).await;
    let queries = vec![pools(), Query::Blocks];
    let mut events = store::watcher::watch(server.datastore().await, queries);
    let mut told = Told::default();
    told.follow(&*datastore, &mut events).await;

    for (round, how) in [Stop::Orderly, Stop::Kill, Stop::Kill].into_iter().enumerate() {
        server.stop(how).await;
        while told.is_reachable() {
            told.take(events.recv().await.expect("the watcher lives"));
        }
        server.resume().await;
        for number in 0..20 {
            create(&*datastore, format!("{round}-{number}"), 1).await;
        }
        if round == 1 {
            datastore.delete(&pool("goes"), None).await.expect("it is there");
            let last = create(&*datastore, "last", 1).await;
            server.compact(last).await;
        }
        told.follow(&*datastore, &mut events).await;
    }
    assert_eq!(told.syncs, 1);
    assert!(!told.revisions.contains_key(&pool("goes")));
}

/// What a watcher has told.
#[derive(Default)]
struct Told {
    revisions: BTreeMap<Key, Revision>,
    syncs: usize,
    is_unreachable: bool,
}

impl Told {
    fn is_reachable(&self) -> bool {
        !self.is_unreachable
    }

    /// Reads events until they come to what the datastore holds, all of it followed.
    async fn follow(&mut self, datastore: &dyn Datastore, events: &mut Receiver<DatastoreEvent>) {
        let wanted: BTreeMap<Key, Revision> =
            list(datastore).await.0.into_iter().map(|(key, _, revision)| (key, revision)).collect();
        while self.revisions != wanted || self.syncs == 0 || self.is_unreachable {
            self.take(events.recv().await.expect("the watcher lives"));
        }
    }

    fn take(&mut self, event: DatastoreEvent) {
        match event {
            DatastoreEvent::Changed(entry) => {
                let before = self.revisions.insert(entry.key.clone(), entry.revision);
                assert!(before < Some(entry.revision), "{} is told twice", entry.key);
            }
            DatastoreEvent::Deleted { key, revision } => {
                assert!(self.revisions.remove(&key).expect("it was told") < revision);
            }
            DatastoreEvent::InSync => self.syncs += 1,
            DatastoreEvent::Unreachable(_) => self.is_unreachable = true,
            DatastoreEvent::Reachable => self.is_unreachable = false,
        }
    }
}

pub(crate) async fn a_stopped_server_is_unreachable<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    create(&*datastore, "one", 1).await;
    server.stop(Stop::Orderly).await;
    let endpoint = server.endpoint();
    let key = pool("one");
    let failures = [
        datastore.get(&key).await.map(|_| ()),
        datastore.list(&pools()).await.map(|_| ()),
        datastore.create(&key, value(2)).await.map(|_| ()),
        datastore.update(&key, value(2), Revision(1)).await.map(|_| ()),
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
    assert!(get(&*datastore, &key).await.is_some(), "it is back");
}
