//! Rules: conditions, statements, verdicts.

use super::Version;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A rule: all `matches` must hold, then it counts, then come `statements`, then `verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Conditions in order, all of which must hold.
    pub matches: Vec<Match>,
    /// What is done to the packet before the verdict.
    pub statements: Vec<Statement>,
    /// What happens.
    pub verdict: Verdict,
    /// Why, as shown by `nft list`; at most 127 bytes.
    pub comment: String,
}

/// One condition of a rule.
///
/// What reads a port or ICMP's header needs a [`Match::Protocol`] before it, as fields of another
/// protocol's header would be compared otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// `ip saddr @set` or `!= @set`, of [`super::SetKey::Address`].
    SourceInSet {
        /// The set's name.
        set: String,
        /// The address is not in the set.
        not: bool,
    },
    /// `ip daddr @set` or `!= @set`, of [`super::SetKey::Address`].
    DestinationInSet {
        /// The set's name.
        set: String,
        /// The address is not in the set.
        not: bool,
    },
    /// `ip saddr . meta l4proto . th sport @set`, of [`super::SetKey::AddressProtocolPort`].
    SourceAddressPortInSet {
        /// The set's name.
        set: String,
        /// Not in the set.
        not: bool,
    },
    /// `ip daddr . meta l4proto . th dport @set`, of [`super::SetKey::AddressProtocolPort`].
    DestinationAddressPortInSet {
        /// The set's name.
        set: String,
        /// Not in the set.
        not: bool,
    },
    /// `ip saddr 10.0.0.0/8` or `!=`. In a `netdev` table a [`Match::Version`] must precede it,
    /// this and the following two kinds between them at most.
    SourcePrefix {
        /// An address (a full-length prefix) or a prefix without host bits.
        net: IpNet,
        /// The source is not in it.
        not: bool,
    },
    /// `ip daddr 10.0.0.0/8` or `!=`.
    DestinationPrefix {
        /// An address (a full-length prefix) or a prefix without host bits.
        net: IpNet,
        /// The destination is not in it.
        not: bool,
    },
    /// `ip length >` or `ip6 length >`: the header's field, which is that of the whole packet in
    /// IPv4, and of what follows the 40 bytes of header in IPv6.
    LengthAbove {
        /// Whose header.
        version: Version,
        /// The largest value that doesn't match.
        bytes: u16,
    },
    /// `meta protocol ip` or `ip6`; in `netdev` tables.
    Version(Version),
    /// `meta l4proto`: 6 TCP, 17 UDP, 4 IP in IP. At most once in a rule.
    Protocol(u8),
    /// `meta l4proto !=`.
    NotProtocol(u8),
    /// `tcp sport 1000-2000` or `!=`; after a [`Match::Protocol`] of TCP, UDP or SCTP.
    SourcePorts {
        /// The first of the range.
        first: u16,
        /// The last of the range.
        last: u16,
        /// The port is not in it.
        not: bool,
    },
    /// `tcp dport`, as [`Match::SourcePorts`].
    DestinationPorts {
        /// The first of the range.
        first: u16,
        /// The last of the range.
        last: u16,
        /// The port is not in it.
        not: bool,
    },
    /// `tcp sport @set`, of [`super::SetKey::Port`]; after a [`Match::Protocol`].
    SourcePortInSet {
        /// The set's name.
        set: String,
        /// The port is not in the set.
        not: bool,
    },
    /// `tcp dport @set`, of [`super::SetKey::Port`]; after a [`Match::Protocol`].
    DestinationPortInSet {
        /// The set's name.
        set: String,
        /// The port is not in the set.
        not: bool,
    },
    /// `icmp type` or `icmpv6 type`, perhaps with the code; after a [`Match::Protocol`] of 1 or 58.
    Icmp {
        /// ICMP or ICMPv6, as the table's family.
        version: Version,
        /// The type.
        kind: u8,
        /// The code, if it matters.
        code: Option<u8>,
        /// Any other type; with a code: anything but this type with this code.
        not: bool,
    },
    /// `meta mark & MASK == VALUE` or `!=`.
    Mark {
        /// The bits that are compared; at least one.
        mask: u32,
        /// What they are; none of it outside of the mask.
        value: u32,
        /// They are something else.
        not: bool,
    },
    /// `ct state established,related`: any of these, of which there is at least one.
    ConnectionState(BTreeSet<ConnectionState>),
    /// `ct status dnat` or `! dnat`: whether the connection's destination has been translated.
    ConnectionIsDnat {
        /// It has not.
        not: bool,
    },
    /// `meta pkttype`.
    PacketType(PacketType),
    /// `numgen random mod OF < BELOW`: by chance, `below` of `of` packets.
    Random {
        /// Packets that match.
        below: u32,
        /// Of as many.
        of: u32,
    },
    /// `limit rate 10/second burst 5 packets`: no more often than this. What precedes it holds for
    /// the packets that count.
    Limit {
        /// Packets in a period.
        rate: u64,
        /// The period.
        per: Period,
        /// How many packets more may match at once; nft's default is 5.
        burst: u32,
    },
    /// `iifname`.
    InputInterface {
        /// An exact name, or the beginning of one, and `*`.
        name: String,
        /// Another device.
        not: bool,
    },
    /// `oifname`.
    OutputInterface {
        /// An exact name, or the beginning of one, and `*`.
        name: String,
        /// Another device.
        not: bool,
    },
    /// `fib saddr type local` or `!= local`: whether the source is an address of this node.
    SourceIsLocal {
        /// The source is not local.
        not: bool,
    },
    /// `fib daddr type local`: whether the destination is an address of this node.
    DestinationIsLocal {
        /// The destination is not local.
        not: bool,
    },
    /// `fib saddr . iif oif 0`: no route to the source leaves by the device that the packet came
    /// by (strict reverse path filter).
    ReversePathMissing,
    /// Something read from the kernel that this project never writes: equal to nothing desired.
    Foreign(String),
}

/// To whom a frame is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum PacketType {
    Broadcast,
    Multicast,
}

/// What connection tracking says of a packet; in nft's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum ConnectionState {
    Invalid,
    Established,
    Related,
    New,
    Untracked,
}

/// In what time a limit counts packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

/// What a rule does to the packet before its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// `meta mark set meta mark & ~MASK | VALUE`: bits of the mark are cleared and set.
    Mark {
        /// The bits that change; at least one.
        mask: u32,
        /// What they become; none of it outside of the mask.
        value: u32,
    },
    /// `log prefix "…" group …`: the packet's head goes to the listeners of an NFLOG group.
    Log {
        /// The group.
        group: u16,
        /// What the listeners are told with it; at most 127 bytes, perhaps empty.
        prefix: String,
    },
    /// `notrack`: no connection tracking for the packet; in chains of priority raw.
    NoTrack,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// The packet is dropped and its sender told.
    Reject(Rejection),
    /// Source address becomes that of the leaving interface; ports chosen at random
    /// (`fully-random`).
    Masquerade,
    /// `iifname vmap @map`: what the map has for the device; otherwise on to the next rule.
    Map {
        /// What is looked up.
        field: MapField,
        /// The map's name.
        map: String,
    },
    /// None: count and go on.
    Continue,
}

/// How a sender is told that its packet was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// `reject`: ICMP or ICMPv6 port unreachable.
    PortUnreachable,
    /// `reject with tcp reset`; in rules with [`Match::Protocol`] 6.
    TcpReset,
}

/// What is looked up in a verdict map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapField {
    /// `iifname`.
    InputInterface,
    /// `oifname`.
    OutputInterface,
}

impl Match {
    /// `tcp dport PORT`, one port.
    pub fn destination_port(port: u16) -> Match {
        Match::DestinationPorts { first: port, last: port, not: false }
    }

    /// `tcp sport PORT`, one port.
    pub fn source_port(port: u16) -> Match {
        Match::SourcePorts { first: port, last: port, not: false }
    }

    /// The IP version whose header it reads, if it compares a field of it.
    pub fn version(&self) -> Option<Version> {
        match self {
            Match::SourcePrefix { net, .. } | Match::DestinationPrefix { net, .. } => {
                Some(Version::of(net.addr()))
            }
            Match::LengthAbove { version, .. } => Some(*version),
            _ => None,
        }
    }

    /// The set that it looks into.
    pub fn set(&self) -> Option<&str> {
        match self {
            Match::SourceInSet { set, .. }
            | Match::DestinationInSet { set, .. }
            | Match::SourceAddressPortInSet { set, .. }
            | Match::DestinationAddressPortInSet { set, .. }
            | Match::SourcePortInSet { set, .. }
            | Match::DestinationPortInSet { set, .. } => Some(set),
            _ => None,
        }
    }

    /// Whether it reads the header that follows IP's.
    pub(super) fn reads_transport(&self) -> bool {
        matches!(
            self,
            Match::SourcePorts { .. }
                | Match::DestinationPorts { .. }
                | Match::SourcePortInSet { .. }
                | Match::DestinationPortInSet { .. }
                | Match::SourceAddressPortInSet { .. }
                | Match::DestinationAddressPortInSet { .. }
                | Match::Icmp { .. }
        )
    }
}

impl Verdict {
    /// The chain that it jumps or goes to.
    pub fn target(&self) -> Option<&str> {
        match self {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

impl Rule {
    /// A rule without statements and comment.
    pub fn new(matches: Vec<Match>, verdict: Verdict) -> Rule {
        Rule { matches, statements: Vec::new(), verdict, comment: String::new() }
    }

    /// Whether the rule has a part that this project never writes.
    pub fn is_foreign(&self) -> bool {
        self.matches.iter().any(|condition| matches!(condition, Match::Foreign(_)))
    }

    /// Names of the sets that the rule looks into.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.matches.iter().filter_map(Match::set)
    }

    /// Name of the verdict map that the rule looks into.
    pub fn map(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Map { map, .. } => Some(map),
            _ => None,
        }
    }

    /// The chain that the rule jumps or goes to.
    pub fn target(&self) -> Option<&str> {
        self.verdict.target()
    }
}
