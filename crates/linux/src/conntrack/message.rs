//! A flow as the kernel's attributes, and back.

use super::{Flow, Side, Status};
use crate::nfnetlink::{Attributes, Message, Writer};
use crate::tuple::{ICMP, ICMPV6, Transport, Tuple};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_NEW`, `_GET` and `_DELETE`.
const NEW: u16 = SUBSYSTEM << 8;
pub(super) const GET: u16 = SUBSYSTEM << 8 | 1;
pub(super) const DELETE: u16 = SUBSYSTEM << 8 | 2;

/// `CTA_*` of a flow.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const MARK: u16 = 8;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `CTA_TUPLE_*`.
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const TUPLE_ZONE: u16 = 3;
/// `CTA_IP_*`.
const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
/// `CTA_PROTO_*`; of ICMP there are an id, a type and a code.
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
const ICMP_FIELDS: [u16; 3] = [4, 5, 6];
const ICMPV6_FIELDS: [u16; 3] = [7, 8, 9];
/// `CTA_FILTER_ORIG_FLAGS` and `_REPLY_FLAGS`: which fields of the tuple given must be equal.
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC` of the kernel.
const FILTER_SOURCE: u32 = 1;

/// Asks only for flows with `address` at this side.
pub(super) fn write_filter(writer: &mut Writer, side: Side, address: IpAddr) {
    let (tuple, filter) = match side {
        Side::Initiator => (ORIGINAL, FILTER_ORIGINAL),
        Side::Responder => (REPLY, FILTER_REPLY),
    };
    writer.nest(tuple, |writer| {
        writer.nest(TUPLE_ADDRESSES, |writer| write_address(writer, V4_SOURCE, V6_SOURCE, address));
    });
    writer.nest(FILTER, |writer| {
        for kind in [FILTER_ORIGINAL, FILTER_REPLY] {
            let fields = if kind == filter { FILTER_SOURCE } else { 0 };
            writer.put(kind, &fields.to_ne_bytes());
        }
    });
}

/// What names one flow and no other.
pub(super) fn write_identity(writer: &mut Writer, flow: &Flow) {
    let (original, reply) = (flow.original_zone, flow.reply_zone);
    writer.nest(ORIGINAL, |writer| {
        write_tuple(writer, &flow.original);
        if original != reply && original != 0 {
            writer.put(TUPLE_ZONE, &original.to_be_bytes());
        }
    });
    if original == reply && original != 0 {
        writer.put(ZONE, &original.to_be_bytes());
    }
    writer.number(ID, flow.id);
}

fn write_tuple(writer: &mut Writer, tuple: &Tuple) {
    writer.nest(TUPLE_ADDRESSES, |writer| {
        write_address(writer, V4_SOURCE, V6_SOURCE, tuple.source);
        write_address(writer, V4_DESTINATION, V6_DESTINATION, tuple.destination);
    });
    writer.nest(TUPLE_PROTOCOL, |writer| {
        writer.put(PROTOCOL_NUMBER, &[tuple.protocol]);
        match tuple.transport {
            Transport::Ports { source, destination } => {
                writer.put(SOURCE_PORT, &source.to_be_bytes());
                writer.put(DESTINATION_PORT, &destination.to_be_bytes());
            }
            Transport::Icmp { kind, code, id } => {
                let icmp = tuple.protocol == ICMP;
                let [id_field, kind_field, code_field] =
                    if icmp { ICMP_FIELDS } else { ICMPV6_FIELDS };
                writer.put(id_field, &id.to_be_bytes());
                writer.put(kind_field, &[kind]);
                writer.put(code_field, &[code]);
            }
            Transport::None => {}
        }
    });
}

fn write_address(writer: &mut Writer, v4: u16, v6: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => writer.put(v4, &address.octets()),
        IpAddr::V6(address) => writer.put(v6, &address.octets()),
    }
}

/// The flow that a message tells of; `None` for other messages, and for flows that lack what every
/// kernel says of them.
pub(super) fn flow(message: Message<'_>) -> Option<Flow> {
    if message.kind != NEW {
        return None;
    }
    let attributes = message.attributes();
    let (original, reply) = (attributes.nested(ORIGINAL), attributes.nested(REPLY));
    let zone = half(attributes, ZONE);
    let zone_of = |tuple| zone.or_else(|| half(tuple, TUPLE_ZONE)).unwrap_or(0);
    Some(Flow {
        original: tuple(original)?,
        reply: tuple(reply)?,
        status: Status(attributes.number(STATUS)?),
        mark: attributes.number(MARK).unwrap_or(0),
        original_zone: zone_of(original),
        reply_zone: zone_of(reply),
        id: attributes.number(ID)?,
    })
}

fn tuple(attributes: Attributes<'_>) -> Option<Tuple> {
    let addresses = attributes.nested(TUPLE_ADDRESSES);
    let fields = attributes.nested(TUPLE_PROTOCOL);
    let protocol = byte(fields, PROTOCOL_NUMBER)?;
    let icmp = match protocol {
        ICMP => Some(ICMP_FIELDS),
        ICMPV6 => Some(ICMPV6_FIELDS),
        _ => None,
    };
    let transport = match icmp {
        Some([id, kind, code]) => Transport::Icmp {
            id: half(fields, id)?,
            kind: byte(fields, kind)?,
            code: byte(fields, code)?,
        },
        None => match (half(fields, SOURCE_PORT), half(fields, DESTINATION_PORT)) {
            (Some(source), Some(destination)) => Transport::Ports { source, destination },
            _ => Transport::None,
        },
    };
    Some(Tuple {
        source: address(addresses, V4_SOURCE, V6_SOURCE)?,
        destination: address(addresses, V4_DESTINATION, V6_DESTINATION)?,
        protocol,
        transport,
    })
}

fn address(attributes: Attributes<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    if let Some(octets) = attributes.get(v4) {
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(attributes.get(v6)?).ok()?).into())
}

fn byte(attributes: Attributes<'_>, kind: u16) -> Option<u8> {
    attributes.get(kind)?.first().copied()
}

fn half(attributes: Attributes<'_>, kind: u16) -> Option<u16> {
    attributes.get(kind)?.try_into().ok().map(u16::from_be_bytes)
}
