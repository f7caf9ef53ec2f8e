//! Watches as changes.
//!
//! ```text
//!  a watch a collection ──▶ ADDED, MODIFIED ──▶ Put      (marked as deleted: Delete)
//!        ▲   │              DELETED         ──▶ Delete
//!        │   │              BOOKMARK        ──▶ Progress
//!        └───┘ at its end, which the server brings about as it was asked to: on from the last revision
//! ```

use super::client::{Client, Failure, Lines, Status};
use super::object::{self, Object};
use super::place::{self, Group, Source};
use super::{Positions, failed, remember};
use crate::{BoxStream, Change, Error};
use futures_util::{StreamExt, stream};
use http::Method;
use model::{Query, Revision};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How soon it is seen whether a collection has come to be that the cluster lacks: first, and at
/// last, as Calico does, so that the nodes of a large cluster don't ask all the time.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);
const ABSENT_PAUSE_MAX: Duration = Duration::from_secs(30 * 60);

/// How long a watch may last, in seconds: at least, and at most, as client-go has it. At random, so
/// that those of all nodes don't end together.
const WATCH_SECONDS_MIN: u64 = 300;
const WATCH_SECONDS_MAX: u64 = 600;

/// What all watches of a query share.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) client: Arc<Client>,
    pub(super) group: Group,
    pub(super) interface_prefix: Arc<str>,
    pub(super) query: Query,
    /// The revision that was asked for.
    pub(super) asked: Revision,
    /// Where it is noted how far each collection had come when the watch broke off.
    pub(super) positions: Arc<Mutex<Positions>>,
}

/// The watch of one collection.
struct Feed {
    watch: Watch,
    source: Source,
    /// The only collection of the query: it may then say how far it has come.
    alone: bool,
    /// Everything up to here has been told; `None`: it cannot be watched.
    after: Option<Revision>,
    lines: Option<Lines>,
    ended: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Begins to watch each collection after its position.
pub(super) async fn open(
    watch: Watch,
    sources: Vec<Source>,
    positions: Vec<Option<Revision>>,
) -> Result<BoxStream<Result<Change, Error>>, Error> {
    let alone = sources.len() == 1;
    let begun = positions.clone();
    let mut feeds = Vec::new();
    for (which, (source, after)) in sources.into_iter().zip(positions).enumerate() {
        let watch = watch.clone();
        let mut feed = Feed { watch, source, alone, after, lines: None, ended: false };
        feed.begin().await?;
        feeds.push(Box::pin(stream::unfold(feed, move |mut feed| async move {
            let item = feed.next().await?;
            Some(((which, feed.after, item), feed))
        })));
    }
    let mut reached = begun.clone();
    let mut told = watch.asked;
    let merged = stream::select_all(feeds).scan(false, move |ended, (which, after, item)| {
        // One that breaks ends them all.
        if std::mem::replace(ended, item.is_err()) {
            return std::future::ready(None);
        }
        reached[which] = after;
        if let Ok(Some(change)) = &item {
            told = told.max(change.revision());
        }
        if *ended && !alone {
            remember(&watch.positions, &watch.query, told, &reached, Some(&begun));
        }
        std::future::ready(Some(item.transpose()))
    });
    Ok(Box::pin(merged.filter_map(std::future::ready)))
}

impl Feed {
    async fn begin(&mut self) -> Result<(), Error> {
        let Some(after) = self.after else { return Ok(()) };
        let Source { collection, .. } = &self.source;
        let labels = self.source.labels();
        let more = RandomState::new().hash_one(after.0) % (WATCH_SECONDS_MAX - WATCH_SECONDS_MIN);
        let seconds = WATCH_SECONDS_MIN + more;
        let uri = format!(
            "{collection}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}\
             &resourceVersion={after}{labels}"
        );
        match self.watch.client.follow(&uri).await {
            Ok(lines) => self.lines = Some(lines),
            Err(Failure::Status(Status { code: 410, .. })) => {
                return Err(Error::Compacted(self.watch.asked));
            }
            // It has gone with its definition: list again.
            Err(Failure::Status(Status { code: 404, .. })) => {
                return Err(Error::Compacted(self.watch.asked));
            }
            Err(why) => return Err(failed(self.watch.client.endpoint(), None, why)),
        }
        Ok(())
    }

    /// The next change, or that none is to be told; the last item is an error.
    async fn next(&mut self) -> Option<Result<Option<Change>, Error>> {
        if self.ended {
            return None;
        }
        let taken = match &mut self.lines {
            None => Err(appear(self.watch.clone(), &self.source).await),
            Some(lines) => match lines.next().await {
                Some(Ok(line)) => self.take(&line),
                Some(Err(why)) => Err(self.broken(&why)),
                None => {
                    self.lines = None;
                    self.begin().await.map(|()| None)
                }
            },
        };
        self.ended = taken.is_err();
        Some(taken)
    }

    fn take(&mut self, line: &[u8]) -> Result<Option<Change>, Error> {
        let event: Event<'_> =
            serde_json::from_slice(line).map_err(|why| self.broken(&why.to_string()))?;
        let text = event.object.get();
        if event.kind == "ERROR" {
            let status: Status = serde_json::from_str(text).unwrap_or_default();
            return Err(match status.code {
                410 => Error::Compacted(self.watch.asked),
                _ => failed(self.watch.client.endpoint(), None, Failure::Status(status)),
            });
        }
        let Watch { group, interface_prefix, query, .. } = &self.watch;
        let read = match event.kind {
            "BOOKMARK" => None,
            _ => self.source.object.read(*group, interface_prefix, text),
        };
        let revision = match &read {
            Some(read) => read.revision,
            None => object::revision_of(text.as_bytes())
                .ok_or_else(|| self.broken("an object without a revision"))?,
        };
        self.after = Some(revision);
        let Some(read) = read.filter(|read| place::covers(query, &read.key)) else {
            return Ok(self.alone.then_some(Change::Progress(revision)));
        };
        Ok(Some(if event.kind == "DELETED" || read.marked {
            Change::Delete(read.key, revision)
        } else {
            Change::Put(read.into_entry())
        }))
    }

    fn broken(&self, why: &str) -> Error {
        let endpoint = self.watch.client.endpoint().to_owned();
        Error::Unreachable { endpoint, reason: format!("the watch broke off: {why}") }
    }
}

/// Waits for a collection that the cluster lacks, or for when it is read again that may not be watched;
/// it is then listed.
async fn appear(watch: Watch, source: &Source) -> Error {
    let collection = &source.collection;
    let mut pause = ABSENT_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(ABSENT_PAUSE_MAX);
        if source.object == Object::IpamConfig {
            return Error::Compacted(watch.asked);
        }
        match watch.client.ask(Method::GET, &format!("{collection}?limit=1")).await {
            Err(Failure::Status(Status { code: 404, .. })) => {}
            Ok(_) => return Error::Compacted(watch.asked),
            Err(why) => return failed(watch.client.endpoint(), None, why),
        }
    }
}
