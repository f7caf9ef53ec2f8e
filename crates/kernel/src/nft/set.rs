//! Sets and verdict maps, and what is in them.

use super::{Device, Verdict};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A named set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// What its elements are.
    pub key: SetKey,
    /// Members are prefixes or ranges of ports (nft's `flags interval`); otherwise full-length
    /// prefixes, ranges of one port, or of a key that has no intervals.
    pub interval: bool,
    /// Members, all of the key's kind.
    pub elements: BTreeSet<Element>,
}

/// A named verdict map: `type ifname : verdict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMap {
    /// What is looked up.
    pub key: SetKey,
    /// What happens to packets with it: accept, drop, return, continue, jump or goto.
    #[serde(with = "pairs")]
    pub elements: BTreeMap<Element, Verdict>,
}

/// The type of a set's elements, or of a map's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetKey {
    /// `ipv4_addr` or `ipv6_addr`, as the table's family: [`Element::Net`].
    Address,
    /// `inet_service`: [`Element::Ports`].
    Port,
    /// `ipv4_addr . inet_proto . inet_service` or the same with `ipv6_addr`:
    /// [`Element::AddressPort`].
    AddressProtocolPort,
    /// `ifname`: [`Element::Interface`].
    Interface,
    /// A kind read from the kernel that this project never writes: equal to nothing desired.
    Foreign,
}

/// A member of a set, or a key in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Element {
    /// An address (a full-length prefix) or a prefix without host bits.
    Net(IpNet),
    /// Ports from the first to the last.
    Ports(u16, u16),
    /// A port of an address.
    AddressPort {
        /// Whose.
        address: IpAddr,
        /// IP protocol number.
        protocol: u8,
        /// Which.
        port: u16,
    },
    /// A device.
    Interface(Device),
}

impl Element {
    /// What its sets are of.
    pub fn key(&self) -> SetKey {
        match self {
            Element::Net(_) => SetKey::Address,
            Element::Ports(..) => SetKey::Port,
            Element::AddressPort { .. } => SetKey::AddressProtocolPort,
            Element::Interface(_) => SetKey::Interface,
        }
    }

    /// Whether it is one key, not an interval of them.
    pub fn is_single(&self) -> bool {
        match self {
            Element::Net(net) => net.prefix_len() == net.max_prefix_len(),
            Element::Ports(first, last) => first == last,
            Element::AddressPort { .. } | Element::Interface(_) => true,
        }
    }
}

impl From<IpNet> for Element {
    fn from(net: IpNet) -> Element {
        Element::Net(net)
    }
}

impl From<IpAddr> for Element {
    fn from(address: IpAddr) -> Element {
        Element::Net(address.into())
    }
}

impl Set {
    /// A set without members.
    pub fn new(key: SetKey, interval: bool) -> Set {
        Set { key, interval, elements: BTreeSet::new() }
    }

    /// The members the kernel is given, as it refuses overlapping intervals: without prefixes that
    /// another one covers, with overlapping ranges of ports as one.
    pub fn members(&self) -> Cow<'_, BTreeSet<Element>> {
        if !self.interval {
            return Cow::Borrowed(&self.elements);
        }
        Cow::Owned(disjoint(self.elements.iter().copied()))
    }

    /// Whether another set can become this one by members coming and going.
    pub fn is_like(&self, other: &Set) -> bool {
        self.key != SetKey::Foreign && self.key == other.key && self.interval == other.interval
    }
}

/// Intervals in order, none overlapping another; `elements` are in order.
pub(super) fn disjoint(elements: impl Iterator<Item = Element>) -> BTreeSet<Element> {
    let mut members = Vec::<Element>::new();
    for element in elements {
        match (members.last_mut(), element) {
            // Ordered by address, then length: what covers a prefix comes before it.
            (Some(Element::Net(before)), Element::Net(net)) if before.contains(&net) => {}
            (Some(Element::Ports(_, end)), Element::Ports(first, last)) if first <= *end => {
                *end = last.max(*end);
            }
            _ => members.push(element),
        }
    }
    members.into_iter().collect()
}

impl VerdictMap {
    /// A map without elements.
    pub fn new(key: SetKey) -> VerdictMap {
        VerdictMap { key, elements: BTreeMap::new() }
    }

    /// Whether another map can become this one by elements coming and going.
    pub fn is_like(&self, other: &VerdictMap) -> bool {
        self.key != SetKey::Foreign && self.key == other.key
    }

    /// The chains that its elements jump or go to.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.elements.values().filter_map(Verdict::target)
    }
}

/// A map as a list of pairs, as JSON's keys are texts only.
mod pairs {
    use super::{BTreeMap, Deserialize, Element, Verdict};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        elements: &BTreeMap<Element, Verdict>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(elements)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Element, Verdict>, D::Error> {
        let pairs = Vec::<(Element, Verdict)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}
