//! ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), the successor of AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy.

use super::LabelSelector;
use crate::Metadata;
use serde::{Deserialize, Serialize};

/// A ClusterNetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNetworkPolicy {
    /// Its name.
    pub metadata: Metadata,
    /// What it says.
    pub spec: ClusterNetworkPolicySpec,
}

/// The spec of a ClusterNetworkPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterNetworkPolicySpec {
    /// Before or after the policies of namespaces.
    pub tier: ClusterPolicyTier,
    /// From 0 to 1000; lower comes first.
    pub priority: i32,
    /// The pods it applies to.
    pub subject: ClusterPolicySubject,
    /// What happens to what comes in, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<ClusterPolicyIngressRule>,
    /// What happens to what goes out, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<ClusterPolicyEgressRule>,
}

/// Before or after the policies of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterPolicyTier {
    /// Before them.
    #[default]
    Admin,
    /// After them.
    Baseline,
}

/// The pods a policy applies to: exactly one of the fields is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPolicySubject {
    /// All pods of namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// Pods with such labels in namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NamespacedPod>,
}

/// Pods by their labels and those of their namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespacedPod {
    /// The namespaces.
    pub namespace_selector: LabelSelector,
    /// Their pods.
    pub pod_selector: LabelSelector,
}

/// What happens to what comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPolicyIngressRule {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `Accept`, `Deny` or `Pass`; a newer API may have others.
    pub action: String,
    /// From one of these.
    pub from: Vec<ClusterPolicyPeer>,
    /// By one of these; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<ClusterPolicyProtocol>,
}

/// What happens to what goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPolicyEgressRule {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `Accept`, `Deny` or `Pass`; a newer API may have others.
    pub action: String,
    /// To one of these.
    pub to: Vec<ClusterPolicyPeer>,
    /// By one of these; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<ClusterPolicyProtocol>,
}

/// The other end: exactly one of the fields is given. A peer without any is of a newer API, as are
/// `nodes` and `domainNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPolicyPeer {
    /// All pods of namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// Pods with such labels in namespaces with such labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<NamespacedPod>,
    /// Ranges of addresses; of destinations only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
}

/// A protocol: exactly one of the fields is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterPolicyProtocol {
    /// TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<DestinationPort>,
    /// UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<DestinationPort>,
    /// SCTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sctp: Option<DestinationPort>,
    /// The port that the pod calls so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub destination_named_port: String,
}

/// What a protocol's packets must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationPort {
    /// Unset: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<ClusterPolicyPort>,
}

/// A port or a range: exactly one of the fields is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterPolicyPort {
    /// One port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<i32>,
    /// Ports in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<PortRange>,
}

/// Ports in a row, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub start: i32,
    /// The last.
    pub end: i32,
}
