//! A cluster's policies and endpoints as a whole, as they are or as a file would make them.

use crate::Error;
use crate::documents::Document;
use crate::resources;
use model::config::{self, Resolved};
use model::{
    Entry, FelixConfiguration, HostEndpoint, Key, Kind, Metadata, Value, WorkloadEndpoint,
};
use policy::connectivity::{Node, Places};
use policy::evaluate::Failsafe;
use policy::input::WorkloadId;
use policy::{Graph, Told, convert};
use std::collections::BTreeMap;
use std::net::IpAddr;
use store::Datastore;

/// Everything of a cluster that nodes are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    entries: BTreeMap<Key, Entry>,
    objects: BTreeMap<Key, Value>,
    /// Objects that cannot be read, and why.
    unreadable: BTreeMap<Key, String>,
}

impl Cluster {
    /// Reads all of it.
    pub(crate) async fn read(datastore: &dyn Datastore) -> Result<Cluster, Error> {
        let mut cluster = Cluster::default();
        for query in node::queries() {
            for entry in datastore.list(&query).await?.entries {
                cluster.take(entry);
            }
        }
        Ok(cluster)
    }

    fn take(&mut self, entry: Entry) {
        match Value::decode(&entry) {
            Ok(value) => {
                self.unreadable.remove(&entry.key);
                self.objects.insert(entry.key.clone(), value);
            }
            Err(why) => {
                self.objects.remove(&entry.key);
                self.unreadable.insert(entry.key.clone(), why.to_string());
            }
        }
        self.entries.insert(entry.key.clone(), entry);
    }

    /// The same after `calicoctl apply` of these documents.
    pub(crate) async fn with(&self, documents: &[Document]) -> Result<Cluster, Error> {
        let mut cluster = self.clone();
        for document in documents {
            resources::check(document).await?;
            if !convert::KINDS.contains(&document.kind) {
                return Err(Error::Invalid(format!(
                    "{} says nothing of policy; give policies, tiers, profiles, network sets or \
                     endpoints",
                    document.key()
                )));
            }
            cluster.take(resources::as_stored(document).await?);
        }
        Ok(cluster)
    }

    /// What a graph tells of all endpoints.
    pub(crate) fn told(&self) -> Result<Told, Error> {
        let mut graph = Graph::of_all_nodes();
        for (key, value) in &self.objects {
            convert::update(key, Some(value)).into_iter().for_each(|update| graph.on(update));
        }
        for (key, why) in &self.unreadable {
            convert::unreadable(key, why).into_iter().for_each(|update| graph.on(update));
        }
        let (mut told, mut failed) = (Told::default(), None);
        graph.flush(&mut |output| failed = failed.take().or(told.apply(output).err()));
        match failed {
            Some(why) => Err(Error::Other(why.to_string())),
            None => Ok(told),
        }
    }

    /// All workload endpoints.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &WorkloadEndpoint> {
        self.objects.values().filter_map(|value| match value {
            Value::WorkloadEndpoint(endpoint) => Some(&**endpoint),
            _ => None,
        })
    }

    /// All host endpoints.
    pub(crate) fn host_endpoints(&self) -> impl Iterator<Item = &HostEndpoint> {
        self.objects.values().filter_map(|value| match value {
            Value::HostEndpoint(endpoint) => Some(&**endpoint),
            _ => None,
        })
    }

    /// The addresses and prefixes of a network set: of a namespace, or else of the whole cluster.
    pub(crate) fn network_set(&self, namespace: &str, name: &str) -> Option<(Key, &[String])> {
        let of_namespace = Key::namespaced(Kind::NetworkSet, namespace, name);
        let keys = [of_namespace, Key::cluster(Kind::GlobalNetworkSet, name)];
        keys.into_iter().find_map(|key| match self.objects.get(&key)? {
            Value::NetworkSet(set) => Some((key, &*set.spec.nets)),
            Value::GlobalNetworkSet(set) => Some((key, &*set.spec.nets)),
            _ => None,
        })
    }

    /// Everything, as nodes are told it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The node that has an address as its own.
    pub(crate) fn node_with(&self, address: IpAddr) -> Option<String> {
        let mut nodes = self.nodes().map(|node| &node.metadata.name);
        nodes.find(|name| self.node_addresses(name).contains(&address)).cloned()
    }

    /// The addresses of a node, IPv4 first; none of one that is not known.
    pub(crate) fn node_addresses(&self, name: &str) -> Vec<IpAddr> {
        match self.objects.get(&Key::cluster(Kind::Node, name)) {
            Some(Value::Node(node)) => {
                let v4 = node.spec.ipv4().map(|net| IpAddr::V4(net.addr()));
                v4.into_iter().chain(node.spec.ipv6().map(|net| IpAddr::V6(net.addr()))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The addresses that a host endpoint's interface has: those it says, or else its node's.
    pub(crate) fn host_addresses(&self, endpoint: &HostEndpoint) -> Vec<IpAddr> {
        let expected = endpoint.spec.expected_ips.iter().filter_map(|text| text.parse().ok());
        let expected: Vec<IpAddr> = expected.collect();
        if expected.is_empty() { self.node_addresses(&endpoint.spec.node) } else { expected }
    }

    /// Where endpoints are.
    pub(crate) fn places(&self) -> Places {
        let mut places = Places::default();
        for node in self.nodes() {
            let name = node.metadata.name.clone();
            let addresses = self.node_addresses(&name);
            places.nodes.insert(name, Node { addresses, failsafe: Failsafe::default() });
        }
        for endpoint in self.host_endpoints() {
            let (name, node) = (&endpoint.metadata.name, &endpoint.spec.node);
            let failsafe = self.failsafe(node);
            places.nodes.entry(node.clone()).or_default().failsafe = failsafe;
            places.hosts.insert(name.clone(), (node.clone(), self.host_addresses(endpoint)));
        }
        for endpoint in self.workloads() {
            let id = workload_id(&endpoint.metadata);
            if workload_addresses(endpoint).any(|address| self.is_masqueraded(address)) {
                places.masqueraded.insert(id.clone());
            }
            places.workloads.insert(id, endpoint.spec.node.clone());
        }
        places
    }

    /// Ports of a node that stay open; its environment is not known here.
    fn failsafe(&self, node: &str) -> Failsafe {
        let felix = self.objects.values().filter_map(|value| match value {
            Value::FelixConfiguration(felix) => Some((**felix).clone()),
            _ => None,
        });
        let felix: Vec<FelixConfiguration> = felix.collect();
        let labels = match self.objects.get(&Key::cluster(Kind::Node, node)) {
            Some(Value::Node(node)) => node.metadata.labels.clone(),
            _ => BTreeMap::new(),
        };
        let resolved = Resolved::new(std::iter::empty(), &felix, node, &labels);
        Failsafe {
            inbound: resolved.get(&config::FAILSAFE_INBOUND_HOST_PORTS),
            outbound: resolved.get(&config::FAILSAFE_OUTBOUND_HOST_PORTS),
        }
    }

    /// Whether `natOutgoing` changes the source of what an address sends out of all pools.
    fn is_masqueraded(&self, address: IpAddr) -> bool {
        let pools = self.objects.values().filter_map(|value| match value {
            Value::IpPool(pool) => Some(&pool.spec),
            _ => None,
        });
        let is_in = |cidr: &str| cidr.parse().is_ok_and(|net: ipnet::IpNet| net.contains(&address));
        pools.filter(|pool| is_in(&pool.cidr)).any(|pool| pool.nat_outgoing && address.is_ipv4())
    }

    fn nodes(&self) -> impl Iterator<Item = &model::Node> {
        self.objects.values().filter_map(|value| match value {
            Value::Node(node) => Some(&**node),
            _ => None,
        })
    }
}

/// The id of an endpoint in policy.
pub(crate) fn workload_id(metadata: &Metadata) -> WorkloadId {
    let namespace = metadata.namespace.as_deref().unwrap_or_default().into();
    WorkloadId { namespace, name: metadata.name.as_str().into() }
}

/// The addresses of a workload endpoint.
pub(crate) fn workload_addresses(endpoint: &WorkloadEndpoint) -> impl Iterator<Item = IpAddr> {
    let nets = endpoint.spec.ip_networks.iter();
    nets.filter_map(|text| text.split('/').next()?.parse().ok())
}
