//! What the register holds between two expressions, and what a comparison then says.

use super::address;
use crate::nft::encode::{ether_type, packet_type, state_bit};
use crate::nft::numbers as n;
use ipnet::IpNet;
use kernel::nft::{ConnectionState, Match, PacketType, Version};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What has been loaded, for the next expression to use.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Loaded {
    Nothing,
    /// The first bits of an address; `masked` where a mask has cleared the others.
    Address {
        source: bool,
        version: Version,
        bits: u8,
        masked: bool,
    },
    /// The first parts of a key that begins with an address.
    AddressProtocol {
        source: bool,
        version: Version,
    },
    AddressProtocolPort {
        source: bool,
    },
    Length(Version),
    Version,
    PacketType,
    Protocol,
    Port {
        source: bool,
    },
    /// A port that is at least this.
    PortFrom {
        source: bool,
        first: u16,
    },
    /// ICMP's type, or type and code.
    Icmp {
        version: Version,
        with_code: bool,
    },
    /// The mark's bits of a mask, some of them flipped.
    Mark {
        mask: u32,
        flipped: u32,
    },
    ConnectionState {
        mask: u32,
    },
    ConnectionStatus {
        mask: u32,
    },
    /// A random number below this, in network order or not yet.
    Random {
        of: u32,
        ordered: bool,
    },
    Interface {
        input: bool,
    },
    /// Whether an address is one of this node's.
    Locality {
        source: bool,
    },
    /// By which device the source is reached, if it is the one that the packet came by.
    ReversePath,
}

/// Bits of an address of this version.
pub(super) fn address_bits(version: Version) -> u8 {
    match version {
        Version::V4 => 32,
        Version::V6 => 128,
    }
}

impl Loaded {
    /// A mask, and bits flipped after it; `None` if that is nothing of ours.
    pub(super) fn masked(self, mask: &[u8], flipped: &[u8]) -> Option<Loaded> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
        let plain = flipped.iter().all(|byte| *byte == 0);
        Some(match self {
            Loaded::Mark { mask: u32::MAX, .. } => {
                Loaded::Mark { mask: number(mask)?, flipped: number(flipped)? }
            }
            Loaded::ConnectionState { mask: u32::MAX } if plain => {
                Loaded::ConnectionState { mask: number(mask)? }
            }
            Loaded::ConnectionStatus { mask: u32::MAX } if plain => {
                Loaded::ConnectionStatus { mask: number(mask)? }
            }
            Loaded::Address { source, version, bits, masked: false }
                if plain && bits == address_bits(version) =>
            {
                let bits = ipnet::ip_mask_to_prefix(address(mask)?).ok()?;
                Loaded::Address { source, version, bits, masked: true }
            }
            _ => return None,
        })
    }

    /// The condition that a comparison with a value makes, if it makes one at once.
    pub(super) fn compared(self, operation: u32, value: &[u8]) -> Option<Match> {
        let port = || value.try_into().ok().map(u16::from_be_bytes);
        let not = match (operation, &self) {
            (n::COMPARE_EQUAL, _) => false,
            (n::COMPARE_NOT_EQUAL, _) => true,
            (n::COMPARE_GREATER, Loaded::Length(version)) => {
                return Some(Match::LengthAbove { version: *version, bytes: port()? });
            }
            (n::COMPARE_LESS, Loaded::Random { of, ordered: true }) => {
                let below = u32::from_be_bytes(value.try_into().ok()?);
                return Some(Match::Random { below, of: *of });
            }
            (n::COMPARE_LESS_EQUAL, Loaded::PortFrom { source, first }) => {
                return Some(ports(*source, *first, port()?, false));
            }
            _ => return None,
        };
        match self {
            Loaded::Address { source, version, bits, .. } => {
                let net = prefix(version, bits, value)?;
                Some(match source {
                    true => Match::SourcePrefix { net, not },
                    false => Match::DestinationPrefix { net, not },
                })
            }
            Loaded::Port { source } => Some(ports(source, port()?, port()?, not)),
            Loaded::Icmp { version, with_code } => {
                let (kind, code) = match (value, with_code) {
                    ([kind], false) => (*kind, None),
                    ([kind, code], true) => (*kind, Some(*code)),
                    _ => return None,
                };
                Some(Match::Icmp { version, kind, code, not })
            }
            other => other.compared_metadata(not, value),
        }
    }

    fn compared_metadata(self, not: bool, value: &[u8]) -> Option<Match> {
        let number = || value.try_into().ok().map(u32::from_ne_bytes);
        match (self, not) {
            (Loaded::Protocol, _) => match (value, not) {
                ([number], false) => Some(Match::Protocol(*number)),
                ([number], true) => Some(Match::NotProtocol(*number)),
                _ => None,
            },
            (Loaded::Version, false) => [Version::V4, Version::V6]
                .into_iter()
                .find(|version| value == ether_type(*version).to_be_bytes())
                .map(Match::Version),
            (Loaded::PacketType, false) => [PacketType::Broadcast, PacketType::Multicast]
                .into_iter()
                .find(|kind| value == [packet_type(*kind)])
                .map(Match::PacketType),
            (Loaded::Locality { source }, not) => {
                (number()? == n::ROUTE_LOCAL).then_some(())?;
                Some(match source {
                    true => Match::SourceIsLocal { not },
                    false => Match::DestinationIsLocal { not },
                })
            }
            (Loaded::ReversePath, false) => (number()? == 0).then_some(Match::ReversePathMissing),
            (Loaded::Interface { input }, not) => {
                let name = interface(value)?;
                Some(match input {
                    true => Match::InputInterface { name, not },
                    false => Match::OutputInterface { name, not },
                })
            }
            (Loaded::Mark { mask, flipped: 0 }, not) => {
                let value = number()?;
                (mask != 0 && value & !mask == 0).then_some(Match::Mark { mask, value, not })
            }
            (Loaded::ConnectionState { mask }, true) if number()? == 0 => states(mask),
            (Loaded::ConnectionStatus { mask: n::STATUS_DNAT }, not) if number()? == 0 => {
                Some(Match::ConnectionIsDnat { not: !not })
            }
            _ => None,
        }
    }

    /// The condition that looking it up in a set makes.
    pub(super) fn looked_up(self, set: String, not: bool) -> Option<Match> {
        Some(match self {
            Loaded::Address { source, version, bits, masked: false }
                if bits == address_bits(version) =>
            {
                match source {
                    true => Match::SourceInSet { set, not },
                    false => Match::DestinationInSet { set, not },
                }
            }
            Loaded::AddressProtocolPort { source: true } => {
                Match::SourceAddressPortInSet { set, not }
            }
            Loaded::AddressProtocolPort { source: false } => {
                Match::DestinationAddressPortInSet { set, not }
            }
            Loaded::Port { source: true } => Match::SourcePortInSet { set, not },
            Loaded::Port { source: false } => Match::DestinationPortInSet { set, not },
            _ => return None,
        })
    }
}

/// The condition on one port or a range of them.
pub(super) fn ports(source: bool, first: u16, last: u16, not: bool) -> Match {
    match source {
        true => Match::SourcePorts { first, last, not },
        false => Match::DestinationPorts { first, last, not },
    }
}

fn states(mask: u32) -> Option<Match> {
    use ConnectionState::{Established, Invalid, New, Related, Untracked};
    let all = [Invalid, Established, Related, New, Untracked];
    let named = all.into_iter().filter(|state| mask & state_bit(*state) != 0);
    let rest = all.into_iter().fold(mask, |rest, state| rest & !state_bit(state));
    (mask != 0 && rest == 0).then(|| Match::ConnectionState(named.collect()))
}

/// The prefix of so many bits that begins with these bytes; `None` if it has bits beyond.
fn prefix(version: Version, bits: u8, value: &[u8]) -> Option<IpNet> {
    let mut bytes = [0; 16];
    bytes.get_mut(..value.len())?.copy_from_slice(value);
    let net = match version {
        Version::V4 => {
            (value.len() <= 4).then_some(())?;
            let [a, b, c, d, ..] = bytes;
            IpNet::new(Ipv4Addr::new(a, b, c, d).into(), bits).ok()?
        }
        Version::V6 => IpNet::new(Ipv6Addr::from(bytes).into(), bits).ok()?,
    };
    (net.trunc() == net).then_some(net)
}

fn interface(value: &[u8]) -> Option<String> {
    if value.len() != n::INTERFACE_BYTES {
        return std::str::from_utf8(value).ok().map(|prefix| format!("{prefix}*"));
    }
    let name = value.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok().map(str::to_owned)
}
