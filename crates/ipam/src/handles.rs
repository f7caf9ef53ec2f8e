//! Keeping handles true to the blocks, so that whatever is held can be found by its handle.
//!
//! The rule: *an address in a block with a handle has an entry in that handle.* An assignment reads
//! the block, writes the handle, then swaps the block. A removal of an entry reads the handle,
//! swaps the block, then swaps the handle. So either the assignment's swap of the block fails, or
//! the removal's of the handle does.

use crate::claim::touch;
use crate::contents::held_by;
use crate::operation::{Io, Stored, Swap};
use crate::{Error, RETRIES_MAX};
use ipnet::IpNet;
use model::{Handle, Key};

/// Writes that the handle holds `count` addresses of the block, before the block says so.
///
/// It writes even where the entry is there already: the new revision is what stops a removal.
pub(crate) async fn register(io: &Io, id: &str, cidr: IpNet, count: u32) -> Result<(), Error> {
    let key = Key::Handle(id.to_owned());
    let mut fresh = Handle::default();
    fresh.block.insert(cidr.to_string(), count);
    for _ in 0..RETRIES_MAX {
        // Most handles are new: one write instead of a read and a write.
        if io.create(&key, &fresh).await? != Swap::Lost {
            return Ok(());
        }
        let Some(mut handle) = io.get::<Handle>(&key).await? else { continue };
        handle.value.block.insert(cidr.to_string(), count);
        if io.update(&key, &handle.value, handle.revision).await? != Swap::Lost {
            return Ok(());
        }
    }
    Err(Error::Contention(key))
}

/// Makes the handle's entry for a block what the block says.
pub(crate) async fn settle(io: &Io, id: &str, cidr: IpNet) -> Result<(), Error> {
    let key = Key::Handle(id.to_owned());
    for _ in 0..RETRIES_MAX {
        let Some(handle) = io.get::<Handle>(&key).await? else { return Ok(()) };
        let Some(told) = handle.value.block.get(&cidr.to_string()).copied() else {
            return Ok(());
        };
        let block = io.block(cidr).await?;
        let held = block.as_ref().map_or(0, |block| held_by(&block.value, id).len()) as u32;
        if held == told {
            return Ok(());
        }
        if let Some(block) = block
            && touch(io, block).await?.is_none()
        {
            continue;
        }
        if write_count(io, &key, handle, cidr, held).await? {
            return Ok(());
        }
    }
    Err(Error::Contention(key))
}

/// Sets or removes the entry; a handle without entries goes. False: lost.
pub(crate) async fn write_count(
    io: &Io,
    key: &Key,
    mut handle: Stored<Handle>,
    cidr: IpNet,
    count: u32,
) -> Result<bool, Error> {
    if count == 0 {
        handle.value.block.remove(&cidr.to_string());
    } else {
        handle.value.block.insert(cidr.to_string(), count);
    }
    let swap = if handle.value.block.is_empty() {
        io.delete(key, handle.revision).await?
    } else {
        io.update(key, &handle.value, handle.revision).await?
    };
    Ok(swap != Swap::Lost)
}
