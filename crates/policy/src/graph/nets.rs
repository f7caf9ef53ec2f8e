//! Addresses and prefixes as they are kept: mostly one IPv4 address, or many.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// Prefixes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nets {
    /// One IPv4 address.
    Host(u32),
    /// IPv4 addresses.
    Hosts(Box<[u32]>),
    /// Prefixes without host bits.
    Prefixes(Box<[IpNet]>),
}

impl Nets {
    pub(super) fn new(nets: impl Iterator<Item = IpNet>) -> Nets {
        let nets: Vec<IpNet> = nets.map(|net| net.trunc()).collect();
        let host = |net: &IpNet| match net {
            IpNet::V4(net) if net.prefix_len() == 32 => Some(net.addr().to_bits()),
            _ => None,
        };
        if let [only] = &nets[..]
            && let Some(host) = host(only)
        {
            return Nets::Host(host);
        }
        match nets.iter().map(host).collect::<Option<Box<[u32]>>>() {
            None => Nets::Prefixes(nets.into()),
            Some(hosts) => Nets::Hosts(hosts),
        }
    }

    pub(super) fn of_addresses(addresses: &[IpAddr]) -> Nets {
        Nets::new(addresses.iter().copied().map(IpNet::from))
    }

    /// How many of them are known to be single IPv4 addresses.
    pub(super) fn hosts(&self) -> usize {
        match self {
            Nets::Host(_) => 1,
            Nets::Hosts(hosts) => hosts.len(),
            Nets::Prefixes(_) => 0,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpNet> {
        let (hosts, nets): (&[u32], &[IpNet]) = match self {
            Nets::Host(host) => (std::slice::from_ref(host), &[]),
            Nets::Hosts(hosts) => (hosts, &[]),
            Nets::Prefixes(nets) => (&[], nets),
        };
        let hosts = hosts.iter().map(|host| IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(*host))));
        hosts.chain(nets.iter().copied())
    }
}
