//! Service KV: what a request must look like, and who carries it out.

use crate::interval::Interval;
use crate::limits::{REQUEST_BYTES_MAX, TXN_OPS_MAX};
use crate::refused::Refused;
use crate::store::Store;
use etcd::request_op::Request as Op;
use etcd::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RequestOp, SortOrder, SortTarget, TxnRequest,
    TxnResponse,
};
use prost::Message;
use std::collections::HashSet;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub(crate) struct KvService {
    pub(crate) store: Arc<Store>,
}

#[tonic::async_trait]
impl etcd::server::Kv for KvService {
    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        check_range(&request)?;
        let mut response = if request.range_end.is_empty() {
            self.store.read(|view| view.range(&request))?
        } else {
            self.store.read_much(move |view| view.range(&request)).await?
        };
        self.store.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        check_put(&request)?;
        check_size(&request)?;
        let work = move |changes: &mut crate::mvcc::Changes<'_>| {
            // etcd's order, which in transactions is the other one.
            changes.check_lease(&request)?;
            changes.check_put(&request)?;
            changes.put(request)
        };
        let mut response = self.store.submit(work).await?;
        self.store.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        check_delete(&request)?;
        let mut response = self.store.submit(move |changes| changes.delete(&request)).await?;
        self.store.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        check_txn(&request, TXN_OPS_MAX)?;
        Changed::of(&request.success)?;
        Changed::of(&request.failure)?;
        check_size(&request)?;
        let mut response = self.store.submit(move |changes| changes.txn(request)).await?;
        self.store.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let CompactionRequest { revision, physical } = request.into_inner();
        let revision_now = self
            .store
            .submit(move |changes| {
                changes.compact(revision)?;
                while physical && changes.clear_step(usize::MAX)? {}
                Ok(changes.revision())
            })
            .await?;
        Ok(Response::new(CompactionResponse { header: self.store.header(revision_now) }))
    }
}

fn check_size(request: &impl Message) -> Result<(), Refused> {
    if request.encoded_len() > REQUEST_BYTES_MAX { Err(Refused::TooLarge) } else { Ok(()) }
}

fn check_key(key: &[u8]) -> Result<(), Refused> {
    if key.is_empty() { Err(Refused::EmptyKey) } else { Ok(()) }
}

fn check_range(request: &RangeRequest) -> Result<(), Refused> {
    check_key(&request.key)?;
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(Refused::InvalidSort);
    }
    Ok(())
}

fn check_put(request: &PutRequest) -> Result<(), Refused> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refused::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refused::LeaseProvided);
    }
    Ok(())
}

fn check_delete(request: &DeleteRangeRequest) -> Result<(), Refused> {
    check_key(&request.key)
}

/// Each level may have what the levels above it have left of `ops_max`.
fn check_txn(request: &TxnRequest, ops_max: usize) -> Result<(), Refused> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = ops_max.checked_sub(ops).ok_or(Refused::TooManyOps)?;
    for compare in &request.compare {
        check_key(&compare.key)?;
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Op::RequestRange(range)) => check_range(range)?,
            Some(Op::RequestPut(put)) => check_put(put)?,
            Some(Op::RequestDeleteRange(delete)) => check_delete(delete)?,
            Some(Op::RequestTxn(inner)) => check_txn(inner, left)?,
            None => return Err(Refused::KeyNotFound),
        }
    }
    Ok(())
}

/// What a branch of a transaction changes: the same key must not be changed twice, except in
/// branches of which only one can be taken.
#[derive(Default)]
struct Changed {
    puts: HashSet<Vec<u8>>,
    deletes: Vec<Interval>,
}

impl Changed {
    /// Deletions of a level count against the puts of its nested transactions and its own;
    /// deletions among each other do not matter.
    fn of(ops: &[RequestOp]) -> Result<Self, Refused> {
        let mut changed = Self::default();
        for op in ops {
            // etcd 3.4 overlooks deletions up to the end of all keys; the log can hold both
            // changes.
            if let Some(Op::RequestDeleteRange(delete)) = &op.request
                && delete.range_end != etcd::ALL_KEYS_FROM
            {
                changed.deletes.push(Interval::new(&delete.key, &delete.range_end));
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(inner)) = &op.request {
                let success = Self::of(&inner.success)?;
                let failure = Self::of(&inner.failure)?;
                let none = HashSet::new();
                changed.add_puts(&success.puts, &none)?;
                changed.add_puts(&failure.puts, &success.puts)?;
                changed.deletes.extend(success.deletes);
                changed.deletes.extend(failure.deletes);
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                changed.add_puts(&HashSet::from([put.key.clone()]), &HashSet::new())?;
            }
        }
        Ok(changed)
    }

    /// Adds puts; those in `other_branch` may be there already.
    fn add_puts(
        &mut self,
        puts: &HashSet<Vec<u8>>,
        other_branch: &HashSet<Vec<u8>>,
    ) -> Result<(), Refused> {
        for key in puts {
            let deleted = self.deletes.iter().any(|interval| interval.contains(key));
            let put = self.puts.contains(key) && !other_branch.contains(key);
            if deleted || put {
                return Err(Refused::DuplicateKey);
            }
            self.puts.insert(key.clone());
        }
        Ok(())
    }
}
