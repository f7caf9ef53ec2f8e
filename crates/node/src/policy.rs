//! Policy on this node: resources in, changes of nf_tables out; and what policy says about a packet.
//!
//! ```text
//!  resources ──convert──▶ Graph ──Outputs──▶ Renderer ──▶ Updates, for Effect::Apply
//! ```

use kernel::nft::Update;
use model::{Key, Value};
use plan::Topology;
use plan::policy::Renderer;
use policy::evaluate::Rules;
use policy::input::{PolicyId, WorkloadId};
use policy::output::{Policy as InForce, Profile, SetId, Workload};
use policy::{Graph, convert};
use std::net::IpAddr;

/// What is known of policy, and what of it the kernel shall have.
#[derive(Debug)]
pub(crate) struct Policy {
    graph: Graph,
    renderer: Renderer,
    /// Resources have changed since the graph was flushed.
    changed: bool,
    /// The kernel was told what is always there.
    started: bool,
}

impl Policy {
    /// Nothing known yet.
    pub(crate) fn new(node: &str) -> Policy {
        Policy {
            graph: Graph::new(node),
            renderer: Renderer::default(),
            changed: true,
            started: false,
        }
    }

    /// Takes an object as it is now; `None`: it is gone.
    pub(crate) fn take(&mut self, key: &Key, value: Option<&Value>) {
        if let Some(update) = convert::update(key, value) {
            self.graph.on(update);
            self.changed = true;
        }
    }

    /// An object is there, but cannot be read, for this reason.
    pub(crate) fn take_unreadable(&mut self, key: &Key, why: &str) {
        match convert::unreadable(key, why) {
            Some(update) => {
                self.graph.on(update);
                self.changed = true;
            }
            None => self.take(key, None),
        }
    }

    /// What the tables lack of what is known now; to be called only once all is known. Chains that
    /// packets come through from the kernel's hooks are the plan's.
    pub(crate) fn settle(&mut self, topology: &Topology) -> Vec<Update> {
        let mut updates = Vec::new();
        if !std::mem::replace(&mut self.started, true) {
            updates.extend(self.renderer.start());
        }
        if let Some(settings) = &topology.settings.policy {
            updates.extend(self.renderer.configure(settings.clone()));
        }
        updates.extend(self.renderer.interfaces(topology.facts.addresses_by_device()));
        if std::mem::take(&mut self.changed) {
            let mut outputs = Vec::new();
            self.graph.flush(&mut |output| outputs.push(output));
            updates.extend(self.renderer.apply(outputs));
        }
        updates
    }

    /// The workloads of this node.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = (&WorkloadId, &Workload)> {
        self.renderer.workloads()
    }

    /// The workload of this node that has an address.
    pub(crate) fn workload_at(&self, address: IpAddr) -> Option<(&WorkloadId, &Workload)> {
        self.workloads().find(|(_, workload)| workload.addresses.contains(&address))
    }

    /// What keeps something from meaning what it says.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.graph.problems().into_iter().map(|problem| problem.to_string())
    }
}

impl Rules for Policy {
    fn policy(&self, id: &PolicyId) -> Option<&InForce> {
        self.renderer.policy(id)
    }

    fn profile(&self, name: &str) -> Option<&Profile> {
        self.renderer.profile(name)
    }

    fn contains(&self, set: &SetId, address: IpAddr) -> bool {
        self.graph.contains(set, address)
    }

    fn contains_port(&self, set: &SetId, address: IpAddr, protocol: u8, port: u16) -> bool {
        self.graph.contains_port(set, address, protocol, port)
    }
}
