//! What happens inside one block: giving, releasing, resting, and keeping the lists in order.

use crate::pool::{address, number};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use model::{Allocation, Block};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The largest number of addresses a block may have: IPv4 /20, IPv6 /116 are Calico's largest
/// blocks.
const ADDRESSES_MAX: u128 = 4096;

/// `host:<node>`, as a block's affinity names its owner.
pub(crate) fn host_owner(host: &str) -> String {
    format!("host:{host}")
}

/// A new block of a host with every address free; `None` for a prefix too large to be a block.
pub(crate) fn new_block(cidr: IpNet, host: &str, now: Timestamp) -> Option<Block> {
    let bits = u32::from(cidr.max_prefix_len() - cidr.prefix_len());
    let size = 1u128.checked_shl(bits).filter(|size| *size <= ADDRESSES_MAX)? as usize;
    Some(Block {
        cidr,
        affinity: Some(host_owner(host)),
        affinity_claim_time: Some(now.to_string()),
        allocations: vec![None; size],
        unallocated: (0..size).collect(),
        attributes: Vec::new(),
        sequence_number: u64::try_from(now.as_nanosecond()).unwrap_or(0),
        sequence_number_for_allocation: BTreeMap::new(),
        deleted: false,
        host_affinity: None,
        other: BTreeMap::new(),
    })
}

/// Who claims the block, `host:<node>` or `virtual:<name>`, also in an older Calico's field.
pub fn owner(block: &Block) -> Option<String> {
    block.affinity.clone().or_else(|| block.host_affinity.as_deref().map(host_owner))
}

/// The address of an ordinal; one that the block doesn't have gives any.
pub fn address_of(block: &Block, ordinal: usize) -> IpAddr {
    address(&block.cidr, number(block.cidr.network()).wrapping_add(ordinal as u128))
}

/// The ordinal of an address, if the block has it.
pub fn ordinal_of(block: &Block, address: IpAddr) -> Option<usize> {
    if !block.cidr.contains(&address) {
        return None;
    }
    let ordinal = usize::try_from(number(address) - number(block.cidr.network())).ok()?;
    (ordinal < block.allocations.len()).then_some(ordinal)
}

/// Who holds (or, with `released_at`, last held) an ordinal.
pub fn holder(block: &Block, ordinal: usize) -> Option<&Allocation> {
    block.attributes.get((*block.allocations.get(ordinal)?)?)
}

/// Ordinals with a live holder, in order.
pub fn in_use(block: &Block) -> impl Iterator<Item = (usize, &Allocation)> {
    (0..block.allocations.len())
        .filter_map(|ordinal| Some((ordinal, holder(block, ordinal)?)))
        .filter(|(_, holder)| holder.released_at.is_none())
}

/// Ordinals held under a handle.
pub(crate) fn held_by(block: &Block, handle: &str) -> Vec<usize> {
    let held = in_use(block).filter(|(_, holder)| holder.handle_id.as_deref() == Some(handle));
    held.map(|(ordinal, _)| ordinal).collect()
}

/// Whether no address is held or rests.
pub(crate) fn is_empty(block: &Block) -> bool {
    block.allocations.iter().all(Option::is_none)
}

/// When the block was claimed; blocks of Calico before 3.30 only have their creation's nanoseconds.
pub(crate) fn claimed_at(block: &Block) -> Timestamp {
    let told = block.affinity_claim_time.as_deref().and_then(|text| text.parse().ok());
    told.or_else(|| Timestamp::from_nanosecond(block.sequence_number.into()).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Gives ordinals to a holder and takes them off the free list.
pub(crate) fn assign(block: &mut Block, ordinals: &[usize], allocation: &Allocation) {
    let index = match block.attributes.iter().position(|known| known == allocation) {
        Some(index) => index,
        None => {
            block.attributes.push(allocation.clone());
            block.attributes.len() - 1
        }
    };
    for ordinal in ordinals {
        block.allocations[*ordinal] = Some(index);
        let sequence = block.sequence_number;
        block.sequence_number_for_allocation.insert(ordinal.to_string(), sequence);
    }
    block.unallocated.retain(|free| !ordinals.contains(free));
}

/// Takes ordinals from their holders: free at once, or resting from `now` where there is a
/// cooldown.
pub(crate) fn release(block: &mut Block, ordinals: &[usize], now: Timestamp, cooldown: u32) {
    if cooldown > 0 {
        let resting = Allocation { released_at: Some(now.to_string()), ..Allocation::default() };
        let index = block.attributes.len();
        block.attributes.push(resting);
        for ordinal in ordinals {
            block.allocations[*ordinal] = Some(index);
            block.sequence_number_for_allocation.remove(&ordinal.to_string());
        }
    } else {
        free(block, ordinals);
    }
    compact(block);
}

/// Frees what has rested long enough.
pub(crate) fn wake_rested(block: &mut Block, now: Timestamp, cooldown: u32) {
    let rested = |holder: &Allocation| {
        let since = holder.released_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let bound = SignedDuration::from_secs(cooldown.into());
        holder.released_at.is_some() && since.is_none_or(|at| now.duration_since(at) >= bound)
    };
    let ordinals: Vec<usize> = (0..block.allocations.len())
        .filter(|ordinal| holder(block, *ordinal).is_some_and(rested))
        .collect();
    if !ordinals.is_empty() {
        free(block, &ordinals);
        compact(block);
    }
}

fn free(block: &mut Block, ordinals: &[usize]) {
    for ordinal in ordinals {
        block.allocations[*ordinal] = None;
        block.sequence_number_for_allocation.remove(&ordinal.to_string());
        block.unallocated.push(*ordinal);
    }
}

// Drops attributes nobody uses, joins equal ones and numbers the rest anew in their old order.
fn compact(block: &mut Block) {
    let mut kept: Vec<Allocation> = Vec::new();
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    for (old, attribute) in block.attributes.iter().enumerate() {
        if block.allocations.contains(&Some(old)) {
            let new = kept.iter().position(|known| known == attribute).unwrap_or_else(|| {
                kept.push(attribute.clone());
                kept.len() - 1
            });
            moved.insert(old, new);
        }
    }
    for place in &mut block.allocations {
        *place = place.and_then(|old| moved.get(&old).copied());
    }
    block.attributes = kept;
}

/// Why a stored block cannot be worked on, if it cannot: its lists contradict each other.
pub fn damage(block: &Block) -> Option<String> {
    let size = block.allocations.len();
    let bits = u32::from(block.cidr.max_prefix_len() - block.cidr.prefix_len());
    if 1u128.checked_shl(bits) != Some(size as u128) {
        return Some(format!("it has {size} allocations, not one per address"));
    }
    let mut free = block.unallocated.clone();
    free.sort_unstable();
    let expected: Vec<usize> = (0..size).filter(|i| block.allocations[*i].is_none()).collect();
    if free != expected {
        return Some("unallocated is not exactly the addresses without allocation".to_owned());
    }
    let lost = block.allocations.iter().flatten().find(|i| **i >= block.attributes.len());
    lost.map(|index| format!("an allocation names attribute {index}, which is not there"))
}
