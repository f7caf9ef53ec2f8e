//! Rules from their expressions.

use super::register::{Loaded, address_bits, ports};
use super::verdict;
use crate::nft::attribute::Attributes;
use crate::nft::encode::{
    DESTINATION_PORT, ICMP_TYPE, ICMP_TYPE_AND_CODE, SOURCE_PORT, address_field, length_field,
    registers_after, rejection, seconds, version_of_sets,
};
use crate::nft::numbers::{self as n, attribute as a};
use kernel::nft::{Family, MapField, Match, Period, Rejection, Rule, Statement, Verdict, Version};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The rule in a `NEWRULE` message.
pub(in crate::nft) fn rule(attributes: Attributes<'_>, family: Family) -> Rule {
    let mut reader = RuleReader {
        family,
        loaded: Loaded::Nothing,
        matches: vec![],
        statements: vec![],
        verdict: None,
    };
    let mut counters = 0;
    for (_, item) in attributes.nested(a::RULE_EXPRESSIONS) {
        let expression = Attributes(item);
        let name = expression.text(a::EXPRESSION_NAME).unwrap_or("nameless");
        let data = expression.nested(a::EXPRESSION_DATA);
        // Conditions, one counter, statements, a verdict: any other order is not ours.
        let known = match (name, counters) {
            ("counter", _) => {
                counters += 1;
                reader.is_between()
            }
            (_, 0) => reader.condition(name, data).is_some(),
            _ => reader.verdict.is_none() && reader.statement(name, data).is_some(),
        };
        if !known {
            reader.matches.push(Match::Foreign(name.to_owned()));
        }
    }
    if counters != 1 || reader.loaded != Loaded::Nothing {
        reader.matches.push(Match::Foreign(format!("{counters} counters")));
    }
    let comment = comment(attributes.get(a::RULE_USERDATA).unwrap_or_default());
    let comment = comment.unwrap_or_else(|| {
        reader.matches.push(Match::Foreign("user data".to_owned()));
        String::new()
    });
    let RuleReader { matches, statements, verdict, .. } = reader;
    Rule { matches, statements, verdict: verdict.unwrap_or(Verdict::Continue), comment }
}

struct RuleReader {
    family: Family,
    loaded: Loaded,
    matches: Vec<Match>,
    statements: Vec<Statement>,
    verdict: Option<Verdict>,
}

impl RuleReader {
    /// Whether one part of the rule has ended and no other has begun.
    fn is_between(&self) -> bool {
        self.loaded == Loaded::Nothing && self.verdict.is_none()
    }

    /// Takes an expression before the counter; `None` if it is foreign.
    fn condition(&mut self, name: &str, data: Attributes<'_>) -> Option<()> {
        match name {
            "payload" => self.payload(data),
            "meta" => self.meta(data),
            "ct" => {
                register(data, 1)?;
                let mask = u32::MAX;
                self.load(match data.only(&[1, 2])?.number(2)? {
                    n::CONNECTION_STATE => Loaded::ConnectionState { mask },
                    n::CONNECTION_STATUS => Loaded::ConnectionStatus { mask },
                    _ => return None,
                })
            }
            "bitwise" => self.bitwise(data),
            "fib" => {
                register(data, 1)?;
                self.load(match (data.number(2)?, data.number(3)?) {
                    (n::FIB_RESULT_TYPE, n::FIB_SOURCE) => Loaded::Locality { source: true },
                    (n::FIB_RESULT_TYPE, n::FIB_DESTINATION) => Loaded::Locality { source: false },
                    (n::FIB_RESULT_OIF, flags) if flags == n::FIB_SOURCE | n::FIB_INPUT => {
                        Loaded::ReversePath
                    }
                    _ => return None,
                })
            }
            "numgen" => {
                register(data, 1)?;
                let plain = (data.number(3)?, data.number(4).unwrap_or(0)) == (n::RANDOM, 0);
                plain.then_some(())?;
                self.load(Loaded::Random { of: data.number(2)?, ordered: false })
            }
            "byteorder" => {
                register(data, 1)?;
                register(data, 2)?;
                let how = (data.number(3)?, data.number(4)?, data.number(5)?);
                (how == (n::TO_NETWORK_ORDER, 4, 4)).then_some(())?;
                match &mut self.loaded {
                    Loaded::Random { ordered: ordered @ false, .. } => *ordered = true,
                    _ => return None,
                }
                Some(())
            }
            "cmp" => self.compare(data),
            "range" => self.range(data),
            "lookup" => self.lookup(data),
            "limit" => self.limit(data),
            _ => None,
        }
    }

    /// Takes an expression after the counter; `None` if it is foreign.
    fn statement(&mut self, name: &str, data: Attributes<'_>) -> Option<()> {
        match name {
            "meta" if data.get(3).is_some() => {
                (data.number(2)? == n::META_MARK).then_some(())?;
                register(data, 3)?;
                let Loaded::Mark { mask: kept, flipped } = self.take() else { return None };
                (kept & flipped == 0 && kept != u32::MAX).then_some(())?;
                self.statements.push(Statement::Mark { mask: !kept, value: flipped });
            }
            "meta" => return self.meta(data),
            "bitwise" => return self.bitwise(data),
            "log" => {
                let data = data.only(&[1, 2])?;
                let group = u16::from_be_bytes(data.get(1)?.try_into().ok()?);
                let prefix = data.text(2).unwrap_or_default().to_owned();
                self.is_between()
                    .then(|| self.statements.push(Statement::Log { group, prefix }))?;
            }
            "notrack" => self.is_between().then(|| self.statements.push(Statement::NoTrack))?,
            _ => self.verdict = Some(self.ending(name, data)?),
        }
        Some(())
    }

    /// The verdict that an expression makes, the last one of the rule.
    fn ending(&mut self, name: &str, data: Attributes<'_>) -> Option<Verdict> {
        let loaded = self.take();
        match (name, loaded) {
            ("immediate", Loaded::Nothing) => {
                (data.number(1)? == n::REGISTER_VERDICT).then_some(())?;
                // nft never writes `continue` in a rule.
                verdict(data.nested(2)).filter(|found| *found != Verdict::Continue)
            }
            ("masq", Loaded::Nothing) => {
                let plain = data.get(2).is_none() && data.number(1) == Some(n::FULLY_RANDOM);
                plain.then_some(Verdict::Masquerade)
            }
            ("reject", Loaded::Nothing) => {
                let code = data.get(2).and_then(|code| code.first()).copied().unwrap_or(0);
                let found = (data.number(1)?, code);
                let ours = [Rejection::PortUnreachable, Rejection::TcpReset];
                let how = ours.into_iter().find(|how| rejection(*how, self.family) == found);
                how.map(Verdict::Reject)
            }
            ("lookup", Loaded::Interface { input }) => {
                register(data, 2)?;
                let plain =
                    data.number(3)? == n::REGISTER_VERDICT && data.number(5).unwrap_or(0) == 0;
                let field =
                    if input { MapField::InputInterface } else { MapField::OutputInterface };
                let map = data.text(1).filter(|name| !name.starts_with("__"))?.to_owned();
                plain.then_some(Verdict::Map { field, map })
            }
            _ => None,
        }
    }

    fn payload(&mut self, data: Attributes<'_>) -> Option<()> {
        let field = (data.number(3)?, data.number(4)?);
        let (base, into) = (data.number(2)?, data.number(1)?);
        if let Loaded::AddressProtocol { source, version } = self.loaded {
            let port = if source { SOURCE_PORT } else { DESTINATION_PORT };
            let ours = (base, field, into);
            (ours == (n::PAYLOAD_TRANSPORT, port, registers_after(version).1)).then_some(())?;
            self.loaded = Loaded::AddressProtocolPort { source };
            return Some(());
        }
        register(data, 1)?;
        let loaded = match base {
            n::PAYLOAD_NETWORK => self.network_field(field)?,
            n::PAYLOAD_TRANSPORT => self.transport_field(field)?,
            _ => return None,
        };
        self.load(loaded)
    }

    /// A field of the IP header of the version that the table or the rule is about.
    fn network_field(&self, field: (u32, u32)) -> Option<Loaded> {
        let version = version_of_sets(self.family).or_else(|| match self.matches.last()? {
            Match::Version(version) => Some(*version),
            before => before.version(),
        })?;
        if field == length_field(version) {
            return Some(Loaded::Length(version));
        }
        let source = field.0 == address_field(version, true).0;
        let (offset, length) = address_field(version, source);
        let whole = field.0 == offset && (1..=length).contains(&field.1);
        let bits = u8::try_from(8 * field.1).ok()?;
        whole.then_some(Loaded::Address { source, version, bits, masked: false })
    }

    /// A field of the header of the protocol that the rule has asked for.
    fn transport_field(&self, field: (u32, u32)) -> Option<Loaded> {
        let protocol = self.matches.iter().find_map(|condition| match condition {
            Match::Protocol(number) => Some(*number),
            _ => None,
        });
        let version = match protocol {
            Some(ICMP) => Version::V4,
            Some(ICMPV6) => Version::V6,
            _ if field == SOURCE_PORT => return Some(Loaded::Port { source: true }),
            _ if field == DESTINATION_PORT => return Some(Loaded::Port { source: false }),
            _ => return None,
        };
        let ours = [(ICMP_TYPE, false), (ICMP_TYPE_AND_CODE, true)];
        let with_code = ours.into_iter().find(|(ours, _)| *ours == field)?.1;
        Some(Loaded::Icmp { version, with_code })
    }

    fn meta(&mut self, data: Attributes<'_>) -> Option<()> {
        let (key, into) = (data.number(2)?, data.number(1)?);
        if let Loaded::Address { source, version, bits, masked: false } = self.loaded {
            let whole = bits == address_bits(version);
            let ours = (key, into) == (n::META_L4PROTO, registers_after(version).0);
            (whole && ours).then_some(())?;
            self.loaded = Loaded::AddressProtocol { source, version };
            return Some(());
        }
        register(data, 1)?;
        self.load(match key {
            n::META_L4PROTO => Loaded::Protocol,
            n::META_PROTOCOL => Loaded::Version,
            n::META_PACKET_TYPE => Loaded::PacketType,
            n::META_MARK => Loaded::Mark { mask: u32::MAX, flipped: 0 },
            n::META_IIFNAME => Loaded::Interface { input: true },
            n::META_OIFNAME => Loaded::Interface { input: false },
            _ => return None,
        })
    }

    fn bitwise(&mut self, data: Attributes<'_>) -> Option<()> {
        register(data, 1)?;
        register(data, 2)?;
        // Other operations than masking and flipping are shifts.
        (data.number(6).unwrap_or(0) == 0).then_some(())?;
        let (mask, flipped) = (data.nested(4), data.nested(5));
        let loaded = self.take();
        self.loaded = loaded.masked(mask.get(a::DATA_VALUE)?, flipped.get(a::DATA_VALUE)?)?;
        Some(())
    }

    fn compare(&mut self, data: Attributes<'_>) -> Option<()> {
        register(data, 1)?;
        let (operation, value) = (data.number(2)?, data.nested(3).get(a::DATA_VALUE)?);
        match (self.take(), operation) {
            (Loaded::Port { source }, n::COMPARE_GREATER_EQUAL) => {
                let first = u16::from_be_bytes(value.try_into().ok()?);
                self.loaded = Loaded::PortFrom { source, first };
            }
            (loaded, _) => self.matches.push(loaded.compared(operation, value)?),
        }
        Some(())
    }

    fn range(&mut self, data: Attributes<'_>) -> Option<()> {
        register(data, 1)?;
        let Loaded::Port { source } = self.take() else { return None };
        (data.number(2)? == n::RANGE_NOT).then_some(())?;
        let port = |kind| {
            let value = data.nested(kind).get(a::DATA_VALUE)?;
            value.try_into().ok().map(u16::from_be_bytes)
        };
        self.matches.push(ports(source, port(3)?, port(4)?, true));
        Some(())
    }

    fn lookup(&mut self, data: Attributes<'_>) -> Option<()> {
        register(data, 2)?;
        let loaded = self.take();
        // With a third attribute it would be a map.
        data.get(3).is_none().then_some(())?;
        let not = match data.number(5).unwrap_or(0) {
            0 => false,
            n::LOOKUP_INVERTED => true,
            _ => return None,
        };
        // One without a name belongs to this rule alone.
        let set = data.text(1).filter(|name| !name.starts_with("__"))?;
        self.matches.push(loaded.looked_up(set.to_owned(), not)?);
        Some(())
    }

    fn limit(&mut self, data: Attributes<'_>) -> Option<()> {
        self.is_between().then_some(())?;
        let long = |kind| data.get(kind)?.try_into().ok().map(u64::from_be_bytes);
        let (rate, unit, burst) = (long(1)?, long(2)?, data.number(3)?);
        let plain = data.number(4).unwrap_or(0) == 0 && data.number(5).unwrap_or(0) == 0;
        plain.then_some(())?;
        let periods = [Period::Second, Period::Minute, Period::Hour, Period::Day];
        let per = periods.into_iter().find(|period| seconds(*period) == unit)?;
        self.matches.push(Match::Limit { rate, per, burst });
        Some(())
    }

    fn load(&mut self, loaded: Loaded) -> Option<()> {
        self.is_between().then(|| self.loaded = loaded)
    }

    fn take(&mut self) -> Loaded {
        std::mem::replace(&mut self.loaded, Loaded::Nothing)
    }
}

/// Whether an attribute names the register that everything of ours is loaded into.
fn register(data: Attributes<'_>, kind: u16) -> Option<()> {
    (data.number(kind)? == n::REGISTER).then_some(())
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
pub(in crate::nft) fn counted(attributes: Attributes<'_>) -> Option<u64> {
    let mut expressions = attributes.nested(a::RULE_EXPRESSIONS).map(|(_, item)| Attributes(item));
    let counter = expressions.find(|found| found.text(a::EXPRESSION_NAME) == Some("counter"))?;
    let packets = counter.nested(a::EXPRESSION_DATA).get(a::COUNTER_PACKETS)?;
    packets.try_into().ok().map(u64::from_be_bytes)
}
