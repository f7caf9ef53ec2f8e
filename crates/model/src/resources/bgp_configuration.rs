//! BGPConfiguration: BGP settings for the cluster (`default`) or one node (`node.<name>`).

use crate::config::ProgramClusterRoutes;
use crate::{AsNumber, Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A BGPConfiguration resource.
pub type BgpConfiguration = Resource<BgpConfigurationSpec>;

/// The spec of a BGPConfiguration (Calico reference, "BGP configuration").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[schemars(with = "Option<super::bgp_peer::Password>")]
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

impl BgpConfigurationSpec {
    /// Ranges of services' addresses, all three kinds, each with its field's name.
    pub fn service_blocks(&self) -> [(&'static str, &[CidrBlock]); 3] {
        [
            ("serviceClusterIPs", &self.service_cluster_ips),
            ("serviceExternalIPs", &self.service_external_ips),
            ("serviceLoadBalancerIPs", &self.service_load_balancer_ips),
        ]
        .map(|(field, blocks)| (field, blocks.as_deref().unwrap_or_default()))
    }
}

/// A range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CidrBlock {
    /// The range.
    pub cidr: String,
}

/// A name for a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Community {
    /// The name.
    pub name: String,
    /// `aa:nn` or `aa:nn:mm`.
    pub value: String,
}

/// Communities for a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PrefixAdvertisement {
    /// The prefix.
    pub cidr: String,
    /// Names or literal values.
    pub communities: Vec<String>,
}

/// A community's value.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum CommunityValue {
    /// `aa:nn` (RFC 1997).
    Standard(u32),
    /// `aa:nn:mm` (RFC 8092).
    Large([u32; 3]),
}

impl CommunityValue {
    /// Reads `aa:nn` or `aa:nn:mm`.
    pub fn parse(text: &str) -> Option<CommunityValue> {
        let mut parts = text.split(':');
        let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
        let number = |part: &str| part.parse::<u32>().ok().filter(|_| !part.starts_with('+'));
        let half = |part: &str| number(part).filter(|n| *n <= u32::from(u16::MAX));
        if parts.next().is_some() {
            return None;
        }
        Some(match third {
            None => CommunityValue::Standard(half(first)? << 16 | half(second)?),
            Some(third) => CommunityValue::Large([number(first)?, number(second)?, number(third)?]),
        })
    }
}

impl BgpConfigurationSpec {
    /// Which cluster routes BGP programs; all where it isn't said.
    pub fn program_cluster_routes(&self) -> ProgramClusterRoutes {
        match self.program_cluster_routes.as_deref() {
            Some("Disabled") => ProgramClusterRoutes::Disabled,
            Some("EnabledIPIPOnly") => ProgramClusterRoutes::EnabledIpipOnly,
            Some("EnabledNoEncapOnly") => ProgramClusterRoutes::EnabledNoEncapOnly,
            _ => ProgramClusterRoutes::Enabled,
        }
    }
}

impl Spec for BgpConfigurationSpec {
    const KIND: Kind = Kind::BgpConfiguration;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::bgp_configuration::check(self, metadata, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_of_two_or_three_numbers() {
        for (text, value) in [
            ("65000:1", Some(CommunityValue::Standard(0xfde8_0001))),
            ("0:65535", Some(CommunityValue::Standard(65535))),
            ("4294967295:0:1", Some(CommunityValue::Large([u32::MAX, 0, 1]))),
            ("65536:1", None),
            ("1", None),
            ("1:2:3:4", None),
            ("1:+2", None),
            ("4294967296:0:1", None),
            ("a:b", None),
        ] {
            assert_eq!(CommunityValue::parse(text), value, "{text}");
        }
    }

    #[test]
    fn bgp_programs_all_cluster_routes_unless_told_else() {
        let spec = |word: Option<&str>| BgpConfigurationSpec {
            program_cluster_routes: word.map(str::to_owned),
            ..BgpConfigurationSpec::default()
        };
        assert_eq!(spec(None).program_cluster_routes(), ProgramClusterRoutes::Enabled);
        for word in ProgramClusterRoutes::WORDS {
            assert_eq!(spec(Some(word)).program_cluster_routes().as_str(), *word);
        }
    }
}
