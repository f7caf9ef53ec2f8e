//! Tables as `nft -s list table` (1.0.6, stateless: without counter values) prints them.

mod icmp;
mod rule;

use super::{
    BaseChain, Chain, ChainKind, Element, Family, Hook, Set, SetKey, Table, Verdict, VerdictMap,
    Version,
};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

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
        for (name, map) in &self.maps {
            write!(f, "{separator}\tmap {name} {{\n{}\t}}\n", MapText(self.family, map))?;
            separator = "\n";
        }
        for what in &self.foreign {
            writeln!(f, "{separator}\t# foreign: {what}")?;
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
        let Some(kind) = key(set.key, *family) else { return f.write_str("\t\tforeign\n") };
        writeln!(f, "\t\ttype {kind}")?;
        if set.interval {
            writeln!(f, "\t\tflags interval")?;
        }
        let members = set.members();
        let mut members: Vec<&Element> = members.iter().collect();
        members.sort_by_key(|element| shown_place(element));
        // How many of a kind nft puts on a line.
        let per_line = match (set.key, family) {
            (SetKey::Port, _) => 5,
            (SetKey::Address, Family::Ip) => 2,
            _ => 1,
        };
        elements(f, members.into_iter(), per_line)
    }
}

struct MapText<'a>(Family, &'a VerdictMap);

impl Display for MapText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MapText(family, map) = self;
        let Some(kind) = key(map.key, *family) else { return f.write_str("\t\tforeign\n") };
        writeln!(f, "\t\ttype {kind} : verdict")?;
        let mut members: Vec<_> = map.elements.iter().collect();
        members.sort_by_key(|(element, _)| shown_place(element));
        elements(f, members.into_iter().map(|(key, verdict)| Mapping(key, verdict)), 1)
    }
}

/// `"cali1" : goto c1`.
struct Mapping<'a>(&'a Element, &'a Verdict);

impl Display for Mapping<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.0, rule::verdict(self.1))
    }
}

/// An element of a verdict map, as [`Mapping`].
pub(super) struct MapElement<'a>(pub(super) &'a (Element, Verdict));

impl Display for MapElement<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Mapping(&self.0.0, &self.0.1).fmt(f)
    }
}

fn key(key: SetKey, family: Family) -> Option<String> {
    let address = match family {
        Family::Ip => "ipv4_addr",
        Family::Ip6 => "ipv6_addr",
        Family::Netdev => return None,
    };
    Some(match key {
        SetKey::Address => address.to_owned(),
        SetKey::Port => "inet_service".to_owned(),
        SetKey::AddressProtocolPort => format!("{address} . inet_proto . inet_service"),
        SetKey::Interface => "ifname".to_owned(),
        SetKey::Foreign => return None,
    })
}

fn elements(
    f: &mut Formatter<'_>,
    elements: impl Iterator<Item = impl Display>,
    per_line: usize,
) -> fmt::Result {
    let elements: Vec<String> = elements.map(|element| element.to_string()).collect();
    if elements.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = elements.chunks(per_line).map(|line| line.join(", ")).collect();
    writeln!(f, "\t\telements = {{ {} }}", lines.join(",\n\t\t\t     "))
}

/// By what nft orders elements: addresses and ports as numbers; what is not in network order, and
/// what is of several parts (each padded to four bytes), as a number of little endian.
fn shown_place(element: &Element) -> Vec<u8> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    match element {
        Element::Net(net) => octets(&net.addr()),
        Element::Ports(first, _) => first.to_be_bytes().to_vec(),
        Element::AddressPort { address, protocol, port } => {
            let [high, low] = port.to_be_bytes();
            let mut place = vec![low, high, *protocol];
            place.extend(octets(address).into_iter().rev());
            place
        }
        Element::Interface(device) => {
            let mut place = device.name().as_bytes().to_vec();
            place.resize(16, 0);
            place.reverse();
            place
        }
    }
}

/// As nft writes it in a list.
impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Element::Net(net) if self.is_single() => write!(f, "{}", net.addr()),
            Element::Net(net) => write!(f, "{net}"),
            Element::Ports(first, last) if first == last => write!(f, "{first}"),
            Element::Ports(first, last) => write!(f, "{first}-{last}"),
            Element::AddressPort { address, protocol, port } => {
                write!(f, "{address} . {} . {port}", rule::protocol(*protocol))
            }
            Element::Interface(device) => write!(f, "\"{}\"", device.name()),
        }
    }
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

#[cfg(test)]
mod tests;
