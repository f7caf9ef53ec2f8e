//! UPDATEs as bytes: as many prefixes in each as fit, and one thing only (RFC 7606, 5.1).

use super::as_path::{self, Width};
use super::attributes::*;
use super::{Agreed, Attributes, Family, HEADER_BYTES, MESSAGE_BYTES_MAX, Origin};
use super::{header, open, prefix};
use ipnet::IpNet;
use std::net::IpAddr;

/// Bytes of an UPDATE without routes and attributes.
const EMPTY_BYTES: usize = HEADER_BYTES + 4;
/// Bytes of MP_REACH_NLRI with an IPv6 next hop, before the prefixes.
const REACH_BYTES: usize = 4 + 5 + 16;
/// Bytes of MP_UNREACH_NLRI before the prefixes.
const UNREACH_BYTES: usize = 4 + 3;
/// Bytes of NEXT_HOP.
const NEXT_HOP_BYTES: usize = 7;

/// Appends one UPDATE that announces as many of `prefixes`, from the first on, as fit into it.
/// All are of `next_hop`'s family; the first of another family ends the message. Towards another
/// AS (`agreed.external`) LOCAL_PREF and RFC 4456's attributes are left out.
///
/// How many were taken. 0, and nothing appended: there are none of this family, or the attributes
/// leave no room for a single prefix, so that the route cannot be told (RFC 4271, 9.2).
pub fn encode_announcement(
    attributes: &Attributes,
    next_hop: IpAddr,
    prefixes: &[IpNet],
    agreed: Agreed,
    out: &mut Vec<u8>,
) -> usize {
    let start = header::start(header::UPDATE, out);
    out.extend_from_slice(&[0, 0]);
    let mut encoded = Vec::with_capacity(128);
    encode_attributes(attributes, agreed, &mut encoded);
    let room = (MESSAGE_BYTES_MAX - EMPTY_BYTES).saturating_sub(encoded.len());
    let taken = match next_hop {
        IpAddr::V4(next_hop) => {
            let length = (encoded.len() + NEXT_HOP_BYTES) as u16;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&[TRANSITIVE, NEXT_HOP, 4]);
            out.extend_from_slice(&next_hop.octets());
            out.extend_from_slice(&encoded);
            let room = room.saturating_sub(NEXT_HOP_BYTES);
            prefix::encode(prefixes, Family::Ipv4, room, out)
        }
        IpAddr::V6(next_hop) => {
            let attributes_at = out.len();
            out.extend_from_slice(&[0, 0, OPTIONAL | EXTENDED_LENGTH, MP_REACH, 0, 0]);
            let value_at = out.len();
            out.extend_from_slice(&[0, open::afi(Family::Ipv6), 1, 16]);
            out.extend_from_slice(&next_hop.octets());
            out.push(0);
            let room = room.saturating_sub(REACH_BYTES);
            let taken = prefix::encode(prefixes, Family::Ipv6, room, out);
            fill_length(value_at, out);
            out.extend_from_slice(&encoded);
            fill_length(attributes_at + 2, out);
            taken
        }
    };
    complete(taken, start, out)
}

/// Appends one UPDATE that withdraws as many of `prefixes`, from the first on, as fit into it;
/// all are of the first one's family, the first of another family ends the message.
///
/// How many were taken; 0, and nothing appended, only if there are none.
pub fn encode_withdrawal(prefixes: &[IpNet], out: &mut Vec<u8>) -> usize {
    let Some(first) = prefixes.first() else { return 0 };
    let start = header::start(header::UPDATE, out);
    let family = prefix::family(first);
    let room = MESSAGE_BYTES_MAX - EMPTY_BYTES;
    let taken = match family {
        Family::Ipv4 => {
            out.extend_from_slice(&[0, 0]);
            let field_at = out.len();
            let taken = prefix::encode(prefixes, family, room, out);
            fill_length(field_at, out);
            out.extend_from_slice(&[0, 0]);
            taken
        }
        Family::Ipv6 => unreach(prefixes, room, out),
    };
    complete(taken, start, out)
}

/// Appends End-of-RIB (RFC 4724, 2).
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    let start = header::start(header::UPDATE, out);
    match family {
        Family::Ipv4 => out.extend_from_slice(&[0; 4]),
        Family::Ipv6 => {
            unreach(&[], 0, out);
        }
    }
    header::finish(start, out);
}

/// Appends the fields of an UPDATE that holds MP_UNREACH_NLRI of IPv6 only.
fn unreach(prefixes: &[IpNet], room: usize, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&[0, 0]);
    let attributes_at = out.len();
    out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, MP_UNREACH, 0, 0]);
    let value_at = out.len();
    out.extend_from_slice(&[0, open::afi(Family::Ipv6), 1]);
    let room = room.saturating_sub(UNREACH_BYTES);
    let taken = prefix::encode(prefixes, Family::Ipv6, room, out);
    fill_length(value_at, out);
    fill_length(attributes_at, out);
    taken
}

/// Ends the message, or takes it back where it would hold nothing.
fn complete(taken: usize, start: usize, out: &mut Vec<u8>) -> usize {
    if taken == 0 {
        out.truncate(start);
    } else {
        header::finish(start, out);
    }
    taken
}

/// Writes how many bytes there are from `from` on into the two before it.
fn fill_length(from: usize, out: &mut [u8]) {
    let length = (out.len() - from) as u16;
    out[from - 2..from].copy_from_slice(&length.to_be_bytes());
}

/// Appends all but next hop and prefixes, in the order of types.
fn encode_attributes(attributes: &Attributes, agreed: Agreed, out: &mut Vec<u8>) {
    let width = Width::of(agreed.four_octet_as);
    let origin = match attributes.origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    attribute(TRANSITIVE, ORIGIN, out, |out| out.push(origin));
    attribute(TRANSITIVE, AS_PATH, out, |out| as_path::encode(&attributes.as_path, width, out));
    if let Some(med) = attributes.med {
        attribute(OPTIONAL, MED, out, |out| out.extend_from_slice(&med.to_be_bytes()));
    }
    let internal = !agreed.external;
    if let Some(local_pref) = attributes.local_pref.filter(|_| internal) {
        attribute(TRANSITIVE, LOCAL_PREF, out, |out| {
            out.extend_from_slice(&local_pref.to_be_bytes());
        });
    }
    if attributes.atomic_aggregate {
        attribute(TRANSITIVE, ATOMIC_AGGREGATE, out, |_| {});
    }
    if let Some((number, address)) = attributes.aggregator {
        attribute(OPTIONAL | TRANSITIVE, AGGREGATOR, out, |out| {
            match width {
                Width::Two => out.extend_from_slice(&as_path::two_octets(number).to_be_bytes()),
                Width::Four => out.extend_from_slice(&number.to_be_bytes()),
            }
            out.extend_from_slice(&address.octets());
        });
    }
    encode_lists(attributes, internal, out);
    if width == Width::Two {
        encode_as4(attributes, out);
    }
    for (flags, code, value) in &attributes.unknown {
        attribute(*flags, *code, out, |out| out.extend_from_slice(value));
    }
}

/// Communities, and the reflector's attributes towards the own AS.
fn encode_lists(attributes: &Attributes, internal: bool, out: &mut Vec<u8>) {
    let words = |numbers: &[u32], out: &mut Vec<u8>| {
        for number in numbers {
            out.extend_from_slice(&number.to_be_bytes());
        }
    };
    if !attributes.communities.is_empty() {
        attribute(OPTIONAL | TRANSITIVE, COMMUNITIES, out, |out| {
            words(&attributes.communities, out);
        });
    }
    if let Some(originator) = attributes.originator_id.filter(|_| internal) {
        attribute(OPTIONAL, ORIGINATOR_ID, out, |out| {
            out.extend_from_slice(&originator.octets());
        });
    }
    if internal && !attributes.cluster_list.is_empty() {
        attribute(OPTIONAL, CLUSTER_LIST, out, |out| {
            for cluster in &attributes.cluster_list {
                out.extend_from_slice(&cluster.octets());
            }
        });
    }
    if !attributes.large_communities.is_empty() {
        attribute(OPTIONAL | TRANSITIVE, LARGE_COMMUNITIES, out, |out| {
            for community in &attributes.large_communities {
                words(community, out);
            }
        });
    }
}

/// What AS_TRANS hides from a peer with two octets (RFC 6793, 4.2.2).
fn encode_as4(attributes: &Attributes, out: &mut Vec<u8>) {
    if as_path::needs_four(&attributes.as_path) {
        attribute(OPTIONAL | TRANSITIVE, AS4_PATH, out, |out| {
            as_path::encode(&attributes.as_path, Width::Four, out);
        });
    }
    if let Some((number, address)) = attributes.aggregator
        && number > u16::MAX.into()
    {
        attribute(OPTIONAL | TRANSITIVE, AS4_AGGREGATOR, out, |out| {
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&address.octets());
        });
    }
}

/// Appends one attribute; its length takes two bytes only where it must.
fn attribute(flags: u8, code: u8, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[flags & !EXTENDED_LENGTH, code, 0]);
    let value_at = out.len();
    value(out);
    let length = out.len() - value_at;
    match u8::try_from(length) {
        Ok(length) => out[start + 2] = length,
        Err(_) => {
            out[start] |= EXTENDED_LENGTH;
            // More than 65,535 bytes fit into no message, which the caller then finds.
            let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            out[start + 2] = length[0];
            out.insert(start + 3, length[1]);
        }
    }
}
