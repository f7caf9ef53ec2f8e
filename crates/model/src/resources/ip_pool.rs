//! IPPool: a range that workload, tunnel and load-balancer addresses come from.

use crate::{Kind, Resource, Spec};
use serde::{Deserialize, Serialize};

/// An IPPool resource.
pub type IpPool = Resource<IpPoolSpec>;

/// When packets between nodes are encapsulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EncapsulationMode {
    #[default]
    Never,
    Always,
    CrossSubnet,
}

/// What a pool's addresses may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AllowedUse {
    Workload,
    Tunnel,
    LoadBalancer,
}

/// Whether addresses are taken from a pool unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AssignmentMode {
    #[default]
    Automatic,
    Manual,
}

/// The spec of an IPPool (Calico reference, "IP pool").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpPoolSpec {
    /// The range, e.g. `192.168.0.0/16`. Text, so that a wrong one is reported by validation, not lost.
    pub cidr: String,
    /// IP-in-IP encapsulation; excludes VXLAN.
    pub ipip_mode: EncapsulationMode,
    /// VXLAN encapsulation; excludes IP-in-IP.
    pub vxlan_mode: EncapsulationMode,
    /// Masquerade what leaves the pools.
    #[serde(rename = "natOutgoing", skip_serializing_if = "std::ops::Not::not")]
    pub nat_outgoing: bool,
    /// Give no new addresses.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Keep the pool's routes from BGP peers.
    #[serde(rename = "disableBGPExport", skip_serializing_if = "std::ops::Not::not")]
    pub disable_bgp_export: bool,
    /// Prefix length of the blocks: default 26 or 122.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u8>,
    /// Nodes that take addresses from the pool; default `all()`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<String>,
    /// Namespaces whose pods take addresses from the pool (3.31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// Default Workload and Tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_uses: Option<Vec<AllowedUse>>,
    /// Default Automatic (3.30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment_mode: Option<AssignmentMode>,
}

impl Spec for IpPoolSpec {
    const KIND: Kind = Kind::IpPool;
}
