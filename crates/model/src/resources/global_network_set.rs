//! GlobalNetworkSet: ranges with labels, for the rules of all namespaces.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A GlobalNetworkSet resource.
pub type GlobalNetworkSet = Resource<GlobalNetworkSetSpec>;

/// The spec of a GlobalNetworkSet (Calico reference, "Global network set").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GlobalNetworkSetSpec {
    /// Addresses and ranges of either family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
}

impl Spec for GlobalNetworkSetSpec {
    const KIND: Kind = Kind::GlobalNetworkSet;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::network_set::check(&self.nets, metadata, problems);
    }
}
