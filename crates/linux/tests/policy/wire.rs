//! Packets as bytes. Each carries a number of its own, by which it is known again.

use policy::evaluate::Packet;
use std::net::IpAddr;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOPS: u8 = 64;
/// Stands before the number.
const MAGIC: [u8; 8] = *b"calico\xca\x11";

/// An IP packet that begins a connection.
pub(crate) fn bytes(packet: &Packet, number: u64) -> Vec<u8> {
    let mut content = header(packet, number);
    content.extend(MAGIC);
    content.extend(number.to_be_bytes());
    set_checksum(packet, &mut content);
    let length = u16::try_from(content.len()).unwrap();
    let mut bytes = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, packet.protocol, 0, 0];
            bytes[2..4].copy_from_slice(&(20 + length).to_be_bytes());
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            let sum = checksum(&bytes, 0);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            bytes
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut bytes = vec![0x60, 0, 0, 0, 0, 0, packet.protocol, HOPS];
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes
        }
        _ => panic!("both addresses of one version"),
    };
    bytes.append(&mut content);
    bytes
}

/// The number of an IP packet, its content beginning at its header or, of IPv6 to the host itself,
/// after that; and its destination, where there is a header.
pub(crate) fn number(bytes: &[u8], protocol: Option<u8>) -> Option<(u64, Option<IpAddr>)> {
    let (protocol, start, destination) = match (protocol, bytes.first()? >> 4) {
        (Some(protocol), _) => (protocol, 0, None),
        (None, 4) => {
            let octets: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            (*bytes.get(9)?, usize::from(bytes[0] & 15) * 4, Some(octets.into()))
        }
        (None, _) => {
            let octets: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            (*bytes.get(6)?, 40, Some(octets.into()))
        }
    };
    let content = bytes.get(start + header_bytes(protocol)..)?;
    let number = content.strip_prefix(&MAGIC)?.get(..8)?;
    Some((u64::from_be_bytes(number.try_into().ok()?), destination))
}

fn header_bytes(protocol: u8) -> usize {
    match protocol {
        TCP => 20,
        UDP | ICMP | ICMPV6 => 8,
        SCTP => 32,
        _ => 4,
    }
}

fn header(packet: &Packet, number: u64) -> Vec<u8> {
    let mut header = vec![0; header_bytes(packet.protocol)];
    if let Some((source, destination)) = packet.ports {
        header[..2].copy_from_slice(&source.to_be_bytes());
        header[2..4].copy_from_slice(&destination.to_be_bytes());
    }
    if let Some((kind, code)) = packet.icmp {
        header[..2].copy_from_slice(&[kind, code]);
        // Identifier and sequence number make it a connection of its own.
        let number = u32::try_from(number & 0xffff_ffff).unwrap();
        header[4..8].copy_from_slice(&number.to_be_bytes());
    }
    let content_bytes = MAGIC.len() + 8;
    match packet.protocol {
        // SYN, of a header of five words.
        TCP => header[12..14].copy_from_slice(&[0x50, 2]),
        UDP => {
            header[4..6].copy_from_slice(&u16::try_from(8 + content_bytes).unwrap().to_be_bytes())
        }
        SCTP => {
            let length = u16::try_from(20 + content_bytes).unwrap().to_be_bytes();
            // Chunk INIT: its length, a tag, a window, streams.
            header[12..16].copy_from_slice(&[1, 0, length[0], length[1]]);
            header[16..32].copy_from_slice(&[0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        }
        _ => {}
    }
    header
}

/// SCTP's own checksum is left out: connection tracking is told not to look.
fn set_checksum(packet: &Packet, content: &mut [u8]) {
    let at = match packet.protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return,
    };
    let mut pseudo = Vec::new();
    if packet.protocol != ICMP {
        for address in [packet.source, packet.destination] {
            match address {
                IpAddr::V4(address) => pseudo.extend(address.octets()),
                IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        let length = u16::try_from(content.len()).unwrap();
        pseudo.extend(length.to_be_bytes());
        pseudo.extend([0, packet.protocol]);
    }
    let before = !checksum(&pseudo, 0);
    let sum = checksum(content, before);
    content[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, going on from the sum of what is before.
fn checksum(bytes: &[u8], before: u16) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum::<u32>() + u32::from(before);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
