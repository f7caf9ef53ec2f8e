//! What this node's own writes have made of blocks and handles, so that their next change needs no
//! reading: a pod's start and end then cost the datastore's server few requests.
//!
//! Every write names the revision it replaces. What somebody else has changed since is a conflict,
//! which forgets it, so that the protocol reads it again; an operation that fails forgets all, as what it
//! could not use may be corrected meanwhile.

use model::{Entry, Key, Protocol, Request, Response, Step};
use std::collections::HashMap;
use store::Datastore;

/// Objects remembered at most: then all are forgotten. A node has a handle for each pod, and few
/// blocks.
const OBJECTS_MAX: usize = 1024;

/// Blocks and handles as this node has written them last.
#[derive(Default)]
pub(super) struct Memory {
    entries: HashMap<Key, Entry>,
}

impl Memory {
    /// Carries a protocol through, with what is remembered as the answer to reading it.
    pub(super) async fn drive<T, E, P: Protocol<Output = Result<T, E>>>(
        &mut self,
        datastore: &dyn Datastore,
        protocol: P,
    ) -> Result<T, E> {
        let outcome = self.run(datastore, protocol, true).await;
        if outcome.is_err() {
            self.entries.clear();
        }
        outcome
    }

    /// Carries a protocol through that decides by what it reads; its writes are remembered.
    pub(super) async fn follow<P: Protocol>(
        &mut self,
        datastore: &dyn Datastore,
        protocol: P,
    ) -> P::Output {
        self.run(datastore, protocol, false).await
    }

    async fn run<P: Protocol>(
        &mut self,
        datastore: &dyn Datastore,
        mut protocol: P,
        answers: bool,
    ) -> P::Output {
        let mut answer = None;
        loop {
            let request = match protocol.step(answer.take()) {
                Step::Ask(request) => request,
                Step::Done(output) => return output,
            };
            let known = match &request {
                Request::Get(key) if answers => self.entries.get(key).cloned(),
                _ => None,
            };
            answer = Some(match known {
                Some(entry) => Response::Entry(Some(entry)),
                None => self.carry_out(datastore, request).await,
            });
        }
    }

    async fn carry_out(&mut self, datastore: &dyn Datastore, request: Request) -> Response {
        let written = match &request {
            Request::Get(_) | Request::List(_) => None,
            Request::Create { key, value } | Request::Update { key, value, .. } => {
                Some((key.clone(), Some(value.clone())))
            }
            Request::Delete { key, .. } => Some((key.clone(), None)),
        };
        let response = store::execute(datastore, request).await;
        if let Some((key, value)) = written {
            self.entries.remove(&key);
            if let (Response::Written(revision), Some(value)) = (&response, value) {
                self.remember(Entry::new(key, value, *revision));
            }
        }
        response
    }

    fn remember(&mut self, entry: Entry) {
        if !matches!(entry.key, Key::Block(_) | Key::Handle(_)) {
            return;
        }
        if self.entries.len() >= OBJECTS_MAX {
            self.entries.clear();
        }
        self.entries.insert(entry.key.clone(), entry);
    }

    /// Blocks as a watch has told them, each replaced by what is remembered where that is newer.
    pub(super) fn newest(&mut self, mut told: Vec<Entry>) -> Vec<Entry> {
        for entry in &mut told {
            match self.entries.get(&entry.key) {
                Some(own) if own.revision > entry.revision => entry.clone_from(own),
                Some(_) => self.remember(entry.clone()),
                None => {}
            }
        }
        told
    }
}

#[cfg(test)]
mod tests;
