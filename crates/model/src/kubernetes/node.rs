//! Nodes, whose annotations hold what Calico knows of them.

use crate::Metadata;
use serde::{Deserialize, Serialize};

/// A Node of Kubernetes'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Name, labels, and Calico's annotations.
    pub metadata: Metadata,
    /// Its pods' ranges.
    pub spec: NodeSpec,
    /// Its addresses.
    pub status: NodeStatus,
}

/// The spec of a Node of Kubernetes'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The ranges that Kubernetes' controller has given its pods.
    #[serde(rename = "podCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
}

/// The status of a Node of Kubernetes'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses and names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
}

/// An address or name of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname` …
    #[serde(rename = "type")]
    pub kind: String,
    /// The address or name.
    pub address: String,
}
