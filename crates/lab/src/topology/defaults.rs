//! What a topology is where its file says nothing: the network of the first walkthrough.

use super::{
    Backend, DEFAULT, Datastore, Encapsulation, Node, Outside, Pod, Subnet, Topology, Uplink,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) fn default_mtu() -> u32 {
    1500
}

pub(super) fn default_interface() -> String {
    "ens5".into()
}

pub(super) fn default_protocol() -> String {
    "tcp".into()
}

pub(super) fn default_name() -> String {
    DEFAULT.into()
}

pub(super) fn never() -> String {
    "Never".into()
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn all_nodes() -> String {
    "all()".into()
}

impl Default for Encapsulation {
    fn default() -> Encapsulation {
        Encapsulation { ipip_mode: never(), vxlan_mode: never() }
    }
}

impl Default for Outside {
    fn default() -> Outside {
        Outside { address: prefix([198, 51, 100, 10], 24) }
    }
}

/// A prefix known to be valid when this was written.
pub(super) fn prefix(address: [u8; 4], length: u8) -> IpNet {
    IpNet::new(IpAddr::from(address), length).expect("a constant length of at most 32")
}

impl Default for Topology {
    fn default() -> Topology {
        let subnet = |name: &str, third: u8| Subnet {
            name: name.into(),
            cidrs: vec![prefix([10, 30, third, 0], 24)],
            mtu: default_mtu(),
        };
        let node = |name: &str, subnet: &str, address: [u8; 4]| Node {
            name: name.into(),
            uplinks: vec![Uplink {
                interface: default_interface(),
                subnet: subnet.into(),
                addresses: vec![IpAddr::from(address)],
            }],
            env: BTreeMap::new(),
            pod_cidrs: Vec::new(),
        };
        let pod = |number: u8| Pod {
            name: format!("pod-{number}"),
            namespace: default_name(),
            node: format!("worker-{number}"),
            labels: BTreeMap::new(),
            service_account: default_name(),
            ports: Vec::new(),
        };
        Topology {
            subnets: vec![subnet("subnet-1", 0), subnet("subnet-2", 1)],
            nodes: vec![
                node("master", "subnet-1", [10, 30, 0, 136]),
                node("worker-1", "subnet-1", [10, 30, 0, 206]),
                node("worker-2", "subnet-1", [10, 30, 0, 56]),
                node("worker-3", "subnet-2", [10, 30, 1, 66]),
            ],
            namespaces: Vec::new(),
            pods: (1..=3).map(pod).collect(),
            outside: Outside::default(),
            datastore: Datastore::default(),
            backend: Backend::default(),
            pod_cidr: prefix([192, 168, 0, 0], 16),
            block_size: None,
            encapsulation: None,
            pools: Vec::new(),
            resources: Vec::new(),
            env: BTreeMap::new(),
            cni_config: None,
            kubernetes: None,
        }
    }
}
