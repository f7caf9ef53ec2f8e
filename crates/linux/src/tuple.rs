//! Addresses, protocol and ports of a packet, as connection tracking calls them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// ICMP's protocol number.
pub(crate) const ICMP: u8 = 1;
/// ICMPv6's protocol number.
pub(crate) const ICMPV6: u8 = 58;
/// Protocols whose header begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];
/// IPv6 headers that another header follows: hop-by-hop options, routing, fragment, authentication,
/// destination options.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
/// So many of them are passed over; more than that no honest packet has.
const EXTENSION_HEADERS_MAX: usize = 8;

/// From where to where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// The sender.
    pub source: IpAddr,
    /// The receiver, of the same family.
    pub destination: IpAddr,
    /// IP protocol number; of IPv6 that of the header after all extension headers.
    pub protocol: u8,
    /// What the protocol's own header adds.
    pub transport: Transport,
}

/// What tells the flows between two addresses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Of TCP, UDP, SCTP and their like. For GRE, connection tracking has its keys here.
    Ports {
        /// The sender's.
        source: u16,
        /// The receiver's.
        destination: u16,
    },
    /// Of ICMP and ICMPv6.
    Icmp {
        /// The message's type.
        kind: u8,
        /// Its code.
        code: u8,
        /// The identifier of an echo, otherwise 0.
        id: u16,
    },
    /// Nothing: another protocol, a fragment other than the first, a header cut off.
    None,
}

impl Tuple {
    /// Reads an IP packet's headers; `None` if it doesn't begin with a whole IPv4 or IPv6 header.
    pub fn of_packet(packet: &[u8]) -> Option<Tuple> {
        match packet.first()? >> 4 {
            4 => of_ipv4(packet),
            6 => of_ipv6(packet),
            _ => None,
        }
    }
}

fn of_ipv4(packet: &[u8]) -> Option<Tuple> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let length = usize::from(header[0] & 0xf) * 4;
    if length < header.len() {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(*header[at..].first_chunk::<4>()?).into());
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let payload = packet.get(length..).filter(|_| offset == 0).unwrap_or_default();
    let protocol = header[9];
    let transport = transport(protocol, payload);
    Some(Tuple { source: address(12)?, destination: address(16)?, protocol, transport })
}

fn of_ipv6(packet: &[u8]) -> Option<Tuple> {
    let header: &[u8; 40] = packet.first_chunk()?;
    let address = |at: usize| Some(Ipv6Addr::from(*header[at..].first_chunk::<16>()?).into());
    let (protocol, payload) = after_extension_headers(header[6], &packet[header.len()..]);
    let transport = transport(protocol, payload);
    Some(Tuple { source: address(8)?, destination: address(24)?, protocol, transport })
}

/// The first header that is no extension header, and what is there of it.
fn after_extension_headers(mut protocol: u8, mut rest: &[u8]) -> (u8, &[u8]) {
    for _ in 0..EXTENSION_HEADERS_MAX {
        let (Some(&next), Some(&size)) = (rest.first(), rest.get(1)) else { break };
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(size) + 1) * 8,
            AUTHENTICATION => (usize::from(size) + 2) * 4,
            FRAGMENT => {
                let is_first = rest.get(2..4).is_some_and(|field| field[0] == 0 && field[1] < 8);
                if !is_first {
                    return (next, &[]);
                }
                8
            }
            _ => break,
        };
        protocol = next;
        rest = rest.get(length..).unwrap_or_default();
    }
    (protocol, rest)
}

fn transport(protocol: u8, header: &[u8]) -> Transport {
    let number =
        |at: usize| header.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let read = match protocol {
        ICMP | ICMPV6 => number(0).map(|_| {
            let echo = if protocol == ICMP { [0, 8] } else { [129, 128] };
            let id = number(4).filter(|_| echo.contains(&header[0])).unwrap_or(0);
            Transport::Icmp { kind: header[0], code: header[1], id }
        }),
        _ if WITH_PORTS.contains(&protocol) => number(0)
            .zip(number(2))
            .map(|(source, destination)| Transport::Ports { source, destination }),
        _ => None,
    };
    read.unwrap_or(Transport::None)
}

/// As people write it: `10.65.0.2:40312 -> 10.65.1.3 tcp/80`.
impl fmt::Display for Tuple {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuple { source, destination, protocol, transport } = *self;
        if let Transport::Ports { source: port, .. } = transport {
            write!(out, "{} -> {destination} ", SocketAddr::new(source, port))?;
        } else {
            write!(out, "{source} -> {destination} ")?;
        }
        match protocol {
            ICMP => write!(out, "icmp")?,
            6 => write!(out, "tcp")?,
            17 => write!(out, "udp")?,
            ICMPV6 => write!(out, "icmpv6")?,
            132 => write!(out, "sctp")?,
            136 => write!(out, "udplite")?,
            number => write!(out, "protocol {number}")?,
        }
        match transport {
            Transport::Ports { destination, .. } => write!(out, "/{destination}"),
            Transport::Icmp { kind, code, .. } => write!(out, " type {kind} code {code}"),
            Transport::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header of 10.0.0.1 to 10.0.0.2, then `rest`.
    fn ipv4(protocol: u8, fragment: u16, options: usize, rest: &[u8]) -> Vec<u8> {
        let [high, low] = fragment.to_be_bytes();
        let first = 0x45 + options as u8 / 4;
        let mut packet = vec![first, 0, 0, 0, 0, 0, high, low, 64, protocol, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(vec![0; options]);
        packet.extend_from_slice(rest);
        packet
    }

    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        for last in [1, 2] {
            packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn headers_are_read() {
        let ports = [0x9c, 0x40, 0, 80, 0, 0, 0, 0];
        let hop_by_hop = [&[6, 0, 0, 0, 0, 0, 0, 0][..], &ports].concat();
        let two = [&[51, 0, 0, 0, 0, 0, 0, 0, 17, 4][..], &[0; 22], &ports].concat();
        let first_fragment = [&[17, 0, 0, 1, 0, 0, 0, 0][..], &ports].concat();
        let later_fragment = [&[17, 0, 0, 8, 0, 0, 0, 0][..], &ports].concat();
        for (packet, text) in [
            (ipv4(6, 0, 0, &ports), "10.0.0.1:40000 -> 10.0.0.2 tcp/80"),
            (ipv4(6, 0x4000, 8, &ports), "10.0.0.1:40000 -> 10.0.0.2 tcp/80"),
            (ipv4(17, 0x2000, 0, &ports), "10.0.0.1:40000 -> 10.0.0.2 udp/80"),
            (ipv4(17, 0x2001, 0, &ports), "10.0.0.1 -> 10.0.0.2 udp"),
            (ipv4(132, 0, 0, &ports), "10.0.0.1:40000 -> 10.0.0.2 sctp/80"),
            (ipv4(6, 0, 0, &ports[..3]), "10.0.0.1 -> 10.0.0.2 tcp"),
            (ipv4(1, 0, 0, &[3, 1, 0, 0, 7, 7]), "10.0.0.1 -> 10.0.0.2 icmp type 3 code 1"),
            (ipv4(4, 0, 0, &ports), "10.0.0.1 -> 10.0.0.2 protocol 4"),
            (ipv6(6, &ports), "[fd00::1]:40000 -> fd00::2 tcp/80"),
            (ipv6(58, &[128, 0, 0, 0, 7, 7]), "fd00::1 -> fd00::2 icmpv6 type 128 code 0"),
            (ipv6(0, &hop_by_hop), "[fd00::1]:40000 -> fd00::2 tcp/80"),
            (ipv6(60, &two), "[fd00::1]:40000 -> fd00::2 udp/80"),
            (ipv6(44, &first_fragment), "[fd00::1]:40000 -> fd00::2 udp/80"),
            (ipv6(44, &later_fragment), "fd00::1 -> fd00::2 udp"),
            (ipv6(43, &[]), "fd00::1 -> fd00::2 protocol 43"),
        ] {
            let tuple = Tuple::of_packet(&packet).expect("a header");
            assert_eq!(tuple.to_string(), text);
        }
    }

    #[test]
    fn only_echoes_have_identifiers() {
        for (kind, id) in [(8, 0x0707), (0, 0x0707), (3, 0)] {
            let tuple = Tuple::of_packet(&ipv4(1, 0, 0, &[kind, 0, 0, 0, 7, 7])).expect("ICMP");
            assert_eq!(tuple.transport, Transport::Icmp { kind, code: 0, id });
        }
    }

    #[test]
    fn what_is_no_packet_has_no_tuple() {
        let whole = ipv4(6, 0, 0, &[]);
        let mut short_header = whole.clone();
        short_header[0] = 0x44;
        for bytes in
            [&[][..], &[0x45], &whole[..19], &short_header, &ipv6(6, &[])[..39], &[0x50; 60]]
        {
            assert_eq!(Tuple::of_packet(bytes), None, "{bytes:02x?}");
        }
    }
}
