//! `tunl0`: the IP-in-IP device, its address, and whose packets it takes.

use crate::mtu;
use crate::topology::Topology;
use ipnet::{IpNet, Ipv4Net};
use kernel::{Link, LinkKind, State};
use model::EncapsulationMode;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The IP-in-IP device's name.
pub const DEVICE: &str = "tunl0";

/// Whether `tunl0` is wanted: as configured, else where a pool may send by IP-in-IP.
pub(crate) fn in_use(topology: &Topology) -> bool {
    let by_pool = || topology.pools.iter().any(|pool| pool.ipip != EncapsulationMode::Never);
    topology.settings.ipip_enabled.unwrap_or_else(by_pool)
}

/// The addresses that outer packets may come from: those of all other nodes.
pub(crate) fn sources(topology: &Topology) -> BTreeSet<Ipv4Addr> {
    topology.nodes.values().filter_map(|node| node.address).collect()
}

/// Adds the device with its address and the nodes it takes packets from, while IP-in-IP is in use.
pub(crate) fn add(topology: &Topology, state: &mut State) {
    let Some(own) = topology.address.map(|net| net.addr()) else { return };
    let Some(uplink) = topology.facts.device_of(own.into()) else { return };
    if !in_use(topology) {
        return;
    }
    let kind = if topology.facts.ipip {
        LinkKind::Ipip
    } else {
        state.decapsulated.insert(DEVICE.to_owned(), sources(topology));
        LinkKind::IpipBpf { local: own, uplinks: uplinks(topology, uplink) }
    };
    let mtu = mtu::ipip(topology, uplink);
    state.links.insert(DEVICE.to_owned(), Link { kind, mtu, mac: None, up: true });
    if let Some(tunnel) = topology.ipip_address {
        state.addresses.insert((DEVICE.to_owned(), IpNet::V4(Ipv4Net::from(tunnel))));
    }
}

/// The node's own uplink and all others that are there: a packet may come in by any of them.
fn uplinks(topology: &Topology, own: &str) -> BTreeSet<String> {
    let matched = topology.settings.mtu_devices.iter();
    let there = matched.filter(|device| topology.facts.links.contains_key(*device));
    there.cloned().chain([own.to_owned()]).collect()
}

#[cfg(test)]
mod tests;
