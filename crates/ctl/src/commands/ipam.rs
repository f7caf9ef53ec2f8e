//! `calicoctl ipam`.

use crate::cli::Ipam;
use crate::terminal::Terminal;
use crate::{Error, grid, ipam_config};
use ipam::{CheckIp, Held, Pool, PoolUsage, ReadConfig, ReleaseAddresses, ReleaseOne, Usage};
use jiff::Timestamp;
use model::{IpPool, IpReservation, IpamConfig, Key};
use std::net::IpAddr;
use store::{Datastore, drive, typed};

pub(super) async fn run(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    command: &Ipam,
) -> Result<(), Error> {
    let text = match command {
        Ipam::Show { ip: Some(address), .. } => {
            let held = drive(datastore, CheckIp { address: *address }.start()).await?;
            describe(*address, held.as_ref())
        }
        Ipam::Show { show_configuration: true, .. } => {
            configuration(&drive(datastore, ReadConfig.start()).await?)
        }
        Ipam::Show { show_borrowed: true, .. } => borrowed(&usage(datastore).await?),
        Ipam::Show { show_blocks, .. } => utilization(&usage(datastore).await?, *show_blocks),
        Ipam::Release { ip } => release(datastore, *ip).await?,
        Ipam::Configure { strictaffinity, max_blocks_per_host } => {
            configure(datastore, *strictaffinity, *max_blocks_per_host).await?
        }
    };
    terminal.print(&text)
}

async fn usage(datastore: &dyn Datastore) -> Result<Vec<PoolUsage>, Error> {
    let stored: Vec<IpPool> = typed::list(datastore, None).await?;
    let pool = |pool: IpPool| {
        let cidr = pool.spec.net().map_err(|problem| Error::problems(&pool.key(), &[problem]))?;
        Ok(Pool { cidr, block_size: pool.spec.block_size(), name: pool.metadata.name })
    };
    let pools = stored.into_iter().map(pool).collect::<Result<_, Error>>()?;
    let reservations: Vec<IpReservation> = typed::list(datastore, None).await?;
    let reserved = reservations.iter().flat_map(|one| one.spec.nets()).collect();
    Ok(drive(datastore, Usage { pools, reserved }.start()).await?)
}

fn utilization(pools: &[PoolUsage], blocks: bool) -> String {
    let row = |grouping: &str, cidr: String, total: u128, used: u128, free: u128| {
        let share = |part| format!("{} ({:.0}%)", count(part), 100.0 * part as f64 / total as f64);
        vec![grouping.to_owned(), cidr, count(total), share(used), share(free)]
    };
    let mut rows = Vec::new();
    for usage in pools {
        let cidr = usage.pool.cidr.to_string();
        rows.push(row("IP Pool", cidr, usage.total, usage.in_use, usage.free));
        for block in usage.blocks.iter().filter(|_| blocks) {
            rows.push(row("Block", block.cidr.to_string(), block.total, block.in_use, block.free));
        }
    }
    grid::boxed(&["GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS FREE"], &rows)
}

/// Exact while it is short enough to read (a large IPv6 pool isn't).
fn count(number: u128) -> String {
    if number < 1_000_000_000_000 { number.to_string() } else { format!("{:.4e}", number as f64) }
}

fn borrowed(pools: &[PoolUsage]) -> String {
    let attribute =
        |held: &Held, name: &str| held.attributes.get(name).cloned().unwrap_or_default();
    let row = |held: &Held| {
        let owner = held.block_owner.as_deref().unwrap_or_default();
        let owner = owner.strip_prefix("host:").unwrap_or(owner).to_owned();
        let (kind, holder) = match attribute(held, "type") {
            kind if !kind.is_empty() => (kind, attribute(held, "node")),
            _ => {
                let (namespace, pod) = (attribute(held, "namespace"), attribute(held, "pod"));
                ("pod".to_owned(), format!("{namespace}/{pod}"))
            }
        };
        let (address, block) = (held.address.to_string(), held.block.to_string());
        vec![address, attribute(held, "node"), block, owner, kind, holder]
    };
    let blocks = || pools.iter().flat_map(|usage| &usage.blocks);
    let rows: Vec<_> = blocks().flat_map(|block| &block.borrowed).map(row).collect();
    let headings = ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"];
    let text = grid::boxed(&headings, &rows);
    match blocks().map(|block| block.without_node).sum::<usize>() {
        0 => text,
        others => format!(
            "{text}found {others} IP allocations without an explicit node association; \
             `calicoctl ipam show --ip` tells their handles\n"
        ),
    }
}

fn configuration(config: &IpamConfig) -> String {
    let rows = [
        ("StrictAffinity", config.strict_affinity.to_string()),
        ("AutoAllocateBlocks", config.auto_allocate_blocks.to_string()),
        ("MaxBlocksPerHost", config.max_blocks_per_host.to_string()),
    ];
    let rows = rows.map(|(property, value)| vec![property.to_owned(), value]);
    grid::boxed(&["PROPERTY", "VALUE"], &rows)
}

fn describe(address: IpAddr, held: Option<&Held>) -> String {
    let Some(held) = held else { return format!("{address} is not assigned\n") };
    let handle = held.handle.as_deref().unwrap_or("none");
    let attributes = held.attributes.iter().map(|(key, value)| format!("  {key}: {value}\n"));
    let attributes: String = attributes.collect();
    format!("IP {address} is in use\nHandle ID: {handle}\nActive Owner Attributes:\n{attributes}")
}

async fn release(datastore: &dyn Datastore, address: IpAddr) -> Result<String, Error> {
    let config = drive(datastore, ReadConfig.start()).await?;
    let one = ReleaseOne { address, handle: None, sequence_number: None };
    let release = ReleaseAddresses { addresses: vec![one], config, now: Timestamp::now() };
    match drive(datastore, release.start()).await?.as_slice() {
        [] => Ok(format!("Successfully released IP address {address}\n")),
        _ => Err(Error::Invalid(format!(
            "IP address {address} is not assigned; `calicoctl ipam show --show-blocks` says where \
             addresses are"
        ))),
    }
}

async fn configure(
    datastore: &dyn Datastore,
    strict_affinity: Option<bool>,
    max_blocks_per_host: Option<u32>,
) -> Result<String, Error> {
    let stored = datastore.get(&Key::IpamConfig).await?;
    let mut config = drive(datastore, ReadConfig.start()).await?;
    let mut text = String::new();
    if let Some(strict) = strict_affinity {
        config.strict_affinity = strict;
        text += &format!("Successfully set StrictAffinity to: {strict}\n");
    }
    if let Some(most) = max_blocks_per_host {
        config.max_blocks_per_host = most;
        text += &format!("Successfully set MaxBlocksPerHost to: {most}\n");
    }
    model::validate::validate_ipam_config(&config)
        .map_err(|problems| Error::problems(&Key::IpamConfig, &problems))?;
    ipam_config::put(datastore, config, stored).await?;
    Ok(text)
}
