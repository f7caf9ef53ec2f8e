//! Service KV: reading, writing and deleting keys, and compacting the history.

use crate::KeyValue;

/// What every answer begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ResponseHeader {
    /// The answering cluster.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The answering server.
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    /// The store's revision when the request was carried out; of a watch's progress answer: every
    /// change up to it has been sent.
    #[prost(int64, tag = "3")]
    pub revision: i64,
    /// The raft term.
    #[prost(uint64, tag = "4")]
    pub raft_term: u64,
}

/// Order of a range's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    /// As stored: by key.
    None = 0,
    /// Lowest first.
    Ascend = 1,
    /// Highest first.
    Descend = 2,
}

/// What a range's answer is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    /// The key.
    Key = 0,
    /// The number of writes.
    Version = 1,
    /// The revision of creation.
    Create = 2,
    /// The revision of the last write.
    Mod = 3,
    /// The value.
    Value = 4,
}

/// Asks for the keys of `[key, range_end)`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RangeRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Empty: `key` alone. `\0`: every key from `key` on. Otherwise the first key not asked for.
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// At most so many keys are answered; 0 is no limit.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// The answer is as of this revision; 0 or less is now.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Ascending, descending or as stored.
    #[prost(enumeration = "SortOrder", tag = "5")]
    pub sort_order: i32,
    /// What is compared to sort.
    #[prost(enumeration = "SortTarget", tag = "6")]
    pub sort_target: i32,
    /// A member of a cluster may answer from its own, perhaps older, data.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    /// Leave the values out.
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
    /// Answer the number of keys only.
    #[prost(bool, tag = "9")]
    pub count_only: bool,
    /// Leave out keys last written before this revision; 0 is no bound.
    #[prost(int64, tag = "10")]
    pub min_mod_revision: i64,
    /// Leave out keys last written after this revision; 0 is no bound.
    #[prost(int64, tag = "11")]
    pub max_mod_revision: i64,
    /// Leave out keys created before this revision; 0 is no bound.
    #[prost(int64, tag = "12")]
    pub min_create_revision: i64,
    /// Leave out keys created after this revision; 0 is no bound.
    #[prost(int64, tag = "13")]
    pub max_create_revision: i64,
}

/// The keys asked for.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RangeResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The keys, in the order asked for.
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// `limit` kept keys out of the answer.
    #[prost(bool, tag = "3")]
    pub more: bool,
    /// Number of keys in the range, whatever limit and revision bounds say.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

/// Asks to write a key.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PutRequest {
    /// The key; must not be empty.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Its new value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
    /// The lease that deletes it; 0 is none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Answer the key as it was before.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the value, which must exist.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the lease of the key, which must exist.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
}

/// The key is written.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct PutResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// The key as it was before, where asked for and there was one.
    #[prost(message, optional, tag = "2")]
    pub prev_kv: Option<KeyValue>,
}

/// Asks to delete the keys of `[key, range_end)`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteRangeRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// As in [`RangeRequest::range_end`].
    #[prost(bytes = "vec", tag = "2")]
    pub range_end: Vec<u8>,
    /// Answer the keys as they were before.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
}

/// The keys are deleted.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeleteRangeResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// How many there were.
    #[prost(int64, tag = "2")]
    pub deleted: i64,
    /// The keys as they were before, where asked for.
    #[prost(message, repeated, tag = "3")]
    pub prev_kvs: Vec<KeyValue>,
}

/// Asks to forget the history before a revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct CompactionRequest {
    /// Reads and watches before it are refused from now on.
    #[prost(int64, tag = "1")]
    pub revision: i64,
    /// Answer only when the space is given back.
    #[prost(bool, tag = "2")]
    pub physical: bool,
}

/// The history is compacted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct CompactionResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
}
