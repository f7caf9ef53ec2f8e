//! Another implementation, NetGauze's, understands what we write; we understand what it writes.

use crate::strategies::{agreed, as_told, message};
use bgp::wire::*;
use ipnet::IpNet;
use netgauze_bgp_pkt::path_attribute::{
    self as theirs, Aggregator, AsPath, AsPathSegmentType, MpReach, MpUnreach, PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_bgp_pkt::{BgpMessage, capabilities::BgpCapability};
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::*;

/// Reads bytes as NetGauze does.
fn parsed(bytes: &[u8], agreed: Agreed) -> BgpMessage {
    let mut context = BgpParsingContext::asn2_default();
    context.set_asn4(agreed.four_octet_as);
    let message = BgpMessage::parse(&mut SliceReader::new(bytes), &mut context);
    message.unwrap_or_else(|error| panic!("{error:?}: {bytes:02x?}"))
}

/// An UPDATE of NetGauze's as a value of ours.
fn meaning(update: &BgpUpdateMessage) -> Update {
    let mut ours = Update {
        withdrawn: prefixes(update.withdraw_routes()),
        end_of_rib: update.end_of_rib().map(|family| match format!("{family:?}").as_str() {
            "Ipv4Unicast" => Family::Ipv4,
            "Ipv6Unicast" => Family::Ipv6,
            other => panic!("{other}"),
        }),
        ..Update::default()
    };
    let mut attributes = Attributes::default();
    for attribute in update.path_attributes() {
        let flags = u8::from(attribute.optional()) << 7
            | u8::from(attribute.transitive()) << 6
            | u8::from(attribute.partial()) << 5;
        match attribute.value() {
            PathAttributeValue::NextHop(next_hop) => ours.announced.push(Announced {
                next_hop: next_hop.next_hop().into(),
                prefixes: prefixes(update.nlri()),
            }),
            PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, nlri, .. }) => {
                let prefixes = nlri.iter().map(|of| IpNet::V6(of.network().address())).collect();
                ours.announced.push(Announced { next_hop: (*next_hop_global).into(), prefixes });
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                ours.withdrawn.extend(nlri.iter().map(|of| IpNet::V6(of.network().address())));
            }
            value => take(value, flags, &mut attributes),
        }
    }
    if !ours.announced.is_empty() {
        ours.attributes = Some(attributes);
    }
    ours
}

fn prefixes(nlri: &[netgauze_bgp_pkt::nlri::Ipv4UnicastAddress]) -> Vec<IpNet> {
    nlri.iter().map(|of| IpNet::V4(of.network().address())).collect()
}

/// One attribute of NetGauze's.
fn take(value: &PathAttributeValue, flags: u8, ours: &mut Attributes) {
    match value {
        PathAttributeValue::Origin(origin) => {
            ours.origin = match origin {
                theirs::Origin::IGP => Origin::Igp,
                theirs::Origin::EGP => Origin::Egp,
                theirs::Origin::Incomplete => Origin::Incomplete,
            }
        }
        PathAttributeValue::AsPath(AsPath::As4PathSegments(path)) => ours.as_path = segments(path),
        PathAttributeValue::AsPath(AsPath::As2PathSegments(path)) => {
            ours.as_path = path
                .iter()
                .map(|of| {
                    let numbers = of.as_numbers().iter().map(|&number| number.into()).collect();
                    segment(of.segment_type(), numbers)
                })
                .collect();
        }
        // It stands after AS_PATH, and we write the whole path into it.
        PathAttributeValue::As4Path(path) => ours.as_path = segments(path.segments()),
        PathAttributeValue::MultiExitDiscriminator(med) => ours.med = Some(med.metric()),
        PathAttributeValue::LocalPreference(local) => ours.local_pref = Some(local.metric()),
        PathAttributeValue::AtomicAggregate(_) => ours.atomic_aggregate = true,
        PathAttributeValue::Aggregator(Aggregator::As2Aggregator(of)) => {
            ours.aggregator = Some((u32::from(*of.asn()), of.origin()));
        }
        PathAttributeValue::Aggregator(Aggregator::As4Aggregator(of)) => {
            ours.aggregator = Some((*of.asn(), of.origin()));
        }
        PathAttributeValue::Communities(list) => {
            ours.communities = list.communities().iter().map(|of| of.value()).collect();
        }
        PathAttributeValue::LargeCommunities(list) => {
            let numbers = |of: &netgauze_bgp_pkt::community::LargeCommunity| {
                [of.global_admin(), of.local_data1(), of.local_data2()]
            };
            ours.large_communities = list.communities().iter().map(numbers).collect();
        }
        PathAttributeValue::Originator(originator) => ours.originator_id = Some(originator.id()),
        PathAttributeValue::ClusterList(list) => {
            ours.cluster_list = list.cluster_list().iter().map(|of| of.id()).collect();
        }
        // NetGauze leaves AS4_AGGREGATOR as it is.
        PathAttributeValue::UnknownAttribute(of) if of.code() == 18 => {
            let (number, address) = of.value().split_first_chunk::<4>().unwrap();
            let address: [u8; 4] = address.try_into().unwrap();
            ours.aggregator = Some((u32::from_be_bytes(*number), address.into()));
        }
        PathAttributeValue::UnknownAttribute(of) => {
            ours.unknown.push((flags, of.code(), of.value().to_vec()));
        }
        other => panic!("{other:?}"),
    }
}

fn segments(path: &[theirs::As4PathSegment]) -> Vec<AsSegment> {
    path.iter().map(|of| segment(of.segment_type(), of.as_numbers().to_vec())).collect()
}

fn segment(kind: AsPathSegmentType, numbers: Vec<u32>) -> AsSegment {
    match kind {
        AsPathSegmentType::AsSet => AsSegment::Set(numbers),
        AsPathSegmentType::AsSequence => AsSegment::Sequence(numbers),
    }
}

/// Without attributes and capabilities that NetGauze takes apart and we do not, and with Ceases
/// that have a name for any NOTIFICATION.
fn comparable(mut message: Message) -> Message {
    match &mut message {
        Message::Update(Update { attributes: Some(attributes), .. }) => {
            attributes.unknown.retain(|(_, code, _)| (130..255).contains(code));
        }
        Message::Open(open) => {
            // NetGauze still wants a host's address, as before RFC 6286.
            open.router_id = (open.router_id.to_bits() & 0x3fff_ffff | 1).into();
            open.capabilities.retain(
                |of| !matches!(of, Capability::Other { code, .. } if !(140..=180).contains(code)),
            );
        }
        Message::Notification(of) => (of.code, of.subcode) = (6, of.subcode % 8 + 1),
        _ => {}
    }
    message
}

/// An OPEN's capability as NetGauze reads it.
fn capability_meaning(theirs: &BgpCapability) -> String {
    let text = format!("{theirs:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn capability_name(ours: &Capability) -> &'static str {
    match ours {
        Capability::Multiprotocol(_) => "MultiProtocolExtensions",
        Capability::RouteRefresh => "RouteRefresh",
        Capability::GracefulRestart(_) => "GracefulRestartCapability",
        Capability::FourOctetAs(_) => "FourOctetAs",
        Capability::Other { .. } => "Unrecognized",
    }
}

proptest! {
    #[test]
    fn both_implementations_agree(message in message(), agreed in agreed()) {
        let message = as_told(comparable(message), agreed);
        let mut bytes = Vec::new();
        message.encode(agreed, &mut bytes);
        let theirs = parsed(&bytes, agreed);
        match (&message, &theirs) {
            (Message::Update(ours), BgpMessage::Update(theirs)) => {
                prop_assert_eq!(&meaning(theirs), ours);
            }
            (Message::Open(ours), BgpMessage::Open(theirs)) => {
                prop_assert_eq!(theirs.my_asn4(), ours.autonomous_system);
                prop_assert_eq!(theirs.hold_time(), ours.hold_time);
                prop_assert_eq!(theirs.bgp_id(), ours.router_id);
                let names: Vec<_> =
                    theirs.capabilities().into_iter().map(capability_meaning).collect();
                let expected: Vec<_> = ours.capabilities.iter().map(capability_name).collect();
                prop_assert_eq!(names, expected);
            }
            (Message::Keepalive, BgpMessage::KeepAlive)
            | (Message::Notification(_), BgpMessage::Notification(_))
            | (Message::RouteRefresh(_), BgpMessage::RouteRefresh(_)) => {}
            (ours, theirs) => prop_assert!(false, "{ours:?} became {theirs:?}"),
        }
        // What it writes, we read as what it was.
        let mut written = Vec::new();
        theirs.write(&mut written).unwrap();
        prop_assert_eq!(Message::decode(&written, agreed), Ok(message));
    }
}
