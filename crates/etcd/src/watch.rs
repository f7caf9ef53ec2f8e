//! Service Watch: one stream carries many watches.

use crate::{Event, ResponseHeader};

/// What a client says on a watch stream.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchRequest {
    /// The request.
    #[prost(oneof = "watch_request::RequestUnion", tags = "1, 2, 3")]
    pub request_union: Option<watch_request::RequestUnion>,
}

/// The requests of a watch stream.
pub mod watch_request {
    use super::{WatchCancelRequest, WatchCreateRequest, WatchProgressRequest};

    /// One of them.
    #[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
    pub enum RequestUnion {
        /// Begin a watch.
        #[prost(message, tag = "1")]
        CreateRequest(WatchCreateRequest),
        /// End a watch.
        #[prost(message, tag = "2")]
        CancelRequest(WatchCancelRequest),
        /// Say how far the stream has come.
        #[prost(message, tag = "3")]
        ProgressRequest(WatchProgressRequest),
    }
}

/// Events a watch leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FilterType {
    /// Leave writes out.
    Noput = 0,
    /// Leave deletions out.
    Nodelete = 1,
}

/// Asks to watch the keys of `[key, range_end)`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchCreateRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// As in [`crate::RangeRequest::range_end`].
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// The first revision told; 0 is what comes next.
    #[prost(int64, tag = "3")]
    pub start_revision: i64,
    /// Send an answer without events now and then while nothing happens.
    #[prost(bool, tag = "4")]
    pub progress_notify: bool,
    /// What to leave out.
    #[prost(enumeration = "FilterType", repeated, tag = "5")]
    pub filters: Vec<i32>,
    /// Tell each key as it was before, too.
    #[prost(bool, tag = "6")]
    pub prev_kv: bool,
    /// The number the client wants for this watch; 0 lets the server choose.
    #[prost(int64, tag = "7")]
    pub watch_id: i64,
    /// The client can join answers that were split.
    #[prost(bool, tag = "8")]
    pub fragment: bool,
}

/// Asks to end a watch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchCancelRequest {
    /// Which.
    #[prost(int64, tag = "1")]
    pub watch_id: i64,
}

/// Asks how far the stream has come; the answer has `watch_id` -1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchProgressRequest {}

/// Events, or news about a watch.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WatchResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The watch concerned.
    #[prost(int64, tag = "2")]
    pub watch_id: i64,
    /// The watch is begun (or refused, if `canceled` too).
    #[prost(bool, tag = "3")]
    pub created: bool,
    /// The watch is over; nothing more comes.
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    /// Where not 0: the watch wanted a revision that is compacted away; this is the first to be
    /// had.
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    /// Why the watch is over.
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    /// More events of the same revision follow in the next answer.
    #[prost(bool, tag = "7")]
    pub fragment: bool,
    /// What happened, in order of revision; a revision is never split unless `fragment`.
    #[prost(message, repeated, tag = "11")]
    pub events: Vec<Event>,
}
