//! The node's picture of the cluster: what the datastore told, kept as what a plan needs.

use ipam::contents;
use ipnet::IpNet;
use kernel::Mac;
use kernel::nft::Update;
use model::kubernetes::cni::{Annotations, Wishes, WrongAnnotation};
use model::{
    Block, ClusterInformation, Entry, FelixConfiguration, IpPool, IpamConfig, Key, Kind, Profile,
    Value, WorkloadEndpoint,
};
use plan::{Learned, Pool, RemoteNode, Topology, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::api::{KUBERNETES, WorkloadId};
use crate::endpoint_status::{self, EndpointStatus, EndpointStatuses};
use crate::policy::Policy;
use crate::settings;
use crate::speaker;
use crate::tracked::Tracked;
use model::config::{self, Resolved};
use model::names::{self, Tunnel};

/// A block of 4,096 addresses, Calico's largest for IPv4, or of so many for IPv6.
const BLOCK_BITS_MAX: u8 = 12;

/// What is known of the cluster. The topology is kept up to date with every event.
#[derive(Debug)]
pub(crate) struct Cluster {
    topology: Tracked<Topology>,
    policy: Policy,
    environment: Vec<(String, String)>,
    labels: BTreeMap<String, String>,
    pools: BTreeMap<String, IpPool>,
    felix: BTreeMap<String, FelixConfiguration>,
    own_blocks: BTreeMap<IpNet, Entry>,
    borrowed: BTreeMap<IpNet, Vec<(IpAddr, String)>>,
    speaker: speaker::Resources,
    router_id: Option<String>,
    /// Something has changed that the speaker's configuration is made of.
    speaker_concerned: bool,
    endpoints: BTreeMap<Key, Endpoint>,
    information: Option<ClusterInformation>,
    unreadable: BTreeMap<Key, String>,
    /// What of objects that are read could not be.
    problems: BTreeMap<Key, Vec<String>>,
    /// The Kubernetes API is the datastore: pods are told before their CNI ADD.
    kubernetes: bool,
    /// This node's pods as Kubernetes tells them, by the keys of their endpoints.
    pods: BTreeMap<Key, Box<WorkloadEndpoint>>,
    /// Namespaces by name.
    namespaces: BTreeMap<String, Namespace>,
    /// The ranges that Kubernetes has given this node's pods.
    pod_ranges: Vec<IpNet>,
    /// Ranges that nobody is given unasked, by the reservations' names.
    reserved: BTreeMap<String, Vec<IpNet>>,
    /// The IPAM settings; `None`: not known yet, or unreadable.
    ipam_config: Option<IpamConfig>,
    setting_warnings: Vec<String>,
    endpoint_status_prefix: String,
    metrics_address: Option<String>,
    announced: BTreeSet<String>,
    /// Endpoints that this node has added and the datastore has not told yet.
    untold: BTreeSet<Key>,
}

/// A local endpoint: the datastore's, or one being added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) container_id: String,
    pub(crate) interface: String,
    pub(crate) addresses: BTreeSet<IpNet>,
    /// What other programs of the node read of it, and under which name.
    status: (String, EndpointStatus),
}

/// What CNI ADD has to know of a namespace.
#[derive(Debug, Default)]
struct Namespace {
    labels: BTreeMap<String, String>,
    annotations: Annotations,
}

impl Namespace {
    /// The namespace whose profile this is, with its name; `None`: it is no namespace's.
    fn of(profile: &Profile) -> Option<(&str, Namespace)> {
        let name = names::namespace_of_profile(&profile.metadata.name)?;
        let labels = profile.spec.namespace_labels();
        Some((name, Namespace { labels, annotations: profile.metadata.annotations.clone() }))
    }
}

impl Endpoint {
    pub(crate) fn of(endpoint: &WorkloadEndpoint) -> Endpoint {
        let spec = &endpoint.spec;
        Endpoint {
            container_id: spec.container_id.clone(),
            interface: spec.interface_name.clone(),
            addresses: spec.ip_networks.iter().filter_map(|text| text.parse().ok()).collect(),
            status: (endpoint_status::file_name(endpoint), EndpointStatus::of(spec)),
        }
    }
}

impl Cluster {
    /// Nothing known yet but the node's own name and environment.
    pub(crate) fn new(node: &str, environment: Vec<(String, String)>) -> Cluster {
        let topology = Topology { node: node.to_owned(), ..Topology::default() };
        let mut cluster = Cluster {
            topology: Tracked::new(topology),
            policy: Policy::new(node),
            environment,
            labels: BTreeMap::new(),
            pools: BTreeMap::new(),
            felix: BTreeMap::new(),
            own_blocks: BTreeMap::new(),
            borrowed: BTreeMap::new(),
            speaker: speaker::Resources::default(),
            router_id: None,
            speaker_concerned: true,
            endpoints: BTreeMap::new(),
            information: None,
            unreadable: BTreeMap::new(),
            problems: BTreeMap::new(),
            kubernetes: false,
            pods: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            pod_ranges: Vec::new(),
            reserved: BTreeMap::new(),
            ipam_config: None,
            setting_warnings: Vec::new(),
            endpoint_status_prefix: String::new(),
            metrics_address: None,
            announced: BTreeSet::new(),
            untold: BTreeSet::new(),
        };
        cluster.configure();
        cluster
    }

    /// The input of a plan.
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether it may have changed since the last call.
    pub(crate) fn take_topology_changed(&mut self) -> bool {
        self.topology.take_changed()
    }

    /// What policy says.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether an address is one of this node's own, on tunnels too.
    pub(crate) fn is_own_address(&self, address: IpAddr) -> bool {
        let tunnels = [self.topology.ipip_address, self.topology.vxlan_address];
        self.topology.facts.has_address(address)
            || tunnels.into_iter().flatten().any(|tunnel| IpAddr::V4(tunnel) == address)
    }

    /// Addresses of this node's blocks that nobody has, as far as is known: neither a workload nor a
    /// tunnel here, nor another node. Of very large blocks none.
    pub(crate) fn addresses_of_nobody(&self) -> Vec<IpAddr> {
        let small = |block: &&IpNet| block.max_prefix_len() - block.prefix_len() <= BLOCK_BITS_MAX;
        let all = self.own_blocks.keys().filter(small).flat_map(|block| addresses(*block));
        let is_free = |address: &IpAddr| {
            !self.is_own_address(*address)
                && !self.topology.borrowed.contains_key(address)
                && self.policy.workload_at(*address).is_none()
        };
        all.filter(is_free).collect()
    }

    /// What policy says, to ask it what has changed.
    pub(crate) fn policy_mut(&mut self) -> &mut Policy {
        &mut self.policy
    }

    /// What the kernel's tables lack of policy as it is known now.
    pub(crate) fn settle_policy(&mut self) -> Vec<Update> {
        self.policy.settle(&self.topology)
    }

    /// All pools by name.
    pub(crate) fn pools(&self) -> &BTreeMap<String, IpPool> {
        &self.pools
    }

    /// Ranges that nobody is given unasked.
    pub(crate) fn reserved(&self) -> Vec<IpNet> {
        self.reserved.values().flatten().copied().collect()
    }

    /// This node's labels.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The blocks this node holds, as told last.
    pub(crate) fn own_blocks(&self) -> Vec<Entry> {
        self.own_blocks.values().cloned().collect()
    }

    /// Their ranges.
    pub(crate) fn own_block_ranges(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.own_blocks.keys().copied()
    }

    /// False while a migration has the datastore locked.
    pub(crate) fn datastore_ready(&self) -> bool {
        let information = self.information.as_ref();
        information.and_then(|info| info.spec.datastore_ready).unwrap_or(true)
    }

    /// This node's name.
    pub(crate) fn node(&self) -> &str {
        &self.topology.node
    }

    /// The tunnel's address on the Node resource.
    pub(crate) fn tunnel_address(&self, tunnel: Tunnel) -> Option<Ipv4Addr> {
        match tunnel {
            Tunnel::Ipip => self.topology.ipip_address,
            Tunnel::Vxlan => self.topology.vxlan_address,
            Tunnel::VxlanV6 | Tunnel::Wireguard | Tunnel::WireguardV6 => None,
        }
    }

    /// What only the BGP speaker needs.
    pub(crate) fn speaker_resources(&self) -> &speaker::Resources {
        &self.speaker
    }

    /// CALICO_ROUTER_ID.
    pub(crate) fn router_id(&self) -> Option<&str> {
        self.router_id.as_deref()
    }

    /// Whether what the speaker's configuration is made of has changed since the last call.
    pub(crate) fn take_speaker_concerned(&mut self) -> bool {
        std::mem::take(&mut self.speaker_concerned)
    }

    /// What BGP has learned.
    pub(crate) fn set_learned(&mut self, learned: Learned) {
        self.topology.change().learned = learned;
    }

    /// What BGP has learned, to change it.
    pub(crate) fn learned_mut(&mut self) -> &mut Learned {
        &mut self.topology.change().learned
    }

    /// `bird`, `vxlan` or `none`.
    pub(crate) fn backend_name(&self) -> &'static str {
        self.topology.settings.backend.as_str()
    }

    /// What is wrong with objects and settings, each with its name.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unreadable = self.unreadable.iter().map(|(key, why)| {
            format!("{key} is ignored, as it cannot be read: {why}; write it anew with calicoctl")
        });
        let settings = self.setting_warnings.iter().cloned();
        let dropping = self.topology.facts.dropping_chains.iter().map(|chain| {
            format!(
                "chain {chain} of another program drops what no rule of its own accepts, whatever \
                 policies allow; give it rules for pods' packets, or policy accept"
            )
        });
        let problems = self.problems.values().flatten().cloned();
        unreadable
            .chain(problems)
            .chain(settings)
            .chain(dropping)
            .chain(self.policy.problems())
            .collect()
    }

    /// The kernel's side that isn't ours.
    pub(crate) fn set_facts(&mut self, mut facts: plan::Facts) {
        // Facts may have been gathered before an interface that the plugin announced was made.
        self.announced.retain(|interface| !facts.workload_links.contains(interface));
        facts.workload_links.extend(self.announced.iter().cloned());
        if self.topology.facts == facts {
            return;
        }
        let old = std::mem::replace(&mut self.topology.change().facts, facts);
        if self.topology.facts.links != old.links {
            self.configure();
        }
    }

    /// All that stood in the datastore has been told.
    pub(crate) fn all_is_told(&mut self) {
        if !self.unreadable.contains_key(&Key::IpamConfig) {
            self.ipam_config.get_or_insert_default();
        }
    }

    /// The IPAM settings, as far as they are known and can be read.
    pub(crate) fn ipam_config(&self) -> Option<&IpamConfig> {
        self.ipam_config.as_ref()
    }

    /// Takes an object as it is now.
    pub(crate) fn changed(&mut self, mut entry: Entry) {
        let problems = std::mem::take(&mut entry.problems);
        match Value::decode(&entry) {
            Ok(value) => {
                self.unreadable.remove(&entry.key);
                self.problems.remove(&entry.key);
                let is_others = matches!(
                    &value, Value::WorkloadEndpoint(other) if other.spec.node != self.topology.node
                );
                if !problems.is_empty() && !is_others {
                    self.problems.insert(entry.key.clone(), problems);
                }
                self.take(entry, value);
            }
            Err(why) => {
                let why = why.to_string();
                self.deleted(&entry.key);
                if entry.key == Key::IpamConfig {
                    self.ipam_config = None;
                }
                self.policy.take_unreadable(&entry.key, &why);
                self.unreadable.insert(entry.key, why);
            }
        }
    }

    fn take(&mut self, entry: Entry, value: Value) {
        self.speaker_concerned |= self.speaker.take(&value);
        if !matches!(value, Value::WorkloadEndpoint(_)) {
            self.policy.take(&entry.key, Some(&value));
        }
        match value {
            Value::IpPool(pool) => {
                self.pools.insert(pool.metadata.name.clone(), *pool);
                self.replan_pools();
            }
            Value::Node(node) => self.node_changed(&node),
            Value::FelixConfiguration(felix) => {
                self.felix.insert(felix.metadata.name.clone(), *felix);
                self.configure();
            }
            Value::Block(block) => self.block_changed(entry, &block),
            Value::WorkloadEndpoint(endpoint) => self.endpoint_changed(entry.key, endpoint),
            Value::ClusterInformation(information) => self.information = Some(*information),
            Value::BgpConfiguration(_) => self.configure(),
            Value::BgpFilter(_)
            | Value::BgpPeer(_)
            | Value::CalicoNodeStatus(_)
            | Value::GlobalNetworkPolicy(_)
            | Value::GlobalNetworkSet(_)
            | Value::HostEndpoint(_)
            | Value::KubeControllersConfiguration(_)
            | Value::NetworkPolicy(_)
            | Value::NetworkSet(_)
            | Value::StagedGlobalNetworkPolicy(_)
            | Value::StagedKubernetesNetworkPolicy(_)
            | Value::StagedNetworkPolicy(_)
            | Value::Tier(_)
            | Value::Affinity(_)
            | Value::EndpointSlice(_)
            | Value::Handle(_) => {}
            Value::IpReservation(reservation) => {
                let nets = reservation.spec.nets().collect();
                self.reserved.insert(reservation.metadata.name, nets);
            }
            Value::IpamConfig(config) => self.ipam_config = Some(config),
            Value::Profile(profile) => {
                if let Some((name, namespace)) = Namespace::of(&profile) {
                    self.namespaces.insert(name.to_owned(), namespace);
                }
            }
        }
    }

    /// Takes note that an object is gone.
    pub(crate) fn deleted(&mut self, key: &Key) {
        self.unreadable.remove(key);
        self.problems.remove(key);
        self.pods.remove(key);
        self.speaker_concerned |= self.speaker.forget(key);
        if !self.untold.contains(key) {
            self.policy.take(key, None);
        }
        match key {
            Key::Block(block) => self.block_deleted(*block),
            Key::Resource { kind: Kind::IpPool, name, .. } => {
                self.pools.remove(name);
                self.replan_pools();
            }
            Key::Resource { kind: Kind::Node, name, .. } => {
                if *name == self.topology.node {
                    self.labels.clear();
                    self.pod_ranges.clear();
                } else {
                    self.topology.change().nodes.remove(name);
                }
            }
            Key::Resource { kind: Kind::FelixConfiguration, name, .. } => {
                self.felix.remove(name);
                self.configure();
            }
            Key::Resource { kind: Kind::BgpConfiguration, .. } => self.configure(),
            Key::Resource { kind: Kind::WorkloadEndpoint, .. } => {
                if !self.untold.contains(key) {
                    self.endpoints.remove(key);
                    self.replan_workloads();
                }
            }
            Key::Resource { kind: Kind::IpReservation, name, .. } => {
                self.reserved.remove(name);
            }
            Key::Resource { kind: Kind::ClusterInformation, .. } => self.information = None,
            Key::Resource { kind: Kind::Profile, name, .. } => {
                if let Some(namespace) = names::namespace_of_profile(name) {
                    self.namespaces.remove(namespace);
                }
            }
            Key::IpamConfig => self.ipam_config = Some(IpamConfig::default()),
            Key::Resource { .. }
            | Key::Affinity { .. }
            | Key::EndpointSlice { .. }
            | Key::Handle(_) => {}
        }
    }

    /// Where another node is reached.
    pub(crate) fn address_of(&self, node: &str) -> Option<Ipv4Addr> {
        self.topology.nodes.get(node)?.address
    }

    fn node_changed(&mut self, node: &model::Node) {
        let (name, spec) = (&node.metadata.name, &node.spec);
        if *name == self.topology.node {
            let topology = self.topology.change();
            topology.address = spec.ipv4();
            topology.vxlan_address = spec.vxlan_ipv4();
            topology.ipip_address = spec.ipip_ipv4();
            self.labels = node.metadata.labels.clone();
            self.pod_ranges = pod_ranges(node);
            return;
        }
        let remote = RemoteNode {
            address: spec.ipv4().map(|net| net.addr()),
            vxlan_address: spec.vxlan_ipv4(),
            vxlan_mac: spec.vxlan_tunnel_mac_addr.as_ref().map(|_| Mac(spec.vxlan_mac(name))),
        };
        if self.topology.nodes.get(name) != Some(&remote) {
            self.topology.change().nodes.insert(name.clone(), remote);
        }
    }

    fn block_changed(&mut self, entry: Entry, block: &Block) {
        let cidr = block.cidr;
        let owner = contents::owner(block);
        let owner = owner.as_deref().and_then(|owner| owner.strip_prefix("host:"));
        let known = if owner == Some(self.topology.node.as_str()) {
            let known = self.own_blocks.insert(cidr, entry).is_some();
            if !known {
                // Another node's workloads may have had its addresses.
                self.policy.set_unjudged();
            }
            known
        } else {
            self.own_blocks.remove(&cidr).is_none()
        };
        self.speaker_concerned |= !known;
        self.borrowed.insert(cidr, borrowed(block, owner));
        self.borrowed.retain(|_, addresses| !addresses.is_empty());
        self.replan_borrowed();
        if self.topology.blocks.get(&cidr).map(String::as_str) == owner {
            return;
        }
        let blocks = &mut self.topology.change().blocks;
        match owner {
            Some(owner) => blocks.insert(cidr, owner.to_owned()),
            None => blocks.remove(&cidr),
        };
    }

    fn block_deleted(&mut self, block: IpNet) {
        self.speaker_concerned |= self.own_blocks.remove(&block).is_some();
        self.topology.change().blocks.remove(&block);
        self.borrowed.remove(&block);
        self.replan_borrowed();
    }

    fn endpoint_changed(&mut self, key: Key, mut endpoint: Box<WorkloadEndpoint>) {
        if endpoint.spec.node != self.topology.node {
            self.policy.take(&key, Some(&Value::WorkloadEndpoint(endpoint)));
            return;
        }
        if self.kubernetes && endpoint.spec.orchestrator == KUBERNETES {
            self.pods.insert(key.clone(), endpoint.clone());
        }
        let own = self.endpoints.get(&key);
        let own = own.filter(|own| own.container_id == endpoint.spec.container_id);
        if self.untold.contains(&key) && own.is_none() {
            return;
        }
        // Kubelet's word of a pod's addresses may still be that of its earlier container.
        let told = !endpoint.spec.ip_networks.is_empty();
        if let Some(own) = own.filter(|own| self.kubernetes && told && !own.addresses.is_empty()) {
            endpoint.spec.ip_networks = own.addresses.iter().map(ToString::to_string).collect();
        }
        self.untold.remove(&key);
        self.keep_endpoint(key, endpoint);
    }

    /// What CNI ADD has to wait for until Kubernetes has told of it: the pod, or its namespace.
    pub(crate) fn awaited(&self, id: &WorkloadId) -> Option<Key> {
        if !self.kubernetes || id.orchestrator != KUBERNETES {
            return None;
        }
        let pod = id.endpoint_key(&self.topology.node);
        let namespace = Key::cluster(Kind::Profile, names::namespace_profile(&id.namespace));
        if !self.pods.contains_key(&pod) {
            Some(pod)
        } else {
            (!self.namespaces.contains_key(&id.namespace)).then_some(namespace)
        }
    }

    /// What annotations ask of a pod's CNI ADD.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn wishes(&self, id: &WorkloadId) -> Result<Wishes, WrongAnnotation> {
        let Some(pod) = self.pod(id) else { return Ok(Wishes::default()) };
        let none = Annotations::new();
        let namespace = self.namespaces.get(&id.namespace).map(|one| &one.annotations);
        Wishes::read(&id.namespace, &id.pod, &pod.metadata.annotations, namespace.unwrap_or(&none))
    }

    /// The labels of a namespace, as far as they are known.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(namespace).map(|namespace| &namespace.labels)
    }

    /// The ranges that Kubernetes has given this node's pods.
    pub(crate) fn pod_ranges(&self) -> &[IpNet] {
        &self.pod_ranges
    }

    /// The pod as Kubernetes tells it, where that is the datastore.
    pub(crate) fn pod(&self, id: &WorkloadId) -> Option<&WorkloadEndpoint> {
        self.pods.get(&id.endpoint_key(&self.topology.node)).map(|pod| &**pod)
    }

    /// A local endpoint is to be routed, before the datastore has told of it. Until it does, what it
    /// tells under the same key is of the pod's earlier container.
    pub(crate) fn set_endpoint(&mut self, endpoint: Box<WorkloadEndpoint>) {
        let key = endpoint.key();
        self.untold.insert(key.clone());
        self.keep_endpoint(key, endpoint);
    }

    fn keep_endpoint(&mut self, key: Key, endpoint: Box<WorkloadEndpoint>) {
        let kept = Endpoint::of(&endpoint);
        self.policy.take(&key, Some(&Value::WorkloadEndpoint(endpoint)));
        self.endpoints.insert(key, kept);
        self.replan_workloads();
    }

    /// Where [`Self::endpoint_statuses`] are told; empty: nowhere.
    pub(crate) fn endpoint_status_prefix(&self) -> &str {
        &self.endpoint_status_prefix
    }

    /// `host:port` to serve metrics on, if they are to be.
    pub(crate) fn metrics_address(&self) -> Option<&str> {
        self.metrics_address.as_deref()
    }

    /// Every local endpoint whose interface is there.
    pub(crate) fn endpoint_statuses(&self) -> EndpointStatuses {
        let links = &self.topology.facts.workload_links;
        let there = self.endpoints.values().filter(|e| links.contains(&e.interface));
        there.map(|endpoint| endpoint.status.clone()).collect()
    }

    /// The interface exists: the plugin has said so, whether or not the facts have come yet.
    pub(crate) fn interface_exists(&mut self, interface: &str) {
        if !self.topology.facts.workload_links.contains(interface) {
            self.topology.change().facts.workload_links.insert(interface.to_owned());
            self.announced.insert(interface.to_owned());
        }
    }

    /// The interface is going: the plugin has said so.
    pub(crate) fn interface_gone(&mut self, interface: &str) {
        self.announced.remove(interface);
    }

    /// Whether a device is a workload's that isn't there any more, so that the next plan will be
    /// without it.
    pub(crate) fn is_gone(&self, device: &str) -> bool {
        let prefixes = &self.topology.settings.interface_prefixes;
        let is_workload = prefixes.iter().any(|prefix| device.starts_with(prefix.as_str()));
        is_workload && !self.topology.facts.workload_links.contains(device)
    }

    /// A container's endpoint is gone, whatever the datastore still says.
    pub(crate) fn remove_endpoint(&mut self, id: &WorkloadId) {
        let key = id.endpoint_key(&self.topology.node);
        if self.endpoints.get(&key).is_some_and(|e| e.container_id == id.container_id) {
            self.untold.remove(&key);
            self.endpoints.remove(&key);
            self.policy.take(&key, None);
            self.replan_workloads();
        }
    }

    /// The local endpoint of a container, if it is known.
    pub(crate) fn endpoint(&self, id: &WorkloadId) -> Option<&Endpoint> {
        let key = id.endpoint_key(&self.topology.node);
        self.endpoints.get(&key).filter(|e| e.container_id == id.container_id)
    }

    fn replan_pools(&mut self) {
        let pools = self.pools.values().filter_map(|pool| {
            Some(Pool {
                name: pool.metadata.name.clone(),
                cidr: pool.spec.cidr.parse().ok()?,
                ipip: pool.spec.ipip_mode,
                vxlan: pool.spec.vxlan_mode,
                nat_outgoing: pool.spec.nat_outgoing,
            })
        });
        self.topology.change().pools = pools.collect();
        self.speaker_concerned = true;
    }

    fn replan_borrowed(&mut self) {
        let borrowed = self.borrowed.values().flatten().cloned().collect();
        if self.topology.borrowed != borrowed {
            self.topology.change().borrowed = borrowed;
        }
    }

    fn replan_workloads(&mut self) {
        let mut workloads: BTreeMap<String, Workload> = BTreeMap::new();
        for endpoint in self.endpoints.values() {
            let workload = workloads.entry(endpoint.interface.clone()).or_default();
            workload.addresses.extend(endpoint.addresses.iter().copied());
        }
        self.topology.change().workloads = workloads;
        self.speaker_concerned = true;
    }

    fn configure(&mut self) {
        let felix: Vec<FelixConfiguration> = self.felix.values().cloned().collect();
        let environment = self.environment.iter().cloned();
        let resolved = Resolved::new(environment, &felix, &self.topology.node, &self.labels);
        let by_bgp = self.speaker.program_cluster_routes(&self.topology.node);
        let services = self.speaker.service_ranges();
        let settings = settings::plan(&resolved, by_bgp, services, &self.topology.facts);
        self.topology.change().settings = settings;
        self.router_id = resolved.get(&config::ROUTER_ID);
        self.kubernetes = resolved.get(&config::DATASTORE_TYPE) == "kubernetes";
        self.speaker_concerned = true;
        self.setting_warnings = settings::warnings(&resolved);
        self.metrics_address = settings::metrics_address(&resolved);
        self.endpoint_status_prefix = resolved.get(&config::ENDPOINT_STATUS_PATH_PREFIX);
    }
}

/// The ranges of a node's pods; what cannot be read is none.
fn pod_ranges(node: &model::Node) -> Vec<IpNet> {
    let ranges = node.status.as_ref().and_then(|status| status["podCIDRs"].as_array());
    let texts = ranges.into_iter().flatten().filter_map(|range| range.as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// All addresses of a prefix, first and last too.
fn addresses(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let subnets = net.subnets(net.max_prefix_len()).into_iter().flatten();
    subnets.map(|single| single.addr())
}

/// Addresses of a block held by another node than the one that routes the block.
fn borrowed(block: &Block, owner: Option<&str>) -> Vec<(IpAddr, String)> {
    let held = contents::in_use(block).filter_map(|(ordinal, holder)| {
        let node = holder.secondary.as_ref()?.get("node")?;
        let elsewhere = Some(node.as_str()) != owner;
        elsewhere.then(|| (contents::address_of(block, ordinal), node.clone()))
    });
    held.collect()
}
