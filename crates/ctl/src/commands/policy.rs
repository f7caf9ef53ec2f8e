//! `calicoctl policy diff`: whose connectivity a file would change.

use crate::cli::PolicyDiff;
use crate::cluster::Cluster;
use crate::output::Format;
use crate::terminal::Terminal;
use crate::{Error, documents, grid, yaml};
use policy::connectivity::{self, Change, Passage};
use policy::evaluate::Verdict;
use policy::input::WorkloadId;
use serde_json::json;
use store::Datastore;

pub(super) async fn diff(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    diff: &PolicyDiff,
) -> Result<(), Error> {
    let namespace = diff.namespace.as_deref();
    let documents = documents::read(terminal, &diff.filename, diff.recursive, namespace)?;
    if documents.is_empty() {
        return Err(Error::Invalid(format!("No resources specified in {}", diff.filename)));
    }
    let now = Cluster::read(datastore).await?;
    let then = now.with(&documents).await?;
    let (changes, more) = connectivity::difference(&now.told()?, &then.told()?, diff.limit);
    let pods = Pods(&now);
    let text = match &diff.output {
        Format::Table { .. } => table(&pods, &changes, more, diff.limit),
        Format::Json => format!("{:#}\n", value(&pods, &changes, more)),
        Format::Yaml => yaml::print(&value(&pods, &changes, more)),
        Format::Name | Format::CustomColumns(_) => {
            let why = "changes of connectivity are printed as ps, json or yaml";
            return Err(Error::Invalid(why.to_owned()));
        }
    };
    terminal.print(&text)
}

/// Names of endpoints as people know them.
struct Pods<'a>(&'a Cluster);

impl Pods<'_> {
    fn name(&self, id: &WorkloadId) -> String {
        let is_meant = |endpoint: &&model::WorkloadEndpoint| {
            *endpoint.metadata.name == *id.name
                && endpoint.metadata.namespace.as_deref() == Some(&id.namespace)
        };
        let pod = self.0.workloads().find(is_meant).map(|endpoint| endpoint.spec.pod.as_str());
        let name = pod.filter(|pod| !pod.is_empty()).unwrap_or(&id.name);
        format!("{}/{name}", id.namespace)
    }
}

fn by(passage: &Passage) -> String {
    passage.decided_by().map(|decision| decision.by.to_string()).unwrap_or_default()
}

fn table(pods: &Pods<'_>, changes: &[Change], more: bool, limit: usize) -> String {
    if changes.is_empty() {
        return "No pod reaches more or less than before.\n".to_owned();
    }
    let headings = ["FROM", "TO", "PACKETS", "BECOME", "BY"].map(str::to_owned).to_vec();
    let row = |change: &Change| {
        let become_ = match change.after.verdict() {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
        };
        let (from, to) = (pods.name(&change.from), pods.name(&change.to));
        vec![from, to, change.packets.to_string(), become_.to_owned(), by(&change.after)]
    };
    let rows: Vec<Vec<String>> = [headings].into_iter().chain(changes.iter().map(row)).collect();
    let mut text = grid::bare(&rows);
    if more {
        text += &format!("There are more than {limit}; --limit shows more.\n");
    }
    text
}

fn value(pods: &Pods<'_>, changes: &[Change], more: bool) -> serde_json::Value {
    let change = |change: &Change| {
        json!({
            "from": pods.name(&change.from),
            "to": pods.name(&change.to),
            "packets": change.packets.to_string(),
            "now": {"verdict": change.before.verdict(), "by": by(&change.before)},
            "then": {"verdict": change.after.verdict(), "by": by(&change.after)},
        })
    };
    json!({"changes": changes.iter().map(change).collect::<Vec<_>>(), "more": more})
}
