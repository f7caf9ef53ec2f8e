//! Watches and leases, as a client sees them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use datastore::{Options, Server};
use etcd::watch_request::RequestUnion;
use etcd::{
    CompactionRequest, EventType, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest,
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
    prefix_end,
};
use rig::{PATIENCE, kv, leases, list, put, watches};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// A watch stream of a client.
struct Client {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Client {
    async fn new(channel: &Channel) -> Self {
        let (requests, stream) = mpsc::channel(4);
        let answers = watches(channel).watch(ReceiverStream::new(stream)).await.unwrap();
        Self { requests, answers: answers.into_inner() }
    }

    async fn say(&self, request: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn create(&mut self, request: WatchCreateRequest) -> WatchResponse {
        self.say(RequestUnion::CreateRequest(request)).await;
        self.hear().await
    }

    async fn hear(&mut self) -> WatchResponse {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        answer.expect("an answer in time").unwrap().expect("the stream goes on")
    }
}

fn prefix(prefix: &str, start_revision: i64) -> WatchCreateRequest {
    let key = prefix.as_bytes().to_vec();
    WatchCreateRequest { range_end: prefix_end(&key), key, start_revision, ..Default::default() }
}

async fn start(directory: &tempfile::TempDir) -> (Server, Channel) {
    let server = Server::start(Options::local(directory.path())).await.unwrap();
    let channel = rig::connect(&server.endpoints()[0]).await;
    (server, channel)
}

/// Writers at full speed; watches from any revision, begun at any moment, some that read slowly:
/// each hears every revision of its own exactly once, in order.
#[tokio::test]
async fn no_watch_misses_or_repeats_anything() {
    const WRITES: i64 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let (server, channel) = start(&directory).await;
    let mut tasks = JoinSet::new();
    for writer in 0..4 {
        let mut kv = kv(&channel);
        tasks.spawn(async move {
            for number in 0..WRITES / 4 {
                let key = format!("/{}/{writer}", number % 2);
                kv.put(put(key, [b'v'; 500])).await.unwrap();
            }
        });
    }
    for watcher in 0..12 {
        let channel = channel.clone();
        tasks.spawn(async move {
            let begin = watcher * 150 + 2;
            let mut client = Client::new(&channel).await;
            assert!(client.create(prefix("/", begin)).await.created);
            let mut next = begin;
            while next < WRITES + 2 {
                for event in client.hear().await.events {
                    assert_eq!(event.kv.unwrap().mod_revision, next);
                    next += 1;
                }
                if watcher % 3 == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        });
    }
    // Half of the writes are none of their business.
    for watcher in 0..4 {
        let channel = channel.clone();
        tasks.spawn(async move {
            let mut client = Client::new(&channel).await;
            let half = format!("/{}/", watcher % 2);
            assert!(client.create(prefix(&half, 1)).await.created);
            let mut told = Vec::new();
            while told.len() < usize::try_from(WRITES / 2).unwrap() {
                for event in client.hear().await.events {
                    let written = event.kv.unwrap();
                    assert!(written.key.starts_with(half.as_bytes()), "{written:?}");
                    told.push(written.mod_revision);
                }
            }
            assert!(told.is_sorted_by(|earlier, later| earlier < later), "{told:?}");
        });
    }
    tasks.join_all().await;
    drop(channel);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_carries_many_watches() {
    let directory = tempfile::tempdir().unwrap();
    let (server, channel) = start(&directory).await;
    let mut client = Client::new(&channel).await;
    let chosen = WatchCreateRequest { watch_id: 7, ..prefix("/a", 0) };
    let without_puts = WatchCreateRequest { filters: vec![0], prev_kv: true, ..prefix("/", 0) };
    assert_eq!(client.create(chosen.clone()).await.watch_id, 7);
    assert_eq!(client.create(without_puts).await.watch_id, 0);
    let refused = client.create(chosen).await;
    assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
    let empty = WatchCreateRequest { range_end: b"/a".to_vec(), ..prefix("/b", 0) };
    assert!(client.create(empty).await.canceled);
    kv(&channel).put(put("/a1", "x")).await.unwrap();
    let heard = client.hear().await;
    assert_eq!((heard.watch_id, heard.events.len()), (7, 1));
    client.say(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 })).await;
    let heard = client.hear().await;
    assert!(heard.canceled && heard.watch_id == 7, "{heard:?}");
    kv(&channel).delete_range(rig::delete("/a1")).await.unwrap();
    let heard = client.hear().await;
    assert_eq!((heard.watch_id, heard.events[0].r#type()), (0, EventType::Delete));
    assert_eq!(heard.events[0].prev_kv.as_ref().unwrap().value, b"x");
    client.say(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let heard = client.hear().await;
    assert_eq!((heard.watch_id, heard.header.unwrap().revision), (-1, 3));
    drop((client, channel));
    server.stop().await.unwrap();
}

/// Compacted history ends the watch and says from where on there is any; clearing it away loses
/// nothing that can still be read.
#[tokio::test]
async fn compaction_takes_only_history() {
    let directory = tempfile::tempdir().unwrap();
    let (server, channel) = start(&directory).await;
    let mut kv = kv(&channel);
    for number in 0..3_000 {
        kv.put(put(format!("/{}", number % 10), number.to_string())).await.unwrap();
    }
    let before = kv.range(list("/")).await.unwrap().into_inner();
    let at = etcd::RangeRequest { revision: 2_500, ..list("/") };
    let past = kv.range(at.clone()).await.unwrap().into_inner();
    kv.compact(CompactionRequest { revision: 2_500, physical: true }).await.unwrap();
    assert_eq!(kv.range(list("/")).await.unwrap().into_inner(), before);
    assert_eq!(kv.range(at).await.unwrap().into_inner(), past);
    let gone = etcd::RangeRequest { revision: 2_499, ..list("/") };
    let status = kv.range(gone).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: mvcc: required revision has been compacted");
    let mut client = Client::new(&channel).await;
    assert!(client.create(prefix("/", 2_499)).await.created);
    let heard = client.hear().await;
    assert!(heard.canceled && heard.compact_revision == 2_500, "{heard:?}");
    assert!(client.create(prefix("/", 2_501)).await.created);
    assert_eq!(client.hear().await.events[0].kv.as_ref().unwrap().mod_revision, 2_501);
    drop((client, kv, channel));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_lease_s_end_deletes_its_keys() {
    let directory = tempfile::tempdir().unwrap();
    let (server, channel) = start(&directory).await;
    let grant = |id| LeaseGrantRequest { ttl: 2, id };
    for id in [1, 2] {
        leases(&channel).lease_grant(grant(id)).await.unwrap();
        for number in 0..3 {
            let request = put(format!("/lease/{id}/{number}"), "x");
            kv(&channel).put(etcd::PutRequest { lease: id, ..request }).await.unwrap();
        }
    }
    // A key that gets another value without the lease outlives it.
    kv(&channel).put(put("/lease/2/0", "y")).await.unwrap();
    assert!(leases(&channel).lease_grant(grant(1)).await.is_err(), "granted twice");
    let mut client = Client::new(&channel).await;
    client.create(prefix("/lease/", 0)).await;
    let (keep, stream) = mpsc::channel(1);
    let alive = leases(&channel).lease_keep_alive(ReceiverStream::new(stream)).await.unwrap();
    let mut alive = alive.into_inner();
    let begin = Instant::now();
    let heard = loop {
        keep.send(LeaseKeepAliveRequest { id: 1 }).await.unwrap();
        assert_eq!(alive.message().await.unwrap().unwrap().ttl, 2);
        let wait = std::time::Duration::from_millis(300);
        if let Ok(answer) = tokio::time::timeout(wait, client.answers.message()).await {
            break answer.unwrap().unwrap();
        }
        assert!(begin.elapsed() < PATIENCE, "the lease does not end");
    };
    assert!(begin.elapsed().as_secs_f64() > 1.0, "too early");
    let deleted: Vec<_> = heard.events.iter().map(|event| event.kv.clone().unwrap()).collect();
    let keys: Vec<_> = deleted.iter().map(|kv| String::from_utf8_lossy(&kv.key)).collect();
    assert_eq!(keys, ["/lease/2/1", "/lease/2/2"]);
    assert_eq!(deleted[0].mod_revision, deleted[1].mod_revision);
    let left = kv(&channel).range(list("/lease/")).await.unwrap().into_inner().count;
    assert_eq!(left, 4);
    let ask = |id| LeaseTimeToLiveRequest { id, keys: true };
    let first = leases(&channel).lease_time_to_live(ask(1)).await.unwrap().into_inner();
    assert_eq!((first.granted_ttl, first.keys.len()), (2, 3));
    let second = leases(&channel).lease_time_to_live(ask(2)).await.unwrap().into_inner();
    assert_eq!(second.ttl, -1);
    drop((client, alive, channel));
    server.stop().await.unwrap();
}
