//! Routes between the nodes of a cluster on the reference plugins, which make none.

use super::super::{Lab, nodes::ROUTER};
use crate::topology::{Cni, Node, Topology};
use anyhow::Result;
use ipnet::IpNet;
use kernel::{Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, TABLE_MAIN};
use linux::rtnetlink::Rtnetlink;

/// `proto static` (/etc/iproute2/rt_protos).
const PROTOCOL_STATIC: u8 = 4;

impl Lab {
    /// Routes each node's pods to it: on the router, and on the machines that are in a subnet with
    /// it. All others send by the router.
    pub(super) fn route_pods(&self, topology: &Topology) -> Result<()> {
        let Some(Cni::Bridge) = topology.kubernetes.as_ref().map(|kubernetes| kubernetes.cni)
        else {
            return Ok(());
        };
        let machines = topology.machines();
        let router: Vec<(String, &str)> =
            topology.subnets.iter().map(|subnet| (subnet.name.clone(), &*subnet.name)).collect();
        self.route_pods_on(ROUTER, &router, &topology.nodes)?;
        for machine in machines.iter().filter(|machine| self.machines.is_running(&machine.name)) {
            let uplinks = machine.uplinks.iter();
            let links: Vec<(String, &str)> =
                uplinks.map(|uplink| (uplink.interface.clone(), &*uplink.subnet)).collect();
            let others = topology.nodes.iter().filter(|node| node.name != machine.name);
            self.route_pods_on(&machine.name, &links, &others.cloned().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// `links` are the machine's interfaces and the subnets that they are in.
    fn route_pods_on(&self, machine: &str, links: &[(String, &str)], nodes: &[Node]) -> Result<()> {
        let mut netlink = Rtnetlink::open_in(&self.machines.network(machine)?)?;
        for (destination, node) in
            nodes.iter().flat_map(|node| node.pod_cidrs.iter().map(move |cidr| (*cidr, node)))
        {
            if let Some((device, gateway)) = next_hop(links, node, &destination) {
                let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
                let target = RouteTarget::Via { device, gateway: Some(gateway), onlink: false };
                let (protocol, scope, source) = (PROTOCOL_STATIC, SCOPE_UNIVERSE, None);
                netlink.replace_route(&key, &Route { target, protocol, scope, source })?;
            }
        }
        Ok(())
    }
}

/// By which of its interfaces and at which address a machine reaches a node directly.
fn next_hop(
    links: &[(String, &str)],
    node: &Node,
    destination: &IpNet,
) -> Option<(String, std::net::IpAddr)> {
    node.uplinks.iter().find_map(|uplink| {
        let (device, _) = links.iter().find(|(_, subnet)| *subnet == uplink.subnet)?;
        let of_family = |address: &&std::net::IpAddr| {
            address.is_ipv4() == destination.addr().is_ipv4()
        };
        uplink.addresses.iter().find(of_family).map(|address| (device.clone(), *address))
    })
}
