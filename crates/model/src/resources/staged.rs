//! Staged policies: StagedNetworkPolicy, StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy.
//! They are evaluated, so that one sees what they would do, and never enforced.

use super::global_network_policy::GlobalNetworkPolicySpec;
use super::network_policy::NetworkPolicySpec;
use super::policy::{self, PolicyParts, PolicySpec};
use crate::kubernetes::network_policy::NetworkPolicySpec as KubernetesPolicySpec;
use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::{self, Debug};
use std::marker::PhantomData;

/// A StagedNetworkPolicy resource (Calico reference, "Staged network policy").
pub type StagedNetworkPolicy = Resource<StagedNetworkPolicySpec>;

/// The spec of a StagedNetworkPolicy.
pub type StagedNetworkPolicySpec = Staged<NetworkPolicySpec>;

/// A StagedGlobalNetworkPolicy resource (Calico reference, "Staged global network policy").
pub type StagedGlobalNetworkPolicy = Resource<StagedGlobalNetworkPolicySpec>;

/// The spec of a StagedGlobalNetworkPolicy.
pub type StagedGlobalNetworkPolicySpec = Staged<GlobalNetworkPolicySpec>;

/// A StagedKubernetesNetworkPolicy resource (Calico reference, "Staged Kubernetes network policy").
pub type StagedKubernetesNetworkPolicy = Resource<StagedKubernetesNetworkPolicySpec>;

/// The spec of a StagedKubernetesNetworkPolicy: Kubernetes' own fields.
pub type StagedKubernetesNetworkPolicySpec = Staged<KubernetesPolicySpec>;

/// What is to be done with a staged policy once it is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StagedAction {
    /// The policy of the same name is to become this.
    #[default]
    Set,
    /// The policy of the same name is to go.
    Delete,
    /// It was made by a program that learns from traffic.
    Learn,
    /// Nothing; not even evaluated.
    Ignore,
}

/// A policy that is only evaluated, never enforced: `stagedAction` beside the fields of `P`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged<P> {
    /// What is to be done with it; `None`: Set.
    pub staged_action: Option<StagedAction>,
    /// The policy.
    pub policy: P,
}

impl<P> Staged<P> {
    /// What is to be done with it.
    pub fn action(&self) -> StagedAction {
        self.staged_action.unwrap_or_default()
    }
}

const STAGED_ACTION: &str = "stagedAction";

/// The fields of both, side by side.
impl<P: JsonSchema> JsonSchema for Staged<P> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Staged{}", P::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let action = StagedAction::json_schema(generator);
        let mut schema = P::json_schema(generator);
        let properties = schema.ensure_object().get_mut("properties");
        if let Some(properties) = properties.and_then(serde_json::Value::as_object_mut) {
            properties.insert("stagedAction".to_owned(), action.to_value());
        }
        schema
    }
}

impl<P: Serialize> Serialize for Staged<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a, P> {
            #[serde(rename = "stagedAction", skip_serializing_if = "Option::is_none")]
            staged_action: Option<StagedAction>,
            #[serde(flatten)]
            policy: &'a P,
        }
        Wire { staged_action: self.staged_action, policy: &self.policy }.serialize(serializer)
    }
}

// Not serde's `flatten`, which hides unknown fields from those who report them.
impl<'de, P: Deserialize<'de>> Deserialize<'de> for Staged<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Staged<P>, D::Error> {
        struct Read<P>(PhantomData<P>);
        impl<'de, P: Deserialize<'de>> Visitor<'de> for Read<P> {
            type Value = Staged<P>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Staged<P>, A::Error> {
                let mut staged_action = None;
                let others = OtherFields { map, staged_action: &mut staged_action };
                let policy = P::deserialize(MapAccessDeserializer::new(others))?;
                Ok(Staged { staged_action, policy })
            }
        }
        deserializer.deserialize_map(Read(PhantomData))
    }
}

/// The fields of a staged policy but `stagedAction`, which is kept aside.
struct OtherFields<'a, A> {
    map: A,
    staged_action: &'a mut Option<StagedAction>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OtherFields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key != STAGED_ACTION {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            *self.staged_action = self.map.next_value()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A spec that can be staged.
pub trait Stageable: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned {
    /// The kind of the staged policy.
    const STAGED_KIND: Kind;

    /// Reports what Calico would refuse.
    fn check_policy(&self, metadata: &Metadata, problems: &mut Problems);

    /// Fills in what Calico fills in; of one that is to be deleted, the tier only.
    fn apply_policy_defaults(&mut self, to_be_deleted: bool, metadata: &mut Metadata);

    /// A spec that says no more than this one's tier.
    fn tier_only(&self) -> Self;
}

impl<P: Stageable> Spec for Staged<P> {
    const KIND: Kind = P::STAGED_KIND;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::staged::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, metadata: &mut Metadata) {
        let action = *self.staged_action.get_or_insert_default();
        self.policy.apply_policy_defaults(action == StagedAction::Delete, metadata);
    }
}

impl<P: PolicySpec> PolicySpec for Staged<P> {
    fn parts(&self) -> PolicyParts<'_> {
        self.policy.parts()
    }
}

impl Stageable for NetworkPolicySpec {
    const STAGED_KIND: Kind = Kind::StagedNetworkPolicy;

    fn check_policy(&self, metadata: &Metadata, problems: &mut Problems) {
        self.check(metadata, problems);
    }

    fn apply_policy_defaults(&mut self, to_be_deleted: bool, metadata: &mut Metadata) {
        if to_be_deleted {
            policy::apply_tier(&mut self.tier, metadata);
        } else {
            self.apply_defaults(metadata);
        }
    }

    fn tier_only(&self) -> NetworkPolicySpec {
        NetworkPolicySpec { tier: self.tier.clone(), ..NetworkPolicySpec::default() }
    }
}

impl Stageable for GlobalNetworkPolicySpec {
    const STAGED_KIND: Kind = Kind::StagedGlobalNetworkPolicy;

    fn check_policy(&self, metadata: &Metadata, problems: &mut Problems) {
        self.check(metadata, problems);
    }

    fn apply_policy_defaults(&mut self, to_be_deleted: bool, metadata: &mut Metadata) {
        if to_be_deleted {
            policy::apply_tier(&mut self.tier, metadata);
        } else {
            self.apply_defaults(metadata);
        }
    }

    fn tier_only(&self) -> GlobalNetworkPolicySpec {
        GlobalNetworkPolicySpec { tier: self.tier.clone(), ..GlobalNetworkPolicySpec::default() }
    }
}

impl Stageable for KubernetesPolicySpec {
    const STAGED_KIND: Kind = Kind::StagedKubernetesNetworkPolicy;

    fn check_policy(&self, _metadata: &Metadata, problems: &mut Problems) {
        validate::staged::check_kubernetes(self, problems);
    }

    fn apply_policy_defaults(&mut self, to_be_deleted: bool, _metadata: &mut Metadata) {
        if self.policy_types.is_empty() && !to_be_deleted {
            self.policy_types = self.types();
        }
    }

    fn tier_only(&self) -> KubernetesPolicySpec {
        KubernetesPolicySpec::default()
    }
}
