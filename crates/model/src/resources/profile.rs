//! Profile: rules and labels shared by the endpoints that name it.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Profile resource.
pub type Profile = Resource<ProfileSpec>;

/// The spec of a Profile (Calico reference, "Profile").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSpec {
    /// Rules for what comes in; typed with the policy language.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<serde_json::Value>,
    /// Rules for what goes out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<serde_json::Value>,
    /// Labels the endpoints inherit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_to_apply: BTreeMap<String, String>,
}

impl Spec for ProfileSpec {
    const KIND: Kind = Kind::Profile;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::profile::check(self, metadata, problems);
    }
}
