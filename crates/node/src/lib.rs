//! The pure core of one node: events in, effects out.
//!
//! ```text
//!  datastore events ─┐                       ┌─▶ Apply: the plan, for the kernel
//!  kernel facts      ├─▶ Node::on(Event) ────┼─▶ Assign, Release, Write…: datastore work
//!  learned routes    │    (one inbox,        ├─▶ ConfigureBgp: what the speaker is to do
//!  CNI requests      │     one owner)        ├─▶ Reply: answers to the CNI plugin and calicoctl
//!  results, Idle ────┘                       └─▶ TunnelAddress, ShowEndpoints
//! ```
//!
//! Owns: the node's picture of the cluster (`cluster`), the course of every CNI request
//! (`workload`), what the BGP speaker is told (`speaker`), when a plan is due, and what the node
//! says of itself ([`status`]). Every input is one [`Event`], which can be recorded and replayed;
//! `on` never blocks and never fails.
//!
//! Must not know: tokio, sockets, clocks.

pub mod api;
mod cluster;
pub mod connections;
pub mod endpoint_status;
pub mod event;
pub mod explain;
mod policy;
pub mod report;
mod settings;
mod speaker;
pub mod status;
mod tracked;
mod tunnel;
mod way;
pub mod what_if;
mod workload;

pub use event::{Addresses, Assign, Effect, Event, Refusal, RequestId, Written};
pub use workload::network_profile;

use cluster::Cluster;
use endpoint_status::EndpointStatuses;
use model::{Kind, Query};
use status::NodeStatus;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What of the datastore a node must be told.
pub fn queries() -> Vec<Query> {
    let kinds = [
        Kind::BgpConfiguration,
        Kind::BgpFilter,
        Kind::BgpPeer,
        Kind::CalicoNodeStatus,
        Kind::ClusterInformation,
        Kind::FelixConfiguration,
        Kind::IpPool,
        Kind::IpReservation,
        Kind::Node,
    ];
    let kinds = kinds.into_iter().chain(::policy::convert::KINDS);
    let others = [Query::Blocks, Query::EndpointSlices, Query::IpamConfig];
    kinds.map(Query::kind).chain(others).collect()
}

/// The core of one node. Everything it knows it was told by an [`Event`].
#[derive(Debug)]
pub struct Node {
    name: String,
    cluster: Cluster,
    requests: workload::Requests,
    tunnels: tunnel::Tunnels,
    speaker: speaker::Speaker,
    explanations: explain::Explanations,
    connections: connections::Connections,
    in_sync: bool,
    unreachable: Option<String>,
    last_plan: Option<Arc<plan::Plan>>,
    generation: u64,
    failures: BTreeMap<String, String>,
    shown: (String, EndpointStatuses),
}

impl Node {
    /// A node that knows nothing yet. `environment` is the process's, for configuration.
    pub fn new(name: &str, environment: Vec<(String, String)>) -> Node {
        Node {
            name: name.to_owned(),
            cluster: Cluster::new(name, environment),
            requests: workload::Requests::default(),
            tunnels: tunnel::Tunnels::default(),
            speaker: speaker::Speaker::default(),
            explanations: explain::Explanations::default(),
            connections: connections::Connections::default(),
            in_sync: false,
            unreachable: None,
            last_plan: None,
            generation: 0,
            failures: BTreeMap::new(),
            shown: <_>::default(),
        }
    }

    /// Takes one event and says what is to be done about it.
    ///
    /// Plans are made on [`Event::Idle`] only, so that a burst of events costs one plan.
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Datastore(event) => self.on_datastore(event),
            Event::Facts(facts) => {
                self.cluster.set_facts(*facts);
                vec![]
            }
            Event::Request { id, request } => self.on_request(id, request),
            Event::Assigned { id, result } => self.on_assigned(id, result),
            Event::Read { id, result } => {
                self.requests.on_read(id, result, &mut self.cluster).into_iter().collect()
            }
            Event::Written { id, written } => {
                self.requests.on_written(id, written, &mut self.cluster)
            }
            Event::Applied { generation, failures } => self.on_applied(generation, failures),
            Event::TunnelAddress { tunnel, wanted, result } => {
                self.tunnels.on_result(tunnel, wanted, result);
                vec![]
            }
            Event::BgpRoutes { changes, in_sync } => {
                self.speaker.learn(changes, in_sync, &mut self.cluster);
                vec![]
            }
            Event::BgpStatus(status) => {
                self.speaker.set_status(status);
                vec![]
            }
            Event::KernelRead { id, holds } => self.explanations.finish(id, *holds),
            Event::Connections(list) => {
                let end = self.connections.judge(&self.cluster, self.last_plan.as_deref(), &list);
                let again =
                    self.connections.settle(self.requests.applied_generation(), &mut self.cluster);
                end.into_iter().chain(again).collect()
            }
            Event::Idle => self.settle(),
        }
    }

    /// What the node says of itself now.
    pub fn status(&self) -> NodeStatus {
        let mut status = NodeStatus {
            node: self.name.clone(),
            backend: self.cluster.backend_name().to_owned(),
            bgp: self.speaker.status(),
            in_sync: self.in_sync && self.requests.applied_generation() > 0,
            not_ready: vec![],
            warnings: self.cluster.warnings(),
        };
        if !self.in_sync {
            status.not_ready.push(match &self.unreachable {
                Some(reason) => format!("the datastore has not been read: {reason}"),
                None => "the datastore has not been read yet".to_owned(),
            });
        } else if self.requests.applied_generation() == 0 {
            status.not_ready.push("the first plan has not been applied yet".to_owned());
        } else if let Some(reason) = &self.unreachable {
            status.warnings.push(format!("{reason}; what was known stays in force"));
        }
        status.not_ready.extend(self.failures.values().cloned());
        status.not_ready.extend(self.tunnels.problems());
        status.warnings.extend(self.tunnels.missing(&self.cluster));
        status.warnings.extend(self.speaker.problems().iter().cloned());
        if let Some(plan) = &self.last_plan {
            status.warnings.extend(plan.unroutable.iter().map(ToString::to_string));
            status.warnings.extend(unreachable(plan.unreachable));
        }
        status
    }

    /// The cluster's IPAM settings; `None`: not known yet, or unreadable.
    pub fn ipam_config(&self) -> Option<&model::IpamConfig> {
        self.cluster.ipam_config()
    }

    fn on_datastore(&mut self, event: model::DatastoreEvent) -> Vec<Effect> {
        use model::DatastoreEvent as E;
        match event {
            E::Changed(entry) => self.cluster.changed(entry),
            E::Deleted { key, .. } => self.cluster.deleted(&key),
            E::InSync => {
                self.in_sync = true;
                self.cluster.all_is_told();
            }
            E::Unreachable(reason) => self.unreachable = Some(reason),
            E::Reachable => self.unreachable = None,
        }
        vec![]
    }

    fn on_request(&mut self, id: RequestId, request: api::Request) -> Vec<Effect> {
        match request {
            api::Request::AddWorkload(add) => self.requests.add(id, *add, &mut self.cluster),
            api::Request::InterfaceMade(workload) => {
                self.requests.interface_made(&workload, &mut self.cluster);
                vec![Effect::Reply { id, reply: api::Reply::Done }]
            }
            api::Request::DeleteWorkload(delete) => {
                self.requests.delete(id, delete, &mut self.cluster)
            }
            api::Request::CheckWorkload(check) => {
                vec![Effect::Reply { id, reply: self.requests.check(&check, &self.cluster) }]
            }
            api::Request::PodRanges => {
                vec![Effect::Reply { id, reply: self.pod_ranges() }]
            }
            api::Request::Explain(packet) => {
                let plan = self.last_plan.as_deref();
                vec![self.explanations.start(id, packet, &self.cluster, plan, self.in_sync)]
            }
            api::Request::Status => {
                let reply = api::Reply::Status(Box::new(self.status()));
                vec![Effect::Reply { id, reply }]
            }
            api::Request::OnNode { node, request } => self.on_node(id, node, *request),
        }
    }

    fn pod_ranges(&self) -> api::Reply {
        let node = &self.name;
        match self.cluster.pod_ranges() {
            [] if !self.in_sync => api::Reply::Failed {
                retry: true,
                message: format!("node {node} has not read the datastore yet; try again"),
            },
            [] => api::Reply::refused(format!(
                "Node {node} of Kubernetes has no spec.podCIDRs, which usePodCidr stands for: \
                 kube-controller-manager gives them with --allocate-node-cidrs; or set ipam.type to \
                 \"calico-ipam\""
            )),
            ranges => api::Reply::PodRanges(ranges.to_vec()),
        }
    }

    fn on_node(&mut self, id: RequestId, node: String, request: api::Request) -> Vec<Effect> {
        let refused = |message| vec![Effect::Reply { id, reply: api::Reply::refused(message) }];
        if !request.is_read_only() {
            return refused(format!(
                "node {node} is not asked this, as other nodes may only read: ask calico-node there"
            ));
        }
        if node == self.name {
            return self.on_request(id, request);
        }
        match self.cluster.address_of(&node) {
            Some(address) => vec![Effect::AskNode { id, node, address, request }],
            None => refused(format!(
                "node {node} has no IPv4 address that this node knows: `calicoctl get nodes -o \
                 wide` lists all; is the name right, and has calico-node started there?"
            )),
        }
    }

    fn on_assigned(
        &mut self,
        id: RequestId,
        result: Result<Vec<std::net::IpAddr>, Refusal>,
    ) -> Vec<Effect> {
        self.requests.on_assigned(id, result, &mut self.cluster)
    }

    fn on_applied(&mut self, generation: u64, failures: Vec<event::ApplyFailure>) -> Vec<Effect> {
        // A pod that is being removed takes its device first: nothing of the node is wrong.
        let is_gone = |failure: &&event::ApplyFailure| {
            failure.interface.as_ref().is_some_and(|device| self.cluster.is_gone(device))
        };
        let lasting = failures.iter().filter(|failure| !is_gone(failure));
        self.failures = lasting.map(|f| (f.object.clone(), f.message.clone())).collect();
        let mut effects = self.requests.on_applied(generation, &failures, &mut self.cluster);
        effects.extend(self.show_endpoints(generation, &failures));
        effects
            .extend(self.connections.settle(self.requests.applied_generation(), &mut self.cluster));
        effects
    }

    /// Tells which endpoints are routed, once the kernel follows the newest plan.
    fn show_endpoints(
        &mut self,
        generation: u64,
        failures: &[event::ApplyFailure],
    ) -> Option<Effect> {
        if generation != self.generation {
            return None;
        }
        let failing = |interface: &str| failures.iter().any(|failure| failure.concerns(interface));
        let prefix = self.cluster.endpoint_status_prefix().to_owned();
        let mut endpoints = self.cluster.endpoint_statuses();
        endpoints.retain(|_, status| !failing(&status.iface_name));
        let shown = (prefix, endpoints);
        if self.shown == shown {
            return None;
        }
        self.shown.clone_from(&shown);
        let (prefix, endpoints) = shown;
        Some(Effect::ShowEndpoints { prefix, endpoints })
    }

    /// Starts and finishes what can be, with a plan of what is known.
    fn settle(&mut self) -> Vec<Effect> {
        if !self.in_sync {
            return vec![];
        }
        let mut effects = self.requests.start_waiting(&mut self.cluster);
        effects.extend(self.tunnels.settle(&self.cluster));
        effects.extend(self.speaker.settle(&mut self.cluster));
        let plan = self.plan();
        // Before the rules that log with them.
        effects.extend(self.cluster.policy_mut().take_names().map(Effect::NamePrefixes));
        effects.extend(plan);
        effects.extend(self.requests.settled(self.generation));
        effects
    }

    /// What the kernel lacks of what is known now: a plan if anything has changed that it is made of,
    /// and changes of policy.
    fn plan(&mut self) -> Option<Effect> {
        let plan = self.new_plan();
        let tables = self.cluster.settle_policy();
        if plan.is_none() && tables.is_empty() {
            return None;
        }
        self.generation += 1;
        if self.cluster.policy_mut().take_unjudged() {
            self.connections.changed(self.generation);
        }
        Some(Effect::Apply { generation: self.generation, plan, tables })
    }

    fn new_plan(&mut self) -> Option<Arc<plan::Plan>> {
        if !self.cluster.take_topology_changed() {
            return None;
        }
        let plan = plan::plan(self.cluster.topology());
        if self.last_plan.as_deref() == Some(&plan) {
            return None;
        }
        let plan = Arc::new(plan);
        self.last_plan = Some(plan.clone());
        Some(plan)
    }
}

fn unreachable(routes: usize) -> Option<String> {
    (routes > 0).then(|| {
        format!(
            "{routes} routes learned by BGP are not programmed, as this node has no way to their \
             next hops; compare what the peers announce with `ip route`"
        )
    })
}

#[cfg(test)]
mod tests;
