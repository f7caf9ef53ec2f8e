//! What is wrong with the input, for status: nothing of it is silent.

use super::Graph;
use super::body;
use super::cluster::HOST_ENDPOINT;
use super::policies::Flags;
use crate::input::PolicyId;
use std::collections::BTreeMap;

/// What keeps something from meaning what it says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A policy that denies all it is about.
    #[error(
        "{} cannot be enforced, so its endpoints deny all it is about: {reason}; correct it",
        policy.resource()
    )]
    Policy {
        /// Which.
        policy: PolicyId,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// A profile that denies everything.
    #[error("Profile({profile}) cannot be enforced, so it denies everything: {reason}; correct it")]
    Profile {
        /// Its name.
        profile: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// A profile that endpoints of this node name and that doesn't exist.
    #[error(
        "Profile({profile}), which {kind}({endpoint}) names, does not exist: it allows nothing and \
         gives no labels; create it, or wait for the namespace or service account to be seen"
    )]
    MissingProfile {
        /// Its name.
        profile: Box<str>,
        /// `WorkloadEndpoint` or `HostEndpoint`.
        kind: &'static str,
        /// One that names it: its namespace and name.
        endpoint: Box<str>,
    },
    /// A tier that policies name and that doesn't exist.
    #[error(
        "Tier({tier}), which policies name ({policies} in all), does not exist: they come after other \
         tiers, and what they don't decide is denied; create it"
    )]
    MissingTier {
        /// Its name.
        tier: Box<str>,
        /// How many policies name it.
        policies: usize,
    },
}

fn full_name(namespace: &str, name: &str) -> Box<str> {
    if namespace.is_empty() { name.into() } else { format!("{namespace}/{name}").into() }
}

impl Graph {
    /// What is wrong as of the last flush. Takes time in proportion to the number of policies.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.broken_policies();
        problems.extend(self.broken_profiles());
        problems.extend(self.missing_profiles());
        problems.extend(self.missing_tiers());
        problems
    }

    fn broken_policies(&self) -> Vec<Problem> {
        let reason = |number, flags: Flags, bytes| {
            if flags.has(Flags::BROKEN) {
                return body::broken(bytes);
            }
            self.policies_in_force.get(&number)?.broken.clone()
        };
        let policies = self.policies.objects.iter().filter_map(|(number, policy)| {
            let reason = reason(number, policy.flags, &policy.body)?;
            Some(Problem::Policy { policy: self.policies.id(number), reason })
        });
        policies.collect()
    }

    fn broken_profiles(&self) -> Vec<Problem> {
        let profiles = self.profiles_in_force.iter().filter_map(|(number, in_force)| {
            let profile = self.cluster.profiles.name(*number).key().name.into();
            Some(Problem::Profile { profile, reason: in_force.broken.clone()? })
        });
        profiles.collect()
    }

    fn missing_profiles(&self) -> Vec<Problem> {
        let mut missing = BTreeMap::new();
        for number in self.locals.keys() {
            let Some(object) = self.cluster.objects.get(*number) else { continue };
            for profile in object.profiles.iter() {
                if self.cluster.profiles.get(*profile).is_none() {
                    missing.entry(*profile).or_insert(*number);
                }
            }
        }
        let problems = missing.into_iter().map(|(profile, number)| {
            let key = self.cluster.objects.name(number).key();
            let is_host = key.kind == HOST_ENDPOINT;
            Problem::MissingProfile {
                profile: self.cluster.profiles.name(profile).key().name.into(),
                kind: if is_host { "HostEndpoint" } else { "WorkloadEndpoint" },
                endpoint: full_name(key.namespace, key.name),
            }
        });
        problems.collect()
    }

    fn missing_tiers(&self) -> Vec<Problem> {
        let mut missing: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, policy) in self.policies.objects.iter() {
            if self.policies.tiers.get(policy.tier).is_none() {
                *missing.entry(policy.tier).or_default() += 1;
            }
        }
        let problems = missing.into_iter().map(|(number, policies)| {
            let tier = self.policies.tiers.name(number).key().name.into();
            Problem::MissingTier { tier, policies }
        });
        problems.collect()
    }
}
