//! Watches: from a revision, in order, each change once.

use super::{Changes, Told, create, list, pool, pools, put, update, value, watch};
use crate::server::Server;
use futures_util::StreamExt;
use model::{BgpPeer, BgpPeerSpec, Revision};
use store::Error;

const ROUNDS: u32 = 100;

pub(crate) async fn changes_come_in_order_without_gap_or_duplicate<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let before = create(&*datastore, "before", 0).await;
    let mut changes = watch(&*datastore, before).await;
    let writer = server.datastore().await;
    let writing = tokio::spawn(async move {
        let mut written = Vec::new();
        for round in 0..ROUNDS {
            let key = pool(round % 7);
            let first = create(&*writer, round % 7, round).await;
            written.push(put(key.clone(), round, first));
            // Another kind's changes are none of this watch's.
            let peer = BgpPeer::new(round.to_string(), BgpPeerSpec::default());
            writer.create(&peer.key(), peer.to_stored()).await.expect("a new object");
            let second = update(&*writer, round % 7, "changed", first).await;
            written.push(put(key.clone(), "changed", second));
            writer.delete(&key, Some(second)).await.expect("unchanged");
            written.push(Told::Delete(key));
        }
        written
    });
    let mut seen = Vec::new();
    for _ in 0..3 * ROUNDS {
        seen.push(changes.next().await.expect("a change"));
    }
    assert_eq!(seen, writing.await.expect("the writer ends"));
}

pub(crate) async fn the_past_is_replayed<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let before = create(&*datastore, "before", 0).await;
    let first = create(&*datastore, "one", 1).await;
    let second = update(&*datastore, "one", 2, first).await;
    datastore.delete(&pool("one"), None).await.expect("it is there");
    let third = create(&*datastore, "one", 3).await;
    let all = [
        put(pool("one"), 1, first),
        put(pool("one"), 2, second),
        Told::Delete(pool("one")),
        put(pool("one"), 3, third),
    ];
    for (skipped, after) in [before, first, second].into_iter().enumerate() {
        let mut changes = watch(&*datastore, after).await;
        for expected in &all[skipped..] {
            assert_eq!(changes.next().await.as_ref(), Ok(expected));
        }
    }
}

pub(crate) async fn a_compacted_past_is_told<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let mut read = create(&*datastore, "one", 0).await;
    let first = read;
    for round in 1..10 {
        read = update(&*datastore, "one", round, read).await;
    }
    server.compact(read).await;
    let refused = match datastore.watch(&pools(), first).await {
        Ok(changes) => Changes::new(changes).next().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(refused, Err(Error::Compacted(first)));

    let mut changes = watch(&*datastore, list(&*datastore).await.1).await;
    let next_one = update(&*datastore, "one", 10, read).await;
    assert_eq!(changes.next().await, Ok(put(pool("one"), 10, next_one)));
}

/// A store that is younger than what was read has been replaced.
pub(crate) async fn a_future_is_told<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let now = create(&*datastore, "one", 0).await;
    let future = Revision(now.0 + 1000);
    let begun = datastore.watch(&pools(), future).await.map(|_| ());
    assert_eq!(begun, Err(Error::Compacted(future)));
}

/// Each step forgets what was history a step before, whoever takes it.
pub(crate) async fn those_who_compact_take_turns(server: &mut impl Server) {
    let datastore = server.datastore().await;
    let mut one = store::Compactor::new(&server.settings()).expect("settings");
    let mut other = store::Compactor::new(&server.settings()).expect("settings");
    assert_eq!(one.step().await, Ok(None));
    let written = datastore.create(&pool("a"), value(1)).await.unwrap();
    let first = one.step().await.unwrap().expect("a step later");
    assert!(first < written, "{first} {written}");
    datastore.watch(&pools(), first).await.map(|_| ()).unwrap();
    // It has not looked before, and then somebody else was faster.
    assert_eq!(other.step().await, Ok(None));
    let second = other.step().await.unwrap().expect("its turn");
    assert!(second >= written, "{second} {written}");
    assert_eq!(one.step().await, Ok(None));
    let third = one.step().await.unwrap().expect("its turn");
    assert!(third > second);
    let told = match datastore.watch(&pools(), Revision(written.0 - 1)).await {
        Ok(mut changes) => changes.next().await.expect("a word").map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(told, Err(Error::Compacted(_))), "{told:?}");
}
