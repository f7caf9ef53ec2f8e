//! Routing-side state: links, addresses, routes, neighbours, FDB entries, sysctls.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::str::FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Mac, ()> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Mac(bytes)) }
    }
}

/// What a node wants in the kernel, or what is there. Links are named, not numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Devices by name. Desired: those to make. Actual: all.
    pub links: BTreeMap<String, Link>,
    /// Addresses with their prefix length, by device.
    pub addresses: BTreeSet<(String, IpNet)>,
    /// Routes of all tables.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Permanent neighbour (ARP, ND) entries by device and address.
    pub neighbors: BTreeMap<(String, IpAddr), Mac>,
    /// VXLAN forwarding entries by device and inner MAC: the tunnel's other end.
    pub fdb: BTreeMap<(String, Mac), IpAddr>,
    /// Outer source addresses whose packets a BPF IP-in-IP device takes, by device; others' are left
    /// to the host, where nf_tables drops and counts them.
    pub decapsulated: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// Sysctls by path below /proc/sys, e.g. `net/ipv4/ip_forward`. Actual: those asked for.
    pub sysctls: BTreeMap<String, String>,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is; [`LinkKind::Other`] for devices made by others.
    pub kind: LinkKind,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Its Ethernet address, where it has one and we care.
    pub mac: Option<Mac>,
    /// Administratively up.
    pub up: bool,
}

/// The kind of a device, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// A VXLAN device without learning.
    Vxlan {
        /// VXLAN network identifier.
        vni: u32,
        /// UDP destination port.
        port: u16,
        /// Outer source address.
        local: IpAddr,
        /// The device that the outer packets leave by.
        parent: String,
    },
    /// The kernel's IP-in-IP device with neither end fixed (`tunl0`): a route's gateway is the outer
    /// destination.
    Ipip,
    /// The same by BPF, on a kernel without `ipip`.
    IpipBpf {
        /// Outer source address.
        local: Ipv4Addr,
        /// Devices that outer packets come in by.
        uplinks: BTreeSet<String>,
    },
    /// Any other; the kernel's own name for it (`veth`, `bridge`, empty for hardware).
    Other(String),
}

/// What makes a route one route in the kernel's eyes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// Routing table; 254 is main.
    pub table: u32,
    /// Destination prefix.
    pub destination: IpNet,
    /// Metric; 0 is printed as none.
    pub metric: u32,
}

/// Where packets for a destination go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Forward, or drop.
    pub target: RouteTarget,
    /// Who says so: `ip route`'s `proto` (3 boot, 4 static, 12 bird, 80 Calico).
    pub protocol: u8,
    /// 0 universe, 253 link.
    pub scope: u8,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

/// Forward, or drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Out of a device, perhaps by a gateway.
    Via {
        /// The device's name.
        device: String,
        /// The next hop.
        gateway: Option<IpAddr>,
        /// Take the gateway as reachable on the device without a route to it.
        onlink: bool,
    },
    /// Dropped silently.
    Blackhole,
    /// A route this project never makes (multipath, encap, unreachable …), with its description.
    Other(String),
}

impl Route {
    /// The device that packets leave by.
    pub fn device(&self) -> Option<&str> {
        match &self.target {
            RouteTarget::Via { device, .. } => Some(device),
            RouteTarget::Blackhole | RouteTarget::Other(_) => None,
        }
    }
}

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;
/// `proto` of routes that Calico's agent programs.
pub const PROTOCOL_CALICO: u8 = 80;
/// `proto` of the routes to workloads (boot).
pub const PROTOCOL_BOOT: u8 = 3;
/// `proto bird`.
pub const PROTOCOL_BIRD: u8 = 12;
/// Scope of routes by gateway.
pub const SCOPE_UNIVERSE: u8 = 0;
/// Scope of routes without gateway.
pub const SCOPE_LINK: u8 = 253;

impl State {
    /// The address a VXLAN device sends from, or `None` where it isn't IPv4.
    pub fn vxlan_local(&self, device: &str) -> Option<Ipv4Addr> {
        match &self.links.get(device)?.kind {
            LinkKind::Vxlan { local: IpAddr::V4(local), .. } => Some(*local),
            _ => None,
        }
    }
}

/// Which objects of the actual state are ours, and so may be removed when they aren't desired.
///
/// *A source may delete only what it owns, and only once it is in sync*: until then leave the sets
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Routes of these protocols in the main table, on whatever device.
    pub route_protocols: BTreeSet<u8>,
    /// Those of them whose routes, but for blackholes, stay for now although they aren't desired:
    /// who wants them may not have said so yet (BGP's graceful restart). They are replaced at will.
    pub kept_protocols: BTreeSet<u8>,
    /// Devices with one of these name prefixes (`cali`): their unicast routes with `proto` 3 or 80
    /// are ours.
    pub workload_prefixes: BTreeSet<String>,
    /// So are all routes of scope link on those devices, whoever made them (the kernel apart).
    pub external_workload_routes: bool,
    /// Devices that are ours by name: themselves, their addresses, permanent neighbours and FDB
    /// entries.
    pub devices: BTreeSet<String>,
}
