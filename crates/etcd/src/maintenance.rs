//! Service Maintenance: the state of a server.

use crate::ResponseHeader;

/// What an alarm request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    /// Lists the alarms raised.
    Get = 0,
    /// Raises one.
    Activate = 1,
    /// Ends one.
    Deactivate = 2,
}

/// Kinds of alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmType {
    /// Any, when asking.
    None = 0,
    /// The store has no space left.
    Nospace = 1,
    /// The store's data disagree.
    Corrupt = 2,
}

/// Asks about alarms, or changes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmRequest {
    /// What to do.
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// Of which server; 0 is every one.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// Which kind.
    #[prost(enumeration = "AlarmType", tag = "3")]
    pub alarm: i32,
}

/// An alarm raised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmMember {
    /// By which server.
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    /// Which kind.
    #[prost(enumeration = "AlarmType", tag = "2")]
    pub alarm: i32,
}

/// The alarms.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct AlarmResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// Those concerned.
    #[prost(message, repeated, tag = "2")]
    pub alarms: Vec<AlarmMember>,
}

/// Asks how a server is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct StatusRequest {}

/// How a server is.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct StatusResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The version of the API it speaks, e.g. `3.4.23`.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Bytes of its database file.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// The cluster's leader, as it believes.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    /// The last entry of the raft log.
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    /// The raft term.
    #[prost(uint64, tag = "6")]
    pub raft_term: u64,
    /// The last entry of the raft log carried out.
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
    /// What is wrong with it.
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    /// Bytes of its database file that hold something.
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    /// It has no vote.
    #[prost(bool, tag = "10")]
    pub is_learner: bool,
}

/// Asks to give free space of the database file back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct DefragmentRequest {}

/// The space is given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct DefragmentResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}
