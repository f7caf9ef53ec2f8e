//! Which host a block belongs to: claiming and giving up, in steps a killed process may stop
//! between.
//!
//! ```text
//! claim:    affinity pending ─▶ block created (it names its owner) ─▶ affinity confirmed
//! give up:  affinity pendingDeletion ─▶ block deleted, or its owner cleared ─▶ affinity deleted
//! ```
//! The block's `affinity` decides. Whoever takes over a claim or a give-up that stopped half-way
//! changes the block first, so that the other's compare-and-swap on it fails.

use crate::contents::{claimed_at, host_owner, is_empty, new_block, owner, wake_rested};
use crate::operation::{Io, Stored, Swap};
use crate::{Error, RETRIES_MAX};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{Affinity, AffinityKind, AffinityState, Block, Key, Query, Revision};
use std::collections::BTreeMap;

pub(crate) fn affinity_key(host: &str, block: IpNet) -> Key {
    Key::Affinity { kind: AffinityKind::Host, host: host.to_owned(), block }
}

/// The host's affinities: block to state.
pub(crate) async fn affinities(
    io: &Io,
    host: &str,
) -> Result<BTreeMap<IpNet, AffinityState>, Error> {
    let query = Query::Affinities { kind: AffinityKind::Host, host: Some(host.to_owned()) };
    let mut found = BTreeMap::new();
    for entry in io.list(query).await? {
        if let Key::Affinity { block, .. } = entry.key {
            found.insert(block, crate::operation::decode::<Affinity>(&entry)?.value.state);
        }
    }
    Ok(found)
}

/// Makes the block the host's, creating it where it does not exist. `None`: it is another's.
pub(crate) async fn claim(
    io: &Io,
    host: &str,
    cidr: IpNet,
    now: Timestamp,
) -> Result<Option<Stored<Block>>, Error> {
    let key = affinity_key(host, cidr);
    for _ in 0..RETRIES_MAX {
        let Some(affinity) = pending_affinity(io, &key).await? else { continue };
        let Some(block) = own_block(io, host, cidr, now, affinity.value.state).await? else {
            continue;
        };
        if owner(&block.value) != Some(host_owner(host)) {
            // Lost means another process of this host is at it too; it will see the same block.
            io.delete(&key, affinity.revision).await?;
            return Ok(None);
        }
        if affinity.value.state == AffinityState::Confirmed {
            return Ok(Some(block));
        }
        let confirmed = Affinity::new(AffinityState::Confirmed);
        if io.update(&key, &confirmed, affinity.revision).await? != Swap::Lost {
            return Ok(Some(block));
        }
    }
    Err(Error::Contention(key))
}

// The affinity, created or brought to pending unless confirmed. `None`: read again.
async fn pending_affinity(io: &Io, key: &Key) -> Result<Option<Stored<Affinity>>, Error> {
    let pending = Affinity::new(AffinityState::Pending);
    if let Swap::Done(revision) = io.create(key, &pending).await? {
        return Ok(Some(Stored { value: pending, revision }));
    }
    let Some(found) = io.get::<Affinity>(key).await? else { return Ok(None) };
    if found.value.state != AffinityState::PendingDeletion {
        return Ok(Some(found));
    }
    match io.update(key, &pending, found.revision).await? {
        Swap::Done(revision) => Ok(Some(Stored { value: pending, revision })),
        Swap::Lost => Ok(None),
    }
}

// The block, created as ours or as it is. `None`: read again.
async fn own_block(
    io: &Io,
    host: &str,
    cidr: IpNet,
    now: Timestamp,
    state: AffinityState,
) -> Result<Option<Stored<Block>>, Error> {
    let key = Key::Block(cidr);
    let Some(fresh) = new_block(cidr, host, now) else {
        let reason = "the pool's blockSize makes blocks of more than 4096 addresses".to_owned();
        return Err(Error::Corrupt { key, reason });
    };
    if let Swap::Done(revision) = io.create(&key, &fresh).await? {
        return Ok(Some(Stored { value: fresh, revision }));
    }
    let Some(mut found) = io.block(cidr).await? else { return Ok(None) };
    let ours = owner(&found.value) == Some(host_owner(host));
    if !ours || state == AffinityState::Confirmed {
        return Ok(Some(found));
    }
    // Whoever was about to delete it must fail.
    found.value.affinity_claim_time = Some(now.to_string());
    touch(io, found).await
}

/// Writes a block as it is with the next sequence number. `None`: lost.
pub(crate) async fn touch(
    io: &Io,
    mut block: Stored<Block>,
) -> Result<Option<Stored<Block>>, Error> {
    block.value.sequence_number += 1;
    match io.update(&Key::Block(block.value.cidr), &block.value, block.revision).await? {
        Swap::Done(revision) => Ok(Some(Stored { value: block.value, revision })),
        Swap::Lost => Ok(None),
    }
}

/// When a block may be taken from its host.
#[derive(Clone, Copy)]
pub(crate) enum GiveUp {
    /// In any case: the host is gone. Addresses still held keep the block, without an owner.
    Always { now: Timestamp, cooldown: u32 },
    /// Only while it is empty and was claimed before this moment.
    EmptySince(Timestamp),
}

/// Takes the block from the host. False: it stays the host's.
pub(crate) async fn give_up(io: &Io, host: &str, cidr: IpNet, when: GiveUp) -> Result<bool, Error> {
    let key = affinity_key(host, cidr);
    for _ in 0..RETRIES_MAX {
        let affinity = io.get::<Affinity>(&key).await?;
        let block = io.block(cidr).await?;
        let block = block.filter(|b| owner(&b.value) == Some(host_owner(host)));
        if let (Some(block), GiveUp::EmptySince(moment)) = (&block, when)
            && (!is_empty(&block.value) || claimed_at(&block.value) > moment)
        {
            restore(io, &key, affinity).await?;
            return Ok(false);
        }
        if block.is_none() && matches!(when, GiveUp::EmptySince(_)) && !half_given_up(&affinity) {
            // The host may be about to create the block: its claim stands.
            return Ok(true);
        }
        let Some(marked) = mark(io, &key, affinity).await? else { continue };
        if let Some(block) = block
            && !detach(io, block, when).await?
        {
            continue;
        }
        if let Some(revision) = marked {
            // Lost: the host has claimed it anew since; that claim stands.
            io.delete(&key, revision).await?;
        }
        return Ok(true);
    }
    Err(Error::Contention(key))
}

fn half_given_up(affinity: &Option<Stored<Affinity>>) -> bool {
    affinity.as_ref().is_some_and(|a| a.value.state == AffinityState::PendingDeletion)
}

// A give-up that stopped half-way, of a block in use after all.
async fn restore(io: &Io, key: &Key, affinity: Option<Stored<Affinity>>) -> Result<(), Error> {
    if let Some(affinity) = affinity
        && affinity.value.state == AffinityState::PendingDeletion
    {
        io.update(key, &Affinity::new(AffinityState::Confirmed), affinity.revision).await?;
    }
    Ok(())
}

// The marked affinity's revision, if there is one to mark. `None`: read again.
async fn mark(
    io: &Io,
    key: &Key,
    affinity: Option<Stored<Affinity>>,
) -> Result<Option<Option<Revision>>, Error> {
    let Some(affinity) = affinity else { return Ok(Some(None)) };
    if affinity.value.state == AffinityState::PendingDeletion {
        return Ok(Some(Some(affinity.revision)));
    }
    let mark = Affinity::new(AffinityState::PendingDeletion);
    Ok(match io.update(key, &mark, affinity.revision).await? {
        Swap::Done(revision) => Some(Some(revision)),
        Swap::Lost => None,
    })
}

// Deletes an empty block, clears the owner of another. False: lost.
async fn detach(io: &Io, mut block: Stored<Block>, when: GiveUp) -> Result<bool, Error> {
    if let GiveUp::Always { now, cooldown } = when {
        wake_rested(&mut block.value, now, cooldown);
    }
    if is_empty(&block.value) {
        let key = Key::Block(block.value.cidr);
        return Ok(io.delete(&key, block.revision).await? != Swap::Lost);
    }
    block.value.affinity = None;
    block.value.host_affinity = None;
    block.value.affinity_claim_time = None;
    Ok(touch(io, block).await?.is_some())
}
