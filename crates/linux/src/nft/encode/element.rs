//! Sets, maps and their elements.

use super::verdict_data;
use crate::nft::attribute::Writer;
use crate::nft::numbers::{self as n, attribute as a};
use kernel::nft::{Element, Family, SetKey, Verdict};
use std::net::IpAddr;

/// Bytes of the largest key: an IPv6 address, a protocol and a port, each padded to four bytes.
const KEY_BYTES_MAX: usize = 24;

/// nft's number for a type, and a key's length in bytes; `None` if there are no such sets.
pub(in crate::nft) fn key_type(key: SetKey, family: Family) -> Option<(u32, u32)> {
    let (address, length) = match family {
        Family::Ip => (n::TYPE_IPV4, 4),
        Family::Ip6 => (n::TYPE_IPV6, 16),
        Family::Netdev => return None,
    };
    Some(match key {
        SetKey::Address => (address, length),
        SetKey::Port => (n::TYPE_PORT, 2),
        SetKey::Interface => (n::TYPE_INTERFACE, 16),
        SetKey::AddressProtocolPort => {
            let with_protocol = address << n::TYPE_BITS | n::TYPE_PROTOCOL;
            (with_protocol << n::TYPE_BITS | n::TYPE_PORT, length + 4 + 4)
        }
        SetKey::Foreign => return None,
    })
}

/// Writes what a new set is.
pub(in crate::nft) fn set(
    writer: &mut Writer,
    family: Family,
    name: &str,
    (key, interval): (SetKey, bool),
    id: u32,
) {
    // nft's note to itself: the key's byte order (2: of the network, 1: of the host), and for a
    // concatenation that it knows the parts by their types.
    let userdata: &[u8] = match key {
        SetKey::AddressProtocolPort => &[0, 4, 0, 0, 0, 0, 3, 8, 0, 4, 13, 0, 0, 0, 1, 0],
        SetKey::Interface => &[0, 4, 1, 0, 0, 0],
        _ => &[0, 4, 2, 0, 0, 0],
    };
    let flags = if interval { n::SET_INTERVAL } else { 0 };
    begin(writer, family, name, key, flags);
    writer.number(a::SET_ID, id);
    writer.put(a::SET_USERDATA, userdata);
}

/// Writes what a new verdict map is.
pub(in crate::nft) fn map(writer: &mut Writer, family: Family, name: &str, key: SetKey, id: u32) {
    begin(writer, family, name, key, n::SET_MAP);
    writer.number(a::SET_DATA_TYPE, n::TYPE_VERDICT);
    writer.number(a::SET_DATA_LENGTH, 0);
    writer.number(a::SET_ID, id);
    writer.put(a::SET_USERDATA, &[0, 4, 1, 0, 0, 0, 1, 4, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0]);
}

fn begin(writer: &mut Writer, family: Family, name: &str, key: SetKey, flags: u32) {
    // Never sent otherwise: Nft::apply and Table::check refuse them before.
    let (kind, length) = key_type(key, family).unwrap_or_default();
    writer.text(a::SET_NAME, name);
    writer.number(a::SET_FLAGS, flags);
    writer.number(a::SET_KEY_TYPE, kind);
    writer.number(a::SET_KEY_LENGTH, length);
}

/// Writes one member as list items: itself, and in interval sets the first key after it.
pub(in crate::nft) fn member(list: &mut Writer, element: &Element, interval: bool) {
    let end = interval.then(|| Key::after(element));
    list.nest(a::LIST_ITEM, |item| {
        Key::of(element).write(item);
        if end == Some(None) {
            // nft's mark for "open to the end": without it it would print a range.
            item.put(a::ELEMENT_USERDATA, &[1, 4, 1, 0, 0, 0]);
        }
    });
    if let Some(Some(end)) = end {
        list.nest(a::LIST_ITEM, |item| {
            item.number(a::ELEMENT_FLAGS, n::ELEMENT_INTERVAL_END);
            end.write(item);
        });
    }
}

/// Writes one element of a verdict map as a list item; a key alone where it is to be deleted.
pub(in crate::nft) fn mapping(list: &mut Writer, element: &Element, verdict: Option<&Verdict>) {
    list.nest(a::LIST_ITEM, |item| {
        Key::of(element).write(item);
        if let Some(verdict) = verdict {
            item.nest(a::ELEMENT_DATA, |data| verdict_data(data, verdict));
        }
    });
}

/// A key as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Key {
    fn new(parts: &[&[u8]]) -> Key {
        let mut key = Key { bytes: [0; KEY_BYTES_MAX], length: 0 };
        for part in parts {
            key.bytes[key.length..key.length + part.len()].copy_from_slice(part);
            key.length += part.len();
        }
        key
    }

    fn of_address(address: IpAddr, rest: &[u8]) -> Key {
        match address {
            IpAddr::V4(address) => Key::new(&[&address.octets(), rest]),
            IpAddr::V6(address) => Key::new(&[&address.octets(), rest]),
        }
    }

    /// The element's key, or its first one.
    fn of(element: &Element) -> Key {
        match element {
            Element::Net(net) => Key::of_address(net.network(), &[]),
            Element::Ports(first, _) => Key::new(&[&first.to_be_bytes()]),
            Element::AddressPort { address, protocol, port } => {
                let [high, low] = port.to_be_bytes();
                Key::of_address(*address, &[*protocol, 0, 0, 0, high, low, 0, 0])
            }
            Element::Interface(device) => {
                let mut key = Key::new(&[device.name().as_bytes()]);
                key.length = n::INTERFACE_BYTES;
                key
            }
        }
    }

    /// The key after an interval; `None` if there is none.
    fn after(element: &Element) -> Option<Key> {
        match element {
            Element::Net(net) => {
                let next = match net.broadcast() {
                    IpAddr::V4(last) => IpAddr::V4(last.to_bits().checked_add(1)?.into()),
                    IpAddr::V6(last) => IpAddr::V6(last.to_bits().checked_add(1)?.into()),
                };
                Some(Key::of_address(next, &[]))
            }
            Element::Ports(_, last) => Some(Key::new(&[&last.checked_add(1)?.to_be_bytes()])),
            // Table::check refuses intervals of these.
            Element::AddressPort { .. } | Element::Interface(_) => None,
        }
    }

    fn write(&self, item: &mut Writer) {
        item.nest(a::ELEMENT_KEY, |key| key.put(a::DATA_VALUE, &self.bytes[..self.length]));
    }
}
