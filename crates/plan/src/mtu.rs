//! How large packets may be: the uplinks' MTU less what encapsulation adds.

use crate::topology::Topology;
use crate::{ipip, vxlan};

/// Bytes VXLAN adds over IPv4: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14.
const VXLAN_OVERHEAD: u32 = 50;
/// Bytes IP-in-IP adds: the outer IPv4 header.
const IPIP_OVERHEAD: u32 = 20;
/// Ethernet's, where no uplink is known.
const MTU_DEFAULT: u32 = 1500;

/// The MTU of `vxlan.calico`: as configured, or the parent's less the overhead.
pub(crate) fn vxlan(topology: &Topology, parent: &str) -> u32 {
    configured_or(topology.settings.vxlan_mtu, of_device(topology, parent), VXLAN_OVERHEAD)
}

/// The MTU of `tunl0`: as configured, or the uplink's less the overhead.
pub(crate) fn ipip(topology: &Topology, uplink: &str) -> u32 {
    configured_or(topology.settings.ipip_mtu, of_device(topology, uplink), IPIP_OVERHEAD)
}

/// The MTU of pods: the smallest uplink's, less the overhead of any encapsulation in use.
pub(crate) fn pod(topology: &Topology) -> u32 {
    let uplinks = topology.settings.mtu_devices.iter();
    let smallest = uplinks
        .filter_map(|device| topology.facts.links.get(device))
        .filter(|link| link.up)
        .map(|link| link.mtu)
        .min()
        .unwrap_or(MTU_DEFAULT);
    let settings = &topology.settings;
    let tunnels = [
        (vxlan::in_use(topology), settings.vxlan_mtu, VXLAN_OVERHEAD),
        (ipip::in_use(topology), settings.ipip_mtu, IPIP_OVERHEAD),
    ];
    let in_use = tunnels.into_iter().filter(|(in_use, ..)| *in_use);
    let by_tunnel =
        in_use.map(|(_, configured, overhead)| configured_or(configured, smallest, overhead));
    by_tunnel.min().unwrap_or(smallest)
}

fn of_device(topology: &Topology, device: &str) -> u32 {
    topology.facts.links.get(device).map_or(MTU_DEFAULT, |link| link.mtu)
}

/// 0 configures nothing.
fn configured_or(configured: u32, outer: u32, overhead: u32) -> u32 {
    if configured == 0 { outer.saturating_sub(overhead) } else { configured }
}
