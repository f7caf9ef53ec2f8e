//! What a lab consists of, as its user describes it in YAML.
//!
//! Unknown fields are refused. Everything has a default; `Topology::default()` is the network of
//! the first walkthrough: four nodes in two subnets of a cloud.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A cluster to build: networks, nodes, pods and how Calico is configured on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Topology {
    /// The cloud's subnets: one bridge each, joined by one router.
    pub subnets: Vec<Subnet>,
    /// The machines that run calico-node.
    pub nodes: Vec<Node>,
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
    /// How that pool's traffic crosses between nodes.
    pub encapsulation: Encapsulation,
    /// Pools applied instead of the one above.
    pub pools: Vec<Pool>,
    /// Resources applied with calicoctl before the first node starts.
    pub resources: Vec<serde_json::Value>,
    /// Environment of calico-node on every node, over what the lab sets itself.
    pub env: BTreeMap<String, String>,
    /// The CNI configuration (a `.conflist`) of every node, instead of Calico's with portmap and
    /// bandwidth.
    pub cni_config: Option<String>,
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

/// A pod: namespaces on a node, connected by the node's CNI configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// Its name, in namespace `default`.
    pub name: String,
    /// The node it runs on.
    pub node: String,
    /// Ports of the node passed to it (by the portmap plugin).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// A port of the node that is a pod's; the runtime's words for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortMapping {
    /// Port on the node.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
    /// `tcp` or `udp`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
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
    #[default]
    Vxlan,
    /// By BGP.
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

/// Modes of a pool, in Calico's words.
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

fn default_mtu() -> u32 {
    1500
}

fn default_interface() -> String {
    "ens5".into()
}

fn default_protocol() -> String {
    "tcp".into()
}

fn never() -> String {
    "Never".into()
}

fn yes() -> bool {
    true
}

fn all_nodes() -> String {
    "all()".into()
}

impl Default for Encapsulation {
    fn default() -> Encapsulation {
        Encapsulation { ipip_mode: never(), vxlan_mode: "Always".into() }
    }
}

impl Default for Outside {
    fn default() -> Outside {
        Outside { address: prefix([198, 51, 100, 10], 24) }
    }
}

/// A prefix known to be valid when this was written.
fn prefix(address: [u8; 4], length: u8) -> IpNet {
    IpNet::new(IpAddr::from(address), length).expect("a constant length of at most 32")
}

/// Felix programs routes to other nodes' blocks, as there is no BGP.
fn cluster_routes_by_felix() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "FelixConfiguration",
        "metadata": {"name": "default"},
        "spec": {"programClusterRoutes": "Enabled"},
    })
}

impl Default for Topology {
    fn default() -> Topology {
        let subnet = |name: &str, third: u8| Subnet {
            name: name.into(),
            cidrs: vec![prefix([10, 30, third, 0], 24)],
            mtu: default_mtu(),
        };
        let node = |name: &str, subnet: &str, address: [u8; 4]| Node {
            name: name.into(),
            uplinks: vec![Uplink {
                interface: default_interface(),
                subnet: subnet.into(),
                addresses: vec![IpAddr::from(address)],
            }],
            env: BTreeMap::new(),
        };
        let pod = |number: u8| Pod {
            name: format!("pod-{number}"),
            node: format!("worker-{number}"),
            ports: Vec::new(),
        };
        Topology {
            subnets: vec![subnet("subnet-1", 0), subnet("subnet-2", 1)],
            nodes: vec![
                node("master", "subnet-1", [10, 30, 0, 136]),
                node("worker-1", "subnet-1", [10, 30, 0, 206]),
                node("worker-2", "subnet-1", [10, 30, 0, 56]),
                node("worker-3", "subnet-2", [10, 30, 1, 66]),
            ],
            pods: (1..=3).map(pod).collect(),
            outside: Outside::default(),
            datastore: Datastore::default(),
            backend: Backend::default(),
            pod_cidr: prefix([192, 168, 0, 0], 16),
            block_size: None,
            encapsulation: Encapsulation::default(),
            pools: Vec::new(),
            resources: vec![cluster_routes_by_felix()],
            env: BTreeMap::new(),
            cni_config: None,
        }
    }
}

/// Why a topology cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopologyError {
    /// The text isn't a topology.
    #[error("{path}: {reason}; see `calico lab up --help` for the fields")]
    Syntax {
        /// The file.
        path: String,
        /// The parser's message, with line and column.
        reason: String,
    },
    /// A name that cannot be a host's, or is taken.
    #[error("topology: {what} {name:?}: {reason}")]
    Name {
        /// What is named: node, pod, subnet.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that doesn't fit the others.
    #[error("topology: {0}")]
    Inconsistent(String),
}

impl Topology {
    /// Parses a topology and checks it; `path` is for messages.
    ///
    /// # Errors
    /// [`TopologyError`] naming the field or object, and what is wrong with it.
    pub fn parse(path: &str, text: &str) -> Result<Topology, TopologyError> {
        let topology: Topology = serde_saphyr::from_str(text).map_err(|error| {
            TopologyError::Syntax { path: path.into(), reason: error.to_string() }
        })?;
        topology.check()?;
        Ok(topology)
    }

    /// The node with a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
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

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// [`TopologyError`] for the first part that doesn't.
    pub fn check(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::from(RESERVED_NAMES.map(String::from));
        let mut taken = BTreeSet::from([self.outside.address.addr()]);
        if self.nodes.is_empty() {
            return Err(TopologyError::Inconsistent("no node; give at least one".into()));
        }
        let mut subnets = BTreeSet::new();
        for subnet in &self.subnets {
            check_name("subnet", &subnet.name)?;
            if !subnets.insert(&subnet.name) {
                return Err(duplicate("subnet", &subnet.name));
            }
            self.check_subnet(subnet)?;
        }
        for node in &self.nodes {
            check_name("node", &node.name)?;
            if !names.insert(node.name.clone()) {
                return Err(duplicate("node", &node.name));
            }
            self.check_uplinks(node, &mut taken)?;
        }
        for pod in &self.pods {
            check_name("pod", &pod.name)?;
            if !names.insert(pod.name.clone()) {
                return Err(duplicate("pod", &pod.name));
            }
            if self.node(&pod.node).is_none() {
                let text = format!("pod {}: no node {:?} in this topology", pod.name, pod.node);
                return Err(TopologyError::Inconsistent(text));
            }
        }
        if self.datastore_node().is_none() {
            let name = self.datastore.node.as_deref().unwrap_or_default();
            let text = format!("datastore: no node {name:?} in this topology");
            return Err(TopologyError::Inconsistent(text));
        }
        Ok(())
    }

    fn check_subnet(&self, subnet: &Subnet) -> Result<(), TopologyError> {
        if !(576..=65535).contains(&subnet.mtu) {
            let text = format!("subnet {}: mtu {} is not in 576–65535", subnet.name, subnet.mtu);
            return Err(TopologyError::Inconsistent(text));
        }
        let outside = [self.outside.address];
        let others = self.subnets.iter().filter(|other| other.name != subnet.name);
        let others = others.flat_map(|other| &other.cidrs).chain(&outside);
        for other in others {
            let clash = |cidr: &&IpNet| cidr.contains(other) || other.contains(*cidr);
            if let Some(cidr) = subnet.cidrs.iter().find(clash) {
                let text = format!("subnet {}: {cidr} overlaps {other}", subnet.name);
                return Err(TopologyError::Inconsistent(text));
            }
        }
        Ok(())
    }

    /// Checks one node's uplinks against the subnets and the addresses taken so far.
    pub(crate) fn check_uplinks(
        &self,
        node: &Node,
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<(), TopologyError> {
        let inconsistent =
            |text: String| Err(TopologyError::Inconsistent(format!("node {}: {text}", node.name)));
        if node.uplinks.iter().all(|uplink| uplink.addresses.is_empty()) {
            return inconsistent("no uplink with an address; give at least one".into());
        }
        let mut interfaces = BTreeSet::from(["lo"]);
        for uplink in &node.uplinks {
            let name = uplink.interface.as_str();
            if name.is_empty() || name.len() > 15 || name.contains(['/', ' ']) {
                return inconsistent(format!("{name:?} cannot be an interface's name"));
            }
            if !interfaces.insert(name) {
                return inconsistent(format!("two interfaces called {name:?}"));
            }
            let Some(subnet) = self.subnet(&uplink.subnet) else {
                return inconsistent(format!("no subnet {:?} in this topology", uplink.subnet));
            };
            for address in &uplink.addresses {
                let Some(cidr) = subnet.cidrs.iter().find(|cidr| cidr.contains(address)) else {
                    return inconsistent(format!("{address} is not in subnet {}", subnet.name));
                };
                if gateway(cidr) == *address {
                    return inconsistent(format!("{address} is the router's address"));
                }
                if !taken.insert(*address) {
                    return inconsistent(format!("{address} is already another's address"));
                }
            }
        }
        Ok(())
    }
}

/// A topology that shows every field.
pub const EXAMPLE: &str = include_str!("topology/example.yaml");

/// Names of machines that every lab has.
pub const RESERVED_NAMES: [&str; 3] = ["router", "outside", "localhost"];

/// The router's address in a prefix: the first.
pub(crate) fn gateway(cidr: &IpNet) -> IpAddr {
    // hosts() of an IPv6 prefix begins with the prefix itself: the subnet-router anycast address.
    let ends_too = cidr.max_prefix_len() - cidr.prefix_len() <= 1;
    let mut hosts = cidr.hosts().filter(|address| ends_too || *address != cidr.network());
    hosts.next().unwrap_or_else(|| cidr.network())
}

/// Checks a name for use as a host name (RFC 1123 label).
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), TopologyError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=63).contains(&name.len()) && name.chars().all(allowed);
    if fits && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    let reason = "a name is 1–63 of a–z, 0–9 and -, with a letter or digit at both ends".into();
    Err(TopologyError::Name { what, name: name.into(), reason })
}

pub(crate) fn duplicate(what: &'static str, name: &str) -> TopologyError {
    let reason = "is already in use; every node and pod needs a name of its own".into();
    TopologyError::Name { what, name: name.into(), reason }
}

#[cfg(test)]
mod tests;
