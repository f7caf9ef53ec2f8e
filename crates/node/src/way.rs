//! A packet's way through this node: where it comes from, where it goes, what policies say of it.
//!
//! A packet is taken to come by the interface that its source is reached by: of one that has come
//! another way, other host endpoints may judge.

use crate::cluster::Cluster;
use ipnet::IpNet;
use kernel::RouteTarget;
use model::config::EndpointToHostAction;
use plan::policy::Assigned;
use policy::evaluate::{
    At, Decision, Direction, Failsafe, Node, Packet, Place, Traffic, Verdict, through_node,
};
use policy::input::WorkloadId;
use policy::output::Workload;
use std::collections::HashMap;
use std::net::IpAddr;

/// The interface by which a node sends to itself.
const LOOPBACK: &str = "lo";

/// What is needed to find packets' ways.
pub(crate) struct Ways<'a> {
    cluster: &'a Cluster,
    host_endpoints: Assigned,
    failsafe: Failsafe,
    /// The devices of the plan's own routes.
    devices: HashMap<IpNet, &'a str>,
}

/// One end of a packet's way, as the node sees it.
#[derive(Clone, Debug)]
pub(crate) enum End<'a> {
    /// A workload of this node.
    Workload(&'a WorkloadId, &'a Workload),
    /// Another interface; `None`: no route says which, or no host endpoint could be there.
    Interface(Option<String>),
    /// The node itself.
    Host,
}

impl<'a> Ways<'a> {
    /// Of the newest plan.
    pub(crate) fn new(cluster: &'a Cluster, plan: Option<&'a plan::Plan>) -> Ways<'a> {
        let routes = plan.into_iter().flat_map(|plan| &plan.state.routes);
        let devices = routes.filter_map(|(key, route)| match &route.target {
            RouteTarget::Via { device, .. } => Some((key.destination, device.as_str())),
            RouteTarget::Blackhole | RouteTarget::Other(_) => None,
        });
        let host_endpoints = cluster.policy().host_endpoints();
        let settings = cluster.topology().settings.policy.as_ref();
        let failsafe = settings.map(|settings| settings.failsafe.clone()).unwrap_or_default();
        Ways { cluster, host_endpoints, failsafe, devices: devices.collect() }
    }

    /// Who has an address, or how it is reached.
    pub(crate) fn end(&self, address: IpAddr) -> End<'a> {
        match self.cluster.policy().workload_at(address) {
            Some((id, workload)) => End::Workload(id, workload),
            None if self.cluster.is_own_address(address) || address.is_loopback() => End::Host,
            // Who asks for many connections' ways must not search routes for nothing.
            None if self.host_endpoints == Assigned::default() => End::Interface(None),
            None => End::Interface(self.device(address)),
        }
    }

    /// The decisions on a packet's way, in order; it is denied if the last one says so. What the node
    /// sends to itself leaves it and comes back by the loopback interface.
    pub(crate) fn decisions(
        &self,
        from: &End<'_>,
        to: &End<'_>,
        packet: &Packet,
    ) -> Vec<(At, Decision)> {
        let settings = self.cluster.topology().settings.policy.as_ref();
        let node = Node {
            failsafe: &self.failsafe,
            all_interfaces: self.host_endpoints.others.as_deref(),
            workload_to_host: settings
                .is_some_and(|settings| settings.endpoint_to_host != EndpointToHostAction::Drop),
            vxlan_port: settings
                .filter(|settings| !settings.vxlan_from_workloads)
                .map(|settings| settings.vxlan_port),
            no_ipip: settings.is_some_and(|settings| !settings.ipip_from_workloads),
        };
        let ask = |from, to| through_node(self.cluster.policy(), &node, from, to, packet);
        if !matches!((from, to), (End::Host, End::Host)) {
            return ask(self.place(from), self.place(to));
        }
        let loopback = self.interface(Some(LOOPBACK));
        let mut decisions = ask(Place::Host, loopback);
        let goes = decisions.last().is_none_or(|(_, sent)| sent.verdict == Verdict::Allow);
        decisions.extend(if goes { ask(loopback, Place::Host) } else { Vec::new() });
        decisions
    }

    /// Ports that stay open whatever host endpoints' policies say.
    pub(crate) fn failsafe(&self) -> &Failsafe {
        &self.failsafe
    }

    /// The interface that a decision was made at, and the name of that interface's own host endpoint
    /// chains: `None` for those of `*`.
    pub(crate) fn interface_of<'e>(&self, end: &'e End<'_>) -> (&'e str, Option<&'e str>) {
        match end {
            End::Workload(_, workload) => (&workload.interface, None),
            End::Interface(Some(name)) => {
                let own = self.host_endpoints.named.contains_key(name.as_str());
                (name, own.then_some(name.as_str()))
            }
            End::Interface(None) => ("an unknown interface", None),
            End::Host => {
                let own = self.host_endpoints.named.contains_key(LOOPBACK);
                (LOOPBACK, own.then_some(LOOPBACK))
            }
        }
    }

    /// Whether there is something to be asked: a host endpoint without policies of a kind lets such
    /// packets pass, and has no chain for them.
    pub(crate) fn has_policies(&self, at: At, end: &End<'_>) -> bool {
        let At::HostEndpoint(traffic, _) = at else { return true };
        let place = match end {
            End::Host => self.interface(Some(LOOPBACK)),
            end => self.place(end),
        };
        let endpoint = match place {
            Place::Interface(Some(own)) => Some(own),
            _ => self.host_endpoints.others.as_deref(),
        };
        endpoint.is_some_and(|endpoint| match traffic {
            Traffic::Local => true,
            Traffic::Forwarded => !endpoint.forward.is_empty(),
            Traffic::Untracked => !endpoint.untracked.is_empty(),
            Traffic::PreDnat => !endpoint.pre_dnat.is_empty(),
        })
    }

    fn place<'s>(&'s self, end: &End<'s>) -> Place<'s> {
        match end {
            End::Workload(_, workload) => Place::Workload(workload),
            End::Interface(name) => self.interface(name.as_deref()),
            End::Host => Place::Host,
        }
    }

    fn interface(&self, name: Option<&str>) -> Place<'_> {
        let own = name.and_then(|name| self.host_endpoints.named.get(name));
        Place::Interface(own.map(|endpoint| &**endpoint))
    }

    /// The longest prefix of all routes; the plan's own first.
    fn device(&self, address: IpAddr) -> Option<String> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let planned = (0..=longest).rev().find_map(|length| {
            let net = IpNet::new(address, length).ok()?.trunc();
            self.devices.get(&net).map(|device| (length, *device))
        });
        let other = self.cluster.topology().facts.device_towards(address);
        match (planned, other) {
            (Some((length, device)), Some((other_device, other_length))) => {
                Some(if length >= other_length { device.to_owned() } else { other_device })
            }
            (Some((_, device)), None) => Some(device.to_owned()),
            (None, other) => other.map(|(device, _)| device),
        }
    }
}

/// On which side of the node a decision was made: what comes in by host endpoints and what workloads
/// send at the source's, everything else at the destination's.
pub(crate) fn is_at_source(at: At) -> bool {
    match at {
        At::Workload(direction) => direction == Direction::Egress,
        At::HostEndpoint(_, direction) => direction == Direction::Ingress,
        At::Node => true,
    }
}
