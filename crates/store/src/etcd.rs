//! The etcd v3 driver: datastore requests as etcd transactions on Calico's keys.
//!
//! ```text
//!  Etcd ──▶ Cluster ──▶ dial: resolve, TCP or Unix socket, TLS ──▶ a member
//!   │         └─ which member answers, the user's token, time limits
//!   ├─ get, list, create, update, delete
//!   └─ feed: a watch as changes
//! ```
//!
//! Create is "if version == 0"; update and delete are "if mod_revision == what was read" (source:
//! `calico-features.md` §3.1).

mod cluster;
mod compaction;
pub(crate) mod dial;
mod feed;
mod refusal;

pub use compaction::Compactor;

use crate::settings::Settings;
use crate::{BoxFuture, BoxStream, Change, Datastore, Error, Listing};
use ::etcd::client::KvClient;
use ::etcd::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest,
    RangeResponse, RequestOp, ResponseHeader, TargetUnion, TxnRequest, TxnResponse, prefix_end,
    request_op, response_op,
};
use cluster::{Cluster, Link, Repeat};
use model::{Entry, Key, Query, Revision};
use tonic::transport::Channel;

/// Keys asked for at once by a list; the rest follows in further pages of the same revision.
const PAGE_KEYS: usize = 1000;
/// How often a list begins anew because a compaction overtook its pages.
const LIST_ATTEMPTS_MAX: usize = 3;
/// The largest answer taken, in bytes: a page of large objects, within a bound.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to an etcd v3 cluster, shared by all who use it.
pub(crate) struct Etcd {
    cluster: Cluster,
}

impl Etcd {
    /// Checks the settings; connects when first asked.
    pub(crate) fn new(settings: &Settings) -> Result<Etcd, Error> {
        Ok(Etcd { cluster: Cluster::new(settings)? })
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.cluster
            .call(Repeat::Allowed, |link| {
                let request = link.request(request.clone());
                async move { kv(&link).range(request).await }
            })
            .await
    }

    async fn read(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let path = key.path().into_bytes();
        let answer = self.range(RangeRequest { key: path, ..RangeRequest::default() }).await?;
        let entry = |kv: KeyValue| Entry::new(key.clone(), kv.value, revision(kv.mod_revision));
        Ok(answer.kvs.into_iter().next().map(entry))
    }

    async fn pages(&self, query: &Query) -> Result<Listing, Error> {
        let prefix = query.prefix().into_bytes();
        let range_end = prefix_end(&prefix);
        let mut next = prefix;
        let mut listing = Listing { entries: Vec::new(), revision: Revision(0) };
        loop {
            let request = RangeRequest {
                key: next,
                range_end: range_end.clone(),
                limit: PAGE_KEYS as i64,
                revision: listing.revision.0 as i64,
                ..RangeRequest::default()
            };
            let answer = self.range(request).await.map_err(|error| match error {
                Error::Compacted(_) => Error::Compacted(listing.revision),
                other => other,
            })?;
            if listing.revision == Revision(0) {
                listing.revision = stored_at(answer.header);
            }
            // A page begins right after the last key of the one before.
            next = answer.kvs.last().map(|kv| [&kv.key, &b"\0"[..]].concat()).unwrap_or_default();
            let more = answer.more && !next.is_empty();
            listing.entries.extend(answer.kvs.into_iter().filter_map(entry));
            if !more {
                listing.entries.sort_by(|one, other| one.key.cmp(&other.key));
                return Ok(listing);
            }
        }
    }

    async fn listing(&self, query: &Query) -> Result<Listing, Error> {
        for _ in 1..LIST_ATTEMPTS_MAX {
            match self.pages(query).await {
                Err(Error::Compacted(_)) => continue,
                done => return done,
            }
        }
        self.pages(query).await
    }

    /// One guarded write. The answer tells the revision, or that the guard did not hold.
    async fn write(
        &self,
        guard: Option<Compare>,
        write: request_op::Request,
        otherwise: Vec<u8>,
    ) -> Result<TxnResponse, Error> {
        let range = RangeRequest { key: otherwise, keys_only: true, ..RangeRequest::default() };
        let request = TxnRequest {
            compare: guard.into_iter().collect(),
            success: vec![RequestOp { request: Some(write) }],
            failure: vec![RequestOp { request: Some(request_op::Request::RequestRange(range)) }],
        };
        self.cluster
            .call(Repeat::Forbidden, |link| {
                let request = link.request(request.clone());
                async move { kv(&link).txn(request).await }
            })
            .await
    }

    async fn put(
        &self,
        key: &Key,
        value: Vec<u8>,
        expected: Option<Revision>,
    ) -> Result<Revision, Error> {
        let path = key.path().into_bytes();
        let put = PutRequest { key: path.clone(), value, ..PutRequest::default() };
        let write = request_op::Request::RequestPut(put);
        let answer = self.write(Some(guard(&path, expected)), write, path).await?;
        match (answer.succeeded, expected) {
            (true, _) => Ok(stored_at(answer.header)),
            (false, None) => Err(Error::Conflict(key.clone())),
            (false, Some(_)) => Err(unmatched(key, &answer)),
        }
    }

    async fn remove(&self, key: &Key, expected: Option<Revision>) -> Result<(), Error> {
        let path = key.path().into_bytes();
        let delete = DeleteRangeRequest { key: path.clone(), ..DeleteRangeRequest::default() };
        let guard = expected.map(|revision| guard(&path, Some(revision)));
        let write = request_op::Request::RequestDeleteRange(delete);
        let answer = self.write(guard, write, path).await?;
        if !answer.succeeded {
            return Err(unmatched(key, &answer));
        }
        match answer.responses.first().and_then(|one| one.response.as_ref()) {
            Some(response_op::Response::ResponseDeleteRange(done)) if done.deleted == 0 => {
                Err(Error::NotFound(key.clone()))
            }
            _ => Ok(()),
        }
    }
}

impl Datastore for Etcd {
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(self.read(key))
    }

    fn list<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Listing, Error>> {
        Box::pin(self.listing(query))
    }

    fn create<'a>(
        &'a self,
        key: &'a Key,
        value: Vec<u8>,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        Box::pin(self.put(key, value, None))
    }

    fn update<'a>(
        &'a self,
        key: &'a Key,
        value: Vec<u8>,
        revision: Revision,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        Box::pin(self.put(key, value, Some(revision)))
    }

    fn delete<'a>(
        &'a self,
        key: &'a Key,
        revision: Option<Revision>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove(key, revision))
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        after: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<Result<Change, Error>>, Error>> {
        Box::pin(feed::open(&self.cluster, query, after))
    }
}

fn kv(link: &Link) -> KvClient<Channel> {
    KvClient::new(link.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The condition of a write: not there yet, or still at a revision.
fn guard(path: &[u8], expected: Option<Revision>) -> Compare {
    // An object that was read has a revision of at least 1; 0 would match one that isn't there.
    let (target, wanted) = match expected {
        None => (CompareTarget::Version, TargetUnion::Version(0)),
        Some(Revision(0)) => (CompareTarget::Mod, TargetUnion::ModRevision(-1)),
        Some(Revision(read)) => (CompareTarget::Mod, TargetUnion::ModRevision(read as i64)),
    };
    Compare {
        result: CompareResult::Equal as i32,
        target: target as i32,
        key: path.to_vec(),
        target_union: Some(wanted),
        range_end: Vec::new(),
    }
}

/// Why the condition of an update or delete did not hold.
fn unmatched(key: &Key, answer: &TxnResponse) -> Error {
    match answer.responses.first().and_then(|one| one.response.as_ref()) {
        Some(response_op::Response::ResponseRange(range)) if range.kvs.is_empty() => {
            Error::NotFound(key.clone())
        }
        _ => Error::Conflict(key.clone()),
    }
}

/// An entry, unless its key is none of ours: others keep objects under the same prefixes.
fn entry(kv: KeyValue) -> Option<Entry> {
    let key = Key::parse(std::str::from_utf8(&kv.key).ok()?)?;
    Some(Entry::new(key, kv.value, revision(kv.mod_revision)))
}

fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

fn stored_at(header: Option<ResponseHeader>) -> Revision {
    revision(header.map_or(0, |header| header.revision))
}
