//! Random policies and packets, of few addresses, ports and names, so that they meet.

use ipnet::IpNet;
use model::DefaultAction;
use policy::input::{Action, Icmp, PolicyId, PolicyKind, WorkloadId};
use policy::output::{
    Entity, HostEndpoint, Member, Policy, Profile, Rule, SetId, SetKind, Tier, Workload,
};
use policy::{Set, Told};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Interfaces of the two workloads.
pub(crate) const WORKLOADS: [&str; 2] = ["calia", "calib"];
/// The host's other interfaces; packets to most of the world leave by the first one.
pub(crate) const INTERFACES: [&str; 2] = ["ext0", "ext1"];

/// Addresses behind each place, IPv4 and IPv6 in turn.
pub(crate) const OF_WORKLOADS: [[&str; 4]; 2] = [
    ["10.65.1.1", "fd00:65:1::1", "10.65.1.2", "fd00:65:1::2"],
    ["10.65.2.1", "fd00:65:2::1", "10.65.2.130", "fd00:65:2::8001"],
];
pub(crate) const OF_INTERFACES: [[&str; 6]; 2] = [
    ["10.1.0.1", "fd00:1::1", "10.1.1.1", "fd00:1:1::1", "10.2.0.1", "fd00:2::1"],
    ["10.66.0.1", "fd00:66::1", "10.66.0.2", "fd00:66::2", "10.66.1.1", "fd00:66:1::1"],
];
pub(crate) const OF_HOST: [&str; 2] = ["10.64.0.1", "fd00:64::1"];

/// More to choose from in rules.
const NETS: [&str; 14] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.65.0.0/16",
    "10.65.2.128/25",
    "10.66.0.0/15",
    "0.0.0.0/0",
    "fd00::/16",
    "fd00:1::/32",
    "fd00:65::/32",
    "fd00:65:2::8000/113",
    "::/0",
    "10.1.0.1/32",
    "fd00:1::1/128",
];
pub(crate) const PORTS: [u16; 6] = [22, 53, 80, 443, 8080, 30000];
pub(crate) const WITH_PORTS: [u8; 3] = [6, 17, 132];
pub(crate) const GRE: u8 = 47;

/// A sequence of numbers from a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the numbers below.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).expect("small")).expect("small")
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, of: usize) -> bool {
        self.below(100) < of
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn some<T>(&mut self, max: usize, mut make: impl FnMut(&mut Random) -> T) -> Vec<T> {
        let count = 1 + self.below(max);
        (0..count).map(|_| make(self)).collect()
    }

    fn sometimes<T>(&mut self, percent: usize, make: impl FnMut(&mut Random) -> T) -> Option<T> {
        let mut make = make;
        self.percent(percent).then(|| make(self))
    }

    /// All that a graph might tell; with `hosts`, host endpoints too.
    pub(crate) fn told(&mut self, hosts: bool) -> Told {
        let mut told = Told::default();
        for id in NET_SETS {
            let members = self.members(Random::net_member);
            told.sets.insert(SetId(id.into()), Set { kind: SetKind::Nets, members });
        }
        for id in PORT_SETS {
            let members = self.members(Random::port_member);
            told.sets.insert(SetId(id.into()), Set { kind: SetKind::Ports, members });
        }
        for name in POLICIES {
            let (ingress, egress) = (self.rules(3), self.rules(3));
            let staged = name.starts_with("staged");
            let tier = "default".into();
            let policy = Policy { tier, staged, ingress, egress, broken: None };
            told.policies.insert(policy_id(name), policy.into());
        }
        for name in ["open", "some"] {
            let mut profile = Profile { ingress: self.rules(2), egress: self.rules(2) };
            if name == "open" {
                let allow = Rule { action: Action::Allow, ..no_field() };
                profile.ingress.push(allow.clone());
                profile.egress.push(allow);
            }
            told.profiles.insert(name.into(), profile.into());
        }
        for (index, interface) in WORKLOADS.into_iter().enumerate() {
            let endpoint = Workload {
                interface: interface.into(),
                addresses: OF_WORKLOADS[index].iter().filter_map(|a| a.parse().ok()).collect(),
                allowed_sources: vec![],
                tiers: self.tiers(3),
                profiles: self.profiles(),
            };
            let id = WorkloadId { namespace: "shop".into(), name: interface.into() };
            told.workloads.insert(id, endpoint.into());
        }
        for interface in ["*", INTERFACES[0], ""].into_iter().filter(|_| hosts) {
            if self.percent(50) {
                let endpoint = self.host_endpoint(interface);
                told.host_endpoints.insert(format!("node{interface}"), endpoint.into());
            }
        }
        told
    }

    fn host_endpoint(&mut self, interface: &str) -> HostEndpoint {
        // What they deny is seldom seen past three stages; so most allow much.
        let mut kind =
            |percent| self.sometimes(percent, |random| random.tiers(1)).unwrap_or_default();
        let (tiers, forward, untracked, pre_dnat) = (kind(60), kind(50), kind(40), kind(40));
        let addresses =
            if interface.is_empty() { vec!["10.66.0.254".parse().expect("one")] } else { vec![] };
        let interface = interface.into();
        let profiles = self.profiles();
        HostEndpoint { interface, addresses, tiers, forward, untracked, pre_dnat, profiles }
    }

    fn profiles(&mut self) -> Vec<Box<str>> {
        let names = self.some(3, |random| random.one(&["open", "some", "missing"]));
        names.into_iter().map(Into::into).collect()
    }

    fn tiers(&mut self, max: usize) -> Vec<Tier> {
        let count = self.below(max + 1);
        let mut tiers = Vec::new();
        for name in ["security", "default", "baseline"].into_iter().take(count) {
            let pass = self.percent(40);
            let default_action = if pass { DefaultAction::Pass } else { DefaultAction::Deny };
            let policies = |random: &mut Random| {
                let names: BTreeSet<&str> =
                    random.some(3, |r| r.one(&POLICIES)).into_iter().collect();
                names.into_iter().map(policy_id).collect::<Arc<[PolicyId]>>()
            };
            let ingress = self.sometimes(80, policies).unwrap_or_default();
            let egress = self.sometimes(80, policies).unwrap_or_default();
            tiers.push(Tier { name: name.into(), default_action, ingress, egress });
        }
        tiers
    }

    fn members(&mut self, member: impl Fn(&mut Random) -> Member + Copy) -> BTreeSet<Member> {
        self.sometimes(90, |random| random.some(6, member))
            .unwrap_or_default()
            .into_iter()
            .collect()
    }

    fn net_member(&mut self) -> Member {
        if self.percent(30) { Member::Net(self.net()) } else { Member::Net(self.address().into()) }
    }

    fn port_member(&mut self) -> Member {
        let (address, protocol) = (self.address(), self.one(&WITH_PORTS));
        Member::Port { address, protocol, port: self.one(&PORTS) }
    }

    /// Any address that packets have.
    fn address(&mut self) -> IpAddr {
        let all = OF_WORKLOADS.iter().flatten().chain(OF_INTERFACES.iter().flatten());
        let all: Vec<&str> = all.chain(&OF_HOST).copied().collect();
        self.one(&all).parse().expect("an address")
    }

    fn net(&mut self) -> IpNet {
        self.one(&NETS).parse().expect("a prefix")
    }

    fn rules(&mut self, max: usize) -> Vec<Rule> {
        let count = self.below(max + 1);
        (0..count).map(|_| self.rule()).collect()
    }

    fn rule(&mut self) -> Rule {
        use Action::{Allow, Deny, Log, Pass};
        let action = self.one(&[Allow, Allow, Allow, Deny, Deny, Pass, Pass, Log]);
        let mut rule = Rule {
            action,
            ip_version: self.sometimes(10, |random| random.one(&[4, 6])),
            protocol: self.sometimes(40, |random| random.one(&[1, 6, 6, 17, 17, GRE, 58, 132])),
            not_protocol: self.sometimes(10, |random| random.one(&[1, 6, 17, GRE, 58, 132])),
            source: self.entity(),
            destination: self.entity(),
            name: self.sometimes(20, |_| "named").unwrap_or_default().into(),
            ..no_field()
        };
        if matches!(rule.protocol, Some(1 | 58)) || self.percent(5) {
            rule.icmp = self.sometimes(40, Random::icmp);
            rule.not_icmp = self.sometimes(40, Random::icmp);
        }
        rule
    }

    fn icmp(&mut self) -> Icmp {
        let kind = self.one(&[8, 13, 128, 139]);
        Icmp { kind, code: self.sometimes(40, |random| random.one(&[0, 1])) }
    }

    fn entity(&mut self) -> Entity {
        let mut entity = Entity::default();
        // Many rules match much, so that packets get past the first ones.
        if self.percent(40) {
            return entity;
        }
        let id = |ids: &'static [&'static str]| move |r: &mut Random| SetId(r.one(ids).into());
        let range = |random: &mut Random| {
            let first = random.one(&PORTS);
            if random.percent(50) { (first, first) } else { (first, first + 1000) }
        };
        if self.percent(15) {
            entity.nets = self.some(3, Random::net);
        }
        if self.percent(8) {
            entity.not_nets = self.some(2, Random::net);
        }
        if self.percent(20) {
            entity.sets = self.some(2, id(&NET_SETS));
        }
        if self.percent(8) {
            entity.not_sets = self.some(2, id(&NET_SETS));
        }
        if self.percent(12) {
            entity.ports = self.some(3, range);
        }
        if self.percent(10) {
            entity.port_sets = self.some(3, id(&PORT_SETS));
        }
        if self.percent(5) {
            entity.not_ports = self.some(2, range);
        }
        if self.percent(5) {
            entity.not_port_sets = self.some(2, id(&PORT_SETS));
        }
        if self.percent(3) {
            entity.service = Some(SetId(self.one(&PORT_SETS).into()));
        }
        entity
    }
}

const NET_SETS: [&str; 4] = ["s:a", "s:b", "s:c", "s:d"];
const PORT_SETS: [&str; 3] = ["n:x", "n:y", "svc:z"];
const POLICIES: [&str; 6] = ["a", "b", "c", "d", "staged-e", "staged-f"];

fn policy_id(name: &str) -> PolicyId {
    let kind = PolicyKind::NetworkPolicy;
    PolicyId { kind, namespace: "shop".into(), name: name.into() }
}

/// A rule that matches every packet.
fn no_field() -> Rule {
    Rule {
        action: Action::Log,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Entity::default(),
        destination: Entity::default(),
        name: "".into(),
    }
}
