//! Routes to other nodes' blocks, and blackholes for the own ones.

use crate::encapsulation::Encapsulation;
use crate::topology::{Pool, RemoteNode, Topology};
use crate::vxlan;
use ipnet::IpNet;
use kernel::{Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, State, TABLE_MAIN};
use std::net::IpAddr;

/// Adds the pool's routes: one for each other node's block, one for each borrowed address, and a
/// blackhole for each own block.
pub(crate) fn add(topology: &Topology, pool: &Pool, way: Encapsulation, state: &mut State) {
    add_blackholes(topology, pool, state);
    let blocks = topology.blocks.iter().map(|(block, node)| (*block, node));
    let borrowed = topology.borrowed.iter().map(|(address, node)| (IpNet::from(*address), node));
    for (destination, node) in blocks.chain(borrowed) {
        let Some(remote) = topology.nodes.get(node) else { continue };
        if pool.cidr.contains(&destination)
            && let Some(target) = target(topology, remote, way)
        {
            insert(topology, state, destination, target);
        }
    }
}

/// Adds a blackhole for each own block of the pool, so that packets for unassigned addresses stop
/// here instead of circling by the default route.
pub(crate) fn add_blackholes(topology: &Topology, pool: &Pool, state: &mut State) {
    for (block, node) in &topology.blocks {
        let single = block.prefix_len() == block.max_prefix_len();
        if *node == topology.node && pool.cidr.contains(block) && !single {
            insert(topology, state, *block, RouteTarget::Blackhole);
        }
    }
}

/// The next hop towards a node, or `None` while something needed for it is unknown.
fn target(topology: &Topology, remote: &RemoteNode, way: Encapsulation) -> Option<RouteTarget> {
    let address = remote.address?;
    let same_subnet = topology.address.is_some_and(|own| own.trunc().contains(&address));
    match way {
        Encapsulation::Direct => direct(topology, address.into(), same_subnet),
        Encapsulation::VxlanCrossSubnet if same_subnet => {
            direct(topology, address.into(), same_subnet)
        }
        Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet => {
            topology.vxlan_address?;
            Some(RouteTarget::Via {
                device: vxlan::DEVICE.to_owned(),
                gateway: Some(remote.vxlan_address?.into()),
                onlink: true,
            })
        }
    }
}

/// By the node's own subnet, or by the gateway that the kernel itself would take to the node.
fn direct(topology: &Topology, node: IpAddr, same_subnet: bool) -> Option<RouteTarget> {
    let own = topology.address.map(|net| IpAddr::from(net.addr()))?;
    let uplink = topology.facts.device_of(own);
    if let (true, Some(device)) = (same_subnet, uplink) {
        let device = device.to_owned();
        return Some(RouteTarget::Via { device, gateway: Some(node), onlink: false });
    }
    let path = topology.facts.path_to(node)?;
    let gateway = Some(path.gateway.unwrap_or(node));
    Some(RouteTarget::Via { device: path.device, gateway, onlink: false })
}

fn insert(topology: &Topology, state: &mut State, destination: IpNet, target: RouteTarget) {
    let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
    let protocol = topology.settings.cluster_route_protocol;
    state.routes.insert(key, Route { target, protocol, scope: SCOPE_UNIVERSE, source: None });
}
