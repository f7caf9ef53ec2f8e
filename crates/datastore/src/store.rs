//! The open database, shared: many readers, one writer thread that commits in groups.
//!
//! ```text
//!  kv, lease ──submit(work)──▶ queue ──▶ writer thread: one redb commit for all that waits
//!      ◀── answer, once durable ─────────┘      └──▶ head (revision) ──▶ watch streams, lease expiry
//!  range, watch ──read(work)──▶ a snapshot
//! ```

use crate::error::Error;
use crate::file::{self, Identity, Opened};
use crate::interval::Interval;
use crate::limits::{BATCH_WRITES_MAX, CLEAR_STEP_ENTRIES_MAX, RETRY_INTERVAL, WRITE_QUEUE_MAX};
use crate::log::{CURRENT, LEASE_KEYS, LEASES, LOG, META, Position, View};
use crate::mvcc::{Changes, signed};
use crate::refused::{Failure, Refused, Trouble};
use etcd::ResponseHeader;
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// The raft term of every answer: there is one server, which was elected once.
pub(crate) const RAFT_TERM: u64 = 1;

/// Tells the one who asked, once it is known whether the commit succeeded.
type Deliver = Box<dyn FnOnce(Result<(), Refused>) + Send>;
/// Work of a request on the tables. `Err` is trouble with the file and ends the whole group; what
/// is left of it gets no tables and does nothing.
type Work = Box<dyn FnOnce(Option<&mut Changes<'_>>) -> (Deliver, Result<(), Failure>) + Send>;

/// What the writer is asked.
enum Command {
    /// To carry out a request.
    Work(Work),
    /// To give free space of the file back.
    Defragment(oneshot::Sender<Result<(), Refused>>),
    /// To close the file and end.
    Stop,
}

/// A snapshot of the tables.
pub(crate) type Snapshot =
    View<ReadOnlyTable<Position, &'static [u8]>, ReadOnlyTable<&'static [u8], Position>>;

/// What readers and the writer share.
struct Shared {
    path: PathBuf,
    /// None once stopped.
    opened: RwLock<Option<Opened>>,
    head: watch::Sender<Head>,
}

/// How far the store has come.
#[derive(Default)]
pub(crate) struct Head {
    /// The latest revision.
    pub(crate) revision: u64,
    /// The latest one before the last commit, where this is known,
    before: u64,
    /// and the keys that the commit has changed since; `None`: any.
    changed: Option<Vec<Vec<u8>>>,
}

impl Head {
    /// True if nothing of an interval has changed since the revision `next`, as far as can be told
    /// without reading the log.
    pub(crate) fn passes(&self, interval: &Interval, next: u64) -> bool {
        let Some(changed) = &self.changed else { return false };
        next > self.before && !changed.iter().any(|key| interval.contains(key))
    }
}

/// The store, for everything that serves it.
pub(crate) struct Store {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    pub(crate) identity: Identity,
}

/// The file's size, and why it cannot be written if so.
pub(crate) struct Condition {
    pub(crate) bytes: u64,
    pub(crate) trouble: Option<Trouble>,
}

impl Store {
    /// Opens the database of a directory and starts its writer.
    pub(crate) fn open(directory: &Path) -> Result<(Self, std::thread::JoinHandle<()>), Error> {
        let (path, opened, identity) = file::open(directory)?;
        let shared = Arc::new(Shared {
            path: path.clone(),
            opened: RwLock::new(Some(opened)),
            head: watch::Sender::new(Head::default()),
        });
        let revision = shared
            .read(|view| Ok(view.revision))
            .map_err(|refused| Error::Unusable { path, reason: refused.to_string() })?;
        shared.head.send_replace(Head { revision, ..Head::default() });
        let (commands, queue) = mpsc::channel(WRITE_QUEUE_MAX);
        let writer = Writer { shared: shared.clone(), queue, retried: Instant::now(), cleared: 0 };
        let thread = std::thread::Builder::new()
            .name("datastore-write".into())
            .spawn(move || writer.run())
            .map_err(|error| Error::Runtime(error.to_string()))?;
        Ok((Self { shared, commands, identity }, thread))
    }

    /// Follows the latest revision.
    pub(crate) fn head(&self) -> watch::Receiver<Head> {
        self.shared.head.subscribe()
    }

    /// How far it has come.
    pub(crate) fn latest(&self) -> watch::Ref<'_, Head> {
        self.shared.head.borrow()
    }

    /// The latest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.latest().revision
    }

    /// A complete header.
    pub(crate) fn header(&self, revision: u64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.identity.cluster_id,
            member_id: self.identity.member_id,
            revision: signed(revision),
            raft_term: RAFT_TERM,
        })
    }

    /// Completes a header that has nothing but its revision.
    pub(crate) fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.map_or_else(|| signed(self.revision()), |header| header.revision);
        *header = self.header(revision.unsigned_abs());
    }

    /// Reads from a snapshot of the latest commit.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Snapshot) -> Result<T, Failure>,
    ) -> Result<T, Refused> {
        self.shared.read(work)
    }

    /// As [`Self::read`], where it may take long enough to keep others waiting.
    pub(crate) async fn read_much<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Snapshot) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Refused> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.read(work))
            .await
            .unwrap_or(Err(Refused::Stopped))
    }

    /// All leases: id and seconds granted.
    pub(crate) fn leases(&self) -> Result<Vec<(i64, i64)>, Refused> {
        self.shared.read_table(LEASES, |table| {
            let mut leases = Vec::new();
            for entry in table.iter()? {
                let (id, ttl_seconds) = entry?;
                leases.push((id.value(), ttl_seconds.value()));
            }
            Ok(leases)
        })
    }

    /// The keys of a lease.
    pub(crate) fn lease_keys(&self, id: i64) -> Result<Vec<Vec<u8>>, Refused> {
        self.shared.read_table(LEASE_KEYS, |table| crate::mvcc::lease_keys(table, id))
    }

    /// Has the writer carry out `work`; the answer comes when it is durable.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |changes| {
            let (result, health) = match changes.map_or(Err(Refused::Stopped.into()), work) {
                Ok(value) => (Ok(value), Ok(())),
                Err(Failure::Refused(refused)) => (Err(refused), Ok(())),
                Err(failure) => (Err(Refused::Stopped), Err(failure)),
            };
            // Nobody waits any more if the client has gone: nothing to tell.
            let deliver: Deliver = Box::new(move |commit| drop(reply.send(commit.and(result))));
            (deliver, health)
        });
        self.commands.send(Command::Work(work)).await.map_err(|_| Refused::Stopped)?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// Gives free space of the file back.
    pub(crate) async fn defragment(&self) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Defragment(reply)).await.map_err(|_| Refused::Stopped)?;
        answer.await.unwrap_or(Err(Refused::Stopped))
    }

    /// How the file is.
    pub(crate) fn condition(&self) -> Condition {
        let opened = self.shared.opened.read().unwrap_or_else(PoisonError::into_inner);
        Condition {
            bytes: std::fs::metadata(&self.shared.path).map_or(0, |metadata| metadata.len()),
            trouble: opened.as_ref().and_then(|opened| opened.trouble.clone()),
        }
    }

    /// Has the writer finish what is queued and close the file.
    pub(crate) async fn stop(&self) {
        // Fails if the writer has ended already.
        drop(self.commands.send(Command::Stop).await);
    }
}

impl Shared {
    fn file(&self) -> String {
        self.path.display().to_string()
    }

    fn read<T>(&self, work: impl FnOnce(&Snapshot) -> Result<T, Failure>) -> Result<T, Refused> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = opened.as_ref() else { return Err(Refused::Stopped) };
        let read = || {
            let transaction = opened.database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let number = |name: &str| -> Result<i64, Failure> {
                Ok(ReadableTable::get(&meta, name)?.map_or(0, |value| value.value()))
            };
            work(&View {
                revision: number("revision")?.unsigned_abs(),
                compact_revision: number("compact_revision")?,
                log: transaction.open_table(LOG)?,
                current: transaction.open_table(CURRENT)?,
            })
        };
        read().map_err(|failure: Failure| failure.explain(&self.file()))
    }

    fn read_table<K: redb::Key + 'static, V: redb::Value + 'static, T>(
        &self,
        definition: redb::TableDefinition<'_, K, V>,
        work: impl FnOnce(&ReadOnlyTable<K, V>) -> Result<T, Failure>,
    ) -> Result<T, Refused> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = opened.as_ref() else { return Err(Refused::Stopped) };
        let read = || work(&opened.database.begin_read()?.open_table(definition)?);
        read().map_err(|failure: Failure| failure.explain(&self.file()))
    }
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    /// When writing was last tried again after trouble.
    retried: Instant,
    /// The compaction up to which history has been cleared away by this process.
    cleared: i64,
}

impl Writer {
    fn run(mut self) {
        let mut stop = false;
        while !stop {
            let Some(first) = self.queue.blocking_recv() else { break };
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Work(work) => batch.push(work),
                    Command::Defragment(reply) => drop(reply.send(self.defragment())),
                    Command::Stop => stop = true,
                }
                if batch.len() < BATCH_WRITES_MAX && !stop {
                    next = self.queue.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                self.carry_out(batch);
            }
            while !stop && self.clear_step() && self.queue.is_empty() {}
        }
        self.shared.opened.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Carries a group out in one commit, then tells everyone.
    fn carry_out(&mut self, batch: Vec<Work>) {
        self.try_again();
        let mut delivers = Vec::with_capacity(batch.len());
        let outcome = self.commit(|changes| {
            let mut outcome = Ok(());
            for work in batch {
                let tables = if outcome.is_ok() { Some(&mut *changes) } else { None };
                let (deliver, health) = work(tables);
                delivers.push(deliver);
                outcome = outcome.and(health);
                changes.end_request();
            }
            outcome
        });
        for deliver in delivers {
            deliver(outcome.clone());
        }
    }

    /// Clears some compacted history away. True if there is more.
    fn clear_step(&mut self) -> bool {
        let Ok(compacted) = self.shared.read(|view| Ok(view.compact_revision)) else {
            return false;
        };
        if compacted <= self.cleared {
            return false;
        }
        // Trouble has been logged; the next group of writes tries again.
        let step = self.commit(|changes| changes.clear_step(CLEAR_STEP_ENTRIES_MAX));
        if step == Ok(false) {
            self.cleared = compacted;
        }
        step.unwrap_or(false)
    }

    /// Runs `work` in a transaction and makes it durable, unless nothing was written.
    fn commit<T>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, Failure>,
    ) -> Result<T, Refused> {
        let attempt = || -> Result<(T, Option<Head>), Failure> {
            let opened = self.shared.opened.read().unwrap_or_else(PoisonError::into_inner);
            let Some(opened) = opened.as_ref() else { return Err(Refused::Stopped.into()) };
            let transaction = opened.database.begin_write()?;
            let mut changes = Changes::open(&transaction)?;
            let before = changes.revision();
            let value = work(&mut changes)?;
            if !changes.dirty {
                drop(changes);
                transaction.abort()?;
                return Ok((value, None));
            }
            if let Some(trouble) = &opened.trouble {
                return Err(Refused::Storage(trouble.clone()).into());
            }
            let head = Head { revision: changes.revision(), before, changed: changes.changed() };
            changes.finish()?;
            transaction.commit()?;
            Ok((value, Some(head).filter(|head| head.revision != before)))
        };
        match attempt() {
            Ok((value, head)) => {
                if let Some(head) = head {
                    self.shared.head.send_replace(head);
                }
                Ok(value)
            }
            Err(Failure::Refused(refused)) => Err(refused),
            Err(Failure::Redb(error)) => Err(self.degrade(&error)),
        }
    }

    /// Goes on reading the last durable state after a failed write.
    fn degrade(&self, error: &redb::Error) -> Refused {
        let trouble = Trouble::new(error, &self.shared.file());
        tracing::error!("{trouble}");
        let mut opened = self.shared.opened.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: the file is locked.
        opened.take();
        match file::open_readable(&self.shared.path, error) {
            Ok(readable) => *opened = Some(readable),
            Err(error) => tracing::error!("{error}"),
        }
        Refused::Storage(trouble)
    }

    /// After trouble, tries now and then whether the file can be written again.
    fn try_again(&mut self) {
        let opened = self.shared.opened.read().unwrap_or_else(PoisonError::into_inner);
        let sound = matches!(&*opened, Some(Opened { trouble: None, .. }));
        drop(opened);
        if sound || self.retried.elapsed() < RETRY_INTERVAL {
            return;
        }
        self.retried = Instant::now();
        let mut opened = self.shared.opened.write().unwrap_or_else(PoisonError::into_inner);
        opened.take();
        match file::open_existing(&self.shared.path) {
            Ok(again) => {
                if again.trouble.is_none() {
                    tracing::info!("{} can be written again", self.shared.file());
                }
                *opened = Some(again);
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    fn defragment(&self) -> Result<(), Refused> {
        let mut opened = self.shared.opened.write().unwrap_or_else(PoisonError::into_inner);
        match opened.as_mut() {
            None => Err(Refused::Stopped),
            Some(Opened { trouble: Some(trouble), .. }) => Err(Refused::Storage(trouble.clone())),
            Some(opened) => match opened.database.compact() {
                Ok(_) => Ok(()),
                Err(error) => Err(Failure::from(error).explain(&self.shared.file())),
            },
        }
    }
}
