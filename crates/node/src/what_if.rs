//! What a node would do with a packet, as the datastore has it: a core of its own is told everything.
//!
//! Of the node's kernel this is assumed: one interface has the node's addresses and the way to
//! everywhere, the one that a host endpoint names; and the nodes have told each other of their blocks.

use crate::api::{Reply, Request};
use crate::explain::{Explanation, KernelHolds};
use crate::{Effect, Event, Node};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::{
    Link, LinkKind, PROTOCOL_BOOT, Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, TABLE_MAIN,
};
use model::{DatastoreEvent, Entry, HostEndpoint, Value};
use plan::{Facts, Learned};
use policy::evaluate::Packet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The interface of a node, where no host endpoint names one.
const UPLINK: &str = "uplink";
/// A core answers one question here.
const QUESTION: u64 = 1;

/// What the node says of a packet in a cluster of these objects (see [`crate::queries`]). The
/// kernel's part is empty.
pub fn explain<'a>(
    node: &str,
    entries: impl IntoIterator<Item = &'a Entry>,
    packet: Packet,
) -> Option<Explanation> {
    let mut core = Node::new(node, Vec::new());
    let mut ground = Ground::default();
    for entry in entries {
        ground.take(node, entry);
        core.on(Event::Datastore(DatastoreEvent::Changed(entry.clone())));
    }
    core.on(Event::Datastore(DatastoreEvent::InSync));
    core.on(Event::Facts(Box::new(ground.facts())));
    core.on(Event::Idle);
    core.cluster.set_learned(learned(&core));
    core.on(Event::Idle);
    core.on(Event::Request { id: QUESTION, request: Request::Explain(packet) });
    let holds = Box::new(KernelHolds::default());
    let effects = core.on(Event::KernelRead { id: QUESTION, holds });
    effects.into_iter().find_map(|effect| match effect {
        Effect::Reply { reply: Reply::Explained(explanation), .. } => Some(*explanation),
        _ => None,
    })
}

/// By BGP every node hears of the others' blocks.
fn learned(core: &Node) -> Learned {
    let topology = core.cluster.topology();
    let others = topology.blocks.iter().filter_map(|(block, owner)| {
        Some((*block, vec![topology.nodes.get(owner)?.address_for(block)?]))
    });
    Learned { routes: Arc::new(others.collect()), in_sync: true }
}

/// What the datastore tells of a node's interface.
#[derive(Default)]
struct Ground {
    nets: Vec<IpNet>,
    endpoints: Vec<HostEndpoint>,
}

impl Ground {
    fn take(&mut self, name: &str, entry: &Entry) {
        match Value::decode(entry) {
            Ok(Value::Node(node)) if node.metadata.name == name => {
                self.nets.extend(node.spec.ipv4().map(IpNet::V4));
                self.nets.extend(node.spec.ipv6().map(IpNet::V6));
            }
            Ok(Value::HostEndpoint(endpoint)) if endpoint.spec.node == name => {
                self.endpoints.push(*endpoint);
            }
            _ => {}
        }
    }

    /// One that has an address of the node, else the first that is of one interface.
    fn endpoint(&self) -> Option<&HostEndpoint> {
        let is_own = |endpoint: &&HostEndpoint| {
            let mut expected = expected(endpoint);
            expected.any(|address| self.nets.iter().any(|net| net.addr() == address))
        };
        let mut of_one =
            self.endpoints.iter().filter(|endpoint| endpoint.spec.interface_name != "*");
        of_one.clone().find(is_own).or_else(|| of_one.next())
    }

    fn facts(&self) -> Facts {
        let endpoint = self.endpoint();
        let device = endpoint.map(|endpoint| endpoint.spec.interface_name.as_str());
        let device = device.filter(|name| !name.is_empty()).unwrap_or(UPLINK).to_owned();
        let kind = LinkKind::Other(String::new());
        let link = Link { kind, mtu: 1500, mac: None, up: true };
        let mut addresses = self.nets.clone();
        // An endpoint without an interface's name is found by these.
        let others = endpoint.into_iter().flat_map(expected).map(IpNet::from);
        addresses.extend(others.filter(|one| self.nets.iter().all(|net| net.addr() != one.addr())));
        let everywhere = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let routes = self.nets.iter().map(IpNet::trunc).chain(everywhere).map(|destination| {
            let (device, gateway, onlink) = (device.clone(), None, false);
            let target = RouteTarget::Via { device, gateway, onlink };
            let (protocol, scope) = (PROTOCOL_BOOT, SCOPE_UNIVERSE);
            let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
            (key, Route { target, protocol, scope, source: None })
        });
        Facts {
            ipv6: true,
            ipip: true,
            routes: routes.collect(),
            addresses: addresses.into_iter().map(|net| (device.clone(), net)).collect(),
            links: BTreeMap::from([(device.clone(), link)]),
            ..Facts::default()
        }
    }
}

fn expected(endpoint: &HostEndpoint) -> impl Iterator<Item = IpAddr> + '_ {
    endpoint.spec.expected_ips.iter().filter_map(|text| text.parse().ok())
}
