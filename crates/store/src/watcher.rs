//! A snapshot, then every change, through every reconnect.
//!
//! ```text
//!   list each query ──▶ InSync ──▶ watch each ──▶ changes ──▶ …
//!        ▲                           │ broken: Unreachable once a kind, back off, watch from where it was
//!        └───── compacted ───────────┘ then only what differs from what was told
//! ```
//!
//! A query that is refused, or that its server cannot serve yet, does not keep the others waiting.
//!
//! Of what was told only key and revision are kept, for that difference.

mod backoff;
mod watched;

use crate::{Change, Datastore, Error};
use backoff::Backoff;
use futures_util::future::{join_all, select_all};
use model::{DatastoreEvent, Query};
use std::mem::Discriminant;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;
use watched::Watched;

/// Events told and not yet taken, at most; then the server is read no further.
const EVENTS_MAX: usize = 1024;
/// The pause after the first failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The pause it doubles up to.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Watches everything the queries name. Ends when the receiver is dropped.
///
/// The events of one key have strictly growing revisions, queries that overlap notwithstanding.
/// Must be called within a tokio runtime.
pub fn watch(datastore: Arc<dyn Datastore>, queries: Vec<Query>) -> Receiver<DatastoreEvent> {
    start(datastore, queries, Backoff::new(PAUSE_MIN, PAUSE_MAX))
}

fn start(
    datastore: Arc<dyn Datastore>,
    queries: Vec<Query>,
    backoff: Backoff,
) -> Receiver<DatastoreEvent> {
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let watched = distinct(queries).into_iter().map(Watched::new).collect();
    let watcher = Watcher { datastore, watched, events, backoff, in_sync: false, failing: None };
    tokio::spawn(async move {
        let stop = watcher.events.clone();
        tokio::select! {
            _gone = watcher.run() => {}
            () = stop.closed() => {}
        }
    });
    receiver
}

/// The queries without those that others cover, so that nothing is told twice.
fn distinct(mut queries: Vec<Query>) -> Vec<Query> {
    queries.sort_by_key(Query::prefix);
    queries.dedup_by(|next, kept| next.prefix().starts_with(&kept.prefix()));
    queries
}

/// The consumer is gone.
struct Gone;

/// Tells the consumer.
async fn tell(events: &Sender<DatastoreEvent>, event: DatastoreEvent) -> Result<(), Gone> {
    events.send(event).await.map_err(|_| Gone)
}

struct Watcher {
    datastore: Arc<dyn Datastore>,
    watched: Vec<Watched>,
    events: Sender<DatastoreEvent>,
    backoff: Backoff,
    in_sync: bool,
    /// Of which kind the failure is that has been told last; `None`: it is over.
    failing: Option<Discriminant<Error>>,
}

impl Watcher {
    async fn run(mut self) -> Result<(), Gone> {
        loop {
            if let Some(error) = self.catch_up().await? {
                self.failed(error).await?;
                continue;
            }
            if self.failing.take().is_some() {
                tell(&self.events, DatastoreEvent::Reachable).await?;
            }
            if self.watched.is_empty() {
                self.events.closed().await;
                return Err(Gone);
            }
            let since = Instant::now();
            let error = loop {
                let next = self.next().await;
                if let Err(error) = self.take(next).await? {
                    break error;
                }
            };
            if since.elapsed() >= PAUSE_MAX {
                self.backoff.reset();
            }
            self.failed(error).await?;
        }
    }

    /// Lists what was never listed or cannot be resumed, then watches what isn't watched. The first
    /// error; one of a server that answers is followed by the other queries.
    async fn catch_up(&mut self) -> Result<Option<Error>, Gone> {
        let mut first = None;
        let mut is_over = |error: Error| {
            let over = matches!(error, Error::Unreachable { .. });
            first.get_or_insert(error);
            over
        };
        // One alone first: of a server that is away, one is asked for at a time.
        let (datastore, events) = (&*self.datastore, &self.events);
        let alone = self.watched.len().min(1);
        for watched in [0..alone, alone..self.watched.len()] {
            let lists = self.watched[watched].iter_mut().map(|one| one.list(datastore, events));
            for listed in join_all(lists).await {
                if let Err(error) = listed?
                    && is_over(error)
                {
                    return Ok(first);
                }
            }
        }
        if !self.in_sync && self.watched.iter().all(Watched::is_listed) {
            self.in_sync = true;
            tell(&self.events, DatastoreEvent::InSync).await?;
        }
        for watched in self.watched.iter_mut().filter(|watched| watched.is_listed()) {
            if let Err(error) = watched.watch(&*self.datastore).await
                && is_over(error)
            {
                return Ok(first);
            }
        }
        Ok(first)
    }

    /// The next change of any query, or why a watch has ended. Loses nothing when dropped.
    async fn next(&mut self) -> (usize, Result<Change, Error>) {
        let nexts = self.watched.iter_mut().map(|watched| Box::pin(watched.next()));
        let (next, which, _) = select_all(nexts).await;
        (which, next)
    }

    /// Tells what is new of a query; an error is that of a watch which has ended.
    async fn take(
        &mut self,
        (which, next): (usize, Result<Change, Error>),
    ) -> Result<Result<(), Error>, Gone> {
        match next {
            Ok(change) => self.watched[which].tell(change, &self.events).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Tells of a failure and pauses; what is watched still goes on meanwhile.
    async fn failed(&mut self, error: Error) -> Result<(), Gone> {
        self.tell_failure(&error).await?;
        let end = Instant::now() + self.backoff.pause();
        while let Ok(next) = tokio::time::timeout_at(end, self.next()).await {
            // Those that share a broken connection break off one by one.
            if let Err(error) = self.take(next).await? {
                self.tell_failure(&error).await?;
            }
        }
        Ok(())
    }

    async fn tell_failure(&mut self, error: &Error) -> Result<(), Gone> {
        // A compaction is no failure to tell of: the next list makes up for it.
        let compacted = matches!(error, Error::Compacted(_));
        // A server that did not answer and now refuses is another matter to who looks after it.
        let kind = Some(std::mem::discriminant(error));
        if !compacted && std::mem::replace(&mut self.failing, kind) != kind {
            tell(&self.events, DatastoreEvent::Unreachable(error.to_string())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
