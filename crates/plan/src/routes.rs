//! Routes to other nodes' blocks, whoever tells of them, and blackholes for the own ones.

use crate::encapsulation::{Encapsulation, Source, Way};
use crate::next_hop::{Hop, NextHops};
use crate::topology::{Pool, RemoteNode, Topology};
use ipnet::IpNet;
use kernel::{Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, State, TABLE_MAIN};
use model::config::NetworkingBackend;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The metric that the kernel gives IPv6 routes without one.
const METRIC_IPV6: u32 = 1024;

/// Adds the pool's routes that the datastore tells: one for each other node's block, and one for
/// each borrowed address.
pub(crate) fn add(topology: &Topology, pool: &Pool, way: Encapsulation, state: &mut State) {
    let hops = &mut NextHops::of(topology, state);
    let blocks = topology.blocks.iter().map(|(block, node)| (*block, node));
    let borrowed = topology.borrowed.iter().map(|(address, node)| (IpNet::from(*address), node));
    let protocol = topology.settings.cluster_route_protocol;
    for (destination, node) in blocks.chain(borrowed) {
        let Some(remote) = topology.nodes.get(node) else { continue };
        if pool.cidr.contains(&destination)
            && let Some(target) = target(remote, &destination, way, hops)
        {
            insert(state, destination, target, protocol);
        }
    }
}

/// Adds a blackhole for each own block of the pool, so that packets for unassigned addresses stop
/// here instead of circling by the default route.
pub(crate) fn add_blackholes(
    topology: &Topology,
    pool: &Pool,
    way: Option<Way>,
    state: &mut State,
) {
    let protocol = match way.map(|way| way.source) {
        Some(Source::Bgp) => kernel::PROTOCOL_BIRD,
        Some(Source::Datastore) | None => topology.settings.cluster_route_protocol,
    };
    for (block, node) in &topology.blocks {
        let single = block.prefix_len() == block.max_prefix_len();
        if *node == topology.node && pool.cidr.contains(block) && !single {
            insert(state, *block, RouteTarget::Blackhole, protocol);
        }
    }
}

/// Adds the routes that BGP has learned: of pools that are BGP's, and of destinations outside all
/// pools, which need no encapsulation. `ways` are those of `topology.pools`, in their order.
///
/// What is this node's own stays: its blocks, its workloads, and routes that others have made. BIRD
/// does not replace those either.
///
/// Returns how many are left out, as this node has no way to their next hops.
pub(crate) fn add_learned(topology: &Topology, ways: &[Option<Way>], state: &mut State) -> usize {
    if topology.settings.backend != NetworkingBackend::Bird {
        return 0;
    }
    let own_addresses: BTreeSet<IpNet> =
        topology.workloads.values().flat_map(|workload| workload.addresses.clone()).collect();
    let is_own = |destination: &IpNet| {
        topology.blocks.get(destination) == Some(&topology.node)
            || own_addresses.contains(destination)
            || is_foreign(topology, destination)
    };
    let hops = &mut NextHops::of(topology, state);
    let mut unreachable = 0;
    for (destination, next_hops) in topology.learned.routes.iter() {
        let Some(way) = learned_way(topology, ways, destination) else { continue };
        if is_own(destination) {
            continue;
        }
        // The kernel's values have one next hop; the sorted list's first is the same every time.
        let target = next_hops.first().and_then(|hop| by_hop(*hop, way, hops));
        match target.filter(|hop| hop.leads_to(destination)) {
            Some(hop) => insert(state, *destination, hop.target, kernel::PROTOCOL_BIRD),
            None => unreachable += 1,
        }
    }
    unreachable
}

/// How a learned destination's packets travel; `None` where the route isn't BGP's to program.
fn learned_way(
    topology: &Topology,
    ways: &[Option<Way>],
    destination: &IpNet,
) -> Option<Encapsulation> {
    let mut pools = topology.pools.iter().zip(ways);
    match pools.find(|(pool, _)| pool.cidr.contains(destination)) {
        Some((_, way)) => way.filter(|way| way.source == Source::Bgp).map(|way| way.encapsulation),
        None => Some(Encapsulation::Direct),
    }
}

/// Whether somebody else's route stands where one without metric would.
fn is_foreign(topology: &Topology, destination: &IpNet) -> bool {
    let metric = if destination.addr().is_ipv6() { METRIC_IPV6 } else { 0 };
    let key = RouteKey { table: TABLE_MAIN, destination: *destination, metric };
    topology.facts.routes.contains_key(&key)
}

/// Towards a node, or `None` while something needed for it is unknown.
fn target(
    remote: &RemoteNode,
    destination: &IpNet,
    way: Encapsulation,
    hops: &mut NextHops<'_>,
) -> Option<RouteTarget> {
    let address = remote.address_for(destination)?;
    let by_vxlan = match way {
        Encapsulation::Vxlan => true,
        Encapsulation::VxlanCrossSubnet => !hops.is_near(address),
        Encapsulation::Direct | Encapsulation::Ipip | Encapsulation::IpipCrossSubnet => false,
    };
    if by_vxlan {
        return hops.by_vxlan(remote.vxlan_address?);
    }
    by_hop(address, way, hops).map(|hop| hop.target)
}

/// By a next hop: through `tunl0`, or as packets are.
fn by_hop(hop: IpAddr, way: Encapsulation, hops: &mut NextHops<'_>) -> Option<Hop> {
    match way {
        Encapsulation::Ipip => hops.by_ipip(hop),
        Encapsulation::IpipCrossSubnet if !hops.is_near(hop) => hops.by_ipip(hop),
        _ => hops.direct(hop),
    }
}

fn insert(state: &mut State, destination: IpNet, target: RouteTarget, protocol: u8) {
    let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
    state.routes.insert(key, Route { target, protocol, scope: SCOPE_UNIVERSE, source: None });
}
