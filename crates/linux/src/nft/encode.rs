//! Rules as nf_tables' expressions: the ones that `nft` 1.0.6 makes of the same text.

pub(super) mod element;
mod expression;

use super::attribute::Writer;
use super::numbers::{self as n, attribute as a};
use expression::{
    bitwise, compare, connection, expression, fib, keep, lookup, meta, meta_into, payload,
    payload_into,
};
use ipnet::IpNet;
use kernel::nft::{
    ConnectionState, Family, MapField, Match, PacketType, Period, Rejection, Rule, Statement,
    Verdict, Version,
};
use std::net::IpAddr;

/// Offset and length in bytes of the source and the destination port.
pub(super) const SOURCE_PORT: (u32, u32) = (0, 2);
pub(super) const DESTINATION_PORT: (u32, u32) = (2, 2);
/// … and of ICMP's type, perhaps with its code.
pub(super) const ICMP_TYPE: (u32, u32) = (0, 1);
pub(super) const ICMP_TYPE_AND_CODE: (u32, u32) = (0, 2);

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

/// Where protocol and port of a key go that begins with an address.
pub(super) fn registers_after(version: Version) -> (u32, u32) {
    match version {
        Version::V4 => n::REGISTERS_AFTER_IPV4,
        Version::V6 => n::REGISTERS_AFTER_IPV6,
    }
}

/// Writes `NFTA_RULE_EXPRESSIONS` and the comment.
pub(super) fn rule(writer: &mut Writer, family: Family, rule: &Rule) {
    writer.nest(a::RULE_EXPRESSIONS, |list| {
        for condition in &rule.matches {
            encode_match(list, family, condition);
        }
        expression(list, "counter", |_| {});
        rule.statements.iter().for_each(|statement| encode_statement(list, statement));
        encode_verdict(list, family, &rule.verdict);
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
    match condition {
        Match::SourceInSet { set, not } => address_in_set(list, family, true, (set, *not)),
        Match::DestinationInSet { set, not } => address_in_set(list, family, false, (set, *not)),
        Match::SourceAddressPortInSet { set, not } => {
            address_port_in_set(list, family, true, (set, *not));
        }
        Match::DestinationAddressPortInSet { set, not } => {
            address_port_in_set(list, family, false, (set, *not));
        }
        Match::SourcePrefix { net, not } => prefix(list, true, net, *not),
        Match::DestinationPrefix { net, not } => prefix(list, false, net, *not),
        Match::LengthAbove { version, bytes } => {
            payload(list, n::PAYLOAD_NETWORK, length_field(*version));
            compare(list, n::COMPARE_GREATER, &bytes.to_be_bytes());
        }
        Match::SourcePorts { first, last, not } => ports(list, SOURCE_PORT, (*first, *last), *not),
        Match::DestinationPorts { first, last, not } => {
            ports(list, DESTINATION_PORT, (*first, *last), *not);
        }
        Match::SourcePortInSet { set, not } => {
            payload(list, n::PAYLOAD_TRANSPORT, SOURCE_PORT);
            lookup(list, set, *not);
        }
        Match::DestinationPortInSet { set, not } => {
            payload(list, n::PAYLOAD_TRANSPORT, DESTINATION_PORT);
            lookup(list, set, *not);
        }
        Match::Icmp { kind, code: None, not, .. } => {
            payload(list, n::PAYLOAD_TRANSPORT, ICMP_TYPE);
            compare(list, equal(*not), &[*kind]);
        }
        Match::Icmp { kind, code: Some(code), not, .. } => {
            payload(list, n::PAYLOAD_TRANSPORT, ICMP_TYPE_AND_CODE);
            compare(list, equal(*not), &[*kind, *code]);
        }
        Match::Random { below, of } => random(list, *below, *of),
        Match::Limit { rate, per, burst } => limit(list, *rate, *per, *burst),
        Match::SourceIsLocal { not } => local(list, n::FIB_SOURCE, *not),
        Match::DestinationIsLocal { not } => local(list, n::FIB_DESTINATION, *not),
        Match::ReversePathMissing => {
            fib(list, n::FIB_RESULT_OIF, n::FIB_SOURCE | n::FIB_INPUT);
            compare(list, n::COMPARE_EQUAL, &[0; 4]);
        }
        metadata => encode_metadata(list, metadata),
    }
}

/// Conditions on what is known of a packet without reading its headers.
fn encode_metadata(list: &mut Writer, condition: &Match) {
    match condition {
        Match::Version(version) => {
            meta(list, n::META_PROTOCOL);
            compare(list, n::COMPARE_EQUAL, &ether_type(*version).to_be_bytes());
        }
        Match::Protocol(number) => {
            meta(list, n::META_L4PROTO);
            compare(list, n::COMPARE_EQUAL, &[*number]);
        }
        Match::NotProtocol(number) => {
            meta(list, n::META_L4PROTO);
            compare(list, n::COMPARE_NOT_EQUAL, &[*number]);
        }
        Match::PacketType(kind) => {
            meta(list, n::META_PACKET_TYPE);
            compare(list, n::COMPARE_EQUAL, &[packet_type(*kind)]);
        }
        Match::InputInterface { name, not } => interface(list, n::META_IIFNAME, name, *not),
        Match::OutputInterface { name, not } => interface(list, n::META_OIFNAME, name, *not),
        Match::Mark { mask, value, not } => {
            meta(list, n::META_MARK);
            if *mask != u32::MAX {
                keep(list, &mask.to_ne_bytes());
            }
            compare(list, equal(*not), &value.to_ne_bytes());
        }
        Match::ConnectionState(states) => {
            let bits = states.iter().fold(0, |bits, state| bits | state_bit(*state));
            connection(list, n::CONNECTION_STATE);
            keep(list, &bits.to_ne_bytes());
            compare(list, n::COMPARE_NOT_EQUAL, &[0; 4]);
        }
        Match::ConnectionIsDnat { not } => {
            connection(list, n::CONNECTION_STATUS);
            keep(list, &n::STATUS_DNAT.to_ne_bytes());
            compare(list, equal(!*not), &[0; 4]);
        }
        // Match::Foreign is never sent: Nft::apply refuses it before. The others are above.
        _ => {}
    }
}

fn equal(not: bool) -> u32 {
    if not { n::COMPARE_NOT_EQUAL } else { n::COMPARE_EQUAL }
}

fn address_in_set(list: &mut Writer, family: Family, source: bool, (set, not): (&str, bool)) {
    // Table::check refuses a set in a table of a device.
    let version = version_of_sets(family).unwrap_or(Version::V4);
    payload(list, n::PAYLOAD_NETWORK, address_field(version, source));
    lookup(list, set, not);
}

fn address_port_in_set(list: &mut Writer, family: Family, source: bool, (set, not): (&str, bool)) {
    // Table::check refuses a set in a table of a device.
    let version = version_of_sets(family).unwrap_or(Version::V4);
    let (protocol, port) = registers_after(version);
    payload(list, n::PAYLOAD_NETWORK, address_field(version, source));
    meta_into(list, protocol, n::META_L4PROTO);
    let field = if source { SOURCE_PORT } else { DESTINATION_PORT };
    payload_into(list, port, n::PAYLOAD_TRANSPORT, field);
    lookup(list, set, not);
}

/// A prefix of whole bytes is compared by as many, others by all that a mask leaves.
fn prefix(list: &mut Writer, source: bool, net: &IpNet, not: bool) {
    let address = address_bytes(net.network());
    let (offset, length) = address_field(Version::of(net.addr()), source);
    let bits = u32::from(net.prefix_len());
    if bits > 0 && bits.is_multiple_of(8) {
        payload(list, n::PAYLOAD_NETWORK, (offset, bits / 8));
        let bytes = usize::from(net.prefix_len() / 8);
        return compare(list, equal(not), &address[..bytes]);
    }
    payload(list, n::PAYLOAD_NETWORK, (offset, length));
    keep(list, &address_bytes(net.netmask()));
    compare(list, equal(not), &address);
}

fn ports(list: &mut Writer, field: (u32, u32), (first, last): (u16, u16), not: bool) {
    payload(list, n::PAYLOAD_TRANSPORT, field);
    let (low, high) = (first.to_be_bytes(), last.to_be_bytes());
    if first == last {
        return compare(list, equal(not), &low);
    }
    if not {
        return expression(list, "range", |data| {
            data.number(1, n::REGISTER);
            data.number(2, n::RANGE_NOT);
            data.nest(3, |inner| inner.put(a::DATA_VALUE, &low));
            data.nest(4, |inner| inner.put(a::DATA_VALUE, &high));
        });
    }
    compare(list, n::COMPARE_GREATER_EQUAL, &low);
    compare(list, n::COMPARE_LESS_EQUAL, &high);
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

/// A state's bit (`NF_CT_STATE_BIT`).
pub(super) fn state_bit(state: ConnectionState) -> u32 {
    match state {
        ConnectionState::Invalid => 1,
        ConnectionState::Established => 2,
        ConnectionState::Related => 4,
        ConnectionState::New => 8,
        ConnectionState::Untracked => 0x40,
    }
}

pub(super) fn seconds(period: Period) -> u64 {
    match period {
        Period::Second => 1,
        Period::Minute => 60,
        Period::Hour => 60 * 60,
        Period::Day => 24 * 60 * 60,
    }
}

fn limit(list: &mut Writer, rate: u64, per: Period, burst: u32) {
    expression(list, "limit", |data| {
        data.put(1, &rate.to_be_bytes());
        data.put(2, &seconds(per).to_be_bytes());
        data.number(3, burst);
        // Packets, not bytes; below the rate, not above it.
        data.number(4, 0);
        data.number(5, 0);
    });
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

/// An exact name is compared with its NULs to the full 16 bytes, a prefix by its own length.
fn interface(list: &mut Writer, key: u32, name: &str, not: bool) {
    meta(list, key);
    match name.strip_suffix('*') {
        Some(prefix) => compare(list, equal(not), prefix.as_bytes()),
        None => {
            let mut padded = name.as_bytes().to_vec();
            padded.resize(n::INTERFACE_BYTES, 0);
            compare(list, equal(not), &padded);
        }
    }
}

fn local(list: &mut Writer, flag: u32, not: bool) {
    fib(list, n::FIB_RESULT_TYPE, flag);
    compare(list, equal(not), &n::ROUTE_LOCAL.to_ne_bytes());
}

fn encode_statement(list: &mut Writer, statement: &Statement) {
    match statement {
        Statement::Mark { mask, value } => {
            meta(list, n::META_MARK);
            bitwise(list, &(!mask).to_ne_bytes(), &value.to_ne_bytes());
            expression(list, "meta", |data| {
                data.number(2, n::META_MARK);
                data.number(3, n::REGISTER);
            });
        }
        Statement::Log { group, prefix } => expression(list, "log", |data| {
            if !prefix.is_empty() {
                data.text(2, prefix);
            }
            data.put(1, &group.to_be_bytes());
        }),
        Statement::NoTrack => list.nest(a::LIST_ITEM, |item| {
            item.text(a::EXPRESSION_NAME, "notrack");
        }),
    }
}

fn encode_verdict(list: &mut Writer, family: Family, verdict: &Verdict) {
    match verdict {
        Verdict::Continue => {}
        Verdict::Masquerade => {
            expression(list, "masq", |data| data.number(1, n::FULLY_RANDOM));
        }
        Verdict::Reject(how) => {
            let (kind, code) = rejection(*how, family);
            expression(list, "reject", |data| {
                data.number(1, kind);
                data.put(2, &[code]);
            });
        }
        Verdict::Map { field, map } => {
            meta(
                list,
                match field {
                    MapField::InputInterface => n::META_IIFNAME,
                    MapField::OutputInterface => n::META_OIFNAME,
                },
            );
            expression(list, "lookup", |data| {
                data.text(1, map);
                data.number(2, n::REGISTER);
                data.number(3, n::REGISTER_VERDICT);
            });
        }
        plain => expression(list, "immediate", |data| {
            data.number(1, n::REGISTER_VERDICT);
            data.nest(2, |value| verdict_data(value, plain));
        }),
    }
}

/// Writes `NFTA_DATA_VERDICT`, as rules and maps have it.
fn verdict_data(writer: &mut Writer, verdict: &Verdict) {
    let code = match verdict {
        Verdict::Accept => n::ACCEPT,
        Verdict::Drop => n::DROP,
        Verdict::Return => n::RETURN,
        Verdict::Jump(_) => n::JUMP,
        Verdict::Goto(_) => n::GOTO,
        // Table::check refuses the others in maps.
        _ => n::CONTINUE,
    };
    writer.nest(a::DATA_VERDICT, |inner| {
        inner.put(a::VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = verdict.target() {
            inner.text(a::VERDICT_CHAIN, chain);
        }
    });
}

/// Kind of rejection and ICMP code: port unreachable (RFC 792, RFC 4443 3.1), or none.
pub(super) fn rejection(how: Rejection, family: Family) -> (u32, u8) {
    match (how, family) {
        (Rejection::TcpReset, _) => (n::REJECT_RESET, 0),
        (Rejection::PortUnreachable, Family::Ip6) => (n::REJECT_UNREACHABLE, 4),
        (Rejection::PortUnreachable, _) => (n::REJECT_UNREACHABLE, 3),
    }
}

pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
