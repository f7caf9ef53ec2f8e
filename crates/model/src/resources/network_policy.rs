//! NetworkPolicy: rules for endpoints of one namespace.

use super::policy::{self, PolicyParts, PolicySpec, PolicyType};
use super::rule::Rule;
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A NetworkPolicy resource.
pub type NetworkPolicy = Resource<NetworkPolicySpec>;

/// The spec of a NetworkPolicy (Calico reference, "Network policy").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Its tier; default `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tier: String,
    /// Lower comes first; unset last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "policy::serialize_order")]
    pub order: Option<f64>,
    /// Rules for what comes in, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    /// Rules for what goes out, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
    /// The endpoints of its namespace that it applies to; empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Directions it applies to; default: see [`policy::default_types`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<PolicyType>,
    /// Service accounts whose endpoints it applies to; empty: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_selector: String,
    /// `AssumeNeededOnEveryNode`: compute it also where no endpoint has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub performance_hints: Vec<String>,
}

impl PolicySpec for NetworkPolicySpec {
    fn parts(&self) -> PolicyParts<'_> {
        PolicyParts {
            tier: policy::tier_or_default(&self.tier),
            order: self.order,
            ingress: &self.ingress,
            egress: &self.egress,
            selector: &self.selector,
            stated_types: &self.types,
            service_account_selector: &self.service_account_selector,
            performance_hints: &self.performance_hints,
        }
    }
}

impl Spec for NetworkPolicySpec {
    const KIND: Kind = Kind::NetworkPolicy;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::network_policy::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, metadata: &mut Metadata) {
        policy::apply_tier(&mut self.tier, metadata);
        policy::apply_types(&mut self.types, &self.ingress, &self.egress);
    }
}
