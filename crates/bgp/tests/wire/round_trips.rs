//! Values to bytes and back; bytes of any kind.

use crate::strategies::*;
use bgp::wire::*;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn encoded(message: &Message, agreed: Agreed) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(agreed, &mut bytes);
    bytes
}

/// All messages of a stream.
fn decoded(mut stream: &[u8], agreed: Agreed) -> Result<Vec<Message>, Notification> {
    let mut messages = vec![];
    while let Some(length) = frame(stream)? {
        let (message, rest) = stream.split_at(length);
        messages.push(Message::decode(message, agreed)?);
        stream = rest;
    }
    Ok(messages)
}

/// What many messages of packed routes say together.
fn joined(messages: Vec<Message>) -> (Vec<IpNet>, Vec<(Announced, Attributes)>) {
    let (mut withdrawn, mut announced) = (vec![], Vec::<(Announced, Attributes)>::new());
    for message in messages {
        let Message::Update(update) = message else { panic!("{message:?}") };
        assert_eq!(update.tolerated, [""; 0]);
        withdrawn.extend(update.withdrawn);
        for new in update.announced {
            let attributes = update.attributes.clone().unwrap();
            match announced.last_mut() {
                Some((last, of)) if last.next_hop == new.next_hop && *of == attributes => {
                    last.prefixes.extend(new.prefixes);
                }
                _ => announced.push((new, attributes)),
            }
        }
    }
    (withdrawn, announced)
}

/// Some change of a message: a bit, a byte, a piece left out or put twice.
fn mutated(mut bytes: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (place, how, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let place = place.index(bytes.len());
        match how % 4 {
            0 => bytes[place] ^= 1 << (byte % 8),
            1 => bytes[place] = *byte,
            2 => bytes.truncate(place),
            _ => bytes.insert(place, *byte),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn a_message_comes_back(message in message(), agreed in agreed()) {
        let bytes = encoded(&message, agreed);
        prop_assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        prop_assert_eq!(frame(&bytes), Ok(Some(bytes.len())));
        prop_assert_eq!(Message::decode(&bytes, agreed), Ok(as_told(message, agreed)));
    }

    #[test]
    fn a_frame_is_whole_or_waits(message in message(), cut in any::<Index>()) {
        let bytes = encoded(&message, Agreed::default());
        let part = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(frame(part), Ok(None));
        let more = [&bytes[..], &bytes[..4]].concat();
        prop_assert_eq!(frame(&more), Ok(Some(bytes.len())));
    }

    #[test]
    fn packing_takes_all_and_fills_messages(
        attributes in attributes(),
        four in next_hop(Family::Ipv4),
        six in next_hop(Family::Ipv6),
        v4 in vec(prefix(Family::Ipv4), 0..2500),
        v6 in vec(prefix(Family::Ipv6), 0..900),
        four_octet_as: bool,
    ) {
        let agreed = Agreed { four_octet_as, external: false };
        let withdrawn = [&v4[..], &v6[..]].concat();
        let announced: Vec<Announced> = [(four, v4), (six, v6)]
            .into_iter()
            .filter(|(_, prefixes)| !prefixes.is_empty())
            .map(|(next_hop, prefixes)| Announced { next_hop, prefixes })
            .collect();
        let all = Update {
            withdrawn: withdrawn.clone(),
            announced: announced.clone(),
            attributes: Some(attributes.clone()),
            ..Update::default()
        };
        let bytes = encoded(&Message::Update(all), agreed);
        // Each message but the last of its kind has no room for one more prefix.
        let short = lengths(&bytes).filter(|length| length + 17 <= MESSAGE_BYTES_MAX).count();
        prop_assert!(short <= 4, "{short} messages have room left");
        let said = joined(decoded(&bytes, agreed).unwrap());
        let announced = announced.into_iter().map(|of| (of, attributes.clone())).collect();
        prop_assert_eq!(said, (withdrawn, announced));
    }

    #[test]
    fn any_bytes_give_a_value_or_a_notification(
        bytes in vec(any::<u8>(), 0..200),
        kind in 0..7_u8,
        agreed in agreed(),
    ) {
        let _ = decoded(&bytes, agreed);
        let mut message = vec![0xff; 16];
        message.extend_from_slice(&(bytes.len() as u16 + 19).to_be_bytes());
        message.push(kind);
        message.extend_from_slice(&bytes);
        let _ = Message::decode(&message, agreed);
    }

    #[test]
    fn broken_messages_give_a_value_or_a_notification(
        message in message(),
        changes in vec((any::<Index>(), any::<u8>(), any::<u8>()), 1..6),
        agreed in agreed(),
    ) {
        let mut bytes = mutated(encoded(&message, agreed), &changes);
        let _ = decoded(&bytes, agreed);
        // Past the header: what is within must be looked at.
        if bytes.len() >= HEADER_BYTES {
            let length = (bytes.len() as u16).to_be_bytes();
            bytes[..16].fill(0xff);
            bytes[16..18].copy_from_slice(&length);
            if let Ok(message) = Message::decode(&bytes, agreed) {
                // What was made of it can be said, and is understood.
                prop_assert!(decoded(&encoded(&message, agreed), agreed).is_ok());
            }
        }
    }
}

fn lengths(mut stream: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let length = frame(stream).unwrap()?;
        stream = &stream[length..];
        Some(length)
    })
}

#[test]
fn attributes_that_leave_no_room_take_no_prefix() {
    let prefixes: [IpNet; 2] = ["10.0.0.0/8".parse().unwrap(), "10.1.2.0/24".parse().unwrap()];
    let next_hop = "192.0.2.1".parse().unwrap();
    // Communities, prefixes taken, bytes of the message.
    for (communities, taken, length) in [(1012, 2, 4095), (1013, 1, 4095), (1014, 0, 0)] {
        let communities = (0..communities).collect();
        let attributes = Attributes { communities, ..Attributes::default() };
        let mut out = vec![7];
        let agreed = Agreed::default();
        let took = encode_announcement(&attributes, next_hop, &prefixes, agreed, &mut out);
        assert_eq!((took, out.len()), (taken, 1 + length));
    }
}
