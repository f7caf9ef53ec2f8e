//! The node's picture of the cluster: what the datastore told, kept as what a plan needs.

mod blocks;
mod endpoints;
mod pods;

pub(crate) use endpoints::Endpoint;
use ipnet::IpNet;
use kernel::Mac;
use kernel::nft::Update;
use model::{
    ClusterInformation, Entry, FelixConfiguration, IpPool, IpamConfig, Key, Kind, Value,
    WorkloadEndpoint,
};
use plan::{Learned, Pool, RemoteNode, Topology};
use pods::{Namespace, pod_ranges};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::policy::Policy;
use crate::settings;
use crate::speaker;
use crate::tracked::Tracked;
use model::config::{self, Resolved};
use model::names::{self, Tunnel};

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
    /// The cluster's identity as it was told first.
    cluster_guid: Option<String>,
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
            cluster_guid: None,
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
            let step = match key {
                Key::Block(_) => blocks::BLOCK_STEP,
                _ => "write it anew with calicoctl",
            };
            format!("{key} is ignored, as it cannot be read: {why}; {step}")
        });
        let settings = self.setting_warnings.iter().cloned();
        let dropping = self.topology.facts.dropping_chains.iter().map(|chain| {
            format!(
                "chain {chain} of another program drops what no rule of its own accepts, whatever \
                 policies allow; give it rules for pods' packets, or policy accept"
            )
        });
        let problems = self.problems.values().flatten().cloned();
        let problems = problems.chain(self.other_cluster());
        unreadable
            .chain(problems)
            .chain(settings)
            .chain(dropping)
            .chain(self.policy.problems())
            .collect()
    }

    /// Another cluster's resources may have been applied over this one's.
    fn other_cluster(&self) -> Option<String> {
        let now = &self.information.as_ref()?.spec.cluster_guid;
        let first = self.cluster_guid.as_ref().filter(|first| *first != now)?;
        Some(format!(
            "ClusterInformation(default): clusterGUID is {now:?}, and was {first:?} when this agent \
             started: have another cluster's resources been applied here? Compare IPPools, blocks \
             (calicoctl ipam show --show-blocks) and BGPConfiguration, then write the GUID back or restart \
             calico-node"
        ))
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
                let problems = [problems, self.invalid(&entry.key, &value)].concat();
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
            Value::ClusterInformation(information) => {
                self.cluster_guid.get_or_insert_with(|| information.spec.cluster_guid.clone());
                self.information = Some(*information);
            }
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
            topology.address_v6 = spec.ipv6();
            topology.vxlan_address = spec.vxlan_ipv4();
            topology.ipip_address = spec.ipip_ipv4();
            self.labels = node.metadata.labels.clone();
            self.pod_ranges = pod_ranges(node);
            return;
        }
        let remote = RemoteNode {
            address: spec.ipv4().map(|net| net.addr()),
            address_v6: spec.ipv6().map(|net| net.addr()),
            vxlan_address: spec.vxlan_ipv4(),
            vxlan_mac: spec.vxlan_tunnel_mac_addr.as_ref().map(|_| Mac(spec.vxlan_mac(name))),
        };
        if self.topology.nodes.get(name) != Some(&remote) {
            self.topology.change().nodes.insert(name.clone(), remote);
        }
    }

    /// Where [`Self::endpoint_statuses`] are told; empty: nowhere.
    pub(crate) fn endpoint_status_prefix(&self) -> &str {
        &self.endpoint_status_prefix
    }

    /// `host:port` to serve metrics on, if they are to be.
    pub(crate) fn metrics_address(&self) -> Option<&str> {
        self.metrics_address.as_deref()
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

    /// What is wrong with an object that others have written past calicoctl, where nobody else tells it.
    fn invalid(&self, key: &Key, value: &Value) -> Vec<String> {
        let checked = match value {
            Value::IpPool(pool) => pool.validate(),
            Value::IpReservation(reservation) => reservation.validate(),
            Value::HostEndpoint(endpoint) => endpoint.validate(),
            Value::Block(block) => return self.damage(key, block).into_iter().collect(),
            _ => Ok(()),
        };
        let problems = checked.err().unwrap_or_default();
        problems.iter().map(|why| format!("{key} is not valid: {why}; correct it")).collect()
    }
}
