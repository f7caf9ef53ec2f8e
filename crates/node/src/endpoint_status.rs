//! What other programs of the node are told of each endpoint whose traffic is routed.
//!
//! Source: Calico's Felix, endpoint status files, which its CNI plugin and its BGP configuration read.

use model::{WorkloadEndpoint, WorkloadEndpointSpec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Endpoints that are routed: the file name of each, and what stands in it.
pub type EndpointStatuses = BTreeMap<String, EndpointStatus>;

/// The content of one file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The host's end of the veth pair.
    pub iface_name: String,
    /// The container's MAC.
    pub mac: String,
    /// Its IPv4 addresses, each `/32`.
    pub ipv4_nets: Vec<String>,
    /// Its IPv6 addresses, each `/128`.
    pub ipv6_nets: Vec<String>,
    /// The BGPPeer that selects it; empty without one.
    pub bgp_peer_name: String,
}

impl EndpointStatus {
    /// What an endpoint's file says.
    pub(crate) fn of(spec: &WorkloadEndpointSpec) -> EndpointStatus {
        let (ipv6_nets, ipv4_nets) =
            spec.ip_networks.iter().cloned().partition(|network| network.contains(':'));
        EndpointStatus {
            iface_name: spec.interface_name.clone(),
            mac: spec.mac.clone(),
            ipv4_nets,
            ipv6_nets,
            bgp_peer_name: String::new(),
        }
    }
}

/// The name of an endpoint's file: orchestrator, workload and endpoint, `k8s default%2Fpod-1 eth0`.
pub(crate) fn file_name(endpoint: &WorkloadEndpoint) -> String {
    let spec = &endpoint.spec;
    let namespace = endpoint.metadata.namespace.as_deref().unwrap_or_default();
    let name = match spec.orchestrator.as_str() {
        "k8s" => &spec.pod,
        "cni" => &spec.container_id,
        _ => &spec.workload,
    };
    let workload = format!("{namespace}/{name}");
    [spec.orchestrator.as_str(), &workload, &spec.endpoint].map(escaped).join(" ")
}

/// One segment of a URL's path, as Go's `url.PathEscape` writes it.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+=:@".contains(&byte) {
            escaped.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_and_written_as_calicos() {
        let spec = WorkloadEndpointSpec {
            orchestrator: "k8s".to_owned(),
            pod: "pod-1".to_owned(),
            endpoint: "eth0".to_owned(),
            interface_name: "cali83dbd022cd5".to_owned(),
            mac: "fe:00:00:00:00:01".to_owned(),
            ip_networks: vec!["192.168.226.65/32".to_owned(), "fd00::1/128".to_owned()],
            ..WorkloadEndpointSpec::default()
        };
        let mut endpoint = WorkloadEndpoint::new("worker--1-k8s-pod--1-eth0", spec);
        endpoint.metadata.namespace = Some("default".to_owned());
        assert_eq!(file_name(&endpoint), "k8s default%2Fpod-1 eth0");
        assert_eq!(
            serde_json::to_string(&EndpointStatus::of(&endpoint.spec)).expect("JSON"),
            r#"{"ifaceName":"cali83dbd022cd5","mac":"fe:00:00:00:00:01","ipv4Nets":["192.168.226.65/32"],"ipv6Nets":["fd00::1/128"],"bgpPeerName":""}"#
        );
        assert_eq!(escaped("a b%ü"), "a%20b%25%C3%BC");
    }
}
