//! What the kinds of policy have in common.

use super::rule::Rule;
use super::tier::DEFAULT_TIER;
use crate::Metadata;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// The label of a policy that says its tier.
pub const TIER_LABEL: &str = "projectcalico.org/tier";

/// A direction, as seen from the endpoint that a policy applies to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PolicyType {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// The directions of a policy that doesn't say them (Calico reference, "Network policy", `types`):
/// those it has rules for, but Ingress also where it has none at all.
pub fn default_types(ingress: &[Rule], egress: &[Rule]) -> Vec<PolicyType> {
    match (ingress.is_empty(), egress.is_empty()) {
        (_, true) => vec![PolicyType::Ingress],
        (true, false) => vec![PolicyType::Egress],
        (false, false) => vec![PolicyType::Ingress, PolicyType::Egress],
    }
}

/// What a policy of any kind in Calico's form says, staged or not.
#[derive(Clone, Copy, Debug)]
pub struct PolicyParts<'a> {
    /// Its tier; never empty.
    pub tier: &'a str,
    /// Lower comes first; `None` last.
    pub order: Option<f64>,
    /// Rules for what comes in.
    pub ingress: &'a [Rule],
    /// Rules for what goes out.
    pub egress: &'a [Rule],
    /// The endpoints it applies to; empty: all.
    pub selector: &'a str,
    /// Directions as stated; see [`PolicyParts::types`].
    pub stated_types: &'a [PolicyType],
    /// The service accounts whose endpoints it applies to; empty: any.
    pub service_account_selector: &'a str,
    /// `AssumeNeededOnEveryNode`.
    pub performance_hints: &'a [String],
}

impl PolicyParts<'_> {
    /// The directions it applies to.
    pub fn types(&self) -> Vec<PolicyType> {
        match self.stated_types {
            [] => default_types(self.ingress, self.egress),
            stated => stated.to_vec(),
        }
    }
}

/// A policy in Calico's form.
pub trait PolicySpec {
    /// What it says that policies of every kind say.
    fn parts(&self) -> PolicyParts<'_>;
}

/// An order as Go writes it: a whole number without a point.
pub(crate) fn serialize_order<S: Serializer>(
    order: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    /// Beyond this a float cannot tell whole numbers apart.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match *order {
        Some(order) if order.fract() == 0.0 && order.abs() <= EXACT_MAX => {
            serializer.serialize_i64(order as i64)
        }
        Some(order) => serializer.serialize_f64(order),
        None => serializer.serialize_none(),
    }
}

/// The tier of a policy that states this one, which may be none.
pub(crate) fn tier_or_default(stated: &str) -> &str {
    if stated.is_empty() { DEFAULT_TIER } else { stated }
}

/// Fills in the tier, and the label that says it.
pub(crate) fn apply_tier(tier: &mut String, metadata: &mut Metadata) {
    *tier = tier_or_default(tier).to_owned();
    metadata.labels.insert(TIER_LABEL.to_owned(), tier.clone());
}

/// Fills in the directions.
pub(crate) fn apply_types(types: &mut Vec<PolicyType>, ingress: &[Rule], egress: &[Rule]) {
    if types.is_empty() {
        *types = default_types(ingress, egress);
    }
}
