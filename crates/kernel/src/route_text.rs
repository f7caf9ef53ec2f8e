//! Routes as `ip route` prints them.

use crate::{Route, RouteKey, RouteTarget, SCOPE_LINK, SCOPE_UNIVERSE, TABLE_MAIN};
use std::fmt;

impl RouteKey {
    /// The route in `ip route`'s words: `192.168.1.0/26 via 10.0.0.1 dev ens5 proto 80 onlink`.
    pub fn describe<'a>(&'a self, route: &'a Route) -> impl fmt::Display + 'a {
        Described { key: self, route }
    }
}

struct Described<'a> {
    key: &'a RouteKey,
    route: &'a Route,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Described { key, route } = self;
        let destination = Destination(key);
        let mut flags = "";
        match &route.target {
            RouteTarget::Blackhole => write!(f, "blackhole {destination}")?,
            RouteTarget::Other(description) => write!(f, "{description} {destination}")?,
            RouteTarget::Via { device, gateway, onlink } => {
                write!(f, "{destination}")?;
                gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
                write!(f, " dev {device}")?;
                flags = if *onlink { " onlink" } else { "" };
            }
        }
        if key.table != TABLE_MAIN {
            write!(f, " table {}", key.table)?;
        }
        if let Some(name) = protocol(route.protocol) {
            write!(f, " proto {name}")?;
        }
        match route.scope {
            SCOPE_UNIVERSE => {}
            SCOPE_LINK => f.write_str(" scope link")?,
            254 => f.write_str(" scope host")?,
            255 => f.write_str(" scope nowhere")?,
            other => write!(f, " scope {other}")?,
        }
        route.source.map_or(Ok(()), |source| write!(f, " src {source}"))?;
        if key.metric != 0 {
            write!(f, " metric {}", key.metric)?;
        }
        f.write_str(flags)
    }
}

struct Destination<'a>(&'a RouteKey);

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = self.0.destination;
        if net.prefix_len() == 0 {
            f.write_str("default")
        } else if net.prefix_len() == net.max_prefix_len() {
            write!(f, "{}", net.addr())
        } else {
            write!(f, "{net}")
        }
    }
}

/// The names of /etc/iproute2/rt_protos; boot isn't printed.
fn protocol(number: u8) -> Option<String> {
    let name = match number {
        3 => return None,
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return Some(other.to_string()),
    };
    Some(name.to_owned())
}
