//! Random requests, sent to Debian's etcd and to our server: every answer must be the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use etcd::request_op::Request as Op;
use etcd::watch_request::RequestUnion;
use etcd::{
    CompactionRequest, Compare, DeleteRangeRequest, Event, EventType, PutRequest, RangeRequest,
    RequestOp, ResponseHeader, TargetUnion, TxnRequest, WatchCreateRequest, WatchRequest,
    response_op,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rig::{PATIENCE, Process, kv, watches};
use std::fmt::Debug;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// Sequences tried, and requests in each; a sequence begins where the one before it ended.
const SEQUENCES: u32 = 60;
const REQUESTS: usize = 40;
/// Which sequences: the same in every run, so that a change is what a failure speaks of. `SEED=7 cargo test
/// …` looks elsewhere.
const SEED: u64 = 1;

#[derive(Clone, Debug)]
enum Step {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
}

/// Few and short keys, so that requests meet.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(vec![]),
        30 => prop::collection::vec(prop::sample::select(b"ab\xff".to_vec()), 1..3),
    ]
}

fn range_end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(vec![]), 1 => Just(vec![0]), 3 => key()]
}

/// Revisions are made absolute when the request is sent: this is how far back from now.
fn back() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0i64), 3 => 1i64..30, 1 => Just(-1i64)]
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let bound = || prop_oneof![4 => Just(0i64), 1 => 1i64..40];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), 0i64..5);
    let bounds = (bound(), bound(), bound(), bound());
    (key(), range_end(), back(), flags, bounds, (0i32..3, prop::bool::weighted(0.3), 0i32..4))
        .prop_map(|(key, range_end, revision, flags, bounds, (order, sorted, target))| {
            RangeRequest {
                key,
                range_end,
                revision,
                keys_only: flags.0,
                count_only: flags.1,
                limit: flags.2,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
                sort_order: if sorted { order } else { 0 },
                // Equal versions have no defined order in etcd: revisions of modification differ.
                sort_target: if sorted { [0, 3][target as usize % 2] } else { 0 },
                serializable: false,
            }
        })
}

fn put() -> impl Strategy<Value = PutRequest> {
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let lease = prop_oneof![9 => Just(0i64), 1 => Just(4711i64)];
    (key(), prop::collection::vec(any::<u8>(), 0..4), lease, flags).prop_map(
        |(key, value, lease, (prev_kv, ignore_value, ignore_lease))| PutRequest {
            key,
            value,
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target_union = prop_oneof![
        (0i64..4).prop_map(TargetUnion::Version),
        (0i64..60).prop_map(TargetUnion::CreateRevision),
        (0i64..60).prop_map(TargetUnion::ModRevision),
        prop::collection::vec(any::<u8>(), 0..2).prop_map(TargetUnion::Value),
        (0i64..2).prop_map(TargetUnion::Lease),
    ];
    (0i32..4, 0i32..5, key(), prop::option::of(target_union), range_end()).prop_map(
        |(result, target, key, target_union, range_end)| {
            // A target that is not the union's would make etcd 3.4 panic for some targets.
            let target = match &target_union {
                Some(TargetUnion::Version(_)) => 0,
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
                None => target,
            };
            Compare { result, target, key, target_union, range_end }
        },
    )
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        2 => range().prop_map(Op::RequestRange),
        3 => put().prop_map(Op::RequestPut),
        2 => delete().prop_map(Op::RequestDeleteRange),
    ];
    let branch = |op: BoxedStrategy<Op>| {
        prop::collection::vec(op.prop_map(|op| RequestOp { request: Some(op) }), 0..4)
    };
    let transaction = move |op: BoxedStrategy<Op>| {
        (prop::collection::vec(compare(), 0..3), branch(op.clone()), branch(op))
            .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
    };
    let nested = leaf
        .boxed()
        .prop_recursive(2, 12, 3, move |inner| transaction(inner.boxed()).prop_map(Op::RequestTxn));
    let branch = move |op: BoxedStrategy<Op>| {
        prop::collection::vec(op.prop_map(|op| RequestOp { request: Some(op) }), 0..4)
    };
    let op = nested.boxed();
    (prop::collection::vec(compare(), 0..3), branch(op.clone()), branch(op))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => range().prop_map(Step::Range),
        8 => put().prop_map(Step::Put),
        3 => delete().prop_map(Step::Delete),
        6 => txn().prop_map(Step::Txn),
        1 => (-1i64..20).prop_map(|revision| {
            Step::Compact(CompactionRequest { revision, physical: revision % 2 == 0 })
        }),
    ]
}

/// Turns "so far back" into a revision.
fn place_range(range: &mut RangeRequest, now: i64) {
    if range.revision != 0 {
        range.revision = (now - range.revision).max(1);
    }
}

fn place_ops(ops: &mut [RequestOp], now: i64) {
    for op in ops {
        match &mut op.request {
            Some(Op::RequestRange(range)) => place_range(range, now),
            Some(Op::RequestTxn(txn)) => place_txn(txn, now),
            _ => {}
        }
    }
}

fn place_txn(txn: &mut TxnRequest, now: i64) {
    place_ops(&mut txn.success, now);
    place_ops(&mut txn.failure, now);
}

fn place(step: &mut Step, now: i64) {
    match step {
        Step::Range(range) => place_range(range, now),
        Step::Txn(txn) => place_txn(txn, now),
        Step::Compact(compact) => compact.revision = now - compact.revision,
        Step::Put(_) | Step::Delete(_) => {}
    }
}

/// Cluster, member and term are each server's own.
fn plain(header: &mut Option<ResponseHeader>) -> i64 {
    let revision = header.map_or(-1, |header| header.revision);
    *header = Some(ResponseHeader { revision, ..Default::default() });
    revision
}

fn plain_txn(response: &mut etcd::TxnResponse) -> i64 {
    for op in &mut response.responses {
        if let Some(response_op::Response::ResponseTxn(inner)) = &mut op.response {
            plain_txn(inner);
        }
    }
    plain(&mut response.header)
}

fn tell<T: Debug>(
    answer: Result<Response<T>, Status>,
    plain: impl FnOnce(&mut T) -> i64,
) -> (String, Option<i64>) {
    match answer {
        Ok(response) => {
            let mut response = response.into_inner();
            let revision = plain(&mut response);
            (format!("{response:?}"), Some(revision))
        }
        Err(status) => (format!("{:?}: {}", status.code(), status.message()), None),
    }
}

/// Sends a request; answers with what came, comparable, and the revision it tells.
async fn ask(channel: &Channel, step: Step) -> (String, Option<i64>) {
    let mut kv = kv(channel);
    match step {
        Step::Range(request) => tell(kv.range(request).await, |r| plain(&mut r.header)),
        Step::Put(request) => tell(kv.put(request).await, |r| plain(&mut r.header)),
        Step::Delete(request) => tell(kv.delete_range(request).await, |r| plain(&mut r.header)),
        Step::Txn(request) => tell(kv.txn(request).await, plain_txn),
        Step::Compact(request) => tell(kv.compact(request).await, |r| plain(&mut r.header)),
    }
}

/// Every event from `start` to `end`, or the revision compacted to. A deletion at `compacted`
/// itself is left out: etcd 3.4 forgets it, later ones and ours keep it.
async fn history(
    channel: &Channel,
    start: i64,
    end: i64,
    compacted: i64,
) -> Result<Vec<Event>, i64> {
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let create = WatchCreateRequest {
        key: vec![0],
        range_end: vec![0],
        start_revision: start,
        prev_kv: true,
        ..Default::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.send(request).await.unwrap();
    let mut answers =
        watches(channel).watch(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let mut events: Vec<Event> = Vec::new();
    let told = |events: &[Event]| {
        events.last().and_then(|event| event.kv.as_ref()).map(|kv| kv.mod_revision)
    };
    while told(&events) != Some(end) {
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap();
        let answer = answer.unwrap().unwrap();
        if answer.canceled {
            return Err(answer.compact_revision);
        }
        events.extend(answer.events);
    }
    events.retain(|event| {
        let revision = event.kv.as_ref().map(|kv| kv.mod_revision);
        event.r#type() == EventType::Put || revision != Some(compacted)
    });
    Ok(events)
}

#[tokio::test]
async fn every_answer_is_etcd_s() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = Process::etcd(directory.path());
    let ours = Process::ours(&directory.path().join("ours"));
    let (etcd, ours) = (etcd.connect().await, ours.connect().await);
    let seed: u64 = std::env::var("SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let (mut now, mut compacted) = (1, 0);
    let mut sent = Vec::new();
    for sequence in 0..SEQUENCES {
        for _ in 0..REQUESTS {
            let mut step = step().new_tree(&mut runner).unwrap().current();
            place(&mut step, now);
            sent.push(step.clone());
            let (theirs, revision) = ask(&etcd, step.clone()).await;
            let (mine, _) = ask(&ours, step.clone()).await;
            let before = &sent[sent.len().saturating_sub(12)..];
            assert_eq!(mine, theirs, "sequence {sequence}, {step:?}\nafter {before:?}");
            if let (Step::Compact(compact), Some(_)) = (&step, revision) {
                compacted = compact.revision;
            }
            now = revision.unwrap_or(now).max(now);
        }
        // An event of its own, as history() waits for the last revision to be told.
        for channel in [&etcd, &ours] {
            let (_, revision) = ask(channel, Step::Put(rig::put("end", "x"))).await;
            now = revision.unwrap();
        }
        for start in [now - 25, now - 60, now] {
            let (theirs, mine) = (
                history(&etcd, start.max(1), now, compacted).await,
                history(&ours, start.max(1), now, compacted).await,
            );
            assert_eq!(mine, theirs, "watch from {start} of {now}, sequence {sequence}");
        }
    }
}

/// etcd takes a put and a deletion "from this key on" for different keys, so that one transaction can
/// change a key twice: an event's former value is then the one before the transaction, and what creates
/// the key has none.
#[tokio::test]
async fn a_key_changed_twice_in_one_transaction_has_one_former_value() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = Process::etcd(directory.path());
    let ours = Process::ours(&directory.path().join("ours"));
    let (etcd, ours) = (etcd.connect().await, ours.connect().await);
    let delete = || DeleteRangeRequest {
        key: b"zz".to_vec(),
        range_end: vec![0],
        ..DeleteRangeRequest::default()
    };
    let put = |value: &str| Op::RequestPut(rig::put("zz", value));
    let remove = || Op::RequestDeleteRange(delete());
    let mut now = 1;
    for requests in [
        vec![put("new"), remove()],
        vec![put("old")],
        vec![put("newer"), remove()],
        vec![put("old")],
        vec![remove(), put("newest")],
    ] {
        let success =
            requests.into_iter().map(|request| RequestOp { request: Some(request) }).collect();
        let request = TxnRequest { success, ..TxnRequest::default() };
        let (theirs, _) = ask(&etcd, Step::Txn(request.clone())).await;
        let (mine, _) = ask(&ours, Step::Txn(request)).await;
        assert_eq!(mine, theirs);
    }
    for channel in [&etcd, &ours] {
        let (_, revision) = ask(channel, Step::Put(rig::put("end", "x"))).await;
        now = revision.unwrap_or(now);
    }
    let (theirs, mine) = (history(&etcd, 1, now, 0).await, history(&ours, 1, now, 0).await);
    assert_eq!(mine, theirs);
}
