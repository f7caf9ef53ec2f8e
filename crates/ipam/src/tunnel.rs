//! The address of a node's tunnel device.

use crate::assign::auto_assign;
use crate::lookup::addresses;
use crate::operation::{Io, Operation};
use crate::release::by_handle;
use crate::{AutoAssign, Error, Pool, ReleaseByHandle};
use jiff::Timestamp;
use model::IpamConfig;
use model::names::Tunnel;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Gives a node's tunnel device an address of these pools, and keeps the one it has while it is in
/// them.
#[derive(Clone, Debug)]
pub struct EnsureTunnelAddress {
    /// The node.
    pub host: String,
    /// Which device.
    pub tunnel: Tunnel,
    /// Enabled pools of the device's encapsulation and family that select the node. Without any,
    /// the node needs no address: what it has is released.
    pub pools: Vec<Pool>,
    /// The cluster's settings.
    pub config: IpamConfig,
    /// The present.
    pub now: Timestamp,
}

impl EnsureTunnelAddress {
    /// The operation: the address, or `None` without pools.
    pub fn start(self) -> Operation<Result<Option<IpAddr>, Error>> {
        Operation::new(|io| async move { ensure(&io, self).await })
    }
}

async fn ensure(io: &Io, wish: EnsureTunnelAddress) -> Result<Option<IpAddr>, Error> {
    let handle = wish.tunnel.handle(&wish.host);
    let held = addresses(io, &handle).await?;
    let in_pool = |address: &IpAddr| wish.pools.iter().any(|pool| pool.cidr.contains(address));
    if let [only] = held.as_slice()
        && in_pool(&only.address)
    {
        return Ok(Some(only.address));
    }
    // None, one of a pool that has changed, or several after a failure: begin anew.
    let (config, now) = (wish.config.clone(), wish.now);
    by_handle(io, &ReleaseByHandle { handle: handle.clone(), config, now }).await?;
    if wish.pools.is_empty() {
        return Ok(None);
    }
    let assign = AutoAssign {
        attributes: BTreeMap::from([
            ("node".to_owned(), wish.host.clone()),
            ("type".to_owned(), wish.tunnel.attribute().to_owned()),
        ]),
        host: wish.host,
        handle,
        pools: wish.pools,
        count: 1,
        max_blocks: None,
        config: wish.config,
        reserved: Vec::new(),
        known_affine_blocks: Vec::new(),
        now: wish.now,
    };
    let given = auto_assign(io, &assign).await?;
    Ok(given.first().map(ipnet::IpNet::addr))
}
