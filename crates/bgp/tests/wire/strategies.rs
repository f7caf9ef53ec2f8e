//! Random messages.

use bgp::wire::*;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Both peers' abilities.
pub(crate) fn agreed() -> impl Strategy<Value = Agreed> {
    (any::<bool>(), any::<bool>())
        .prop_map(|(four_octet_as, external)| Agreed { four_octet_as, external })
}

pub(crate) fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

/// A unicast prefix of the family.
pub(crate) fn prefix(family: Family) -> BoxedStrategy<IpNet> {
    let (length_max, half) = match family {
        Family::Ipv4 => (32_u8, 1_u128 << 31),
        Family::Ipv6 => (128, 1 << 127),
    };
    (any::<u128>(), 0..=length_max)
        .prop_map(move |(bits, length)| {
            let net = |bits| match family {
                Family::Ipv4 => IpAddr::from(Ipv4Addr::from(bits as u32)),
                Family::Ipv6 => IpAddr::from(Ipv6Addr::from(bits)),
            };
            // Multicast is within the upper half of both.
            let address = if net(bits).is_multicast() { net(bits & !half) } else { net(bits) };
            let prefix = IpNet::new(address, length).unwrap().trunc();
            if prefix.addr().is_multicast() { net(0).into() } else { prefix }
        })
        .boxed()
}

/// An address that a host can have.
pub(crate) fn next_hop(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ipv4 => (1..0xe000_0000_u32).prop_map(|bits| Ipv4Addr::from(bits).into()).boxed(),
        Family::Ipv6 => (1..0xff_u128 << 120).prop_map(|bits| Ipv6Addr::from(bits).into()).boxed(),
    }
}

/// AS numbers on both sides of what two octets hold.
pub(crate) fn as_number() -> impl Strategy<Value = u32> {
    prop_oneof![1..=65535_u32, 65536..=u32::MAX, Just(u32::from(AS_TRANS))]
}

/// Few segments, or one that is as long as they may be: it fits into a message in any case.
fn as_path() -> impl Strategy<Value = Vec<AsSegment>> {
    let segment = prop_oneof![
        4 => vec(as_number(), 1..6).prop_map(AsSegment::Sequence),
        1 => vec(as_number(), 1..6).prop_map(AsSegment::Set),
    ];
    let long = vec(as_number(), 250..=255).prop_map(|of| vec![AsSegment::Sequence(of)]);
    prop_oneof![9 => vec(segment, 0..4), 1 => long]
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items.dedup();
    items
}

/// Optional transitive attributes nobody knows, and extended communities.
fn unknown() -> impl Strategy<Value = Vec<(u8, u8, Vec<u8>)>> {
    let extended = vec(any::<[u8; 8]>(), 1..4).prop_map(|list| (0xc0, 16, list.concat()));
    let other = (33..=255_u8, vec(any::<u8>(), 0..300)).prop_map(|(code, of)| (0xe0, code, of));
    (option::of(extended), vec(other, 0..3)).prop_map(|(extended, others)| {
        let mut all: Vec<_> = extended.into_iter().chain(others).collect();
        all.sort_by_key(|(_, code, _)| *code);
        all.dedup_by_key(|(_, code, _)| *code);
        all
    })
}

/// Attributes as a peer of the own AS, with numbers of four octets, is told them.
pub(crate) fn attributes() -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let path = (
        origin,
        as_path(),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        any::<bool>(),
        option::of((as_number(), any::<Ipv4Addr>())),
    );
    let lists = (
        vec(any::<u32>(), 0..80),
        vec(any::<[u32; 3]>(), 0..30),
        option::of(any::<Ipv4Addr>()),
        vec(any::<Ipv4Addr>(), 0..4),
        unknown(),
    );
    (path, lists).prop_map(|(path, lists)| {
        let (origin, as_path, med, local_pref, atomic_aggregate, aggregator) = path;
        let (communities, large_communities, originator_id, cluster_list, unknown) = lists;
        Attributes {
            origin,
            as_path,
            med,
            local_pref,
            atomic_aggregate,
            aggregator,
            communities: sorted(communities),
            large_communities: sorted(large_communities),
            originator_id,
            cluster_list,
            unknown,
        }
    })
}

fn capability() -> impl Strategy<Value = Capability> {
    let restart = (any::<[bool; 2]>(), 0..4096_u16, vec((family(), any::<bool>()), 0..3)).prop_map(
        |([restarting, notification], restart_time, families)| {
            let restart = GracefulRestart { restarting, notification, restart_time, families };
            Capability::GracefulRestart(restart)
        },
    );
    let other = (any::<u8>(), vec(any::<u8>(), 0..40))
        .prop_filter("unknown", |(code, _)| ![1, 2, 64, 65].contains(code))
        .prop_map(|(code, value)| Capability::Other { code, value });
    prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        restart,
        other
    ]
}

pub(crate) fn open() -> impl Strategy<Value = Open> {
    let capabilities = vec(capability(), 0..20);
    let hold_time = prop_oneof![Just(0), 3..=u16::MAX];
    (as_number(), hold_time, 1..=u32::MAX, capabilities).prop_map(
        |(autonomous_system, hold_time, router_id, mut capabilities)| {
            if autonomous_system > 65535 {
                capabilities.push(Capability::FourOctetAs(autonomous_system));
            }
            Open { autonomous_system, hold_time, router_id: router_id.into(), capabilities }
        },
    )
}

pub(crate) fn notification() -> impl Strategy<Value = Notification> {
    (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300))
        .prop_map(|(code, subcode, data)| Notification { code, subcode, data })
}

/// An UPDATE of one thing, as one message is.
pub(crate) fn update() -> impl Strategy<Value = Update> {
    let announced = family().prop_flat_map(|family| {
        (next_hop(family), vec(prefix(family), 1..40), attributes()).prop_map(
            |(next_hop, prefixes, attributes)| Update {
                announced: vec![Announced { next_hop, prefixes }],
                attributes: Some(attributes),
                ..Update::default()
            },
        )
    });
    let withdrawn = family().prop_flat_map(|family| {
        vec(prefix(family), 1..60).prop_map(|withdrawn| Update { withdrawn, ..Update::default() })
    });
    let end = family().prop_map(|family| Update { end_of_rib: Some(family), ..Update::default() });
    prop_oneof![4 => announced, 2 => withdrawn, 1 => end]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        open().prop_map(Message::Open),
        update().prop_map(Message::Update),
        notification().prop_map(Message::Notification),
        Just(Message::Keepalive),
        family().prop_map(|family| Message::RouteRefresh(Some(family))),
    ]
}

/// What a peer is told of a message: towards another AS some attributes are left out.
pub(crate) fn as_told(mut message: Message, agreed: Agreed) -> Message {
    if let Message::Update(Update { attributes: Some(attributes), .. }) = &mut message
        && agreed.external
    {
        attributes.local_pref = None;
        attributes.originator_id = None;
        attributes.cluster_list = vec![];
    }
    message
}
