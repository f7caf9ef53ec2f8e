//! What other programs of the node ask of the agent, over its Unix socket.
//!
//! The socket is a stream at [`SOCKET`], root only. A client writes one JSON [`Request`] on one
//! line and reads one JSON [`Reply`] on one line; then the connection ends. Only an ADD that came
//! before its interface is followed by a second line, [`Request::InterfaceMade`], which has no reply
//! of its own; a client that goes away before that has given its ADD up. Other nodes' agents say the
//! same over TCP with mutual TLS, but may only ask what changes nothing ([`Request::is_read_only`]).

use ipnet::IpNet;
use model::{Key, Kind, WorkloadEndpointPort, names};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where the agent listens.
pub const SOCKET: &str = "/var/run/calico/agent.sock";

/// Where DEL leaves, as the JSON of [`DeleteWorkload`], what it could not tell an agent that was
/// down; the agent empties it.
pub const SPOOL: &str = "/var/lib/calico/cni-spool";

/// The orchestrator of pods.
pub(crate) const KUBERNETES: &str = "k8s";

/// A question or order to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// CNI ADD. Answered when traffic is allowed and routed.
    AddWorkload(Box<AddWorkload>),
    /// The veth pair of the ADD on the same connection is there, both ends up.
    InterfaceMade(WorkloadId),
    /// CNI DEL. Succeeds also for what isn't there.
    DeleteWorkload(DeleteWorkload),
    /// CNI CHECK: is this endpoint known, and routed?
    CheckWorkload(DeleteWorkload),
    /// Which ranges Kubernetes has given the node's pods; what `usePodCidr` stands for.
    PodRanges,
    /// How the node is; what `calicoctl node status` prints.
    Status,
    /// What the node does with a packet, and why; what `calicoctl explain` prints.
    Explain(policy::evaluate::Packet),
    /// The same of another node's agent; only what is read-only.
    OnNode {
        /// Which node; this one too.
        node: String,
        /// What it is asked.
        request: Box<Request>,
    },
}

impl Request {
    /// Whether it changes nothing, so that agents of other nodes may ask it. To ask on is for
    /// programs of the node itself, so that no request wanders from node to node.
    pub fn is_read_only(&self) -> bool {
        match self {
            Request::Status | Request::Explain(_) => true,
            Request::AddWorkload(_)
            | Request::InterfaceMade(_)
            | Request::DeleteWorkload(_)
            | Request::CheckWorkload(_)
            | Request::PodRanges
            | Request::OnNode { .. } => false,
        }
    }
}

/// The endpoint that CNI ADD asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddWorkload {
    /// Which endpoint.
    pub id: WorkloadId,
    /// The host's end of the veth pair, e.g. `cali4d001776093`.
    pub host_interface: String,
    /// The veth pair is still being made: [`Request::InterfaceMade`] follows. Its addresses are
    /// assigned meanwhile.
    #[serde(default)]
    pub interface_follows: bool,
    /// The container's MAC.
    pub mac: String,
    /// Where its addresses come from.
    pub addresses: AddressSource,
    /// Its labels, which policies select it by; `projectcalico.org/…` are the agent's own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its service account; a pod that names none has `default`.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Ports that policies may name.
    #[serde(default)]
    pub ports: Vec<WorkloadEndpointPort>,
    /// What of annotations the network configuration lets pods ask for.
    #[serde(default)]
    pub features: Features,
}

/// The network configuration's key `feature_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Addresses that IPAM has no part in.
    pub ip_addrs_no_ipam: bool,
    /// Addresses outside that lead to a pod.
    pub floating_ips: bool,
}

/// Where an endpoint's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressSource {
    /// The agent assigns them from Calico's blocks.
    CalicoIpam {
        /// How many IPv4 addresses: 0 or 1.
        ipv4: u8,
        /// How many IPv6 addresses: 0 or 1.
        ipv6: u8,
        /// Pools to use, by CIDR or name; empty: all that select the node.
        ipv4_pools: Vec<String>,
        /// Pools to use, by CIDR or name; empty: all that select the node.
        ipv6_pools: Vec<String>,
        /// These very addresses, instead of any.
        requested: Vec<IpAddr>,
    },
    /// Another IPAM plugin has assigned these.
    Given(Vec<IpNet>),
}

/// Names one endpoint of one container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkloadId {
    /// The CNI network's name, first part of the IPAM handle: `k8s-pod-network`.
    pub network: String,
    /// The runtime's container (sandbox) id.
    pub container_id: String,
    /// The interface inside: `eth0`.
    pub interface: String,
    /// `k8s` where CNI_ARGS name a pod, else `cni`.
    pub orchestrator: String,
    /// The pod's namespace; `default` without Kubernetes.
    pub namespace: String,
    /// The pod's name; empty without Kubernetes.
    pub pod: String,
}

impl WorkloadId {
    /// The WorkloadEndpoint's name on this node.
    pub fn endpoint_name(&self, node: &str) -> String {
        match self.orchestrator.as_str() {
            KUBERNETES => names::kubernetes_endpoint(node, &self.pod, &self.interface),
            _ => names::cni_endpoint(node, &self.container_id, &self.interface),
        }
    }

    /// The WorkloadEndpoint's key on this node.
    pub fn endpoint_key(&self, node: &str) -> Key {
        let name = self.endpoint_name(node);
        Key::namespaced(Kind::WorkloadEndpoint, self.namespace.clone(), name)
    }

    /// The IPAM handle of its addresses.
    pub fn handle(&self) -> String {
        names::container_handle(&self.network, &self.container_id)
    }

    /// Every handle its addresses may be under: the one above, and the one Calico before v3 used.
    pub fn handles(&self) -> Vec<String> {
        let older = || names::container_handle(&self.namespace, &self.pod);
        let is_pod = self.orchestrator == KUBERNETES;
        [Some(self.handle()), is_pod.then(older)].into_iter().flatten().collect()
    }
}

impl AddWorkload {
    /// What takes all of it back.
    pub fn removal(&self) -> DeleteWorkload {
        DeleteWorkload {
            id: self.id.clone(),
            host_interface: self.host_interface.clone(),
            release_addresses: matches!(self.addresses, AddressSource::CalicoIpam { .. }),
        }
    }
}

impl DeleteWorkload {
    /// The name of the file in [`SPOOL`] that holds it.
    pub fn spool_file(&self) -> String {
        format!("{}-{}.json", self.id.container_id, self.id.interface)
    }
}

/// The endpoint that CNI DEL or CHECK speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteWorkload {
    /// Which endpoint.
    pub id: WorkloadId,
    /// The host's end of its veth pair.
    pub host_interface: String,
    /// Release its addresses (false where another IPAM plugin holds them).
    pub release_addresses: bool,
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// ADD succeeded.
    Added {
        /// Its addresses, each `/32` or `/128`.
        addresses: Vec<IpNet>,
        /// The MAC that the container's interface is to have in place of its own.
        #[serde(default)]
        mac: Option<String>,
    },
    /// The ranges of the node's pods, one of each family at most.
    PodRanges(Vec<IpNet>),
    /// DEL or CHECK succeeded.
    Done,
    /// The node's status.
    Status(Box<crate::status::NodeStatus>),
    /// What the node does with the packet.
    Explained(Box<crate::explain::Explanation>),
    /// Not done.
    Failed {
        /// Worth trying again later (CNI error code 11).
        retry: bool,
        /// The object, the likely cause and the next step.
        message: String,
    },
}

impl Reply {
    /// Not done, and no better later.
    pub fn refused(message: String) -> Reply {
        Reply::Failed { retry: false, message }
    }
}
