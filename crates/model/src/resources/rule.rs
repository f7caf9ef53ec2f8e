//! The rules of policies and profiles: what they match, and what happens then.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// What a rule does with packets that match.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Action {
    /// They may pass, as far as this direction goes.
    Allow,
    /// They are dropped.
    Deny,
    /// They are reported, and the next rule is looked at.
    Log,
    /// The next tier decides; after the last one, the profiles.
    Pass,
}

/// One rule (Calico reference, "Rule"); a condition that isn't given is met, and all must be met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What happens to packets that match.
    pub action: Action,
    /// 4 or 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// The packet's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<IpProtocol>,
    /// The ICMP message's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpFields>,
    /// Any other protocol than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_protocol: Option<IpProtocol>,
    /// Any other ICMP message than this kind.
    #[serde(rename = "notICMP", skip_serializing_if = "Option::is_none")]
    pub not_icmp: Option<IcmpFields>,
    /// Where packets come from.
    #[serde(default)]
    pub source: EntityRule,
    /// Where they go.
    #[serde(default)]
    pub destination: EntityRule,
    /// The HTTP request; only application-layer policy looks at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMatch>,
    /// What is said about the rule itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RuleMetadata>,
}

impl Rule {
    /// A rule that matches everything.
    pub fn new(action: Action) -> Rule {
        Rule {
            action,
            ip_version: None,
            protocol: None,
            icmp: None,
            not_protocol: None,
            not_icmp: None,
            source: EntityRule::default(),
            destination: EntityRule::default(),
            http: None,
            metadata: None,
        }
    }

    /// The rule's name: its annotation `name`, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.metadata.as_ref()?.annotations.get(NAME_ANNOTATION).map(String::as_str)
    }
}

/// The annotation of a rule that names it.
pub const NAME_ANNOTATION: &str = "name";

/// One end of a packet; a condition that isn't given is met, and all must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EntityRule {
    /// Its address is in one of these ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
    /// It is an endpoint or network set with such labels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// It is in a namespace with such labels; `global()`: in none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace_selector: String,
    /// It is a backend of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceMatch>,
    /// Its port is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Its address is in none of these ranges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_nets: Vec<String>,
    /// It is no endpoint or network set with such labels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_selector: String,
    /// Its port is none of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ports: Vec<Port>,
    /// It runs with such a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountMatch>,
}

/// A Kubernetes service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceMatch {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace; default: that of the policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Service accounts, by name and by label; both must hold where both are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceAccountMatch {
    /// One of these names; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels of the account; empty: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
}

/// The kind of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IcmpFields {
    /// The type, from 0 to 254.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<u8>,
    /// The code, where a type is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpMatch {
    /// One of these methods; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// One of these paths; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HttpPath>,
}

/// A path of an HTTP request: exactly one of the two is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpPath {
    /// All of the path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exact: String,
    /// What the path begins with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// What is said about a rule itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RuleMetadata {
    /// Key-value pairs; `name` is the rule's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An IP protocol as it is written: by name, in any case, or by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpProtocol {
    /// `TCP`, 6.
    Tcp,
    /// `UDP`, 17.
    Udp,
    /// `ICMP`, 1.
    Icmp,
    /// `ICMPv6`, 58.
    Icmpv6,
    /// `SCTP`, 132.
    Sctp,
    /// `UDPLite`, 136.
    UdpLite,
    /// Any, by its number.
    Number(u8),
    /// A name that Calico does not know; validation refuses it.
    Other(Box<str>),
}

impl IpProtocol {
    const NAMED: [(&'static str, u8, IpProtocol); 6] = [
        ("TCP", 6, IpProtocol::Tcp),
        ("UDP", 17, IpProtocol::Udp),
        ("ICMP", 1, IpProtocol::Icmp),
        ("ICMPv6", 58, IpProtocol::Icmpv6),
        ("SCTP", 132, IpProtocol::Sctp),
        ("UDPLite", 136, IpProtocol::UdpLite),
    ];

    /// The protocol that a text means: a known name, a number, or another name.
    pub fn parse(text: &str) -> IpProtocol {
        let known = Self::NAMED.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(text));
        match (known, text.parse()) {
            (Some((.., protocol)), _) => protocol,
            (None, Ok(number)) => IpProtocol::Number(number),
            (None, Err(_)) => IpProtocol::Other(text.into()),
        }
    }

    /// Its number; `None` for a name that Calico does not know.
    pub fn number(&self) -> Option<u8> {
        match self {
            IpProtocol::Number(number) => Some(*number),
            named => Self::NAMED.iter().find(|(.., known)| known == named).map(|(_, n, _)| *n),
        }
    }

    /// Whether its packets have ports: TCP, UDP and SCTP.
    pub fn has_ports(&self) -> bool {
        matches!(self.number(), Some(6 | 17 | 132))
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpProtocol::Number(number) => write!(f, "{number}"),
            IpProtocol::Other(name) => f.write_str(name),
            named => {
                let known = Self::NAMED.iter().find(|(.., known)| known == named);
                f.write_str(known.map_or("", |(name, ..)| name))
            }
        }
    }
}

impl Serialize for IpProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            IpProtocol::Number(number) => serializer.serialize_u8(*number),
            named => serializer.collect_str(named),
        }
    }
}

impl JsonSchema for IpProtocol {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IpProtocol".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        crate::definitions::number_or_text("A protocol: its name, or its number from 1 to 255.")
    }
}

impl<'de> Deserialize<'de> for IpProtocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IpProtocol, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = IpProtocol;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1 to 255")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<IpProtocol, E> {
                Ok(IpProtocol::parse(text))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<IpProtocol, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
                number.try_into().map(IpProtocol::Number).map_err(|_| wrong())
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Ports as rules name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// From first to last, both included; written `80`, or `"8000:8080"`.
    Range(u16, u16),
    /// The port that the endpoint calls so.
    Named(String),
}

/// The longest name of a port.
const PORT_NAME_MAX: usize = 128;

impl Port {
    /// One port.
    pub const fn single(port: u16) -> Port {
        Port::Range(port, port)
    }

    /// Reads `80`, `8000:8080` or a name of 1–128 letters, digits, `_`, `.` and `-`; `None` for
    /// anything else, and for a range that ends before it begins.
    pub fn parse(text: &str) -> Option<Port> {
        let number = |digits: &str| {
            let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            all_digits.then(|| digits.parse::<u16>().ok())
        };
        if let Some(port) = number(text) {
            return port.map(Port::single);
        }
        if let Some((first, last)) = text.split_once(':') {
            let (first, last) = (number(first)??, number(last)??);
            return (first <= last).then_some(Port::Range(first, last));
        }
        is_port_name(text).then(|| Port::Named(text.to_owned()))
    }
}

/// Whether a port may be called so: 1–128 letters, digits, `_`, `.` and `-`.
pub(crate) fn is_port_name(text: &str) -> bool {
    (1..=PORT_NAME_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Range(first, last) if first == last => write!(f, "{first}"),
            Port::Range(first, last) => write!(f, "{first}:{last}"),
            Port::Named(name) => f.write_str(name),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Port::Range(first, last) if first == last => serializer.serialize_u16(*first),
            other => serializer.collect_str(other),
        }
    }
}

impl JsonSchema for Port {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        crate::definitions::number_or_text(
            "A port: a number, a range such as 8000:8080, or the name of a port.",
        )
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port (80), a range (\"8000:8080\") or the name of a port")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Port, E> {
                Port::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Port, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
                number.try_into().map(Port::single).map_err(|_| wrong())
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_read_and_written_as_calico_does() {
        for (written, port, again) in [
            (json!(80), Port::single(80), json!(80)),
            (json!("80"), Port::single(80), json!(80)),
            (json!("0:65535"), Port::Range(0, 65535), json!("0:65535")),
            (json!("7:7"), Port::single(7), json!(7)),
            (json!("http"), Port::Named("http".to_owned()), json!("http")),
            (json!("8080-tcp_x.y"), Port::Named("8080-tcp_x.y".to_owned()), json!("8080-tcp_x.y")),
        ] {
            assert_eq!(serde_json::from_value::<Port>(written.clone()).unwrap(), port, "{written}");
            assert_eq!(serde_json::to_value(port).unwrap(), again);
        }
        let long = "x".repeat(129);
        for wrong in ["", "65536", "2:1", "1:", ":", "a:b", "1:2:3", "a b", "+1", "é", &long] {
            assert!(serde_json::from_value::<Port>(json!(wrong)).is_err(), "{wrong}");
        }
        for wrong in [json!(65536), json!(-1), json!(1.5), json!(true), json!([1])] {
            assert!(serde_json::from_value::<Port>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn protocols_are_read_and_written_as_calico_does() {
        for (written, number, again) in [
            (json!("tcp"), Some(6), json!("TCP")),
            (json!("UDPLITE"), Some(136), json!("UDPLite")),
            (json!("icmpv6"), Some(58), json!("ICMPv6")),
            (json!(6), Some(6), json!(6)),
            (json!("17"), Some(17), json!(17)),
            (json!("foo"), None, json!("foo")),
        ] {
            let read: IpProtocol = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(read.number(), number, "{written}");
            assert_eq!(serde_json::to_value(read).unwrap(), again);
        }
        for wrong in [json!(256), json!(-1), json!(null), json!({})] {
            assert!(serde_json::from_value::<IpProtocol>(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(IpProtocol::Number(132).has_ports() && !IpProtocol::UdpLite.has_ports());
    }
}
