//! The picture of the cluster: of each object only what the controllers look at.

use crate::{configuration, garbage, mirror};
use ipnet::IpNet;
use model::{
    AffinityKind, DatastoreEvent, HostEndpoint, HostEndpointSpec, Key, Kind,
    KubeControllersConfiguration, Value, WorkloadEndpoint, names,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// In Calico's Node: the labels that are Kubernetes', a JSON object.
pub(crate) const KUBERNETES_LABELS: &str = "projectcalico.org/kube-labels";
/// The label of host endpoints that are kube-controllers' to change.
pub(crate) const CREATED_BY: &str = "projectcalico.org/created-by";
/// Its value.
pub(crate) const CREATOR: &str = "calico-kube-controllers";
/// The interface of every pod, as its endpoint is named.
const INTERFACE: &str = "eth0";

/// Whose word an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Calico's datastore.
    Calico,
    /// Kubernetes' API, where that isn't the datastore.
    Kubernetes,
}

/// A node of Calico's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name in Kubernetes; `None`: it is none of Kubernetes'.
    pub(crate) kubernetes: Option<String>,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its annotation of the labels that are Kubernetes'.
    pub(crate) kubernetes_labels: Option<String>,
    /// What a host endpoint of it expects.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its interfaces, each with its addresses.
    pub(crate) interfaces: Vec<(String, Vec<IpAddr>)>,
}

/// A pod that is an endpoint, by namespace and endpoint's name.
pub(crate) type PodKey = (Box<str>, Box<str>);

/// What is known of a pod's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its sandbox; empty: not known.
    pub(crate) container: Box<str>,
    /// Its addresses; none before it has them, and once they are its own no more.
    pub(crate) addresses: Vec<IpAddr>,
}

/// A block of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// The node that claims it.
    pub(crate) host: Option<Box<str>>,
    /// Somebody does.
    pub(crate) is_claimed: bool,
    /// Addresses with a holder.
    pub(crate) held: Vec<Allocation>,
    /// Whether no address is held or rests.
    pub(crate) is_empty: bool,
}

/// An address with its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub(crate) address: IpAddr,
    pub(crate) handle: Option<Box<str>>,
    /// The node it is used on.
    pub(crate) node: Option<Box<str>>,
    pub(crate) holder: Holder,
    /// When it was assigned.
    pub(crate) sequence_number: Option<u64>,
}

/// What an address is held for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Pod {
        namespace: Box<str>,
        name: Box<str>,
    },
    /// A tunnel's device of its node.
    Tunnel,
    /// Windows' own addresses of each block.
    Reserved,
    /// Something that kube-controllers cannot judge.
    Other,
}

/// Whether a host is a node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// By its name in Kubernetes.
    Present(&'a str),
    Gone,
    /// It has never been one of Kubernetes'.
    Foreign,
}

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Calico's datastore is the Kubernetes API: its nodes are Kubernetes'.
    pub(crate) same: bool,
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Kubernetes' Nodes with their labels; of the names alone where they are Calico's nodes, too.
    pub(crate) kubernetes_nodes: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) pods: HashMap<PodKey, Pod>,
    pub(crate) blocks: BTreeMap<IpNet, Block>,
    /// Claims of nodes on blocks.
    pub(crate) affinities: BTreeSet<(String, IpNet)>,
    pub(crate) pools: BTreeMap<String, IpNet>,
    /// Those of kube-controllers' making.
    pub(crate) host_endpoints: BTreeMap<String, Made>,
    pub(crate) configuration: Option<KubeControllersConfiguration>,
    /// Kubernetes' objects as they are to be in etcd, and as they are there.
    pub(crate) mirror: mirror::Mirror,
}

/// A host endpoint of kube-controllers' making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) spec: HostEndpointSpec,
}

impl Cluster {
    /// Takes what a datastore tells. False: it changes nothing that anybody looks at.
    pub(crate) fn take(&mut self, source: Source, event: DatastoreEvent) -> bool {
        match event {
            DatastoreEvent::Changed(entry) => {
                let value = Value::decode(&entry).inspect_err(|why| {
                    tracing::warn!("{} cannot be read: {why}; correct or delete it", entry.key);
                });
                self.change(source, &entry.key, value.ok())
            }
            DatastoreEvent::Deleted { key, .. } => self.remove(source, &key),
            _ => true,
        }
    }

    /// `None`: it is there, and cannot be read.
    fn change(&mut self, source: Source, key: &Key, value: Option<Value>) -> bool {
        let of_kubernetes = self.same || source == Source::Kubernetes;
        match (key, value) {
            (Key::Block(cidr), Some(Value::Block(block))) => {
                put(&mut self.blocks, *cidr, Block::of(&block))
            }
            (Key::Affinity { kind: AffinityKind::Host, host, block }, _) => {
                self.affinities.insert((host.clone(), *block))
            }
            (Key::Resource { kind: Kind::Node, name, .. }, value) => {
                let node = match &value {
                    Some(Value::Node(node)) => Node::of(node),
                    _ => Node::default(),
                };
                let labels = if self.same { BTreeMap::new() } else { node.labels.clone() };
                let mut changed =
                    of_kubernetes && put(&mut self.kubernetes_nodes, name.clone(), labels);
                if source == Source::Calico {
                    changed |= put(&mut self.nodes, name.clone(), node);
                }
                changed
            }
            (Key::Resource { kind: Kind::WorkloadEndpoint, .. }, Some(value)) => {
                let Value::WorkloadEndpoint(endpoint) = value else { return false };
                let mirrored = !self.same && self.mirror.take_endpoint(source, key, &endpoint);
                let of_pod = of_kubernetes && self.take_pod(key, &endpoint);
                of_pod || mirrored
            }
            (Key::Resource { kind: Kind::IpPool, name, .. }, Some(Value::IpPool(pool))) => {
                match pool.spec.net() {
                    Ok(cidr) => put(&mut self.pools, name.clone(), cidr),
                    Err(_) => self.pools.remove(name).is_some(),
                }
            }
            (
                Key::Resource { kind: Kind::KubeControllersConfiguration, name, .. },
                Some(Value::KubeControllersConfiguration(stored)),
            ) if name == configuration::NAME => {
                self.configuration = Some(*stored);
                true
            }
            (key, Some(value)) => self.mirror.take(source, key, &value),
            (key, None) => {
                self.remove(source, key);
                true
            }
        }
    }

    fn remove(&mut self, source: Source, key: &Key) -> bool {
        let of_kubernetes = self.same || source == Source::Kubernetes;
        match key {
            Key::Block(cidr) => self.blocks.remove(cidr).is_some(),
            Key::Affinity { kind: AffinityKind::Host, host, block } => {
                self.affinities.remove(&(host.clone(), *block))
            }
            Key::Resource { kind: Kind::Node, name, .. } => {
                if of_kubernetes {
                    self.kubernetes_nodes.remove(name);
                }
                if source == Source::Calico {
                    self.nodes.remove(name);
                }
                true
            }
            Key::Resource { kind: Kind::WorkloadEndpoint, .. } => {
                self.mirror.remove(source, key);
                if of_kubernetes && let Some(key) = pod_key(key) {
                    self.pods.remove(&key);
                }
                true
            }
            Key::Resource { kind: Kind::IpPool, name, .. } => self.pools.remove(name).is_some(),
            Key::Resource { kind: Kind::KubeControllersConfiguration, name, .. } => {
                let gone = name == configuration::NAME;
                if gone {
                    self.configuration = None;
                }
                gone
            }
            key => self.mirror.remove(source, key),
        }
    }

    fn take_pod(&mut self, key: &Key, endpoint: &WorkloadEndpoint) -> bool {
        let Some(key) = pod_key(key) else { return false };
        let pod = Pod::of(endpoint);
        if self.pods.get(&key) == Some(&pod) {
            return false;
        }
        self.pods.insert(key, pod);
        true
    }

    /// Whether a host that Calico knows by a name is a node of the cluster.
    pub(crate) fn host(&self, name: &str) -> Host<'_> {
        let kubernetes = match self.nodes.get(name) {
            Some(Node { kubernetes: Some(kubernetes), .. }) => kubernetes,
            Some(_) if !self.same => return Host::Foreign,
            _ => name,
        };
        match self.kubernetes_nodes.get_key_value(kubernetes) {
            Some((kubernetes, _)) => Host::Present(kubernetes),
            None => Host::Gone,
        }
    }

    /// Calico's nodes whose Kubernetes' are gone.
    pub(crate) fn gone_nodes(&self) -> Vec<String> {
        let names = self.nodes.keys().filter(|name| self.host(name) == Host::Gone);
        names.cloned().collect()
    }

    /// The pod that an allocation is for, on a node of this name in Kubernetes.
    pub(crate) fn pod(&self, node: &str, namespace: &str, name: &str) -> Option<&Pod> {
        let endpoint = names::kubernetes_endpoint(node, name, INTERFACE);
        self.pods.get(&(namespace.into(), endpoint.into()))
    }
}

/// The key of a pod's endpoint.
pub(crate) fn endpoint_key(node: &str, namespace: &str, name: &str) -> Key {
    let endpoint = names::kubernetes_endpoint(node, name, INTERFACE);
    Key::namespaced(Kind::WorkloadEndpoint, namespace, endpoint)
}

fn pod_key(key: &Key) -> Option<PodKey> {
    let Key::Resource { namespace: Some(namespace), name, .. } = key else { return None };
    Some((namespace.as_str().into(), name.as_str().into()))
}

/// Whether it is another value than before.
fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

impl Pod {
    /// A pod by its endpoint.
    pub(crate) fn of(endpoint: &WorkloadEndpoint) -> Pod {
        let addresses = endpoint.spec.ip_networks.iter();
        Pod {
            container: endpoint.spec.container_id.as_str().into(),
            addresses: addresses.filter_map(|text| address(text)).collect(),
        }
    }
}

impl Node {
    fn of(node: &model::Node) -> Node {
        let spec = &node.spec;
        let reference = spec.orch_refs.iter().find(|one| one.orchestrator == "k8s");
        let bgp = spec.bgp.as_ref();
        let of_bgp = bgp
            .into_iter()
            .flat_map(|bgp| [&bgp.ipv4_address, &bgp.ipv6_address, &bgp.ipv4_ipip_tunnel_addr]);
        let wireguard =
            |field: &str| Some(spec.wireguard.as_ref()?.get(field)?.as_str()?.to_owned());
        let internal =
            spec.addresses.iter().filter(|one| one.kind.as_deref() == Some("InternalIP"));
        let interfaces: Vec<(String, Vec<IpAddr>)> = spec
            .interfaces
            .iter()
            .filter_map(|one| {
                let addresses = one.addresses.iter().filter_map(|text| address(text)).collect();
                Some((one.name.clone()?, addresses))
            })
            .collect();
        let texts = of_bgp
            .chain([&spec.ipv4_vxlan_tunnel_addr, &spec.ipv6_vxlan_tunnel_addr])
            .flatten()
            .cloned()
            .chain(wireguard("interfaceIPv4Address"))
            .chain(wireguard("interfaceIPv6Address"))
            .chain(internal.map(|one| one.address.clone()));
        let mut addresses = Vec::new();
        let of_interfaces = interfaces.iter().flat_map(|(_, addresses)| addresses).copied();
        for one in texts.filter_map(|text| address(&text)).chain(of_interfaces) {
            if !addresses.contains(&one) {
                addresses.push(one);
            }
        }
        Node {
            kubernetes: reference.and_then(|one| one.node_name.clone()),
            labels: node.metadata.labels.clone(),
            kubernetes_labels: node.metadata.annotations.get(KUBERNETES_LABELS).cloned(),
            addresses,
            interfaces,
        }
    }
}

impl Block {
    fn of(block: &model::Block) -> Block {
        let owner = ipam::contents::owner(block);
        let host = owner.as_deref().and_then(|owner| owner.strip_prefix("host:"));
        let held = ipam::lookup::held(block).into_iter().map(|held| {
            let attribute = |name: &str| held.attributes.get(name).map(|text| text.as_str().into());
            Allocation {
                address: held.address,
                node: attribute("node"),
                holder: garbage::holder(held.handle.as_deref(), &held.attributes),
                handle: held.handle.map(String::into_boxed_str),
                sequence_number: held.sequence_number,
            }
        });
        Block {
            host: host.map(Into::into),
            is_claimed: owner.is_some(),
            held: held.collect(),
            is_empty: block.allocations.iter().all(Option::is_none),
        }
    }
}

impl Made {
    /// A host endpoint, if it is kube-controllers' to change.
    pub(crate) fn of(endpoint: HostEndpoint) -> Option<Made> {
        let created_by = endpoint.metadata.labels.get(CREATED_BY);
        let is_ours = created_by.is_some_and(|creator| creator == CREATOR);
        let model::Metadata { labels, annotations, .. } = endpoint.metadata;
        is_ours.then_some(Made { labels, annotations, spec: endpoint.spec })
    }
}

/// An address, with or without a prefix length.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}
