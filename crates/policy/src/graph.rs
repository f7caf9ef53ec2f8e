//! The calculation graph: what this node must know of the cluster's policies, kept up to date.
//!
//! ```text
//!  on ─▶ cluster: endpoints, network sets, profiles ─┬─ labels ─▶ sets ◀──── services ◀── EndpointSlices
//!        policies, tiers                             │              ▲ rules name sets
//!           └─ selectors ──▶ endpoints of this node ◀┘              │
//!                                  └─▶ policies and profiles in force
//! ```
//!
//! Everything waits encoded until an endpoint of this node needs it. A change costs what it changes:
//! selectors are found by a label that they need, endpoints by a label that they have.

mod body;
mod bytes;
mod cluster;
mod explain;
mod in_force;
mod index;
mod labels;
mod members;
mod names;
mod nets;
mod numbers;
mod objects;
mod policies;
mod problems;
mod round;
mod rules;
mod services;
mod sets;
mod test;
#[cfg(test)]
mod tests;
mod tiers;

pub use problems::Problem;

use crate::input::{self, Update};
use crate::output::Output;
use cluster::{Cluster, HOST_ENDPOINT, Labelled, Local, NETWORK_SET, Port, Profile, WORKLOAD};
use hashbrown::HashMap;
use in_force::InForce;
use labels::Labels;
use names::Names;
use nets::Nets;
use objects::Key;
use policies::{Policies, Tier, order, plain_key};
use services::Services;
use sets::Sets;
use std::collections::BTreeMap;

/// The calculation graph of one node.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Whose endpoints it tells of; `None`: every node's.
    node: Option<Box<str>>,
    names: Names,
    cluster: Cluster,
    services: Services,
    policies: Policies,
    sets: Sets,
    /// Endpoints of this node by number: the policy selectors that select each, in order.
    locals: HashMap<u32, Box<[u32]>>,
    /// How many endpoints of this node have a profile.
    profile_users: HashMap<u32, u32>,
    policies_in_force: HashMap<u32, InForce>,
    profiles_in_force: HashMap<u32, InForce>,
}

impl Graph {
    /// The graph of a node, of an empty cluster.
    pub fn new(node: &str) -> Graph {
        Graph::with(Some(node.into()))
    }

    /// A graph that tells of the endpoints of all nodes, of an empty cluster.
    pub fn of_all_nodes() -> Graph {
        Graph::with(None)
    }

    fn with(node: Option<Box<str>>) -> Graph {
        Graph {
            node,
            names: Names::default(),
            cluster: Cluster::default(),
            services: Services::default(),
            policies: Policies::default(),
            sets: Sets::default(),
            locals: HashMap::new(),
            profile_users: HashMap::new(),
            policies_in_force: HashMap::new(),
            profiles_in_force: HashMap::new(),
        }
    }

    /// Takes note of how an object is now. Nothing is computed before the next [`Graph::flush`].
    pub fn on(&mut self, update: Update) {
        match update {
            Update::Workload(id, workload) => {
                let key = Key { kind: WORKLOAD, namespace: &id.namespace, name: &id.name };
                let labelled = workload.map(|workload| self.keep_workload(*workload));
                self.cluster.set(key, labelled);
            }
            Update::HostEndpoint(name, endpoint) => {
                let key = Key { kind: HOST_ENDPOINT, namespace: "", name: &name };
                let labelled = endpoint.map(|endpoint| self.keep_host_endpoint(*endpoint));
                self.cluster.set(key, labelled);
            }
            Update::NetworkSet(id, set) => {
                let key = Key { kind: NETWORK_SET, namespace: &id.namespace, name: &id.name };
                let labelled = set.map(|set| self.keep_network_set(&set));
                self.cluster.set(key, labelled);
            }
            Update::Profile(name, profile) => {
                let profile = profile.map(|profile| Profile {
                    labels: Labels::new(&mut self.names, &profile.labels),
                    body: body::encode(
                        &profile.ingress,
                        &profile.egress,
                        profile.broken.as_deref(),
                    ),
                });
                self.cluster.profiles.set(cluster::profile_key(&name), profile);
            }
            Update::Policy(id, policy) => self.policies.set(&mut self.names, &id, policy),
            Update::Tier(name, tier) => {
                let tier = tier.map(|tier| Tier {
                    order: order(tier.order),
                    default_action: tier.default_action,
                });
                self.policies.tiers.set(plain_key(&name), tier);
            }
            Update::EndpointSlice(id, slice) => self.services.set(&id, slice),
        }
    }

    /// Tells how what this node must know has changed since the last flush; at the first one, all of
    /// it. To be called only once the datastore is in sync, or what isn't read yet counts as absent.
    pub fn flush(&mut self, tell: &mut impl FnMut(Output)) {
        round::flush(self, tell);
        self.sweep_names();
    }

    fn tells_of(&self, node: &str) -> bool {
        self.node.as_deref().is_none_or(|own| own == node)
    }

    fn keep_workload(&mut self, workload: input::Workload) -> Labelled {
        let nets = Nets::of_addresses(&workload.addresses);
        let labelled = self.labelled(&workload.labels, &workload.profiles, &workload.ports, nets);
        let local = self.tells_of(&workload.node).then_some(Local {
            interface: workload.interface,
            addresses: workload.addresses,
            allowed_sources: workload.allowed_sources,
            profiles: workload.profiles,
        });
        Labelled { local: local.map(Box::new), ..labelled }
    }

    fn keep_host_endpoint(&mut self, endpoint: input::HostEndpoint) -> Labelled {
        let nets = Nets::of_addresses(&endpoint.addresses);
        let labelled = self.labelled(&endpoint.labels, &endpoint.profiles, &endpoint.ports, nets);
        let local = self.tells_of(&endpoint.node).then_some(Local {
            interface: endpoint.interface,
            addresses: endpoint.addresses,
            allowed_sources: vec![],
            profiles: endpoint.profiles,
        });
        Labelled { local: local.map(Box::new), ..labelled }
    }

    fn keep_network_set(&mut self, set: &input::NetworkSet) -> Labelled {
        let nets = Nets::new(set.nets.iter().copied());
        self.labelled(&set.labels, &set.profiles, &[], nets)
    }

    /// What is kept of an object that is not of this node.
    fn labelled(
        &mut self,
        labels: &BTreeMap<Box<str>, Box<str>>,
        profiles: &[Box<str>],
        ports: &[input::NamedPort],
        nets: Nets,
    ) -> Labelled {
        let names = &mut self.names;
        let ports = ports.iter().map(|port| Port {
            name: names.number(&port.name),
            port: port.port,
            protocol: port.protocol,
        });
        let ports = ports.collect();
        let labels = Labels::new(names, labels);
        let profiles = self.cluster.refer_profiles(profiles);
        Labelled { labels, profiles, nets, ports, local: None }
    }

    /// Forgets names of labels that nothing has or asks for any more.
    fn sweep_names(&mut self) {
        if !self.names.wants_sweep() {
            return;
        }
        let mut used = vec![false; self.names.end()];
        for (_, object) in self.cluster.objects.iter() {
            object.labels.iter().for_each(|(name, _)| used[name as usize] = true);
            object.ports.iter().for_each(|port| used[port.name as usize] = true);
        }
        for (_, profile) in self.cluster.profiles.iter() {
            profile.labels.iter().for_each(|(name, _)| used[name as usize] = true);
        }
        self.policies.mark_names(&mut used);
        self.sets.mark_names(&mut used);
        self.names.sweep(&used);
    }
}
