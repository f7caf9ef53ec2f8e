//! Taking addresses and blocks back.

use crate::claim::{GiveUp, affinities, give_up, touch};
use crate::contents::{
    address_of, held_by, holder, host_owner, is_empty, ordinal_of, owner, release,
};
use crate::handles::{settle, write_count};
use crate::operation::{Io, Operation, Stored, Swap};
use crate::{Error, RETRIES_MAX};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{Block, Handle, IpamConfig, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Releases every address held under a handle. A handle that isn't there has none: that is success.
#[derive(Clone, Debug)]
pub struct ReleaseByHandle {
    /// The handle.
    pub handle: String,
    /// The cluster's settings: how long addresses rest.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

/// One address to release, and what the caller believes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseOne {
    /// The address.
    pub address: IpAddr,
    /// Release only if it is held under this.
    pub handle: Option<String>,
    /// Release only if it was assigned at this number.
    pub sequence_number: Option<u64>,
}

/// Releases single addresses, in order, up to the first that fails.
#[derive(Clone, Debug)]
pub struct ReleaseAddresses {
    /// The addresses.
    pub addresses: Vec<ReleaseOne>,
    /// The cluster's settings.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

/// Releases what was seen to be held under a handle, of each block all or nothing: only where the
/// handle still holds these very addresses of it, each assigned when it was.
#[derive(Clone, Debug)]
pub struct ReleaseSeen {
    /// The handle.
    pub handle: String,
    /// The addresses with the numbers at which they were assigned, by block.
    pub seen: BTreeMap<IpNet, BTreeMap<IpAddr, Option<u64>>>,
    /// The cluster's settings.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

/// Takes all blocks from a host that is gone: empty ones are deleted, others lose their affinity.
#[derive(Clone, Debug)]
pub struct ReleaseHost {
    /// The node.
    pub host: String,
    /// The cluster's settings.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

/// Takes one block from its host if it is empty.
#[derive(Clone, Debug)]
pub struct ReleaseBlockAffinity {
    /// The node.
    pub host: String,
    /// The block.
    pub block: IpNet,
    /// The present.
    pub now: Timestamp,
}

/// Deletes a block that nobody claims, if it is empty: what a host that is gone has left, once the
/// last of its addresses is released.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseUnclaimed {
    /// The block.
    pub block: IpNet,
}

impl ReleaseUnclaimed {
    /// The operation: whether it is deleted, now.
    pub fn start(self) -> Operation<Result<bool, Error>> {
        Operation::new(|io| async move {
            for _ in 0..RETRIES_MAX {
                let Some(block) = io.block(self.block).await? else { return Ok(false) };
                if owner(&block.value).is_some() || !is_empty(&block.value) {
                    return Ok(false);
                }
                if io.delete(&Key::Block(self.block), block.revision).await? != Swap::Lost {
                    return Ok(true);
                }
            }
            Err(Error::Contention(Key::Block(self.block)))
        })
    }
}

impl ReleaseByHandle {
    /// The operation: the addresses released.
    pub fn start(self) -> Operation<Result<Vec<IpAddr>, Error>> {
        Operation::new(|io| async move { by_handle(&io, &self).await })
    }
}

impl ReleaseAddresses {
    /// The operation: the addresses that were not assigned anyway.
    pub fn start(self) -> Operation<Result<Vec<IpAddr>, Error>> {
        Operation::new(|io| async move {
            let mut unassigned = Vec::new();
            for one in &self.addresses {
                if !release_one(&io, one, &self).await? {
                    unassigned.push(one.address);
                }
            }
            Ok(unassigned)
        })
    }
}

impl ReleaseSeen {
    /// The operation: the addresses released. Blocks whose content has changed are left alone.
    pub fn start(self) -> Operation<Result<Vec<IpAddr>, Error>> {
        Operation::new(|io| async move {
            let mut released = Vec::new();
            for (cidr, seen) in &self.seen {
                if release_seen(&io, &self, *cidr, seen).await? {
                    released.extend(seen.keys());
                }
            }
            Ok(released)
        })
    }
}

impl ReleaseHost {
    /// The operation: the blocks taken from it.
    pub fn start(self) -> Operation<Result<Vec<IpNet>, Error>> {
        Operation::new(|io| async move {
            let mut blocks: BTreeSet<IpNet> =
                affinities(&io, &self.host).await?.into_keys().collect();
            let own = Some(host_owner(&self.host));
            let claimed = io.blocks().await?.readable;
            let claimed = claimed.into_iter().filter(|b| owner(&b.value) == own);
            blocks.extend(claimed.map(|block| block.value.cidr));
            let when = GiveUp::Always { now: self.now, cooldown: self.config.ip_cooldown_seconds };
            for block in &blocks {
                give_up(&io, &self.host, *block, when).await?;
            }
            Ok(blocks.into_iter().collect())
        })
    }
}

impl ReleaseBlockAffinity {
    /// The operation: whether the host has lost it; false where addresses of it are held.
    pub fn start(self) -> Operation<Result<bool, Error>> {
        Operation::new(|io| async move {
            give_up(&io, &self.host, self.block, GiveUp::EmptySince(self.now)).await
        })
    }
}

pub(crate) async fn by_handle(io: &Io, wish: &ReleaseByHandle) -> Result<Vec<IpAddr>, Error> {
    let key = Key::Handle(wish.handle.clone());
    let mut released = Vec::new();
    for _ in 0..RETRIES_MAX {
        let Some(handle) = io.get::<Handle>(&key).await? else { return Ok(released) };
        let mut complete = true;
        for name in handle.value.block.keys() {
            let cidr = name.parse().map_err(|_| Error::Corrupt {
                key: key.clone(),
                reason: format!("{name} is no block"),
            })?;
            complete &= empty_block_of_handle(io, wish, cidr, &mut released).await?;
        }
        if complete && io.delete(&key, handle.revision).await? != Swap::Lost {
            return Ok(released);
        }
    }
    Err(Error::Contention(key))
}

// Writes the block even where it holds nothing of the handle: an assignment on its way must fail.
async fn empty_block_of_handle(
    io: &Io,
    wish: &ReleaseByHandle,
    cidr: IpNet,
    released: &mut Vec<IpAddr>,
) -> Result<bool, Error> {
    let Some(mut block) = io.block(cidr).await? else { return Ok(true) };
    let ordinals = held_by(&block.value, &wish.handle);
    let addresses = ordinals.iter().map(|i| address_of(&block.value, *i));
    let addresses = addresses.collect::<Vec<_>>();
    release(&mut block.value, &ordinals, wish.now, wish.config.ip_cooldown_seconds);
    let done = touch(io, block).await?.is_some();
    if done {
        released.extend(addresses);
    }
    Ok(done)
}

// False: nobody holds the address.
async fn release_one(io: &Io, one: &ReleaseOne, wish: &ReleaseAddresses) -> Result<bool, Error> {
    for _ in 0..RETRIES_MAX {
        let Some(mut block) = block_with(io, one.address).await? else { return Ok(false) };
        let cidr = block.value.cidr;
        let Some(ordinal) = ordinal_of(&block.value, one.address) else { return Ok(false) };
        let live = holder(&block.value, ordinal).filter(|h| h.released_at.is_none());
        let Some(held) = live else { return Ok(false) };
        let id = held.handle_id.clone();
        expected(one, &block.value, ordinal, id.as_deref())?;
        // Read before the block is written, see `handles.rs`.
        let handle = match &id {
            Some(id) => io.get::<Handle>(&Key::Handle(id.clone())).await?,
            None => None,
        };
        release(&mut block.value, &[ordinal], wish.now, wish.config.ip_cooldown_seconds);
        let Some(block) = touch(io, block).await? else { continue };
        if let (Some(id), Some(handle)) = (id, handle) {
            let left = held_by(&block.value, &id).len() as u32;
            if !write_count(io, &Key::Handle(id.clone()), handle, cidr, left).await? {
                settle(io, &id, cidr).await?;
            }
        }
        return Ok(true);
    }
    Err(Error::Contention(Key::Handle(one.handle.clone().unwrap_or_default())))
}

// False: it isn't as it was seen.
async fn release_seen(
    io: &Io,
    wish: &ReleaseSeen,
    cidr: IpNet,
    seen: &BTreeMap<IpAddr, Option<u64>>,
) -> Result<bool, Error> {
    let key = Key::Handle(wish.handle.clone());
    for _ in 0..RETRIES_MAX {
        // Read before the block is written, see `handles.rs`.
        let handle = io.get::<Handle>(&key).await?;
        let Some(mut block) = io.block(cidr).await? else { return Ok(false) };
        let ordinals = held_by(&block.value, &wish.handle);
        let assigned = &block.value.sequence_number_for_allocation;
        let holds: BTreeMap<IpAddr, Option<u64>> = ordinals
            .iter()
            .map(|i| (address_of(&block.value, *i), assigned.get(&i.to_string()).copied()))
            .collect();
        if holds != *seen {
            return Ok(false);
        }
        release(&mut block.value, &ordinals, wish.now, wish.config.ip_cooldown_seconds);
        if touch(io, block).await?.is_none() {
            continue;
        }
        if let Some(handle) = handle
            && !write_count(io, &key, handle, cidr, 0).await?
        {
            settle(io, &wish.handle, cidr).await?;
        }
        return Ok(true);
    }
    Err(Error::Contention(key))
}

// The block an address is in; blocks are found by listing, as pools may have gone since.
async fn block_with(io: &Io, address: IpAddr) -> Result<Option<Stored<Block>>, Error> {
    let blocks = io.blocks().await?.all(|cidr| cidr.contains(&address))?;
    Ok(blocks.into_iter().find(|block| block.value.cidr.contains(&address)))
}

fn expected(
    one: &ReleaseOne,
    block: &Block,
    ordinal: usize,
    id: Option<&str>,
) -> Result<(), Error> {
    let address = one.address;
    if let Some(given) = &one.handle
        && Some(given.as_str()) != id
    {
        let actual = id.unwrap_or("none").to_owned();
        return Err(Error::BadHandle { address, given: given.clone(), actual });
    }
    let actual = block.sequence_number_for_allocation.get(&ordinal.to_string()).copied();
    if let (Some(given), Some(actual)) = (one.sequence_number, actual)
        && given != actual
    {
        return Err(Error::BadSequenceNumber { address, given, actual });
    }
    Ok(())
}
