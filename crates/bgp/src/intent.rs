//! Calico's resources into what the speaker should do: what confd and its templates did.
//!
//! ```text
//!  Node, BGPConfiguration ─▶ who am I: addresses, AS, router id, port
//!  Node, BGPPeer, BGPFilter ─▶ peers: mesh, BGPPeers, BGPPeers of others that mean this node
//!  IPPool, own blocks and addresses, service ranges ─▶ what is told to peers
//! ```
//!
//! Source: Calico's `confd/pkg/backends/calico` (`calico-features.md` §7). A resource that is wrong
//! or asks for what there isn't is left out, and said; nothing else changes by it.

mod advertised;
mod identity;
mod peers;
mod settings;

use crate::configuration::{Configuration, Listen, PORT_DEFAULT};
use identity::Identity;
use ipnet::IpNet;
use model::{BgpConfiguration, BgpConfigurationSpec, BgpFilter, BgpPeer, IpPool, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that decides what a node's speaker does.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// This node's name.
    pub node: &'a str,
    /// CALICO_ROUTER_ID: an address, or `hash`; `None`: the node's IPv4 address.
    pub router_id: Option<&'a str>,
    /// All nodes by name, this one among them.
    pub nodes: &'a BTreeMap<String, Node>,
    /// By name.
    pub configurations: &'a BTreeMap<String, BgpConfiguration>,
    /// By name.
    pub peers: &'a BTreeMap<String, BgpPeer>,
    /// By name.
    pub filters: &'a BTreeMap<String, BgpFilter>,
    /// By name.
    pub pools: &'a BTreeMap<String, IpPool>,
    /// The blocks that have an affinity to this node.
    pub blocks: BTreeSet<IpNet>,
    /// Addresses of this node's workloads.
    pub workloads: BTreeSet<IpAddr>,
}

/// What the speaker of a node should do, and what is wrong with the resources, each with its
/// object's name, the cause and the next step. `None` for a node that has no BGP.
///
/// Two peers that differ in nothing but the resource are one, the first by name; a BGPPeer counts
/// before the mesh.
pub fn configuration(cluster: &Cluster<'_>) -> (Option<Configuration>, Vec<String>) {
    let mut problems = Vec::new();
    let configuration = Identity::of(cluster, &mut problems).map(|own| Configuration {
        router_id: own.router_id,
        local_as: own.autonomous_system,
        listen: listen(cluster, &own, &mut problems),
        peers: peers::peers(cluster, &own, &mut problems),
        originated: advertised::originated(cluster, &own, &mut problems),
        export: advertised::export(cluster, &mut problems),
        communities: advertised::communities(cluster, &mut problems),
    });
    problems.sort();
    problems.dedup();
    (configuration, problems)
}

impl<'a> Cluster<'a> {
    /// BGPConfiguration `default`.
    fn global(&self) -> Option<&'a BgpConfigurationSpec> {
        self.configurations.get("default").map(|one| &one.spec)
    }

    /// BGPConfiguration `node.<name>`.
    fn of_node(&self, name: &str) -> Option<&'a BgpConfigurationSpec> {
        self.configurations.get(&format!("node.{name}")).map(|one| &one.spec)
    }

    /// The port a node listens on, where that is said anywhere.
    fn listen_port(&self, node: &str) -> Option<u16> {
        let ports =
            [self.of_node(node), self.global()].map(|spec| spec.and_then(|s| s.listen_port));
        ports.into_iter().flatten().find(|port| *port != 0)
    }
}

fn listen(cluster: &Cluster<'_>, own: &Identity, problems: &mut Vec<String>) -> Listen {
    let mode = cluster.global().and_then(|spec| spec.bind_mode.as_deref());
    let bound = mode == Some("NodeIP");
    if let (true, Some(v4), Some(v6)) = (bound, own.ipv4, own.ipv6) {
        problems.push(format!(
            "BGPConfiguration(default): bindMode NodeIP listens on one address here, {v4}, and not \
             on {v6}: peers with IPv6 must be connected to; leave bindMode out if they connect"
        ));
    }
    Listen {
        address: own.ipv4.map(IpAddr::V4).or(own.ipv6.map(IpAddr::V6)).filter(|_| bound),
        port: cluster.listen_port(cluster.node).unwrap_or(PORT_DEFAULT),
    }
}
