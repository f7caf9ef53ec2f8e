//! A packet as rules see it, and whether a rule matches it.

use super::Rules;
use crate::input::Icmp;
use crate::output::{Entity, Rule};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A packet as rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes, of the same version of IP.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port of TCP, UDP and SCTP; `None` for all other protocols, whose
    /// packets are in no range of ports and in no set of ports.
    pub ports: Option<(u16, u16)>,
    /// Type and code of ICMP over IPv4 and of ICMPv6 over IPv6; `None` for all other protocols.
    pub icmp: Option<(u8, u8)>,
}

impl Packet {
    /// Whether all that a rule says holds for the packet.
    ///
    /// A rule with prefixes of one version of IP only, also in `not_nets`, is about that version
    /// only (Felix's `FilterRuleToIPVersion`).
    pub fn matches(&self, rule: &Rule, rules: &impl Rules) -> bool {
        let version = if self.source.is_ipv4() { 4 } else { 6 };
        let is = |icmp: Icmp| {
            self.icmp.is_some_and(|(kind, code)| {
                kind == icmp.kind && icmp.code.is_none_or(|wanted| wanted == code)
            })
        };
        let source_port = self.ports.map(|(source, _)| source);
        let destination_port = self.ports.map(|(_, destination)| destination);
        rule.ip_version.is_none_or(|wanted| wanted == version)
            && rule.protocol.is_none_or(|wanted| wanted == self.protocol)
            && rule.not_protocol.is_none_or(|other| other != self.protocol)
            && rule.icmp.is_none_or(is)
            && !rule.not_icmp.is_some_and(is)
            && self.end_matches(&rule.source, self.source, source_port, rules)
            && self.end_matches(&rule.destination, self.destination, destination_port, rules)
    }

    fn end_matches(
        &self,
        entity: &Entity,
        address: IpAddr,
        port: Option<u16>,
        rules: &impl Rules,
    ) -> bool {
        let covers = |net: &IpNet| net.contains(&address);
        let of_version = |net: &IpNet| net.addr().is_ipv4() == address.is_ipv4();
        let in_range =
            |(first, last): &(u16, u16)| port.is_some_and(|p| (*first..=*last).contains(&p));
        let in_ports =
            |set| port.is_some_and(|port| rules.contains_port(set, address, self.protocol, port));
        let any_port = entity.ports.is_empty() && entity.port_sets.is_empty();
        (entity.nets.is_empty() || entity.nets.iter().any(covers))
            && (entity.not_nets.is_empty() || entity.not_nets.iter().any(of_version))
            && !entity.not_nets.iter().any(covers)
            && entity.sets.iter().all(|set| rules.contains(set, address))
            && !entity.not_sets.iter().any(|set| rules.contains(set, address))
            && (any_port
                || entity.ports.iter().any(in_range)
                || entity.port_sets.iter().any(in_ports))
            && !entity.not_ports.iter().any(in_range)
            && !entity.not_port_sets.iter().any(in_ports)
            && entity.service.iter().all(in_ports)
    }
}
