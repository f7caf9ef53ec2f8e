//! What this node's BGP speaker should do, and what it has said last.

use crate::cluster::Cluster;
use crate::event::Effect;
use bgp::Configuration;
use bgp::intent::{self, configuration};
use bgp::speaker::RouteChange;
use bgp::status::SpeakerStatus;
use ipnet::IpNet;
use model::config::{NetworkingBackend, ProgramClusterRoutes};
use model::{BgpConfiguration, BgpFilter, BgpPeer, Key, Kind, Node, Value};
use plan::Learned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The resources that only the speaker needs, by name.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    nodes: BTreeMap<String, Node>,
    configurations: BTreeMap<String, BgpConfiguration>,
    peers: BTreeMap<String, BgpPeer>,
    filters: BTreeMap<String, BgpFilter>,
}

impl Resources {
    /// Takes an object as it is now, if it is one of these; whether it is.
    pub(crate) fn take(&mut self, value: &Value) -> bool {
        match value {
            Value::Node(node) => {
                self.nodes.insert(node.metadata.name.clone(), (**node).clone());
            }
            Value::BgpConfiguration(one) => {
                self.configurations.insert(one.metadata.name.clone(), (**one).clone());
            }
            Value::BgpPeer(peer) => {
                self.peers.insert(peer.metadata.name.clone(), (**peer).clone());
            }
            Value::BgpFilter(filter) => {
                self.filters.insert(filter.metadata.name.clone(), (**filter).clone());
            }
            _ => return false,
        }
        true
    }

    /// Takes note that an object is gone; whether it was one of these.
    pub(crate) fn forget(&mut self, key: &Key) -> bool {
        let Key::Resource { kind, name, .. } = key else { return false };
        match kind {
            Kind::Node => self.nodes.remove(name).is_some(),
            Kind::BgpConfiguration => self.configurations.remove(name).is_some(),
            Kind::BgpPeer => self.peers.remove(name).is_some(),
            Kind::BgpFilter => self.filters.remove(name).is_some(),
            _ => false,
        }
    }

    /// BGPConfiguration's `programClusterRoutes`, the node's own before the cluster's.
    pub(crate) fn program_cluster_routes(&self, node: &str) -> ProgramClusterRoutes {
        let said = |name: &str| {
            let spec = &self.configurations.get(name)?.spec;
            spec.program_cluster_routes.as_ref().map(|_| spec.program_cluster_routes())
        };
        let own = said(&format!("node.{node}")).or_else(|| said("default"));
        own.unwrap_or(ProgramClusterRoutes::Enabled)
    }

    /// Ranges of services' addresses: only the cluster's own BGPConfiguration says them. What is no
    /// range is left out; `bgp::intent` says so.
    pub(crate) fn service_ranges(&self) -> BTreeSet<IpNet> {
        let Some(configuration) = self.configurations.get("default") else { return <_>::default() };
        let blocks = configuration.spec.service_blocks();
        let blocks = blocks.into_iter().flat_map(|(_, blocks)| blocks);
        blocks.filter_map(|block| block.cidr.parse().ok()).map(|net: IpNet| net.trunc()).collect()
    }
}

/// The speaker as the core knows it.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    told: Option<Configuration>,
    status: Option<Box<SpeakerStatus>>,
    problems: Vec<String>,
}

impl Speaker {
    /// Tells the speaker what to do, where that has changed.
    pub(crate) fn settle(&mut self, cluster: &mut Cluster) -> Option<Effect> {
        if !cluster.take_speaker_concerned() {
            return None;
        }
        let (wanted, problems) = wanted(cluster);
        self.problems = problems;
        if wanted == self.told {
            return None;
        }
        if self.told.is_some() != wanted.is_some() {
            // Without a speaker there are no routes, and nothing to wait for: the kernel's go.
            self.status = None;
            cluster.set_learned(Learned { in_sync: wanted.is_none(), ..Learned::default() });
        }
        self.told.clone_from(&wanted);
        Some(Effect::ConfigureBgp(wanted.map(Box::new)))
    }

    /// What the speaker says of itself. Nothing where none is wanted: that is an echo.
    pub(crate) fn set_status(&mut self, status: Box<SpeakerStatus>) {
        self.status = Some(status).filter(|_| self.told.is_some());
    }

    /// The speaker's best routes have changed.
    pub(crate) fn learn(&self, changes: Vec<RouteChange>, in_sync: bool, cluster: &mut Cluster) {
        if self.told.is_none() {
            return;
        }
        let learned = cluster.learned_mut();
        learned.in_sync = in_sync;
        let is_news = |change: &RouteChange| {
            let next_hops = change.best.as_ref().map(|best| &best.next_hops);
            learned.routes.get(&change.prefix) != next_hops
        };
        if !changes.iter().any(is_news) {
            // The last plan shares the routes: to write to them is to copy and compare all of them.
            return;
        }
        let routes = Arc::make_mut(&mut learned.routes);
        for RouteChange { prefix, best } in changes {
            match best {
                Some(best) => drop(routes.insert(prefix, best.next_hops)),
                None => drop(routes.remove(&prefix)),
            }
        }
    }

    /// What it has said of itself last.
    pub(crate) fn status(&self) -> Option<SpeakerStatus> {
        self.status.as_deref().cloned()
    }

    /// What is wrong with resources that are the speaker's.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }
}

fn wanted(cluster: &Cluster) -> (Option<Configuration>, Vec<String>) {
    let topology = cluster.topology();
    if topology.settings.backend != NetworkingBackend::Bird {
        return (None, Vec::new());
    }
    let resources = cluster.speaker_resources();
    let addresses = topology.workloads.values().flat_map(|workload| &workload.addresses);
    configuration(&intent::Cluster {
        node: &topology.node,
        router_id: cluster.router_id(),
        nodes: &resources.nodes,
        configurations: &resources.configurations,
        peers: &resources.peers,
        filters: &resources.filters,
        pools: cluster.pools(),
        blocks: cluster.own_block_ranges().collect(),
        workloads: addresses.map(|net| net.addr()).collect(),
    })
}
