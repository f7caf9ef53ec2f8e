//! The host's side of local workloads: routes to their addresses and the sysctls of their
//! interfaces.

use crate::topology::Topology;
use kernel::{Route, RouteKey, RouteTarget, SCOPE_LINK, State, TABLE_MAIN};

/// Adds routes and sysctls for every workload whose interface is there and up, and forwarding itself.
pub(crate) fn add(topology: &Topology, state: &mut State) {
    sysctl(state, "net/ipv4/ip_forward".to_owned(), "1");
    // Of IPv6 only where it is needed: a router takes no routes from routers' advertisements.
    let mut addresses = topology.workloads.values().flat_map(|workload| &workload.addresses);
    if topology.facts.ipv6 && addresses.any(|address| address.addr().is_ipv6()) {
        sysctl(state, "net/ipv6/conf/all/forwarding".to_owned(), "1");
    }
    for (interface, workload) in &topology.workloads {
        if !topology.facts.workload_links.contains(interface) {
            continue;
        }
        add_sysctls(interface, topology.facts.ipv6, state);
        for address in &workload.addresses {
            let key = RouteKey { table: TABLE_MAIN, destination: *address, metric: 0 };
            let target =
                RouteTarget::Via { device: interface.clone(), gateway: None, onlink: false };
            let protocol = topology.settings.device_route_protocol;
            let route = Route { target, protocol, scope: SCOPE_LINK, source: None };
            state.routes.insert(key, route);
        }
    }
}

/// Calico's settings for a workload's interface (`calico-features.md` §5.4, §6.2): answer ARP for
/// 169.254.1.1 at once, forward, and let node-local addresses be reached through it.
fn add_sysctls(interface: &str, ipv6: bool, state: &mut State) {
    for (group, name, value) in [
        ("ipv4/conf", "route_localnet", "1"),
        ("ipv4/conf", "proxy_arp", "1"),
        ("ipv4/conf", "forwarding", "1"),
        ("ipv4/neigh", "proxy_delay", "0"),
        ("ipv6/conf", "accept_ra", "0"),
        ("ipv6/conf", "forwarding", "1"),
        ("ipv6/conf", "proxy_ndp", "1"),
    ] {
        // A kernel without IPv6 has none of its parameters.
        if ipv6 || !group.starts_with("ipv6/") {
            sysctl(state, ["net/", group, "/", interface, "/", name].concat(), value);
        }
    }
}

fn sysctl(state: &mut State, path: String, value: &str) {
    state.sysctls.insert(path, value.to_owned());
}
