//! Kubernetes' label selectors.

use crate::resources::workload_endpoint::ORCHESTRATOR_LABEL;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Things with such labels; all that it says must hold, and an empty one selects everything
/// (Kubernetes API reference, `LabelSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelSelectorRequirement {
    /// The label.
    pub key: String,
    /// What must hold of it.
    pub operator: LabelSelectorOperator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What must hold of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelSelectorOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or isn't there.
    NotIn,
    /// It is there.
    Exists,
    /// It isn't there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Calico's selector of the pods that it selects, byte for byte: Kubernetes' pods, and each
    /// requirement after the other.
    pub fn to_pod_selector(&self) -> String {
        let pods = format!("{ORCHESTRATOR_LABEL} == 'k8s'");
        std::iter::once(pods).chain(self.requirements()).collect::<Vec<_>>().join(" && ")
    }

    /// Calico's selector of what it selects; that of an empty one is `all()`.
    pub fn to_selector(&self) -> String {
        if self.is_empty() {
            return "all()".to_owned();
        }
        self.requirements().collect::<Vec<_>>().join(" && ")
    }

    fn requirements(&self) -> impl Iterator<Item = String> + '_ {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key} == '{value}'"));
        labels.chain(self.match_expressions.iter().map(
            |LabelSelectorRequirement { key, operator, values }| {
                let values = values.join("', '");
                match operator {
                    LabelSelectorOperator::In => format!("{key} in {{ '{values}' }}"),
                    LabelSelectorOperator::NotIn => format!("{key} not in {{ '{values}' }}"),
                    LabelSelectorOperator::Exists => format!("has({key})"),
                    LabelSelectorOperator::DoesNotExist => format!("! has({key})"),
                }
            },
        ))
    }
}
