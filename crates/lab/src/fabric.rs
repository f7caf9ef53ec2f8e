//! The cloud between the machines: a bridge per subnet, and cables to them.
//!
//! ```text
//!   lab-init's network namespace            a machine's
//!   [br1]──p1-worker-1 ═══════ veth ═══════ ens5
//! ```
//! Bridges have no addresses; the router is a machine like the others. Everything vanishes with the
//! namespace it is in, so nothing is ever taken down here.

use anyhow::{Context, Result};
use ipnet::IpNet;
use kernel::{
    Link, LinkKind, Mac, Route, RouteKey, RouteTarget, SCOPE_LINK, SCOPE_UNIVERSE, TABLE_MAIN,
};
use linux::netns::NetNs;
use linux::rtnetlink::{LinkSettings, Peer, Rtnetlink, Veth};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use crate::faults::Port;
use crate::topology::Topology;

/// Metric of the routes to and by the gateway, as DHCP clients of clouds give them.
const LEARNED_METRIC: u32 = 100;
/// `proto dhcp` (/etc/iproute2/rt_protos).
const PROTOCOL_DHCP: u8 = 16;
/// The network of the outside host; no subnet's name, which are checked to be host names.
const OUTSIDE: &str = "outside";
const OUTSIDE_MTU: u32 = 1500;

/// The bridges, in the calling process's network namespace.
pub(crate) struct Fabric {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bridge and MTU of each network, by the network's name.
    bridges: BTreeMap<String, (String, u32)>,
    /// Cables made so far; numbers their names.
    cables: u32,
    /// The fabric's ends of all cables.
    ports: Vec<Port>,
}

/// One end of a cable, and how it is set up.
pub(crate) struct Plug<'a> {
    /// The machine's name.
    pub(crate) machine: &'a str,
    /// The interface's name on it.
    pub(crate) interface: &'a str,
    /// The subnet it is plugged into, or `outside`.
    pub(crate) network: &'a str,
    /// Its addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// Default gateways.
    pub(crate) gateways: Vec<IpAddr>,
}

impl Plug<'_> {
    fn mac(&self) -> Option<Mac> {
        self.addresses.first().map(|address| mac_of(address.addr()))
    }
}

impl Fabric {
    pub(crate) fn new() -> Fabric {
        Fabric { state: Mutex::default() }
    }

    /// Makes the bridges.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub(crate) fn build(&self, topology: &Topology) -> Result<()> {
        set_loopback_up()?;
        let mut netlink = Rtnetlink::open()?;
        let subnets = topology.subnets.iter().map(|subnet| (subnet.name.as_str(), subnet.mtu));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (name, mtu)) in subnets.chain([(OUTSIDE, OUTSIDE_MTU)]).enumerate() {
            let bridge = format!("br{}", index + 1);
            netlink.create_bridge(&bridge, mtu)?;
            netlink.set_link(&bridge, &UP)?;
            state.bridges.insert(name.into(), (bridge, mtu));
        }
        Ok(())
    }

    /// Plugs a machine, whose network namespace is given, into a network.
    ///
    /// # Errors
    /// The interface is there already, or the kernel refuses an address or route.
    pub(crate) fn plug(&self, machine: &NetNs, plug: &Plug<'_>) -> Result<()> {
        let (port, bridge, mtu) = self.next_cable(plug)?;
        let mut netlink = Rtnetlink::open()?;
        let peer = Peer { name: plug.interface, mac: plug.mac(), namespace: Some(machine) };
        netlink.create_veth(&Veth { name: &port, mac: None, mtu, peer })?;
        netlink.set_link(&port, &LinkSettings { master: Some(&bridge), ..UP })?;
        let mut inside = Rtnetlink::open_in(machine)?;
        machine.run(|| skip_duplicate_detection(plug.interface))??;
        inside.set_link(plug.interface, &UP)?;
        for address in &plug.addresses {
            inside.add_address(plug.interface, *address)?;
        }
        for gateway in &plug.gateways {
            for (key, route) in learned_routes(*gateway, plug.interface) {
                inside.replace_route(&key, &route)?;
            }
        }
        Ok(())
    }

    /// Pulls a machine's cables, at once; its network namespace may live on for a moment.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn unplug(&self, machine: &str) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut netlink = Rtnetlink::open()?;
        for port in state.ports.extract_if(.., |port| port.machine == machine) {
            match netlink.delete_link(&port.name) {
                Err(error) if !error.is_absent() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The fabric's ends of all cables.
    pub(crate) fn ports(&self) -> Vec<Port> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ports.clone()
    }

    /// The next cable: name of its port in the fabric, and the network's bridge and MTU.
    fn next_cable(&self, plug: &Plug<'_>) -> Result<(String, String, u32)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (bridge, mtu) = state
            .bridges
            .get(plug.network)
            .cloned()
            .with_context(|| format!("no network {:?} in the fabric", plug.network))?;
        state.cables += 1;
        let mut name = format!("p{}-{}", state.cables, plug.machine);
        // Interface names have at most 15 bytes; machines' names are ASCII.
        name.truncate(15);
        state.ports.push(Port {
            name: name.clone(),
            machine: plug.machine.into(),
            interface: plug.interface.into(),
            addresses: plug.addresses.clone(),
            mac: plug.mac(),
        });
        Ok((name, bridge, mtu))
    }
}

/// Up, and otherwise as it is.
const UP: LinkSettings<'static> = LinkSettings {
    rename: None,
    mtu: None,
    mac: None,
    master: None,
    namespace: None,
    up: Some(true),
};

/// An Ethernet address for an IP address: a machine keeps it when it restarts, as real ones do, so
/// that its neighbours' caches stay right.
fn mac_of(address: IpAddr) -> Mac {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => (address.to_bits() as u32).to_be_bytes(),
    };
    Mac([0x02, 0x42, a, b, c, d])
}

/// What a DHCP client of a cloud makes of a gateway: a route to it, and the default route by it.
fn learned_routes(gateway: IpAddr, device: &str) -> [(RouteKey, Route); 2] {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let route = |destination, gateway, scope| {
        let target = RouteTarget::Via { device: device.into(), gateway, onlink: false };
        let key = RouteKey { table: TABLE_MAIN, destination, metric: LEARNED_METRIC };
        (key, Route { target, protocol: PROTOCOL_DHCP, scope, source: None })
    };
    [
        route(IpNet::from(gateway), None, SCOPE_LINK),
        route(IpNet::new_assert(any, 0), Some(gateway), SCOPE_UNIVERSE),
    ]
}

/// Sets `lo` up in the calling thread's network namespace.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn set_loopback_up() -> Result<()> {
    Ok(Rtnetlink::open()?.set_link("lo", &UP)?)
}

/// Makes a machine forward packets of both families, or not.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn set_forwarding(machine: &NetNs, forward: bool) -> Result<()> {
    let value = if forward { "1" } else { "0" };
    machine.run(|| {
        linux::sysctl::write("net/ipv4/ip_forward", value)?;
        unless_absent(linux::sysctl::write("net/ipv6/conf/all/forwarding", value))
    })??;
    Ok(())
}

/// Lets IPv6 addresses be used at once: nobody else has the lab's.
fn skip_duplicate_detection(interface: &str) -> Result<(), linux::Error> {
    unless_absent(linux::sysctl::write(&format!("net/ipv6/conf/{interface}/accept_dad"), "0"))
}

/// A kernel without IPv6 hasn't got its parameters.
fn unless_absent(outcome: Result<(), linux::Error>) -> Result<(), linux::Error> {
    match outcome {
        Err(error) if error.is_absent() => Ok(()),
        outcome => outcome,
    }
}

/// The prefixes that the calling thread's network namespace forwards to somebody.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn unicast_destinations() -> Result<BTreeSet<IpNet>> {
    let routes = Rtnetlink::open()?.routes()?;
    let forwarded = routes.into_iter().filter(|(key, route)| {
        key.table == TABLE_MAIN && matches!(route.target, RouteTarget::Via { .. })
    });
    Ok(forwarded.map(|(key, _)| key.destination).collect())
}

/// Makes one device of each kind that a lab needs, in a namespace that is thrown away.
///
/// # Errors
/// Names the kind that this kernel hasn't got.
pub(crate) fn try_link_kinds() -> Result<()> {
    let mut netlink = Rtnetlink::open()?;
    netlink.create_bridge("bridge", OUTSIDE_MTU)?;
    let peer = Peer { name: "veth1", mac: None, namespace: None };
    netlink.create_veth(&Veth { name: "veth0", mac: None, mtu: OUTSIDE_MTU, peer })?;
    let (local, parent) = (Ipv4Addr::LOCALHOST.into(), "veth0".to_owned());
    let kind = LinkKind::Vxlan { vni: 1, port: 4789, local, parent };
    netlink.create_link("vxlan", &Link { kind, mtu: 1450, mac: None, up: false })?;
    Ok(())
}
