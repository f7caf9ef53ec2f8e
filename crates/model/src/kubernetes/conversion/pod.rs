//! Pods to workload endpoints.

use crate::kubernetes::cni::{self, ADD_ANNOTATIONS};
use crate::kubernetes::pod::{
    CONTAINER_ID_ANNOTATION, Container, FLOATING_IPS_ANNOTATION, POD_IP_ANNOTATION,
    POD_IPS_ANNOTATION, Pod, SOURCE_PREFIXES_ANNOTATION,
};
use crate::resources::workload_endpoint::IpNat;
use crate::{
    IpProtocol, Metadata, Problem, Resource, WorkloadEndpointPort, WorkloadEndpointSpec, names,
};
use ipnet::IpNet;
use std::net::IpAddr;

use super::Converted;

/// The interface of every pod, as Calico names it.
const INTERFACE: &str = "eth0";

/// Amazon's CNI plugin writes the addresses here.
const VPC_POD_IPS_ANNOTATION: &str = "vpc.amazonaws.com/pod-ips";

impl Pod {
    /// Its endpoint; `None` where it has none (see [`Pod::is_endpoint`]). `interface_prefix` is how
    /// names of workload interfaces start. What cannot be read is left out, with a problem.
    pub fn to_calico(&self, interface_prefix: &str) -> Option<Converted<WorkloadEndpointSpec>> {
        if !self.is_endpoint() {
            return None;
        }
        let annotations = self.metadata.annotations.iter();
        let unknown = annotations.filter(|(name, _)| cni::is_unknown(name));
        let reason = "Calico knows no such annotation, and ignores it: is it misspelt?";
        let mut problems: Vec<Problem> =
            unknown.map(|(name, value)| problem(name, value, reason)).collect();
        let (name, node) = (&self.metadata.name, &self.spec.node_name);
        let namespace = self.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let account = &self.spec.service_account_name;
        let mut profiles = vec![names::namespace_profile(&namespace)];
        if !account.is_empty() {
            profiles.push(names::service_account_profile(&namespace, account));
        }
        let addresses = if self.is_finished() { Vec::new() } else { self.addresses(&mut problems) };
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        let spec = WorkloadEndpointSpec {
            orchestrator: "k8s".to_owned(),
            node: node.clone(),
            container_id: self.annotation(CONTAINER_ID_ANNOTATION).to_owned(),
            pod: name.clone(),
            endpoint: INTERFACE.to_owned(),
            service_account_name: account.clone(),
            ip_networks: addresses.iter().map(ToString::to_string).collect(),
            ip_nats: self.floating_addresses(&addresses, &mut problems),
            profiles,
            interface_name: names::host_interface(interface_prefix, &namespace, name),
            ports: containers.flat_map(ports).collect(),
            allow_spoofed_source_prefixes: self.source_prefixes(&mut problems),
            ..WorkloadEndpointSpec::default()
        };
        let metadata = Metadata {
            namespace: Some(namespace),
            uid: self.metadata.uid.clone(),
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            labels: self.metadata.labels.clone(),
            annotations: super::chosen(&self.metadata.annotations, &ADD_ANNOTATIONS),
            ..Metadata::named(names::kubernetes_endpoint(node, name, INTERFACE))
        };
        let mut resource = Resource { metadata, spec, status: None };
        // The labels that every endpoint has.
        resource.apply_defaults();
        Some(Converted { resource, problems })
    }

    fn annotation(&self, name: &str) -> &str {
        self.metadata.annotations.get(name).map_or("", String::as_str)
    }

    /// Kubelet's word first, then CNI's, which comes earlier; a value of one address each.
    fn addresses(&self, problems: &mut Vec<Problem>) -> Vec<IpNet> {
        let status = &self.status;
        let (field, given): (_, Vec<&str>) = if !status.pod_ips.is_empty() {
            ("status.podIPs", status.pod_ips.iter().map(|one| one.ip.as_str()).collect())
        } else if !status.pod_ip.is_empty() {
            ("status.podIP", vec![&status.pod_ip])
        } else {
            let names = [POD_IPS_ANNOTATION, POD_IP_ANNOTATION, VPC_POD_IPS_ANNOTATION];
            let set = names.into_iter().find(|name| !self.annotation(name).is_empty());
            let list = set.map_or("", |name| self.annotation(name));
            (set.unwrap_or_default(), list.split(',').collect())
        };
        let mut addresses = Vec::new();
        for text in given.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
            match address(text) {
                Some(net) => addresses.push(net),
                None => problems.push(problem(field, text, "write one address such as 10.0.0.1")),
            }
        }
        addresses
    }

    fn floating_addresses(&self, own: &[IpNet], problems: &mut Vec<Problem>) -> Vec<IpNat> {
        let mut nats = Vec::new();
        for text in self.list(FLOATING_IPS_ANNOTATION, problems) {
            let Ok(external) = text.parse::<IpAddr>() else {
                problems.push(problem(FLOATING_IPS_ANNOTATION, &text, "write an address"));
                continue;
            };
            let internal = own.iter().find(|net| net.addr().is_ipv4() == external.is_ipv4());
            nats.extend(internal.map(|net| IpNat {
                internal_ip: net.addr().to_string(),
                external_ip: external.to_string(),
            }));
        }
        nats
    }

    fn source_prefixes(&self, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut prefixes = Vec::new();
        for text in self.list(SOURCE_PREFIXES_ANNOTATION, problems) {
            match text.parse::<IpNet>() {
                Ok(net) => prefixes.push(net.trunc().to_string()),
                Err(_) => {
                    let reason = "write a range such as 10.0.0.0/8";
                    problems.push(problem(SOURCE_PREFIXES_ANNOTATION, &text, reason));
                }
            }
        }
        prefixes
    }

    fn list(&self, annotation: &'static str, problems: &mut Vec<Problem>) -> Vec<String> {
        let text = self.annotation(annotation);
        if text.is_empty() {
            return Vec::new();
        }
        serde_json::from_str(text).unwrap_or_else(|_| {
            problems.push(problem(annotation, text, "write a JSON list of texts"));
            Vec::new()
        })
    }
}

fn problem(field: &str, value: &str, reason: &str) -> Problem {
    let field = match field.starts_with("status.") {
        true => field.to_owned(),
        false => format!("metadata.annotations[{field}]"),
    };
    Problem { field, value: value.to_owned(), reason: reason.to_owned() }
}

/// One address, alone or as a range of nothing else.
fn address(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok().filter(|net| net.prefix_len() == net.max_prefix_len()),
    }
}

/// Ports that have a name or a host port; those of unknown protocols are left out, as in Calico.
fn ports(container: &Container) -> Vec<WorkloadEndpointPort> {
    let wanted = container
        .ports
        .iter()
        .filter(|port| port.container_port != 0 && (port.host_port != 0 || !port.name.is_empty()));
    let converted = wanted.filter_map(|port| {
        let protocol = match port.protocol.as_str() {
            "" | "TCP" => IpProtocol::Tcp,
            "UDP" => IpProtocol::Udp,
            "SCTP" => IpProtocol::Sctp,
            _ => return None,
        };
        Some(WorkloadEndpointPort {
            name: port.name.clone(),
            protocol,
            port: port.container_port,
            host_port: port.host_port,
            host_ip: port.host_ip.clone(),
        })
    });
    converted.collect()
}
