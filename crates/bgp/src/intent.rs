//! Calico's resources into what the speaker should do: what confd and its templates did.

use crate::configuration::Configuration;
use ipnet::IpNet;
use model::{BgpConfiguration, BgpFilter, BgpPeer, IpPool, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that decides what a node's speaker does.
#[derive(Clone, Debug)]
pub struct Cluster<'a> {
    /// This node's name.
    pub node: &'a str,
    /// CALICO_ROUTER_ID: an address, or `hash`; `None`: the node's IPv4 address.
    pub router_id: Option<&'a str>,
    /// All nodes by name, this one among them.
    pub nodes: &'a BTreeMap<String, Node>,
    /// By name.
    pub configurations: &'a BTreeMap<String, BgpConfiguration>,
    /// By name.
    pub peers: &'a BTreeMap<String, BgpPeer>,
    /// By name.
    pub filters: &'a BTreeMap<String, BgpFilter>,
    /// By name.
    pub pools: &'a BTreeMap<String, IpPool>,
    /// The blocks that have an affinity to this node.
    pub blocks: BTreeSet<IpNet>,
    /// Addresses of this node's workloads.
    pub workloads: BTreeSet<IpAddr>,
}

/// What the speaker of a node should do, and what is wrong with the resources, each with its
/// object's name, the cause and the next step. `None` for a node that has no BGP.
pub fn configuration(_cluster: &Cluster<'_>) -> (Option<Configuration>, Vec<String>) {
    (None, vec![])
}
