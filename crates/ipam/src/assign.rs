//! Giving addresses: the next free ones, or one that was asked for.

use crate::claim::{GiveUp, affinities, claim, give_up};
use crate::contents::{
    address_of, assign, claimed_at, held_by, holder, host_owner, is_empty, ordinal_of, owner,
    release, wake_rested,
};
use crate::handles::{register, settle};
use crate::operation::{Blocks, Io, Operation, Stored, Swap, decode_block};
use crate::pool::{Ranges, names};
use crate::{BLOCKS_PER_HOST, Error, Pool, RECLAIM_AGE_SECONDS, RETRIES_MAX};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use model::{AffinityState, Allocation, Block, Entry, IpamConfig, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A time as Calico's attribute `timestamp` has it: Go's way of printing one.
pub fn timestamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

/// Gives a host the next free addresses of some pools, all of one family.
///
/// Own blocks first, then a new block, then an empty block of another host, then (without
/// strictAffinity) an address of any block. All or none: on an error nothing stays assigned, except
/// where the datastore fails or the process dies; then [`crate::ReleaseByHandle`] finds what is
/// left.
#[derive(Clone, Debug)]
pub struct AutoAssign {
    /// The node.
    pub host: String,
    /// What the addresses will be released by.
    pub handle: String,
    /// The owner: `pod`, `namespace`, `node`, `timestamp` …
    pub attributes: BTreeMap<String, String>,
    /// Where from, in order of preference (see [`crate::select_pools`]).
    pub pools: Vec<Pool>,
    /// How many.
    pub count: usize,
    /// The caller's bound on the host's blocks; the configuration's may be lower.
    pub max_blocks: Option<u32>,
    /// The cluster's settings ([`crate::ReadConfig`]).
    pub config: IpamConfig,
    /// Prefixes never to give from (IPReservation).
    pub reserved: Vec<IpNet>,
    /// The host's blocks as a watch has told them: the affinities are not read as long as these
    /// serve. An outdated one costs a conflict, no more.
    pub known_affine_blocks: Vec<Entry>,
    /// The present.
    pub now: Timestamp,
}

/// Gives a host one address that was asked for.
#[derive(Clone, Debug)]
pub struct AssignAddress {
    /// The address.
    pub address: IpAddr,
    /// The node.
    pub host: String,
    /// What the address will be released by.
    pub handle: String,
    /// The owner.
    pub attributes: BTreeMap<String, String>,
    /// The pools the address may be in: all enabled ones of the use.
    pub pools: Vec<Pool>,
    /// The cluster's settings.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

impl AutoAssign {
    /// The operation: the addresses with their block's prefix length (`192.168.1.7/26`).
    pub fn start(self) -> Operation<Result<Vec<IpNet>, Error>> {
        Operation::new(|io| async move { auto_assign(&io, &self).await })
    }
}

impl AssignAddress {
    /// The operation: the address with its block's prefix length.
    pub fn start(self) -> Operation<Result<IpNet, Error>> {
        Operation::new(|io| async move { assign_address(&io, &self).await })
    }
}

pub(crate) async fn auto_assign(io: &Io, wish: &AutoAssign) -> Result<Vec<IpNet>, Error> {
    if wish.pools.is_empty() {
        let considered = "none".to_owned();
        let (family, host) = ("IP", wish.host.clone());
        return Err(Error::NoPool { family, host, considered });
    }
    let mut given = Vec::new();
    let outcome = fill(io, wish, &mut given).await;
    if outcome.is_err() && !matches!(outcome, Err(Error::Unavailable { .. })) {
        give_back(io, wish, &given).await?;
    }
    outcome.map(|()| given)
}

// Takes back what was given before the rest turned out not to be there.
async fn give_back(io: &Io, wish: &AutoAssign, given: &[IpNet]) -> Result<(), Error> {
    let blocks: BTreeSet<IpNet> = given.iter().map(IpNet::trunc).collect();
    for cidr in blocks {
        for _ in 0..RETRIES_MAX {
            let Some(mut block) = io.block(cidr).await? else { break };
            let ours = held_by(&block.value, &wish.handle);
            let ours = ours.into_iter().filter(|ordinal| {
                given.iter().any(|net| net.addr() == address_of(&block.value, *ordinal))
            });
            let ours = ours.collect::<Vec<_>>();
            release(&mut block.value, &ours, wish.now, 0);
            if crate::claim::touch(io, block).await?.is_some() {
                break;
            }
        }
        settle(io, &wish.handle, cidr).await?;
    }
    Ok(())
}

async fn fill(io: &Io, wish: &AutoAssign, given: &mut Vec<IpNet>) -> Result<(), Error> {
    let taker = Taker {
        handle: &wish.handle,
        allocation: allocation(&wish.handle, &wish.attributes),
        reserved: &wish.reserved,
        cooldown: wish.config.ip_cooldown_seconds,
        now: wish.now,
    };
    let own = host_owner(&wish.host);
    let allowed = |cidr: &IpNet| wish.pools.iter().any(|pool| pool.cidr.contains(cidr));
    let missing = |given: &Vec<IpNet>| wish.count.saturating_sub(given.len());

    for entry in &wish.known_affine_blocks {
        if missing(given) == 0 {
            return Ok(());
        }
        if let Ok(block) = decode_block(entry)
            && allowed(&block.value.cidr)
        {
            given.extend(taker.take(io, block, Some(&own), missing(given)).await?);
        }
    }
    if missing(given) == 0 {
        return Ok(());
    }
    let mine = affinities(io, &wish.host).await?;
    for cidr in mine.keys().filter(|cidr| allowed(cidr)) {
        if missing(given) == 0 {
            return Ok(());
        }
        let confirmed = mine.get(cidr) == Some(&AffinityState::Confirmed);
        let block = match own_block(io, wish, *cidr, confirmed).await {
            Err(Error::Corrupt { .. }) => continue,
            other => other?,
        };
        if let Some(block) = block {
            given.extend(taker.take(io, block, Some(&own), missing(given)).await?);
        }
    }
    if missing(given) == 0 {
        return Ok(());
    }
    beyond_own(io, wish, &taker, &mine, given).await
}

// A block that the host has an affinity for. `None`: it is another's.
async fn own_block(
    io: &Io,
    wish: &AutoAssign,
    cidr: IpNet,
    confirmed: bool,
) -> Result<Option<Stored<Block>>, Error> {
    let found = if confirmed { io.block(cidr).await? } else { None };
    match found.filter(|block| owner(&block.value) == Some(host_owner(&wish.host))) {
        Some(block) => Ok(Some(block)),
        None => claim(io, &wish.host, cidr, wish.now).await,
    }
}

// New blocks, other hosts' empty ones, and borrowing, over one list of all blocks.
async fn beyond_own(
    io: &Io,
    wish: &AutoAssign,
    taker: &Taker<'_>,
    mine: &BTreeMap<IpNet, AffinityState>,
    given: &mut Vec<IpNet>,
) -> Result<(), Error> {
    let own = host_owner(&wish.host);
    let missing = |given: &Vec<IpNet>| wish.count.saturating_sub(given.len());
    let Blocks { readable: blocks, unreadable } = io.blocks().await?;
    let limit = block_limit(wish);
    let is_own = |block: &&Stored<Block>| {
        owner(&block.value).as_ref() == Some(&own)
            && same_family(&block.value.cidr, &wish.pools[0].cidr)
    };
    let mut held = blocks.iter().filter(is_own).count() as u32;
    // Removing a host while it claims can leave a block of it without affinity.
    let in_pools = |cidr: &IpNet| wish.pools.iter().any(|pool| pool.cidr.contains(cidr));
    let stray = |cidr: &&IpNet| !mine.contains_key(*cidr) && in_pools(cidr);
    for cidr in blocks.iter().filter(is_own).map(|block| &block.value.cidr).filter(stray) {
        if missing(given) > 0
            && let Some(block) = claim(io, &wish.host, *cidr, wish.now).await?
        {
            given.extend(taker.take(io, block, Some(&own), missing(given)).await?);
        }
    }
    let may_claim = wish.config.auto_allocate_blocks;
    let known = blocks.iter().map(|block| &block.value.cidr);
    let ranges = Ranges::new(known.chain(unreadable.iter().map(|(cidr, _)| cidr)));
    let reclaimable = blocks.iter().filter(|block| reclaimable(wish, &block.value));
    let free = wish.pools.iter().flat_map(|p| p.free_blocks(&wish.host, &ranges, &wish.reserved));
    let wanted = free
        .map(|cidr| (cidr, None))
        .chain(reclaimable.map(|block| (block.value.cidr, owner(&block.value))));
    let mut lost = 0;
    for (cidr, holder) in wanted {
        if missing(given) == 0 || !may_claim || held >= limit || lost >= RETRIES_MAX {
            break;
        }
        if let Some(host) = holder.as_deref().and_then(|name| name.strip_prefix("host:")) {
            let moment = reclaim_moment(wish.now);
            if !give_up(io, host, cidr, GiveUp::EmptySince(moment)).await? {
                continue;
            }
        }
        match claim(io, &wish.host, cidr, wish.now).await? {
            Some(block) => {
                held += 1;
                given.extend(taker.take(io, block, Some(&own), missing(given)).await?);
            }
            None => lost += 1,
        }
    }
    if !wish.config.strict_affinity {
        borrow(io, wish, taker, given).await?;
    }
    match (missing(given), unreadable.into_iter().find(|(cidr, _)| in_pools(cidr))) {
        (0, _) => Ok(()),
        (_, Some((_, why))) => Err(why),
        _ if held >= limit => Err(Error::BlockLimit { host: wish.host.clone(), limit }),
        _ => Err(Error::PoolExhausted { host: wish.host.clone(), pools: names(&wish.pools) }),
    }
}

// An address of any block of the pools. Blocks are listed anew: others may have come since.
async fn borrow(
    io: &Io,
    wish: &AutoAssign,
    taker: &Taker<'_>,
    given: &mut Vec<IpNet>,
) -> Result<(), Error> {
    if given.len() >= wish.count {
        return Ok(());
    }
    for block in io.blocks().await?.readable {
        let missing = wish.count.saturating_sub(given.len());
        let virtual_owner = owner(&block.value).is_some_and(|name| name.starts_with("virtual:"));
        let allowed = wish.pools.iter().any(|pool| pool.cidr.contains(&block.value.cidr));
        if missing > 0 && allowed && !virtual_owner {
            given.extend(taker.take(io, block, None, missing).await?);
        }
    }
    Ok(())
}

fn block_limit(wish: &AutoAssign) -> u32 {
    let bounds = [Some(wish.config.max_blocks_per_host), wish.max_blocks];
    bounds.into_iter().flatten().filter(|bound| *bound > 0).min().unwrap_or(BLOCKS_PER_HOST)
}

fn same_family(a: &IpNet, b: &IpNet) -> bool {
    matches!((a, b), (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)))
}

fn reclaim_moment(now: Timestamp) -> Timestamp {
    now.saturating_sub(SignedDuration::from_secs(RECLAIM_AGE_SECONDS)).unwrap_or(now)
}

fn reclaimable(wish: &AutoAssign, block: &Block) -> bool {
    let of_other_host =
        owner(block).is_some_and(|o| o.starts_with("host:") && o != host_owner(&wish.host));
    of_other_host
        && is_empty(block)
        && claimed_at(block) <= reclaim_moment(wish.now)
        && wish.pools.iter().any(|pool| pool.cidr.contains(&block.cidr))
}

fn allocation(handle: &str, attributes: &BTreeMap<String, String>) -> Allocation {
    Allocation {
        handle_id: Some(handle.to_owned()),
        secondary: Some(attributes.clone()),
        ..Allocation::default()
    }
}

/// Who takes addresses, and which he must not.
struct Taker<'a> {
    handle: &'a str,
    allocation: Allocation,
    reserved: &'a [IpNet],
    cooldown: u32,
    now: Timestamp,
}

impl Taker<'_> {
    // Takes up to `count` free addresses of a block, fewer where it has fewer; none where it must
    // be `owner`'s and is not (any more).
    async fn take(
        &self,
        io: &Io,
        block: Stored<Block>,
        required_owner: Option<&String>,
        count: usize,
    ) -> Result<Vec<IpNet>, Error> {
        let cidr = block.value.cidr;
        let free = |block: &Block| {
            let reserved =
                |i: &usize| self.reserved.iter().any(|net| net.contains(&address_of(block, *i)));
            let free = block.unallocated.iter().copied().filter(|i| !reserved(i));
            free.take(count).collect::<Vec<_>>()
        };
        let (mut current, mut registered) = (Some(block), false);
        for _ in 0..RETRIES_MAX {
            let Some(mut block) = current.take() else { break };
            wake_rested(&mut block.value, self.now, self.cooldown);
            let ordinals = free(&block.value);
            let mismatch =
                required_owner.is_some() && owner(&block.value).as_ref() != required_owner;
            if ordinals.is_empty() || mismatch {
                break;
            }
            let held = held_by(&block.value, self.handle).len() + ordinals.len();
            register(io, self.handle, cidr, held as u32).await?;
            registered = true;
            if swap_in(io, &mut block, &ordinals, &self.allocation).await? {
                let addresses = ordinals.iter().map(|i| address_of(&block.value, *i));
                let nets = addresses.filter_map(|a| IpNet::new(a, cidr.prefix_len()).ok());
                return Ok(nets.collect());
            }
            current = io.block(cidr).await?;
        }
        if registered {
            settle(io, self.handle, cidr).await?;
        }
        Ok(Vec::new())
    }
}

// Writes the block with the ordinals given. False: lost.
async fn swap_in(
    io: &Io,
    block: &mut Stored<Block>,
    ordinals: &[usize],
    allocation: &Allocation,
) -> Result<bool, Error> {
    assign(&mut block.value, ordinals, allocation);
    block.value.sequence_number += 1;
    let key = Key::Block(block.value.cidr);
    Ok(io.update(&key, &block.value, block.revision).await? != Swap::Lost)
}

async fn assign_address(io: &Io, wish: &AssignAddress) -> Result<IpNet, Error> {
    let cidr = wish.pools.iter().find_map(|pool| pool.block_of(wish.address));
    let Some(cidr) = cidr else {
        return Err(Error::NotInPool { address: wish.address, pools: names(&wish.pools) });
    };
    let mut registered = false;
    let outcome = try_assign(io, wish, cidr, &mut registered).await;
    if registered && !matches!(outcome, Ok(_) | Err(Error::Unavailable { .. })) {
        settle(io, &wish.handle, cidr).await?;
    }
    outcome
}

/// Who has an address, for an error.
fn why_taken(holder: &Allocation) -> String {
    if holder.released_at.is_some() {
        return "it was released and rests (ipCooldownSeconds)".to_owned();
    }
    let attribute = |name: &str| holder.secondary.as_ref()?.get(name);
    let whose = match (attribute("namespace"), attribute("pod")) {
        (Some(namespace), Some(pod)) => format!("pod {namespace}/{pod} holds it"),
        _ => "it is held".to_owned(),
    };
    format!("{whose} under handle {}", holder.handle_id.as_deref().unwrap_or("(none)"))
}

async fn try_assign(
    io: &Io,
    wish: &AssignAddress,
    cidr: IpNet,
    registered: &mut bool,
) -> Result<IpNet, Error> {
    let address = wish.address;
    for _ in 0..RETRIES_MAX {
        let block = match io.block(cidr).await? {
            Some(block) => Some(block),
            None => claim(io, &wish.host, cidr, wish.now).await?,
        };
        let Some(mut block) = block else { continue };
        let its_owner = owner(&block.value).unwrap_or_else(|| "no node".to_owned());
        if wish.config.strict_affinity && its_owner != host_owner(&wish.host) {
            let host = wish.host.clone();
            return Err(Error::StrictAffinity { address, block: cidr, owner: its_owner, host });
        }
        wake_rested(&mut block.value, wish.now, wish.config.ip_cooldown_seconds);
        let Some(ordinal) = ordinal_of(&block.value, address) else {
            return Err(Error::NotInPool { address, pools: names(&wish.pools) });
        };
        if let Some(holder) = holder(&block.value, ordinal) {
            return Err(Error::Taken { address, reason: why_taken(holder) });
        }
        let held = held_by(&block.value, &wish.handle).len() + 1;
        register(io, &wish.handle, cidr, held as u32).await?;
        *registered = true;
        let allocation = allocation(&wish.handle, &wish.attributes);
        if swap_in(io, &mut block, &[ordinal], &allocation).await? {
            let net = IpNet::new(address, cidr.prefix_len());
            return net.map_err(|_| Error::NotInPool { address, pools: names(&wish.pools) });
        }
    }
    Err(Error::Contention(Key::Block(cidr)))
}
