use crate::*;
use prost::Message;

fn round_trip<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M) {
    assert_eq!(&M::decode(message.encode_to_vec().as_slice()).unwrap(), message);
}

fn key_value() -> KeyValue {
    KeyValue {
        key: b"/k".to_vec(),
        create_revision: 2,
        mod_revision: 7,
        version: 3,
        value: b"v".to_vec(),
        lease: 77,
    }
}

/// The bytes follow from protobuf's encoding and the field numbers of etcd's `rpc.proto`,
/// `kv.proto`.
#[test]
fn messages_have_the_api_s_bytes() {
    assert_eq!(
        key_value().encode_to_vec(),
        [&b"\x0a\x02/k\x10\x02\x18\x07\x20\x03\x2a\x01v\x30\x4d"[..]].concat()
    );
    let put = PutRequest {
        key: b"a".to_vec(),
        value: b"b".to_vec(),
        prev_kv: true,
        ..Default::default()
    };
    assert_eq!(put.encode_to_vec(), b"\x0a\x01a\x12\x01b\x20\x01");
    let compare = Compare {
        result: CompareResult::NotEqual.into(),
        target: CompareTarget::Mod.into(),
        key: b"a".to_vec(),
        target_union: Some(TargetUnion::ModRevision(0)),
        range_end: b"b".to_vec(),
    };
    // A member of a union is written even when it is 0; field 64 has a two-byte tag.
    assert_eq!(compare.encode_to_vec(), b"\x08\x03\x10\x02\x1a\x01a\x30\x00\x82\x04\x01b");
    let response = WatchResponse {
        header: Some(ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 }),
        watch_id: -1,
        events: vec![Event { r#type: EventType::Delete.into(), ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(
        response.encode_to_vec(),
        b"\x0a\x08\x08\x01\x10\x02\x18\x03\x20\x04\
          \x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x5a\x02\x08\x01"
    );
}

#[test]
fn a_nested_transaction_survives_the_wire() {
    use request_op::Request;
    let op = |request| RequestOp { request: Some(request) };
    let inner = TxnRequest {
        compare: vec![],
        success: vec![op(Request::RequestPut(PutRequest {
            key: b"x".to_vec(),
            lease: -3,
            ignore_value: true,
            ..Default::default()
        }))],
        failure: vec![op(Request::RequestDeleteRange(DeleteRangeRequest {
            key: b"x".to_vec(),
            range_end: ALL_KEYS_FROM.to_vec(),
            prev_kv: true,
        }))],
    };
    round_trip(&TxnRequest {
        compare: vec![Compare {
            target_union: Some(TargetUnion::Value(vec![])),
            ..Default::default()
        }],
        success: vec![op(Request::RequestTxn(inner.clone()))],
        failure: vec![op(Request::RequestRange(RangeRequest {
            key: b"a".to_vec(),
            limit: 5,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Value.into(),
            max_create_revision: i64::MAX,
            ..Default::default()
        }))],
    });
    round_trip(&TxnResponse {
        header: Some(ResponseHeader::default()),
        succeeded: true,
        responses: vec![ResponseOp {
            response: Some(response_op::Response::ResponseRange(RangeResponse {
                kvs: vec![key_value()],
                more: true,
                count: 9,
                ..Default::default()
            })),
        }],
    });
}

#[test]
fn a_watch_survives_the_wire() {
    use watch_request::RequestUnion;
    for request_union in [
        RequestUnion::CreateRequest(WatchCreateRequest {
            key: b"k".to_vec(),
            start_revision: 4,
            filters: vec![FilterType::Nodelete.into(), FilterType::Noput.into()],
            watch_id: 12,
            ..Default::default()
        }),
        RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 12 }),
        RequestUnion::ProgressRequest(WatchProgressRequest {}),
    ] {
        round_trip(&WatchRequest { request_union: Some(request_union) });
    }
}

#[test]
fn the_end_of_a_prefix_is_the_next_key_that_lacks_it() {
    for (prefix, end) in [
        (&b"/calico/"[..], &b"/calico0"[..]),
        (b"a\xff", b"b"),
        (b"\xff\xff", ALL_KEYS_FROM),
        (b"", ALL_KEYS_FROM),
    ] {
        assert_eq!(prefix_end(prefix), end, "{prefix:?}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let request = AuthenticateRequest { name: "felix".into(), password: "s3cret".into() };
    assert_eq!(format!("{request:?}"), "AuthenticateRequest { name: \"felix\", .. }");
    round_trip(&request);
}
