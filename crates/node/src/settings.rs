//! From configuration parameters to what a plan needs.

use ipnet::IpNet;
use model::config::{
    self, DenyAction, ProgramClusterRoutes, Resolved, ServiceLoopPrevention, SourceSpoofing,
    Warning,
};
use plan::policy::Marks;
use plan::{Facts, Settings};
use policy::evaluate::Failsafe;
use std::collections::BTreeSet;

/// `deviceRouteProtocol`'s default, which leaves cluster routes at proto 80.
const ROUTE_PROTOCOL_DEFAULT: u8 = kernel::PROTOCOL_BOOT;

/// The settings of a plan; `mtuIfacePattern` is matched against the devices there are.
/// `by_bgp` is BGPConfiguration's `programClusterRoutes`, `service_ranges` are its services'.
pub(crate) fn plan(
    resolved: &Resolved,
    by_bgp: ProgramClusterRoutes,
    service_ranges: BTreeSet<IpNet>,
    facts: &Facts,
) -> Settings {
    let pattern = resolved.get(&config::MTU_IFACE_PATTERN);
    let uplinks = facts.links.keys().filter(|device| pattern.is_match(device));
    let prefixes = resolved.get(&config::INTERFACE_PREFIX);
    let route_protocol = resolved.get(&config::DEVICE_ROUTE_PROTOCOL);
    Settings {
        backend: resolved.get(&config::NETWORKING_BACKEND),
        program_cluster_routes: resolved.get(&config::PROGRAM_CLUSTER_ROUTES),
        bgp_program_cluster_routes: by_bgp,
        ipip_enabled: resolved.get(&config::IPIP_ENABLED),
        ipip_mtu: resolved.get(&config::IPIP_MTU),
        vxlan_enabled: resolved.get(&config::VXLAN_ENABLED),
        vxlan_vni: resolved.get(&config::VXLAN_VNI),
        vxlan_port: resolved.get(&config::VXLAN_PORT),
        vxlan_mtu: resolved.get(&config::VXLAN_MTU),
        mtu_devices: uplinks.cloned().collect(),
        interface_prefixes: prefixes.into_iter().collect(),
        device_route_protocol: route_protocol,
        cluster_route_protocol: match route_protocol {
            ROUTE_PROTOCOL_DEFAULT => kernel::PROTOCOL_CALICO,
            other => other,
        },
        remove_external_routes: resolved.get(&config::REMOVE_EXTERNAL_ROUTES),
        refresh_interval: Some(resolved.get(&config::ROUTE_REFRESH_INTERVAL))
            .filter(|interval| !interval.is_zero()),
        policy: Some(policy(resolved, service_ranges)),
    }
}

/// How policy is enforced. A mask of too few bits is refused where it is read.
fn policy(resolved: &Resolved, service_ranges: BTreeSet<IpNet>) -> plan::policy::Settings {
    let mask = resolved.get(&config::NFTABLES_MARK_MASK);
    plan::policy::Settings {
        interface_prefixes: resolved.get(&config::INTERFACE_PREFIX).into_iter().collect(),
        marks: Marks::of_mask(mask).unwrap_or_default(),
        endpoint_to_host: resolved.get(&config::DEFAULT_ENDPOINT_TO_HOST_ACTION),
        drop_invalid: !resolved.get(&config::DISABLE_CONNTRACK_INVALID_CHECK),
        vxlan_from_workloads: resolved.get(&config::ALLOW_VXLAN_PACKETS_FROM_WORKLOADS),
        ipip_from_workloads: resolved.get(&config::ALLOW_IPIP_PACKETS_FROM_WORKLOADS),
        vxlan_port: resolved.get(&config::VXLAN_PORT),
        source_spoofing: resolved.get(&config::WORKLOAD_SOURCE_SPOOFING) == SourceSpoofing::Any,
        failsafe: Failsafe {
            inbound: resolved.get(&config::FAILSAFE_INBOUND_HOST_PORTS),
            outbound: resolved.get(&config::FAILSAFE_OUTBOUND_HOST_PORTS),
        },
        deny: resolved.get(&config::NFTABLES_FILTER_DENY_ACTION),
        filter_allow: resolved.get(&config::NFTABLES_FILTER_ALLOW_ACTION),
        mangle_allow: resolved.get(&config::NFTABLES_MANGLE_ALLOW_ACTION),
        service_loops: match resolved.get(&config::SERVICE_LOOP_PREVENTION) {
            ServiceLoopPrevention::Drop => Some(DenyAction::Drop),
            ServiceLoopPrevention::Reject => Some(DenyAction::Reject),
            ServiceLoopPrevention::Disabled => None,
        },
        service_ranges,
        log_prefix: resolved.get(&config::LOG_PREFIX),
    }
}

/// Where metrics are served, if they are; without a host on every address.
pub(crate) fn metrics_address(resolved: &Resolved) -> Option<String> {
    let host = match resolved.get(&config::PROMETHEUS_METRICS_HOST).as_str() {
        "" => "[::]".to_owned(),
        // A static executable cannot ask the system's resolver for the one name that needs none.
        "localhost" => "127.0.0.1".to_owned(),
        v6 if v6.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{v6}]"),
        other => other.to_owned(),
    };
    let address = format!("{host}:{}", resolved.get(&config::PROMETHEUS_METRICS_PORT));
    resolved.get(&config::PROMETHEUS_METRICS_ENABLED).then_some(address)
}

/// What is wrong with the configuration. Calico's parameters that change nothing here are not in
/// it: real manifests set dozens, and the log names them once.
pub(crate) fn warnings(resolved: &Resolved) -> Vec<String> {
    let telling = resolved.warnings().iter().chain(resolved.refusals());
    telling.filter(|w| !matches!(w, Warning::NotActedOn { .. })).map(ToString::to_string).collect()
}
