//! Kinds of packets that rules tell apart.

use super::SOURCE_PORT;
use crate::evaluate::Packet;
use crate::output::Rule;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// Protocols with ports (IANA's numbers): TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
/// Echo requests, which `ping` sends: type and code.
const ECHO: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 0);

/// Packets that no rule tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// To one of these ports.
    Ports {
        /// IP protocol number.
        protocol: u8,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// ICMP or ICMPv6 messages.
    Icmp {
        /// 1 or 58.
        protocol: u8,
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// Of another protocol.
    Protocol(u8),
}

/// All kinds that some rules tell apart.
#[derive(Clone, Debug)]
pub struct Kinds {
    v4: Vec<Kind>,
    v6: Vec<Kind>,
}

impl Kinds {
    /// The kinds that these rules tell apart, whose sets have members with these `ports`. Messages of
    /// ICMP that no rule names are represented by echo requests, protocols without ports by those
    /// that rules name.
    pub fn of<'a>(
        rules: impl Iterator<Item = &'a Rule>,
        ports: impl Iterator<Item = u16>,
    ) -> Kinds {
        // The first ports of ranges.
        let mut starts = BTreeSet::from([0]);
        let mut protocols = BTreeSet::new();
        let mut messages = BTreeSet::new();
        let mut range = |first: u16, last: u16| {
            starts.insert(first);
            starts.extend(last.checked_add(1));
        };
        ports.for_each(|port| range(port, port));
        for rule in rules {
            let ends = rule.destination.ports.iter().chain(&rule.destination.not_ports);
            ends.for_each(|(first, last)| range(*first, *last));
            protocols.extend(rule.protocol.into_iter().chain(rule.not_protocol));
            let icmp = rule.icmp.iter().chain(&rule.not_icmp);
            messages.extend(icmp.map(|icmp| (icmp.kind, icmp.code.unwrap_or(0))));
        }
        let ranges = ranges(&starts);
        let with_ports = WITH_PORTS.into_iter().flat_map(|protocol| {
            ranges.iter().map(move |(first, last)| Kind::Ports {
                protocol,
                first: *first,
                last: *last,
            })
        });
        let has_own_kinds = |number: u8| [ICMP, ICMP_V6].contains(&number) || has_ports(number);
        let others = protocols.into_iter().filter(|number| !has_own_kinds(*number));
        let common: Vec<Kind> = with_ports.chain(others.map(Kind::Protocol)).collect();
        let of_version = |protocol: u8, echo: (u8, u8)| {
            let messages: BTreeSet<_> = messages.iter().copied().chain([echo]).collect();
            let messages =
                messages.into_iter().map(|(kind, code)| Kind::Icmp { protocol, kind, code });
            common.iter().cloned().chain(messages).collect()
        };
        Kinds { v4: of_version(ICMP, ECHO), v6: of_version(ICMP_V6, ECHO_V6) }
    }

    /// Those of a version of IP.
    pub fn of_version(&self, ipv4: bool) -> &[Kind] {
        if ipv4 { &self.v4 } else { &self.v6 }
    }
}

/// Whether packets of the protocol have ports that rules can name.
pub fn has_ports(protocol: u8) -> bool {
    WITH_PORTS.contains(&protocol)
}

/// From each start to before the next.
fn ranges(starts: &BTreeSet<u16>) -> Vec<(u16, u16)> {
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
    starts.iter().copied().zip(ends).collect()
}

impl Kind {
    /// One such packet.
    pub fn packet(&self, source: IpAddr, destination: IpAddr) -> Packet {
        let (protocol, ports, icmp) = match *self {
            Kind::Ports { protocol, first, .. } => (protocol, Some((SOURCE_PORT, first)), None),
            Kind::Icmp { protocol, kind, code } => (protocol, None, Some((kind, code))),
            Kind::Protocol(protocol) => (protocol, None, None),
        };
        Packet { source, destination, protocol, ports, icmp }
    }

    /// Both as one, where the other's ports follow these.
    pub fn join(&self, next: &Kind) -> Option<Kind> {
        match (self, next) {
            (
                Kind::Ports { protocol, first, last },
                Kind::Ports { protocol: same, first: follows, last: end },
            ) if protocol == same && last.checked_add(1) == Some(*follows) => {
                Some(Kind::Ports { protocol: *protocol, first: *first, last: *end })
            }
            _ => None,
        }
    }
}

/// `tcp 80`, `udp 1000-2000`, `tcp`, `icmp type 8 code 0`, `protocol 89`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Ports { protocol, first: 0, last: u16::MAX } => f.write_str(&name(protocol)),
            Kind::Ports { protocol, first, last } if first == last => {
                write!(f, "{} {first}", name(protocol))
            }
            Kind::Ports { protocol, first, last } => {
                write!(f, "{} {first}-{last}", name(protocol))
            }
            Kind::Icmp { protocol, kind, code } => {
                write!(f, "{} type {kind} code {code}", name(protocol))
            }
            Kind::Protocol(protocol) => f.write_str(&name(protocol)),
        }
    }
}

/// `tcp`, or `protocol 89`.
pub fn name(protocol: u8) -> String {
    let known = match protocol {
        ICMP => "icmp",
        6 => "tcp",
        17 => "udp",
        ICMP_V6 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        other => return format!("protocol {other}"),
    };
    known.to_owned()
}
