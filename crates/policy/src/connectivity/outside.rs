//! Addresses of no endpoint that a change of policies may be about.

use crate::connectivity::Places;
use crate::input::PolicyId;
use crate::output::{Member, Policy, Profile, Rule, SetId};
use crate::told::{Set, Told};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Steps past addresses that are taken, until a prefix counts as full.
const STEPS_MAX: usize = 10_000;

/// Addresses of the outside: of documentation (RFC 5737, RFC 3849), and of Internet name servers.
const ELSEWHERE: [&str; 8] = [
    "192.0.2.77",
    "198.51.100.77",
    "203.0.113.77",
    "9.9.9.9",
    "8.8.8.8",
    "2001:db8::77",
    "2620:fe::fe",
    "2001:4860:4860::8888",
];

/// Prefixes that are in what differs between two sides, up to `limit`; and whether there are more. Of
/// sets: those of rules that differ, and members that come or go.
pub(super) fn nets(before: &Told, after: &Told, limit: usize) -> (BTreeSet<IpNet>, bool) {
    let (mut nets, mut sets) = (BTreeSet::new(), BTreeSet::<&SetId>::new());
    for (one, other) in [(before, after), (after, before)] {
        for rule in differing(one, other) {
            for end in [&rule.source, &rule.destination] {
                nets.extend(end.nets.iter().chain(&end.not_nets).copied());
            }
            sets.extend(rule.sets().map(|(id, _)| id));
        }
        for (id, set) in &one.sets {
            let others = other.sets.get(id).map(|set| &set.members);
            if others.is_some_and(|members| *members != set.members) {
                let gone = |member: &&Member| others.is_none_or(|held| !held.contains(*member));
                nets.extend(set.members.iter().filter(gone).filter_map(net));
            }
        }
    }
    let members = [before, after].into_iter().flat_map(|told| {
        sets.iter().filter_map(|id| told.sets.get(*id)).flat_map(|set: &Set| &set.members)
    });
    nets.extend(members.filter_map(net));
    for workload in [before, after].into_iter().flat_map(|told| told.workloads.values()) {
        for address in &workload.addresses {
            nets.remove(&IpNet::from(*address));
        }
    }
    // Addresses elsewhere stand for the prefix of all.
    nets.retain(|net| net.prefix_len() > 0);
    let more = nets.len() > limit;
    (nets.into_iter().take(limit).collect(), more)
}

/// The rules of one side's policies and profiles that the other has not, or not so.
fn differing<'a>(one: &'a Told, other: &'a Told) -> impl Iterator<Item = &'a Rule> {
    let policies = one
        .policies
        .iter()
        .filter(|(id, policy): &(&PolicyId, _)| other.policies.get(*id) != Some(*policy));
    let profiles =
        one.profiles.iter().filter(|(name, profile)| other.profiles.get(*name) != Some(*profile));
    let of_policy = |policy: &'a Policy| policy.ingress.iter().chain(&policy.egress);
    let of_profile = |profile: &'a Profile| profile.ingress.iter().chain(&profile.egress);
    let policies = policies.flat_map(move |(_, policy)| of_policy(policy));
    policies.chain(profiles.flat_map(move |(_, profile)| of_profile(profile)))
}

fn net(member: &Member) -> Option<IpNet> {
    match member {
        Member::Net(net) => Some(*net),
        Member::Port { .. } => None,
    }
}

/// Addresses of endpoints and nodes.
pub(super) fn held(before: &Told, after: &Told, places: &Places) -> BTreeSet<IpAddr> {
    let workloads = [before, after].into_iter().flat_map(|told| told.workloads.values());
    let of_workloads = workloads.flat_map(|workload| workload.addresses.iter());
    let of_hosts = places.hosts.values().flat_map(|(_, addresses)| addresses);
    let of_nodes = places.nodes.values().flat_map(|node| &node.addresses);
    of_workloads.chain(of_hosts).chain(of_nodes).copied().collect()
}

/// The first address of a prefix that nobody has and that is in no smaller one of the prefixes.
pub(super) fn address_of(
    net: IpNet,
    nets: &BTreeSet<IpNet>,
    held: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let mut smaller = BTreeMap::new();
    for other in nets.iter().filter(|other| **other != net && net.contains(*other)) {
        // Of those that begin alike, the longest.
        let last = smaller.entry(other.network()).or_insert(other.broadcast());
        *last = (*last).max(other.broadcast());
    }
    let mut address = net.network();
    // The first address of a link is no host's (RFC 1122, RFC 4291 section 2.6.1).
    if net.max_prefix_len() - net.prefix_len() > 1 {
        address = next(address)?;
    }
    for _ in 0..STEPS_MAX {
        if !net.contains(&address) {
            return None;
        }
        // Prefixes nest or are apart: one that begins last may end before others do.
        let within = smaller.range(..=address).filter(|(_, last)| **last >= address);
        let taken = within.map(|(_, last)| *last).max();
        address = match taken {
            Some(last) => next(last)?,
            None if held.contains(&address) => next(address)?,
            None => return Some(address),
        };
    }
    None
}

/// An address that nobody knows.
pub(super) fn elsewhere(ipv4: bool, known: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let addresses = ELSEWHERE.iter().filter_map(|text| text.parse().ok());
    addresses.filter(|address: &IpAddr| address.is_ipv4() == ipv4).find(|address| !known(address))
}

fn next(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4).checked_add(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6).checked_add(1)?).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn prefixes_are_stood_for_by_an_address_that_nothing_else_has() {
        let held = addresses(&["10.0.0.1", "10.0.0.4", "10.1.0.0", "fd00::1"]);
        for (net, others, expected) in [
            ("10.0.0.0/24", &[][..], Some("10.0.0.2")),
            ("10.0.0.0/24", &["10.0.0.2/31", "10.0.0.0/16"], Some("10.0.0.5")),
            ("10.0.0.0/8", &["10.0.0.0/16", "10.0.0.0/24"], Some("10.1.0.1")),
            ("10.0.0.0/30", &["10.0.0.2/31"], None),
            ("10.0.0.4/32", &[], None),
            ("10.0.0.5/32", &["0.0.0.0/0"], Some("10.0.0.5")),
            ("0.0.0.0/0", &["0.0.0.0/1"], Some("128.0.0.0")),
            ("255.255.255.254/31", &["255.255.255.254/32"], Some("255.255.255.255")),
            ("255.255.255.255/32", &[], Some("255.255.255.255")),
            ("fd00::/64", &[], Some("fd00::2")),
        ] {
            let parse = |text: &str| text.parse::<IpNet>().expect("a prefix");
            let nets = others.iter().copied().chain([net]).map(parse).collect();
            let found = address_of(parse(net), &nets, &held);
            assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{net}");
        }
    }
}
