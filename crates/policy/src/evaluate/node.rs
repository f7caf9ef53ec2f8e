//! All that a node asks of a packet on its way through.

use super::{
    Decision, Direction, Failsafe, Packet, Reason, Rules, Traffic, Verdict, host_endpoint, workload,
};
use crate::output::{HostEndpoint, Workload};
use serde::{Deserialize, Serialize};

const UDP: u8 = 17;
const IP_IN_IP: u8 = 4;
const ICMPV6: u8 = 58;
/// Types of ICMPv6 that a router needs of its neighbours.
const NEIGHBOUR_DISCOVERY: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// What of a node matters to packets, beside their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Ports of the host that stay open.
    pub failsafe: &'a Failsafe,
    /// The host endpoint `*`.
    pub all_interfaces: Option<&'a HostEndpoint>,
    /// What a workload sends to its node passes, where its policies allow it
    /// (`defaultEndpointToHostAction`).
    pub workload_to_host: bool,
    /// UDP port that workloads may not send to, as it carries VXLAN.
    pub vxlan_port: Option<u16>,
    /// Workloads may not send IP-in-IP.
    pub no_ipip: bool,
}

/// Where a packet comes from or goes to, seen from a node.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// A workload of this node.
    Workload(&'a Workload),
    /// Another interface, with the host endpoint it has of its own.
    Interface(Option<&'a HostEndpoint>),
    /// The node itself.
    Host,
}

/// Where on its way a packet was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// By a workload's policies.
    Workload(Direction),
    /// By a host endpoint's policies of this kind.
    HostEndpoint(Traffic, Direction),
    /// On its way from a workload to the node, after the workload's policies.
    Node,
}

/// The decisions on a packet's way through a node, in order; it is denied if the last one says so.
/// The packet is the same all the way: where DNAT changes it, ask for each part of the way.
pub fn through_node(
    rules: &impl Rules,
    node: &Node,
    from: Place,
    to: Place,
    packet: &Packet,
) -> Vec<(At, Decision)> {
    let mut way = Way { rules, node, packet, decisions: Vec::new() };
    // That it was denied is what the last decision says.
    let (Ok(()) | Err(Denied)) = match (from, to) {
        (Place::Host, to) => way.sent(to),
        (from, Place::Host) => way.received(from),
        (from, to) => way.forwarded(from, to),
    };
    way.decisions
}

struct Way<'a, R> {
    rules: &'a R,
    node: &'a Node<'a>,
    packet: &'a Packet,
    decisions: Vec<(At, Decision)>,
}

/// Denied: nothing more is asked.
struct Denied;

impl<R: Rules> Way<'_, R> {
    /// `Ok(true)`: a `doNotTrack` or `preDNAT` policy has allowed it, for all host endpoints.
    fn before_routing(&mut self, from: Place) -> Result<bool, Denied> {
        for traffic in [Traffic::Untracked, Traffic::PreDnat] {
            // Workloads' packets are always tracked.
            let spared = traffic == Traffic::Untracked && matches!(from, Place::Workload(_));
            if !spared && self.host(from, traffic, Direction::Ingress)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forwarded(&mut self, from: Place, to: Place) -> Result<(), Denied> {
        if !self.before_routing(from)? {
            self.host(from, Traffic::Forwarded, Direction::Ingress)?;
        }
        if let Place::Workload(endpoint) = from {
            self.workload(endpoint, Direction::Egress)?;
        }
        if let Place::Workload(endpoint) = to {
            self.workload(endpoint, Direction::Ingress)?;
        }
        self.host(to, Traffic::Forwarded, Direction::Egress)?;
        Ok(())
    }

    fn received(&mut self, from: Place) -> Result<(), Denied> {
        let allowed = self.before_routing(from)?;
        if let Place::Workload(endpoint) = from {
            let (protocol, kind) = (self.packet.protocol, self.packet.icmp.map(|(kind, _)| kind));
            if protocol == ICMPV6 && kind.is_some_and(|kind| NEIGHBOUR_DISCOVERY.contains(&kind)) {
                self.decide(At::Node, Reason::NeighbourDiscovery)?;
                return Ok(());
            }
            self.workload(endpoint, Direction::Egress)?;
            return self.decide(At::Node, Reason::EndpointToHost(self.node.workload_to_host));
        }
        if !allowed {
            self.host(from, Traffic::Local, Direction::Ingress)?;
        }
        Ok(())
    }

    fn sent(&mut self, to: Place) -> Result<(), Denied> {
        if let Place::Interface(_) = to
            && !self.host(to, Traffic::Untracked, Direction::Egress)?
        {
            self.host(to, Traffic::Local, Direction::Egress)?;
        }
        Ok(())
    }

    /// `Ok(true)`: a rule has allowed it.
    fn host(
        &mut self,
        place: Place,
        traffic: Traffic,
        direction: Direction,
    ) -> Result<bool, Denied> {
        let endpoint = match place {
            Place::Interface(Some(own)) => Some(own),
            Place::Interface(None) | Place::Workload(_) => self.node.all_interfaces,
            Place::Host => None,
        };
        let Some(endpoint) = endpoint else { return Ok(false) };
        let (rules, failsafe) = (self.rules, self.node.failsafe);
        let decision = host_endpoint(rules, endpoint, failsafe, traffic, direction, self.packet);
        let by_rule = matches!(decision.by, Reason::Rule(_));
        self.push(At::HostEndpoint(traffic, direction), decision)?;
        Ok(by_rule)
    }

    fn workload(&mut self, endpoint: &Workload, direction: Direction) -> Result<(), Denied> {
        let to = self.packet.ports.map(|(_, destination)| destination);
        let vxlan = self.packet.protocol == UDP && to.is_some() && to == self.node.vxlan_port;
        let ipip = self.packet.protocol == IP_IN_IP && self.node.no_ipip;
        if direction == Direction::Egress && (vxlan || ipip) {
            return self.decide(At::Workload(direction), Reason::Encapsulated);
        }
        self.push(At::Workload(direction), workload(self.rules, endpoint, direction, self.packet))
    }

    fn decide(&mut self, at: At, by: Reason) -> Result<(), Denied> {
        self.push(at, Decision { verdict: by.verdict(), by, looked_at: Vec::new() })
    }

    fn push(&mut self, at: At, decision: Decision) -> Result<(), Denied> {
        let denied = decision.verdict == Verdict::Deny;
        self.decisions.push((at, decision));
        if denied { Err(Denied) } else { Ok(()) }
    }
}
