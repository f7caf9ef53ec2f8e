//! `vxlan.calico`: the device, its address, and where each other node is.

use crate::encapsulation::{self, Encapsulation};
use crate::mtu;
use crate::topology::Topology;
use ipnet::{IpNet, Ipv4Net};
use kernel::{Link, LinkKind, Mac, State};
use std::net::IpAddr;

/// The VXLAN device's name.
pub const DEVICE: &str = "vxlan.calico";

/// The MAC of a node's `vxlan.calico`, derived from its name, so that every node knows every
/// other's without being told.
pub fn device_mac(node: &str) -> Mac {
    Mac(model::names::vxlan_mac(node))
}

/// Whether `vxlan.calico` is wanted: as configured, else where a pool may send by VXLAN.
pub(crate) fn in_use(topology: &Topology) -> bool {
    let by_pool = || {
        topology.pools.iter().any(|pool| {
            use Encapsulation::{Vxlan, VxlanCrossSubnet};
            let way = encapsulation::of(pool, topology);
            way.is_ok_and(|way| matches!(way.encapsulation, Vxlan | VxlanCrossSubnet))
        })
    };
    topology.settings.vxlan_enabled.unwrap_or_else(by_pool)
}

/// Adds the device with its address, FDB and neighbours, while VXLAN is in use.
pub(crate) fn add(topology: &Topology, state: &mut State) {
    let (Some(own), Some(tunnel)) = (topology.address, topology.vxlan_address) else { return };
    let Some(parent) = topology.facts.device_of(own.addr().into()) else { return };
    if !in_use(topology) {
        return;
    }
    state.links.insert(
        DEVICE.to_owned(),
        Link {
            kind: LinkKind::Vxlan {
                vni: topology.settings.vxlan_vni,
                port: topology.settings.vxlan_port,
                local: own.addr().into(),
                parent: parent.to_owned(),
            },
            mtu: mtu::vxlan(topology, parent),
            mac: Some(device_mac(&topology.node)),
            up: true,
        },
    );
    let host_route = IpNet::V4(Ipv4Net::from(tunnel));
    state.addresses.insert((DEVICE.to_owned(), host_route));
    for (name, remote) in &topology.nodes {
        let (Some(address), Some(tunnel)) = (remote.address, remote.vxlan_address) else {
            continue;
        };
        let mac = remote.vxlan_mac.unwrap_or_else(|| device_mac(name));
        state.neighbors.insert((DEVICE.to_owned(), tunnel.into()), mac);
        state.fdb.insert((DEVICE.to_owned(), mac), IpAddr::from(address));
    }
}
