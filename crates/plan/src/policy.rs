//! Policy as nf_tables: what the graph tells in, changes of the tables out.
//!
//! ```text
//!  Output ──▶ Renderer ──▶ Update      sets: sets, contents
//!                │                     policies and profiles: rules ◀── conditions
//!                ├── endpoint, host    chains of endpoints, maps and chains that find them
//!                └── layout            the chains that are always there, from kernel hooks on
//! ```
//!
//! Names and layout are those of Felix's nftables mode, so that either takes over from the other.
//! What the tables must do with a packet is said by [`policy::evaluate`].

pub mod chain_name;
mod claims;
mod conditions;
mod contents;
mod endpoint;
mod host;
pub(crate) mod layout;
mod log;
mod names;
mod rules;
mod sets;
mod settings;

pub use host::Assigned;
pub use settings::{Marks, Settings};

use claims::Claims;
use contents::{ContentUsers, Contents};
use endpoint::{Endpoint, Kind};
use ipnet::IpNet;
use kernel::nft::{Chain, Device, Element, Match, Part, Rule, SetKey, Update, Verdict, VerdictMap};
use names::FAMILIES;
use policy::Output;
use policy::evaluate::{Direction, Owner};
use policy::input::{PolicyId, WorkloadId};
use policy::output::{HostEndpoint, Policy, Profile, SetId, Workload};
use rules::Rendering;
use sets::{Shapes, User};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Longest comment in bytes (NFTNL_UDATA_COMMENT_MAXLEN less the NUL).
const COMMENT_BYTES_MAX: usize = 127;
const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Keeps what the tables must hold for policy, and says what changes.
///
/// The plan's own tables ([`crate::Plan::tables`]) have the chains that are always there; the
/// updates of [`Renderer::start`] and all after it are of other objects of the same tables, which
/// are complete with both. The sum of the updates depends on what was told, not on the order.
#[derive(Debug, Default)]
pub struct Renderer {
    settings: Settings,
    shapes: Shapes,
    contents: ContentUsers,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    profiles: BTreeMap<Box<str>, Arc<Profile>>,
    workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    by_interface: Claims<Box<str>>,
    by_address: Claims<IpAddr>,
    host_endpoints: BTreeMap<String, Arc<HostEndpoint>>,
    interfaces: BTreeMap<Box<str>, BTreeSet<IpAddr>>,
    /// Chains of host endpoints, as they were told.
    host_chains: BTreeMap<String, Chain>,
    /// Addresses that workloads may send from, as they were told.
    rpf_skip: BTreeMap<kernel::nft::Family, Chain>,
}

/// What must be rendered anew.
#[derive(Default)]
struct Stale {
    users: BTreeSet<User>,
    interfaces: BTreeSet<Box<str>>,
    /// Everything that refers to an endpoint's policies or profiles.
    endpoints: bool,
    hosts: bool,
}

impl Renderer {
    /// A renderer that was told nothing.
    pub fn new(settings: Settings) -> Renderer {
        Renderer { settings, ..Renderer::default() }
    }

    /// A policy in force.
    pub fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.policies.get(id).map(|policy| &**policy)
    }

    /// A profile in force.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name).map(|profile| &**profile)
    }

    /// All policies in force.
    pub fn policies(&self) -> impl Iterator<Item = (&PolicyId, &Policy)> {
        self.policies.iter().map(|(id, policy)| (id, &**policy))
    }

    /// All profiles in force.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles.iter().map(|(name, profile)| (&**name, &**profile))
    }

    /// Which host endpoint each interface has.
    pub fn host_endpoints(&self) -> Assigned {
        Assigned::of(&self.host_endpoints, &self.interfaces)
    }

    /// A workload of this node.
    pub fn workload(&self, id: &WorkloadId) -> Option<&Workload> {
        self.workloads.get(id).map(|workload| &**workload)
    }

    /// The workload of this node that has an address; of several that say so, the first.
    pub fn workload_at(&self, address: IpAddr) -> Option<(&WorkloadId, &Workload)> {
        let id = self.by_address.first(&address)?;
        Some((id, self.workload(id)?))
    }

    /// The rules in force that refer to a set.
    pub fn rules_with<'a>(
        &'a self,
        set: &'a SetId,
    ) -> impl Iterator<Item = &'a policy::output::Rule> {
        let rules = self.shapes.users(set).flat_map(|user| match user {
            User::Policy(id) => self.policy(id).map(|p| p.ingress.iter().chain(&p.egress)),
            User::Profile(name) => self.profile(name).map(|p| p.ingress.iter().chain(&p.egress)),
        });
        rules.flatten().filter(move |rule| rule.sets().any(|(id, _)| id == set))
    }

    /// Whether a set is known.
    pub fn has_set(&self, set: &SetId) -> bool {
        self.shapes.has(set)
    }

    /// The workloads of this node.
    pub fn workloads(&self) -> impl Iterator<Item = (&WorkloadId, &Workload)> {
        self.workloads.iter().map(|(id, workload)| (id, &**workload))
    }

    /// Takes in what the graph tells.
    pub fn apply(&mut self, outputs: impl IntoIterator<Item = Output>) -> Vec<Update> {
        let (mut stale, mut updates) = (Stale::default(), Vec::new());
        for output in outputs {
            self.take(output, &mut stale, &mut updates);
        }
        self.render(stale, &mut updates);
        updates
    }

    /// Other settings hold now.
    pub fn configure(&mut self, settings: Settings) -> Vec<Update> {
        if self.settings == settings {
            return Vec::new();
        }
        self.settings = settings;
        let users = self.policies.keys().cloned().map(User::Policy);
        let users = users.chain(self.profiles.keys().cloned().map(User::Profile)).collect();
        let mut updates = Vec::new();
        self.render(
            Stale { users, endpoints: true, hosts: true, ..Stale::default() },
            &mut updates,
        );
        updates
    }

    /// The host's interfaces with their addresses, as host endpoints may be named by those.
    pub fn interfaces(&mut self, held: BTreeMap<Box<str>, BTreeSet<IpAddr>>) -> Vec<Update> {
        let mut updates = Vec::new();
        if self.interfaces != held {
            self.interfaces = held;
            self.render(Stale { hosts: true, ..Stale::default() }, &mut updates);
        }
        updates
    }

    /// What the plan's own tables refer to, and must be there before anything is told.
    pub fn start(&mut self) -> Vec<Update> {
        let map = |(family, map): (_, &str)| {
            let part = Part::Map(map.to_owned(), Some(VerdictMap::new(SetKey::Interface)));
            names::update(family, part)
        };
        let mut updates = maps().map(map).collect();
        self.render_hosts(&mut updates);
        self.render_rpf_skip(&mut updates);
        updates
    }

    fn take(&mut self, output: Output, stale: &mut Stale, updates: &mut Vec<Update>) {
        match output {
            Output::Set { id, kind, members } => {
                stale.users.extend(self.shapes.told(&id, kind, &members, updates));
            }
            Output::Members { id, added, removed } => {
                stale.users.extend(self.shapes.changed(&id, &added, &removed, updates));
            }
            Output::SetGone(id) => self.shapes.gone(&id, updates),
            Output::Policy(id, policy) => {
                let user = User::Policy(id.clone());
                let staged = policy.staged;
                let new = sets_of(&policy.ingress, &policy.egress);
                let old = self.policies.insert(id, policy);
                stale.endpoints |= old.as_ref().is_some_and(|old| old.staged != staged);
                let old = old.map(|old| sets_of(&old.ingress, &old.egress));
                self.shapes.refers(&user, &old.unwrap_or_default(), &new);
                stale.users.insert(user);
            }
            Output::PolicyGone(id) => {
                if let Some(old) = self.policies.remove(&id) {
                    let old = sets_of(&old.ingress, &old.egress);
                    self.forget(User::Policy(id), &old, updates);
                }
            }
            Output::Profile(name, profile) => {
                let user = User::Profile(name.clone());
                let new = sets_of(&profile.ingress, &profile.egress);
                let old = self.profiles.insert(name.clone(), profile);
                if old.is_none() {
                    self.profile_came_or_went(&name, stale);
                }
                let old = old.map(|old| sets_of(&old.ingress, &old.egress));
                self.shapes.refers(&user, &old.unwrap_or_default(), &new);
                stale.users.insert(user);
            }
            Output::ProfileGone(name) => {
                if let Some(old) = self.profiles.remove(&name) {
                    self.profile_came_or_went(&name, stale);
                    let old = sets_of(&old.ingress, &old.egress);
                    self.forget(User::Profile(name), &old, updates);
                }
            }
            Output::Workload(id, workload) => self.take_workload(id, Some(workload), stale),
            Output::WorkloadGone(id) => self.take_workload(id, None, stale),
            Output::HostEndpoint(name, endpoint) => {
                stale.hosts = true;
                self.host_endpoints.insert(name, endpoint);
            }
            Output::HostEndpointGone(name) => {
                stale.hosts = true;
                self.host_endpoints.remove(&name);
            }
        }
    }

    fn take_workload(&mut self, id: WorkloadId, new: Option<Arc<Workload>>, stale: &mut Stale) {
        if let Some(old) = self.workloads.remove(&id) {
            self.by_interface.remove(&old.interface, &id);
            old.addresses.iter().for_each(|address| self.by_address.remove(address, &id));
            stale.interfaces.insert(old.interface.clone());
        }
        if let Some(new) = new {
            self.by_interface.add(new.interface.clone(), &id);
            new.addresses.iter().for_each(|address| self.by_address.add(*address, &id));
            stale.interfaces.insert(new.interface.clone());
            self.workloads.insert(id, new);
        }
    }

    /// Endpoints jump to profiles that exist only.
    fn profile_came_or_went(&self, name: &str, stale: &mut Stale) {
        let has = |profiles: &[Box<str>]| profiles.iter().any(|profile| **profile == *name);
        let workloads = self.workloads.values().filter(|workload| has(&workload.profiles));
        stale.interfaces.extend(workloads.map(|workload| workload.interface.clone()));
        stale.hosts |= self.host_endpoints.values().any(|endpoint| has(&endpoint.profiles));
    }

    fn forget(&mut self, user: User, sets: &BTreeSet<SetId>, updates: &mut Vec<Update>) {
        self.shapes.refers(&user, sets, &BTreeSet::new());
        self.contents.uses(&user, Contents::default(), updates);
        for direction in DIRECTIONS {
            let chain = match &user {
                User::Policy(id) => chain_name::policy(id, direction),
                User::Profile(name) => chain_name::profile(name, direction),
            };
            for family in FAMILIES {
                updates.push(names::update(family, Part::Chain(chain.clone(), None)));
            }
        }
    }

    fn render(&mut self, mut stale: Stale, updates: &mut Vec<Update>) {
        for user in &stale.users {
            self.render_rules(user, updates);
        }
        if stale.endpoints {
            stale.interfaces.extend(self.by_interface.all().cloned());
            stale.hosts = true;
        }
        if !stale.interfaces.is_empty() {
            self.render_workloads(&stale.interfaces, updates);
            self.render_rpf_skip(updates);
        }
        if stale.hosts {
            self.render_hosts(updates);
        }
    }

    /// The chains of a policy's or profile's rules; those of staged policies are nowhere.
    fn render_rules(&mut self, user: &User, updates: &mut Vec<Update>) {
        let (owner, ingress, egress) = match user {
            User::Policy(id) => match self.policies.get(id) {
                Some(policy) if !policy.staged => {
                    let owner = Owner::Policy { tier: policy.tier.clone(), id: id.clone() };
                    (owner, &policy.ingress, &policy.egress)
                }
                _ => return,
            },
            User::Profile(name) => match self.profiles.get(name) {
                Some(profile) => (Owner::Profile(name.clone()), &profile.ingress, &profile.egress),
                None => return,
            },
        };
        let mut contents = Contents::default();
        for family in FAMILIES {
            let mut rendering = Rendering {
                family,
                settings: &self.settings,
                shapes: &self.shapes,
                contents: &mut contents,
            };
            for (direction, rules) in DIRECTIONS.into_iter().zip([ingress, egress]) {
                let (name, chain) = rendering.chain(&owner, direction, rules);
                updates.push(names::update(family, Part::Chain(name, Some(chain))));
            }
        }
        self.contents.uses(user, contents, updates);
    }

    fn render_workloads(&self, interfaces: &BTreeSet<Box<str>>, updates: &mut Vec<Update>) {
        let staged = |id: &PolicyId| self.policies.get(id).map(|policy| policy.staged);
        let exists = |name: &str| self.profiles.contains_key(name);
        for direction in DIRECTIONS {
            let map = match direction {
                Direction::Ingress => names::TO_WORKLOAD,
                Direction::Egress => names::FROM_WORKLOAD,
            };
            let (mut elements, mut removed) = (Vec::new(), Vec::new());
            for interface in interfaces {
                let Some(device) = Device::new(interface) else { continue };
                let name = chain_name::workload(interface, direction);
                let chain = self.workload_of(interface).map(|workload| {
                    let (tiers, profiles) = (&workload.tiers, &workload.profiles);
                    let (settings, kind) = (&self.settings, Kind::Workload);
                    let (staged, exists) = (&staged, &exists);
                    Endpoint {
                        settings,
                        kind,
                        direction,
                        may_reject: true,
                        tiers,
                        profiles,
                        staged,
                        exists,
                    }
                    .chain()
                });
                match &chain {
                    Some(_) => {
                        elements.push((Element::Interface(device), Verdict::Goto(name.clone())))
                    }
                    None => removed.push(Element::Interface(device)),
                }
                for family in FAMILIES {
                    let part = Part::Chain(name.clone(), chain.clone());
                    updates.push(names::update(family, part));
                }
            }
            for family in FAMILIES {
                let (map, elements, removed) = (map.to_owned(), elements.clone(), removed.clone());
                updates.push(names::update(family, Part::MapElements { map, elements, removed }));
            }
        }
    }

    fn workload_of(&self, interface: &str) -> Option<&Arc<Workload>> {
        self.by_interface.first(interface).and_then(|id| self.workloads.get(id))
    }

    /// Sources beyond their own that workloads may send from.
    fn render_rpf_skip(&mut self, updates: &mut Vec<Update>) {
        for family in FAMILIES {
            let mut chain = Chain::default();
            for interface in self.by_interface.all().filter(|_| self.settings.source_spoofing) {
                let Some(workload) = self.workload_of(interface) else { continue };
                let of_family =
                    |net: &&IpNet| net.addr().is_ipv6() == (family == kernel::nft::Family::Ip6);
                for net in workload.allowed_sources.iter().filter(of_family) {
                    let name = interface.to_string();
                    let from = Match::InputInterface { name, not: false };
                    let source = Match::SourcePrefix { net: net.trunc(), not: false };
                    chain.rules.push(Rule::new(vec![from, source], Verdict::Accept));
                }
            }
            if self.rpf_skip.get(&family) != Some(&chain) {
                self.rpf_skip.insert(family, chain.clone());
                let part = Part::Chain(names::RPF_SKIP.to_owned(), Some(chain));
                updates.push(names::update(family, part));
            }
        }
    }

    fn render_hosts(&mut self, updates: &mut Vec<Update>) {
        let staged = |id: &PolicyId| self.policies.get(id).map(|policy| policy.staged);
        let exists = |name: &str| self.profiles.contains_key(name);
        let assigned = self.host_endpoints();
        let chains = assigned.chains(&self.settings, &staged, &exists);
        for part in changed(&self.host_chains, &chains, Part::Chain) {
            updates.extend(FAMILIES.map(|family| names::update(family, part.clone())));
        }
        self.host_chains = chains;
    }
}

fn maps() -> impl Iterator<Item = (kernel::nft::Family, &'static str)> {
    let both = [names::FROM_WORKLOAD, names::TO_WORKLOAD];
    FAMILIES.into_iter().flat_map(move |family| both.map(|map| (family, map)))
}

fn sets_of<'a>(
    ingress: &'a [policy::output::Rule],
    egress: &'a [policy::output::Rule],
) -> BTreeSet<SetId> {
    let rules = ingress.iter().chain(egress);
    rules.flat_map(policy::output::Rule::sets).map(|(id, _)| id.clone()).collect()
}

/// What is new, other or gone.
fn changed<'a, T: Clone + PartialEq>(
    old: &'a BTreeMap<String, T>,
    new: &'a BTreeMap<String, T>,
    part: impl Fn(String, Option<T>) -> Part + Copy + 'a,
) -> impl Iterator<Item = Part> + 'a {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let other = new.iter().filter(|(name, object)| old.get(*name) != Some(object));
    gone.map(move |name| part(name.clone(), None))
        .chain(other.map(move |(name, object)| part(name.clone(), Some(object.clone()))))
}

/// A text that a rule's comment can hold: what doesn't fit, or nft cannot print, is left out.
fn comment(text: &str) -> String {
    let mut comment = String::new();
    for c in text.chars().filter(|c| !c.is_control() && *c != '"') {
        if comment.len() + c.len_utf8() > COMMENT_BYTES_MAX {
            break;
        }
        comment.push(c);
    }
    comment
}
