//! What a lab consists of, as its user describes it in YAML.
//!
//! Unknown fields are refused. Everything has a default; `Topology::default()` is the network of
//! the first walkthrough: four nodes in two subnets of a cloud.

mod check;
mod defaults;
mod kubernetes;
mod pods;

pub use check::TopologyError;
pub(crate) use check::{check_name, duplicate};
pub use kubernetes::{CONTROL_PLANE, Cni, KubeProxy, Kubernetes};
pub use pods::{ContainerPort, DEFAULT, Namespace, Pod};

use defaults::{all_nodes, default_interface, default_mtu, never, prefix, yes};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A cluster to build: networks, nodes, pods and how Calico is configured on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Topology {
    /// The cloud's subnets: one bridge each, joined by one router.
    pub subnets: Vec<Subnet>,
    /// The machines that run calico-node.
    pub nodes: Vec<Node>,
    /// Namespaces of pods; those that pods are in, and `default`, need not be named.
    pub namespaces: Vec<Namespace>,
    /// Pods added when the lab comes up.
    pub pods: Vec<Pod>,
    /// The host beyond the router, which answers ping and HTTP.
    pub outside: Outside,
    /// Where the cluster's state is kept.
    pub datastore: Datastore,
    /// `CALICO_NETWORKING_BACKEND` of every node.
    pub backend: Backend,
    /// Addresses of the pool that the nodes create by themselves, as long as `pools` is empty.
    pub pod_cidr: IpNet,
    /// Prefix length of that pool's blocks; Calico's default (26) if absent.
    pub block_size: Option<u8>,
    /// How that pool's traffic crosses between nodes; if absent, IP-in-IP by backend `bird` and
    /// VXLAN by the others.
    pub encapsulation: Option<Encapsulation>,
    /// Pools applied instead of the one above.
    pub pools: Vec<Pool>,
    /// Resources applied with calicoctl before the first node starts.
    pub resources: Vec<serde_json::Value>,
    /// Environment of calico-node on every node, over what the lab sets itself.
    pub env: BTreeMap<String, String>,
    /// The CNI configuration (a `.conflist`) of every node, instead of Calico's with portmap and
    /// bandwidth.
    pub cni_config: Option<String>,
    /// Makes the nodes those of a Kubernetes cluster. What is a manifest's then is not said here:
    /// pods, namespaces, pools, resources, environment, CNI configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// One subnet of the cloud. Its router has the first address of each prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subnet {
    /// Its name.
    pub name: String,
    /// Its prefixes, IPv4 or IPv6.
    pub cidrs: Vec<IpNet>,
    /// Bytes of the largest packet.
    #[serde(default = "default_mtu")]
    pub mtu: u32,
}

/// A machine that runs calico-node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its host name and Calico node name.
    pub name: String,
    /// Its network interfaces. The default route leaves by the first.
    pub uplinks: Vec<Uplink>,
    /// Environment of its calico-node, over the topology's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its part of the pods' addresses in a Kubernetes cluster; one that is free if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
}

/// A node's network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Uplink {
    /// The interface's name on the node.
    #[serde(default = "default_interface")]
    pub interface: String,
    /// The subnet it is in.
    pub subnet: String,
    /// Its addresses, each in one of the subnet's prefixes.
    pub addresses: Vec<IpAddr>,
}

/// The host beyond the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outside {
    /// Its address with prefix length; the router has the first address of that prefix.
    pub address: IpNet,
}

/// Where the cluster's state is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Datastore {
    /// Which server.
    pub kind: DatastoreKind,
    /// The node that runs it; the first if absent.
    pub node: Option<String>,
}

/// Which server holds the cluster's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum DatastoreKind {
    /// `calico datastore`.
    #[default]
    Embedded,
    /// etcd, as installed on this machine.
    Etcd,
}

/// How nodes learn each other's routes (`CALICO_NETWORKING_BACKEND`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// From the datastore; no BGP.
    Vxlan,
    /// By BGP.
    #[default]
    Bird,
    /// Not at all.
    None,
}

impl Backend {
    /// The variable's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Backend::Vxlan => "vxlan",
            Backend::Bird => "bird",
            Backend::None => "none",
        }
    }
}

/// Modes of a pool, in Calico's words; what isn't given is `Never`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Encapsulation {
    /// `Always`, `CrossSubnet` or `Never`.
    pub ipip_mode: String,
    /// `Always`, `CrossSubnet` or `Never`.
    pub vxlan_mode: String,
}

/// An IP pool; fields as in Calico's IPPool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// Prefix length of its blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u8>,
    /// `Always`, `CrossSubnet` or `Never`.
    #[serde(default = "never")]
    pub ipip_mode: String,
    /// `Always`, `CrossSubnet` or `Never`.
    #[serde(default = "never")]
    pub vxlan_mode: String,
    /// Whether traffic that leaves all pools takes the node's address.
    #[serde(default = "yes")]
    pub nat_outgoing: bool,
    /// Nodes that may take addresses from it.
    #[serde(default = "all_nodes")]
    pub node_selector: String,
}

impl Node {
    /// The addresses of all its uplinks.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.uplinks.iter().flat_map(|uplink| uplink.addresses.iter().copied())
    }
}

impl Topology {
    /// Parses a topology and checks it; `path` is for messages.
    ///
    /// # Errors
    /// [`TopologyError`] naming the field or object, and what is wrong with it.
    pub fn parse(path: &str, text: &str) -> Result<Topology, TopologyError> {
        let syntax = |error: serde_saphyr::Error| TopologyError::Syntax {
            path: path.into(),
            reason: error.to_string(),
        };
        let topology: Topology = serde_saphyr::from_str(text).map_err(syntax)?;
        let given: serde_json::Value = serde_saphyr::from_str(text).map_err(syntax)?;
        let mut topology = topology.with_kubernetes_defaults(&given);
        topology.complete_kubernetes()?;
        topology.check()?;
        Ok(topology)
    }

    /// The node with a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The modes of the pool that the nodes create by themselves.
    pub fn default_pool_modes(&self) -> Encapsulation {
        let (always, never) = ("Always".to_owned(), never());
        self.encapsulation.clone().unwrap_or(match self.backend {
            Backend::Bird => Encapsulation { ipip_mode: always, vxlan_mode: never },
            Backend::Vxlan | Backend::None => {
                Encapsulation { ipip_mode: never, vxlan_mode: always }
            }
        })
    }

    /// The subnet with a name.
    pub fn subnet(&self, name: &str) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.name == name)
    }

    /// The node that runs the datastore.
    pub fn datastore_node(&self) -> Option<&Node> {
        match &self.datastore.node {
            Some(name) => self.node(name),
            None => self.nodes.first(),
        }
    }
}

/// A topology that shows every field.
pub const EXAMPLE: &str = include_str!("topology/example.yaml");
/// One with Kubernetes.
pub const KUBERNETES_EXAMPLE: &str = include_str!("topology/kubernetes.yaml");

/// Names of machines that every lab has.
pub const RESERVED_NAMES: [&str; 3] = ["router", "outside", "localhost"];

/// The router's address in a prefix: the first.
pub(crate) fn gateway(cidr: &IpNet) -> IpAddr {
    // hosts() of an IPv6 prefix begins with the prefix itself: the subnet-router anycast address.
    let ends_too = cidr.max_prefix_len() - cidr.prefix_len() <= 1;
    let mut hosts = cidr.hosts().filter(|address| ends_too || *address != cidr.network());
    hosts.next().unwrap_or_else(|| cidr.network())
}

#[cfg(test)]
mod tests;
