//! IPAM blocks: the addresses of one prefix and who holds each.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The stored value of [`crate::Key::Block`], Calico's `AllocationBlock` field by field.
///
/// `allocations` has one place per address of `cidr`, in order: `None` is free, `Some(i)` is held
/// with the attributes `attributes[i]`. `unallocated` lists the free places, next to be given
/// first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The block's prefix.
    pub cidr: IpNet,
    /// `host:<node>` or `virtual:<name>`; absent when nobody claims the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// RFC 3339; when the affinity was claimed (3.30).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "affinityClaimTime")]
    pub affinity_claim_time: Option<String>,
    /// By ordinal: index into `attributes`.
    pub allocations: Vec<Option<usize>>,
    /// Free ordinals, first in first out.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub unallocated: Vec<usize>,
    /// Holders; several ordinals may share one.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub attributes: Vec<Allocation>,
    /// Nanoseconds since 1970 at creation, plus one for each update.
    #[serde(rename = "sequenceNumber", default)]
    pub sequence_number: u64,
    /// By ordinal (as text): `sequence_number` when it was allocated.
    #[serde(rename = "sequenceNumberForAllocation", default, deserialize_with = "null_is_empty")]
    pub sequence_number_for_allocation: BTreeMap<String, u64>,
    /// Set while a Kubernetes datastore deletes it in two steps.
    #[serde(default)]
    pub deleted: bool,
    /// The block of an older Calico: affinity as a bare host name.
    #[serde(rename = "hostAffinity", default, skip_serializing_if = "Option::is_none")]
    pub host_affinity: Option<String>,
    /// Fields of a newer Calico, kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Who holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The handle it is released by.
    #[serde(default)]
    pub handle_id: Option<String>,
    /// The owner: `pod`, `namespace`, `node`, `type`, `timestamp` …
    #[serde(default)]
    pub secondary: Option<BTreeMap<String, String>>,
    /// Set on an address that rests before it is given again (3.33).
    #[serde(rename = "releasedAt", default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
    /// Fields of a newer Calico (`alternateOwnerAttrs`), kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

// Go writes an empty list or map that was never touched as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
