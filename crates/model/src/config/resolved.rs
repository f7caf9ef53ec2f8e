//! What every parameter comes to on one node, and what is worth a warning.

use super::definition::{Definition, Parameter, felix_name};
use super::setting::{FromSetting, Setting, ValueType};
use super::{NODE_SELECTOR_FIELD, definition_of_field, definition_of_variable, definitions};
use crate::{FelixConfiguration, Labels, Selector};
use std::collections::BTreeMap;
use std::fmt;

/// Prefixes of variables that belong to Calico, so that an unknown one is worth a warning.
const OURS: [&str; 2] = ["FELIX_", "CALICO_"];

/// Prefixes of variables that belong to Calico's Typha, whose address Kubernetes adds to every pod.
const TYPHAS: [&str; 3] = ["CALICO_TYPHA", "CONFD_TYPHA", "FELIX_TYPHA"];

/// Who set a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenBy {
    /// Nobody.
    Default,
    /// A FelixConfiguration, by its name.
    Resource(String),
    /// The environment.
    Environment,
}

impl fmt::Display for GivenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GivenBy::Default => f.write_str("the default"),
            GivenBy::Resource(name) => write!(f, "FelixConfiguration({name})"),
            GivenBy::Environment => f.write_str("the environment"),
        }
    }
}

/// Something about the configuration that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// No such parameter.
    #[error(
        "{name}, set by {given_by}, is unknown here and ignored; check its spelling, or remove it"
    )]
    Unknown {
        /// The variable or field.
        name: String,
        /// Where it is set.
        given_by: GivenBy,
    },
    /// A parameter of Calico's that changes nothing here.
    #[error("{name}, set by {given_by}, is not acted on")]
    NotActedOn {
        /// The variable or field.
        name: String,
        /// Where it is set.
        given_by: GivenBy,
    },
    /// A value that the parameter does not take.
    #[error("{name} is '{value}' by {given_by}, but {reason}; using {instead}")]
    Invalid {
        /// The variable or field.
        name: String,
        /// What it says.
        value: String,
        /// Where it is set.
        given_by: GivenBy,
        /// What it takes.
        reason: String,
        /// What is used: the default, even where a weaker source has another value (Felix's rule).
        instead: String,
    },
}

#[derive(Clone, Debug)]
struct Resolution {
    setting: Setting,
    given_by: GivenBy,
}

/// Every parameter's value on one node.
#[derive(Clone, Debug)]
pub struct Resolved {
    values: BTreeMap<&'static str, Resolution>,
    warnings: Vec<Warning>,
    refusals: Vec<Warning>,
}

/// A value as it was given, not yet read.
enum Raw {
    Variable(String),
    Field(serde_json::Value),
}

struct Given {
    /// The variable or field.
    name: String,
    raw: Raw,
    by: GivenBy,
}

impl Resolved {
    /// Resolves everything from the environment, the FelixConfigurations and the node they are for.
    pub fn new(
        environment: impl Iterator<Item = (String, String)>,
        felix: &[FelixConfiguration],
        node: &str,
        node_labels: &impl Labels,
    ) -> Resolved {
        let mut resolved =
            Resolved { values: BTreeMap::new(), warnings: Vec::new(), refusals: Vec::new() };
        let mut given = BTreeMap::new();
        resolved.read_environment(environment, &mut given);
        for configuration in applicable(felix, node, node_labels) {
            resolved.read_resource(configuration, &mut given);
        }
        for definition in definitions() {
            let resolution = match given.remove(definition.name) {
                Some(one) => resolved.settle(definition, one),
                None => {
                    let setting = definition.default_setting();
                    Resolution { setting, given_by: GivenBy::Default }
                }
            };
            resolved.values.insert(definition.name, resolution);
        }
        resolved
    }

    /// The parameter's value.
    pub fn get<T: FromSetting>(&self, parameter: &Parameter<T>) -> T {
        self.values
            .get(parameter.definition.name)
            .and_then(|resolution| T::from_setting(&resolution.setting))
            .unwrap_or_else(|| parameter.default_value())
    }

    /// Who set a parameter.
    pub fn given_by<T>(&self, parameter: &Parameter<T>) -> GivenBy {
        match self.values.get(parameter.definition.name) {
            Some(resolution) => resolution.given_by.clone(),
            None => GivenBy::Default,
        }
    }

    /// Unknown parameters, those not acted on, and wrong values that gave way to the default.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Wrong values with which Calico does not start; the program should print them and exit.
    pub fn refusals(&self) -> &[Warning] {
        &self.refusals
    }

    /// Every parameter that somebody set: its name, its value and who set it.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &Setting, &GivenBy)> {
        self.values
            .iter()
            .filter(|(_, resolution)| resolution.given_by != GivenBy::Default)
            .map(|(name, resolution)| (*name, &resolution.setting, &resolution.given_by))
    }

    fn read_environment(
        &mut self,
        environment: impl Iterator<Item = (String, String)>,
        given: &mut BTreeMap<&'static str, Given>,
    ) {
        let sorted: BTreeMap<String, String> = environment.collect();
        for (variable, value) in sorted {
            let by = GivenBy::Environment;
            match definition_of_variable(&variable) {
                // An empty value is none, except for a text, where it may be meant.
                Some(definition) if value.is_empty() && !takes_empty(definition) => {}
                Some(definition) => {
                    let raw = Raw::Variable(value);
                    given.entry(definition.name).or_insert(Given { name: variable, raw, by });
                }
                None if is_ours(&variable) => {
                    self.warnings.push(Warning::Unknown { name: variable, given_by: by });
                }
                None => {}
            }
        }
    }

    // A stronger source has been read before.
    fn read_resource(
        &mut self,
        configuration: &FelixConfiguration,
        given: &mut BTreeMap<&'static str, Given>,
    ) {
        let by = GivenBy::Resource(configuration.metadata.name.clone());
        for (field, value) in &configuration.spec.0 {
            if field == NODE_SELECTOR_FIELD || value.is_null() {
                continue;
            }
            let (name, by) = (field.clone(), by.clone());
            match definition_of_field(field) {
                Some(definition) => {
                    let raw = Raw::Field(value.clone());
                    given.entry(definition.name).or_insert(Given { name, raw, by });
                }
                None => self.warnings.push(Warning::Unknown { name, given_by: by }),
            }
        }
    }

    fn settle(&mut self, definition: &Definition, given: Given) -> Resolution {
        let Given { name, raw, by } = given;
        let read = match &raw {
            Raw::Variable(text) => definition.parse_variable(text),
            Raw::Field(value) => definition.parse_field(value),
        };
        if !definition.acted_on {
            self.warnings.push(Warning::NotActedOn { name: name.clone(), given_by: by.clone() });
        }
        match read {
            Ok(setting) => Resolution { setting, given_by: by },
            Err(reason) => {
                let setting = definition.default_setting();
                let value = match raw {
                    Raw::Variable(text) => text,
                    Raw::Field(value) => value.to_string(),
                };
                let instead = setting.to_string();
                let wrong = Warning::Invalid { name, value, given_by: by, reason, instead };
                // What is not acted on cannot be a reason not to start.
                let list = if definition.fatal && definition.acted_on {
                    &mut self.refusals
                } else {
                    &mut self.warnings
                };
                list.push(wrong);
                Resolution { setting, given_by: GivenBy::Default }
            }
        }
    }
}

fn takes_empty(definition: &Definition) -> bool {
    definition.of_felix && matches!(definition.value_type, ValueType::Text | ValueType::Structured)
}

fn is_ours(variable: &str) -> bool {
    let typhas = TYPHAS.iter().any(|prefix| variable.starts_with(prefix));
    let ours = OURS.iter().any(|prefix| variable.starts_with(prefix));
    (ours || felix_name(variable).is_some()) && !typhas
}

/// The FelixConfigurations that count for a node, the strongest first.
fn applicable<'a>(
    felix: &'a [FelixConfiguration],
    node: &str,
    node_labels: &impl Labels,
) -> Vec<&'a FelixConfiguration> {
    let named = |name: &str| felix.iter().find(|one| one.metadata.name == name);
    let own = format!("node.{node}");
    let selects = |one: &&FelixConfiguration| {
        let selector = one.spec.0.get(NODE_SELECTOR_FIELD).and_then(|value| value.as_str());
        let special = one.metadata.name == "default" || one.metadata.name.starts_with("node.");
        let selector = selector.filter(|_| !special);
        selector.is_some_and(|text| Selector::parse(text).is_ok_and(|s| s.matches(node_labels)))
    };
    let age = |one: &&FelixConfiguration| {
        (one.metadata.creation_timestamp.clone(), one.metadata.name.clone())
    };
    let selected = felix.iter().filter(selects).min_by_key(age);
    [named(&own), selected, named("default")].into_iter().flatten().collect()
}
