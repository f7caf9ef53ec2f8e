//! HostEndpoint: a node, an interface or addresses by which it is known, named ports.

use super::fields;
use crate::resources::host_endpoint::{ANY_INTERFACE, HostEndpointSpec};
use crate::resources::rule::{IpProtocol, is_port_name};
use crate::{Metadata, Problems};

pub(crate) fn check(spec: &HostEndpointSpec, _metadata: &Metadata, problems: &mut Problems) {
    if spec.node.is_empty() {
        problems.add("spec.node", "", "give the name of the node it is on");
    } else if !super::is_name(&spec.node) {
        problems.add("spec.node", &spec.node, fields::NAME_RULE);
    }
    let interface = spec.interface_name.as_str();
    match interface {
        "" if spec.expected_ips.is_empty() => {
            let reason = "give it, `*` for all, or expectedIPs by which the interface is found";
            problems.add("spec.interfaceName", "", reason);
        }
        "" | ANY_INTERFACE => {}
        other if !fields::is_interface(other) => {
            let reason = format!("{}; or it is `*`, all interfaces", fields::INTERFACE_RULE);
            problems.add("spec.interfaceName", other, reason);
        }
        _ => {}
    }
    for (i, address) in spec.expected_ips.iter().enumerate() {
        fields::address(&format!("spec.expectedIPs[{i}]"), address, problems);
    }
    for (i, profile) in spec.profiles.iter().enumerate() {
        if !super::is_name(profile) {
            problems.add(format!("spec.profiles[{i}]"), profile, fields::NAME_RULE);
        }
    }
    for (i, port) in spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        if !is_port_name(&port.name) {
            problems.add(format!("{field}.name"), &port.name, PORT_NAME_RULE);
        }
        endpoint_port(&field, &port.protocol, port.port, problems);
    }
}

pub(crate) const PORT_NAME_RULE: &str =
    "a port's name takes 1–128 letters, digits, `_`, `.` and `-`";

/// Checks a port of an endpoint: a protocol with ports, and a number other than 0.
pub(crate) fn endpoint_port(
    field: &str,
    protocol: &IpProtocol,
    port: u16,
    problems: &mut Problems,
) {
    if !protocol.has_ports() {
        problems.add(format!("{field}.protocol"), protocol, "it takes TCP, UDP or SCTP");
    }
    if port == 0 {
        problems.add(format!("{field}.port"), port, "a port is from 1 to 65535");
    }
}
