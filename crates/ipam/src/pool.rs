//! Pools as IPAM sees them, and the arithmetic of their blocks, for both families.

use ipnet::IpNet;
use model::IpPool;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many blocks of a pool are looked at for one that is free.
const CANDIDATES_MAX: u128 = 1 << 20;

/// A pool that may give addresses: enabled, of the wanted use, selecting the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The IPPool's name.
    pub name: String,
    /// Its prefix.
    pub cidr: IpNet,
    /// Prefix length of its blocks (`26`, `122`).
    pub block_size: u8,
}

impl Pool {
    /// A resource as IPAM sees it; `None` where its range cannot be read.
    pub fn of(pool: &IpPool) -> Option<Pool> {
        Some(Pool {
            name: pool.metadata.name.clone(),
            cidr: pool.spec.net().ok()?,
            block_size: pool.spec.block_size(),
        })
    }

    /// How many blocks it has: `2^(block_size − prefix length)`, 0 for a block larger than the
    /// pool.
    pub fn block_count(&self) -> u128 {
        match self.block_size.checked_sub(self.cidr.prefix_len()) {
            Some(bits) if self.block_size <= self.cidr.max_prefix_len() => {
                1u128.checked_shl(bits.into()).unwrap_or(u128::MAX)
            }
            _ => 0,
        }
    }

    /// Block number `index`, counted from the pool's first address; `None` past the last.
    pub fn block(&self, index: u128) -> Option<IpNet> {
        if index >= self.block_count() {
            return None;
        }
        let shift = u32::from(self.cidr.max_prefix_len() - self.block_size);
        let start = number(self.cidr.network()) + index.checked_shl(shift).unwrap_or(0);
        IpNet::new(address(&self.cidr, start), self.block_size).ok()
    }

    /// The block an address of the pool is in.
    pub fn block_of(&self, address: IpAddr) -> Option<IpNet> {
        if !self.cidr.contains(&address) || self.block_size < self.cidr.prefix_len() {
            return None;
        }
        IpNet::new(address, self.block_size).ok().map(|net| net.trunc())
    }

    /// Free blocks in the order the host tries them: from a start that its name determines, onward
    /// and around, so that hosts seldom meet.
    pub(crate) fn free_blocks<'a>(
        &'a self,
        host: &str,
        taken: &'a Ranges,
        reserved: &'a [IpNet],
    ) -> impl Iterator<Item = IpNet> + 'a {
        let count = self.block_count();
        let start = if count == 0 { 0 } else { u128::from(spread(host)) % count };
        (0..count.min(CANDIDATES_MAX))
            .filter_map(move |step| {
                let before_wrap = count - start;
                self.block(if step < before_wrap { start + step } else { step - before_wrap })
            })
            .filter(|block| !taken.overlaps(block))
            .filter(|block| !reserved.iter().any(|net| net.contains(block)))
    }
}

/// The pools by name and prefix, for an error.
pub(crate) fn names(pools: &[Pool]) -> String {
    let names = pools.iter().map(|pool| format!("{} ({})", pool.name, pool.cidr));
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "(none)".to_owned() } else { names }
}

/// Address ranges that exist as blocks, perhaps of another size than the pool has now.
#[derive(Default)]
pub(crate) struct Ranges(BTreeMap<(bool, u128), u128>);

impl Ranges {
    pub(crate) fn new<'a>(nets: impl Iterator<Item = &'a IpNet>) -> Ranges {
        Ranges(nets.map(|net| ((is_v6(net), first(net)), last(net))).collect())
    }

    // Blocks do not overlap each other, so the last that starts at or before our end decides.
    fn overlaps(&self, net: &IpNet) -> bool {
        let before = self.0.range((is_v6(net), 0)..=(is_v6(net), last(net))).next_back();
        before.is_some_and(|(_, end)| *end >= first(net))
    }
}

fn is_v6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

fn first(net: &IpNet) -> u128 {
    number(net.network())
}

fn last(net: &IpNet) -> u128 {
    number(net.broadcast())
}

/// An address as a number.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A number as an address of the family of `like`.
pub(crate) fn address(like: &IpNet, number: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

// FNV-32 of the name as Calico seeds its generator with, then one round of SplitMix64 to spread it.
fn spread(host: &str) -> u64 {
    let fnv = host
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    let mut z = u64::from(fnv).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
