//! Kubernetes' NetworkPolicy (networking.k8s.io/v1).

use super::LabelSelector;
use crate::{Metadata, PolicyType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A NetworkPolicy of Kubernetes'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkPolicy {
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What it says.
    pub spec: NetworkPolicySpec,
}

/// The spec of Kubernetes' NetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// The pods of its namespace that it applies to; empty: all.
    pub pod_selector: LabelSelector,
    /// What may come in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<NetworkPolicyIngressRule>,
    /// What may go out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<NetworkPolicyEgressRule>,
    /// The directions it applies to; Kubernetes' API server fills them in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy_types: Vec<PolicyType>,
}

impl NetworkPolicySpec {
    /// The directions it applies to: as stated, else Ingress, and Egress where there are rules for
    /// it, as Kubernetes' API server fills in.
    pub fn types(&self) -> Vec<PolicyType> {
        match self.policy_types.as_slice() {
            [] if self.egress.is_empty() => vec![PolicyType::Ingress],
            [] => vec![PolicyType::Ingress, PolicyType::Egress],
            stated => stated.to_vec(),
        }
    }
}

/// What may come in: from one of the peers, to one of the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkPolicyIngressRule {
    /// Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
    /// Empty: from anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<NetworkPolicyPeer>,
}

/// What may go out: to one of the peers, to one of the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkPolicyEgressRule {
    /// Empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NetworkPolicyPort>,
    /// Empty: to anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<NetworkPolicyPeer>,
}

/// Ports of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyPort {
    /// `TCP`, `UDP` or `SCTP`; default TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Number or name; unset: every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NumberOrName>,
    /// The last port of a range that begins with `port`, a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_port: Option<i32>,
}

/// A number, or the name of one (Kubernetes API reference, `IntOrString`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum NumberOrName {
    /// A number.
    Number(i32),
    /// A name, or a number as text.
    Name(String),
}

impl fmt::Display for NumberOrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberOrName::Number(number) => write!(f, "{number}"),
            NumberOrName::Name(name) => f.write_str(name),
        }
    }
}

/// The other end: pods, or a range of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicyPeer {
    /// Pods with such labels, of the policy's namespace or those that `namespace_selector` selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Pods of namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Addresses; excludes the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A range of addresses with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpBlock {
    /// The range.
    pub cidr: String,
    /// Ranges of it that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}
