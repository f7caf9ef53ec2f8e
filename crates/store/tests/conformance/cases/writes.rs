//! Create, update and delete as compare-and-swap.

use super::{create, get, pool, update, value};
use crate::server::Server;
use model::{AffinityKind, Entry, IpPool, IpPoolSpec, Key, Kind, Resource, Revision};
use store::{Error, typed};

pub(crate) async fn create_wants_an_absent_object<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let key = pool("one");
    assert_eq!(get(&*datastore, &key).await, None);
    let first = create(&*datastore, "one", 1).await;
    let seen = Some((key.clone(), "1".to_owned(), first));
    assert_eq!(get(&*datastore, &key).await, seen);
    assert_eq!(datastore.create(&key, value(2)).await, Err(Error::Conflict(key.clone())));
    assert_eq!(get(&*datastore, &key).await, seen);
    assert_eq!(datastore.delete(&key, None).await, Ok(()));
    assert!(create(&*datastore, "one", 3).await > first);
}

pub(crate) async fn update_and_delete_want_the_revision_read<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let key = pool("one");
    let absent = || Error::NotFound(key.clone());
    let conflict = || Error::Conflict(key.clone());
    for revision in [Revision(0), Revision(1)] {
        assert_eq!(datastore.update(&key, value(0), revision).await, Err(absent()));
    }
    assert_eq!(datastore.delete(&key, Some(Revision(1))).await, Err(absent()));
    assert_eq!(datastore.delete(&key, None).await, Err(absent()));

    let first = create(&*datastore, "one", 1).await;
    let second = update(&*datastore, "one", 2, first).await;
    assert!(second > first);
    for stale in [first, Revision(0), Revision(second.0 + 100)] {
        assert_eq!(datastore.update(&key, value(3), stale).await, Err(conflict()));
        assert_eq!(datastore.delete(&key, Some(stale)).await, Err(conflict()));
    }
    assert_eq!(get(&*datastore, &key).await, Some((key.clone(), "2".to_owned(), second)));
    assert_eq!(datastore.delete(&key, Some(second)).await, Ok(()));
    assert_eq!(get(&*datastore, &key).await, None);
    assert_eq!(datastore.update(&key, value(4), second).await, Err(absent()));
}

/// Eight clients count one object up, fifty times each.
pub(crate) async fn concurrent_updates_lose_none<S: Server>(server: &mut S) {
    const CLIENTS: u32 = 8;
    const TIMES: u32 = 50;
    let datastore = server.datastore().await;
    create(&*datastore, "count", 0).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let datastore = server.datastore().await;
        clients.spawn(async move {
            let key = pool("count");
            let mut done = 0;
            while done < TIMES {
                let (_, count, read) = get(&*datastore, &key).await.expect("it is there");
                let count: u32 = count.parse().expect("a number");
                match datastore.update(&key, value(count + 1), read).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error, Error::Conflict(key.clone())),
                }
            }
        });
    }
    clients.join_all().await;
    let end = get(&*datastore, &pool("count")).await.expect("it is there");
    assert_eq!(end.1, (CLIENTS * TIMES).to_string());
}

pub(crate) async fn values_come_back_byte_for_byte<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let block = |text: &str| text.parse().unwrap();
    let host = "node/with%odd.characters".to_owned();
    let keys = [
        Key::namespaced(Kind::WorkloadEndpoint, "default", "worker--1-k8s-pod-eth0"),
        Key::Block(block("192.168.0.64/26")),
        Key::Block(block("fd00:1::/122")),
        Key::Affinity { kind: AffinityKind::Host, host, block: block("192.168.0.64/26") },
        Key::Handle("k8s-pod-network.0123".into()),
        Key::IpamConfig,
    ];
    let all_bytes: Vec<u8> = (0..=255).collect();
    let values = [Vec::new(), all_bytes, vec![b'x'; 1_000_000]];
    for key in &keys {
        for value in &values {
            let revision = datastore.create(key, value.clone()).await.expect("a new object");
            let entry = Entry::new(key.clone(), value.clone(), revision);
            assert_eq!(datastore.get(key).await, Ok(Some(entry)));
            datastore.delete(key, Some(revision)).await.expect("it was read");
        }
    }
}

pub(crate) async fn resources_are_typed<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let spec = IpPoolSpec { cidr: "10.0.0.0/8".into(), ..IpPoolSpec::default() };
    let pool = IpPool::new("one", spec);
    let created: IpPool = typed::create(&*datastore, pool.clone()).await.expect("a new pool");
    let uid = created.metadata.uid.clone().expect("a uid");
    assert_eq!(uid.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
    let born = created.metadata.creation_timestamp.clone().expect("a time");
    assert!(born.len() == 20 && born.parse::<jiff::Timestamp>().is_ok(), "{born}");
    assert!(matches!(typed::create(&*datastore, pool.clone()).await, Err(Error::Conflict(_))));

    // A server may give an identity and a time of its own.
    let read: IpPool = typed::get(&*datastore, None, "one").await.unwrap().expect("it is there");
    assert_eq!(read.metadata.resource_version, created.metadata.resource_version);
    assert_eq!((&read.spec, &read.metadata.name), (&created.spec, &created.metadata.name));
    let mut changed = read.clone();
    changed.metadata.labels.insert("zone".into(), "a".into());
    let updated = typed::update(&*datastore, changed).await.expect("it was read");
    assert_ne!(updated.metadata.resource_version, created.metadata.resource_version);
    assert!(matches!(typed::update(&*datastore, created).await, Err(Error::Conflict(_))));
    assert!(matches!(typed::update(&*datastore, pool).await, Err(Error::Conflict(_))));
    let listed: Vec<IpPool> = typed::list(&*datastore, None).await.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].metadata.labels, updated.metadata.labels);
    assert_eq!(listed[0].metadata.resource_version, updated.metadata.resource_version);

    assert_eq!(typed::delete::<IpPoolSpec>(&*datastore, None, "one").await, Ok(()));
    let gone: Option<Resource<IpPoolSpec>> = typed::get(&*datastore, None, "one").await.unwrap();
    assert_eq!(gone, None);
}

pub(crate) async fn corrupt_objects_are_named<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let corrupt = Key::cluster(Kind::IpPool, "two");
    datastore.create(&corrupt, b"{\"kind\":\"Node\"}".to_vec()).await.unwrap();
    let error = typed::get::<IpPoolSpec>(&*datastore, None, "two").await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { key, .. } if *key == corrupt), "{error}");
    assert!(error.to_string().contains("IPPool(two)"), "{error}");
}
