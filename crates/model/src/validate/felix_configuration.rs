//! FelixConfiguration: its name, and its fields by the registry of parameters.

use super::fields;
use crate::config;
use crate::resources::felix_configuration::FelixConfigurationSpec;
use crate::{Metadata, Problems};

pub(crate) fn check(spec: &FelixConfigurationSpec, metadata: &Metadata, problems: &mut Problems) {
    let for_node = metadata.name.strip_prefix("node.").is_some_and(super::is_name);
    let selector = spec.0.get(config::NODE_SELECTOR_FIELD);
    if metadata.name != "default" && !for_node && selector.is_none() {
        let reason = "name it default or node.<name>, or give it a nodeSelector";
        problems.add("metadata.name", &metadata.name, reason);
    }
    for (field, value) in &spec.0 {
        let path = format!("spec.{field}");
        if field == config::NODE_SELECTOR_FIELD {
            match value.as_str() {
                Some(text) => drop(fields::selector(&path, text, problems)),
                None => problems.add(path, value, "write a selector in quotes"),
            }
            continue;
        }
        match config::definition_of_field(field) {
            None => problems.add(path, value, "there is no such parameter; check its spelling"),
            Some(definition) => {
                if let Err(reason) = definition.parse_field(value) {
                    problems.add(path, value, reason);
                }
            }
        }
    }
}
