//! Messages as values, and as bytes (RFC 4271, 4; RFC 4760, 6793, 4724, 2918, 1997, 8092, 4456).
//!
//! Decoding never panics and never allocates more than a small multiple of the message. A malformed
//! UPDATE is dealt with as RFC 7606 says: what must reset the session is a [`Notification`], what
//! must not is already applied to the [`Update`] (treat-as-withdraw, attribute discard).

mod as_path;
mod attributes;
mod header;
mod notification;
mod open;
mod pack;
mod prefix;
mod update;

pub use header::frame;
pub use notification::Cease;
pub use pack::{encode_announcement, encode_end_of_rib, encode_withdrawal};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Bytes of the longest message (RFC 4271, 4.1).
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 19;
/// Stands in OPEN's two-byte field for an AS that needs four (RFC 6793, 9).
pub const AS_TRANS: u16 = 23456;

/// An address family this speaker carries; both unicast (SAFI 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// AFI 1.
    Ipv4,
    /// AFI 2.
    Ipv6,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 1.
    Open(Open),
    /// Type 2.
    Update(Update),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5 (RFC 2918). `None`: a family we don't carry.
    RouteRefresh(Option<Family>),
}

/// OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS: of the four-octet capability where there is one.
    pub autonomous_system: u32,
    /// Seconds; 0 or at least 3.
    pub hold_time: u16,
    /// The sender's BGP identifier; never 0.
    pub router_id: Ipv4Addr,
    /// In the order sent.
    pub capabilities: Vec<Capability>,
}

/// A capability (RFC 5492).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760), of a family we carry.
    Multiprotocol(Family),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 64 (RFC 4724).
    GracefulRestart(GracefulRestart),
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Any other, as it came.
    Other {
        /// Its code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

/// The graceful restart capability (RFC 4724, 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R: the sender has restarted.
    pub restarting: bool,
    /// N: hold timer and NOTIFICATION too keep routes (RFC 8538).
    pub notification: bool,
    /// Seconds the sender needs at most to come back; 12 bits.
    pub restart_time: u16,
    /// Families, and whether the sender kept forwarding (F).
    pub families: Vec<(Family, bool)>,
}

/// UPDATE, normalised: RFC 4760's attributes are taken apart into the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// No longer reachable, of both families. Holds what a malformed UPDATE announced, too
    /// (RFC 7606, "treat-as-withdraw").
    pub withdrawn: Vec<IpNet>,
    /// Reachable, by next hop: at most two items, of the classic field (IPv4) and of
    /// MP_REACH_NLRI. A prefix that is withdrawn in the same message counts as announced
    /// (RFC 4271, 4.3): take `withdrawn` first.
    pub announced: Vec<Announced>,
    /// Of all announced prefixes; `None` where there are none.
    pub attributes: Option<Attributes>,
    /// End-of-RIB of a family (RFC 4724, 2).
    pub end_of_rib: Option<Family>,
    /// What was wrong without ending the session (RFC 7606), for the log.
    pub tolerated: Vec<String>,
}

/// Prefixes with one next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Global next hop, of the prefixes' family.
    pub next_hop: IpAddr,
    /// Without host bits.
    pub prefixes: Vec<IpNet>,
}

/// Path attributes but for next hop and NLRI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, with four-octet numbers.
    pub as_path: Vec<AsSegment>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES, sorted.
    pub communities: Vec<u32>,
    /// Large communities (RFC 8092), sorted.
    pub large_communities: Vec<[u32; 3]>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456).
    pub cluster_list: Vec<Ipv4Addr>,
    /// Optional transitive attributes to be passed on, by type: flags, type and value. Those
    /// nobody here knows, with the Partial flag set, and extended communities (RFC 4360).
    pub unknown: Vec<(u8, u8, Vec<u8>)>,
}

/// ORIGIN.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Origin {
    /// 0.
    #[default]
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// One segment of AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AsSegment {
    /// In order, newest first.
    Sequence(Vec<u32>),
    /// Without order.
    Set(Vec<u32>),
}

/// NOTIFICATION (RFC 4271, 4.5, 6; RFC 4486).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// What the code calls for.
    pub data: Vec<u8>,
}

/// What both sides have agreed on that changes how UPDATEs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Both can AS numbers of four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The peer is of another AS, so that LOCAL_PREF and RFC 4456's attributes are none of its
    /// business (RFC 7606, 7).
    pub external: bool,
}

impl Message {
    /// Reads one message, all of it and nothing more (see [`frame`]).
    ///
    /// Of an UPDATE, families that were not agreed on are the caller's to leave out.
    ///
    /// # Errors
    /// The NOTIFICATION to end the session with (RFC 4271, 6; RFC 7606).
    pub fn decode(frame: &[u8], agreed: Agreed) -> Result<Message, Notification> {
        if header::frame(frame)? != Some(frame.len()) {
            let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
            return Err(Notification::new(1, 2, &length.to_be_bytes()));
        }
        let (header, body) = frame.split_at(HEADER_BYTES);
        Ok(match (header[HEADER_BYTES - 1], body) {
            (header::OPEN, body) => Message::Open(open::decode(body)?),
            (header::UPDATE, body) => Message::Update(update::decode(body, agreed)?),
            (header::NOTIFICATION, [code, subcode, data @ ..]) => {
                Message::Notification(Notification::new(*code, *subcode, data))
            }
            (header::ROUTE_REFRESH, [afi_high, afi_low, _reserved, safi]) => {
                Message::RouteRefresh(open::family(*afi_high, *afi_low, *safi))
            }
            _ => Message::Keepalive,
        })
    }

    /// Appends it to `out`.
    ///
    /// An OPEN's capabilities that don't fit are left out, as is ROUTE-REFRESH for `None`. An
    /// UPDATE becomes as many messages as it takes, as each is to hold one thing only
    /// (RFC 7606, 5.1); where attributes leave no room for a prefix, that is left out.
    pub fn encode(&self, agreed: Agreed, out: &mut Vec<u8>) {
        match self {
            Message::Open(open) => open::encode(open, out),
            Message::Update(update) => update.encode(agreed, out),
            Message::Notification(notification) => {
                let start = header::start(header::NOTIFICATION, out);
                out.extend_from_slice(&[notification.code, notification.subcode]);
                let data = &notification.data;
                out.extend_from_slice(&data[..data.len().min(notification::DATA_BYTES_MAX)]);
                header::finish(start, out);
            }
            Message::Keepalive => {
                let start = header::start(header::KEEPALIVE, out);
                header::finish(start, out);
            }
            Message::RouteRefresh(None) => {}
            Message::RouteRefresh(Some(family)) => {
                let start = header::start(header::ROUTE_REFRESH, out);
                out.extend_from_slice(&[0, open::afi(*family), 0, 1]);
                header::finish(start, out);
            }
        }
    }
}

impl Update {
    fn encode(&self, agreed: Agreed, out: &mut Vec<u8>) {
        let mut rest = self.withdrawn.as_slice();
        while !rest.is_empty() {
            rest = &rest[encode_withdrawal(rest, out)..];
        }
        let attributes = self.attributes.clone().unwrap_or_default();
        for Announced { next_hop, prefixes } in &self.announced {
            let mut rest = prefixes.as_slice();
            while !rest.is_empty() {
                match encode_announcement(&attributes, *next_hop, rest, agreed, out) {
                    0 => break,
                    taken => rest = &rest[taken..],
                }
            }
        }
        if let Some(family) = self.end_of_rib {
            encode_end_of_rib(family, out);
        }
    }
}
