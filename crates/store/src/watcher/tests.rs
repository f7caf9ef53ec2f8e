//! The watcher over a datastore in memory that breaks, compacts and goes away as a script says.

use super::*;
use crate::{BoxFuture, BoxStream, Change, Listing};
use futures_util::stream;
use model::{AffinityKind, Entry, Key, Kind, Revision};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Mutex;
use tokio::sync::Notify;

/// One write: which key, and its value unless it was a deletion. Its revision is its place, from 1.
type Write = (Key, Option<Vec<u8>>);

#[derive(Default)]
struct State {
    log: Vec<Write>,
    compacted: u64,
    /// Raised to break every watch.
    breaks: u64,
    down: bool,
    /// So many of the next requests fail.
    failures: usize,
    /// So many of the next watches end without a word.
    silent_ends: usize,
    /// What cannot be served now.
    busy: Option<Query>,
    /// Whether watches tell how far they have come.
    progress: bool,
}

impl State {
    fn write(&mut self, key: Key, value: Option<Vec<u8>>) {
        self.log.push((key, value));
    }

    fn revision(&self) -> u64 {
        self.log.len() as u64
    }

    fn live(&self) -> BTreeMap<Key, Revision> {
        let mut live = BTreeMap::new();
        for (index, (key, value)) in self.log.iter().enumerate() {
            match value {
                Some(_) => live.insert(key.clone(), Revision(index as u64 + 1)),
                None => live.remove(key),
            };
        }
        live
    }

    fn answer_to(&mut self, query: &Query) -> Result<(), Error> {
        self.answer()?;
        match &self.busy {
            Some(busy) if busy == query => {
                Err(Error::Busy { endpoint: "fake".to_owned(), reason: "scripted".to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn answer(&mut self) -> Result<(), Error> {
        let fails = self.down || self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        let endpoint = "fake".to_owned();
        if fails { Err(Error::Unreachable { endpoint, reason: "scripted".into() }) } else { Ok(()) }
    }
}

#[derive(Clone, Default)]
struct Fake {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

impl Fake {
    fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let result = with(&mut self.state.lock().unwrap());
        self.news.notify_waiters();
        result
    }

    fn step(&self, query: &Query, breaks: u64, next: u64) -> Option<(Result<Change, Error>, u64)> {
        let mut state = self.state.lock().unwrap();
        if state.breaks != breaks || state.down {
            state.failures += 1;
            return Some((Err(state.answer().unwrap_err()), next));
        }
        if next <= state.compacted {
            return Some((Err(Error::Compacted(Revision(next))), next));
        }
        for (index, (key, value)) in state.log.iter().enumerate().skip(next as usize - 1) {
            if key.path().starts_with(&query.prefix()) {
                let revision = Revision(index as u64 + 1);
                let change = match value {
                    None => Change::Delete(key.clone(), revision),
                    Some(value) => Change::Put(Entry::new(key.clone(), value.clone(), revision)),
                };
                return Some((Ok(change), revision.0 + 1));
            }
        }
        let now = state.revision();
        (state.progress && now >= next).then(|| (Ok(Change::Progress(Revision(now))), now + 1))
    }
}

impl Datastore for Fake {
    fn get<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        unreachable!("a watcher only lists and watches")
    }

    fn list<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Listing, Error>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            let mut state = self.state.lock().unwrap();
            state.answer_to(query)?;
            let entry = |(key, revision): (Key, Revision)| {
                let value = state.log[revision.0 as usize - 1].1.clone().unwrap();
                Entry::new(key, value, revision)
            };
            let live = state.live().into_iter();
            let ours = live.filter(|(key, _)| key.path().starts_with(&query.prefix()));
            let entries = ours.map(entry).collect();
            Ok(Listing { entries, revision: Revision(state.revision()) })
        })
    }

    fn create<'a>(&'a self, _: &'a Key, _: Vec<u8>) -> BoxFuture<'a, Result<Revision, Error>> {
        unreachable!("a watcher only lists and watches")
    }

    fn update<'a>(
        &'a self,
        _: &'a Key,
        _: Vec<u8>,
        _: Revision,
    ) -> BoxFuture<'a, Result<Revision, Error>> {
        unreachable!("a watcher only lists and watches")
    }

    fn delete<'a>(&'a self, _: &'a Key, _: Option<Revision>) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("a watcher only lists and watches")
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        after: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<Result<Change, Error>>, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let breaks = {
                let mut state = self.state.lock().unwrap();
                state.answer_to(query)?;
                if state.silent_ends > 0 {
                    state.silent_ends -= 1;
                    return Ok(Box::pin(stream::empty()) as BoxStream<_>);
                }
                state.breaks
            };
            let (fake, query) = (self.clone(), query.clone());
            let changes = stream::unfold(after.0 + 1, move |next| {
                let (fake, query) = (fake.clone(), query.clone());
                async move {
                    loop {
                        let news = fake.news.notified();
                        if let Some(step) = fake.step(&query, breaks, next) {
                            return Some(step);
                        }
                        news.await;
                    }
                }
            });
            Ok(Box::pin(changes) as BoxStream<_>)
        })
    }
}

/// What happens to the datastore.
#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    Break,
    Fail(usize),
    SilentEnd,
    Down,
    Up,
    Compact,
    /// Let the watcher run.
    Run(usize),
}

fn keys() -> Vec<Key> {
    let block = |text: &str| text.parse().unwrap();
    let affinity =
        |block| Key::Affinity { kind: AffinityKind::Host, host: "worker-1".into(), block };
    vec![
        Key::cluster(Kind::IpPool, "a"),
        Key::cluster(Kind::IpPool, "b"),
        Key::cluster(Kind::Node, "worker-1"),
        Key::Block(block("192.168.0.0/26")),
        Key::Block(block("fd00::/122")),
        affinity(block("192.168.0.0/26")),
        // None of the queries'.
        Key::cluster(Kind::Profile, "unwatched"),
    ]
}

fn queries() -> Vec<Query> {
    let (kind, host) = (AffinityKind::Host, Some("worker-1".to_owned()));
    vec![
        Query::kind(Kind::IpPool),
        // Covered by the one after it.
        Query::Affinities { kind, host },
        Query::Affinities { kind, host: None },
        Query::kind(Kind::Node),
        Query::Blocks,
        Query::kind(Kind::IpPool),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        8 => (0usize..7).prop_map(Step::Put),
        4 => (0usize..7).prop_map(Step::Delete),
        2 => Just(Step::Break),
        1 => (1usize..4).prop_map(Step::Fail),
        1 => Just(Step::SilentEnd),
        1 => Just(Step::Down),
        1 => Just(Step::Up),
        1 => Just(Step::Compact),
        6 => (1usize..30).prop_map(Step::Run),
    ];
    proptest::collection::vec(one, 0..60)
}

async fn play(fake: &Fake, steps: &[Step]) {
    let keys = keys();
    for step in steps {
        match step {
            Step::Put(key) => {
                fake.change(|state| state.write(keys[*key].clone(), Some(b"{}".to_vec())));
            }
            Step::Delete(key) => fake.change(|state| {
                if state.live().contains_key(&keys[*key]) {
                    state.write(keys[*key].clone(), None);
                }
            }),
            Step::Break => fake.change(|state| state.breaks += 1),
            Step::Fail(times) => fake.change(|state| state.failures += times),
            Step::SilentEnd => fake.change(|state| state.silent_ends += 1),
            Step::Down => fake.change(|state| state.down = true),
            Step::Up => fake.change(|state| state.down = false),
            Step::Compact => fake.change(|state| state.compacted = state.revision()),
            Step::Run(turns) => {
                for _ in 0..*turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Reads until the last write of every watched key has been told.
async fn read(fake: &Fake, receiver: &mut Receiver<DatastoreEvent>) -> Vec<DatastoreEvent> {
    let watched = |key: &Key| queries().iter().any(|q| key.path().starts_with(&q.prefix()));
    let mut wanted = fake.change(|state| state.live());
    wanted.retain(|key, _| watched(key));
    let mut seen = Vec::new();
    let (mut told, mut in_sync, mut reachable) = (BTreeMap::new(), false, true);
    while !in_sync || !reachable || told != wanted {
        let event = receiver.recv().await.expect("the watcher ends only with its receiver");
        match &event {
            DatastoreEvent::Changed(entry) => {
                told.insert(entry.key.clone(), entry.revision);
            }
            DatastoreEvent::Deleted { key, .. } => {
                assert!(told.remove(key).is_some(), "deletion of what was never told: {key}");
            }
            DatastoreEvent::InSync => in_sync = true,
            DatastoreEvent::Unreachable(_) => reachable = false,
            DatastoreEvent::Reachable => reachable = true,
        }
        seen.push(event);
    }
    seen
}

/// Key → the revisions told of it, in the order told; `true` marks a deletion.
fn by_key(events: &[DatastoreEvent]) -> BTreeMap<Key, Vec<(u64, bool)>> {
    let mut by_key: BTreeMap<Key, Vec<(u64, bool)>> = BTreeMap::new();
    for event in events {
        match event {
            DatastoreEvent::Changed(entry) => {
                by_key.entry(entry.key.clone()).or_default().push((entry.revision.0, false));
            }
            DatastoreEvent::Deleted { key, revision } => {
                by_key.entry(key.clone()).or_default().push((revision.0, true));
            }
            _ => {}
        }
    }
    by_key
}

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the watcher is stuck")
    })
}

fn quick() -> Backoff {
    Backoff::new(Duration::from_micros(100), Duration::from_millis(2))
}

proptest! {
    /// Whatever breaks: the consumer ends with the datastore's state, sees every key's revisions
    /// grow, and where nothing was compacted it misses no write.
    #[test]
    fn the_consumer_ends_where_the_datastore_is(script in steps(), progress: bool) {
        let fake = Fake::default();
        fake.change(|state| state.progress = progress);
        let events = run(async {
            let mut receiver = start(Arc::new(fake.clone()), queries(), quick());
            play(&fake, &script).await;
            // Every watched key is written once more, so that the end can be seen.
            let last: Vec<Step> = (0..6).map(Step::Put).collect();
            fake.change(|state| state.down = false);
            play(&fake, &last).await;
            read(&fake, &mut receiver).await
        });

        let syncs = events.iter().filter(|event| **event == DatastoreEvent::InSync).count();
        prop_assert_eq!(syncs, 1);
        let mut reachable = true;
        for event in &events {
            match event {
                DatastoreEvent::Unreachable(_) => prop_assert!(mem::replace(&mut reachable, false)),
                DatastoreEvent::Reachable => prop_assert!(!mem::replace(&mut reachable, true)),
                _ => {}
            }
        }
        let compacted = script.iter().any(|step| matches!(step, Step::Compact));
        let log = fake.change(|state| mem::take(&mut state.log));
        for (key, told) in by_key(&events) {
            prop_assert!(told.is_sorted_by(|one, next| one.0 < next.0), "{key}: {told:?}");
            if !compacted {
                let numbered = log.iter().enumerate();
                let written: Vec<(u64, bool)> = numbered
                    .filter(|(_, write)| write.0 == key)
                    .map(|(index, write)| (index as u64 + 1, write.1.is_none()))
                    .collect();
                prop_assert!(written.ends_with(&told), "{key}: {told:?} of {written:?}");
            }
        }
    }
}

#[test]
fn a_compaction_tells_only_the_differences() {
    let fake = Fake::default();
    run(async {
        play(&fake, &[Step::Put(0), Step::Put(1), Step::Put(2)]).await;
        let mut receiver = start(Arc::new(fake.clone()), queries(), quick());
        let first = read(&fake, &mut receiver).await;
        assert_eq!(by_key(&first).len(), 3);
        let meanwhile =
            [Step::Down, Step::Run(30), Step::Put(0), Step::Delete(1), Step::Compact, Step::Up];
        play(&fake, &meanwhile).await;
        let told = by_key(&read_to_deletion(&mut receiver).await);
        let keys = keys();
        let expected = [(keys[0].clone(), vec![(4, false)]), (keys[1].clone(), vec![(5, true)])];
        assert_eq!(told, BTreeMap::from(expected));
    });
}

#[test]
fn a_connection_that_breaks_off_is_one_failure_of_all_watches() {
    let fake = Fake::default();
    run(async {
        let keys = keys();
        let mut receiver = start(Arc::new(fake.clone()), queries(), quick());
        read(&fake, &mut receiver).await;
        let puts: Vec<Step> = (0..keys.len()).map(Step::Put).collect();
        for _ in 0..20 {
            play(&fake, &[Step::Run(30), Step::Break]).await;
            play(&fake, &puts).await;
            let told = read_to_reachable(&mut receiver, keys.len() - 1).await;
            let failures = told.iter().filter(|e| matches!(e, DatastoreEvent::Unreachable(_)));
            assert_eq!(failures.count(), 1, "{told:?}");
        }
    });
}

/// Reads until the datastore is reachable again and so many changes have been told.
async fn read_to_reachable(
    receiver: &mut Receiver<DatastoreEvent>,
    changes: usize,
) -> Vec<DatastoreEvent> {
    let (mut seen, mut changed, mut reachable) = (Vec::new(), 0, false);
    while changed < changes || !reachable {
        let event = receiver.recv().await.expect("the watcher ends only with its receiver");
        match event {
            DatastoreEvent::Changed(_) => changed += 1,
            DatastoreEvent::Reachable => reachable = true,
            DatastoreEvent::Unreachable(_) => reachable = false,
            _ => {}
        }
        seen.push(event);
    }
    seen
}

/// Reads up to a deletion, which a list tells last.
async fn read_to_deletion(receiver: &mut Receiver<DatastoreEvent>) -> Vec<DatastoreEvent> {
    let mut seen = Vec::new();
    loop {
        let event = receiver.recv().await.expect("the watcher ends only with its receiver");
        let last = matches!(event, DatastoreEvent::Deleted { .. });
        seen.push(event);
        if last {
            return seen;
        }
    }
}

#[test]
fn a_watcher_ends_with_its_receiver() {
    let fake = Fake::default();
    run(async {
        let datastore: Arc<dyn Datastore> = Arc::new(fake.clone());
        let mut receiver = start(datastore.clone(), queries(), quick());
        assert_eq!(receiver.recv().await, Some(DatastoreEvent::InSync));
        drop(receiver);
        while Arc::strong_count(&datastore) > 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn covered_queries_are_dropped() {
    let kept = distinct(queries());
    assert_eq!(kept.len(), 4);
    assert!(kept.contains(&Query::Affinities { kind: AffinityKind::Host, host: None }));
}

/// A server that has just started serves some collections later than others.
#[test]
fn a_query_that_cannot_be_served_yet_does_not_hold_up_the_others() {
    let fake = Fake::default();
    let (pool, node) = (Key::cluster(Kind::IpPool, "a"), Key::cluster(Kind::Node, "worker-1"));
    let put = |key: &Key| fake.change(|state| state.write(key.clone(), Some(b"{}".to_vec())));
    run(async {
        let mut receiver = start(Arc::new(fake.clone()), queries(), quick());
        put(&pool);
        put(&node);
        read(&fake, &mut receiver).await;
        fake.change(|state| {
            state.down = true;
            state.breaks += 1;
        });
        let failure = receiver.recv().await;
        let is_failure = |event: &DatastoreEvent, said: &str| matches!(event, DatastoreEvent::Unreachable(why) if why.contains(said));
        assert!(failure.is_some_and(|event| is_failure(&event, "does not answer")));
        // It answers, and what it says is told, too.
        fake.change(|state| {
            state.down = false;
            state.busy = Some(Query::kind(Kind::Node));
        });
        put(&node);
        put(&pool);
        let failure = receiver.recv().await;
        assert!(failure.is_some_and(|event| is_failure(&event, "is not ready")));
        let is_of = |event: &DatastoreEvent, key: &Key| matches!(event, DatastoreEvent::Changed(entry) if entry.key == *key);
        let mut next = async || receiver.recv().await.expect("the watcher lives");
        loop {
            let event = next().await;
            assert!(!is_of(&event, &node) && event != DatastoreEvent::Reachable, "{event:?}");
            if is_of(&event, &pool) {
                break;
            }
        }
        fake.change(|state| state.busy = None);
        while !is_of(&next().await, &node) {}
    });
}
