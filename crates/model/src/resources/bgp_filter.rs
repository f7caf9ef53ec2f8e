//! BGPFilter: which routes pass to and from BGP peers, and what is done to them.

use crate::{AsNumber, Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A BGPFilter resource.
pub type BgpFilter = Resource<BgpFilterSpec>;

/// The spec of a BGPFilter (Calico reference, "BGP filter"). Of each list the first rule that
/// matches decides; where none does, the peer's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BgpFilterSpec {
    /// IPv4 routes told to a peer.
    #[serde(rename = "exportV4", skip_serializing_if = "Vec::is_empty")]
    pub export_v4: Vec<FilterRule>,
    /// IPv4 routes learned from a peer.
    #[serde(rename = "importV4", skip_serializing_if = "Vec::is_empty")]
    pub import_v4: Vec<FilterRule>,
    /// IPv6 routes told to a peer.
    #[serde(rename = "exportV6", skip_serializing_if = "Vec::is_empty")]
    pub export_v6: Vec<FilterRule>,
    /// IPv6 routes learned from a peer.
    #[serde(rename = "importV6", skip_serializing_if = "Vec::is_empty")]
    pub import_v6: Vec<FilterRule>,
}

/// One rule; a condition that isn't given is met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterRule {
    /// The range that the route's destination is compared with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cidr: String,
    /// Bounds of the destination's prefix length, for a rule with `cidr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<PrefixLength>,
    /// `RemotePeers`: learned from a BGP peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The route's interface, `*` standing for any text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Equal, NotEqual, In or NotIn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_operator: Option<String>,
    /// `eBGP` or `iBGP` (3.32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_type: Option<String>,
    /// A community that the route carries (3.32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<CommunityMatch>,
    /// What the AS path begins with (3.32).
    #[serde(rename = "asPathPrefix", skip_serializing_if = "Vec::is_empty")]
    pub as_path_prefix: Vec<AsNumber>,
    /// The route's priority, which is its metric (3.32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// `Accept` or `Reject`.
    pub action: String,
    /// What is done to a route before it is accepted, in order (3.32).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<FilterOperation>,
}

/// Bounds of a prefix length, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PrefixLength {
    /// Default: that of the rule's `cidr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u8>,
    /// Default 32 or 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u8>,
}

/// A community that a route carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CommunityMatch {
    /// Exactly one: `aa:nn` or `aa:nn:mm`.
    pub values: Vec<String>,
}

/// One change of a route: exactly one of the fields is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FilterOperation {
    /// Adds a community.
    #[serde(rename = "addCommunity", skip_serializing_if = "Option::is_none")]
    pub add_community: Option<AddCommunity>,
    /// Puts AS numbers before the path.
    #[serde(rename = "prependASPath", skip_serializing_if = "Option::is_none")]
    pub prepend_as_path: Option<PrependAsPath>,
    /// Sets the priority.
    #[serde(rename = "setPriority", skip_serializing_if = "Option::is_none")]
    pub set_priority: Option<SetPriority>,
}

/// Adds a community.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddCommunity {
    /// `aa:nn` or `aa:nn:mm`.
    pub value: String,
}

/// Puts AS numbers before the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PrependAsPath {
    /// One to ten; the first is to stand first in the path.
    pub prefix: Vec<AsNumber>,
}

/// Sets the priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SetPriority {
    /// From 1 to 2147483646.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u32>,
}

impl Spec for BgpFilterSpec {
    const KIND: Kind = Kind::BgpFilter;

    fn check(&self, _metadata: &Metadata, problems: &mut Problems) {
        validate::bgp_filter::check(self, problems);
    }
}
