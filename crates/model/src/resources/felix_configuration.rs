//! FelixConfiguration: settings of the node agent, for all nodes (`default`) or one
//! (`node.<name>`).

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A FelixConfiguration resource.
pub type FelixConfiguration = Resource<FelixConfigurationSpec>;

/// The spec of a FelixConfiguration: parameters by their YAML name.
///
/// Which names there are, their types and defaults is the registry's business, so that the field
/// list stands in one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FelixConfigurationSpec(pub BTreeMap<String, serde_json::Value>);

impl Spec for FelixConfigurationSpec {
    const KIND: Kind = Kind::FelixConfiguration;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::felix_configuration::check(self, metadata, problems);
    }
}
