//! BGPConfiguration: BGP settings for the cluster (`default`) or one node (`node.<name>`).

use crate::{AsNumber, Kind, Metadata, Problems, Resource, Spec, validate};
use serde::{Deserialize, Serialize};

/// A BGPConfiguration resource.
pub type BgpConfiguration = Resource<BgpConfigurationSpec>;

/// The spec of a BGPConfiguration (Calico reference, "BGP configuration").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpConfigurationSpec {
    /// Default Info.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_severity_screen: Option<String>,
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_to_node_mesh_enabled: Option<bool>,
    /// The cluster's AS, default 64512: a number or `x.y`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<AsNumber>,
    /// Service ranges to advertise: `{cidr}`.
    #[serde(rename = "serviceClusterIPs", skip_serializing_if = "Option::is_none")]
    pub service_cluster_ips: Option<Vec<CidrBlock>>,
    /// External addresses to advertise.
    #[serde(rename = "serviceExternalIPs", skip_serializing_if = "Option::is_none")]
    pub service_external_ips: Option<Vec<CidrBlock>>,
    /// Load-balancer addresses to advertise.
    #[serde(rename = "serviceLoadBalancerIPs", skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_ips: Option<Vec<CidrBlock>>,
    /// Default Enabled (3.31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_load_balancer_aggregation: Option<String>,
    /// Names for communities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<Community>>,
    /// Communities put on prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_advertisements: Option<Vec<PrefixAdvertisement>>,
    /// Default 179.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// `{secretKeyRef: {name, key}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_password: Option<serde_json::Value>,
    /// A Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_mesh_max_restart_time: Option<String>,
    /// None (default) or NodeIP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_mode: Option<String>,
    /// Interfaces whose addresses are not advertised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_interfaces: Option<Vec<String>>,
    /// Address workloads peer with (3.30).
    #[serde(rename = "localWorkloadPeeringIPV4", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ipv4: Option<String>,
    /// Address workloads peer with (3.30).
    #[serde(rename = "localWorkloadPeeringIPV6", skip_serializing_if = "Option::is_none")]
    pub local_workload_peering_ipv6: Option<String>,
    /// Which cluster routes BGP programs: Enabled, Disabled, EnabledIPIPOnly, EnabledNoEncapOnly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_cluster_routes: Option<String>,
    /// Default 1024.
    #[serde(rename = "ipv4NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    pub ipv4_normal_route_priority: Option<u32>,
    /// Default 1024.
    #[serde(rename = "ipv6NormalRoutePriority", skip_serializing_if = "Option::is_none")]
    pub ipv6_normal_route_priority: Option<u32>,
}

/// A range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CidrBlock {
    /// The range.
    pub cidr: String,
}

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Community {
    /// The name.
    pub name: String,
    /// `aa:nn` or `aa:nn:mm`.
    pub value: String,
}

/// Communities for a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrefixAdvertisement {
    /// The prefix.
    pub cidr: String,
    /// Names or literal values.
    pub communities: Vec<String>,
}

impl Spec for BgpConfigurationSpec {
    const KIND: Kind = Kind::BgpConfiguration;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::bgp_configuration::check(self, metadata, problems);
    }
}
