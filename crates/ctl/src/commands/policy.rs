//! `calicoctl policy diff`: whose connectivity a file would change.

use crate::cli::PolicyDiff;
use crate::cluster::Cluster;
use crate::output::Format;
use crate::terminal::Terminal;
use crate::{Error, documents, grid, yaml};
use policy::connectivity::{self, Change, End, Passage};
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
    let places = then.places();
    let sides = (now.told()?, then.told()?);
    let (changes, more) = connectivity::difference(&sides.0, &sides.1, &places, diff.limit);
    let names = Names(&now);
    let text = match &diff.output {
        Format::Table { .. } => table(&names, &changes, more, diff.limit),
        Format::Json => format!("{:#}\n", value(&names, &changes, more)),
        Format::Yaml => yaml::print(&value(&names, &changes, more)),
        Format::Name | Format::CustomColumns(_) => {
            let why = "changes of connectivity are printed as ps, json or yaml";
            return Err(Error::Invalid(why.to_owned()));
        }
    };
    terminal.print(&text)
}

/// Names of ends as people know them.
struct Names<'a>(&'a Cluster);

impl Names<'_> {
    fn of(&self, end: &End) -> String {
        match end {
            End::Workload(id) => self.of_pod(id),
            End::Host(name) => format!("HostEndpoint({name})"),
            End::Net(net) => net.to_string(),
            End::Elsewhere { ipv4: true } => "elsewhere".to_owned(),
            End::Elsewhere { ipv4: false } => "elsewhere (IPv6)".to_owned(),
        }
    }

    fn of_pod(&self, id: &WorkloadId) -> String {
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
    let by = passage.decided_by().map(|decision| decision.by.to_string());
    by.unwrap_or_else(|| "no policy".to_owned())
}

fn table(names: &Names<'_>, changes: &[Change], more: bool, limit: usize) -> String {
    if changes.is_empty() {
        return "Nobody reaches more or less than before.\n".to_owned();
    }
    let headings = ["FROM", "TO", "PACKETS", "BECOME", "BY"].map(str::to_owned).to_vec();
    let row = |change: &Change| {
        let become_ = match change.after.verdict() {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
        };
        let (from, to) = (names.of(&change.from), names.of(&change.to));
        vec![from, to, change.packets.to_string(), become_.to_owned(), by(&change.after)]
    };
    let rows: Vec<Vec<String>> = [headings].into_iter().chain(changes.iter().map(row)).collect();
    let mut text = grid::bare(&rows);
    if more {
        text += &format!("There are more than {limit}; --limit shows more.\n");
    }
    text
}

fn value(names: &Names<'_>, changes: &[Change], more: bool) -> serde_json::Value {
    let change = |change: &Change| {
        json!({
            "from": names.of(&change.from),
            "to": names.of(&change.to),
            "packets": change.packets.to_string(),
            "now": {"verdict": change.before.verdict(), "by": by(&change.before)},
            "then": {"verdict": change.after.verdict(), "by": by(&change.after)},
        })
    };
    json!({"changes": changes.iter().map(change).collect::<Vec<_>>(), "more": more})
}
