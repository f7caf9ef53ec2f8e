//! NetworkSet: ranges with labels, for the rules of one namespace.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A NetworkSet resource.
pub type NetworkSet = Resource<NetworkSetSpec>;

/// The spec of a NetworkSet (Calico reference, "Network set").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkSetSpec {
    /// Addresses and ranges of either family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
}

impl Spec for NetworkSetSpec {
    const KIND: Kind = Kind::NetworkSet;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::network_set::check(&self.nets, metadata, problems);
    }
}
