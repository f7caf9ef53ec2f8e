//! The peers: the mesh's, those of BGPPeers, and those whose BGPPeers mean this node.

use super::Cluster;
use super::identity::{Identity, addresses_of, as_of, cluster_id_of};
use super::settings::{Settings, restart_time};
use crate::configuration::{NextHop, PORT_DEFAULT, Peer, PeerKind};
use model::{BgpPeer, BgpPeerSpec, Node, Selector};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The other end of a session.
#[derive(Clone, Copy)]
struct Remote {
    address: IpAddr,
    /// Where one is said.
    port: Option<u16>,
    autonomous_system: u32,
    cluster_id: Option<Ipv4Addr>,
    /// It is a node of the cluster, so that it too knows of the session.
    is_node: bool,
}

/// Which end of a BGPPeer's sessions.
#[derive(Clone, Copy)]
enum End {
    /// `node`, `nodeSelector`.
    Local,
    /// `peerSelector`.
    Remote,
}

struct Peers<'a> {
    cluster: &'a Cluster<'a>,
    own: &'a Identity,
    problems: &'a mut Vec<String>,
    /// By address and port, with their names: of two for the same place the first stays.
    chosen: BTreeMap<(IpAddr, u16), (String, Peer)>,
}

/// All peers of this node, by name.
pub(super) fn peers(
    cluster: &Cluster<'_>,
    own: &Identity,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Peer> {
    let mut peers = Peers { cluster, own, problems, chosen: BTreeMap::new() };
    let (global, of_nodes): (Vec<_>, Vec<_>) =
        cluster.peers.values().partition(|resource| is_global(&resource.spec));
    for resource in global.into_iter().chain(of_nodes) {
        peers.forwards(resource);
    }
    for resource in cluster.peers.values() {
        peers.backwards(resource);
    }
    peers.mesh();
    peers.chosen.into_values().collect()
}

/// As Calico names BIRD's protocols: `Global_10_30_0_1_port_1179`.
fn name(kind: PeerKind, address: IpAddr, port: Option<u16>) -> String {
    let start = match kind {
        PeerKind::NodeMesh => "Mesh",
        PeerKind::NodePeer => "Node",
        PeerKind::GlobalPeer => "Global",
    };
    let address = address.to_string().replace(['.', ':'], "_");
    match port {
        Some(port) => format!("{start}_{address}_port_{port}"),
        None => format!("{start}_{address}"),
    }
}

fn is_global(spec: &BgpPeerSpec) -> bool {
    spec.node.is_empty() && spec.node_selector.is_empty()
}

impl<'a> Peers<'a> {
    /// Every other node, unless one of the two reflects routes.
    fn mesh(&mut self) {
        let global = self.cluster.global();
        let enabled = global.and_then(|spec| spec.node_to_node_mesh_enabled).unwrap_or(true);
        if !enabled || self.own.cluster_id.is_some() {
            return;
        }
        if global.is_some_and(|spec| spec.node_mesh_password.is_some()) {
            self.problems.push(
                "BGPConfiguration(default): nodeMeshPassword is in a Secret, which cannot be read \
                 without Kubernetes, so the mesh does without; leave it out"
                    .to_owned(),
            );
        }
        let restart = global.and_then(|spec| spec.node_mesh_max_restart_time.as_deref());
        let what = "BGPConfiguration(default): nodeMeshMaxRestartTime";
        let restart_time = restart_time(what, restart, self.problems);
        for node in self.cluster.nodes.values() {
            let is_own = node.metadata.name == self.cluster.node;
            if is_own || cluster_id_of(node).is_some() {
                continue;
            }
            for remote in self.as_remotes(node) {
                let mut from = self.chosen.range((remote.address, 0)..);
                let told = from.next().is_some_and(|((next, _), _)| *next == remote.address);
                let Some(own) = self.own.address(remote.address.is_ipv6()) else { continue };
                if told || own == remote.address {
                    continue;
                }
                let peer = Peer {
                    kind: PeerKind::NodeMesh,
                    source: Some(own),
                    passive: is_passive(own, remote.address),
                    restart_time,
                    ..self.plain(&remote)
                };
                let name = name(PeerKind::NodeMesh, remote.address, None);
                self.chosen.insert((remote.address, peer.port), (name, peer));
            }
        }
    }

    /// What a BGPPeer gives to this node.
    fn forwards(&mut self, resource: &BgpPeer) {
        let spec = &resource.spec;
        let Some(locals) = self.selected(resource, End::Local) else { return };
        if !locals.iter().any(|node| node.metadata.name == self.cluster.node) {
            return;
        }
        let remotes: Vec<Remote> = if !spec.local_workload_selector.is_empty() {
            self.problems.push(format!(
                "BGPPeer({}): localWorkloadSelector: sessions with workloads are not supported \
                 yet; give the workload's address as peerIP",
                resource.metadata.name
            ));
            return;
        } else if !spec.peer_selector.is_empty() {
            let Some(nodes) = self.selected(resource, End::Remote) else { return };
            nodes.into_iter().flat_map(|node| self.as_remotes(node)).collect()
        } else {
            self.stated(resource).into_iter().collect()
        };
        let kind = if is_global(spec) { PeerKind::GlobalPeer } else { PeerKind::NodePeer };
        let local_as = spec.local_as_number.map_or(self.own.autonomous_system, |number| number.0);
        self.choose(resource, kind, local_as, &remotes);
    }

    /// What a BGPPeer gives to this node as the other end: `reversePeering: Auto`.
    fn backwards(&mut self, resource: &BgpPeer) {
        let spec = &resource.spec;
        if spec.reverse_peering.as_deref() == Some("Manual") {
            return;
        }
        let ipv6 = if spec.peer_selector.is_empty() {
            let Some((address, port)) = spec.peer_address() else { return };
            if !self.is_this_node(address, port, spec) {
                return;
            }
            Some(address.is_ipv6())
        } else {
            let Some(remotes) = self.selected(resource, End::Remote) else { return };
            if !remotes.iter().any(|node| node.metadata.name == self.cluster.node) {
                return;
            }
            None
        };
        let Some(locals) = self.selected(resource, End::Local) else { return };
        let remotes = locals.into_iter().flat_map(|node| self.as_remotes(node));
        let fits = |remote: &Remote| ipv6.is_none_or(|ipv6| ipv6 == remote.address.is_ipv6());
        // The other end speaks as `localASNumber`.
        let towards_us = |remote: Remote| {
            let stated = spec.local_as_number.map(|number| number.0);
            let autonomous_system = stated.unwrap_or(remote.autonomous_system);
            Remote { autonomous_system, ..remote }
        };
        let remotes: Vec<Remote> = remotes.filter(fits).map(towards_us).collect();
        self.choose(resource, PeerKind::NodePeer, self.own.autonomous_system, &remotes);
    }

    /// Takes what a BGPPeer gives, unless the place is taken or this node's own.
    fn choose(&mut self, resource: &BgpPeer, kind: PeerKind, local_as: u32, remotes: &[Remote]) {
        let own_addresses = [self.own.address(false), self.own.address(true)];
        let mut remotes =
            remotes.iter().filter(|r| !own_addresses.contains(&Some(r.address))).peekable();
        if remotes.peek().is_none() {
            return;
        }
        let settings = Settings::of(resource, self.cluster, self.problems);
        for remote in remotes {
            let Some(own) = self.own.address(remote.address.is_ipv6()) else {
                if !remote.is_node {
                    self.problems.push(format!(
                        "BGPPeer({}): there is no session with {}, as Node({}) has no bgp address \
                         of its family; give the node one",
                        resource.metadata.name, remote.address, self.cluster.node
                    ));
                }
                continue;
            };
            let internal = remote.autonomous_system == local_as;
            let next_hop = match settings.next_hop {
                NextHop::Auto if settings.keep_next_hop && !internal => NextHop::Keep,
                stated => stated,
            };
            let cluster_id = self.own.cluster_id;
            let passive =
                kind == PeerKind::GlobalPeer && remote.is_node && is_passive(own, remote.address);
            let peer = Peer {
                kind,
                local_as,
                source: settings.use_node_address.then_some(own),
                passive,
                keepalive_time: settings.keepalive_time,
                restart_time: settings.restart_time,
                next_hop,
                reflector_client: internal
                    && cluster_id.is_some()
                    && remote.cluster_id != cluster_id,
                ttl_security: settings.ttl_security,
                allowed_own_as: settings.allowed_own_as,
                import: settings.import.clone(),
                export: settings.export.clone(),
                ..self.plain(remote)
            };
            let name = name(kind, remote.address, remote.port);
            self.chosen.entry((remote.address, peer.port)).or_insert((name, peer));
        }
    }

    /// A peer of which nothing is said.
    fn plain(&self, remote: &Remote) -> Peer {
        Peer {
            port: remote.port.unwrap_or(PORT_DEFAULT),
            cluster_id: self.own.cluster_id,
            ..Peer::new(
                PeerKind::NodeMesh,
                remote.address,
                remote.autonomous_system,
                self.own.autonomous_system,
            )
        }
    }

    /// The nodes at one end of a BGPPeer; `None` where its selector cannot be read.
    fn selected(&mut self, resource: &BgpPeer, end: End) -> Option<Vec<&'a Node>> {
        let spec = &resource.spec;
        let nodes = self.cluster.nodes;
        let (field, text) = match end {
            End::Local if !spec.node.is_empty() => {
                return Some(nodes.get(&spec.node).into_iter().collect());
            }
            End::Local => ("nodeSelector", &spec.node_selector),
            End::Remote => ("peerSelector", &spec.peer_selector),
        };
        match Selector::parse(text) {
            Ok(selector) => {
                let chosen = |node: &&Node| selector.matches(&node.metadata.labels);
                Some(nodes.values().filter(chosen).collect())
            }
            Err(why) => {
                let name = &resource.metadata.name;
                self.problems.push(format!(
                    "BGPPeer({name}): it is left out, as its {field} cannot be read: {why}; \
                     correct it"
                ));
                None
            }
        }
    }

    /// A node as peers of others: one of each family it has.
    fn as_remotes(&self, node: &'a Node) -> impl Iterator<Item = Remote> + use<'a> {
        let autonomous_system = as_of(self.cluster, node);
        let port = self.cluster.listen_port(&node.metadata.name);
        let cluster_id = cluster_id_of(node);
        addresses_of(node).map(move |address| Remote {
            address,
            port,
            autonomous_system,
            cluster_id,
            is_node: true,
        })
    }

    /// The peer that `peerIP` and `asNumber` name.
    fn stated(&mut self, resource: &BgpPeer) -> Option<Remote> {
        let spec = &resource.spec;
        let (Some((address, port)), Some(number)) = (spec.peer_address(), spec.as_number) else {
            self.problems.push(format!(
                "BGPPeer({}): it is left out, as peerIP '{}' with asNumber '{}' names no peer; \
                 give both, or a peerSelector",
                resource.metadata.name,
                spec.peer_ip,
                spec.as_number.map(|number| number.to_string()).unwrap_or_default()
            ));
            return None;
        };
        let mut nodes = self.cluster.nodes.values();
        let node = nodes.find(|node| addresses_of(node).any(|one| one == address));
        let same_as = node.filter(|node| as_of(self.cluster, node) == number.0);
        let listening = same_as.and_then(|node| self.cluster.listen_port(&node.metadata.name));
        Some(Remote {
            address,
            port: port.or(listening),
            autonomous_system: number.0,
            cluster_id: None,
            is_node: node.is_some(),
        })
    }

    /// Whether a BGPPeer's `peerIP` is this node's own.
    fn is_this_node(&self, address: IpAddr, port: Option<u16>, spec: &BgpPeerSpec) -> bool {
        let listening = self.cluster.listen_port(self.cluster.node).unwrap_or(PORT_DEFAULT);
        self.own.address(address.is_ipv6()) == Some(address)
            && spec.as_number.is_some_and(|number| number.0 == self.own.autonomous_system)
            && port.is_none_or(|port| port == listening)
    }
}

/// Of two nodes one connects, so that their connections don't collide: the one whose address is
/// greater as a text, which is how Calico compares them.
fn is_passive(own: IpAddr, peer: IpAddr) -> bool {
    peer.to_string() > own.to_string()
}
