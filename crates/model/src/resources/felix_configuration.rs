//! FelixConfiguration: settings of the node agent, for all nodes (`default`) or one
//! (`node.<name>`).

use crate::config::{FromSetting, Parameter};
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

impl FelixConfigurationSpec {
    /// What this resource alone says of a parameter; `None` where it says nothing or something
    /// wrong. [`crate::config::Resolved`] says what counts on a node.
    pub fn get<T: FromSetting>(&self, parameter: &Parameter<T>) -> Option<T> {
        let value = self.0.get(parameter.definition.field?).filter(|value| !value.is_null())?;
        T::from_setting(&parameter.definition.parse_field(value).ok()?)
    }
}

impl Spec for FelixConfigurationSpec {
    const KIND: Kind = Kind::FelixConfiguration;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::felix_configuration::check(self, metadata, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_field_is_read_as_its_parameters_type() {
        let spec: FelixConfigurationSpec =
            serde_json::from_str(r#"{"vxlanPort": 4790, "vxlanVNI": "x", "vxlanMTU": null}"#)
                .unwrap();
        assert_eq!(spec.get(&config::VXLAN_PORT), Some(4790));
        assert_eq!(spec.get(&config::VXLAN_VNI), None);
        assert_eq!(spec.get(&config::VXLAN_MTU), None);
        assert_eq!(spec.get(&config::HEALTH_PORT), None);
        assert_eq!(spec.get(&config::NODENAME), None);
    }
}
