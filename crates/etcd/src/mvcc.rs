//! Package `mvccpb`: a stored key, and a change of one.

/// A key, its value and its history in numbers.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct KeyValue {
    /// The key; never empty.
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// The store's revision at which the key was last created.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// The store's revision at which the key was last written.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// Number of writes since the key was last created: 1 after the first; 0 says deleted.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "vec", tag = "5")]
    pub value: Vec<u8>,
    /// The lease that deletes the key when it ends; 0 is none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EventType {
    /// It was written.
    Put = 0,
    /// It was deleted, or its lease ended.
    Delete = 1,
}

/// A change of one key.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Event {
    /// What happened.
    #[prost(enumeration = "EventType", tag = "1")]
    pub r#type: i32,
    /// The key as it is now; after a deletion only `key` and `mod_revision` are set.
    #[prost(message, optional, tag = "2")]
    pub kv: Option<KeyValue>,
    /// The key as it was before, where asked for and not compacted away.
    #[prost(message, optional, tag = "3")]
    pub prev_kv: Option<KeyValue>,
}
