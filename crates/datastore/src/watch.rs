//! Service Watch. The log is the queue: a watch is no more than the revision it has come to.
//!
//! ```text
//!  head moves ─▶ pump: read the log from the furthest-behind watch on, a chunk at a time
//!                  └─▶ each watch gets what it asked for ─▶ bounded channel ─▶ client
//! ```
//! A slow client makes its own stream wait; what it misses meanwhile stays in the log, where it is
//! read when there is room again, or is found compacted away, which ends the watch as etcd does.

use crate::interval::Interval;
use crate::limits::{WATCH_BACKLOG_MAX, WATCH_PROGRESS_INTERVAL, WATCHES_PER_STREAM_MAX};
use crate::log::{Position, Record};
use crate::mvcc::signed;
use crate::refused::Refused;
use crate::store::Store;
use etcd::watch_request::RequestUnion;
use etcd::{
    Event, EventType, FilterType, KeyValue, WatchCreateRequest, WatchRequest, WatchResponse,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The number of the answer to a progress request: no watch's.
const EVERY_WATCH: i64 = -1;

/// The service.
pub(crate) struct WatchService {
    pub(crate) store: Arc<Store>,
    /// Turns true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl etcd::server::Watch for WatchService {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (answers, receiver) = mpsc::channel(WATCH_BACKLOG_MAX);
        let stream =
            Stream { store: self.store.clone(), answers, watches: BTreeMap::new(), next_id: 0 };
        tokio::spawn(stream.run(request.into_inner(), self.stopping.clone()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// One watch.
struct Watch {
    interval: Interval,
    /// Everything before this revision has been told.
    next: u64,
    puts: bool,
    deletions: bool,
    prev_kv: bool,
    progress_notify: bool,
    last_told: Instant,
}

impl Watch {
    fn wants(&self, record: &Record) -> bool {
        record.key_value.mod_revision >= signed(self.next)
            && if record.is_deletion() { self.deletions } else { self.puts }
            && self.interval.contains(&record.key_value.key)
    }
}

/// Why a stream ends.
enum End {
    /// The client has gone.
    Gone,
    /// The server ends it.
    Refused(Refused),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A stream of watches.
struct Stream {
    store: Arc<Store>,
    answers: mpsc::Sender<Result<WatchResponse, Status>>,
    watches: BTreeMap<i64, Watch>,
    next_id: i64,
}

/// What a chunk of the log holds for the watches, read in one snapshot.
struct News {
    records: Vec<(Record, Option<KeyValue>)>,
    through: u64,
    revision: u64,
    compact_revision: i64,
}

impl Stream {
    async fn run(
        mut self,
        mut requests: Streaming<WatchRequest>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let answers = self.answers.clone();
        let end = tokio::select! {
            end = self.serve(&mut requests) => end,
            () = answers.closed() => End::Gone,
            _ = stopping.wait_for(|stopping| *stopping) => End::Refused(Refused::Stopped),
        };
        if let End::Refused(refused) = end {
            // No room means a client that doesn't read: it finds the stream closed.
            drop(self.answers.try_send(Err(refused.into())));
        }
    }

    async fn serve(&mut self, requests: &mut Streaming<WatchRequest>) -> End {
        let mut head = self.store.head();
        let mut ticks = interval(WATCH_PROGRESS_INTERVAL / 10);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                biased;
                request = requests.message() => match request {
                    Ok(Some(request)) => self.on_request(request).await,
                    Ok(None) | Err(_) => return End::Gone,
                },
                changed = head.changed() => match changed {
                    Ok(()) => self.pump().await,
                    Err(_) => return End::Refused(Refused::Stopped),
                },
                _ = ticks.tick() => self.tell_progress().await,
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn send(&self, response: WatchResponse) -> Result<(), End> {
        self.answers.send(Ok(response)).await.map_err(|_| End::Gone)
    }

    async fn on_request(&mut self, request: WatchRequest) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                if self.watches.remove(&cancel.watch_id).is_none() {
                    return Ok(());
                }
                let header = self.store.header(self.store.revision());
                let watch_id = cancel.watch_id;
                self.send(WatchResponse { header, watch_id, canceled: true, ..Default::default() })
                    .await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                let through = self.pump_to_head().await?;
                let header = self.store.header(through);
                let watch_id = EVERY_WATCH;
                self.send(WatchResponse { header, watch_id, ..Default::default() }).await
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), End> {
        let revision = self.store.revision();
        let header = self.store.header(revision);
        let watch = match self.admit(&request, revision) {
            Ok(watch) => watch,
            Err(reason) => {
                return self
                    .send(WatchResponse {
                        header,
                        watch_id: EVERY_WATCH,
                        created: true,
                        canceled: true,
                        cancel_reason: reason.into(),
                        ..Default::default()
                    })
                    .await;
            }
        };
        let watch_id = match request.watch_id {
            0 => {
                while self.watches.contains_key(&self.next_id) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                self.next_id - 1
            }
            id => id,
        };
        self.send(WatchResponse { header, watch_id, created: true, ..Default::default() }).await?;
        self.watches.insert(watch_id, watch);
        self.pump().await
    }

    /// The watch asked for, or why not, in etcd's words.
    fn admit(&self, request: &WatchCreateRequest, revision: u64) -> Result<Watch, &'static str> {
        let key = if request.key.is_empty() { etcd::ALL_KEYS_FROM } else { &request.key };
        let interval = Interval::new(key, &request.range_end);
        if interval.is_empty() {
            return Err("mvcc: watcher range is empty");
        }
        if request.watch_id != 0 && self.watches.contains_key(&request.watch_id) {
            return Err("mvcc: duplicate watch ID provided on the WatchStream");
        }
        if self.watches.len() >= WATCHES_PER_STREAM_MAX {
            return Err("too many watches on one stream: cancel some, or open another stream");
        }
        let next = match request.start_revision {
            0 => revision + 1,
            start => start.max(1).unsigned_abs(),
        };
        let without = |kind: FilterType| request.filters.contains(&kind.into());
        Ok(Watch {
            interval,
            next,
            puts: !without(FilterType::Noput),
            deletions: !without(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            progress_notify: request.progress_notify,
            last_told: Instant::now(),
        })
    }

    async fn pump(&mut self) -> Result<(), End> {
        self.pump_to_head().await.map(|_| ())
    }

    /// Tells every watch all there is; answers the revision up to which that is.
    async fn pump_to_head(&mut self) -> Result<u64, End> {
        loop {
            if let Some(revision) = self.pass() {
                return Ok(revision);
            }
            let revision = self.store.revision();
            let next = self.watches.values().map(|watch| watch.next).min();
            let Some(start) = next.filter(|&next| next <= revision) else {
                return Ok(revision);
            };
            let news = self.read_news(start)?;
            self.end_compacted(news.compact_revision).await?;
            self.tell(&news).await?;
        }
    }

    /// Moves all watches to the head if none wants what the last commit has changed, and none has
    /// missed an earlier one: most commits are no business of most streams, of which there are many.
    fn pass(&mut self) -> Option<u64> {
        let head = self.store.latest();
        if !self.watches.values().all(|watch| head.passes(&watch.interval, watch.next)) {
            return None;
        }
        for watch in self.watches.values_mut() {
            watch.next = watch.next.max(head.revision + 1);
        }
        Some(head.revision)
    }

    fn read_news(&self, start: u64) -> Result<News, Refused> {
        let prev_kv = self.watches.values().any(|watch| watch.prev_kv);
        self.store.read(|view| {
            let chunk = view.chunk(start)?;
            let compacted = view.compact_revision;
            // etcd reads the store as of the revision before, which must not be compacted away: a key that a
            // transaction changes twice has one former value. What creates a key has none.
            let mut before: HashMap<(i64, Vec<u8>), Option<Position>> = HashMap::new();
            let mut records = Vec::with_capacity(chunk.records.len());
            for record in chunk.records {
                let KeyValue { key, mod_revision, create_revision, .. } = &record.key_value;
                let mut former = None;
                if prev_kv && *mod_revision > compacted {
                    let first = before.entry((*mod_revision, key.clone()));
                    let position = *first.or_insert_with(|| record.former());
                    let position = position.filter(|_| create_revision != mod_revision);
                    former = position.map(|place| view.record(place)).transpose()?.flatten();
                }
                records.push((record, former.map(|record| record.key_value)));
            }
            Ok(News {
                records,
                through: chunk.through,
                revision: view.revision,
                compact_revision: compacted,
            })
        })
    }

    /// Ends the watches whose next revision is gone.
    async fn end_compacted(&mut self, compact_revision: i64) -> Result<(), End> {
        let gone: Vec<i64> = self
            .watches
            .iter()
            .filter(|(_, watch)| signed(watch.next) < compact_revision)
            .map(|(&id, _)| id)
            .collect();
        for watch_id in gone {
            self.watches.remove(&watch_id);
            self.send(WatchResponse {
                header: self.store.header(0),
                watch_id,
                canceled: true,
                compact_revision,
                cancel_reason: Refused::Compacted.to_string(),
                ..Default::default()
            })
            .await?;
        }
        Ok(())
    }

    /// Tells the watches that have not come further than these news.
    async fn tell(&mut self, news: &News) -> Result<(), End> {
        let header = self.store.header(news.revision);
        let mut responses = Vec::new();
        for (&watch_id, watch) in &mut self.watches {
            if watch.next > news.through {
                continue;
            }
            let events: Vec<Event> = news
                .records
                .iter()
                .filter(|(record, _)| watch.wants(record))
                .map(|(record, former)| event(record, former.as_ref().filter(|_| watch.prev_kv)))
                .collect();
            watch.next = news.through + 1;
            if !events.is_empty() {
                watch.last_told = Instant::now();
                responses.push(WatchResponse { header, watch_id, events, ..Default::default() });
            }
        }
        for response in responses {
            self.send(response).await?;
        }
        Ok(())
    }

    /// Tells watches that asked for it, and heard nothing for long, how far the store has come.
    async fn tell_progress(&mut self) -> Result<(), End> {
        let revision = self.pump_to_head().await?;
        let header = self.store.header(revision);
        let mut silent = Vec::new();
        for (&watch_id, watch) in &mut self.watches {
            let told = watch.last_told.elapsed() < WATCH_PROGRESS_INTERVAL;
            if watch.progress_notify && !told {
                watch.last_told = Instant::now();
                silent.push(watch_id);
            }
        }
        for watch_id in silent {
            self.send(WatchResponse { header, watch_id, ..Default::default() }).await?;
        }
        Ok(())
    }
}

fn event(record: &Record, former: Option<&KeyValue>) -> Event {
    let kind = if record.is_deletion() { EventType::Delete } else { EventType::Put };
    Event { r#type: kind.into(), kv: Some(record.key_value.clone()), prev_kv: former.cloned() }
}
