//! Watches: from a revision, in order, each change once.

use super::{create, next, pool, pools, put};
use crate::server::Server;
use model::{Key, Kind, Revision};
use store::{Change, Error};

const ROUNDS: u32 = 100;

pub(crate) async fn changes_come_in_order_without_gap_or_duplicate<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let before = create(&*datastore, "before", b"0").await;
    let mut changes = datastore.watch(&pools(), before).await.expect("a watch");
    let writer = server.datastore().await;
    let writing = tokio::spawn(async move {
        let mut written = Vec::new();
        for round in 0..ROUNDS {
            let (key, value) = (pool(round % 7), round.to_string().into_bytes());
            let first = create(&*writer, round % 7, &value).await;
            written.push(put(key.clone(), &value, first));
            // Another kind's changes are none of this watch's.
            let other = Key::cluster(Kind::Node, round.to_string());
            writer.create(&other, value).await.expect("a new object");
            let second = writer.update(&key, b"changed".to_vec(), first).await.expect("unchanged");
            written.push(put(key.clone(), b"changed", second));
            writer.delete(&key, Some(second)).await.expect("unchanged");
            written.push(Change::Delete(key, Revision(second.0 + 1)));
        }
        written
    });
    let mut seen = Vec::new();
    for _ in 0..3 * ROUNDS {
        seen.push(next(&mut changes).await.expect("a change"));
    }
    assert_eq!(seen, writing.await.expect("the writer ends"));
}

pub(crate) async fn the_past_is_replayed<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let first = create(&*datastore, "one", b"1").await;
    let second = datastore.update(&pool("one"), b"2".to_vec(), first).await.expect("unchanged");
    datastore.delete(&pool("one"), None).await.expect("it is there");
    let third = create(&*datastore, "one", b"3").await;
    let all = [
        put(pool("one"), b"1", first),
        put(pool("one"), b"2", second),
        Change::Delete(pool("one"), Revision(second.0 + 1)),
        put(pool("one"), b"3", third),
    ];
    for (skipped, after) in [Revision(first.0 - 1), first, second].into_iter().enumerate() {
        let mut changes = datastore.watch(&pools(), after).await.expect("a watch");
        for expected in &all[skipped..] {
            assert_eq!(next(&mut changes).await.as_ref(), Ok(expected));
        }
    }
}

pub(crate) async fn a_compacted_past_is_told<S: Server>(server: &mut S) {
    let datastore = server.datastore().await;
    let mut read = create(&*datastore, "one", b"0").await;
    let first = read;
    for round in 1..10 {
        let value = round.to_string().into_bytes();
        read = datastore.update(&pool("one"), value, read).await.expect("unchanged");
    }
    server.compact(read).await;
    let refused = match datastore.watch(&pools(), first).await {
        Ok(mut changes) => next(&mut changes).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(refused, Err(Error::Compacted(first)));

    let listing = datastore.list(&pools()).await.expect("a list");
    let mut changes = datastore.watch(&pools(), listing.revision).await.expect("a watch");
    let next_one = datastore.update(&pool("one"), b"10".to_vec(), read).await.expect("unchanged");
    assert_eq!(next(&mut changes).await, Ok(put(pool("one"), b"10", next_one)));

    // A store that is younger than what was read has been replaced.
    let future = Revision(next_one.0 + 1000);
    let begun = datastore.watch(&pools(), future).await.map(|_| ());
    assert_eq!(begun, Err(Error::Compacted(future)));
}
