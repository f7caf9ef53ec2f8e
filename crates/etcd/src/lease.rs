//! Service Lease: keys that vanish unless their owner keeps saying that it lives.

use crate::ResponseHeader;

/// Asks for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseGrantRequest {
    /// Seconds it lives without a keep-alive.
    #[prost(int64, tag = "1")]
    pub ttl: i64,
    /// The number wanted; 0 lets the server choose.
    #[prost(int64, tag = "2")]
    pub id: i64,
}

/// The lease is granted.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseGrantResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Its number.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Seconds it lives, as the server chose.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
    /// Why not, where refused in the body of the answer.
    #[prost(string, tag = "4")]
    pub error: String,
}

/// Asks to end a lease and delete its keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseRevokeRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// The lease is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseRevokeResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}

/// Says that a lease's owner lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseKeepAliveRequest {
    /// Which lease.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// The lease lives on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseKeepAliveResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Which lease.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Seconds it lives from now; 0 or less says that there is no such lease.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
}

/// Asks how long a lease lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseTimeToLiveRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Answer its keys, too.
    #[prost(bool, tag = "2")]
    pub keys: bool,
}

/// How long a lease lives.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseTimeToLiveResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Which.
    #[prost(int64, tag = "2")]
    pub id: i64,
    /// Seconds left; -1 says that there is no such lease.
    #[prost(int64, tag = "3")]
    pub ttl: i64,
    /// Seconds it was granted for.
    #[prost(int64, tag = "4")]
    pub granted_ttl: i64,
    /// Its keys, where asked for.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub keys: Vec<Vec<u8>>,
}

/// Asks for all leases.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseLeasesRequest {}

/// One lease of [`LeaseLeasesResponse`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseStatus {
    /// Its number.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// All leases.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct LeaseLeasesResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// They.
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<LeaseStatus>,
}
