//! Generates the gRPC clients and servers from the table below; no protoc and no `.proto` file.

use tonic_build::manual::{Builder, Method, Service};

/// How messages flow in a method.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Unary,
    BothStream,
}

/// One method: its name in Rust, its name on the wire, its messages (paths under `crate::`).
type MethodRow = (&'static str, &'static str, &'static str, &'static str, Flow);

use Flow::{BothStream, Unary};

/// The services of package `etcdserverpb` that this project calls or serves.
const SERVICES: &[(&str, &[MethodRow])] = &[
    (
        "KV",
        &[
            ("range", "Range", "RangeRequest", "RangeResponse", Unary),
            ("put", "Put", "PutRequest", "PutResponse", Unary),
            ("delete_range", "DeleteRange", "DeleteRangeRequest", "DeleteRangeResponse", Unary),
            ("txn", "Txn", "TxnRequest", "TxnResponse", Unary),
            ("compact", "Compact", "CompactionRequest", "CompactionResponse", Unary),
        ],
    ),
    ("Watch", &[("watch", "Watch", "WatchRequest", "WatchResponse", BothStream)]),
    (
        "Lease",
        &[
            ("lease_grant", "LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse", Unary),
            ("lease_revoke", "LeaseRevoke", "LeaseRevokeRequest", "LeaseRevokeResponse", Unary),
            (
                "lease_keep_alive",
                "LeaseKeepAlive",
                "LeaseKeepAliveRequest",
                "LeaseKeepAliveResponse",
                BothStream,
            ),
            (
                "lease_time_to_live",
                "LeaseTimeToLive",
                "LeaseTimeToLiveRequest",
                "LeaseTimeToLiveResponse",
                Unary,
            ),
            ("lease_leases", "LeaseLeases", "LeaseLeasesRequest", "LeaseLeasesResponse", Unary),
        ],
    ),
    (
        "Maintenance",
        &[
            ("alarm", "Alarm", "AlarmRequest", "AlarmResponse", Unary),
            ("status", "Status", "StatusRequest", "StatusResponse", Unary),
            ("defragment", "Defragment", "DefragmentRequest", "DefragmentResponse", Unary),
        ],
    ),
    ("Cluster", &[("member_list", "MemberList", "MemberListRequest", "MemberListResponse", Unary)]),
    (
        "Auth",
        &[("authenticate", "Authenticate", "AuthenticateRequest", "AuthenticateResponse", Unary)],
    ),
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let services: Vec<Service> = SERVICES.iter().map(|(name, rows)| service(name, rows)).collect();
    Builder::new().compile(&services);
}

fn service(name: &str, rows: &[MethodRow]) -> Service {
    let mut service = Service::builder().package("etcdserverpb").name(name);
    for (rust_name, wire_name, input, output, flow) in rows {
        let mut method = Method::builder()
            .name(rust_name)
            .route_name(wire_name)
            .input_type(format!("crate::{input}"))
            .output_type(format!("crate::{output}"))
            .codec_path("tonic_prost::ProstCodec");
        if *flow == BothStream {
            method = method.client_streaming().server_streaming();
        }
        service = service.method(method.build());
    }
    service.build()
}
