//! nf_tables objects as values, and as the text that `nft list` prints.
//!
//! ```text
//!  Table ──check()──▶ names, limits, jump targets hold
//!    │  └──Display──▶ what `nft -s list table ip calico` prints
//!    └──diff(desired, actual)──▶ Vec<Change> ──▶ (linux) one transaction
//!                                           └──▶ apply(): the same on values, for fakes and tests
//! ```
//!
//! Later kinds (verdict maps, concatenations, marks, connection state, NFLOG) are further variants
//! of [`SetKey`], [`Match`] and [`Verdict`]: each needs its text here and its expressions in
//! `linux::nft`.

mod change;
mod check;
mod diff;
mod text;

pub use change::{Change, Edit, Refusal, apply};
pub use check::Invalid;
pub use diff::diff;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a table's chains see: packets of one IP version, or a device's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// `netdev`: frames of any protocol, where they enter or leave a device. Such tables have no
    /// sets here.
    Netdev,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words themselves")]
pub enum Version {
    V4,
    V6,
}

/// A device's name, of at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device([u8; 16]);

/// A table that is wholly ours: `table ip calico`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Address family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Sets by name.
    pub sets: BTreeMap<String, Set>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
}

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// What its elements are.
    pub key: SetKey,
    /// Members. For [`SetKey::Address`] of an interval set: prefixes; otherwise full-length
    /// prefixes.
    pub elements: BTreeSet<IpNet>,
    /// Members are prefixes (nft's `flags interval`).
    pub interval: bool,
}

/// The type of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetKey {
    /// Addresses of the table's family.
    Address,
    /// A kind read from the kernel that this project never writes: equal to nothing desired.
    Foreign,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where the kernel calls it; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A base chain's place. Its policy is always accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseChain {
    /// `filter`, `nat` or `route`.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Smaller runs earlier: filter 0, raw -300, mangle -150, dstnat -100, srcnat 100.
    pub priority: i32,
}

/// A base chain's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum ChainKind {
    Filter,
    Nat,
    Route,
    /// A base chain read from the kernel that this project never writes, for its type, hook or
    /// policy.
    Foreign,
}

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// Frames that a device has received; in `netdev` tables.
    Ingress(Device),
    /// Frames that a device is about to send; in `netdev` tables.
    Egress(Device),
}

/// To whom a frame is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum PacketType {
    Broadcast,
    Multicast,
}

/// A rule: all `matches` must hold, then it counts, then `verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Conditions, all of which must hold.
    pub matches: Vec<Match>,
    /// What happens.
    pub verdict: Verdict,
    /// Why, as shown by `nft list`; at most 127 bytes.
    pub comment: String,
}

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// `ip saddr @set` or `!= @set`.
    SourceInSet {
        /// The set's name.
        set: String,
        /// The address is not in the set.
        not: bool,
    },
    /// `ip daddr @set` or `!= @set`.
    DestinationInSet {
        /// The set's name.
        set: String,
        /// The address is not in the set.
        not: bool,
    },
    /// `meta l4proto`: 6 TCP, 17 UDP, 4 IP in IP.
    Protocol(u8),
    /// `th dport`; needs a preceding [`Match::Protocol`] of TCP, UDP or SCTP.
    DestinationPort(u16),
    /// `th sport`; needs a preceding [`Match::Protocol`] as [`Match::DestinationPort`] does.
    SourcePort(u16),
    /// `meta protocol ip` or `ip6`; in `netdev` tables.
    Version(Version),
    /// `ip saddr` or `ip6 saddr`, or `!=`. In a `netdev` table a [`Match::Version`] must precede
    /// it, this and the following two kinds between them at most.
    SourceAddress {
        /// The address compared with.
        address: IpAddr,
        /// The source is another address.
        not: bool,
    },
    /// `ip daddr` or `ip6 daddr`, or `!=`.
    DestinationAddress {
        /// The address compared with.
        address: IpAddr,
        /// The destination is another address.
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
    /// `meta pkttype`.
    PacketType(PacketType),
    /// `numgen random mod OF < BELOW`: by chance, `below` of `of` packets.
    Random {
        /// Packets that match.
        below: u32,
        /// Of as many.
        of: u32,
    },
    /// `iifname`, exact, or a prefix where it ends in `*`.
    InputInterface(String),
    /// `oifname`, exact, or a prefix where it ends in `*`.
    OutputInterface(String),
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
    /// Something read from the kernel that this project never writes: equal to nothing desired.
    Foreign(String),
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
    /// Source address becomes that of the leaving interface; ports chosen at random
    /// (`fully-random`).
    Masquerade,
    /// Neither: count and go on.
    Continue,
}

impl Version {
    /// An address's version.
    pub fn of(address: IpAddr) -> Version {
        match address {
            IpAddr::V4(_) => Version::V4,
            IpAddr::V6(_) => Version::V6,
        }
    }
}

impl Device {
    /// A device by name; `None` if no device can have it.
    pub fn new(name: &str) -> Option<Device> {
        let mut bytes = [0; 16];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let legal = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"*\"/\\".contains(&byte));
        (!name.is_empty() && bytes[15] == 0 && legal).then_some(Device(bytes))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.name())
    }
}

impl Match {
    /// The IP version whose header it reads, if it compares a field of it.
    pub fn version(&self) -> Option<Version> {
        match self {
            Match::SourceAddress { address, .. } | Match::DestinationAddress { address, .. } => {
                Some(Version::of(*address))
            }
            Match::LengthAbove { version, .. } => Some(*version),
            _ => None,
        }
    }
}

impl Table {
    /// A table without sets and chains.
    pub fn new(family: Family, name: impl Into<String>) -> Table {
        Table { family, name: name.into(), sets: BTreeMap::new(), chains: BTreeMap::new() }
    }
}

impl Set {
    /// The members the kernel is given: [`Set::elements`] without those that another one covers,
    /// as the kernel refuses overlapping intervals.
    pub fn members(&self) -> BTreeSet<IpNet> {
        let mut members = BTreeSet::new();
        let mut last: Option<IpNet> = None;
        // Ordered by address, then length: what covers a prefix comes before it.
        for element in &self.elements {
            if last.is_none_or(|covering| !covering.contains(element)) {
                members.insert(*element);
                last = Some(*element);
            }
        }
        members
    }
}

impl Rule {
    /// Whether the rule has a part that this project never writes.
    pub fn is_foreign(&self) -> bool {
        self.matches.iter().any(|condition| matches!(condition, Match::Foreign(_)))
    }

    /// Names of the sets that the rule looks into.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.matches.iter().filter_map(|condition| match condition {
            Match::SourceInSet { set, .. } | Match::DestinationInSet { set, .. } => Some(&**set),
            _ => None,
        })
    }

    /// The chain that the rule jumps or goes to.
    pub fn target(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}
