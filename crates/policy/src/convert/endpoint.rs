//! Endpoints as the graph takes them.

use super::boxed;
use crate::input::{HostEndpoint, NamedPort, Workload};
use ipnet::IpNet;
use model::IpProtocol;
use std::net::IpAddr;

/// An endpoint of a workload. An address that cannot be read is none.
pub(super) fn workload(resource: &model::WorkloadEndpoint) -> Workload {
    let spec = &resource.spec;
    let ports = spec.ports.iter().map(|port| (&port.name, &port.protocol, port.port));
    Workload {
        node: spec.node.as_str().into(),
        interface: spec.interface_name.as_str().into(),
        addresses: spec.ip_networks.iter().filter_map(|text| address(text)).collect(),
        labels: boxed(&resource.metadata.labels),
        profiles: spec.profiles.iter().map(|name| name.as_str().into()).collect(),
        ports: named_ports(ports),
        allowed_sources: spec
            .allow_spoofed_source_prefixes
            .iter()
            .filter_map(|text| super::rule::net(text))
            .collect(),
    }
}

/// An endpoint of a host.
pub(super) fn host(resource: &model::HostEndpoint) -> HostEndpoint {
    let spec = &resource.spec;
    let ports = spec.ports.iter().map(|port| (&port.name, &port.protocol, port.port));
    HostEndpoint {
        node: spec.node.as_str().into(),
        interface: spec.interface_name.as_str().into(),
        addresses: spec.expected_ips.iter().filter_map(|text| address(text)).collect(),
        labels: boxed(&resource.metadata.labels),
        profiles: spec.profiles.iter().map(|name| name.as_str().into()).collect(),
        ports: named_ports(ports),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|net| net.addr()))
}

/// Those that have a name, of protocols that are known.
fn named_ports<'a>(
    ports: impl Iterator<Item = (&'a String, &'a IpProtocol, u16)>,
) -> Vec<NamedPort> {
    let named = ports.filter(|(name, ..)| !name.is_empty());
    let known = named.filter_map(|(name, protocol, port)| {
        Some(NamedPort { name: name.as_str().into(), protocol: protocol.number()?, port })
    });
    known.collect()
}
