//! Object metadata: the part of Kubernetes' `ObjectMeta` that Calico stores with each resource.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name, namespace, labels and bookkeeping of one resource (Kubernetes API conventions,
/// "Metadata").
///
/// `resource_version` is the datastore's revision of the object. It is not stored: readers fill it
/// in from the datastore's answer, writers send it to update only what they have read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique among resources of one kind (and namespace): a DNS-1123 subdomain unless the kind
    /// says else.
    pub name: String,
    /// Set for namespaced kinds only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Identity that survives no re-creation; given by the store on create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The datastore's revision of the object, as text. Never written to the datastore's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Kubernetes' counter of spec changes; kept when present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// RFC 3339, UTC, whole seconds; given by the store on create.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "null_is_none")]
    pub creation_timestamp: Option<String>,
    /// Set while an object waits for its finalizers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Key-value pairs that selectors match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Key-value pairs that nothing matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who must act before the object may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Kubernetes' owner references, passed through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<serde_json::Value>,
}

impl Metadata {
    /// Metadata with nothing but a name.
    pub fn named(name: impl Into<String>) -> Metadata {
        Metadata { name: name.into(), ..Metadata::default() }
    }
}

// Go writes an unset time as `null`.
fn null_is_none<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(d)
}
