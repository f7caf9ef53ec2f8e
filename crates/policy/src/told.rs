//! All that was told, summed up: what a dataplane of this node has to go by.

use crate::input::{PolicyId, WorkloadId};
use crate::output::{
    Entity, HostEndpoint, Member, Output, Policy, Profile, Rule, SetId, SetKind, Tier, Workload,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The sum of outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Sets and their members.
    pub sets: BTreeMap<SetId, (SetKind, BTreeSet<Member>)>,
    /// Policies in force.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// Profiles in force.
    pub profiles: BTreeMap<Box<str>, Arc<Profile>>,
    /// Workload endpoints.
    pub workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    /// Host endpoints.
    pub host_endpoints: BTreeMap<String, Arc<HostEndpoint>>,
}

/// An output that doesn't fit what was told before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy graph told {what} of {of}: this is a defect of the graph; please report it")]
pub struct Unfit {
    /// What is wrong with it.
    pub what: &'static str,
    /// The object.
    pub of: String,
}

impl Told {
    /// Adds one output.
    ///
    /// # Errors
    /// It doesn't fit: a change of what isn't there, or a reference to it. It is not added then.
    pub fn on(&mut self, output: Output) -> Result<(), Unfit> {
        match output {
            Output::Set { id, kind, members } => {
                self.sets.insert(id, (kind, members));
            }
            Output::Members { id, added, removed } => self.change_members(&id, added, &removed)?,
            Output::SetGone(id) => {
                if self.names_set(&id) {
                    return Err(unfit("the end of a set that is referred to", &id));
                }
                self.sets.remove(&id).ok_or_else(|| unfit("the end of an unknown set", &id))?;
            }
            Output::Policy(id, policy) => {
                self.sets_exist(&id, &policy.ingress, &policy.egress)?;
                self.policies.insert(id, policy);
            }
            Output::PolicyGone(id) => {
                if self.tiers().any(|tier| tier.ingress.contains(&id) || tier.egress.contains(&id)) {
                    return Err(unfit("the end of a policy that is referred to", &id));
                }
                let gone = self.policies.remove(&id);
                gone.ok_or_else(|| unfit("the end of an unknown policy", &id))?;
            }
            Output::Profile(name, profile) => {
                self.sets_exist(&name, &profile.ingress, &profile.egress)?;
                self.profiles.insert(name, profile);
            }
            Output::ProfileGone(name) => {
                let gone = self.profiles.remove(&name);
                gone.ok_or_else(|| unfit("the end of an unknown profile", &name))?;
            }
            Output::Workload(id, workload) => {
                self.policies_exist(&id, [&workload.tiers])?;
                self.workloads.insert(id, workload);
            }
            Output::WorkloadGone(id) => {
                let gone = self.workloads.remove(&id);
                gone.ok_or_else(|| unfit("the end of an unknown endpoint", &id))?;
            }
            Output::HostEndpoint(name, endpoint) => {
                let HostEndpoint { tiers, forward, untracked, pre_dnat, .. } = &*endpoint;
                self.policies_exist(&name, [tiers, forward, untracked, pre_dnat])?;
                self.host_endpoints.insert(name, endpoint);
            }
            Output::HostEndpointGone(name) => {
                let gone = self.host_endpoints.remove(&name);
                gone.ok_or_else(|| unfit("the end of an unknown endpoint", &name))?;
            }
        }
        Ok(())
    }

    fn change_members(
        &mut self,
        id: &SetId,
        added: Vec<Member>,
        removed: &[Member],
    ) -> Result<(), Unfit> {
        let Some((_, members)) = self.sets.get_mut(id) else {
            return Err(unfit("members of an unknown set", id));
        };
        if added.iter().any(|member| members.contains(member)) {
            return Err(unfit("a new member that is no new one", id));
        }
        if !removed.iter().all(|member| members.remove(member)) {
            return Err(unfit("the end of an unknown member", id));
        }
        members.extend(added);
        Ok(())
    }

    fn tiers(&self) -> impl Iterator<Item = &Tier> {
        let hosts = self.host_endpoints.values().flat_map(|endpoint| {
            [&endpoint.tiers, &endpoint.forward, &endpoint.untracked, &endpoint.pre_dnat]
        });
        let workloads = self.workloads.values().map(|workload| &workload.tiers);
        workloads.chain(hosts).flatten()
    }

    fn names_set(&self, id: &SetId) -> bool {
        let policies = self.policies.values().map(|policy| (&policy.ingress, &policy.egress));
        let profiles = self.profiles.values().map(|profile| (&profile.ingress, &profile.egress));
        let rules = policies.chain(profiles).flat_map(|(ingress, egress)| ingress.iter().chain(egress));
        rules.flat_map(sets).any(|set| set == id)
    }

    fn sets_exist(
        &self,
        of: &impl std::fmt::Debug,
        ingress: &[Rule],
        egress: &[Rule],
    ) -> Result<(), Unfit> {
        let mut named = ingress.iter().chain(egress).flat_map(sets);
        match named.all(|set| self.sets.contains_key(set)) {
            true => Ok(()),
            false => Err(unfit("rules with an unknown set", of)),
        }
    }

    fn policies_exist<const N: usize>(
        &self,
        of: &impl std::fmt::Debug,
        tiers: [&Vec<Tier>; N],
    ) -> Result<(), Unfit> {
        let named = tiers.into_iter().flatten();
        let mut named = named.flat_map(|tier| tier.ingress.iter().chain(&tier.egress));
        match named.all(|policy| self.policies.contains_key(policy)) {
            true => Ok(()),
            false => Err(unfit("tiers with an unknown policy", of)),
        }
    }
}

/// The sets that a rule names.
fn sets(rule: &Rule) -> impl Iterator<Item = &SetId> {
    [&rule.source, &rule.destination].into_iter().flat_map(|entity| {
        let Entity { sets, not_sets, port_sets, not_port_sets, service, .. } = entity;
        sets.iter().chain(not_sets).chain(port_sets).chain(not_port_sets).chain(service)
    })
}

fn unfit(what: &'static str, of: &impl std::fmt::Debug) -> Unfit {
    Unfit { what, of: format!("{of:?}") }
}
