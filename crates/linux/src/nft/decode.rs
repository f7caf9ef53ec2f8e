//! Expressions read from the kernel as the values that make them; anything else is foreign.

use super::attribute::Attributes;
use super::encode::{address_field, ether_type, length_field, packet_type, version_of_sets};
use super::numbers::{self as n, attribute as a};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::nft::{
    BaseChain, ChainKind, Device, Family, Hook, Match, PacketType, Rule, SetKey, Verdict, Version,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the register holds between two expressions.
enum Loaded {
    Nothing,
    Address {
        source: bool,
        version: Version,
    },
    Length(Version),
    Version,
    PacketType,
    Protocol,
    Port {
        source: bool,
    },
    /// A random number below this, in network order or not yet.
    Random {
        of: u32,
        ordered: bool,
    },
    Interface {
        input: bool,
    },
    Fib {
        source: bool,
    },
}

/// The rule in a `NEWRULE` message.
pub(super) fn rule(attributes: Attributes<'_>, family: Family) -> Rule {
    let mut reader = RuleReader { family, loaded: Loaded::Nothing, matches: vec![], verdict: None };
    let mut counters = 0;
    for (_, item) in attributes.nested(a::RULE_EXPRESSIONS) {
        let expression = Attributes(item);
        let name = expression.text(a::EXPRESSION_NAME).unwrap_or("nameless");
        let data = expression.nested(a::EXPRESSION_DATA);
        let known = match name {
            // Conditions, one counter, a verdict: any other order is not ours.
            "counter" => {
                counters += 1;
                reader.verdict.is_none() && matches!(reader.loaded, Loaded::Nothing)
            }
            "immediate" | "masq" => counters == 1 && reader.end(name, data),
            _ => counters == 0 && reader.condition(name, data).is_some(),
        };
        if !known {
            reader.matches.push(Match::Foreign(name.to_owned()));
        }
    }
    if counters != 1 {
        reader.matches.push(Match::Foreign(format!("{counters} counters")));
    }
    let comment = comment(attributes.get(a::RULE_USERDATA).unwrap_or_default());
    let comment = comment.unwrap_or_else(|| {
        reader.matches.push(Match::Foreign("user data".to_owned()));
        String::new()
    });
    Rule { matches: reader.matches, verdict: reader.verdict.unwrap_or(Verdict::Continue), comment }
}

struct RuleReader {
    family: Family,
    loaded: Loaded,
    matches: Vec<Match>,
    verdict: Option<Verdict>,
}

impl RuleReader {
    /// Takes an expression that loads or compares; `None` if it is foreign.
    fn condition(&mut self, name: &str, data: Attributes<'_>) -> Option<()> {
        let register = |kind| (data.number(kind)? == n::REGISTER).then_some(());
        match name {
            "payload" => {
                register(1)?;
                let field = (data.number(3)?, data.number(4)?);
                let loaded = match data.number(2)? {
                    n::PAYLOAD_NETWORK => self.header_field(field)?,
                    n::PAYLOAD_TRANSPORT if field == (0, 2) => Loaded::Port { source: true },
                    n::PAYLOAD_TRANSPORT if field == (2, 2) => Loaded::Port { source: false },
                    _ => return None,
                };
                self.load(loaded)
            }
            "meta" => {
                register(1)?;
                self.load(match data.number(2)? {
                    n::META_L4PROTO => Loaded::Protocol,
                    n::META_PROTOCOL => Loaded::Version,
                    n::META_PACKET_TYPE => Loaded::PacketType,
                    n::META_IIFNAME => Loaded::Interface { input: true },
                    n::META_OIFNAME => Loaded::Interface { input: false },
                    _ => return None,
                })
            }
            "fib" => {
                register(1)?;
                (data.number(2)? == n::FIB_RESULT_TYPE).then_some(())?;
                self.load(match data.number(3)? {
                    n::FIB_SOURCE => Loaded::Fib { source: true },
                    n::FIB_DESTINATION => Loaded::Fib { source: false },
                    _ => return None,
                })
            }
            "numgen" => {
                register(1)?;
                let plain = (data.number(3)?, data.number(4).unwrap_or(0)) == (n::RANDOM, 0);
                plain.then_some(())?;
                self.load(Loaded::Random { of: data.number(2)?, ordered: false })
            }
            "byteorder" => {
                register(1)?;
                register(2)?;
                let how = (data.number(3)?, data.number(4)?, data.number(5)?);
                (how == (n::TO_NETWORK_ORDER, 4, 4)).then_some(())?;
                match &mut self.loaded {
                    Loaded::Random { ordered: ordered @ false, .. } => *ordered = true,
                    _ => return None,
                }
                Some(())
            }
            "cmp" => {
                register(1)?;
                let value = data.nested(3).get(a::DATA_VALUE)?;
                let condition = self.compared(data.number(2)?, value)?;
                self.matches.push(condition);
                Some(())
            }
            "lookup" => {
                register(2)?;
                let set = data.text(1)?.to_owned();
                let not = match data.number(5).unwrap_or(0) {
                    0 => false,
                    n::LOOKUP_INVERTED => true,
                    _ => return None,
                };
                let is_map = data.get(3).is_some();
                let loaded = std::mem::replace(&mut self.loaded, Loaded::Nothing);
                self.matches.push(match loaded {
                    _ if is_map => return None,
                    Loaded::Address { source: true, .. } => Match::SourceInSet { set, not },
                    Loaded::Address { source: false, .. } => Match::DestinationInSet { set, not },
                    _ => return None,
                });
                Some(())
            }
            _ => None,
        }
    }

    /// A field of the IP header of the version that the table or the rule is about.
    fn header_field(&self, field: (u32, u32)) -> Option<Loaded> {
        let version = version_of_sets(self.family).or_else(|| match self.matches.last()? {
            Match::Version(version) => Some(*version),
            before => before.version(),
        })?;
        Some(if field == address_field(version, true) {
            Loaded::Address { source: true, version }
        } else if field == address_field(version, false) {
            Loaded::Address { source: false, version }
        } else if field == length_field(version) {
            Loaded::Length(version)
        } else {
            return None;
        })
    }

    fn load(&mut self, loaded: Loaded) -> Option<()> {
        matches!(self.loaded, Loaded::Nothing).then(|| self.loaded = loaded)
    }

    fn compared(&mut self, operation: u32, value: &[u8]) -> Option<Match> {
        let loaded = std::mem::replace(&mut self.loaded, Loaded::Nothing);
        let not = match (operation, &loaded) {
            (n::COMPARE_EQUAL, _) => false,
            (n::COMPARE_NOT_EQUAL, _) => true,
            (n::COMPARE_GREATER, Loaded::Length(version)) => {
                let bytes = u16::from_be_bytes(value.try_into().ok()?);
                return Some(Match::LengthAbove { version: *version, bytes });
            }
            (n::COMPARE_LESS, Loaded::Random { of, ordered: true }) => {
                let below = u32::from_be_bytes(value.try_into().ok()?);
                return Some(Match::Random { below, of: *of });
            }
            _ => return None,
        };
        match (loaded, not) {
            (Loaded::Address { source, version }, not) => {
                let address = address(value).filter(|found| Version::of(*found) == version)?;
                Some(match source {
                    true => Match::SourceAddress { address, not },
                    false => Match::DestinationAddress { address, not },
                })
            }
            (Loaded::Version, false) => [Version::V4, Version::V6]
                .into_iter()
                .find(|version| value == ether_type(*version).to_be_bytes())
                .map(Match::Version),
            (Loaded::PacketType, false) => [PacketType::Broadcast, PacketType::Multicast]
                .into_iter()
                .find(|kind| value == [packet_type(*kind)])
                .map(Match::PacketType),
            (Loaded::Fib { source }, not) => {
                (value == n::ROUTE_LOCAL.to_ne_bytes()).then_some(())?;
                Some(match source {
                    true => Match::SourceIsLocal { not },
                    false => Match::DestinationIsLocal { not },
                })
            }
            (Loaded::Protocol, false) => match value {
                [number] => Some(Match::Protocol(*number)),
                _ => None,
            },
            (Loaded::Port { source }, false) => {
                let port = u16::from_be_bytes(value.try_into().ok()?);
                Some(match source {
                    true => Match::SourcePort(port),
                    false => Match::DestinationPort(port),
                })
            }
            (Loaded::Interface { input }, false) => {
                let name = interface(value)?;
                Some(match input {
                    true => Match::InputInterface(name),
                    false => Match::OutputInterface(name),
                })
            }
            _ => None,
        }
    }

    /// Takes the expression that ends the rule.
    fn end(&mut self, name: &str, data: Attributes<'_>) -> bool {
        let verdict = match name {
            _ if self.verdict.is_some() => None,
            "masq" => {
                let ports = data.get(2).is_some();
                (data.number(1) == Some(n::FULLY_RANDOM) && !ports).then_some(Verdict::Masquerade)
            }
            _ => verdict(data),
        };
        let known = verdict.is_some();
        self.verdict = self.verdict.take().or(verdict);
        known
    }
}

fn interface(value: &[u8]) -> Option<String> {
    if value.len() != n::INTERFACE_BYTES {
        return std::str::from_utf8(value).ok().map(|prefix| format!("{prefix}*"));
    }
    let name = value.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}

fn verdict(data: Attributes<'_>) -> Option<Verdict> {
    (data.number(1)? == n::REGISTER_VERDICT).then_some(())?;
    let verdict = data.nested(2).nested(a::DATA_VERDICT);
    let code = i32::from_be_bytes(verdict.get(a::VERDICT_CODE)?.try_into().ok()?);
    let chain = || verdict.text(a::VERDICT_CHAIN).map(str::to_owned);
    Some(match code {
        n::ACCEPT => Verdict::Accept,
        n::DROP => Verdict::Drop,
        n::RETURN => Verdict::Return,
        n::JUMP => Verdict::Jump(chain()?),
        n::GOTO => Verdict::Goto(chain()?),
        _ => return None,
    })
}

/// The comment in a rule's user data; `None` if there is anything else in it.
fn comment(userdata: &[u8]) -> Option<String> {
    match userdata {
        [] => Some(String::new()),
        [n::USERDATA_COMMENT, length, text @ .., 0] if text.len() + 1 == usize::from(*length) => {
            std::str::from_utf8(text).ok().map(str::to_owned)
        }
        _ => None,
    }
}

/// Packets that the counter of a `NEWRULE` message's rule has seen.
pub(super) fn counted(attributes: Attributes<'_>) -> Option<u64> {
    let mut expressions = attributes.nested(a::RULE_EXPRESSIONS).map(|(_, item)| Attributes(item));
    let counter = expressions.find(|found| found.text(a::EXPRESSION_NAME) == Some("counter"))?;
    let packets = counter.nested(a::EXPRESSION_DATA).get(a::COUNTER_PACKETS)?;
    packets.try_into().ok().map(u64::from_be_bytes)
}

/// The base of a `NEWCHAIN` message's chain.
pub(super) fn base(attributes: Attributes<'_>, family: Family) -> Option<BaseChain> {
    let hook = Attributes(attributes.get(a::CHAIN_HOOK)?);
    let priority = hook.number(a::HOOK_PRIORITY).unwrap_or(0).cast_signed();
    // Absent for a chain of several devices, or of none that is there.
    let device = hook.text(a::HOOK_DEVICE).and_then(Device::new);
    let (known, hook) = match (family, hook.number(a::HOOK_NUMBER), device) {
        (Family::Netdev, Some(0), Some(device)) => (true, Hook::Ingress(device)),
        (Family::Netdev, Some(1), Some(device)) => (true, Hook::Egress(device)),
        (Family::Netdev, ..) => (false, Hook::Prerouting),
        (_, Some(0), _) => (true, Hook::Prerouting),
        (_, Some(1), _) => (true, Hook::Input),
        (_, Some(2), _) => (true, Hook::Forward),
        (_, Some(3), _) => (true, Hook::Output),
        (_, Some(4), _) => (true, Hook::Postrouting),
        _ => (false, Hook::Prerouting),
    };
    let accepts = attributes.number(a::CHAIN_POLICY) == Some(n::ACCEPT.cast_unsigned());
    let kind = match attributes.text(a::CHAIN_TYPE) {
        _ if !known || !accepts => ChainKind::Foreign,
        Some("filter") => ChainKind::Filter,
        Some("nat") => ChainKind::Nat,
        Some("route") => ChainKind::Route,
        _ => ChainKind::Foreign,
    };
    Some(BaseChain { kind, hook, priority })
}

/// Key and whether it is of intervals, of a `NEWSET` message's set.
pub(super) fn set(attributes: Attributes<'_>, family: Family) -> (SetKey, bool) {
    let flags = attributes.number(a::SET_FLAGS).unwrap_or(0);
    let key = match (attributes.number(a::SET_KEY_TYPE), family) {
        _ if flags & !n::SET_INTERVAL != 0 => SetKey::Foreign,
        (Some(n::TYPE_IPV4), Family::Ip) | (Some(n::TYPE_IPV6), Family::Ip6) => SetKey::Address,
        _ => SetKey::Foreign,
    };
    (key, flags & n::SET_INTERVAL != 0)
}

/// One item of a set's dump: an address, and whether it is the first after an interval.
pub(super) type Item = (IpAddr, bool);

/// One item of a `NEWSETELEM` message; `None` if it is more than an address.
pub(super) fn item(attributes: Attributes<'_>) -> Option<Item> {
    let flags = attributes.number(a::ELEMENT_FLAGS).unwrap_or(0);
    let known = [a::ELEMENT_KEY, a::ELEMENT_FLAGS, a::ELEMENT_USERDATA];
    if flags & !n::ELEMENT_INTERVAL_END != 0
        || attributes.into_iter().any(|(kind, _)| !known.contains(&kind))
    {
        return None;
    }
    let key = attributes.nested(a::ELEMENT_KEY).get(a::DATA_VALUE)?;
    Some((address(key)?, flags & n::ELEMENT_INTERVAL_END != 0))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    Some(match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    })
}

/// A set's members from the items of its dump; `None` if an interval is not a prefix.
pub(super) fn members(mut items: Vec<Item>, interval: bool) -> Option<BTreeSet<IpNet>> {
    if !interval {
        return Some(items.into_iter().map(|(address, _)| IpNet::from(address)).collect());
    }
    // The end of one interval may be the start of the next: ends first.
    items.sort_by_key(|(address, end)| (*address, !*end));
    let mut members = BTreeSet::new();
    let mut open: Option<IpAddr> = None;
    for (address, end) in items {
        match (open.take(), end) {
            (Some(start), true) => {
                members.insert(prefix(start, Some(address))?);
            }
            // nft begins a set with an end that ends nothing, at the lowest address.
            (None, true) => {}
            (None, false) => open = Some(address),
            (Some(_), false) => return None,
        }
    }
    if let Some(start) = open {
        members.insert(prefix(start, None)?);
    }
    Some(members)
}

/// The prefix from `start` to before `end`, or to the last address.
fn prefix(start: IpAddr, end: Option<IpAddr>) -> Option<IpNet> {
    match (start, end) {
        (IpAddr::V4(start), end) => {
            let last = match end {
                Some(IpAddr::V4(end)) => end.to_bits().checked_sub(1)?,
                _ => u32::MAX,
            };
            let length = (start.to_bits() ^ last).leading_zeros();
            let net = Ipv4Net::new(start, u8::try_from(length).ok()?).ok()?;
            (net.network() == start && net.broadcast().to_bits() == last).then_some(net.into())
        }
        (IpAddr::V6(start), end) => {
            let last = match end {
                Some(IpAddr::V6(end)) => end.to_bits().checked_sub(1)?,
                _ => u128::MAX,
            };
            let length = (start.to_bits() ^ last).leading_zeros();
            let net = Ipv6Net::new(start, u8::try_from(length).ok()?).ok()?;
            (net.network() == start && net.broadcast().to_bits() == last).then_some(net.into())
        }
    }
}
