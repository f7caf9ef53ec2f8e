//! Rules as lines of `nft -s list`.

use super::icmp;
use crate::nft::{
    ConnectionState, Element, Family, MapField, Match, PacketType, Period, Rejection, Rule,
    Statement, Verdict,
};
use ipnet::IpNet;

/// What `/etc/protocols` calls those that Calico's rules name; others are shown as numbers.
const PROTOCOLS: [(u8, &str); 12] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The burst that nft doesn't mention.
const LIMIT_BURST_DEFAULT: u32 = 5;

impl Rule {
    /// The rule as a line of `nft -s list` in a table of `family`.
    pub fn text(&self, family: Family) -> String {
        let mut words = Vec::new();
        // What nft calls the header that follows IP's.
        let mut header = "th".to_owned();
        for (place, condition) in self.matches.iter().enumerate() {
            let rest = &self.matches[place + 1..];
            match condition {
                // What reads the header says which it is: `ip saddr 10.0.0.1`.
                Match::Version(_) if rest.first().is_some_and(|next| next.version().is_some()) => {}
                // nft folds the protocol into what reads its header: `udp dport 4789`.
                Match::Protocol(number) if rest.iter().any(Match::reads_transport) => {
                    header = protocol(*number);
                }
                condition => words.push(condition.text(family, &header)),
            }
        }
        words.push("counter".to_owned());
        words.extend(self.statements.iter().map(Statement::text));
        if self.verdict != Verdict::Continue {
            words.push(verdict(&self.verdict));
        }
        if !self.comment.is_empty() {
            words.push(format!("comment \"{}\"", self.comment));
        }
        words.join(" ")
    }
}

impl Match {
    fn text(&self, family: Family, header: &str) -> String {
        let prefix = |field: &str, net: &IpNet, not: bool| {
            let version = crate::nft::Version::of(net.addr());
            format!("{version} {field} {}{}", unless(not), Element::Net(*net))
        };
        let ports = |field: &str, first: u16, last: u16, not: bool| {
            format!("{header} {field} {}{}", unless(not), Element::Ports(first, last))
        };
        let in_set = |field: String, set: &str, not: bool| format!("{field} {}@{set}", unless(not));
        let address_port = |address: &str, port: &str| {
            format!("{family} {address} . meta l4proto . {header} {port}")
        };
        match self {
            Match::SourceInSet { set, not } => in_set(format!("{family} saddr"), set, *not),
            Match::DestinationInSet { set, not } => in_set(format!("{family} daddr"), set, *not),
            Match::SourcePortInSet { set, not } => in_set(format!("{header} sport"), set, *not),
            Match::DestinationPortInSet { set, not } => {
                in_set(format!("{header} dport"), set, *not)
            }
            Match::SourceAddressPortInSet { set, not } => {
                in_set(address_port("saddr", "sport"), set, *not)
            }
            Match::DestinationAddressPortInSet { set, not } => {
                in_set(address_port("daddr", "dport"), set, *not)
            }
            Match::SourcePrefix { net, not } => prefix("saddr", net, *not),
            Match::DestinationPrefix { net, not } => prefix("daddr", net, *not),
            Match::SourcePorts { first, last, not } => ports("sport", *first, *last, *not),
            Match::DestinationPorts { first, last, not } => ports("dport", *first, *last, *not),
            Match::Icmp { version, kind, code, not } => icmp::text(*version, *kind, *code, *not),
            Match::LengthAbove { version, bytes } => format!("{version} length > {bytes}"),
            Match::InputInterface { name, not } => format!("iifname {}\"{name}\"", unless(*not)),
            Match::OutputInterface { name, not } => format!("oifname {}\"{name}\"", unless(*not)),
            Match::SourceIsLocal { not } => format!("fib saddr type {}local", unless(*not)),
            Match::DestinationIsLocal { not } => format!("fib daddr type {}local", unless(*not)),
            Match::ReversePathMissing => "fib saddr . iif oif 0".to_owned(),
            Match::Foreign(what) => format!("# foreign: {what}"),
            metadata => metadata.metadata_text(),
        }
    }

    /// The text of what is not about a header.
    fn metadata_text(&self) -> String {
        match self {
            Match::Version(version) => format!("meta protocol {version}"),
            Match::Protocol(number) => format!("meta l4proto {}", protocol(*number)),
            Match::NotProtocol(number) => format!("meta l4proto != {}", protocol(*number)),
            Match::Mark { mask: u32::MAX, value, not } => {
                format!("meta mark {}{value:#010x}", unless(*not))
            }
            Match::Mark { mask, value, not } => {
                let operator = if *not { "!=" } else { "==" };
                format!("meta mark & {mask:#010x} {operator} {value:#010x}")
            }
            Match::ConnectionState(states) => {
                let states: Vec<&str> = states.iter().copied().map(state).collect();
                format!("ct state {}", states.join(","))
            }
            Match::ConnectionIsDnat { not: false } => "ct status dnat".to_owned(),
            Match::ConnectionIsDnat { not: true } => "ct status ! dnat".to_owned(),
            Match::PacketType(PacketType::Broadcast) => "meta pkttype broadcast".to_owned(),
            Match::PacketType(PacketType::Multicast) => "meta pkttype multicast".to_owned(),
            Match::Random { below, of } => format!("numgen random mod {of} < {below}"),
            Match::Limit { rate, per, burst } => {
                let burst = match *burst {
                    LIMIT_BURST_DEFAULT => String::new(),
                    burst => format!(" burst {burst} packets"),
                };
                format!("limit rate {rate}/{}{burst}", period(*per))
            }
            // Match::text has the others.
            other => format!("# {other:?}"),
        }
    }
}

impl Statement {
    fn text(&self) -> String {
        match self {
            Statement::Mark { mask, value } => {
                // As nft reads it back from "clear some bits, flip others".
                let kept = !mask | value;
                let and = if kept == u32::MAX { String::new() } else { format!(" & {kept:#010x}") };
                let or = if *value == 0 { String::new() } else { format!(" | {value:#010x}") };
                format!("meta mark set meta mark{and}{or}")
            }
            Statement::Log { group, prefix } if prefix.is_empty() => format!("log group {group}"),
            Statement::Log { group, prefix } => format!("log prefix \"{prefix}\" group {group}"),
            Statement::NoTrack => "notrack".to_owned(),
        }
    }
}

fn unless(not: bool) -> &'static str {
    if not { "!= " } else { "" }
}

fn state(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Invalid => "invalid",
        ConnectionState::Established => "established",
        ConnectionState::Related => "related",
        ConnectionState::New => "new",
        ConnectionState::Untracked => "untracked",
    }
}

fn period(period: Period) -> &'static str {
    match period {
        Period::Second => "second",
        Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
    }
}

/// A verdict as in rules and maps; `continue` is left out of rules.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Return => "return".to_owned(),
        Verdict::Continue => "continue".to_owned(),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Goto(chain) => format!("goto {chain}"),
        Verdict::Reject(Rejection::PortUnreachable) => "reject".to_owned(),
        Verdict::Reject(Rejection::TcpReset) => "reject with tcp reset".to_owned(),
        Verdict::Masquerade => "masquerade fully-random".to_owned(),
        Verdict::Map { field: MapField::InputInterface, map } => format!("iifname vmap @{map}"),
        Verdict::Map { field: MapField::OutputInterface, map } => format!("oifname vmap @{map}"),
    }
}

/// What nft calls an IP protocol.
pub(super) fn protocol(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
