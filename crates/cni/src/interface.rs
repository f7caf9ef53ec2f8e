//! The pod's interface: a veth pair, the container's addresses, routes and kernel parameters
//! (`calico-features.md` §5.4).
//!
//! The host's end gets its routes and parameters from the agent.

use crate::error::{Code, Error};
use ipnet::IpNet;
use kernel::{
    Mac, PROTOCOL_BOOT, Route, RouteKey, RouteTarget, SCOPE_LINK, SCOPE_UNIVERSE, TABLE_MAIN,
};
use linux::netns::NetNs;
use linux::rtnetlink::{LinkSettings, Peer, Rtnetlink, Veth};
use linux::sysctl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use uuid::Uuid;

/// The MAC of every host end.
pub(crate) const HOST_MAC: Mac = Mac([0xee; 6]);
/// The next hop of every pod, which the host's proxy ARP answers for.
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The link-local address that [`HOST_MAC`] makes: every pod's next hop in IPv6.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);
/// How long DEL waits for the container's namespace, which a dying kernel thread may hold.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(20);

/// The container's network namespace, which is not the plugin's own.
///
/// # Errors
/// Code 4 where `CNI_NETNS` leads to nothing, or to the host's own namespace.
pub(crate) fn namespace(path: &str) -> Result<NetNs, Error> {
    let wrong = |problem: String| Error::new(Code::Environment, problem);
    let namespace = NetNs::open(path).map_err(|error| {
        wrong(format!("CNI_NETNS {path}: {error}: the container has gone, or was never started"))
    })?;
    let identity = |file: nix::sys::stat::FileStat| (file.st_dev, file.st_ino);
    let inside = nix::sys::stat::fstat(namespace.as_fd()).map(identity);
    let own = nix::sys::stat::stat("/proc/thread-self/ns/net").map(identity);
    if inside == own {
        return Err(wrong(format!(
            "CNI_NETNS {path} is the host's own network namespace; the runtime must give the \
             container's"
        )));
    }
    Ok(namespace)
}

/// A MAC for a container's interface: locally administered, of one device (IEEE 802, 8.4), as the
/// kernel gives one where none is said.
pub(crate) fn random_mac() -> Mac {
    let [first, a, b, c, d, e, ..] = Uuid::new_v4().into_bytes();
    Mac([(first & !1) | 2, a, b, c, d, e])
}

/// Makes the veth pair, both ends up.
///
/// # Errors
/// Code 100: the kernel refused; nothing is left then.
pub(crate) fn create(
    namespace: &NetNs,
    host: &str,
    container: &str,
    mac: Mac,
    mtu: u32,
    forwarding: bool,
) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let peer = Peer { name: container, mac: Some(mac), namespace: Some(namespace) };
    netlink.create_veth(&Veth { name: host, mtu, mac: Some(HOST_MAC), peer }).map_err(|error| {
        if error.is_present() {
            let message = format!(
                "the container has an interface {container} already, which is none of Calico's: \
                 remove it, or take this network out of the pod's"
            );
            return Error::new(Code::Kernel, message);
        }
        Error::from(error)
    })?;
    let finished = start(&mut netlink, namespace, host, container, forwarding);
    if finished.is_err() {
        remove_from_host(host)?;
    }
    finished
}

fn start(
    netlink: &mut Rtnetlink,
    namespace: &NetNs,
    host: &str,
    container: &str,
    forwarding: bool,
) -> Result<(), Error> {
    let up = LinkSettings { up: Some(true), ..LinkSettings::default() };
    netlink.set_link(host, &up)?;
    namespace.run(|| {
        set_parameters(container, forwarding)?;
        let mut netlink = Rtnetlink::open()?;
        netlink.set_link(container, &up)?;
        Ok(())
    })?
}

/// The container's kernel parameters; without IPv6 in the kernel, its own are passed over.
fn set_parameters(container: &str, forwarding: bool) -> Result<(), linux::Error> {
    let forwarding = if forwarding { "1" } else { "0" };
    sysctl::write("net/ipv4/ip_forward", forwarding)?;
    let accept_dad = format!("net/ipv6/conf/{container}/accept_dad");
    for (parameter, value) in [
        ("net/ipv6/conf/all/disable_ipv6", "0"),
        ("net/ipv6/conf/default/disable_ipv6", "0"),
        ("net/ipv6/conf/lo/disable_ipv6", "0"),
        // No waiting for duplicates of an address that is assigned to this pod alone.
        (accept_dad.as_str(), "0"),
        ("net/ipv6/conf/all/forwarding", forwarding),
    ] {
        match sysctl::write(parameter, value) {
            Err(error) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives the container's interface another MAC.
///
/// # Errors
/// Code 100: the kernel refused.
pub(crate) fn set_mac(namespace: &NetNs, container: &str, mac: Mac) -> Result<(), Error> {
    let settings = LinkSettings { mac: Some(mac), ..LinkSettings::default() };
    Ok(Rtnetlink::open_in(namespace)?.set_link(container, &settings)?)
}

/// Gives the container its addresses and the routes by the host.
///
/// # Errors
/// Code 100: the kernel refused.
pub(crate) fn configure(
    namespace: &NetNs,
    container: &str,
    addresses: &[IpNet],
    destinations: &[IpNet],
) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open_in(namespace)?;
    for address in addresses {
        netlink.add_address(container, IpNet::from(address.addr()))?;
    }
    for (key, route) in routes(container, addresses, destinations) {
        netlink.replace_route(&key, &route)?;
    }
    Ok(())
}

/// The routes of a container with these addresses to these destinations, each after those it needs.
fn routes(container: &str, addresses: &[IpNet], destinations: &[IpNet]) -> Vec<(RouteKey, Route)> {
    let route = |destination: IpNet, gateway: Option<IpAddr>| {
        let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
        let scope = if gateway.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
        let target = RouteTarget::Via { device: container.to_owned(), gateway, onlink: false };
        (key, Route { target, protocol: PROTOCOL_BOOT, scope, source: None })
    };
    let has = |ipv4| addresses.iter().any(|address| address.addr().is_ipv4() == ipv4);
    let mut routes = vec![];
    if has(true) {
        routes.push(route(IpNet::from(IpAddr::from(GATEWAY_V4)), None));
    }
    for destination in destinations {
        let ipv4 = destination.addr().is_ipv4();
        let gateway = if ipv4 { IpAddr::from(GATEWAY_V4) } else { IpAddr::from(GATEWAY_V6) };
        if has(ipv4) {
            routes.push(route(*destination, Some(gateway)));
        }
    }
    routes
}

/// Checks that the container's interface is up, with its addresses and routes.
///
/// # Errors
/// Code 103, naming what is missing.
pub(crate) fn check(
    namespace: &NetNs,
    container: &str,
    addresses: &[IpNet],
    destinations: &[IpNet],
) -> Result<(), Error> {
    let missing = |what: String| {
        Error::new(
            Code::Check,
            format!("{what} is missing in the container; delete the pod, to have it set up anew"),
        )
    };
    let mut netlink = Rtnetlink::open_in(namespace)?;
    let link = netlink.link(container)?;
    if !link.is_some_and(|entry| entry.link.up) {
        return Err(missing(format!("interface {container}, up,")));
    }
    let there = netlink.addresses()?;
    for address in addresses {
        let address = address.addr();
        let found = there.iter().any(|e| e.device == container && e.address.addr() == address);
        if !found {
            return Err(missing(format!("address {address} on {container}")));
        }
    }
    let there = netlink.routes()?;
    for (key, route) in routes(container, addresses, destinations) {
        let found = there.iter().any(|(k, r)| {
            k.table == key.table && k.destination == key.destination && r.target == route.target
        });
        if !found {
            return Err(missing(format!("the route to {} by {container}", key.destination)));
        }
    }
    Ok(())
}

/// Removes the host's end, and so the pair.
///
/// # Errors
/// Code 100: the kernel refused. That there is none is no error: `false`.
pub(crate) fn remove_from_host(host: &str) -> Result<bool, Error> {
    match Rtnetlink::open()?.delete_link(host) {
        Ok(()) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The container's interface on its way out of the kernel, which takes as long as all the rest of a
/// DEL.
pub(crate) struct Removal {
    path: String,
    removed: mpsc::Receiver<Result<(), linux::Error>>,
}

impl Removal {
    /// Begins to remove the container's interface from inside, and so the pair. `None`: its namespace
    /// is gone.
    ///
    /// The host's end is never removed by name here: a newer sandbox of the same pod has one of that
    /// name.
    ///
    /// # Errors
    /// Code 4, as [`namespace`].
    pub(crate) fn begin(path: &str, container: &str) -> Result<Option<Removal>, Error> {
        if path.is_empty() || !Path::new(path).exists() {
            return Ok(None);
        }
        let namespace = namespace(path)?;
        let container = container.to_owned();
        let (done, removed) = mpsc::channel();
        std::thread::spawn(move || {
            let removal =
                Rtnetlink::open_in(&namespace).and_then(|mut n| n.delete_link(&container));
            // Nobody listens any more when it took too long.
            let _ = done.send(removal);
        });
        Ok(Some(Removal { path: path.to_owned(), removed }))
    }

    /// Waits for its end. What was gone already is no error.
    ///
    /// # Errors
    /// Code 100: the kernel refused, or did not answer within 20 s.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.removed.recv_timeout(REMOVAL_TIME_MAX) {
            Ok(Err(error)) if !error.is_absent() => Err(error.into()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                Code::Kernel,
                format!("removing the interface in {} took over {REMOVAL_TIME_MAX:?}", self.path),
            )),
        }
    }
}
