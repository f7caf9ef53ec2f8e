//! Who reaches whom under all policies of a cluster, and what a change of policies changes of it.
//!
//! ```text
//!  endpoints, addresses ──▶ classes: alike for every policy, set and prefix of both sides
//!  rules                ──▶ kinds of packets: ports between two bounds of rules are alike
//!  for each pair of classes and kind: both verdicts, before and after
//! ```
//!
//! So a cluster of thousands of pods costs as many evaluations as it has different ones. Both sides
//! must have been told of every endpoint as if it were local.

mod kinds;
mod outside;

pub use kinds::{Kind, Kinds, has_ports, name as protocol_name};

use crate::evaluate::{self, Decision, Direction, Failsafe, Packet, Rules, Traffic, Verdict};
use crate::input::WorkloadId;
use crate::output::{HostEndpoint, Member, Rule, SetId, SetKind, Tier, Workload};
use crate::told::{Set, Told};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The source port of packets that rules don't name one for: an ephemeral one (RFC 6335).
pub const SOURCE_PORT: u16 = 49_152;

/// One end of packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A workload endpoint.
    Workload(WorkloadId),
    /// A node, for what goes through this host endpoint of it.
    Host(String),
    /// Addresses of this prefix that neither an endpoint nor a smaller one of such prefixes has.
    Net(IpNet),
    /// Addresses of this version of IP that are of no endpoint, set or rule.
    Elsewhere {
        /// IPv4, else IPv6.
        ipv4: bool,
    },
}

/// What the graph does not tell of endpoints: where they are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The node of each workload.
    pub workloads: BTreeMap<WorkloadId, String>,
    /// Each host endpoint's node and addresses, by the endpoint's name. Others are no ends.
    pub hosts: BTreeMap<String, (String, Vec<IpAddr>)>,
    /// Workloads whose packets to nodes have their own node's address for a source (`natOutgoing`).
    pub masqueraded: BTreeSet<WorkloadId>,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its addresses, of either version of IP.
    pub addresses: Vec<IpAddr>,
    /// Its ports that stay open.
    pub failsafe: Failsafe,
}

/// A pair of ends whose connectivity changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who sends.
    pub from: End,
    /// Who is to receive.
    pub to: End,
    /// Which packets.
    pub packets: Kind,
    /// What happens to them now, and why.
    pub before: Passage,
    /// What would happen to them, and why.
    pub after: Passage,
}

/// What happens to a packet from one end to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// What the sender's policies say; `None`: it has none.
    pub egress: Option<Decision>,
    /// What the receiver's policies say; `None`: it has none, or the packet doesn't come there.
    pub ingress: Option<Decision>,
}

impl Passage {
    /// Whether the packet arrives, as far as policy goes.
    pub fn verdict(&self) -> Verdict {
        self.decided_by().map_or(Verdict::Allow, |decision| decision.verdict)
    }

    /// The decision that counts: the one that denies, else the last; `None` where there is no policy.
    pub fn decided_by(&self) -> Option<&Decision> {
        self.ingress.as_ref().or(self.egress.as_ref())
    }
}

/// All that changes, up to `limit` changes; and whether there are more. Ends are workloads that both
/// sides have, host endpoints of either, and addresses that changed rules or sets name, up to
/// `limit` prefixes of them.
///
/// Of host endpoints the policies for the host's own traffic count; what a node and its own workloads
/// send each other is none of theirs.
pub fn difference(
    before: &Told,
    after: &Told,
    places: &Places,
    limit: usize,
) -> (Vec<Change>, bool) {
    let sides = [before, after];
    let ports = sides.into_iter().flat_map(ports).chain(places.failsafe_ports());
    let kinds = Kinds::of(sides.into_iter().flat_map(rules), ports);
    let (nets, mut more) = outside::nets(before, after, limit);
    let classes = classes(before, after, places, &nets);
    let mut changes = Vec::new();
    'all: for sources in &classes {
        for destinations in &classes {
            if sources.address.is_ipv4() != destinations.address.is_ipv4() {
                continue;
            }
            for ends in (Ends { before, after, sources, destinations }).seen(places) {
                for (packets, was, is) in ends.changes(&kinds) {
                    for (from, to) in ends.pairs(places) {
                        if changes.len() == limit {
                            more = true;
                            break 'all;
                        }
                        let (from, to) = (from.clone(), to.clone());
                        let (packets, before, after) = (packets.clone(), was.clone(), is.clone());
                        changes.push(Change { from, to, packets, before, after });
                    }
                }
            }
        }
    }
    changes.sort_by(|a, b| (&a.from, &a.to, &a.packets).cmp(&(&b.from, &b.to, &b.packets)));
    (changes, more)
}

/// Whose policies are asked at an end.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Workload(&'a Workload),
    Host(&'a HostEndpoint, &'a Failsafe),
    Nobody,
}

impl Asked<'_> {
    fn decide(&self, told: &Told, direction: Direction, packet: &Packet) -> Option<Decision> {
        match self {
            Asked::Workload(workload) => {
                Some(evaluate::workload(told, workload, direction, packet))
            }
            Asked::Host(endpoint, failsafe) => {
                let local = Traffic::Local;
                Some(evaluate::host_endpoint(told, endpoint, failsafe, local, direction, packet))
            }
            Asked::Nobody => None,
        }
    }
}

fn passage(told: &Told, from: Asked<'_>, to: Asked<'_>, sent: &Packet, seen: &Packet) -> Passage {
    let egress = from.decide(told, Direction::Egress, sent);
    let goes = egress.as_ref().is_none_or(|decision| decision.verdict == Verdict::Allow);
    let ingress = goes.then(|| to.decide(told, Direction::Ingress, seen)).flatten();
    Passage { egress, ingress }
}

/// Ends that no policy, set or prefix of either side tells apart.
struct Class<'a> {
    /// Of one of them.
    address: IpAddr,
    before: Asked<'a>,
    after: Asked<'a>,
    members: Vec<End>,
}

struct Ends<'a> {
    before: &'a Told,
    after: &'a Told,
    sources: &'a Class<'a>,
    destinations: &'a Class<'a>,
}

/// Ends of two classes whose packets come from the same address for those who receive them.
struct Seen<'a> {
    ends: &'a Ends<'a>,
    source: IpAddr,
    from: Vec<&'a End>,
}

impl<'a> Ends<'a> {
    /// By the address that the receivers see.
    fn seen(&'a self, places: &Places) -> Vec<Seen<'a>> {
        let (mut by_source, own) = (BTreeMap::<IpAddr, Vec<&End>>::new(), self.sources.address);
        let to_host = matches!(self.destinations.members[..], [End::Host(_), ..]);
        for end in &self.sources.members {
            let masqueraded = match end {
                End::Workload(id) if to_host && places.masqueraded.contains(id) => {
                    places.address_of_node(id, own.is_ipv4())
                }
                _ => None,
            };
            by_source.entry(masqueraded.unwrap_or(own)).or_default().push(end);
        }
        let seen = |(source, from)| Seen { ends: self, source, from };
        by_source.into_iter().map(seen).collect()
    }
}

impl<'a> Seen<'a> {
    /// Kinds of packets whose verdict changes; neighbours that change alike are one.
    fn changes(&self, kinds: &Kinds) -> Vec<(Kind, Passage, Passage)> {
        let mut found: Vec<(Kind, Passage, Passage)> = Vec::new();
        let Ends { before, after, sources: from, destinations: to } = self.ends;
        for kind in kinds.of_version(from.address.is_ipv4()) {
            let sent = kind.packet(from.address, to.address);
            let seen = Packet { source: self.source, ..sent };
            let was = passage(before, from.before, to.before, &sent, &seen);
            let is = passage(after, from.after, to.after, &sent, &seen);
            if was.verdict() == is.verdict() {
                continue;
            }
            let alike = found.last_mut().filter(|(_, before, after)| {
                let by =
                    |passage: &Passage| passage.decided_by().map(|decision| decision.by.clone());
                by(before) == by(&was) && by(after) == by(&is)
            });
            let joined = alike.and_then(|(last, ..)| last.join(kind).map(|joined| (last, joined)));
            match joined {
                Some((last, joined)) => *last = joined,
                None => found.push((kind.clone(), was, is)),
            }
        }
        found
    }

    fn pairs(&self, places: &Places) -> Vec<(&'a End, &'a End)> {
        let destinations = &self.ends.destinations.members;
        let all = self.from.iter().flat_map(|from| destinations.iter().map(|to| (*from, to)));
        all.filter(|(from, to)| from != to && !places.are_one_node(from, to)).collect()
    }
}

impl Places {
    /// Of nodes that have host endpoints.
    fn failsafe_ports(&self) -> impl Iterator<Item = u16> {
        let nodes = self.hosts.values().filter_map(|(node, _)| self.nodes.get(node));
        let open =
            nodes.flat_map(|node| node.failsafe.inbound.iter().chain(&node.failsafe.outbound));
        open.map(|open| open.port)
    }

    fn address_of_node(&self, workload: &WorkloadId, ipv4: bool) -> Option<IpAddr> {
        let node = self.nodes.get(self.workloads.get(workload)?)?;
        node.addresses.iter().copied().find(|address| address.is_ipv4() == ipv4)
    }

    fn node_of(&self, end: &End) -> Option<&str> {
        match end {
            End::Workload(id) => self.workloads.get(id).map(String::as_str),
            End::Host(name) => self.hosts.get(name).map(|(node, _)| node.as_str()),
            End::Net(_) | End::Elsewhere { .. } => None,
        }
    }

    /// Whether host endpoints have no say, as packets don't leave the node.
    fn are_one_node(&self, from: &End, to: &End) -> bool {
        let host = matches!(from, End::Host(_)) || matches!(to, End::Host(_));
        host && self.node_of(from).is_some() && self.node_of(from) == self.node_of(to)
    }
}

/// All rules of a side.
fn rules(told: &Told) -> impl Iterator<Item = &Rule> {
    let of_policies = told.policies.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
    let of_profiles = told.profiles.values().flat_map(|p| p.ingress.iter().chain(&p.egress));
    of_policies.chain(of_profiles)
}

/// The ports of all members of sets.
fn ports(told: &Told) -> impl Iterator<Item = u16> {
    told.sets.values().flat_map(|set| &set.members).filter_map(|member| match member {
        Member::Port { port, .. } => Some(*port),
        Member::Net(_) => None,
    })
}

/// What a side can tell an end by.
struct Marks<'a> {
    told: &'a Told,
    nets: BTreeSet<IpNet>,
    /// Ports that an address has in sets of ports.
    ports: BTreeMap<IpAddr, Vec<(&'a SetId, u8, u16)>>,
}

impl<'a> Marks<'a> {
    fn of(told: &'a Told) -> Marks<'a> {
        let entities = rules(told).flat_map(|rule| [&rule.source, &rule.destination]);
        let nets = entities.flat_map(|entity| entity.nets.iter().chain(&entity.not_nets));
        let mut ports: BTreeMap<IpAddr, Vec<_>> = BTreeMap::new();
        for (id, set) in told.sets.iter().filter(|(_, set)| set.kind == SetKind::Ports) {
            for member in &set.members {
                if let Member::Port { address, protocol, port } = member {
                    ports.entry(*address).or_default().push((id, *protocol, *port));
                }
            }
        }
        Marks { told, nets: nets.copied().collect(), ports }
    }

    /// Whether a rule or set of addresses names an address, except by the prefix of all.
    fn know(&self, address: IpAddr) -> bool {
        let named = |net: &IpNet| net.prefix_len() > 0 && net.contains(&address);
        self.nets.iter().any(named) || {
            let all = [IpNet::default(), IpNet::V6(<_>::default())].map(Member::Net);
            let named = |set: &Set| {
                set.kind == SetKind::Nets && !all.iter().any(|net| set.members.contains(net))
            };
            let mut of_nets = self.told.sets.iter().filter(|(_, set)| named(set));
            of_nets.any(|(id, _)| self.told.contains(id, address))
        }
    }

    fn signature(&self, asked: Asked<'a>, address: IpAddr) -> Signature<'a> {
        let of_nets = self.told.sets.iter().filter(|(_, set)| set.kind == SetKind::Nets);
        let sets = of_nets.filter(|(id, _)| self.told.contains(id, address)).map(|(id, _)| id);
        let policy = match asked {
            Asked::Workload(workload) => Some((&*workload.tiers, &*workload.profiles)),
            Asked::Host(endpoint, _) => Some((&*endpoint.tiers, &*endpoint.profiles)),
            Asked::Nobody => None,
        };
        Signature {
            policy,
            sets: sets.collect(),
            nets: self.nets.iter().filter(|net| net.contains(&address)).copied().collect(),
            ports: self.ports.get(&address).cloned().unwrap_or_default(),
        }
    }
}

/// All that a side can tell an end by, of one end.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature<'a> {
    policy: Option<(&'a [Tier], &'a [Box<str>])>,
    sets: Vec<&'a SetId>,
    nets: Vec<IpNet>,
    ports: Vec<(&'a SetId, u8, u16)>,
}

/// All ends, by what either side can tell them by. One with addresses of both versions of IP is in
/// two classes. Nodes differ in their failsafe ports too, so each is a class of its own.
fn classes<'a>(
    before: &'a Told,
    after: &'a Told,
    places: &'a Places,
    nets: &BTreeSet<IpNet>,
) -> Vec<Class<'a>> {
    let (marks_before, marks_after) = (Marks::of(before), Marks::of(after));
    let mut classes = BTreeMap::new();
    let mut add = |end: End, address: IpAddr, before: Asked<'a>, after: Asked<'a>| {
        let signatures =
            (marks_before.signature(before, address), marks_after.signature(after, address));
        let host = if let End::Host(name) = &end { Some(name.clone()) } else { None };
        let kind = matches!(end, End::Workload(_));
        let class = classes.entry((address.is_ipv6(), kind, host, signatures));
        let empty = || Class { address, before, after, members: Vec::new() };
        class.or_insert_with(empty).members.push(end);
    };
    let of_versions = |addresses: &[IpAddr]| {
        [true, false].map(|v4| addresses.iter().copied().find(|a| a.is_ipv4() == v4))
    };
    for (id, was) in &before.workloads {
        let Some(is) = after.workloads.get(id) else { continue };
        for address in of_versions(&is.addresses).into_iter().flatten() {
            let (was, is) = (Asked::Workload(was), Asked::Workload(is));
            add(End::Workload(id.clone()), address, was, is);
        }
    }
    for (name, (node, addresses)) in &places.hosts {
        let Some(node) = places.nodes.get(node) else { continue };
        let of = |told: &'a Told| match told.host_endpoints.get(name) {
            Some(endpoint) => Asked::Host(endpoint, &node.failsafe),
            None => Asked::Nobody,
        };
        for address in of_versions(addresses).into_iter().flatten() {
            add(End::Host(name.clone()), address, of(before), of(after));
        }
    }
    let held = outside::held(before, after, places);
    let of_nets = nets
        .iter()
        .filter_map(|net| Some((End::Net(*net), outside::address_of(*net, nets, &held)?)));
    let elsewhere = [true, false].into_iter().filter_map(|ipv4| {
        let known = |address: &IpAddr| {
            [&marks_before, &marks_after].into_iter().any(|marks| marks.know(*address))
        };
        Some((End::Elsewhere { ipv4 }, outside::elsewhere(ipv4, known)?))
    });
    for (end, address) in of_nets.chain(elsewhere) {
        add(end, address, Asked::Nobody, Asked::Nobody);
    }
    classes.into_values().collect()
}

#[cfg(test)]
mod tests;
