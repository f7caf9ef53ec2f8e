//! Service KV: transactions, that is comparisons and the requests that depend on them.

use crate::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader,
};

/// How a key's field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// It is the given one.
    Equal = 0,
    /// It is above the given one.
    Greater = 1,
    /// It is below the given one.
    Less = 2,
    /// It is another.
    NotEqual = 3,
}

/// Which field of a key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// The number of writes; 0 says that the key does not exist.
    Version = 0,
    /// The revision of creation.
    Create = 1,
    /// The revision of the last write.
    Mod = 2,
    /// The value.
    Value = 3,
    /// The lease.
    Lease = 4,
}

/// What a key's field is compared with.
#[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
pub enum TargetUnion {
    /// For [`CompareTarget::Version`].
    #[prost(int64, tag = "4")]
    Version(i64),
    /// For [`CompareTarget::Create`].
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    /// For [`CompareTarget::Mod`].
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    /// For [`CompareTarget::Value`].
    #[prost(bytes = "vec", tag = "7")]
    Value(Vec<u8>),
    /// For [`CompareTarget::Lease`].
    #[prost(int64, tag = "8")]
    Lease(i64),
}

/// One condition of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Compare {
    /// How.
    #[prost(enumeration = "CompareResult", tag = "1")]
    pub result: i32,
    /// Which field.
    #[prost(enumeration = "CompareTarget", tag = "2")]
    pub target: i32,
    /// Of which key.
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// With what; absent is 0 or the empty value.
    #[prost(oneof = "TargetUnion", tags = "4, 5, 6, 7, 8")]
    pub target_union: Option<TargetUnion>,
    /// Where given: the condition must hold for every key of `[key, range_end)`.
    #[prost(bytes = "vec", tag = "64")]
    pub range_end: Vec<u8>,
}

/// One request of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct RequestOp {
    /// The request.
    #[prost(oneof = "request_op::Request", tags = "1, 2, 3, 4")]
    pub request: Option<request_op::Request>,
}

/// The requests a transaction can hold.
pub mod request_op {
    use super::{DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};

    /// One of them.
    #[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
    pub enum Request {
        /// A read.
        #[prost(message, tag = "1")]
        RequestRange(RangeRequest),
        /// A write.
        #[prost(message, tag = "2")]
        RequestPut(PutRequest),
        /// A deletion.
        #[prost(message, tag = "3")]
        RequestDeleteRange(DeleteRangeRequest),
        /// A transaction within the transaction.
        #[prost(message, tag = "4")]
        RequestTxn(TxnRequest),
    }
}

/// The answer to one request of a transaction.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ResponseOp {
    /// The answer.
    #[prost(oneof = "response_op::Response", tags = "1, 2, 3, 4")]
    pub response: Option<response_op::Response>,
}

/// The answers a transaction can hold.
pub mod response_op {
    use super::{DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse};

    /// One of them.
    #[derive(Clone, PartialEq, Eq, Hash, prost::Oneof)]
    pub enum Response {
        /// Of a read.
        #[prost(message, tag = "1")]
        ResponseRange(RangeResponse),
        /// Of a write.
        #[prost(message, tag = "2")]
        ResponsePut(PutResponse),
        /// Of a deletion.
        #[prost(message, tag = "3")]
        ResponseDeleteRange(DeleteRangeResponse),
        /// Of a transaction within the transaction.
        #[prost(message, tag = "4")]
        ResponseTxn(TxnResponse),
    }
}

/// Asks to carry out `success` if all of `compare` holds, else `failure`, as one change.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TxnRequest {
    /// The conditions.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// What to do if all hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// What to do otherwise.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

/// The transaction is done.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct TxnResponse {
    /// As in every answer.
    #[prost(message, optional, tag = "1")]
    pub header: Option<ResponseHeader>,
    /// All conditions held.
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    /// The answers to the requests carried out, in their order.
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}
