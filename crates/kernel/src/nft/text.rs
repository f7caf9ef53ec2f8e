//! Tables as `nft -s list table` (1.0.6, stateless: without counter values) prints them.

use super::{
    BaseChain, Chain, ChainKind, Family, Hook, Match, PacketType, Rule, Set, SetKey, Table,
    Verdict, Version,
};
use ipnet::IpNet;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

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

/// How far from a named priority nft still writes `filter + 7`.
const NAMED_PRIORITY_REACH: i32 = 10;

impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Netdev => "netdev",
        })
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V4 => "ip",
            Version::V6 => "ip6",
        })
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        let mut separator = "";
        for (name, set) in &self.sets {
            write!(f, "{separator}\tset {name} {{\n{}\t}}\n", SetText(self.family, set))?;
            separator = "\n";
        }
        for (name, chain) in &self.chains {
            write!(f, "{separator}\tchain {name} {{\n{}\t}}\n", ChainText(self.family, chain))?;
            separator = "\n";
        }
        f.write_str("}")
    }
}

struct SetText<'a>(Family, &'a Set);

impl Display for SetText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SetText(family, set) = self;
        // nft puts two IPv4 addresses, but only one IPv6 address, on a line.
        let (kind, per_line) = match (set.key, family) {
            (SetKey::Address, Family::Ip) => ("ipv4_addr", 2),
            (SetKey::Address, Family::Ip6) => ("ipv6_addr", 1),
            (SetKey::Foreign, _) | (_, Family::Netdev) => return f.write_str("\t\tforeign\n"),
        };
        writeln!(f, "\t\ttype {kind}")?;
        if set.interval {
            writeln!(f, "\t\tflags interval")?;
        }
        let members: Vec<String> = set.members().iter().map(element).collect();
        if members.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = members.chunks(per_line).map(|line| line.join(", ")).collect();
        writeln!(f, "\t\telements = {{ {} }}", lines.join(",\n\t\t\t     "))
    }
}

fn element(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

struct ChainText<'a>(Family, &'a Chain);

impl Display for ChainText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ChainText(family, chain) = self;
        if let Some(base) = chain.base {
            writeln!(f, "\t\t{base}")?;
        }
        chain.rules.iter().try_for_each(|rule| writeln!(f, "\t\t{}", rule.text(*family)))
    }
}

impl Display for BaseChain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
            ChainKind::Foreign => return f.write_str("type foreign"),
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Ingress(_) => "ingress",
            Hook::Egress(_) => "egress",
        };
        write!(f, "type {kind} hook {hook} ")?;
        if let Hook::Ingress(device) | Hook::Egress(device) = self.hook {
            write!(f, "device \"{}\" ", device.name())?;
        }
        write!(f, "priority {}; policy accept;", priority(*self))
    }
}

fn priority(base: BaseChain) -> String {
    let named = [
        ("raw", -300, None),
        ("mangle", -150, None),
        ("dstnat", -100, Some(Hook::Prerouting)),
        ("filter", 0, None),
        ("security", 50, None),
        ("srcnat", 100, Some(Hook::Postrouting)),
    ];
    let of_device = matches!(base.hook, Hook::Ingress(_) | Hook::Egress(_));
    for (name, value, only) in named {
        let offset = base.priority.saturating_sub(value);
        if only.is_some_and(|hook| hook != base.hook)
            || (of_device && name != "filter")
            || !(-NAMED_PRIORITY_REACH..=NAMED_PRIORITY_REACH).contains(&offset)
        {
            continue;
        }
        return match offset {
            0 => name.to_owned(),
            1.. => format!("{name} + {offset}"),
            _ => format!("{name} - {}", -offset),
        };
    }
    base.priority.to_string()
}

impl Rule {
    /// The rule as a line of `nft -s list` in a table of `family`.
    pub fn text(&self, family: Family) -> String {
        let mut words = Vec::new();
        for (place, condition) in self.matches.iter().enumerate() {
            let next = self.matches.get(place + 1);
            let next_is_port =
                matches!(next, Some(Match::DestinationPort(_) | Match::SourcePort(_)));
            words.push(match condition {
                // What reads the header says which it is: `ip saddr 10.0.0.1`.
                Match::Version(_) if next.is_some_and(|next| next.version().is_some()) => continue,
                // nft folds the protocol into the port that follows: `udp dport 4789`.
                Match::Protocol(number) if next_is_port => protocol(*number),
                condition => condition.text(family, place),
            });
        }
        words.push("counter".to_owned());
        match &self.verdict {
            Verdict::Accept => words.push("accept".to_owned()),
            Verdict::Drop => words.push("drop".to_owned()),
            Verdict::Return => words.push("return".to_owned()),
            Verdict::Jump(chain) => words.push(format!("jump {chain}")),
            Verdict::Goto(chain) => words.push(format!("goto {chain}")),
            Verdict::Masquerade => words.push("masquerade fully-random".to_owned()),
            Verdict::Continue => {}
        }
        if !self.comment.is_empty() {
            words.push(format!("comment \"{}\"", self.comment));
        }
        words.join(" ")
    }
}

impl Match {
    fn text(&self, family: Family, place: usize) -> String {
        let in_set = |field: &str, set: &str, not: bool| {
            format!("{family} {field} {}@{set}", if not { "!= " } else { "" })
        };
        let address = |field: &str, address: &IpAddr, not: bool| {
            let not = if not { "!= " } else { "" };
            format!("{} {field} {not}{address}", Version::of(*address))
        };
        let local = |field: &str, not: bool| {
            format!("fib {field} type {}local", if not { "!= " } else { "" })
        };
        match self {
            Match::SourceInSet { set, not } => in_set("saddr", set, *not),
            Match::DestinationInSet { set, not } => in_set("daddr", set, *not),
            Match::Protocol(number) => format!("meta l4proto {}", protocol(*number)),
            Match::DestinationPort(port) if place > 0 => format!("dport {port}"),
            Match::DestinationPort(port) => format!("th dport {port}"),
            Match::SourcePort(port) if place > 0 => format!("sport {port}"),
            Match::SourcePort(port) => format!("th sport {port}"),
            Match::Version(version) => format!("meta protocol {version}"),
            Match::SourceAddress { address: of, not } => address("saddr", of, *not),
            Match::DestinationAddress { address: of, not } => address("daddr", of, *not),
            Match::LengthAbove { version, bytes } => format!("{version} length > {bytes}"),
            Match::PacketType(PacketType::Broadcast) => "meta pkttype broadcast".to_owned(),
            Match::PacketType(PacketType::Multicast) => "meta pkttype multicast".to_owned(),
            Match::Random { below, of } => format!("numgen random mod {of} < {below}"),
            Match::InputInterface(name) => format!("iifname \"{name}\""),
            Match::OutputInterface(name) => format!("oifname \"{name}\""),
            Match::SourceIsLocal { not } => local("saddr", *not),
            Match::DestinationIsLocal { not } => local("daddr", *not),
            Match::Foreign(what) => format!("# foreign: {what}"),
        }
    }
}

fn protocol(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests;
