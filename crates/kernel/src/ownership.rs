//! Which objects in the kernel are ours to remove.

use crate::{
    Ownership, PROTOCOL_BOOT, PROTOCOL_CALICO, Route, RouteKey, RouteTarget, SCOPE_LINK, TABLE_MAIN,
};
use ipnet::IpNet;

/// Routes that the kernel itself makes for a device's addresses.
const PROTOCOL_KERNEL: u8 = 2;

impl Ownership {
    /// Whether a route is ours to remove.
    pub fn owns_route(&self, key: &RouteKey, route: &Route) -> bool {
        if key.table != TABLE_MAIN || matches!(route.target, RouteTarget::Other(_)) {
            return false;
        }
        let by_protocol = self.route_protocols.contains(&route.protocol) && !self.keeps(route);
        by_protocol || self.owns_workload_route(route)
    }

    fn keeps(&self, route: &Route) -> bool {
        route.device().is_some() && self.kept_protocols.contains(&route.protocol)
    }

    fn owns_workload_route(&self, route: &Route) -> bool {
        let RouteTarget::Via { device, .. } = &route.target else { return false };
        let by_agent = [PROTOCOL_BOOT, PROTOCOL_CALICO].contains(&route.protocol);
        let linked = route.scope == SCOPE_LINK && route.protocol != PROTOCOL_KERNEL;
        self.is_workload(device) && (by_agent || (linked && self.external_workload_routes))
    }

    /// Whether a device is a workload's, by its name.
    pub fn is_workload(&self, device: &str) -> bool {
        self.workload_prefixes.iter().any(|prefix| device.starts_with(prefix))
    }

    /// Whether a device, its neighbours and its forwarding entries are ours.
    pub fn owns_device(&self, name: &str) -> bool {
        self.devices.contains(name)
    }

    /// Whether an address of a device is ours. The link-local one of IPv6 is the kernel's.
    pub fn owns_address(&self, device: &str, address: IpNet) -> bool {
        let of_kernel = matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local());
        self.owns_device(device) && !of_kernel
    }
}
