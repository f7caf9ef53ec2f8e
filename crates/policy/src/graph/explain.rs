//! What the graph answers when asked: what is in force, and who is in which set.

use super::Graph;
use super::in_force::{Ids, read};
use super::objects::Key;
use super::policies::{Flags, policy_key};
use super::round::directions;
use super::{cluster, tiers};
use crate::input::{PolicyId, WorkloadId};
use crate::output::{HostEndpoint, Output, Policy, Profile, SetId, Workload};
use std::net::IpAddr;
use std::sync::Arc;

impl Graph {
    /// Whether an address is in a set of addresses and prefixes, as of the last flush.
    pub fn contains(&self, set: &SetId, address: IpAddr) -> bool {
        self.sets.members(set).is_some_and(|members| members.contains(address))
    }

    /// Whether a port (its IP protocol number before it) of an address is in a set of ports.
    pub fn contains_port(&self, set: &SetId, address: IpAddr, protocol: u8, port: u16) -> bool {
        let members = self.sets.members(set);
        members.is_some_and(|members| members.contains_port(address, protocol, port))
    }

    /// How many sets there are.
    pub fn set_count(&self) -> usize {
        self.sets.len()
    }

    /// How many policies are in force.
    pub fn policy_count(&self) -> usize {
        self.policies_in_force.len()
    }

    /// A policy in force, as it was told.
    pub fn policy(&self, id: &PolicyId) -> Option<Arc<Policy>> {
        let number = self.policies.objects.find(policy_key(id))?;
        self.policies_in_force.get(&number)?;
        let policy = self.policies.objects.get(number)?;
        let rules = read(&policy.body, directions(policy.flags), &mut Ids);
        Some(Arc::new(Policy {
            tier: self.policies.tiers.name(policy.tier).key().name.into(),
            staged: policy.flags.has(Flags::STAGED),
            ingress: rules.ingress,
            egress: rules.egress,
            broken: rules.broken,
        }))
    }

    /// A profile in force, as it was told.
    pub fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        let number = self.cluster.profiles.find(cluster::profile_key(name))?;
        self.profiles_in_force.get(&number)?;
        let profile = self.cluster.profiles.get(number)?;
        let rules = read(&profile.body, [true; 2], &mut Ids);
        Some(Arc::new(Profile { ingress: rules.ingress, egress: rules.egress }))
    }

    /// A workload endpoint of this node, as it was told.
    pub fn workload(&self, id: &WorkloadId) -> Option<Arc<Workload>> {
        let (kind, namespace, name) = (cluster::WORKLOAD, &*id.namespace, &*id.name);
        match self.told_endpoint(Key { kind, namespace, name })? {
            Output::Workload(_, workload) => Some(workload),
            _ => None,
        }
    }

    /// A host endpoint of this node, as it was told.
    pub fn host_endpoint(&self, name: &str) -> Option<Arc<HostEndpoint>> {
        match self.told_endpoint(Key { kind: cluster::HOST_ENDPOINT, namespace: "", name })? {
            Output::HostEndpoint(_, endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// The workload endpoints of this node.
    pub fn workloads(&self) -> impl Iterator<Item = WorkloadId> {
        self.local_names(cluster::WORKLOAD)
            .map(|key| WorkloadId { namespace: key.namespace.into(), name: key.name.into() })
    }

    /// The names of the host endpoints of this node.
    pub fn host_endpoints(&self) -> impl Iterator<Item = &str> {
        self.local_names(cluster::HOST_ENDPOINT).map(|key| key.name)
    }

    fn local_names(&self, kind: u8) -> impl Iterator<Item = Key<'_>> {
        let keys = self.locals.keys().map(|number| self.cluster.objects.name(*number).key());
        keys.filter(move |key| key.kind == kind)
    }

    fn told_endpoint(&self, key: Key) -> Option<Output> {
        let number = self.cluster.objects.find(key)?;
        let selecting = self.locals.get(&number)?;
        let object = self.cluster.objects.get(number)?;
        object.local.as_ref()?;
        Some(self.endpoint(number, object, tiers::tiers(&self.policies, selecting)))
    }
}
