//! How large packets may be: the uplinks' MTU less what encapsulation adds.

use crate::topology::Topology;
use crate::vxlan;

/// Bytes VXLAN adds over IPv4: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14.
const VXLAN_OVERHEAD: u32 = 50;
/// Ethernet's, where no uplink is known.
const MTU_DEFAULT: u32 = 1500;

/// The MTU of `vxlan.calico`: as configured, or the parent's less the overhead.
pub(crate) fn vxlan(topology: &Topology, parent: &str) -> u32 {
    match topology.settings.vxlan_mtu {
        0 => {
            let parent = topology.facts.links.get(parent).map_or(MTU_DEFAULT, |link| link.mtu);
            parent.saturating_sub(VXLAN_OVERHEAD)
        }
        configured => configured,
    }
}

/// The MTU of pods: the smallest uplink's, less the overhead while any pool encapsulates.
pub(crate) fn pod(topology: &Topology) -> u32 {
    let uplinks = topology.settings.mtu_devices.iter();
    let smallest = uplinks
        .filter_map(|device| topology.facts.links.get(device))
        .filter(|link| link.up)
        .map(|link| link.mtu)
        .min()
        .unwrap_or(MTU_DEFAULT);
    if !vxlan::in_use(topology) {
        return smallest;
    }
    match topology.settings.vxlan_mtu {
        0 => smallest.saturating_sub(VXLAN_OVERHEAD),
        configured => configured,
    }
}
