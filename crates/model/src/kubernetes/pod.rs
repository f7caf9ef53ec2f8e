//! Pods, as far as an endpoint is made of them.

use crate::Metadata;
use serde::{Deserialize, Serialize};

/// The annotation of a pod's first address, which the CNI plugin writes before kubelet's status has
/// it; empty once the addresses are released.
pub const POD_IP_ANNOTATION: &str = "cni.projectcalico.org/podIP";

/// The annotation of all of a pod's addresses, comma-separated.
pub const POD_IPS_ANNOTATION: &str = "cni.projectcalico.org/podIPs";

/// The annotation of the sandbox that the addresses belong to.
pub const CONTAINER_ID_ANNOTATION: &str = "cni.projectcalico.org/containerID";

/// The annotation of ranges, a JSON list, that a pod may also send from.
pub const SOURCE_PREFIXES_ANNOTATION: &str = "cni.projectcalico.org/allowedSourcePrefixes";

/// The annotation of addresses, a JSON list, that lead to the pod from outside.
pub const FLOATING_IPS_ANNOTATION: &str = "cni.projectcalico.org/floatingIPs";

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Name, namespace, labels and the annotations of CNI.
    pub metadata: Metadata,
    /// Where it runs and what its containers listen on.
    pub spec: PodSpec,
    /// Its addresses, and whether it has ended.
    pub status: PodStatus,
}

/// The spec of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is scheduled to; empty before.
    pub node_name: String,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// Its service account.
    pub service_account_name: String,
    /// Its containers.
    pub containers: Vec<Container>,
    /// Containers that run before these.
    pub init_containers: Vec<Container>,
}

/// A container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// What it says that it listens on.
    pub ports: Vec<ContainerPort>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// What rules call it; empty where it has no name.
    pub name: String,
    /// The pod's port.
    pub container_port: u16,
    /// The node's port that leads to it; 0: none.
    pub host_port: u16,
    /// The node's address that `host_port` is on; empty: all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
    /// `TCP`, `UDP` or `SCTP`; empty: TCP.
    pub protocol: String,
}

/// The status of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Its first address.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// All its addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
}

/// An address of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

impl Pod {
    /// Whether it is an endpoint: it has a node, and a network of its own.
    pub fn is_endpoint(&self) -> bool {
        !self.spec.node_name.is_empty() && !self.spec.host_network
    }

    /// Whether its addresses are no longer its own: it has ended, or CNI has released them.
    pub fn is_finished(&self) -> bool {
        let released =
            || self.metadata.annotations.get(POD_IP_ANNOTATION).is_some_and(String::is_empty);
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
            || (self.metadata.deletion_timestamp.is_some() && released())
    }
}
