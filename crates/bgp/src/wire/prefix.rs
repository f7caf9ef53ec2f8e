//! Prefixes as NLRI has them: a length in bits, then as many bytes as those need (RFC 4271, 4.3).

use super::Family;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The family of a prefix.
pub(super) const fn family(prefix: &IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// Reads a field of prefixes; host bits are cleared, as they mean nothing (RFC 4271, 4.3).
/// `None`: a length is too long for the family, or the last prefix is cut off (RFC 7606, 5.3).
pub(super) fn decode(mut field: &[u8], family: Family) -> Option<Vec<IpNet>> {
    // Most are IPv4 prefixes of three bytes or more; a field of shorter ones grows it.
    let mut prefixes = Vec::with_capacity(field.len() / 4);
    while let Some((&length, rest)) = field.split_first() {
        let (bytes, rest) = rest.split_at_checked(usize::from(length).div_ceil(8))?;
        prefixes.push(match family {
            Family::Ipv4 => IpNet::V4(ipv4(length, bytes)?),
            Family::Ipv6 => IpNet::V6(ipv6(length, bytes)?),
        });
        field = rest;
    }
    Some(prefixes)
}

fn ipv4(length: u8, bytes: &[u8]) -> Option<Ipv4Net> {
    let mut octets = [0; 4];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(length.into())?).unwrap_or(0);
    Ipv4Net::new(Ipv4Addr::from(u32::from_be_bytes(octets) & mask), length).ok()
}

fn ipv6(length: u8, bytes: &[u8]) -> Option<Ipv6Net> {
    let mut octets = [0; 16];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let mask = u128::MAX.checked_shl(128_u32.checked_sub(length.into())?).unwrap_or(0);
    Ipv6Net::new(Ipv6Addr::from(u128::from_be_bytes(octets) & mask), length).ok()
}

/// Appends the first of `prefixes` while they are of this family and `room` bytes hold them; how
/// many.
pub(super) fn encode(prefixes: &[IpNet], of: Family, mut room: usize, out: &mut Vec<u8>) -> usize {
    for (taken, prefix) in prefixes.iter().enumerate() {
        let bytes = 1 + usize::from(prefix.prefix_len()).div_ceil(8);
        if family(prefix) != of || bytes > room {
            return taken;
        }
        room -= bytes;
        out.push(prefix.prefix_len());
        match prefix {
            IpNet::V4(prefix) => out.extend_from_slice(&prefix.addr().octets()[..bytes - 1]),
            IpNet::V6(prefix) => out.extend_from_slice(&prefix.addr().octets()[..bytes - 1]),
        }
    }
    prefixes.len()
}
