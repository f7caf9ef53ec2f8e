//! Policy on this node: resources in, changes of nf_tables out; and what policy says about a packet.
//!
//! ```text
//!  resources ──convert──▶ Graph ──Outputs──▶ Renderer ──▶ Updates, for Effect::Apply
//! ```

use kernel::nft::Update;
use model::{Key, Value};
use plan::Topology;
use plan::policy::Renderer;
use policy::evaluate::{Direction, Rules};
use policy::input::{Action, PolicyId, WorkloadId};
use policy::nflog_prefix::{self, Origin, Prefix, Shortened};
use policy::output::{Policy as InForce, Profile, Rule, SetId, Workload};
use policy::{Graph, Output, convert};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of policy, and what of it the kernel shall have.
#[derive(Debug)]
pub(crate) struct Policy {
    graph: Graph,
    renderer: Renderer,
    /// Resources have changed since the graph was flushed.
    changed: bool,
    /// The kernel was told what is always there.
    started: bool,
    /// Connections that were allowed may be forbidden now.
    unjudged: bool,
    /// Addresses that workloads of this node had.
    gone: HashSet<IpAddr>,
    /// What prefixes of logged packets stand for that are too long.
    prefixes: Arc<Shortened>,
    prefixes_changed: bool,
}

impl Policy {
    /// Nothing known yet.
    pub(crate) fn new(node: &str) -> Policy {
        Policy {
            graph: Graph::new(node),
            renderer: Renderer::default(),
            changed: true,
            started: false,
            unjudged: false,
            gone: HashSet::new(),
            prefixes: Arc::default(),
            prefixes_changed: false,
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
            self.unjudged |= !outputs.is_empty();
            for output in &outputs {
                self.name_prefixes(output);
                self.note_gone(output);
            }
            updates.extend(self.renderer.apply(outputs));
        }
        updates
    }

    /// Whether connections that were allowed may be forbidden since the last call.
    pub(crate) fn take_unjudged(&mut self) -> bool {
        std::mem::take(&mut self.unjudged)
    }

    /// What prefixes stand for that are too long, if it has changed since the last call.
    pub(crate) fn take_prefixes(&mut self) -> Option<Arc<Shortened>> {
        std::mem::take(&mut self.prefixes_changed).then(|| self.prefixes.clone())
    }

    /// Addresses that workloads of this node had since the last call, and have no more.
    pub(crate) fn take_gone(&mut self) -> HashSet<IpAddr> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|address| self.workload_at(*address).is_none());
        gone
    }

    fn note_gone(&mut self, output: &Output) {
        if let Output::Workload(id, _) | Output::WorkloadGone(id) = output
            && let Some(old) = self.renderer.workload(id)
        {
            self.gone.extend(old.addresses.iter().copied());
        }
    }

    /// Rules of a policy or profile with a long name log with prefixes that must be looked up.
    fn name_prefixes(&mut self, output: &Output) {
        let (old, new) = match output {
            Output::Policy(id, policy) if is_long(&id.to_string()) => {
                let old = self.renderer.policy(id).map(|old| of_policy(id, old));
                (old, of_policy(id, policy))
            }
            Output::PolicyGone(id) if is_long(&id.to_string()) => {
                (self.renderer.policy(id).map(|old| of_policy(id, old)), vec![])
            }
            Output::Profile(name, profile) if is_long(name) => {
                let old = self.renderer.profile(name).map(|old| of_profile(name, old));
                (old, of_profile(name, profile))
            }
            Output::ProfileGone(name) if is_long(name) => {
                (self.renderer.profile(name).map(|old| of_profile(name, old)), vec![])
            }
            _ => return,
        };
        let prefixes = Arc::make_mut(&mut self.prefixes);
        old.into_iter().flatten().for_each(|prefix| prefixes.remove(&prefix));
        for prefix in &new {
            prefixes.insert(prefix);
        }
        self.prefixes_changed = true;
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

/// Bytes of a prefix besides its name, at most: `DPI1023|`.
const PREFIX_REST_MAX: usize = 12;

fn is_long(name: &str) -> bool {
    name.len() + PREFIX_REST_MAX >= nflog_prefix::LENGTH_MAX
}

fn of_policy(id: &PolicyId, policy: &InForce) -> Vec<Prefix> {
    let origin = |index| Origin::PolicyRule { policy: id.clone(), index };
    prefixes(&policy.ingress, &policy.egress, origin)
}

fn of_profile(name: &str, profile: &Profile) -> Vec<Prefix> {
    let origin = |index| Origin::ProfileRule { profile: name.into(), index };
    prefixes(&profile.ingress, &profile.egress, origin)
}

/// The prefixes of all rules that log.
fn prefixes(ingress: &[Rule], egress: &[Rule], origin: impl Fn(u32) -> Origin) -> Vec<Prefix> {
    let directions = [(Direction::Ingress, ingress), (Direction::Egress, egress)];
    let of_direction = |(direction, rules): (Direction, &[Rule])| {
        let logs = |rule: &Rule| matches!(rule.action, Action::Deny | Action::Log);
        let logging = (0..).zip(rules).filter(|(_, rule)| logs(rule));
        let prefix = |(index, rule): (u32, &Rule)| Prefix {
            action: rule.action,
            direction,
            origin: origin(index),
        };
        logging.map(prefix).collect::<Vec<_>>()
    };
    directions.into_iter().flat_map(of_direction).collect()
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
