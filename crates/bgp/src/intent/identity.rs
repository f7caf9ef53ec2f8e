//! Who a node is to its peers.

use super::Cluster;
use model::{AsNumber, Node, names};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The cluster's AS where nobody says another.
const AS_DEFAULT: u32 = 64512;

/// This node, as its peers see it.
pub(super) struct Identity {
    pub(super) router_id: Ipv4Addr,
    pub(super) autonomous_system: u32,
    pub(super) ipv4: Option<Ipv4Addr>,
    pub(super) ipv6: Option<Ipv6Addr>,
    /// Set on a route reflector.
    pub(super) cluster_id: Option<Ipv4Addr>,
}

impl Identity {
    /// `None` for a node that has no address for BGP.
    pub(super) fn of(cluster: &Cluster<'_>, problems: &mut Vec<String>) -> Option<Identity> {
        for (name, node) in cluster.nodes {
            unreadable(name, node, problems);
        }
        let name = cluster.node;
        let node = cluster.nodes.get(name)?;
        let bgp = node.spec.bgp.as_ref()?;
        let (ipv4, ipv6) = (ipv4_of(node), ipv6_of(node));
        if ipv4.is_none() && ipv6.is_none() {
            return None;
        }
        if bgp.route_reflector_cluster_id.is_some() && cluster_id_of(node).is_none() {
            problems.push(format!(
                "Node({name}): bgp.routeReflectorClusterID is no cluster id, so the node reflects \
                 no routes; write it as an IPv4 address, e.g. 244.0.0.1"
            ));
        }
        Some(Identity {
            router_id: router_id(cluster, ipv4, problems)?,
            autonomous_system: as_of(cluster, node),
            ipv4,
            ipv6,
            cluster_id: cluster_id_of(node),
        })
    }

    /// The node's address that a peer of this family is reached from.
    pub(super) fn address(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 { self.ipv6.map(IpAddr::V6) } else { self.ipv4.map(IpAddr::V4) }
    }
}

fn unreadable(name: &str, node: &Node, problems: &mut Vec<String>) {
    let Some(bgp) = &node.spec.bgp else { return };
    for (field, text, read) in [
        ("ipv4Address", &bgp.ipv4_address, ipv4_of(node).is_some()),
        ("ipv6Address", &bgp.ipv6_address, ipv6_of(node).is_some()),
    ] {
        if let (Some(text), false) = (text, read) {
            problems.push(format!(
                "Node({name}): bgp.{field} is '{text}', which is no such address, so BGP does \
                 without it; correct it"
            ));
        }
    }
}

fn router_id(
    cluster: &Cluster<'_>,
    ipv4: Option<Ipv4Addr>,
    problems: &mut Vec<String>,
) -> Option<Ipv4Addr> {
    let name = cluster.node;
    let set = cluster.router_id.filter(|text| !text.is_empty());
    match set {
        Some("hash") => return Some(names::router_id(name)),
        Some(text) => {
            let literal = text.parse().ok().filter(|id: &Ipv4Addr| !id.is_unspecified());
            if literal.is_some() {
                return literal;
            }
            problems.push(format!(
                "Node({name}): CALICO_ROUTER_ID is '{text}', which is no router id, and is \
                 ignored; write it as an IPv4 address, or `hash`"
            ));
        }
        None => {}
    }
    if ipv4.is_none() {
        problems.push(format!(
            "Node({name}): there is no BGP, as there is no IPv4 address that could be its router \
             id; set CALICO_ROUTER_ID to hash"
        ));
    }
    ipv4
}

pub(super) fn ipv4_of(node: &Node) -> Option<Ipv4Addr> {
    node.spec.ipv4().map(|net| net.addr())
}

pub(super) fn ipv6_of(node: &Node) -> Option<Ipv6Addr> {
    node.spec.ipv6().map(|net| net.addr())
}

/// A node's addresses, IPv4 first.
pub(super) fn addresses_of(node: &Node) -> impl Iterator<Item = IpAddr> {
    ipv4_of(node).map(IpAddr::V4).into_iter().chain(ipv6_of(node).map(IpAddr::V6))
}

/// A node's AS: its own, else the cluster's.
pub(super) fn as_of(cluster: &Cluster<'_>, node: &Node) -> u32 {
    let own = node.spec.bgp.as_ref().and_then(|bgp| bgp.as_number);
    own.or(cluster.global().and_then(|spec| spec.as_number)).unwrap_or(AsNumber(AS_DEFAULT)).0
}

/// Set on a route reflector.
pub(super) fn cluster_id_of(node: &Node) -> Option<Ipv4Addr> {
    node.spec.bgp.as_ref()?.route_reflector_cluster_id.as_deref()?.parse().ok()
}
