//! What a user may write for an end and for a port.

use crate::Error;
use crate::cluster::{Cluster, workload_addresses};
use ipnet::IpNet;
use model::{HostEndpoint, IpProtocol, WorkloadEndpoint};
use std::net::IpAddr;

/// One end of a packet's way.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// `shop/web`, or an address.
    pub(super) name: String,
    /// The node that it is on, or is.
    pub(super) node: Option<String>,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

impl End {
    /// A pod as NAME or NAMESPACE/NAME, an endpoint's name, a node, a host endpoint, a network set or
    /// an address.
    pub(super) fn find(cluster: &Cluster, text: &str, namespace: &str) -> Result<End, Error> {
        let address: Option<IpAddr> = text.parse().ok();
        let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
        let is_meant = |endpoint: &&WorkloadEndpoint| match address {
            Some(address) => workload_addresses(endpoint).any(|own| own == address),
            None => {
                endpoint.metadata.namespace.as_deref() == Some(namespace)
                    && [&endpoint.spec.pod, &endpoint.spec.workload, &endpoint.metadata.name]
                        .into_iter()
                        .any(|known| known == name)
            }
        };
        let mut found = cluster.workloads().filter(is_meant);
        if let Some(endpoint) = found.next() {
            let pod = End::pod(endpoint);
            // Of several addresses, the one that was given.
            let addresses = address.map_or(pod.addresses, |address| vec![address]);
            return Ok(End { addresses, ..pod });
        }
        if let Some(address) = address {
            let node = cluster.node_with(address);
            return Ok(End { name: text.to_owned(), node, addresses: vec![address] });
        }
        let addresses = cluster.node_addresses(text);
        if !addresses.is_empty() {
            return Ok(End { name: text.to_owned(), node: Some(text.to_owned()), addresses });
        }
        let mut hosts = cluster.host_endpoints().filter(|host| host.metadata.name == text);
        if let Some(host) = hosts.next() {
            return Ok(End::host(cluster, host));
        }
        if let Some((key, nets)) = cluster.network_set(namespace, name) {
            let addresses = nets.iter().filter_map(|text| first_address(text)).collect();
            return Ok(End { name: key.to_string(), node: None, addresses });
        }
        Err(Error::Invalid(format!(
            "{text} is no pod or network set of namespace {namespace}, no node, host endpoint or \
             address; `calicoctl get wep -A` lists pods, -n names another namespace"
        )))
    }

    fn host(cluster: &Cluster, endpoint: &HostEndpoint) -> End {
        End {
            name: endpoint.key().to_string(),
            node: Some(endpoint.spec.node.clone()),
            addresses: cluster.host_addresses(endpoint),
        }
    }

    fn pod(endpoint: &WorkloadEndpoint) -> End {
        let (metadata, spec) = (&endpoint.metadata, &endpoint.spec);
        let name = if spec.pod.is_empty() { &metadata.name } else { &spec.pod };
        End {
            name: format!("{}/{name}", metadata.namespace.as_deref().unwrap_or_default()),
            node: Some(spec.node.clone()),
            addresses: workload_addresses(endpoint).collect(),
        }
    }
}

/// The first address of a prefix that a host may have, or an address itself.
fn first_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok()?.hosts().next())
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
