//! One query of a watcher: what was told of it and where to go on.

use super::{Gone, tell};
use crate::{BoxStream, Change, Datastore, Error};
use futures_util::StreamExt;
use model::{DatastoreEvent, Key, Query, Revision};
use std::collections::HashMap;
use tokio::sync::mpsc::Sender;

pub(super) struct Watched {
    query: Query,
    /// Everything up to here has been told; `None`: list first.
    after: Option<Revision>,
    /// What the consumer holds.
    told: HashMap<Key, Revision>,
    changes: Option<BoxStream<Result<Change, Error>>>,
}

impl Watched {
    pub(super) fn new(query: Query) -> Watched {
        Watched { query, after: None, told: HashMap::new(), changes: None }
    }

    /// Lists, where that is needed, and tells what differs from what was told.
    pub(super) async fn list(
        &mut self,
        datastore: &dyn Datastore,
        events: &Sender<DatastoreEvent>,
    ) -> Result<Result<(), Error>, Gone> {
        if self.after.is_some() {
            return Ok(Ok(()));
        }
        let listing = match datastore.list(&self.query).await {
            Ok(listing) => listing,
            Err(error) => return Ok(Err(error)),
        };
        let mut gone = std::mem::take(&mut self.told);
        for entry in listing.entries {
            let unchanged = gone.remove(&entry.key) == Some(entry.revision);
            self.told.insert(entry.key.clone(), entry.revision);
            if !unchanged {
                tell(events, DatastoreEvent::Changed(entry)).await?;
            }
        }
        for key in gone.into_keys() {
            // Deleted unseen, some time before the list was made.
            tell(events, DatastoreEvent::Deleted { key, revision: listing.revision }).await?;
        }
        self.after = Some(listing.revision);
        Ok(Ok(()))
    }

    /// Begins to watch, unless it is watched.
    pub(super) async fn watch(&mut self, datastore: &dyn Datastore) -> Result<(), Error> {
        if self.changes.is_some() {
            return Ok(());
        }
        let after = self.after.unwrap_or_default();
        let changes = datastore.watch(&self.query, after).await;
        self.changes = Some(changes.inspect_err(|error| self.lost(error))?);
        Ok(())
    }

    /// Whether it can be watched from somewhere.
    pub(super) fn is_listed(&self) -> bool {
        self.after.is_some()
    }

    /// The next change; after an error the query must be watched anew. Loses nothing when dropped.
    pub(super) async fn next(&mut self) -> Result<Change, Error> {
        let Some(changes) = &mut self.changes else { return std::future::pending().await };
        let ended = || Error::Unreachable {
            endpoint: self.query.prefix(),
            reason: "the watch ended without a reason".into(),
        };
        let error = match changes.next().await {
            Some(Ok(change)) => return Ok(change),
            Some(Err(error)) => error,
            None => ended(),
        };
        self.lost(&error);
        Err(error)
    }

    /// Tells a change and remembers that it was told.
    pub(super) async fn tell(
        &mut self,
        change: Change,
        events: &Sender<DatastoreEvent>,
    ) -> Result<(), Gone> {
        let event = match change {
            Change::Put(entry) => {
                self.advance(entry.revision);
                self.told.insert(entry.key.clone(), entry.revision);
                Some(DatastoreEvent::Changed(entry))
            }
            Change::Delete(key, revision) => {
                self.advance(revision);
                self.told.remove(&key).map(|_| DatastoreEvent::Deleted { key, revision })
            }
            Change::Progress(revision) => {
                self.advance(revision);
                None
            }
        };
        match event {
            Some(event) => tell(events, event).await,
            None => Ok(()),
        }
    }

    fn advance(&mut self, revision: Revision) {
        self.after = self.after.max(Some(revision));
    }

    fn lost(&mut self, error: &Error) {
        self.changes = None;
        if matches!(error, Error::Compacted(_)) {
            self.after = None;
        }
    }
}
