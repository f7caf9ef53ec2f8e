//! Node: what the cluster knows of one host.

use crate::validate::fields::{network_address, parse_mac};
use crate::{AsNumber, Kind, Metadata, Problems, Resource, Spec, names, validate};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A Node resource.
pub type Node = Resource<NodeSpec>;

/// The spec of a Node (Calico reference, "Node").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// BGP and the node's own addresses; absent on a node without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<NodeBgpSpec>,
    /// The address of `vxlan.calico`.
    #[serde(rename = "ipv4VXLANTunnelAddr", skip_serializing_if = "Option::is_none")]
    pub ipv4_vxlan_tunnel_addr: Option<String>,
    /// The MAC of `vxlan.calico`, where it isn't the derived one.
    #[serde(rename = "vxlanTunnelMACAddr", skip_serializing_if = "Option::is_none")]
    pub vxlan_tunnel_mac_addr: Option<String>,
    /// The address of `vxlan-v6.calico`.
    #[serde(rename = "ipv6VXLANTunnelAddr", skip_serializing_if = "Option::is_none")]
    pub ipv6_vxlan_tunnel_addr: Option<String>,
    /// The MAC of `vxlan-v6.calico`, where it isn't the derived one.
    #[serde(rename = "vxlanTunnelMACAddrV6", skip_serializing_if = "Option::is_none")]
    pub vxlan_tunnel_mac_addr_v6: Option<String>,
    /// The node's names in orchestrators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orch_refs: Vec<OrchRef>,
    /// WireGuard interface addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<serde_json::Value>,
    /// All addresses of the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
    /// Interfaces and their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NodeInterface>,
}

/// BGP settings and addresses of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeBgpSpec {
    /// The node's AS, where it isn't the cluster's: a number or `x.y`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<AsNumber>,
    /// Address with the subnet's prefix length: `10.30.0.206/24`.
    #[serde(rename = "ipv4Address", skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<String>,
    /// Address with the subnet's prefix length.
    #[serde(rename = "ipv6Address", skip_serializing_if = "Option::is_none")]
    pub ipv6_address: Option<String>,
    /// The address of `tunl0`.
    #[serde(rename = "ipv4IPIPTunnelAddr", skip_serializing_if = "Option::is_none")]
    pub ipv4_ipip_tunnel_addr: Option<String>,
    /// Makes the node a route reflector.
    #[serde(rename = "routeReflectorClusterID", skip_serializing_if = "Option::is_none")]
    pub route_reflector_cluster_id: Option<String>,
}

/// The node's name in one orchestrator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrchRef {
    /// The name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// `k8s`.
    pub orchestrator: String,
}

/// One address of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddress {
    /// The address, with a prefix length for `CalicoNodeIP`.
    pub address: String,
    /// `CalicoNodeIP`, `InternalIP` or `ExternalIP`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// One interface of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInterface {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl NodeSpec {
    /// The node's IPv4 address with its subnet's prefix length (host bits set); `None` where it has
    /// none or the stored text is wrong.
    pub fn ipv4(&self) -> Option<Ipv4Net> {
        match network_address(self.bgp.as_ref()?.ipv4_address.as_deref()?)? {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }
    }

    /// The node's IPv6 address with its subnet's prefix length (host bits set).
    pub fn ipv6(&self) -> Option<Ipv6Net> {
        match network_address(self.bgp.as_ref()?.ipv6_address.as_deref()?)? {
            IpNet::V6(net) => Some(net),
            IpNet::V4(_) => None,
        }
    }

    /// The address of `vxlan.calico`.
    pub fn vxlan_ipv4(&self) -> Option<Ipv4Addr> {
        self.ipv4_vxlan_tunnel_addr.as_deref()?.parse().ok()
    }

    /// The address of `vxlan-v6.calico`.
    pub fn vxlan_ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6_vxlan_tunnel_addr.as_deref()?.parse().ok()
    }

    /// The address of `tunl0`.
    pub fn ipip_ipv4(&self) -> Option<Ipv4Addr> {
        self.bgp.as_ref()?.ipv4_ipip_tunnel_addr.as_deref()?.parse().ok()
    }

    /// The MAC of `vxlan.calico`: as set, else the one derived from the node's name.
    pub fn vxlan_mac(&self, node: &str) -> [u8; 6] {
        let set = self.vxlan_tunnel_mac_addr.as_deref().and_then(parse_mac);
        set.unwrap_or_else(|| names::vxlan_mac(node))
    }

    /// The MAC of `vxlan-v6.calico`: as set, else the one derived from the node's name.
    pub fn vxlan_mac_v6(&self, node: &str) -> [u8; 6] {
        let set = self.vxlan_tunnel_mac_addr_v6.as_deref().and_then(parse_mac);
        set.unwrap_or_else(|| names::vxlan_mac_v6(node))
    }
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::node::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, _metadata: &mut Metadata) {
        if self.bgp == Some(NodeBgpSpec::default()) {
            self.bgp = None;
        }
    }
}
