//! WorkloadEndpoint: its name, interface, addresses.

use super::fields;
use super::host_endpoint::{PORT_NAME_RULE, endpoint_port};
use crate::resources::rule::is_port_name;
use crate::resources::workload_endpoint::WorkloadEndpointSpec;
use crate::{Metadata, Problems, names};
use ipnet::IpNet;

pub(crate) fn check(spec: &WorkloadEndpointSpec, metadata: &Metadata, problems: &mut Problems) {
    name(spec, metadata, problems);
    if !spec.interface_name.is_empty() && !fields::is_interface(&spec.interface_name) {
        problems.add("spec.interfaceName", &spec.interface_name, fields::INTERFACE_RULE);
    }
    let mut own = Vec::new();
    for (i, text) in spec.ip_networks.iter().enumerate() {
        match fields::network_address(text) {
            Some(net) if net.prefix_len() == net.max_prefix_len() => own.push(net.addr()),
            _ => problems.add(
                format!("spec.ipNetworks[{i}]"),
                text,
                "an endpoint's network is one address: /32, or /128 for IPv6",
            ),
        }
    }
    for (i, nat) in spec.ip_nats.iter().enumerate() {
        let field = format!("spec.ipNATs[{i}]");
        fields::address(&format!("{field}.externalIP"), &nat.external_ip, problems);
        let field = format!("{field}.internalIP");
        let internal = fields::address(&field, &nat.internal_ip, problems);
        if internal.is_some_and(|address| !own.contains(&address)) {
            problems.add(field, &nat.internal_ip, "it is none of the endpoint's ipNetworks");
        }
    }
    for (field, text) in
        [("spec.ipv4Gateway", &spec.ipv4_gateway), ("spec.ipv6Gateway", &spec.ipv6_gateway)]
    {
        if let Some(text) = text {
            fields::address(field, text, problems);
        }
    }
    if !spec.mac.is_empty() {
        fields::mac("spec.mac", &spec.mac, problems);
    }
    ports(spec, problems);
    for (i, prefix) in spec.allow_spoofed_source_prefixes.iter().enumerate() {
        if prefix.parse::<IpNet>().is_err() {
            let field = format!("spec.allowSpoofedSourcePrefixes[{i}]");
            problems.add(field, prefix, "write a range such as 10.1.0.0/16");
        }
    }
}

fn ports(spec: &WorkloadEndpointSpec, problems: &mut Problems) {
    for (i, port) in spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        if port.name.is_empty() && port.host_port == 0 {
            let reason = "without a name or a hostPort it says nothing; give one";
            problems.add(format!("{field}.name"), "", reason);
        } else if !port.name.is_empty() && !is_port_name(&port.name) {
            problems.add(format!("{field}.name"), &port.name, PORT_NAME_RULE);
        }
        endpoint_port(&field, &port.protocol, port.port, problems);
        if !port.host_ip.is_empty() {
            fields::address(&format!("{field}.hostIP"), &port.host_ip, problems);
        }
    }
}

// Calico derives the name from the fields and refuses one that says something else.
fn name(spec: &WorkloadEndpointSpec, metadata: &Metadata, problems: &mut Problems) {
    let needed = match spec.orchestrator.as_str() {
        "k8s" => vec![("spec.pod", &spec.pod)],
        "cni" => vec![("spec.containerID", &spec.container_id)],
        "" => vec![("spec.orchestrator", &spec.orchestrator)],
        _ => vec![("spec.workload", &spec.workload)],
    };
    let always = [("spec.node", &spec.node), ("spec.endpoint", &spec.endpoint)];
    let missing: Vec<_> =
        needed.into_iter().chain(always).filter(|(_, text)| text.is_empty()).collect();
    for (field, _) in &missing {
        problems.add(*field, "", "the endpoint's name is made of it; give it");
    }
    if !missing.is_empty() {
        return;
    }
    let expected = spec.derived_name();
    if metadata.name != expected {
        let reason = format!("by its fields its name is {expected}");
        problems.add("metadata.name", &metadata.name, reason);
    }
}

impl WorkloadEndpointSpec {
    /// The name that the endpoint's fields make, e.g. `worker--1-k8s-pod--1-eth0`.
    pub fn derived_name(&self) -> String {
        match self.orchestrator.as_str() {
            "k8s" => names::kubernetes_endpoint(&self.node, &self.pod, &self.endpoint),
            "cni" => names::cni_endpoint(&self.node, &self.container_id, &self.endpoint),
            other => names::endpoint(&self.node, other, &self.workload, &self.endpoint),
        }
    }
}
