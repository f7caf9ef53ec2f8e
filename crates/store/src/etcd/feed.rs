//! A watch as a stream of changes.

use super::cluster::{Cluster, Link, Repeat};
use super::refusal::{self, Verdict};
use super::{ANSWER_BYTES_MAX, entry, revision, stored_at};
use crate::{BoxStream, Change, Error};
use ::etcd::client::WatchClient;
use ::etcd::{
    Event, EventType, WatchCreateRequest, WatchRequest, WatchResponse, prefix_end, watch_request,
};
use futures_util::{StreamExt, stream};
use model::{Key, Query, Revision};
use std::collections::VecDeque;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Response, Status, Streaming};

/// A watch that has begun.
struct Feed {
    answers: Streaming<WatchResponse>,
    link: Link,
    after: Revision,
    /// Changes of a revision whose other changes are still to come, in further fragments.
    partial: Vec<Change>,
    ready: VecDeque<Change>,
    ended: bool,
}

/// Begins a watch of what comes after `after`.
pub(super) async fn open(
    cluster: &Cluster,
    query: &Query,
    after: Revision,
) -> Result<BoxStream<Result<Change, Error>>, Error> {
    let (mut feed, mut begun) = begin(cluster, query, after).await?;
    // etcd says "permission denied" to a watch with an expired token, too: try with a new one.
    if let Err(Error::Refused { .. }) = &begun
        && cluster.log_in_again(&feed.link).await
    {
        (feed, begun) = begin(cluster, query, after).await?;
    }
    begun?;
    Ok(Box::pin(stream::unfold(feed, |mut feed| async move {
        let item = feed.next().await?;
        Some((item, feed))
    })))
}

async fn begin(
    cluster: &Cluster,
    query: &Query,
    after: Revision,
) -> Result<(Feed, Result<(), Error>), Error> {
    let prefix = query.prefix().into_bytes();
    let create = WatchCreateRequest {
        range_end: prefix_end(&prefix),
        key: prefix,
        start_revision: after.0 as i64 + 1,
        progress_notify: true,
        fragment: true,
        ..WatchCreateRequest::default()
    };
    let (answers, first, link) =
        cluster.call(Repeat::Allowed, |link| start(link, create.clone())).await?;
    let known = stored_at(first.header);
    let mut feed =
        Feed { answers, link, after, partial: Vec::new(), ready: VecDeque::new(), ended: false };
    let begun = if known < after {
        // The store is younger than what was read: restored or replaced. List again.
        Err(Error::Compacted(after))
    } else {
        feed.take(first)
    };
    Ok((feed, begun))
}

type Started = (Streaming<WatchResponse>, WatchResponse, Link);

/// Sends the request and waits for the server to say that the watch is on.
async fn start(link: Link, create: WatchCreateRequest) -> Result<Response<Started>, Status> {
    let request_union = Some(watch_request::RequestUnion::CreateRequest(create));
    let begin = WatchRequest { request_union };
    // The request side stays open for as long as the watch is wanted.
    let requests = stream::once(async { begin }).chain(stream::pending());
    let mut request = link.request(requests);
    // A member cut off from its cluster shall end the watch, not fall silent.
    request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
    let mut client =
        WatchClient::new(link.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut answers = client.watch(request).await?.into_inner();
    let first = answers.message().await?;
    let first = first.ok_or_else(|| Status::unavailable("the server ended the watch at once"))?;
    Ok(Response::new((answers, first, link)))
}

impl Feed {
    /// The next change; the last item is an error.
    async fn next(&mut self) -> Option<Result<Change, Error>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(change));
            }
            if self.ended {
                return None;
            }
            let taken = match self.answers.message().await {
                Ok(Some(answer)) => self.take(answer),
                Ok(None) => Err(self.broken("the server ended the watch")),
                Err(status) => Err(match refusal::judge(&self.link.endpoint, &status) {
                    Verdict::Final(Error::Compacted(_)) => Error::Compacted(self.after),
                    Verdict::Final(error) => error,
                    _ => self.broken(&format!("the watch broke off: {}", status.message())),
                }),
            };
            if let Err(error) = taken {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    fn take(&mut self, answer: WatchResponse) -> Result<(), Error> {
        if answer.compact_revision != 0 {
            return Err(Error::Compacted(self.after));
        }
        if answer.canceled {
            return Err(refusal::refused(&self.link.endpoint, &answer.cancel_reason));
        }
        // An answer without events says how far this watch has come.
        if answer.events.is_empty() && !answer.created && !answer.fragment {
            self.ready.push_back(Change::Progress(stored_at(answer.header)));
        }
        self.partial.extend(answer.events.into_iter().filter_map(change));
        if !answer.fragment {
            self.ready.extend(self.partial.drain(..));
        }
        Ok(())
    }

    fn broken(&self, reason: &str) -> Error {
        Error::Unreachable { endpoint: self.link.endpoint.clone(), reason: reason.to_owned() }
    }
}

/// A change, unless its key is none of ours.
fn change(event: Event) -> Option<Change> {
    let kv = event.kv?;
    if event.r#type == EventType::Delete as i32 {
        let key = Key::parse(std::str::from_utf8(&kv.key).ok()?)?;
        return Some(Change::Delete(key, revision(kv.mod_revision)));
    }
    entry(kv).map(Change::Put)
}
