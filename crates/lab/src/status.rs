//! What `calico lab status` shows, as data and as tables.

use serde::{Deserialize, Serialize};
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
        let pods = self.pods.iter().map(|pod| {
            let state = if pod.running { "running" } else { "gone" };
            vec![pod.name.clone(), pod.node.clone(), join(&pod.addresses), state.into()]
        });
        text += &table(&["POD", "NODE", "ADDRESS", "STATE"], pods);
        text
    }
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
