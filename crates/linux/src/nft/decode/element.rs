//! Sets, maps and their elements.

use super::{address, verdict};
use crate::nft::attribute::Attributes;
use crate::nft::encode::element::key_type;
use crate::nft::numbers::{self as n, attribute as a};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::nft::{Device, Element, Family, SetKey, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a `NEWSET` message is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::nft) enum Kind {
    /// A set, and whether it is of intervals.
    Set(SetKey, bool),
    /// A map; foreign unless it is a verdict map of ours.
    Map(SetKey),
}

/// The kind of a `NEWSET` message's set.
pub(in crate::nft) fn kind(attributes: Attributes<'_>, family: Family) -> Kind {
    let flags = attributes.number(a::SET_FLAGS).unwrap_or(0);
    let found = attributes.number(a::SET_KEY_TYPE).zip(attributes.number(a::SET_KEY_LENGTH));
    let keys = [SetKey::Address, SetKey::Port, SetKey::AddressProtocolPort, SetKey::Interface];
    let known = keys.into_iter().find(|key| found.is_some() && key_type(*key, family) == found);
    let key = known.unwrap_or(SetKey::Foreign);
    if flags & n::SET_MAP != 0 {
        let ours =
            flags == n::SET_MAP && attributes.number(a::SET_DATA_TYPE) == Some(n::TYPE_VERDICT);
        return Kind::Map(if ours { key } else { SetKey::Foreign });
    }
    let ours = flags & !n::SET_INTERVAL == 0;
    Kind::Set(if ours { key } else { SetKey::Foreign }, flags & n::SET_INTERVAL != 0)
}

/// A set's members from the items of its dump; `None` if one is of no kind of ours.
pub(in crate::nft) fn members<'a>(
    items: impl Iterator<Item = Attributes<'a>>,
    key: SetKey,
    interval: bool,
) -> Option<BTreeSet<Element>> {
    if interval {
        let bounds: Option<Vec<_>> = items.map(bound).collect();
        return intervals(bounds?, key);
    }
    let single = |item: Attributes<'_>| {
        let known = [a::ELEMENT_KEY, a::ELEMENT_USERDATA];
        single(item.only(&known)?.nested(a::ELEMENT_KEY).get(a::DATA_VALUE)?, key)
    };
    // Collected before they are sorted, all at once.
    let members: Option<Vec<Element>> = items.map(single).collect();
    Some(members?.into_iter().collect())
}

/// A verdict map's elements from the items of its dump; `None` if one is of no kind of ours.
pub(in crate::nft) fn mappings<'a>(
    items: impl Iterator<Item = Attributes<'a>>,
    key: SetKey,
) -> Option<BTreeMap<Element, Verdict>> {
    let mapping = |item: Attributes<'_>| {
        let item = item.only(&[a::ELEMENT_KEY, a::ELEMENT_DATA, a::ELEMENT_USERDATA])?;
        let element = single(item.nested(a::ELEMENT_KEY).get(a::DATA_VALUE)?, key)?;
        Some((element, verdict(item.nested(a::ELEMENT_DATA))?))
    };
    items.map(mapping).collect()
}

/// An element by its key.
fn single(bytes: &[u8], key: SetKey) -> Option<Element> {
    Some(match key {
        SetKey::Address => Element::from(address(bytes)?),
        SetKey::Port => {
            let port = u16::from_be_bytes(bytes.try_into().ok()?);
            Element::Ports(port, port)
        }
        SetKey::AddressProtocolPort => {
            let (of, rest) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
            let [protocol, 0, 0, 0, high, low, 0, 0] = *rest else { return None };
            let port = u16::from_be_bytes([high, low]);
            Element::AddressPort { address: address(of)?, protocol, port }
        }
        SetKey::Interface => {
            let name = bytes.split(|byte| *byte == 0).next()?;
            Element::Interface(Device::new(std::str::from_utf8(name).ok()?)?)
        }
        SetKey::Foreign => return None,
    })
}

/// Where an interval begins, or (true) what follows its end: a key as a number, and its bits.
type Bound = (u128, bool, usize);

fn bound(item: Attributes<'_>) -> Option<Bound> {
    let item = item.only(&[a::ELEMENT_KEY, a::ELEMENT_FLAGS, a::ELEMENT_USERDATA])?;
    let end = match item.number(a::ELEMENT_FLAGS).unwrap_or(0) {
        0 => false,
        n::ELEMENT_INTERVAL_END => true,
        _ => return None,
    };
    let key = item.nested(a::ELEMENT_KEY).get(a::DATA_VALUE)?;
    let mut bytes = [0; 16];
    bytes.get_mut(16_usize.checked_sub(key.len())?..)?.copy_from_slice(key);
    Some((u128::from_be_bytes(bytes), end, 8 * key.len()))
}

/// Intervals from their bounds; `None` if one is not a prefix, or never begins.
fn intervals(mut bounds: Vec<Bound>, key: SetKey) -> Option<BTreeSet<Element>> {
    // The end of one interval may be the start of the next: ends first.
    bounds.sort_unstable_by_key(|(key, end, _)| (*key, !*end));
    let mut members = Vec::with_capacity(bounds.len() / 2);
    let mut open = None;
    let bits = bounds.first().map_or(0, |(.., bits)| *bits);
    for (at, end, _) in bounds {
        match (open.take(), end) {
            (Some(first), true) => members.push(interval(key, bits, first, at.checked_sub(1)?)?),
            // nft begins a set with an end that ends nothing, at the lowest key.
            (None, true) => {}
            (None, false) => open = Some(at),
            (Some(_), false) => return None,
        }
    }
    if let Some(first) = open {
        let last = u128::MAX.checked_shr(u32::try_from(128 - bits).ok()?).unwrap_or(0);
        members.push(interval(key, bits, first, last)?);
    }
    Some(members.into_iter().collect())
}

fn interval(key: SetKey, bits: usize, first: u128, last: u128) -> Option<Element> {
    if key == SetKey::Port {
        return Some(Element::Ports(first.try_into().ok()?, last.try_into().ok()?));
    }
    let differing = 128 - (first ^ last).leading_zeros();
    let length = u8::try_from(u32::try_from(bits).ok()?.checked_sub(differing)?).ok()?;
    let net: IpNet = match bits {
        32 => Ipv4Net::new(Ipv4Addr::from_bits(first.try_into().ok()?), length).ok()?.into(),
        _ => Ipv6Net::new(Ipv6Addr::from_bits(first), length).ok()?.into(),
    };
    let size = 1_u128.checked_shl(differing).map_or(u128::MAX, |size| size - 1);
    (net.trunc() == net && first.checked_add(size)? == last).then_some(Element::Net(net))
}
