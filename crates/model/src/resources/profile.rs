//! Profile: rules and labels shared by the endpoints that name it.

use super::rule::{Action, Rule};
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Profile resource.
pub type Profile = Resource<ProfileSpec>;

/// The spec of a Profile (Calico reference, "Profile").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSpec {
    /// Rules for what comes in, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    /// Rules for what goes out, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
    /// Labels the endpoints inherit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_to_apply: BTreeMap<String, String>,
}

/// The profile that every cluster has, which allows everything.
pub const ALLOW_PROFILE: &str = "projectcalico-default-allow";

/// What stands before a namespace's labels where its endpoints have taken them over.
pub const NAMESPACE_PREFIX: &str = "pcns.";

/// What stands before a service account's labels where its endpoints have taken them over.
pub const SERVICE_ACCOUNT_PREFIX: &str = "pcsa.";

/// The label, after one of these prefixes, of the namespace's or service account's name.
pub const NAME_LABEL: &str = "projectcalico.org/name";

impl ProfileSpec {
    /// A profile that allows everything in both directions.
    pub fn allow_all() -> ProfileSpec {
        let (ingress, egress) = (vec![Rule::new(Action::Allow)], vec![Rule::new(Action::Allow)]);
        ProfileSpec { ingress, egress, labels_to_apply: BTreeMap::new() }
    }

    /// The labels of the namespace whose profile this is, as the namespace has them.
    pub fn namespace_labels(&self) -> BTreeMap<String, String> {
        let own = |(key, value): (&String, &String)| {
            Some((key.strip_prefix(NAMESPACE_PREFIX)?.to_owned(), value.clone()))
        };
        self.labels_to_apply.iter().filter_map(own).collect()
    }
}

impl Spec for ProfileSpec {
    const KIND: Kind = Kind::Profile;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::profile::check(self, metadata, problems);
    }
}
