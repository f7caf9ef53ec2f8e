//! The input of a plan: all that decides what a node programs.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::{Link, Mac, Ownership, Route, RouteKey, RouteTarget, State, TABLE_MAIN};
use model::EncapsulationMode;
use model::config::{NetworkingBackend, ProgramClusterRoutes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// `routeRefreshInterval`'s default.
const REFRESH_INTERVAL_DEFAULT: Duration = Duration::from_secs(90);

/// All that decides what a node programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// This node's name.
    pub node: String,
    /// This node's address with its subnet's prefix length.
    pub address: Option<Ipv4Net>,
    /// This node's IPv6 address with its subnet's prefix length.
    pub address_v6: Option<Ipv6Net>,
    /// This node's address on `vxlan.calico`.
    pub vxlan_address: Option<Ipv4Addr>,
    /// This node's address on `tunl0`.
    pub ipip_address: Option<Ipv4Addr>,
    /// Routes learned by BGP.
    pub learned: Learned,
    /// All other nodes by name.
    pub nodes: BTreeMap<String, RemoteNode>,
    /// All pools, in order of name.
    pub pools: Vec<Pool>,
    /// Which node routes each block.
    pub blocks: BTreeMap<IpNet, String>,
    /// Addresses that a node holds in another node's block.
    pub borrowed: BTreeMap<IpAddr, String>,
    /// This node's workloads, by their host interface.
    pub workloads: BTreeMap<String, Workload>,
    /// What the kernel has that isn't ours.
    pub facts: Facts,
    /// Settings from FelixConfiguration and the environment.
    pub settings: Settings,
}

impl Topology {
    /// This node's address of the same family as another.
    pub(crate) fn address_like(&self, other: IpAddr) -> Option<IpNet> {
        match other {
            IpAddr::V4(_) => self.address.map(IpNet::V4),
            IpAddr::V6(_) => self.address_v6.map(IpNet::V6),
        }
    }

    /// Whether an address is of a block that this node routes.
    pub fn is_in_own_block(&self, address: IpAddr) -> bool {
        let mut own = self.blocks.iter().filter(|(_, owner)| **owner == self.node);
        own.any(|(block, _)| block.contains(&address))
    }
}

/// What BGP has learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Next hops (one, or several as good) by destination. Shared, as there may be many.
    pub routes: Arc<BTreeMap<IpNet, Vec<IpAddr>>>,
    /// All peers have told all: what isn't in `routes` may be removed from the kernel.
    pub in_sync: bool,
}

/// What is known of another node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RemoteNode {
    /// Its address; without one no IPv4 is routed to it.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address; without one no IPv6 is routed to it.
    pub address_v6: Option<Ipv6Addr>,
    /// Its address on `vxlan.calico`.
    pub vxlan_address: Option<Ipv4Addr>,
    /// Its MAC on `vxlan.calico`, where it isn't the derived one.
    pub vxlan_mac: Option<Mac>,
}

impl RemoteNode {
    /// Where packets for a destination are sent to: its address of the same family.
    pub fn address_for(&self, destination: &IpNet) -> Option<IpAddr> {
        match destination {
            IpNet::V4(_) => self.address.map(IpAddr::V4),
            IpNet::V6(_) => self.address_v6.map(IpAddr::V6),
        }
    }
}

/// A pool, as far as routing cares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The resource's name.
    pub name: String,
    /// Its range.
    pub cidr: IpNet,
    /// `ipipMode`.
    pub ipip: EncapsulationMode,
    /// `vxlanMode`.
    pub vxlan: EncapsulationMode,
    /// Masquerade what leaves the pools.
    pub nat_outgoing: bool,
}

/// One interface of a local workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Its addresses, `/32` or `/128`.
    pub addresses: BTreeSet<IpNet>,
}

/// What the kernel has that isn't ours: the ground the plan stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The kernel has IPv6.
    pub ipv6: bool,
    /// The kernel has IP-in-IP devices.
    pub ipip: bool,
    /// Chains of others' tables that drop what no rule of theirs accepts, as `nft` names them.
    pub dropping_chains: Vec<String>,
    /// All devices but workloads' and our own.
    pub links: BTreeMap<String, Link>,
    /// Names of the workload devices that exist and are up: by one that is down the kernel takes no
    /// route.
    pub workload_links: BTreeSet<String>,
    /// Addresses of those devices.
    pub addresses: BTreeSet<(String, IpNet)>,
    /// Main-table routes that others made.
    #[serde(with = "route_list")]
    pub routes: BTreeMap<RouteKey, Route>,
}

/// The way the kernel's own routes lead to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) device: String,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) prefix_len: u8,
}

impl Facts {
    /// What of the kernel's state isn't ours, as the newest plan says; before there is one, as
    /// Calico's defaults say.
    pub fn of(actual: &State, owned: Option<&Ownership>, ipv6: bool) -> Facts {
        let default = crate::owned(&Topology::default());
        let owned = owned.unwrap_or(&default);
        let mut facts = Facts { ipv6, ..Facts::default() };
        for (name, link) in &actual.links {
            if owned.is_workload(name) {
                if link.up {
                    facts.workload_links.insert(name.clone());
                }
            } else if !owned.owns_device(name) {
                facts.links.insert(name.clone(), link.clone());
            }
        }
        let others = actual.addresses.iter().filter(|(name, _)| facts.links.contains_key(name));
        facts.addresses = others.cloned().collect();
        let foreign = actual.routes.iter().filter(|(key, route)| {
            let by_other = route.device().is_none_or(|device| facts.links.contains_key(device));
            let ours = owned.route_protocols.contains(&route.protocol);
            key.table == TABLE_MAIN && by_other && !ours
        });
        facts.routes = foreign.map(|(key, route)| (key.clone(), route.clone())).collect();
        facts
    }

    /// The addresses of each device that isn't ours.
    pub fn addresses_by_device(&self) -> BTreeMap<Box<str>, BTreeSet<IpAddr>> {
        let mut devices: BTreeMap<Box<str>, BTreeSet<IpAddr>> =
            self.links.keys().map(|name| (name.as_str().into(), BTreeSet::new())).collect();
        for (device, net) in &self.addresses {
            devices.entry(device.as_str().into()).or_default().insert(net.addr());
        }
        devices
    }

    /// Whether an address is one of the node's own.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.device_of(address).is_some()
    }

    /// The device that holds an address.
    pub(crate) fn device_of(&self, address: IpAddr) -> Option<&str> {
        let found = self.addresses.iter().find(|(_, net)| net.addr() == address);
        found.map(|(device, _)| device.as_str())
    }

    /// The device that others' routes lead to an address by, and the length of the route's prefix.
    pub fn device_towards(&self, address: IpAddr) -> Option<(String, u8)> {
        self.path_to(address).map(|path| (path.device, path.prefix_len))
    }

    /// Longest prefix, then lowest metric, as the kernel chooses.
    pub(crate) fn path_to(&self, address: IpAddr) -> Option<Path> {
        let best =
            self.routes.iter().filter(|(key, _)| key.destination.contains(&address)).max_by_key(
                |(key, _)| (key.destination.prefix_len(), std::cmp::Reverse(key.metric)),
            );
        let (key, route) = best?;
        match &route.target {
            RouteTarget::Via { device, gateway, .. } => Some(Path {
                device: device.clone(),
                gateway: *gateway,
                prefix_len: key.destination.prefix_len(),
            }),
            RouteTarget::Blackhole | RouteTarget::Other(_) => None,
        }
    }
}

/// Settings that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// CALICO_NETWORKING_BACKEND.
    pub backend: NetworkingBackend,
    /// `programClusterRoutes`.
    pub program_cluster_routes: ProgramClusterRoutes,
    /// BGPConfiguration's `programClusterRoutes`: which cluster routes BGP programs.
    pub bgp_program_cluster_routes: ProgramClusterRoutes,
    /// `ipipEnabled`: `false` never makes `tunl0`; `None` leaves it to the pools.
    pub ipip_enabled: Option<bool>,
    /// `ipipMTU`; 0: derived from the uplink.
    pub ipip_mtu: u32,
    /// `vxlanEnabled`: `false` never makes `vxlan.calico`; `None` leaves it to the pools.
    pub vxlan_enabled: Option<bool>,
    /// `vxlanVNI`.
    pub vxlan_vni: u32,
    /// `vxlanPort`.
    pub vxlan_port: u16,
    /// `vxlanMTU`; 0: derived from the uplink.
    pub vxlan_mtu: u32,
    /// `mtuIfacePattern` has matched these devices.
    pub mtu_devices: BTreeSet<String>,
    /// `interfacePrefix`: starts of the names of workloads' devices.
    pub interface_prefixes: BTreeSet<String>,
    /// `proto` of routes to workloads.
    pub device_route_protocol: u8,
    /// `proto` of routes to other nodes' blocks, and of blackholes.
    pub cluster_route_protocol: u8,
    /// `removeExternalRoutes`: routes that others put on workloads' devices go.
    pub remove_external_routes: bool,
    /// `routeRefreshInterval`; `None`: never.
    pub refresh_interval: Option<Duration>,
    /// How policy is enforced; `None`: it isn't.
    pub policy: Option<crate::policy::Settings>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            backend: NetworkingBackend::Bird,
            program_cluster_routes: ProgramClusterRoutes::Disabled,
            bgp_program_cluster_routes: ProgramClusterRoutes::Enabled,
            ipip_enabled: None,
            ipip_mtu: 0,
            vxlan_enabled: None,
            vxlan_vni: 4096,
            vxlan_port: 4789,
            vxlan_mtu: 0,
            mtu_devices: BTreeSet::new(),
            interface_prefixes: ["cali".to_owned()].into(),
            device_route_protocol: kernel::PROTOCOL_BOOT,
            cluster_route_protocol: kernel::PROTOCOL_CALICO,
            remove_external_routes: true,
            refresh_interval: Some(REFRESH_INTERVAL_DEFAULT),
            policy: None,
        }
    }
}

// JSON objects have string keys only, so a map by RouteKey is written as a list.
mod route_list {
    use super::{BTreeMap, Route, RouteKey};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        routes: &BTreeMap<RouteKey, Route>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        routes.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<RouteKey, Route>, D::Error> {
        Ok(Vec::<(RouteKey, Route)>::deserialize(deserializer)?.into_iter().collect())
    }
}
