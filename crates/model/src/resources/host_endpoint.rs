//! HostEndpoint: an interface of a node, or all of them, that policies apply to.

use super::rule::IpProtocol;
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A HostEndpoint resource.
pub type HostEndpoint = Resource<HostEndpointSpec>;

/// The `interfaceName` of a host endpoint that stands for every interface of its node.
pub const ANY_INTERFACE: &str = "*";

/// The spec of a HostEndpoint (Calico reference, "Host endpoint").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEndpointSpec {
    /// The node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The interface, or `*`; empty where the addresses say which.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// Addresses that the interface has, by which rules know the endpoint.
    #[serde(rename = "expectedIPs", skip_serializing_if = "Vec::is_empty")]
    pub expected_ips: Vec<String>,
    /// Profiles in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Named ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

/// A port of a host that rules may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointPort {
    /// What rules call it.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: IpProtocol,
    /// The port.
    pub port: u16,
}

impl Spec for HostEndpointSpec {
    const KIND: Kind = Kind::HostEndpoint;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::host_endpoint::check(self, metadata, problems);
    }
}
