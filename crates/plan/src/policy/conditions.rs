//! What a rule asks of a packet, as the conditions of nf_tables rules.
//!
//! A rule is one or more [`Variant`]s, as conditions on ports need a protocol before them. In a
//! variant all must hold, and of each group one.

use super::contents::Contents;
use super::names;
use super::sets::Shapes;
use ipnet::IpNet;
use kernel::nft::{Element, Family, Match, SetKey, Version};
use policy::input::Icmp;
use policy::output::{Entity, Rule, SetId};
use std::collections::BTreeSet;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// TCP, UDP, SCTP: those whose packets have ports, for rules.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// Conditions for packets of some protocols.
#[derive(Clone, Debug, Default)]
pub(super) struct Variant {
    /// They all must hold; what is about the protocol.
    pub(super) protocol: Vec<Match>,
    /// They all must hold.
    pub(super) all: Vec<Match>,
    /// Of each group, one must hold.
    pub(super) groups: Vec<Vec<Match>>,
}

/// A rule in one family, as its table can say it.
pub(super) struct Conditions<'a> {
    pub(super) family: Family,
    pub(super) shapes: &'a Shapes,
    pub(super) contents: &'a mut Contents,
}

/// Protocols that are told apart.
#[derive(Clone)]
enum Protocols {
    One(u8),
    AllBut(BTreeSet<u8>),
}

/// One end of packets.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

impl Conditions<'_> {
    /// The variants of a rule; none, if no packet of this family can match.
    pub(super) fn of(&mut self, rule: &Rule) -> Vec<Variant> {
        let version = if self.family == Family::Ip6 { 6 } else { 4 };
        let ends = [(End::Source, &rule.source), (End::Destination, &rule.destination)];
        if rule.ip_version.is_some_and(|wanted| wanted != version)
            || !ends.iter().all(|(_, entity)| self.can_match(entity))
        {
            return Vec::new();
        }
        let variants = self.protocols(rule).into_iter().map(|protocols| {
            let protocol = self.protocol_conditions(rule, &protocols);
            let mut variant = Variant { protocol, ..Variant::default() };
            for (end, entity) in ends {
                self.add_addresses(end, entity, &mut variant);
                // Packets without ports are in no range that is excluded.
                if protocols.have_ports() {
                    self.add_ports(end, entity, &mut variant);
                }
            }
            variant
        });
        variants.collect()
    }

    /// Whether lists of prefixes have some of this family, as others speak of other packets; and
    /// don't exclude all.
    fn can_match(&self, entity: &Entity) -> bool {
        let some = |nets: &[IpNet]| nets.is_empty() || nets.iter().any(|net| self.is_ours(net));
        let all = |net: &IpNet| self.is_ours(net) && net.prefix_len() == 0;
        some(&entity.nets) && some(&entity.not_nets) && !entity.not_nets.iter().any(all)
    }

    fn is_ours(&self, net: &IpNet) -> bool {
        net.addr().is_ipv6() == (self.family == Family::Ip6)
    }

    fn icmp_protocol(&self) -> u8 {
        if self.family == Family::Ip6 { ICMPV6 } else { ICMP }
    }

    /// The protocols that a rule is about, told apart where its other conditions need it.
    fn protocols(&self, rule: &Rule) -> Vec<Protocols> {
        let ends = [&rule.source, &rule.destination];
        let in_numbers = ends.iter().any(|end| !end.ports.is_empty());
        let in_sets = ends.iter().any(|e| !e.port_sets.is_empty() || e.service.is_some());
        let excludes =
            ends.iter().any(|end| !end.not_ports.is_empty() || !end.not_port_sets.is_empty());
        let icmp = self.icmp_protocol();
        let mut protocols = match rule.protocol {
            Some(protocol) if rule.not_protocol == Some(protocol) => Vec::new(),
            Some(protocol) => vec![Protocols::One(protocol)],
            None => vec![Protocols::AllBut(rule.not_protocol.into_iter().collect())],
        };
        if rule.icmp.is_some() || rule.not_icmp.is_some() {
            protocols = Protocols::split(protocols, &[icmp]);
        }
        // Sets of ports have the protocol as a part of their members.
        if in_numbers || excludes {
            protocols = Protocols::split(protocols, &WITH_PORTS);
        }
        let is_icmp = |those: &Protocols| matches!(those, Protocols::One(one) if *one == icmp);
        protocols.retain(|those| {
            (rule.icmp.is_none() || is_icmp(those))
                && (!(in_numbers || in_sets) || those.have_ports())
        });
        protocols
    }

    fn protocol_conditions(&self, rule: &Rule, protocols: &Protocols) -> Vec<Match> {
        let protocol = match protocols {
            Protocols::AllBut(others) => {
                return others.iter().map(|protocol| Match::NotProtocol(*protocol)).collect();
            }
            Protocols::One(protocol) => *protocol,
        };
        let mut conditions = vec![Match::Protocol(protocol)];
        if protocol == self.icmp_protocol() {
            conditions.extend(rule.icmp.map(|icmp| self.icmp(icmp, false)));
            conditions.extend(rule.not_icmp.map(|icmp| self.icmp(icmp, true)));
        }
        conditions
    }

    fn icmp(&self, icmp: Icmp, not: bool) -> Match {
        let version = if self.family == Family::Ip6 { Version::V6 } else { Version::V4 };
        Match::Icmp { version, kind: icmp.kind, code: icmp.code, not }
    }

    fn add_addresses(&mut self, end: End, entity: &Entity, variant: &mut Variant) {
        variant.all.extend(self.net_list(end, &entity.nets, false));
        variant.all.extend(self.net_list(end, &entity.not_nets, true));
        for id in &entity.sets {
            let single = end.in_set(names::set(self.family, id), false);
            if self.shapes.has_prefixes(id, self.family) {
                let covered = end.in_set(names::prefix_set(self.family, id), false);
                variant.groups.push(vec![single, covered]);
            } else {
                variant.all.push(single);
            }
        }
        for id in &entity.not_sets {
            variant.all.push(end.in_set(names::set(self.family, id), true));
            if self.shapes.has_prefixes(id, self.family) {
                variant.all.push(end.in_set(names::prefix_set(self.family, id), true));
            }
        }
    }

    fn net_list(&mut self, end: End, nets: &[IpNet], not: bool) -> Option<Match> {
        let ours: Vec<IpNet> =
            nets.iter().filter(|net| self.is_ours(net)).map(IpNet::trunc).collect();
        // All addresses: true of every packet.
        if ours.iter().any(|net| net.prefix_len() == 0) {
            return None;
        }
        match ours[..] {
            [] => None,
            [net] => Some(end.in_prefix(net, not)),
            _ => {
                let elements = ours.into_iter().map(Element::Net).collect();
                let set = self.contents.add(self.family, SetKey::Address, elements);
                Some(end.in_set(set, not))
            }
        }
    }

    fn add_ports(&mut self, end: End, entity: &Entity, variant: &mut Variant) {
        let in_ports = |id: &SetId, not| end.in_port_set(names::set(self.family, id), not);
        let mut any: Vec<Match> = entity.port_sets.iter().map(|id| in_ports(id, false)).collect();
        variant.all.extend(entity.not_port_sets.iter().map(|id| in_ports(id, true)));
        variant.all.extend(entity.service.iter().map(|id| in_ports(id, false)));
        any.extend(self.range_list(end, &entity.ports, false));
        variant.all.extend(self.range_list(end, &entity.not_ports, true));
        match any.len() {
            0 | 1 => variant.all.extend(any),
            _ => variant.groups.push(any),
        }
    }

    fn range_list(&mut self, end: End, ranges: &[(u16, u16)], not: bool) -> Option<Match> {
        match *ranges {
            [] => None,
            [(first, last)] => Some(end.in_range(first, last, not)),
            _ => {
                let elements = ranges.iter().map(|(first, last)| Element::Ports(*first, *last));
                let set = self.contents.add(self.family, SetKey::Port, elements.collect());
                Some(end.in_range_set(set, not))
            }
        }
    }
}

impl Protocols {
    /// The same, with each of `apart` on its own.
    fn split(protocols: Vec<Protocols>, apart: &[u8]) -> Vec<Protocols> {
        let parts = protocols.into_iter().flat_map(|those| match those {
            Protocols::One(_) => vec![those],
            Protocols::AllBut(others) => {
                let ones = apart.iter().filter(|protocol| !others.contains(protocol));
                let mut parts: Vec<_> = ones.copied().map(Protocols::One).collect();
                parts.push(Protocols::AllBut(others.iter().chain(apart).copied().collect()));
                parts
            }
        });
        parts.collect()
    }

    /// Whether packets of some of them have ports.
    fn have_ports(&self) -> bool {
        match self {
            Protocols::One(protocol) => WITH_PORTS.contains(protocol),
            Protocols::AllBut(others) => WITH_PORTS.iter().any(|p| !others.contains(p)),
        }
    }
}

impl End {
    fn in_set(self, set: String, not: bool) -> Match {
        match self {
            End::Source => Match::SourceInSet { set, not },
            End::Destination => Match::DestinationInSet { set, not },
        }
    }

    fn in_prefix(self, net: IpNet, not: bool) -> Match {
        match self {
            End::Source => Match::SourcePrefix { net, not },
            End::Destination => Match::DestinationPrefix { net, not },
        }
    }

    fn in_port_set(self, set: String, not: bool) -> Match {
        match self {
            End::Source => Match::SourceAddressPortInSet { set, not },
            End::Destination => Match::DestinationAddressPortInSet { set, not },
        }
    }

    fn in_range(self, first: u16, last: u16, not: bool) -> Match {
        match self {
            End::Source => Match::SourcePorts { first, last, not },
            End::Destination => Match::DestinationPorts { first, last, not },
        }
    }

    fn in_range_set(self, set: String, not: bool) -> Match {
        match self {
            End::Source => Match::SourcePortInSet { set, not },
            End::Destination => Match::DestinationPortInSet { set, not },
        }
    }
}
