//! Who reaches whom under all policies of a cluster, and what a change of policies changes of it.
//!
//! ```text
//!  endpoints ──▶ classes: alike for every policy, set and prefix of both sides
//!  rules     ──▶ kinds of packets: ports between two bounds of rules are alike
//!  for each pair of classes and kind: both verdicts, before and after
//! ```
//!
//! So a cluster of thousands of pods costs as many evaluations as it has different ones. Both sides
//! must have been told of every endpoint as if it were local.

mod kinds;

pub use kinds::{Kind, Kinds, has_ports, name as protocol_name};

use crate::evaluate::{self, Decision, Direction, Packet, Rules, Verdict};
use crate::input::WorkloadId;
use crate::output::{Member, Rule, SetId, SetKind, Workload};
use crate::told::Told;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The source port of packets that rules don't name one for: an ephemeral one (RFC 6335).
pub const SOURCE_PORT: u16 = 49_152;

/// A pair of endpoints whose connectivity changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who sends.
    pub from: WorkloadId,
    /// Who is to receive.
    pub to: WorkloadId,
    /// Which packets.
    pub packets: Kind,
    /// What happens to them now, and why.
    pub before: Passage,
    /// What would happen to them, and why.
    pub after: Passage,
}

/// What happens to a packet from one endpoint to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// What the sender's policies say; `None`: the sender is no workload.
    pub egress: Option<Decision>,
    /// What the receiver's policies say; `None`: the receiver is no workload, or the packet doesn't
    /// come there.
    pub ingress: Option<Decision>,
}

impl Passage {
    /// Whether the packet arrives, as far as policy goes.
    pub fn verdict(&self) -> Verdict {
        self.decided_by().map_or(Verdict::Allow, |decision| decision.verdict)
    }

    /// The decision that counts: the one that denies, else the last; `None` between others than
    /// workloads.
    pub fn decided_by(&self) -> Option<&Decision> {
        self.ingress.as_ref().or(self.egress.as_ref())
    }
}

/// What happens to a packet between two workloads, or between one (the other is `None`) and
/// something else.
pub fn passage(
    rules: &impl Rules,
    from: Option<&Workload>,
    to: Option<&Workload>,
    packet: &Packet,
) -> Passage {
    let ask = |workload, direction| evaluate::workload(rules, workload, direction, packet);
    let egress = from.map(|workload| ask(workload, Direction::Egress));
    let goes = egress.as_ref().is_none_or(|decision| decision.verdict == Verdict::Allow);
    let ingress = to.filter(|_| goes).map(|workload| ask(workload, Direction::Ingress));
    Passage { egress, ingress }
}

/// All that changes between endpoints that are there before and after, up to `limit` changes; and
/// whether there are more.
pub fn difference(before: &Told, after: &Told, limit: usize) -> (Vec<Change>, bool) {
    let sides = [before, after];
    let kinds = Kinds::of(sides.into_iter().flat_map(rules), sides.into_iter().flat_map(ports));
    let classes = classes(before, after);
    let mut changes = Vec::new();
    for sources in &classes {
        for destinations in &classes {
            if sources.address.is_ipv4() != destinations.address.is_ipv4() {
                continue;
            }
            let ends = Ends { before, after, sources, destinations };
            for (packets, was, is) in ends.changes(&kinds) {
                for (from, to) in ends.pairs() {
                    if changes.len() == limit {
                        return (changes, true);
                    }
                    let (from, to) = (from.clone(), to.clone());
                    let (packets, before, after) = (packets.clone(), was.clone(), is.clone());
                    changes.push(Change { from, to, packets, before, after });
                }
            }
        }
    }
    changes.sort_by(|a, b| (&a.from, &a.to, &a.packets).cmp(&(&b.from, &b.to, &b.packets)));
    (changes, false)
}

/// Endpoints that no policy, set or prefix of either side tells apart.
struct Class<'a> {
    /// Of one of them.
    address: IpAddr,
    before: &'a Workload,
    after: &'a Workload,
    members: Vec<&'a WorkloadId>,
}

struct Ends<'a> {
    before: &'a Told,
    after: &'a Told,
    sources: &'a Class<'a>,
    destinations: &'a Class<'a>,
}

impl<'a> Ends<'a> {
    /// Kinds of packets whose verdict changes; neighbours that change alike are one.
    fn changes(&self, kinds: &Kinds) -> Vec<(Kind, Passage, Passage)> {
        let mut found: Vec<(Kind, Passage, Passage)> = Vec::new();
        for kind in kinds.of_version(self.sources.address.is_ipv4()) {
            let packet = kind.packet(self.sources.address, self.destinations.address);
            let (from, to) = (self.sources, self.destinations);
            let was = passage(self.before, Some(from.before), Some(to.before), &packet);
            let is = passage(self.after, Some(from.after), Some(to.after), &packet);
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

    fn pairs(&self) -> impl Iterator<Item = (&'a WorkloadId, &'a WorkloadId)> {
        let destinations = &self.destinations.members;
        let pairs = self.sources.members.iter().flat_map(move |from| {
            destinations.iter().map(move |to| (*from, *to)).filter(|(from, to)| from != to)
        });
        pairs.collect::<Vec<_>>().into_iter()
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

/// What a side can tell an endpoint by.
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

    fn signature(&self, workload: &'a Workload, address: IpAddr) -> Signature<'a> {
        let of_nets = self.told.sets.iter().filter(|(_, set)| set.kind == SetKind::Nets);
        let sets = of_nets.filter(|(id, _)| self.told.contains(id, address)).map(|(id, _)| id);
        Signature {
            policy: (&workload.tiers, &workload.profiles),
            sets: sets.collect(),
            nets: self.nets.iter().filter(|net| net.contains(&address)).copied().collect(),
            ports: self.ports.get(&address).cloned().unwrap_or_default(),
        }
    }
}

/// All that a side can tell an endpoint by, of one endpoint.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature<'a> {
    policy: (&'a [crate::output::Tier], &'a [Box<str>]),
    sets: Vec<&'a SetId>,
    nets: Vec<IpNet>,
    ports: Vec<(&'a SetId, u8, u16)>,
}

/// The endpoints that both sides have, by what either can tell them by. One with addresses of both
/// versions of IP is in two classes.
fn classes<'a>(before: &'a Told, after: &'a Told) -> Vec<Class<'a>> {
    let (marks_before, marks_after) = (Marks::of(before), Marks::of(after));
    let mut classes = BTreeMap::new();
    let both = before.workloads.iter().filter_map(|(id, was)| {
        after.workloads.get(id).map(|is: &Arc<Workload>| (id, &**was, &**is))
    });
    for (id, was, is) in both {
        for version in [true, false] {
            let address = is.addresses.iter().find(|address| address.is_ipv4() == version);
            let Some(address) = address.copied() else { continue };
            let signatures =
                (marks_before.signature(was, address), marks_after.signature(is, address));
            let class = classes.entry((version, signatures));
            let empty = || Class { address, before: was, after: is, members: Vec::new() };
            class.or_insert_with(empty).members.push(id);
        }
    }
    classes.into_values().collect()
}

#[cfg(test)]
mod tests;
