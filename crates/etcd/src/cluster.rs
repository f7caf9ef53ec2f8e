//! Service Cluster: who serves.

use crate::ResponseHeader;

/// A server of a cluster.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Member {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its name; empty while it has not started.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where other servers reach it.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
    /// It has no vote.
    #[prost(bool, tag = "5")]
    pub is_learner: bool,
}

/// Asks for the servers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberListRequest {}

/// The servers.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct MemberListResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// They.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}
