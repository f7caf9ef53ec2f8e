//! Reading: who holds what, and how full it is.

use crate::contents::{address_of, in_use, owner};
use crate::operation::{Io, Operation};
use crate::{Error, Pool};
use ipnet::IpNet;
use model::{Handle, IpamConfig, Key};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads the cluster's IPAM settings; the defaults where none are stored.
#[derive(Clone, Copy, Debug)]
pub struct ReadConfig;

/// Finds the addresses held under a handle.
#[derive(Clone, Debug)]
pub struct AddressesByHandle {
    /// The handle.
    pub handle: String,
}

/// Finds out who holds an address (`calicoctl ipam show --ip`).
#[derive(Clone, Debug)]
pub struct CheckIp {
    /// The address.
    pub address: IpAddr,
}

/// Counts addresses per pool and block (`calicoctl ipam show [--show-blocks|--show-borrowed]`).
#[derive(Clone, Debug)]
pub struct Usage {
    /// The pools to count.
    pub pools: Vec<Pool>,
    /// Prefixes that are reserved.
    pub reserved: Vec<IpNet>,
}

/// An address with its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The address.
    pub address: IpAddr,
    /// Its block.
    pub block: IpNet,
    /// `host:<node>` or `virtual:<name>`; `None` where nobody claims the block.
    pub block_owner: Option<String>,
    /// The handle it is released by.
    pub handle: Option<String>,
    /// The owner's attributes.
    pub attributes: BTreeMap<String, String>,
    /// When it was assigned, for a release that must not hit a later holder.
    pub sequence_number: Option<u64>,
}

/// How full a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockUsage {
    /// The block.
    pub cidr: IpNet,
    /// `host:<node>` or `virtual:<name>`.
    pub owner: Option<String>,
    /// Its addresses.
    pub total: u128,
    /// Held.
    pub in_use: u128,
    /// Reserved and not held.
    pub reserved: u128,
    /// Neither held, resting nor reserved.
    pub free: u128,
    /// Held by a node (attribute `node`) other than the owner.
    pub borrowed: Vec<Held>,
    /// Held without the attribute `node`.
    pub without_node: usize,
}

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// The pool.
    pub pool: Pool,
    /// Its addresses, at most `u128::MAX`.
    pub total: u128,
    /// Held.
    pub in_use: u128,
    /// Reserved and not held.
    pub reserved: u128,
    /// The rest.
    pub free: u128,
    /// Its blocks in the order of their addresses.
    pub blocks: Vec<BlockUsage>,
}

impl ReadConfig {
    /// The operation.
    pub fn start(self) -> Operation<Result<IpamConfig, Error>> {
        Operation::new(|io| async move {
            let stored = io.get::<IpamConfig>(&Key::IpamConfig).await?;
            Ok(stored.map(|stored| stored.value).unwrap_or_default())
        })
    }
}

impl AddressesByHandle {
    /// The operation; empty where there is no such handle.
    pub fn start(self) -> Operation<Result<Vec<Held>, Error>> {
        Operation::new(|io| async move { addresses(&io, &self.handle).await })
    }
}

pub(crate) async fn addresses(io: &Io, handle: &str) -> Result<Vec<Held>, Error> {
    let key = Key::Handle(handle.to_owned());
    let mut found = Vec::new();
    let Some(stored) = io.get::<Handle>(&key).await? else { return Ok(found) };
    for name in stored.value.block.keys() {
        let cidr = name.parse().map_err(|_| Error::Corrupt {
            key: key.clone(),
            reason: format!("{name} is no block"),
        })?;
        if let Some(block) = io.block(cidr).await? {
            let of_handle = held(&block.value);
            found.extend(of_handle.into_iter().filter(|h| h.handle.as_deref() == Some(handle)));
        }
    }
    Ok(found)
}

impl CheckIp {
    /// The operation; `None` where nobody holds the address.
    pub fn start(self) -> Operation<Result<Option<Held>, Error>> {
        Operation::new(|io| async move {
            let blocks = io.blocks().await?.all(|cidr| cidr.contains(&self.address))?;
            let found = blocks.iter().flat_map(|block| held(&block.value));
            Ok(found.into_iter().find(|held| held.address == self.address))
        })
    }
}

impl Usage {
    /// The operation: the pools in the order given.
    pub fn start(self) -> Operation<Result<Vec<PoolUsage>, Error>> {
        Operation::new(|io| async move {
            let counted = |cidr: &IpNet| self.pools.iter().any(|pool| pool.cidr.contains(cidr));
            let blocks = io.blocks().await?.all(counted)?;
            let usage = self.pools.into_iter().map(|pool| {
                let inside = blocks.iter().filter(|b| pool.cidr.contains(&b.value.cidr));
                let inside: Vec<_> = inside.map(|block| &block.value).collect();
                let is_reserved =
                    |held: &Held| self.reserved.iter().any(|net| net.contains(&held.address));
                let held_reserved =
                    inside.iter().flat_map(|b| held(b)).filter(is_reserved).count() as u128;
                let blocks = inside.iter().map(|b| block_usage(b, &self.reserved)).collect();
                pool_usage(pool, blocks, &self.reserved, held_reserved)
            });
            Ok(usage.collect())
        })
    }
}

/// Every held address of a block.
pub fn held(block: &model::Block) -> Vec<Held> {
    let of = |(ordinal, holder): (usize, &model::Allocation)| Held {
        address: address_of(block, ordinal),
        block: block.cidr,
        block_owner: owner(block),
        handle: holder.handle_id.clone(),
        attributes: holder.secondary.clone().unwrap_or_default(),
        sequence_number: block.sequence_number_for_allocation.get(&ordinal.to_string()).copied(),
    };
    in_use(block).map(of).collect()
}

fn block_usage(block: &model::Block, reserved_nets: &[IpNet]) -> BlockUsage {
    let held = held(block);
    let is_reserved =
        |i: &&usize| reserved_nets.iter().any(|net| net.contains(&address_of(block, **i)));
    let reserved = block.unallocated.iter().filter(is_reserved).count();
    let owner = owner(block);
    let (in_use, without_node) =
        (held.len(), held.iter().filter(|h| !h.attributes.contains_key("node")).count());
    let borrowed = held.into_iter().filter(|held| {
        let holder = held.attributes.get("node").map(|node| format!("host:{node}"));
        holder.is_some() && holder != owner
    });
    BlockUsage {
        cidr: block.cidr,
        total: block.allocations.len() as u128,
        in_use: in_use as u128,
        reserved: reserved as u128,
        free: (block.unallocated.len() - reserved) as u128,
        borrowed: borrowed.collect(),
        without_node,
        owner,
    }
}

fn pool_usage(
    pool: Pool,
    blocks: Vec<BlockUsage>,
    reserved: &[IpNet],
    held_reserved: u128,
) -> PoolUsage {
    let total = size(&pool.cidr);
    let in_use: u128 = blocks.iter().map(|block| block.in_use).sum();
    let nets = IpNet::aggregate(&reserved.to_vec());
    let reserved = nets.iter().map(|net| {
        if net.contains(&pool.cidr) {
            total
        } else if pool.cidr.contains(net) {
            size(net)
        } else {
            0
        }
    });
    let reserved = reserved.sum::<u128>().saturating_sub(held_reserved);
    let free = total.saturating_sub(in_use).saturating_sub(reserved);
    PoolUsage { pool, total, in_use, reserved, free, blocks }
}

fn size(net: &IpNet) -> u128 {
    1u128.checked_shl(u32::from(net.max_prefix_len() - net.prefix_len())).unwrap_or(u128::MAX)
}
