//! What a user may write for an end and for a port.

use super::workload_id;
use crate::Error;
use crate::cluster::Cluster;
use model::{IpProtocol, WorkloadEndpoint};
use policy::input::WorkloadId;
use std::net::IpAddr;

/// One end of a packet's way.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// `shop/web`, or an address.
    pub(super) name: String,
    /// The node that a pod is on, or that it is.
    pub(super) node: Option<String>,
    /// A pod's endpoint.
    pub(super) workload: Option<WorkloadId>,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

impl End {
    /// A pod as NAME or NAMESPACE/NAME, an endpoint's name, a node, or an address.
    pub(super) fn find(cluster: &Cluster, text: &str, namespace: &str) -> Result<End, Error> {
        let address: Option<IpAddr> = text.parse().ok();
        let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
        let is_meant = |endpoint: &&WorkloadEndpoint| match address {
            Some(address) => addresses(endpoint).contains(&address),
            None => {
                endpoint.metadata.namespace.as_deref() == Some(namespace)
                    && [&endpoint.spec.pod, &endpoint.spec.workload, &endpoint.metadata.name]
                        .into_iter()
                        .any(|known| known == name)
            }
        };
        let mut found = cluster.workloads().filter(is_meant);
        if let Some(endpoint) = found.next() {
            return Ok(End::pod(endpoint));
        }
        let node = match address {
            Some(address) => cluster.node_with(address),
            None => Some(text.to_owned()),
        };
        let address = address.or_else(|| cluster.node_address(text));
        match address {
            Some(address) => {
                Ok(End { name: text.to_owned(), node, workload: None, addresses: vec![address] })
            }
            None => Err(Error::Invalid(format!(
                "{text} is no pod of namespace {namespace}, no node and no address; `calicoctl get \
                 wep -A` lists pods, -n names another namespace"
            ))),
        }
    }

    fn pod(endpoint: &WorkloadEndpoint) -> End {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        let name = if spec.pod.is_empty() { &metadata.name } else { &spec.pod };
        End {
            name: format!("{}/{name}", metadata.namespace.as_deref().unwrap_or_default()),
            node: Some(spec.node.clone()),
            workload: Some(workload_id(metadata)),
            addresses: addresses(endpoint),
        }
    }
}

fn addresses(endpoint: &WorkloadEndpoint) -> Vec<IpAddr> {
    let nets = endpoint.spec.ip_networks.iter();
    nets.filter_map(|text| text.split('/').next()?.parse().ok()).collect()
}

/// What of a packet rules look at besides its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// A port of TCP, UDP or SCTP.
    Of {
        /// IP protocol number.
        protocol: u8,
        /// The destination's port.
        port: u16,
    },
    /// An echo request.
    Ping,
}

impl Port {
    /// `tcp/80`, `80/tcp`, `80`, `icmp`; nothing: `icmp`.
    pub(super) fn read(text: Option<&str>) -> Result<Port, Error> {
        let Some(text) = text else { return Ok(Port::Ping) };
        let wrong = || {
            Error::Invalid(format!(
                "--port {text} is not understood; write tcp/80, udp/53, sctp/9 or icmp"
            ))
        };
        if ["icmp", "icmpv6", "ping"].iter().any(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(Port::Ping);
        }
        let (one, other) = text.split_once('/').unwrap_or(("tcp", text));
        let (protocol, port) = match (one.parse::<u16>(), other.parse::<u16>()) {
            (Ok(port), Err(_)) => (other, port),
            (Err(_), Ok(port)) => (one, port),
            _ => return Err(wrong()),
        };
        let protocol = IpProtocol::parse(protocol);
        let number = protocol.number().filter(|_| protocol.has_ports()).ok_or_else(wrong)?;
        Ok(Port::Of { protocol: number, port })
    }
}

#[cfg(test)]
mod tests {
    use super::Port;

    #[test]
    fn ports_may_be_written_either_way_round() {
        let tcp = |port| Port::Of { protocol: 6, port };
        for (text, expected) in [
            (None, Port::Ping),
            (Some("icmp"), Port::Ping),
            (Some("80"), tcp(80)),
            (Some("tcp/80"), tcp(80)),
            (Some("80/TCP"), tcp(80)),
            (Some("udp/53"), Port::Of { protocol: 17, port: 53 }),
            (Some("sctp/9"), Port::Of { protocol: 132, port: 9 }),
        ] {
            assert_eq!(Port::read(text).unwrap(), expected, "{text:?}");
        }
        for text in ["", "tcp", "tcp/", "tcp/http", "80/80", "foo/1", "tcp/65536", "icmp/8"] {
            let why = Port::read(Some(text)).unwrap_err().to_string();
            assert!(why.contains("write tcp/80"), "{text}: {why}");
        }
    }
}
