//! What `calico lab status` shows, as data and as tables.

use crate::topology::DEFAULT;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// A lab and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Whether `up` is through.
    pub state: LabState,
    /// Why it isn't ready, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong with the network between its nodes: `block=ipip`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Its nodes, in the topology's order.
    pub nodes: Vec<NodeStatus>,
    /// Its pods.
    pub pods: Vec<PodStatus>,
}

/// Whether `up` is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LabState {
    /// Not yet.
    Starting,
    /// All nodes were ready and all routes in.
    Ready,
    /// It gave up.
    Failed,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its addresses in the cloud.
    pub addresses: Vec<IpAddr>,
    /// Whether its first process runs.
    pub running: bool,
    /// Whether calico-node says that it is ready.
    pub ready: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often its supervised programs had to be started again.
    pub restarts: u32,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it runs.
    pub node: String,
    /// What its network gave it; empty if it isn't connected.
    pub addresses: Vec<IpAddr>,
    /// Whether its sandbox runs.
    pub running: bool,
}

impl LabState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            LabState::Starting => "starting",
            LabState::Ready => "ready",
            LabState::Failed => "failed",
        }
    }
}

impl LabStatus {
    /// The status as text for people.
    pub fn to_text(&self) -> String {
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}"));
        let waiting = self.nodes.iter().filter(|node| !node.ready).count();
        let state = match (self.state, waiting) {
            (LabState::Ready, 1..) => format!("{waiting} of {} nodes not ready", self.nodes.len()),
            (state, _) => state.as_str().to_owned(),
        };
        let mut text = format!("lab {}: {state}{}\n", self.name, reason.unwrap_or_default());
        if !self.faults.is_empty() {
            text += &format!("faults: {}\n", self.faults.join(", "));
        }
        text.push('\n');
        let nodes = self.nodes.iter().map(|node| {
            let state = match (&node.reason, node.running, node.ready) {
                (_, false, _) => "off".to_owned(),
                (_, true, true) => "ready".to_owned(),
                (Some(reason), true, false) => reason.clone(),
                (None, true, false) => "not ready".to_owned(),
            };
            let restarts = node.restarts.to_string();
            vec![node.name.clone(), join(&node.addresses), restarts, state]
        });
        text += &table(&["NODE", "ADDRESS", "RESTARTS", "STATE"], nodes);
        text.push('\n');
        text += &self.pods_table();
        text
    }

    /// The pods, with namespaces and labels where some pod has more than the default.
    fn pods_table(&self) -> String {
        let namespaces = self.pods.iter().any(|pod| pod.namespace != DEFAULT);
        let labels = self.pods.iter().any(|pod| !pod.labels.is_empty());
        // Shown or not, by column.
        let shown = [true, namespaces, true, true, true, labels];
        let columns = |cells: [String; 6]| -> Vec<String> {
            cells.into_iter().zip(shown).filter(|(_, shown)| *shown).map(|(cell, _)| cell).collect()
        };
        let headings = ["POD", "NAMESPACE", "NODE", "ADDRESS", "STATE", "LABELS"];
        let headings = columns(headings.map(str::to_owned));
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let rows = self.pods.iter().map(|pod| {
            let state = if pod.running { "running" } else { "gone" };
            columns([
                pod.name.clone(),
                pod.namespace.clone(),
                pod.node.clone(),
                join(&pod.addresses),
                state.to_owned(),
                labels_text(&pod.labels),
            ])
        });
        table(&headings, rows)
    }

    /// The ready node with the fewest pods, and of several the first.
    pub(crate) fn emptiest_node(&self) -> Option<&str> {
        let ready = self.nodes.iter().filter(|node| node.ready);
        let pods =
            |node: &&NodeStatus| self.pods.iter().filter(|pod| pod.node == node.name).count();
        ready.min_by_key(pods).map(|node| node.name.as_str())
    }
}

/// `app=web,tier=front`.
pub(crate) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

/// Rows under headings, columns aligned, three spaces between them.
pub(crate) fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![headings.iter().map(|heading| (*heading).to_owned()).collect()];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line: &Vec<String>| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(row, "{cell:width$}   ");
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn pod(name: &str, node: &str) -> PodStatus {
        PodStatus {
            name: name.into(),
            namespace: DEFAULT.into(),
            labels: BTreeMap::new(),
            node: node.into(),
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            running: true,
        }
    }

    fn node(name: &str, running: bool) -> NodeStatus {
        let (addresses, reason) = (vec![], None);
        NodeStatus { name: name.into(), addresses, running, ready: running, reason, restarts: 0 }
    }

    #[test]
    fn namespaces_and_labels_are_shown_where_there_are_any() {
        let mut status = LabStatus {
            name: "lab".into(),
            state: LabState::Ready,
            reason: None,
            faults: vec![],
            nodes: vec![node("a", false), node("b", true), node("c", true)],
            pods: vec![pod("pod-1", "b"), pod("pod-2", "a")],
        };
        expect![[r#"
            POD     NODE   ADDRESS    STATE
            pod-1   b      10.0.0.1   running
            pod-2   a      10.0.0.1   running
        "#]]
        .assert_eq(&status.pods_table());
        assert_eq!(status.emptiest_node(), Some("c"));
        status.pods[1].namespace = "shop".into();
        status.pods[1].labels =
            [("app", "web"), ("x", "y")].map(|(k, v)| (k.into(), v.into())).into();
        expect![[r#"
            POD     NAMESPACE   NODE   ADDRESS    STATE     LABELS
            pod-1   default     b      10.0.0.1   running
            pod-2   shop        a      10.0.0.1   running   app=web,x=y
        "#]]
        .assert_eq(&status.pods_table());
    }
}
