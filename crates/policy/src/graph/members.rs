//! A set's members, how often each is contributed, and what has changed since it was told.

use crate::output::Member;
use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The members of one set.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// IPv4 addresses: most members are these.
    hosts: HashSet<u32>,
    /// What most sets have none of.
    rest: Option<Box<Rest>>,
    /// What the dataplane must be told; `None` where it gets, or got, all of the set.
    delta: Option<Box<Delta>>,
}

#[derive(Clone, Debug, Default)]
struct Rest {
    /// IPv6 addresses.
    hosts_v6: HashSet<u128>,
    /// Prefixes that are no single address, and ports.
    others: HashSet<Member>,
    /// How often more than once each member is contributed.
    more: HashMap<Member, u32>,
}

/// How members differ from what was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Delta {
    pub(super) added: HashSet<Member>,
    pub(super) removed: HashSet<Member>,
}

impl Members {
    pub(super) fn add(&mut self, member: Member) {
        let rest = &mut self.rest;
        let is_new = match packed(member) {
            Packed::V4(host) => self.hosts.insert(host),
            Packed::V6(host) => rest.get_or_insert_default().hosts_v6.insert(host),
            Packed::Other => rest.get_or_insert_default().others.insert(member),
        };
        if !is_new {
            *rest.get_or_insert_default().more.entry(member).or_default() += 1;
        } else if let Some(delta) = &mut self.delta
            && !delta.removed.remove(&member)
        {
            delta.added.insert(member);
        }
    }

    /// Takes one contribution of a member back.
    pub(super) fn remove(&mut self, member: Member) {
        let mut rest = self.rest.as_mut();
        if let Some(rest) = &mut rest
            && let Some(more) = rest.more.get_mut(&member)
        {
            *more -= 1;
            if *more == 0 {
                rest.more.remove(&member);
            }
            return;
        }
        let was_there = match packed(member) {
            Packed::V4(host) => self.hosts.remove(&host),
            Packed::V6(host) => rest.is_some_and(|rest| rest.hosts_v6.remove(&host)),
            Packed::Other => rest.is_some_and(|rest| rest.others.remove(&member)),
        };
        if was_there
            && let Some(delta) = &mut self.delta
            && !delta.added.remove(&member)
        {
            delta.removed.insert(member);
        }
    }

    /// Room for more.
    pub(super) fn reserve(&mut self, hosts: usize) {
        self.hosts.reserve(hosts);
    }

    /// Begins to note changes.
    pub(super) fn note_changes(&mut self) {
        self.delta.get_or_insert_default();
    }

    /// The changes since [`Members::note_changes`]; none are noted any more.
    pub(super) fn take_changes(&mut self) -> Option<Box<Delta>> {
        self.give_room_back();
        self.delta.take()
    }

    fn give_room_back(&mut self) {
        if self.hosts.len() * 8 < self.hosts.capacity() {
            self.hosts.shrink_to(self.hosts.len() * 2);
        }
        if let Some(rest) = &mut self.rest {
            if rest.others.len() * 8 < rest.others.capacity() {
                rest.others.shrink_to(rest.others.len() * 2);
            }
            if rest.hosts_v6.is_empty() && rest.others.is_empty() && rest.more.is_empty() {
                self.rest = None;
            }
        }
    }

    pub(super) fn all(&self) -> BTreeSet<Member> {
        // Sorted piece by piece, as numbers are compared faster than members.
        let mut hosts: Vec<u32> = self.hosts.iter().copied().collect();
        hosts.sort_unstable();
        let hosts = hosts.into_iter().map(|host| net(Ipv4Addr::from_bits(host).into()));
        let Some(rest) = &self.rest else { return hosts.collect() };
        let mut hosts_v6: Vec<u128> = rest.hosts_v6.iter().copied().collect();
        hosts_v6.sort_unstable();
        let hosts_v6 = hosts_v6.into_iter().map(|host| net(Ipv6Addr::from_bits(host).into()));
        hosts.chain(hosts_v6).chain(rest.others.iter().copied()).collect()
    }

    /// Whether an address is a member, or is part of one.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let is_host = match address {
            IpAddr::V4(host) => self.hosts.contains(&host.to_bits()),
            IpAddr::V6(host) => {
                self.rest.as_ref().is_some_and(|rest| rest.hosts_v6.contains(&host.to_bits()))
            }
        };
        let Some(rest) = &self.rest else { return is_host };
        let lengths = if address.is_ipv4() { 0..=32u8 } else { 0..=128 };
        let is_in = |length| {
            let net = IpNet::new(address, length).expect("a length of the family");
            rest.others.contains(&Member::Net(net.trunc()))
        };
        is_host || (!rest.others.is_empty() && lengths.into_iter().any(is_in))
    }

    /// Whether a port of an address is a member.
    pub(super) fn contains_port(&self, address: IpAddr, protocol: u8, port: u16) -> bool {
        let member = Member::Port { address, protocol, port };
        self.rest.as_ref().is_some_and(|rest| rest.others.contains(&member))
    }
}

enum Packed {
    V4(u32),
    V6(u128),
    Other,
}

fn packed(member: Member) -> Packed {
    match member {
        Member::Net(IpNet::V4(net)) if net.prefix_len() == 32 => Packed::V4(net.addr().to_bits()),
        Member::Net(IpNet::V6(net)) if net.prefix_len() == 128 => Packed::V6(net.addr().to_bits()),
        _ => Packed::Other,
    }
}

fn net(address: IpAddr) -> Member {
    Member::Net(match address {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::from(address)),
        IpAddr::V6(address) => IpNet::V6(Ipv6Net::from(address)),
    })
}
