//! Failsafe ports: what reaches a host, and what a host reaches, whatever policy says.

use super::setting::{FromSetting, Setting};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A port that no policy of a host endpoint closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FailsafePort {
    /// IP protocol number: 6, 17 or 132.
    pub protocol: u8,
    /// The other end's addresses; `None`: any, of either family.
    pub net: Option<IpNet>,
    /// The port.
    pub port: u16,
}

const PROTOCOLS: [(&str, u8); 3] = [("tcp", 6), ("udp", 17), ("sctp", 132)];

/// A port as FelixConfiguration has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    protocol: String,
    port: u16,
    #[serde(default)]
    net: String,
}

impl FailsafePort {
    /// Reads the environment's form: `22`, `tcp:22`, `udp:10.0.0.0/8:68` or `tcp:[fd00::/8]:22`.
    fn parse(text: &str) -> Option<FailsafePort> {
        let Some((protocol, rest)) = text.split_once(':') else {
            return FailsafePort::new("tcp", "", text.parse().ok()?);
        };
        let (net, port) = match rest.rsplit_once(':') {
            None => ("", rest),
            Some((net, port)) => {
                let inner = net.strip_prefix('[').and_then(|net| net.strip_suffix(']'));
                (inner.unwrap_or(net), port)
            }
        };
        FailsafePort::new(protocol, net, port.parse().ok()?)
    }

    fn new(protocol: &str, net: &str, port: u16) -> Option<FailsafePort> {
        let known = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(protocol))?;
        let net = match net {
            "" => None,
            text => Some(text.parse::<IpNet>().ok()?.trunc()),
        };
        Some(FailsafePort { protocol: known.1, net, port })
    }
}

impl fmt::Display for FailsafePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = PROTOCOLS.iter().find(|(_, number)| *number == self.protocol);
        f.write_str(known.map_or("", |(name, _)| name))?;
        match self.net {
            None => write!(f, ":{}", self.port),
            Some(net @ IpNet::V4(_)) => write!(f, ":{net}:{}", self.port),
            Some(net @ IpNet::V6(_)) => write!(f, ":[{net}]:{}", self.port),
        }
    }
}

/// The environment's form of a list, if it is one.
pub(super) fn parse_list(text: &str) -> Option<Vec<FailsafePort>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(FailsafePort::parse).collect()
}

/// The list of objects that FelixConfiguration has, in the environment's form.
pub(super) fn list_to_text(value: &serde_json::Value) -> Option<String> {
    let fields: Vec<Field> = serde_json::from_value(value.clone()).ok()?;
    let ports = fields.iter().map(|field| {
        FailsafePort::new(&field.protocol, &field.net, field.port).map(|port| port.to_string())
    });
    Some(ports.collect::<Option<Vec<_>>>()?.join(","))
}

/// Unset is the empty list.
impl FromSetting for Vec<FailsafePort> {
    fn from_setting(setting: &Setting) -> Option<Vec<FailsafePort>> {
        parse_list(&String::from_setting(setting)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_are_read() {
        for (text, canonical) in [
            ("", ""),
            ("22", "tcp:22"),
            (" TCP:22, udp:53,", "tcp:22,udp:53"),
            ("sctp:10.1.2.3/8:7", "sctp:10.0.0.0/8:7"),
            ("tcp:[fd00::/8]:22", "tcp:[fd00::/8]:22"),
        ] {
            let ports = parse_list(text).unwrap();
            let written: Vec<_> = ports.iter().map(FailsafePort::to_string).collect();
            assert_eq!(written.join(","), canonical, "{text}");
            assert_eq!(parse_list(canonical), Some(ports));
        }
        for text in ["icmp:1", "tcp:", "tcp:x", "tcp:70000", "tcp:10.0.0.0/33:1", "a:b:c:d"] {
            assert_eq!(parse_list(text), None, "{text}");
        }
        let list = json!([{"protocol": "TCP", "port": 22}, {"protocol": "udp", "port": 1, "net": "fd00::/8"}]);
        assert_eq!(list_to_text(&list).as_deref(), Some("tcp:22,udp:[fd00::/8]:1"));
        for wrong in [
            json!([{"protocol": "ICMP", "port": 22}]),
            json!([{"protocol": "TCP"}]),
            json!([{"protocol": "TCP", "port": 22, "host": "a"}]),
            json!([22]),
            json!({}),
        ] {
            assert_eq!(list_to_text(&wrong), None, "{wrong}");
        }
    }
}
