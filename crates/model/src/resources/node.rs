//! Node: what the cluster knows of one host.

use crate::{Kind, Resource, Spec};
use serde::{Deserialize, Serialize};

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
    pub as_number: Option<serde_json::Value>,
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

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;
}
