//! NOTIFICATIONs by name, and in a person's words.

use super::{HEADER_BYTES, MESSAGE_BYTES_MAX, Notification};
use std::fmt;
use std::net::Ipv4Addr;

const CEASE: u8 = 6;
const HARD_RESET: u8 = 9;
/// Bytes of data that fit beside header, code and subcode.
pub(super) const DATA_BYTES_MAX: usize = MESSAGE_BYTES_MAX - HEADER_BYTES - 2;
/// Bytes of a shutdown's text (RFC 9003, 2): its length is one byte.
const TEXT_BYTES_MAX: usize = 255;

/// Why a session that is in order ends (RFC 4486, 8538, 9384): the subcode of Cease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cease {
    /// It sent more prefixes than it may.
    MaximumNumberOfPrefixesReached = 1,
    /// An operator has shut it down; [`Notification::shutdown`] adds the reason.
    AdministrativeShutdown = 2,
    /// It is no longer a peer here.
    PeerDeconfigured = 3,
    /// An operator resets it.
    AdministrativeReset = 4,
    /// A connection comes from a peer that may not connect now.
    ConnectionRejected = 5,
    /// The configuration has changed so that the session must start again.
    OtherConfigurationChange = 6,
    /// Two connections have met, this is the one to go (RFC 4271, 6.8).
    ConnectionCollisionResolution = 7,
    /// Memory or the like has run out.
    OutOfResources = 8,
}

impl Notification {
    /// Any NOTIFICATION. Data that doesn't fit is cut off.
    pub fn new(code: u8, subcode: u8, data: &[u8]) -> Notification {
        let data = data[..data.len().min(DATA_BYTES_MAX)].to_vec();
        Notification { code, subcode, data }
    }

    /// Cease, without a text.
    pub fn cease(why: Cease) -> Notification {
        Notification::new(CEASE, why as u8, &[])
    }

    /// Cease: Administrative Shutdown, with a text for the peer's operator (RFC 9003), of which
    /// the first 255 bytes are sent.
    pub fn shutdown(text: &str) -> Notification {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let mut data = vec![text.len() as u8];
        data.extend_from_slice(text.as_bytes());
        Notification::new(CEASE, Cease::AdministrativeShutdown as u8, &data)
    }

    /// Cease: Hard Reset (RFC 8538, 3): as `inner`, and routes are not to be kept.
    pub fn hard_reset(inner: &Notification) -> Notification {
        let mut data = vec![inner.code, inner.subcode];
        data.extend_from_slice(&inner.data);
        Notification::new(CEASE, HARD_RESET, &data)
    }

    /// Hold Timer Expired (RFC 4271, 6.5).
    pub fn hold_timer_expired() -> Notification {
        Notification::new(4, 0, &[])
    }

    /// OPEN Message Error: Bad Peer AS. The AS that the peer said is the data, as BIRD sends it
    /// (the RFC leaves it empty).
    pub fn bad_peer_as(autonomous_system: u32) -> Notification {
        Notification::new(2, 2, &autonomous_system.to_be_bytes())
    }

    /// OPEN Message Error: Bad BGP Identifier (RFC 6286, 2.2: zero, or the own one within an AS).
    pub fn bad_bgp_identifier(router_id: Ipv4Addr) -> Notification {
        Notification::new(2, 3, &router_id.octets())
    }

    /// OPEN Message Error: Unacceptable Hold Time.
    pub fn unacceptable_hold_time(seconds: u16) -> Notification {
        Notification::new(2, 6, &seconds.to_be_bytes())
    }

    /// OPEN Message Error: Unsupported Capability (RFC 5492, 5); `capability` as it is sent.
    pub fn unsupported_capability(capability: &[u8]) -> Notification {
        Notification::new(2, 7, capability)
    }

    /// Finite State Machine Error: a message of this type in OpenSent, OpenConfirm or Established
    /// (RFC 6608).
    pub fn unexpected_message(state: crate::status::SessionState, kind: u8) -> Notification {
        use crate::status::SessionState as S;
        let subcode = match state {
            S::OpenSent => 1,
            S::OpenConfirm => 2,
            S::Established => 3,
            S::Idle | S::Connect | S::Active => 0,
        };
        Notification::new(5, subcode, &[kind])
    }

    /// Whether it is Cease: Hard Reset, after which routes are not kept (RFC 8538, 4).
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (CEASE, HARD_RESET)
    }
}

/// In a person's words: the names of the RFCs, and what the data says.
impl fmt::Display for Notification {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (error, what) = names(self.code, self.subcode);
        match (error, self.code) {
            ("", code) => write!(formatter, "Error code {code}")?,
            (error, _) => formatter.write_str(error)?,
        }
        match (what, self.subcode) {
            ("", 0) => {}
            ("", subcode) => write!(formatter, ": subcode {subcode}")?,
            (what, _) => write!(formatter, ": {what}")?,
        }
        match self.detail() {
            Some(detail) => write!(formatter, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl Notification {
    /// What the data says, where that is known.
    fn detail(&self) -> Option<String> {
        let data = self.data.as_slice();
        Some(match (self.code, self.subcode, data) {
            (1, 2, [high, low]) => format!("length {}", u16::from_be_bytes([*high, *low])),
            (1, 3, [kind]) | (5, _, [kind]) => format!("message type {kind}"),
            (2, 1, [high, low]) => {
                format!("version {} is supported", u16::from_be_bytes([*high, *low]))
            }
            (2, 2, [0, 0, high, low] | [high, low]) => {
                let said = u16::from_be_bytes([*high, *low]);
                format!("AS {said} is not the one configured")
            }
            (2, 2, &[a, b, c, d]) => {
                let said = u32::from_be_bytes([a, b, c, d]);
                format!("AS {said} is not the one configured")
            }
            (2, 3, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
            (2, 6, [high, low]) => format!("{} seconds", u16::from_be_bytes([*high, *low])),
            (2, 7, [code, ..]) => format!("capability {code}"),
            (3, 3, [code]) | (3, 2 | 4..=9 | 11, [_, code, ..]) => {
                match super::attributes::name(*code) {
                    Some(name) => name.to_owned(),
                    None => format!("attribute {code}"),
                }
            }
            (CEASE, 1, &[_, family, _, a, b, c, d]) => {
                let version = if family == 2 { 6 } else { 4 };
                format!("at most {} of IPv{version}", u32::from_be_bytes([a, b, c, d]))
            }
            (CEASE, 2 | 4, [length, text @ ..]) => {
                let text = text.get(..usize::from(*length))?;
                let text = String::from_utf8_lossy(text);
                let printable: String = text.chars().filter(|c| !c.is_control()).collect();
                (!printable.is_empty()).then_some(printable)?
            }
            (CEASE, HARD_RESET, [code, subcode, data @ ..]) => {
                let inner = Notification::new(*code, *subcode, data);
                (!inner.is_hard_reset()).then(|| inner.to_string())?
            }
            _ => return None,
        })
    }
}

/// The names of a code and of its subcode; empty where there is none.
fn names(code: u8, subcode: u8) -> (&'static str, &'static str) {
    // The first of each list is subcode 1.
    let (error, subcodes): (&str, &[&str]) = match code {
        1 => (
            "Message Header Error",
            &["Connection Not Synchronized", "Bad Message Length", "Bad Message Type"],
        ),
        2 => ("OPEN Message Error", &OPEN_SUBCODES),
        3 => ("UPDATE Message Error", &UPDATE_SUBCODES),
        4 => ("Hold Timer Expired", &[]),
        5 => (
            "Finite State Machine Error",
            &[
                "Unexpected message in OpenSent",
                "Unexpected message in OpenConfirm",
                "Unexpected message in Established",
            ],
        ),
        CEASE => ("Cease", &CEASE_SUBCODES),
        7 => ("ROUTE-REFRESH Message Error", &["Invalid Message Length"]),
        8 => ("Send Hold Timer Expired", &[]),
        _ => ("", &[]),
    };
    let place = usize::from(subcode).checked_sub(1);
    (error, place.and_then(|place| subcodes.get(place)).copied().unwrap_or_default())
}

/// RFC 4271, 4.5; RFC 5492; RFC 9234.
const OPEN_SUBCODES: [&str; 11] = [
    "Unsupported Version Number",
    "Bad Peer AS",
    "Bad BGP Identifier",
    "Unsupported Optional Parameter",
    "Authentication Failure",
    "Unacceptable Hold Time",
    "Unsupported Capability",
    "",
    "",
    "",
    "Role Mismatch",
];

/// RFC 4271, 4.5; RFC 1771 for the two that it took away.
const UPDATE_SUBCODES: [&str; 11] = [
    "Malformed Attribute List",
    "Unrecognized Well-known Attribute",
    "Missing Well-known Attribute",
    "Attribute Flags Error",
    "Attribute Length Error",
    "Invalid ORIGIN Attribute",
    "AS Routing Loop",
    "Invalid NEXT_HOP Attribute",
    "Optional Attribute Error",
    "Invalid Network Field",
    "Malformed AS_PATH",
];

/// RFC 4486, 8538, 9384.
const CEASE_SUBCODES: [&str; 10] = [
    "Maximum Number of Prefixes Reached",
    "Administrative Shutdown",
    "Peer De-configured",
    "Administrative Reset",
    "Connection Rejected",
    "Other Configuration Change",
    "Connection Collision Resolution",
    "Out of Resources",
    "Hard Reset",
    "BFD Down",
];
