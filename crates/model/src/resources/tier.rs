//! Tier: an ordered group of policies, and what happens when none of them decides.

use super::policy;
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Tier resource.
pub type Tier = Resource<TierSpec>;

/// The tier of policies that name none.
pub const DEFAULT_TIER: &str = "default";

/// The tier of Kubernetes' ClusterNetworkPolicies of tier Admin, before the default one.
pub const KUBE_ADMIN_TIER: &str = "kube-admin";

/// The tier of Kubernetes' ClusterNetworkPolicies of tier Baseline, after the default one.
pub const KUBE_BASELINE_TIER: &str = "kube-baseline";

/// The order of the default tier, and of one that states none.
pub const DEFAULT_TIER_ORDER: f64 = 1_000_000.0;

/// The tiers that every cluster has, with what must stay as it is: order and default action.
pub const BUILT_IN_TIERS: [(&str, f64, DefaultAction); 3] = [
    (KUBE_ADMIN_TIER, 1_000.0, DefaultAction::Pass),
    (DEFAULT_TIER, DEFAULT_TIER_ORDER, DefaultAction::Deny),
    (KUBE_BASELINE_TIER, 10_000_000.0, DefaultAction::Pass),
];

/// What a tier does with packets that policies of it apply to and no rule decides.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum DefaultAction {
    /// They are dropped.
    #[default]
    Deny,
    /// The next tier decides.
    Pass,
}

/// The spec of a Tier (Calico reference, "Tier").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierSpec {
    /// Lower comes first; default 1000000.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "policy::serialize_order")]
    pub order: Option<f64>,
    /// Default Deny.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_action: Option<DefaultAction>,
}

/// A built-in tier as every cluster has it; `None` where no built-in tier is called so.
pub fn built_in_tier(name: &str) -> Option<Tier> {
    let built_in = BUILT_IN_TIERS.into_iter().find(|(built_in, ..)| *built_in == name);
    built_in.map(|(name, order, action)| {
        Tier::new(name, TierSpec { order: Some(order), default_action: Some(action) })
    })
}

impl Spec for TierSpec {
    const KIND: Kind = Kind::Tier;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::tier::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, _metadata: &mut Metadata) {
        self.order.get_or_insert(DEFAULT_TIER_ORDER);
        self.default_action.get_or_insert_default();
    }
}
