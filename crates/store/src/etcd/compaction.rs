//! Compaction of etcd's history, which etcd itself does only where it is told to.
//!
//! Source: kube-apiserver's compactor, which Calico runs as well (`calico-features.md` §10.1): those
//! who compact one etcd meet at a key, whose version counts the compactions. Each forgets what was
//! history when it last looked, so that a watch has one period to catch up.

use super::{Etcd, kv};
use crate::Error;
use crate::etcd::cluster::Repeat;
use crate::settings::Settings;
use ::etcd::{
    CompactionRequest, Compare, CompareResult, CompareTarget, PutRequest, RangeRequest, RequestOp,
    TargetUnion, TxnRequest, request_op, response_op,
};
use model::Revision;

/// Where all who compact meet.
const KEY: &[u8] = b"compact_rev_key";

/// Compacts an etcd, one step a period.
pub struct Compactor {
    etcd: Etcd,
    /// The key's version as it was last seen.
    time: i64,
    /// The revision then; 0: never seen.
    revision: i64,
}

impl Compactor {
    /// A compactor of the etcd that these settings name; connects when first asked.
    ///
    /// # Errors
    /// [`Error::Settings`] when they cannot be used.
    pub fn new(settings: &Settings) -> Result<Compactor, Error> {
        Ok(Compactor { etcd: Etcd::new(settings)?, time: 0, revision: 0 })
    }

    /// Forgets the history before the last step, unless somebody else has compacted since. Returns up
    /// to where.
    ///
    /// # Errors
    /// The datastore's.
    pub async fn step(&mut self) -> Result<Option<Revision>, Error> {
        let put = PutRequest {
            key: KEY.to_vec(),
            value: self.revision.to_string().into_bytes(),
            ..PutRequest::default()
        };
        let range = RangeRequest { key: KEY.to_vec(), ..RangeRequest::default() };
        let operation = |request| vec![RequestOp { request: Some(request) }];
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal as i32,
                target: CompareTarget::Version as i32,
                key: KEY.to_vec(),
                target_union: Some(TargetUnion::Version(self.time)),
                range_end: Vec::new(),
            }],
            success: operation(request_op::Request::RequestPut(put)),
            failure: operation(request_op::Request::RequestRange(range)),
        };
        let answer = self
            .etcd
            .cluster
            .call(Repeat::Forbidden, |link| {
                let request = link.request(request.clone());
                async move { kv(&link).txn(request).await }
            })
            .await?;
        let now = answer.header.map_or(0, |header| header.revision);
        let before = std::mem::replace(&mut self.revision, now);
        if !answer.succeeded {
            let first = answer.responses.into_iter().next().and_then(|one| one.response);
            self.time = match first {
                Some(response_op::Response::ResponseRange(range)) => {
                    range.kvs.first().map_or(0, |kv| kv.version)
                }
                _ => 0,
            };
            return Ok(None);
        }
        self.time += 1;
        if before == 0 {
            return Ok(None);
        }
        let request = CompactionRequest { revision: before, physical: false };
        let compacted = self.etcd.cluster.call(Repeat::Forbidden, |link| {
            let request = link.request(request);
            async move { kv(&link).compact(request).await }
        });
        match compacted.await {
            // Somebody else, by another way, has gone further.
            Ok(_) | Err(Error::Compacted(_)) => Ok(Some(Revision(before.try_into().unwrap_or(0)))),
            Err(why) => Err(why),
        }
    }
}
