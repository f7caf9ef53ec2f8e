//! WorkloadEndpoint: one interface of one pod.

use super::rule::IpProtocol;
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use serde::{Deserialize, Serialize};

/// A WorkloadEndpoint resource.
pub type WorkloadEndpoint = Resource<WorkloadEndpointSpec>;

/// Label that says an endpoint's namespace.
pub const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// Label that says what runs an endpoint.
pub const ORCHESTRATOR_LABEL: &str = "projectcalico.org/orchestrator";

/// Label that says an endpoint's service account.
pub const SERVICE_ACCOUNT_LABEL: &str = "projectcalico.org/serviceaccount";

/// The spec of a WorkloadEndpoint (Calico reference, "Workload endpoint").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEndpointSpec {
    /// `k8s` or `cni`.
    pub orchestrator: String,
    /// Workload name where the orchestrator is not Kubernetes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// The node it runs on.
    pub node: String,
    /// The runtime's container (sandbox) id.
    #[serde(rename = "containerID", skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// Pod name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The interface's name inside, e.g. `eth0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// The pod's service account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Addresses as `/32` or `/128`.
    #[serde(rename = "ipNetworks")]
    pub ip_networks: Vec<String>,
    /// Floating addresses.
    #[serde(rename = "ipNATs", skip_serializing_if = "Vec::is_empty")]
    pub ip_nats: Vec<IpNat>,
    /// Unused by Calico's dataplane; kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_gateway: Option<String>,
    /// Unused by Calico's dataplane; kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_gateway: Option<String>,
    /// Profiles in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// The host's end of the veth pair.
    pub interface_name: String,
    /// The MAC inside.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Named ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<WorkloadEndpointPort>,
    /// Sources other than the own addresses that it may send from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_spoofed_source_prefixes: Vec<String>,
    /// Bandwidth, packet rate and connection limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_controls: Option<serde_json::Value>,
}

/// A port of a pod's container that rules may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEndpointPort {
    /// What rules call it; empty for one that only says its host port.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The pod's port.
    pub port: u16,
    /// The node's port that leads to it; 0: none.
    pub host_port: u16,
    /// The node's address that `host_port` is on; empty: all.
    #[serde(rename = "hostIP")]
    pub host_ip: String,
}

impl Default for WorkloadEndpointPort {
    fn default() -> WorkloadEndpointPort {
        let protocol = IpProtocol::Tcp;
        let (name, host_ip) = (String::new(), String::new());
        WorkloadEndpointPort { name, protocol, port: 0, host_port: 0, host_ip }
    }
}

/// A floating address and the address it stands for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpNat {
    /// The endpoint's own address.
    #[serde(rename = "internalIP")]
    pub internal_ip: String,
    /// The address outside.
    #[serde(rename = "externalIP")]
    pub external_ip: String,
}

impl Spec for WorkloadEndpointSpec {
    const KIND: Kind = Kind::WorkloadEndpoint;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::workload_endpoint::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, metadata: &mut Metadata) {
        let mut label = |key: &str, value: &str| {
            if !value.is_empty() {
                metadata.labels.insert(key.to_owned(), value.to_owned());
            }
        };
        label(ORCHESTRATOR_LABEL, &self.orchestrator);
        let account = &self.service_account_name;
        // A longer name would be no label's value.
        label(SERVICE_ACCOUNT_LABEL, if account.len() < 63 { account } else { "" });
        if let Some(namespace) = metadata.namespace.clone() {
            metadata.labels.insert(NAMESPACE_LABEL.to_owned(), namespace);
        }
    }
}
