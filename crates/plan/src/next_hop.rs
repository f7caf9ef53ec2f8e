//! Next hops: by which device, and by which gateway, packets reach one.

use crate::topology::Topology;
use crate::{ipip, vxlan};
use ipnet::IpNet;
use kernel::{RouteTarget, State};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The ways to next hops of one plan, each found once: many routes share few of them.
pub(crate) struct NextHops<'a> {
    topology: &'a Topology,
    ipip: bool,
    vxlan: bool,
    direct: BTreeMap<IpAddr, Option<Hop>>,
}

/// A way to a next hop.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) target: RouteTarget,
    address: IpAddr,
    /// Length of the prefix by which the kernel reaches it.
    prefix_len: u8,
}

impl Hop {
    /// False for a route that would itself become the way to its own next hop.
    pub(crate) fn leads_to(&self, destination: &IpNet) -> bool {
        !destination.contains(&self.address) || destination.prefix_len() < self.prefix_len
    }
}

impl<'a> NextHops<'a> {
    /// Of a plan whose devices are in `state` already.
    pub(crate) fn of(topology: &'a Topology, state: &State) -> NextHops<'a> {
        let ipip = state.links.contains_key(ipip::DEVICE);
        let vxlan = state.links.contains_key(vxlan::DEVICE);
        NextHops { topology, ipip, vxlan, direct: BTreeMap::new() }
    }

    /// Whether it is in the subnet of the node's own address.
    pub(crate) fn is_near(&self, hop: IpAddr) -> bool {
        self.topology.address_like(hop).is_some_and(|own| own.trunc().contains(&hop))
    }

    /// By the node's own subnet, or by the gateway that the kernel itself would take there.
    pub(crate) fn direct(&mut self, hop: IpAddr) -> Option<Hop> {
        if let Some(known) = self.direct.get(&hop) {
            return known.clone();
        }
        let found = self.find(hop);
        self.direct.insert(hop, found.clone());
        found
    }

    fn find(&self, hop: IpAddr) -> Option<Hop> {
        let facts = &self.topology.facts;
        if facts.device_of(hop).is_some() {
            return None;
        }
        let via = |device: &str, gateway, prefix_len| {
            let (device, gateway) = (device.to_owned(), Some(gateway));
            let target = RouteTarget::Via { device, gateway, onlink: false };
            Some(Hop { target, address: hop, prefix_len })
        };
        if let Some(own) = self.topology.address_like(hop).filter(|_| self.is_near(hop))
            && let Some(device) = facts.device_of(own.addr())
        {
            return via(device, hop, own.prefix_len());
        }
        let path = facts.path_to(hop)?;
        via(&path.device, path.gateway.unwrap_or(hop), path.prefix_len)
    }

    /// By `tunl0`, whose packets' outer destination is the next hop.
    pub(crate) fn by_ipip(&mut self, hop: IpAddr) -> Option<Hop> {
        let under = self.direct(hop)?;
        let target = onlink(ipip::DEVICE, hop);
        (self.ipip && hop.is_ipv4()).then_some(Hop { target, ..under })
    }

    /// By `vxlan.calico`, to another node's address on it.
    pub(crate) fn by_vxlan(&self, remote: Ipv4Addr) -> Option<RouteTarget> {
        self.vxlan.then(|| onlink(vxlan::DEVICE, remote.into()))
    }
}

fn onlink(device: &str, gateway: IpAddr) -> RouteTarget {
    RouteTarget::Via { device: device.to_owned(), gateway: Some(gateway), onlink: true }
}
