//! One operation on the kernel.

use crate::{Link, LinkKind, Mac, Route, RouteKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// One operation on the kernel. Prints in `ip`'s words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Sets a kernel parameter.
    SetSysctl {
        /// Below /proc/sys: `net/ipv4/ip_forward`.
        path: String,
        /// Its new value.
        value: String,
    },
    /// Makes a device.
    CreateLink {
        /// Its name.
        name: String,
        /// What it is.
        link: Link,
    },
    /// Changes what can be changed of a device that is there; `None` stays as it is.
    UpdateLink {
        /// Its name.
        name: String,
        /// Bytes of the largest packet.
        mtu: Option<u32>,
        /// Its Ethernet address.
        mac: Option<Mac>,
        /// Administratively up.
        up: Option<bool>,
    },
    /// Changes the ends of an IP-in-IP device by BPF that is there; packets pass all the time.
    UpdateIpip {
        /// Its name.
        name: String,
        /// Outer source address.
        local: Ipv4Addr,
        /// Devices that outer packets come in by.
        uplinks: BTreeSet<String>,
    },
    /// Removes a device, and with it all that belongs to it.
    DeleteLink {
        /// Its name.
        name: String,
    },
    /// Gives a device an address.
    AddAddress {
        /// The device's name.
        device: String,
        /// With the subnet's prefix length.
        address: IpNet,
    },
    /// Takes an address away.
    DeleteAddress {
        /// The device's name.
        device: String,
        /// With the subnet's prefix length.
        address: IpNet,
    },
    /// Makes a route, in place of another one of the same key, in one step.
    ReplaceRoute {
        /// Its table, destination and metric.
        key: RouteKey,
        /// Where it leads.
        route: Route,
    },
    /// Removes this very route: not another one of the same key.
    DeleteRoute {
        /// Its table, destination and metric.
        key: RouteKey,
        /// Where it leads.
        route: Route,
    },
    /// Makes or changes a permanent neighbour entry.
    SetNeighbor {
        /// The device's name.
        device: String,
        /// The neighbour.
        address: IpAddr,
        /// Its Ethernet address.
        mac: Mac,
    },
    /// Removes a neighbour entry.
    DeleteNeighbor {
        /// The device's name.
        device: String,
        /// The neighbour.
        address: IpAddr,
    },
    /// Makes or changes a VXLAN forwarding entry.
    SetFdb {
        /// The VXLAN device's name.
        device: String,
        /// The inner destination.
        mac: Mac,
        /// The tunnel's other end.
        remote: IpAddr,
    },
    /// Removes a VXLAN forwarding entry.
    DeleteFdb {
        /// The VXLAN device's name.
        device: String,
        /// The inner destination.
        mac: Mac,
        /// The tunnel's other end.
        remote: IpAddr,
    },
    /// Lets an IP-in-IP device by BPF take packets from an outer source.
    AddSource {
        /// The device's name.
        device: String,
        /// The other node's address.
        source: Ipv4Addr,
    },
    /// Lets it take them no longer.
    DeleteSource {
        /// The device's name.
        device: String,
        /// The other node's address.
        source: Ipv4Addr,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::SetSysctl { path, value } => write!(f, "sysctl {path}={value}"),
            Change::CreateLink { name, link } => write!(f, "link add {name} {link}"),
            Change::UpdateLink { name, mtu, mac, up } => {
                write!(f, "link set {name}")?;
                mac.map_or(Ok(()), |mac| write!(f, " address {mac}"))?;
                mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
                up.map_or(Ok(()), |up| write!(f, " {}", if up { "up" } else { "down" }))
            }
            Change::UpdateIpip { name, local, uplinks } => {
                let uplinks: Vec<&str> = uplinks.iter().map(String::as_str).collect();
                write!(f, "link set {name} type ipip (by BPF) local {local}")?;
                write!(f, " dev {}", uplinks.join(","))
            }
            Change::DeleteLink { name } => write!(f, "link del {name}"),
            Change::AddAddress { device, address } => write!(f, "addr add {address} dev {device}"),
            Change::DeleteAddress { device, address } => {
                write!(f, "addr del {address} dev {device}")
            }
            Change::ReplaceRoute { key, route } => {
                write!(f, "route replace {}", key.describe(route))
            }
            Change::DeleteRoute { key, route } => write!(f, "route del {}", key.describe(route)),
            Change::SetNeighbor { device, address, mac } => {
                write!(f, "neigh replace {address} lladdr {mac} nud permanent dev {device}")
            }
            Change::DeleteNeighbor { device, address } => {
                write!(f, "neigh del {address} dev {device}")
            }
            Change::SetFdb { device, mac, remote } => {
                write!(f, "fdb replace {mac} dev {device} dst {remote} self permanent")
            }
            Change::DeleteFdb { device, mac, remote } => {
                write!(f, "fdb del {mac} dev {device} dst {remote} self")
            }
            Change::AddSource { device, source } => {
                write!(f, "tunnel source add {source} dev {device}")
            }
            Change::DeleteSource { device, source } => {
                write!(f, "tunnel source del {source} dev {device}")
            }
        }
    }
}

/// As the end of `ip link add NAME`.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mac.map_or(Ok(()), |mac| write!(f, "address {mac} "))?;
        write!(f, "mtu {} {}", self.mtu, if self.up { "up " } else { "" })?;
        match &self.kind {
            LinkKind::Vxlan { vni, port, local, parent } => {
                write!(f, "type vxlan id {vni} local {local} dev {parent}")?;
                write!(f, " dstport {port} nolearning")
            }
            LinkKind::Ipip => write!(f, "type ipip"),
            LinkKind::IpipBpf { local, uplinks } => {
                let uplinks: Vec<&str> = uplinks.iter().map(String::as_str).collect();
                write!(f, "type ipip (by BPF) local {local} dev {}", uplinks.join(","))
            }
            LinkKind::Other(kind) => write!(f, "type {kind}"),
        }
    }
}
