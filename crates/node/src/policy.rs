//! Policy on this node: resources in, changes of nf_tables out; and what policy says about a packet.
//!
//! ```text
//!  resources ──convert──▶ Graph ──Outputs──▶ Renderer ──▶ Updates, for Effect::Apply
//!                                   │
//!                                   └─▶ forbidding: may connections have to end?
//! ```

mod forbidding;

use kernel::nft::Update;
use model::{Key, Value};
use plan::Topology;
use plan::policy::Renderer;
use policy::evaluate::{Direction, Rules};
use policy::input::{Action, PolicyId, WorkloadId};
use policy::nflog_prefix::{self, Asked, Ends, Names, Origin, Prefix};
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
    /// What prefixes of logged packets don't say themselves.
    names: Arc<Names>,
    names_changed: bool,
    /// `logPrefix`.
    log_prefix: String,
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
            names: Arc::default(),
            names_changed: false,
            log_prefix: String::new(),
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
            // What changed while no agent ran is not known.
            self.unjudged = true;
        }
        if let Some(settings) = &topology.settings.policy {
            updates.extend(self.renderer.configure(settings.clone()));
            self.relabel(&settings.log_prefix);
        }
        let hosts_move = self.renderer.interfaces(topology.facts.addresses_by_device());
        let mut ends_change = !hosts_move.is_empty();
        updates.extend(hosts_move);
        if std::mem::take(&mut self.changed) {
            let mut outputs = Vec::new();
            self.graph.flush(&mut |output| outputs.push(output));
            let is_own = |address: &IpAddr| topology.is_in_own_block(*address);
            let may_forbid = |o| forbidding::may_forbid(&self.renderer, o, is_own);
            self.unjudged |= outputs.iter().any(may_forbid);
            for output in &outputs {
                self.name(output);
                self.note_gone(output);
                ends_change |= self.changes_ends(output);
            }
            updates.extend(self.renderer.apply(outputs));
        }
        if ends_change {
            self.name_ends();
        }
        updates
    }

    /// Whether tiers of endpoints may have another last policy.
    fn changes_ends(&self, output: &Output) -> bool {
        match output {
            Output::Workload(..)
            | Output::WorkloadGone(_)
            | Output::HostEndpoint(..)
            | Output::HostEndpointGone(_) => true,
            Output::Policy(id, new) => {
                self.renderer.policy(id).is_some_and(|old| old.staged != new.staged)
            }
            _ => false,
        }
    }

    /// Keeps the last policies of endpoints' tiers.
    fn name_ends(&mut self) {
        let mut ends = Ends::default();
        let is_staged = |id: &PolicyId| self.renderer.policy(id).is_some_and(|p| p.staged);
        for (_, workload) in self.renderer.workloads() {
            ends.add(Asked::Workload, &workload.interface, &workload.tiers, is_staged);
        }
        let hosts = self.renderer.host_endpoints();
        for (interface, endpoint) in &hosts.named {
            ends.add_host(Some(interface), endpoint, is_staged);
        }
        if let Some(endpoint) = &hosts.others {
            ends.add_host(None, endpoint, is_staged);
        }
        if ends != self.names.ends {
            Arc::make_mut(&mut self.names).ends = ends;
            self.names_changed = true;
        }
    }

    /// Connections that were allowed may be forbidden now.
    pub(crate) fn set_unjudged(&mut self) {
        self.unjudged = true;
    }

    /// Whether connections that were allowed may be forbidden since the last call.
    pub(crate) fn take_unjudged(&mut self) -> bool {
        std::mem::take(&mut self.unjudged)
    }

    /// What prefixes don't say themselves, if it has changed since the last call.
    pub(crate) fn take_names(&mut self) -> Option<Arc<Names>> {
        std::mem::take(&mut self.names_changed).then(|| self.names.clone())
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

    /// Keeps the names of rules' prefixes.
    fn name(&mut self, output: &Output) {
        let (old, new) = match output {
            Output::Policy(id, policy) => {
                let old = self.renderer.policy(id).map(|old| of_policy(id, old));
                (old, of_policy(id, policy))
            }
            Output::PolicyGone(id) => (self.renderer.policy(id).map(|p| of_policy(id, p)), vec![]),
            Output::Profile(name, profile) => {
                let old = self.renderer.profile(name).map(|old| of_profile(name, old));
                (old, of_profile(name, profile))
            }
            Output::ProfileGone(name) => {
                (self.renderer.profile(name).map(|old| of_profile(name, old)), vec![])
            }
            _ => return,
        };
        let old = old.unwrap_or_default();
        if old.is_empty() && new.is_empty() {
            return;
        }
        let tier = match output {
            Output::Policy(_, policy) => &policy.tier,
            _ => "",
        };
        let names = Arc::make_mut(&mut self.names);
        old.iter().for_each(|prefix| names.remove(prefix));
        new.iter().for_each(|prefix| add_name(names, prefix, &self.log_prefix, tier));
        self.names_changed = true;
    }

    /// Lines of rules that only log begin otherwise now.
    fn relabel(&mut self, log_prefix: &str) {
        if self.log_prefix == log_prefix {
            return;
        }
        log_prefix.clone_into(&mut self.log_prefix);
        let mut names = Names::of_ends(self.names.ends.clone());
        for (id, policy) in self.renderer.policies() {
            for prefix in of_policy(id, policy) {
                add_name(&mut names, &prefix, log_prefix, &policy.tier);
            }
        }
        for (name, profile) in self.renderer.profiles() {
            for prefix in of_profile(name, profile) {
                add_name(&mut names, &prefix, log_prefix, "");
            }
        }
        if names != *self.names {
            self.names = Arc::new(names);
            self.names_changed = true;
        }
    }

    /// The workloads of this node.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = (&WorkloadId, &Workload)> {
        self.renderer.workloads()
    }

    /// The workload of this node that has an address.
    pub(crate) fn workload_at(&self, address: IpAddr) -> Option<(&WorkloadId, &Workload)> {
        self.renderer.workload_at(address)
    }

    /// Which host endpoint each interface has.
    pub(crate) fn host_endpoints(&self) -> plan::policy::Assigned {
        self.renderer.host_endpoints()
    }

    /// What keeps something from meaning what it says.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.graph.problems().into_iter().map(|problem| problem.to_string())
    }
}

/// Bytes of a prefix besides its name, at most: `DPI1023|`.
const PREFIX_REST_MAX: usize = 12;

fn add_name(names: &mut Names, prefix: &Prefix, log_prefix: &str, tier: &str) {
    names.insert(prefix);
    if prefix.action == Action::Log {
        names.set_label(prefix, &prefix.label(log_prefix, tier));
    }
}

fn of_policy(id: &PolicyId, policy: &InForce) -> Vec<Prefix> {
    let origin = |index| Origin::PolicyRule { policy: id.clone(), index };
    let is_long = is_long(id.namespace.len() + id.name.len());
    prefixes(is_long, &policy.ingress, &policy.egress, origin)
}

fn of_profile(name: &str, profile: &Profile) -> Vec<Prefix> {
    let origin = |index| Origin::ProfileRule { profile: name.into(), index };
    prefixes(is_long(name.len()), &profile.ingress, &profile.egress, origin)
}

/// Whether prefixes may not fit, given the length of namespace and name.
fn is_long(length: usize) -> bool {
    length + PREFIX_REST_MAX + "sknp//".len() >= nflog_prefix::LENGTH_MAX
}

/// The prefixes that need names: of rules that only log, and all that log if the owner's name is
/// long.
fn prefixes(
    is_long: bool,
    ingress: &[Rule],
    egress: &[Rule],
    origin: impl Fn(u32) -> Origin,
) -> Vec<Prefix> {
    let directions = [(Direction::Ingress, ingress), (Direction::Egress, egress)];
    let of_direction = |(direction, rules): (Direction, &[Rule])| {
        let named = |rule: &Rule| match rule.action {
            Action::Log => true,
            Action::Deny => is_long,
            Action::Allow | Action::Pass => false,
        };
        let named = (0..).zip(rules).filter(|(_, rule)| named(rule));
        let prefix = |(index, rule): (u32, &Rule)| Prefix {
            action: rule.action,
            direction,
            origin: origin(index),
        };
        named.map(prefix).collect::<Vec<_>>()
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
