//! What the suite does to a server behind the driver's back, in the etcd protocol.

use ::etcd::client::KvClient;
use ::etcd::{CompactionRequest, PutRequest};
use model::{Kind, Query, Revision};
use store::Settings;
use tonic::transport::{Channel, Endpoint};

async fn kv(settings: &Settings) -> KvClient<Channel> {
    let endpoint = Endpoint::from_shared(settings.endpoints[0].to_string()).expect("a URI");
    KvClient::new(endpoint.connect().await.expect("a running server"))
}

pub(crate) async fn compact(settings: &Settings, before: Revision) {
    let request = CompactionRequest { revision: before.0 as i64, physical: true };
    kv(settings).await.compact(request).await.expect("a compaction");
}

pub(crate) async fn write_foreign(settings: &Settings, kind: Kind) {
    let mut kv = kv(settings).await;
    let prefix = Query::kind(kind).prefix().into_bytes();
    for name in [&b"a/name/too/long"[..], b"\xff"] {
        let key = [&prefix[..], name].concat();
        let request = PutRequest { key, value: b"x".to_vec(), ..PutRequest::default() };
        kv.put(request).await.expect("a write");
    }
}
