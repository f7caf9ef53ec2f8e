//! Routes, and the way to an address.

use super::{Names, Request, Rtnetlink};
use crate::Error;
use ipnet::IpNet;
use kernel::{Route, RouteKey, RouteTarget};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The table of the machine's own addresses, which the kernel keeps itself.
const TABLE_LOCAL: u32 = 255;

/// The way to an address, by the kernel's own choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The device that packets leave by; `lo` for an address of this machine.
    pub device: String,
    /// The next hop; `None` where the address is on the device's own link.
    pub gateway: Option<IpAddr>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// The address is one of this machine.
    pub local: bool,
}

impl Rtnetlink {
    /// The routes of all tables but the kernel's own `local`. Of several with the same key (which
    /// the kernel allows for different types of service, or when appended) only the first, which
    /// decides.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn routes(&mut self) -> Result<Vec<(RouteKey, Route)>, Error> {
        let names = self.names()?;
        self.routes_named(&names)
    }

    pub(crate) fn routes_named(&mut self, names: &Names) -> Result<Vec<(RouteKey, Route)>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let answers = match self.dump(Message::GetRoute(message), "route show", "all tables") {
                // A kernel without IPv6 has no IPv6 routes.
                Err(error) if error.errno() == Some(nix::errno::Errno::EOPNOTSUPP) => continue,
                answers => answers?,
            };
            routes.extend(answers.into_iter().filter_map(|answer| match answer {
                Message::NewRoute(message) => decode(&message, names),
                _ => None,
            }));
        }
        Ok(routes)
    }

    /// Makes a route, in place of another one of the same key, in one step.
    ///
    /// # Errors
    /// Its device is missing, or the kernel refuses: the gateway cannot be reached, say.
    pub fn replace_route(&mut self, key: &RouteKey, route: &Route) -> Result<(), Error> {
        let index = self.index_of(route)?;
        self.request(Request::replace_route(key, route, index)?)
    }

    /// Removes this very route: not another one of the same key.
    ///
    /// # Errors
    /// There is no such route, or its device is gone ([`Error::is_absent`]).
    pub fn delete_route(&mut self, key: &RouteKey, route: &Route) -> Result<(), Error> {
        let index = self.index_of(route)?;
        self.request(Request::delete_route(key, route, index)?)
    }

    fn index_of(&mut self, route: &Route) -> Result<Option<u32>, Error> {
        match &route.target {
            RouteTarget::Via { device, .. } => self.index(device).map(Some),
            RouteTarget::Blackhole | RouteTarget::Other(_) => Ok(None),
        }
    }

    /// The kernel's way to an address: what `ip route get` says.
    ///
    /// # Errors
    /// No route leads there (`ENETUNREACH`, `EHOSTUNREACH`), or it is a blackhole (`EINVAL`).
    pub fn route_get(&mut self, destination: IpAddr) -> Result<Path, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = IpNet::from(destination).prefix_len();
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        let object = destination.to_string();
        let answers = self.ask(Request::get(Message::GetRoute(message), "route get", object))?;
        let names = self.names()?;
        answers.iter().find_map(|answer| path(answer, &names)).ok_or_else(|| Error::Answer {
            operation: "route get",
            object: destination.to_string(),
            reason: "it names no device that is there".to_owned(),
        })
    }
}

impl Request {
    /// The request that makes a route; `index` is its device's number.
    pub(crate) fn replace_route(
        key: &RouteKey,
        route: &Route,
        index: Option<u32>,
    ) -> Result<Request, Error> {
        let object = key.describe(route).to_string();
        Ok(Request::replace(Message::NewRoute(encode(key, route, index)?), "route replace", object))
    }

    /// The request that removes exactly this route.
    pub(crate) fn delete_route(
        key: &RouteKey,
        route: &Route,
        index: Option<u32>,
    ) -> Result<Request, Error> {
        let object = key.describe(route).to_string();
        Ok(Request::change(Message::DelRoute(encode(key, route, index)?), "route del", object))
    }
}

fn encode(key: &RouteKey, route: &Route, index: Option<u32>) -> Result<RouteMessage, Error> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(key.destination.addr());
    header.destination_prefix_length = key.destination.prefix_len();
    header.table = u8::try_from(key.table).unwrap_or(0);
    header.protocol = route.protocol.into();
    header.scope = route.scope.into();
    header.kind = RouteType::Unicast;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(key.destination.network().into()));
    attributes.push(RouteAttribute::Table(key.table));
    attributes.extend((key.metric != 0).then_some(RouteAttribute::Priority(key.metric)));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    match &route.target {
        RouteTarget::Blackhole => header.kind = RouteType::BlackHole,
        RouteTarget::Via { gateway, onlink, .. } => {
            attributes.extend(index.map(RouteAttribute::Oif));
            attributes.extend(gateway.map(|gateway| next_hop(key.destination, gateway)));
            if *onlink {
                header.flags = RouteFlags::Onlink;
            }
        }
        RouteTarget::Other(_) => {
            return Err(Error::Invalid {
                object: format!("route {}", key.describe(route)),
                reason: "a route of this kind is only read, never made or removed",
            });
        }
    }
    Ok(message)
}

fn next_hop(destination: IpNet, gateway: IpAddr) -> RouteAttribute {
    match (destination, gateway) {
        (IpNet::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        _ => RouteAttribute::Gateway(gateway.into()),
    }
}

/// What a route message says, with the kernel's numbers.
#[derive(Default)]
struct Parts {
    destination: Option<IpAddr>,
    table: u32,
    metric: u32,
    device: Option<u32>,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    many: bool,
}

fn parts(message: &RouteMessage) -> Parts {
    let mut parts = Parts { table: message.header.table.into(), ..Parts::default() };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => parts.destination = address(to),
            RouteAttribute::Table(table) => parts.table = *table,
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::Oif(index) => parts.device = Some(*index),
            RouteAttribute::Gateway(gateway) => parts.gateway = address(gateway),
            RouteAttribute::Via(RouteVia::Inet(via)) => parts.gateway = Some((*via).into()),
            RouteAttribute::Via(RouteVia::Inet6(via)) => parts.gateway = Some((*via).into()),
            RouteAttribute::PrefSource(source) => parts.source = address(source),
            RouteAttribute::MultiPath(_) | RouteAttribute::NhId(_) | RouteAttribute::Encap(_) => {
                parts.many = true;
            }
            _ => {}
        }
    }
    parts
}

/// A route as a value; `None` for the kernel's own and for those of a type of service.
pub(crate) fn decode(message: &RouteMessage, names: &Names) -> Option<(RouteKey, Route)> {
    let header = &message.header;
    let parts = parts(message);
    let cloned = header.flags.contains(RouteFlags::Cloned);
    if parts.table == TABLE_LOCAL || cloned || header.tos != 0 || header.source_prefix_length != 0 {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let destination =
        IpNet::new(parts.destination.unwrap_or(any), header.destination_prefix_length).ok()?;
    let device = parts.device.and_then(|index| names.get(&index));
    let target = match (header.kind, device) {
        (RouteType::BlackHole, _) => RouteTarget::Blackhole,
        (RouteType::Unicast, Some(device)) if !parts.many => RouteTarget::Via {
            device: device.clone(),
            gateway: parts.gateway,
            onlink: header.flags.contains(RouteFlags::Onlink),
        },
        (kind, _) => RouteTarget::Other(other(kind).to_owned()),
    };
    let key = RouteKey { table: parts.table, destination, metric: parts.metric };
    let (protocol, scope) = (header.protocol.into(), header.scope.into());
    Some((key, Route { target, protocol, scope, source: parts.source }))
}

fn other(kind: RouteType) -> &'static str {
    match kind {
        RouteType::Unicast => "multipath",
        RouteType::Local => "local",
        RouteType::Broadcast => "broadcast",
        RouteType::Anycast => "anycast",
        RouteType::Multicast => "multicast",
        RouteType::Unreachable => "unreachable",
        RouteType::Prohibit => "prohibit",
        RouteType::Throw => "throw",
        _ => "unknown",
    }
}

fn path(answer: &Message, names: &Names) -> Option<Path> {
    let Message::NewRoute(message) = answer else { return None };
    let parts = parts(message);
    Some(Path {
        device: names.get(&parts.device?)?.clone(),
        gateway: parts.gateway,
        source: parts.source,
        local: message.header.kind == RouteType::Local,
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
