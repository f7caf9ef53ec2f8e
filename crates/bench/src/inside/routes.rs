//! By which device a node routes other nodes' pods, as soon as the kernel knows.

use anyhow::{Context, Result};
use kernel::{Route, RouteKey, RouteTarget, TABLE_MAIN};
use linux::monitor::Monitor;
use linux::rtnetlink::Rtnetlink;
use std::io::Write;
use std::net::IpAddr;

/// Prints the device that all addresses are routed by, now and whenever it has become another; for
/// ever.
///
/// # Errors
/// The kernel refuses, or nobody reads any more.
pub(crate) fn follow(addresses: &[IpAddr]) -> Result<()> {
    let mut monitor = Monitor::open()?;
    let mut netlink = Rtnetlink::open()?;
    let mut printed = None;
    loop {
        let device = common_device(&netlink.routes()?, addresses);
        if let Some(device) = device.filter(|device| Some(device) != printed.as_ref()) {
            let mut output = std::io::stdout();
            writeln!(output, "{device}").and_then(|()| output.flush()).context("printing")?;
            printed = Some(device);
        }
        monitor.wait(None)?;
    }
}

/// The one device that all addresses are routed by, the default route not counting.
fn common_device(routes: &[(RouteKey, Route)], addresses: &[IpAddr]) -> Option<String> {
    let mut devices = addresses.iter().map(|address| device(routes, *address));
    let first = devices.next()??;
    devices.all(|other| other == Some(first)).then(|| first.to_owned())
}

fn device(routes: &[(RouteKey, Route)], address: IpAddr) -> Option<&str> {
    let leads_there = |key: &RouteKey| {
        let destination = &key.destination;
        key.table == TABLE_MAIN && destination.prefix_len() > 0 && destination.contains(&address)
    };
    let routes = routes.iter().filter(|(key, _)| leads_there(key));
    let (_, route) = routes.max_by_key(|(key, _)| key.destination.prefix_len())?;
    match &route.target {
        RouteTarget::Via { device, .. } => Some(device),
        RouteTarget::Blackhole | RouteTarget::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::common_device;
    use kernel::{PROTOCOL_CALICO, Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, TABLE_MAIN};

    fn route(destination: &str, device: &str) -> (RouteKey, Route) {
        let destination = destination.parse().unwrap();
        let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
        let target = match device {
            "" => RouteTarget::Blackhole,
            device => {
                let device = device.into();
                RouteTarget::Via { device, gateway: None, onlink: false }
            }
        };
        let (protocol, scope) = (PROTOCOL_CALICO, SCOPE_UNIVERSE);
        (key, Route { target, protocol, scope, source: None })
    }

    #[test]
    fn all_addresses_must_agree_and_the_default_route_does_not_count() {
        let cases = [
            (vec![("10.2.0.0/26", "a")], Some("a")),
            (vec![("10.2.0.0/26", "b")], None),
            (vec![("0.0.0.0/0", "a")], None),
            (vec![("10.2.0.0/26", "a"), ("10.2.0.1/32", "b")], None),
            (vec![("10.2.0.0/26", "")], None),
        ];
        let addresses = ["10.1.0.1", "10.2.0.1"].map(|address| address.parse().unwrap());
        for (routes, expected) in cases {
            let routes = routes.iter().chain(&[("10.1.0.0/26", "a")]);
            let routes: Vec<_> =
                routes.map(|(destination, device)| route(destination, device)).collect();
            assert_eq!(common_device(&routes, &addresses).as_deref(), expected, "{routes:?}");
        }
    }
}
