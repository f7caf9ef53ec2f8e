//! ClusterInformation: identity and readiness of the cluster's datastore. One object, named
//! `default`.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ClusterInformation resource.
pub type ClusterInformation = Resource<ClusterInformationSpec>;

/// The spec of ClusterInformation (Calico reference, "Cluster information").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInformationSpec {
    /// Random identity of the cluster: a UUID's 32 hex digits.
    #[serde(rename = "clusterGUID", skip_serializing_if = "String::is_empty")]
    pub cluster_guid: String,
    /// Comma-separated words such as `k8s,bgp`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_type: String,
    /// The version that initialised or upgraded the datastore last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub calico_version: String,
    /// False while a migration has the datastore locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datastore_ready: Option<bool>,
    /// `Calico`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Spec for ClusterInformationSpec {
    const KIND: Kind = Kind::ClusterInformation;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::cluster_information::check(self, metadata, problems);
    }
}
