//! Rules and elements as nf_tables' expressions: the ones that `nft` 1.0.6 makes of the same text.

use super::attribute::Writer;
use super::numbers::{self as n, attribute as a};
use ipnet::IpNet;
use kernel::nft::{Family, Match, PacketType, Rule, Verdict, Version};
use std::net::IpAddr;

/// Offset and length in bytes of source and destination address in the IP header.
pub(super) fn address_field(version: Version, source: bool) -> (u32, u32) {
    match (version, source) {
        (Version::V4, true) => (12, 4),
        (Version::V4, false) => (16, 4),
        (Version::V6, true) => (8, 16),
        (Version::V6, false) => (24, 16),
    }
}

/// Offset and length in bytes of the length in the IP header.
pub(super) fn length_field(version: Version) -> (u32, u32) {
    match version {
        Version::V4 => (2, 2),
        Version::V6 => (4, 2),
    }
}

/// The version of a table's sets; tables of devices have none.
pub(super) fn version_of_sets(family: Family) -> Option<Version> {
    match family {
        Family::Ip => Some(Version::V4),
        Family::Ip6 => Some(Version::V6),
        Family::Netdev => None,
    }
}

/// Writes `NFTA_RULE_EXPRESSIONS` and the comment.
pub(super) fn rule(writer: &mut Writer, family: Family, rule: &Rule) {
    writer.nest(a::RULE_EXPRESSIONS, |list| {
        for condition in &rule.matches {
            encode_match(list, family, condition);
        }
        expression(list, "counter", |_| {});
        verdict(list, &rule.verdict);
    });
    if !rule.comment.is_empty() {
        // Type, length, then the text with its NUL; Table::check keeps the length below 128.
        let length = u8::try_from(rule.comment.len() + 1).unwrap_or(u8::MAX);
        let mut userdata = vec![n::USERDATA_COMMENT, length];
        userdata.extend_from_slice(rule.comment.as_bytes());
        userdata.push(0);
        writer.put(a::RULE_USERDATA, &userdata);
    }
}

fn encode_match(list: &mut Writer, family: Family, condition: &Match) {
    let address = |list: &mut Writer, source: bool, set: &str, not: bool| {
        // Table::check refuses a set in a table of a device.
        let version = version_of_sets(family).unwrap_or(Version::V4);
        payload(list, n::PAYLOAD_NETWORK, address_field(version, source));
        lookup(list, set, not);
    };
    let exact = |list: &mut Writer, source: bool, address: &IpAddr, not: bool| {
        let field = address_field(Version::of(*address), source);
        payload(list, n::PAYLOAD_NETWORK, field);
        let operation = if not { n::COMPARE_NOT_EQUAL } else { n::COMPARE_EQUAL };
        compare(list, operation, &address_bytes(*address));
    };
    match condition {
        Match::SourceInSet { set, not } => address(list, true, set, *not),
        Match::DestinationInSet { set, not } => address(list, false, set, *not),
        Match::Protocol(number) => {
            meta(list, n::META_L4PROTO);
            compare(list, n::COMPARE_EQUAL, &[*number]);
        }
        Match::DestinationPort(port) => {
            payload(list, n::PAYLOAD_TRANSPORT, (2, 2));
            compare(list, n::COMPARE_EQUAL, &port.to_be_bytes());
        }
        Match::SourcePort(port) => {
            payload(list, n::PAYLOAD_TRANSPORT, (0, 2));
            compare(list, n::COMPARE_EQUAL, &port.to_be_bytes());
        }
        Match::Version(version) => {
            meta(list, n::META_PROTOCOL);
            compare(list, n::COMPARE_EQUAL, &ether_type(*version).to_be_bytes());
        }
        Match::SourceAddress { address, not } => exact(list, true, address, *not),
        Match::DestinationAddress { address, not } => exact(list, false, address, *not),
        Match::LengthAbove { version, bytes } => {
            payload(list, n::PAYLOAD_NETWORK, length_field(*version));
            compare(list, n::COMPARE_GREATER, &bytes.to_be_bytes());
        }
        Match::PacketType(kind) => {
            meta(list, n::META_PACKET_TYPE);
            compare(list, n::COMPARE_EQUAL, &[packet_type(*kind)]);
        }
        Match::Random { below, of } => random(list, *below, *of),
        Match::InputInterface(name) => interface(list, n::META_IIFNAME, name),
        Match::OutputInterface(name) => interface(list, n::META_OIFNAME, name),
        Match::SourceIsLocal { not } => local(list, n::FIB_SOURCE, *not),
        Match::DestinationIsLocal { not } => local(list, n::FIB_DESTINATION, *not),
        // Never sent: Nft::apply refuses it before.
        Match::Foreign(_) => {}
    }
}

pub(super) fn ether_type(version: Version) -> u16 {
    match version {
        Version::V4 => n::ETHER_IPV4,
        Version::V6 => n::ETHER_IPV6,
    }
}

pub(super) fn packet_type(kind: PacketType) -> u8 {
    match kind {
        PacketType::Broadcast => n::PACKET_BROADCAST,
        PacketType::Multicast => n::PACKET_MULTICAST,
    }
}

/// A number below `of`, put into network order, as comparisons are by bytes.
fn random(list: &mut Writer, below: u32, of: u32) {
    expression(list, "numgen", |data| {
        data.number(1, n::REGISTER);
        data.number(2, of);
        data.number(3, n::RANDOM);
        data.number(4, 0);
    });
    expression(list, "byteorder", |data| {
        data.number(1, n::REGISTER);
        data.number(2, n::REGISTER);
        data.number(3, n::TO_NETWORK_ORDER);
        data.number(4, 4);
        data.number(5, 4);
    });
    compare(list, n::COMPARE_LESS, &below.to_be_bytes());
}

fn expression(list: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    list.nest(a::LIST_ITEM, |item| {
        item.text(a::EXPRESSION_NAME, name);
        item.nest(a::EXPRESSION_DATA, data);
    });
}

fn payload(list: &mut Writer, base: u32, (offset, length): (u32, u32)) {
    expression(list, "payload", |data| {
        data.number(1, n::REGISTER);
        data.number(2, base);
        data.number(3, offset);
        data.number(4, length);
    });
}

fn meta(list: &mut Writer, key: u32) {
    expression(list, "meta", |data| {
        data.number(2, key);
        data.number(1, n::REGISTER);
    });
}

fn compare(list: &mut Writer, operation: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.number(1, n::REGISTER);
        data.number(2, operation);
        data.nest(3, |inner| inner.put(a::DATA_VALUE, value));
    });
}

fn lookup(list: &mut Writer, set: &str, not: bool) {
    expression(list, "lookup", |data| {
        data.text(1, set);
        data.number(2, n::REGISTER);
        if not {
            data.number(5, n::LOOKUP_INVERTED);
        }
    });
}

/// An exact name is compared with its NULs to the full 16 bytes, a prefix by its own length.
fn interface(list: &mut Writer, key: u32, name: &str) {
    meta(list, key);
    match name.strip_suffix('*') {
        Some(prefix) => compare(list, n::COMPARE_EQUAL, prefix.as_bytes()),
        None => {
            let mut padded = name.as_bytes().to_vec();
            padded.resize(n::INTERFACE_BYTES, 0);
            compare(list, n::COMPARE_EQUAL, &padded);
        }
    }
}

fn local(list: &mut Writer, flag: u32, not: bool) {
    expression(list, "fib", |data| {
        data.number(1, n::REGISTER);
        data.number(2, n::FIB_RESULT_TYPE);
        data.number(3, flag);
    });
    let operation = if not { n::COMPARE_NOT_EQUAL } else { n::COMPARE_EQUAL };
    compare(list, operation, &n::ROUTE_LOCAL.to_ne_bytes());
}

fn verdict(list: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (n::ACCEPT, None),
        Verdict::Drop => (n::DROP, None),
        Verdict::Return => (n::RETURN, None),
        Verdict::Jump(chain) => (n::JUMP, Some(chain)),
        Verdict::Goto(chain) => (n::GOTO, Some(chain)),
        Verdict::Masquerade => {
            return expression(list, "masq", |data| data.number(1, n::FULLY_RANDOM));
        }
        Verdict::Continue => return,
    };
    expression(list, "immediate", |data| {
        data.number(1, n::REGISTER_VERDICT);
        data.nest(2, |value| {
            value.nest(a::DATA_VERDICT, |inner| {
                inner.put(a::VERDICT_CODE, &code.to_be_bytes());
                if let Some(chain) = chain {
                    inner.text(a::VERDICT_CHAIN, chain);
                }
            });
        });
    });
}

/// Writes one member as list items: itself, and in interval sets the first address after it.
pub(super) fn element(list: &mut Writer, net: IpNet, interval: bool) {
    let first = address_bytes(net.network());
    let end = interval.then(|| next_address(net.broadcast()));
    list.nest(a::LIST_ITEM, |item| {
        item.nest(a::ELEMENT_KEY, |key| key.put(a::DATA_VALUE, &first));
        if end == Some(None) {
            // nft's mark for "open to the end": without it it would print a range.
            item.put(a::ELEMENT_USERDATA, &[1, 4, 1, 0, 0, 0]);
        }
    });
    if let Some(Some(end)) = end {
        list.nest(a::LIST_ITEM, |item| {
            item.number(a::ELEMENT_FLAGS, n::ELEMENT_INTERVAL_END);
            item.nest(a::ELEMENT_KEY, |key| key.put(a::DATA_VALUE, &address_bytes(end)));
        });
    }
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address after this one; `None` after the last.
fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}
