//! All that was told, kept: what a dataplane of this node knows.

use crate::evaluate::Rules;
use crate::input::{PolicyId, WorkloadId};
use crate::output::{
    HostEndpoint, Member, Output, Policy, Profile, Rule, SetId, SetKind, Tier, Workload,
};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// The sum of outputs. Two that were told the same in different ways are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Sets by id.
    pub sets: BTreeMap<SetId, Set>,
    /// Policies by id.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// Profiles by name.
    pub profiles: BTreeMap<Box<str>, Arc<Profile>>,
    /// Workload endpoints of this node by id.
    pub workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    /// Host endpoints of this node by name.
    pub host_endpoints: BTreeMap<String, Arc<HostEndpoint>>,
}

/// A set with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What its members are.
    pub kind: SetKind,
    /// All of them.
    pub members: BTreeSet<Member>,
}

/// An output that doesn't follow from what was told before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{object} {problem}; whoever told it has lost count: start anew from all outputs")]
pub struct Contradiction {
    /// The object, with its kind.
    pub object: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl Told {
    /// Takes one output in.
    ///
    /// # Errors
    /// It changes or takes away what isn't there, or adds a member that is there already. Then this
    /// is unchanged, or has a part of the members.
    pub fn apply(&mut self, output: Output) -> Result<(), Contradiction> {
        let absent = |object: String| Contradiction { object, problem: "was never told" };
        match output {
            Output::Set { id, kind, members } => {
                self.sets.insert(id, Set { kind, members });
                Ok(())
            }
            Output::Members { id, added, removed } => match self.sets.get_mut(&id) {
                Some(set) => set.change(&id, added, &removed),
                None => Err(absent(format!("set {}", id.0))),
            },
            Output::SetGone(id) => {
                self.sets.remove(&id).map(drop).ok_or_else(|| absent(format!("set {}", id.0)))
            }
            Output::Policy(id, policy) => {
                self.policies.insert(id, policy);
                Ok(())
            }
            Output::PolicyGone(id) => {
                self.policies.remove(&id).map(drop).ok_or_else(|| absent(id.to_string()))
            }
            Output::Profile(name, profile) => {
                self.profiles.insert(name, profile);
                Ok(())
            }
            Output::ProfileGone(name) => self
                .profiles
                .remove(&name)
                .map(drop)
                .ok_or_else(|| absent(format!("profile {name}"))),
            Output::Workload(id, workload) => {
                self.workloads.insert(id, workload);
                Ok(())
            }
            Output::WorkloadGone(id) => {
                self.workloads.remove(&id).map(drop).ok_or_else(|| absent(format!("{id:?}")))
            }
            Output::HostEndpoint(name, endpoint) => {
                self.host_endpoints.insert(name, endpoint);
                Ok(())
            }
            Output::HostEndpointGone(name) => {
                let gone = self.host_endpoints.remove(&name).map(drop);
                gone.ok_or_else(|| absent(format!("host endpoint {name}")))
            }
        }
    }

    /// What refers to something that isn't there; nothing after any output of a flush. Profiles may
    /// be absent.
    ///
    /// # Errors
    /// The first such reference.
    pub fn check_references(&self) -> Result<(), Contradiction> {
        let tiers = self.workloads.values().flat_map(|workload| &workload.tiers);
        let of_hosts = self.host_endpoints.values().flat_map(|endpoint| endpoint.all_tiers());
        for id in tiers.chain(of_hosts).flat_map(Tier::policies) {
            if !self.policies.contains_key(id) {
                let object = id.to_string();
                return Err(Contradiction { object, problem: "is of an endpoint, but absent" });
            }
        }
        let of_policies = self.policies.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
        let of_profiles = self.profiles.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
        for (id, kind) in of_policies.chain(of_profiles).flat_map(Rule::sets) {
            if self.sets.get(id).is_none_or(|set| set.kind != kind) {
                let object = format!("set {}", id.0);
                return Err(Contradiction { object, problem: "is of a rule, but absent" });
            }
        }
        Ok(())
    }
}

impl Set {
    fn change(
        &mut self,
        id: &SetId,
        added: Vec<Member>,
        removed: &[Member],
    ) -> Result<(), Contradiction> {
        let wrong = |member: Member, problem| Contradiction {
            object: format!("{member:?} of {}", id.0),
            problem,
        };
        for member in removed {
            if !self.members.remove(member) {
                return Err(wrong(*member, "goes, but was never told"));
            }
        }
        for member in added {
            if !self.members.insert(member) {
                return Err(wrong(member, "is told a second time"));
            }
        }
        Ok(())
    }
}

impl Rules for Told {
    fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.policies.get(id).map(|policy| &**policy)
    }

    fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name).map(|profile| &**profile)
    }

    fn contains(&self, id: &SetId, address: IpAddr) -> bool {
        let Some(set) = self.sets.get(id) else { return false };
        let covering = std::iter::successors(Some(IpNet::from(address)), IpNet::supernet);
        covering.into_iter().any(|net| set.members.contains(&Member::Net(net)))
    }

    fn contains_port(&self, id: &SetId, address: IpAddr, protocol: u8, port: u16) -> bool {
        let member = Member::Port { address, protocol, port };
        self.sets.get(id).is_some_and(|set| set.members.contains(&member))
    }
}
