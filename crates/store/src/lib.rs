//! The datastore as one trait, and its drivers.
//!
//! ```text
//!  agent, ctl, cni ──▶ dyn Datastore ──▶ etcd driver ──▶ etcd, or our own `calico datastore`
//!                        │           └─▶ kubernetes driver ──▶ a cluster's API server
//!                        └─▶ watcher: snapshot, then deltas, through every reconnect
//! ```
//!
//! Owns: connections (addresses, TLS, users), the meaning of create/update/delete as
//! compare-and-swap, snapshot-then-delta watches that resume without gap or duplicate, back-off.
//!
//! Must not know: what the resources mean to Felix, BGP or the kernel.

mod etcd;
pub mod kubernetes;
pub mod settings;
mod text;
pub mod typed;
pub mod watcher;

pub use etcd::Compactor;
pub use settings::Settings;

use model::{Entry, Key, Query, Request, Response, Revision, WorkloadEndpoint};
use std::pin::Pin;
use std::sync::Arc;

/// How often an endpoint that changes meanwhile is tried to be removed.
const REMOVE_ATTEMPTS_MAX: u32 = 20;

/// A boxed future: what makes [`Datastore`] usable as `dyn Datastore`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed stream of watch events.
pub type BoxStream<T> = Pin<Box<dyn futures_util::Stream<Item = T> + Send>>;

/// The entries of a query, all as of `revision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In key order.
    pub entries: Vec<Entry>,
    /// Watch from here to miss nothing.
    pub revision: Revision,
}

/// A change told by [`Datastore::watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is now this.
    Put(Entry),
    /// The object is gone since `Revision`.
    Delete(Key, Revision),
    /// Nothing else has changed up to `Revision`: a later watch may begin there.
    Progress(Revision),
}

impl Change {
    /// When it was.
    fn revision(&self) -> Revision {
        match self {
            Change::Put(entry) => entry.revision,
            Change::Delete(_, revision) | Change::Progress(revision) => *revision,
        }
    }
}

/// Why a datastore request failed, split by what the caller does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Create of what exists, update or delete of what has changed: read again.
    #[error("{0} was changed by somebody else meanwhile: read it again and retry")]
    Conflict(Key),
    /// Update or delete of what isn't there.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// The watched revision is compacted away: list again.
    #[error("revision {0} is compacted away")]
    Compacted(Revision),
    /// Refused: credentials, permissions, read-only or full. Retrying alone doesn't help.
    #[error("datastore {endpoint} refused: {reason}")]
    Refused {
        /// The server asked.
        endpoint: String,
        /// Its reason and what to do.
        reason: String,
    },
    /// The server answers that it cannot do this now, e.g. as it has just started. Worth retrying.
    #[error("datastore {endpoint} is not ready for this: {reason}")]
    Busy {
        /// The server asked.
        endpoint: String,
        /// Its reason.
        reason: String,
    },
    /// No answer: wrong address, network, server down. Worth retrying.
    #[error("datastore {endpoint} does not answer: {reason}")]
    Unreachable {
        /// The server asked.
        endpoint: String,
        /// What was seen and what to do.
        reason: String,
    },
    /// The stored bytes are no object of this kind: somebody else wrote them.
    #[error("{key} is stored in a form that cannot be read: {reason}; correct or delete it")]
    Corrupt {
        /// The object.
        key: Key,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings cannot be used: the text names the setting and says what it takes.
    #[error("{0}")]
    Settings(String),
}

/// The datastore these settings name. Connects when first asked, so that a server that is down now
/// is [`Error::Unreachable`] of the request, and again after every break.
///
/// # Errors
/// [`Error::Settings`] when the settings cannot be used, e.g. a certificate that cannot be read.
pub async fn connect(settings: &Settings) -> Result<Arc<dyn Datastore>, Error> {
    Ok(match &settings.kubernetes {
        Some(settings) => Arc::new(kubernetes::Kubernetes::new(settings).await?),
        None => Arc::new(etcd::Etcd::new(settings)?),
    })
}

/// A datastore: atomic writes on single keys, consistent lists, resumable watches.
pub trait Datastore: Send + Sync {
    /// Reads one object.
    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Entry>, Error>>;
    /// Reads a set of objects as of one revision.
    fn list<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Listing, Error>>;
    /// Writes an object that must not exist.
    fn create<'a>(&'a self, key: &'a Key, value: Vec<u8>)
    -> BoxFuture<'a, Result<Revision, Error>>;
    /// Replaces an object that must still be at `revision`.
    fn update<'a>(
        &'a self,
        key: &'a Key,
        value: Vec<u8>,
        revision: Revision,
    ) -> BoxFuture<'a, Result<Revision, Error>>;
    /// Removes an object, which must still be at `revision` where one is given.
    fn delete<'a>(
        &'a self,
        key: &'a Key,
        revision: Option<Revision>,
    ) -> BoxFuture<'a, Result<(), Error>>;
    /// Takes a container's endpoint away, if it is still that of this container; what isn't there,
    /// or is another container's by now, is none of its business.
    fn remove_endpoint<'a>(
        &'a self,
        key: &'a Key,
        container_id: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for _ in 0..REMOVE_ATTEMPTS_MAX {
                let Some(entry) = self.get(key).await? else { return Ok(()) };
                let stored = WorkloadEndpoint::from_stored(&entry.value, entry.revision);
                if stored.is_ok_and(|endpoint| endpoint.spec.container_id != container_id) {
                    return Ok(());
                }
                match self.delete(key, Some(entry.revision)).await {
                    Err(Error::Conflict(_)) => {}
                    Err(Error::NotFound(_)) => return Ok(()),
                    other => return other,
                }
            }
            Err(Error::Conflict(key.clone()))
        })
    }
    /// Tells every change after `after` in order; ends with an error when the connection is lost.
    fn watch<'a>(
        &'a self,
        query: &'a Query,
        after: Revision,
    ) -> BoxFuture<'a, Result<BoxStream<Result<Change, Error>>, Error>>;
}

/// Carries out one request of a protocol (see [`model::request`]).
pub async fn execute(datastore: &dyn Datastore, request: Request) -> Response {
    use model::Failure;
    let failed = |error: Error| {
        Response::Failed(match error {
            Error::Conflict(_) => Failure::Conflict,
            Error::NotFound(_) => Failure::NotFound,
            other => Failure::Unavailable(other.to_string()),
        })
    };
    match request {
        Request::Get(key) => datastore.get(&key).await.map_or_else(failed, Response::Entry),
        Request::List(query) => {
            datastore.list(&query).await.map_or_else(failed, |l| Response::Entries(l.entries))
        }
        Request::Create { key, value } => {
            datastore.create(&key, value).await.map_or_else(failed, Response::Written)
        }
        Request::Update { key, value, revision } => {
            datastore.update(&key, value, revision).await.map_or_else(failed, Response::Written)
        }
        Request::Delete { key, revision } => {
            datastore.delete(&key, Some(revision)).await.map_or_else(failed, |()| Response::Deleted)
        }
    }
}

/// Carries a protocol through to its end.
pub async fn drive<P: model::Protocol>(datastore: &dyn Datastore, mut protocol: P) -> P::Output {
    let mut answer = None;
    loop {
        match protocol.step(answer.take()) {
            model::Step::Ask(request) => answer = Some(execute(datastore, request).await),
            model::Step::Done(output) => return output,
        }
    }
}

/// The addresses of a host as `/etc/hosts` and DNS say: a static executable has no NSS to ask.
///
/// # Errors
/// Nobody knows the name, or no name server answers.
pub async fn resolve(host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
    etcd::dial::resolve(host).await
}
