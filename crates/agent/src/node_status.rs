//! CalicoNodeStatus: resources that ask this node how it is, and its answers
//! (`calico-features.md` §1.7; Calico reference, "Calico node status").
//!
//! An answer is made at once where a resource is new or asks anew, then every
//! `updatePeriodSeconds`. It is written beside the loop: a datastore that is slow costs answers.

mod answer;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;

use model::resources::calico_node_status::CalicoNodeStatusSpec;
use model::{DatastoreEvent, Key, Kind, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Datastore, Error, typed};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Answers that wait to be written; beyond, a resource gets its next one when it is due.
const ANSWERS_MAX: usize = 16;
/// Attempts at a compare-and-swap.
const ATTEMPTS_MAX: u32 = 5;

/// Who asks this node, and when each is answered next.
pub(crate) struct Questions {
    node: String,
    asked: BTreeMap<String, Asked>,
    answers: mpsc::Sender<(String, serde_json::Value)>,
}

struct Asked {
    spec: CalicoNodeStatusSpec,
    due: Option<Instant>,
}

impl Questions {
    /// None yet. Starts the task that writes answers.
    pub(crate) fn new(datastore: Arc<dyn Datastore>, node: &str) -> Questions {
        let (answers, mut waiting) = mpsc::channel::<(String, serde_json::Value)>(ANSWERS_MAX);
        tokio::spawn(async move {
            while let Some((name, status)) = waiting.recv().await {
                if let Err(why) = write(&*datastore, &name, &status).await {
                    tracing::warn!("CalicoNodeStatus({name}) is not answered: {why}");
                }
            }
        });
        Questions { node: node.to_owned(), asked: BTreeMap::new(), answers }
    }

    /// Takes note of what the datastore tells.
    pub(crate) fn hear(&mut self, event: &DatastoreEvent) {
        match event {
            DatastoreEvent::Changed(entry) if question(&entry.key).is_some() => {
                // What cannot be read is told by the core.
                let Ok(Value::CalicoNodeStatus(resource)) = Value::decode(entry) else { return };
                let (name, spec) = (resource.metadata.name, resource.spec);
                if spec.node != self.node {
                    self.asked.remove(&name);
                } else if self.asked.get(&name).is_none_or(|asked| asked.spec != spec) {
                    self.asked.insert(name, Asked { spec, due: Some(Instant::now()) });
                }
            }
            DatastoreEvent::Deleted { key, .. } => {
                if let Some(name) = question(key) {
                    self.asked.remove(name);
                }
            }
            _ => {}
        }
    }

    /// When the next answer is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.asked.values().filter_map(|asked| asked.due).min()
    }

    /// Gives the answers that are due.
    pub(crate) fn answer(&mut self, answer: &Answer<'_>) {
        let now = Instant::now();
        for (name, asked) in &mut self.asked {
            if asked.due.is_none_or(|due| due > now) {
                continue;
            }
            let period = u64::from(asked.spec.update_period_seconds.unwrap_or_default());
            asked.due = (period > 0).then(|| now + Duration::from_secs(period));
            let status = answer.to(&asked.spec.classes);
            if self.answers.try_send((name.clone(), status)).is_err() {
                tracing::warn!("CalicoNodeStatus({name}) gets no answer: the datastore is slow");
            }
        }
    }
}

/// The name of the CalicoNodeStatus, if it is one.
fn question(key: &Key) -> Option<&str> {
    match key {
        Key::Resource { kind: Kind::CalicoNodeStatus, name, .. } => Some(name),
        _ => None,
    }
}

/// Writes `status`, and nothing else, to the resource as it is now; not to one that is gone.
async fn write(
    datastore: &dyn Datastore,
    name: &str,
    status: &serde_json::Value,
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = typed::get::<CalicoNodeStatusSpec>(datastore, None, name).await?;
        let Some(mut resource) = stored else { return Ok(()) };
        resource.status = Some(status.clone());
        match typed::update(datastore, resource).await {
            Err(Error::Conflict(_)) => {}
            Err(Error::NotFound(_)) => return Ok(()),
            written => return written.map(|_| ()),
        }
    }
    Err(Error::Conflict(Key::cluster(Kind::CalicoNodeStatus, name)))
}
