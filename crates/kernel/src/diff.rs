//! The way from one state to another.
//!
//! Make before break: whatever carries packets in both states does so at every step between, but
//! for what has to be made anew (a device of another kind, the last address before another of its
//! subnet).

use crate::{Change, Link, LinkKind, Ownership, Route, RouteKey, RouteTarget, State};
use ipnet::IpNet;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The metric that the kernel gives IPv6 routes without one.
const METRIC_IPV6: u32 = 1024;

/// What to do so that the kernel has all that is desired, and nothing else of what is ours.
///
/// In this order: sysctls, links, addresses, FDB entries and neighbours, routes; then, of what is
/// ours and not desired, routes, neighbours, FDB entries, addresses, links. A device that has to be
/// made anew is removed first, and all that goes with it is made again.
///
/// A device of another kind that isn't ours but has a desired name is left as it is. The kernel's
/// own IP-in-IP device cannot be removed: without addresses and down it is as good as gone.
pub fn diff(desired: &State, actual: &State, owned: &Ownership) -> Vec<Change> {
    let mut way = Way {
        desired,
        owned,
        actual: Cow::Borrowed(actual),
        flushed: BTreeSet::new(),
        changes: Vec::new(),
    };
    let made = way.made();
    way.sysctls(|path| !names_any(path, &made));
    way.clear_for(&made);
    way.clear_addresses();
    way.links(&made);
    way.sysctls(|path| names_any(path, &made));
    way.add_addresses();
    way.set_forwarding();
    let routes = as_kept(&desired.routes);
    way.replace_routes(&routes);
    way.delete_routes(&routes);
    way.delete_forwarding();
    way.delete_addresses();
    way.delete_links();
    way.changes
}

struct Way<'a> {
    desired: &'a State,
    owned: &'a Ownership,
    /// What is there before the next change, as far as later steps care.
    actual: Cow<'a, State>,
    /// Devices that may have lost their IPv4 routes and neighbours.
    flushed: BTreeSet<String>,
    changes: Vec<Change>,
}

impl Way<'_> {
    /// Desired devices that aren't there yet, or are there as something they cannot be changed
    /// from.
    fn made(&self) -> BTreeSet<String> {
        let mut made: BTreeSet<String> = BTreeSet::new();
        for (name, link) in &self.desired.links {
            match self.actual.links.get(name) {
                Some(there) if is_of_kind(there, link) => {}
                Some(_) if !self.owned.owns_device(name) => {}
                _ => {
                    made.insert(name.clone());
                }
            }
        }
        // A VXLAN device goes when its parent does.
        let goes = |name: &String, made: &BTreeSet<String>| {
            let parent = self.actual.links.get(name).and_then(parent);
            parent.is_some_and(|parent| made.contains(parent) && self.actual.has(parent))
        };
        let follow: Vec<_> = self.desired.links.keys().filter(|name| goes(name, &made)).collect();
        let follow: Vec<_> = follow.into_iter().cloned().collect();
        made.extend(follow);
        made
    }

    fn sysctls(&mut self, wanted: impl Fn(&str) -> bool) {
        for (path, value) in self.desired.sysctls.iter().filter(|(path, _)| wanted(path)) {
            if self.actual.sysctls.get(path) != Some(value) {
                let (path, value) = (path.clone(), value.clone());
                self.changes.push(Change::SetSysctl { path, value });
            }
        }
    }

    /// Removes what stands where a device is to be made: the old one of its name, and one of ours
    /// with its VNI and port.
    fn clear_for(&mut self, made: &BTreeSet<String>) {
        let tunnel = |kind: &LinkKind| match kind {
            LinkKind::Vxlan { vni, port, .. } => Some((*vni, *port)),
            _ => None,
        };
        let taken: BTreeSet<_> =
            made.iter().filter_map(|name| tunnel(&self.desired.links.get(name)?.kind)).collect();
        let in_the_way = |(name, link): (&String, &Link)| {
            let collides = self.owned.owns_device(name)
                && !self.desired.links.contains_key(name)
                && tunnel(&link.kind).is_some_and(|tunnel| taken.contains(&tunnel));
            (made.contains(name) || collides).then(|| name.clone())
        };
        let removed: Vec<_> = self.actual.links.iter().filter_map(in_the_way).collect();
        for name in removed {
            // It may have gone with its parent.
            if self.actual.has(&name) {
                self.actual.to_mut().forget_link(&name);
                self.changes.push(Change::DeleteLink { name });
            }
        }
        // A new device starts with the defaults.
        if !made.is_empty() {
            self.actual.to_mut().sysctls.retain(|path, _| !names_any(path, made));
        }
    }

    /// Removes IPv4 addresses that cannot be removed later without taking more with them: the
    /// kernel removes the others of a subnet with its first address, and all of a device's routes
    /// and neighbours with its last address.
    fn clear_addresses(&mut self) {
        for (device, net) in self.unwanted_addresses() {
            let wanted: Vec<_> = self.desired.ipv4_addresses(&device).collect();
            let shares = wanted.iter().any(|other| same_subnet(*other, net));
            let last = wanted.is_empty() && self.desired.sends_ipv4_by(&device);
            if !net.addr().is_ipv4() || !(shares || last) {
                continue;
            }
            let addresses = &mut self.actual.to_mut().addresses;
            addresses.retain(|(on, other)| *on != device || !same_subnet(*other, net));
            addresses.remove(&(device.clone(), net));
            self.flushed.insert(device.clone());
            self.changes.push(Change::DeleteAddress { device, address: net });
        }
    }

    /// Whether a device will be there at the end.
    fn stays(&self, device: &str) -> bool {
        let lasting = self.actual.links.get(device).is_some_and(is_lasting);
        self.desired.links.contains_key(device) || lasting
    }

    fn unwanted_addresses(&self) -> Vec<(String, IpNet)> {
        let wanted = &self.desired.addresses;
        let ours = |(device, net): &&(String, IpNet)| {
            self.owned.owns_address(device, *net) && self.stays(device)
        };
        self.actual.addresses.difference(wanted).filter(ours).cloned().collect()
    }

    fn links(&mut self, made: &BTreeSet<String>) {
        let mut create: Vec<_> =
            self.desired.links.iter().filter(|(name, _)| made.contains(*name)).collect();
        // A VXLAN device's parent comes before it.
        create.sort_by_key(|(_, link)| parent(link).is_some());
        for (name, link) in create {
            self.changes.push(Change::CreateLink { name: name.clone(), link: link.clone() });
        }
        for (name, link) in &self.desired.links {
            let there = self.actual.links.get(name).filter(|there| is_of_kind(there, link));
            if let Some(there) = there.cloned() {
                self.update_link(name, link, &there);
            }
        }
    }

    fn update_link(&mut self, name: &str, link: &Link, there: &Link) {
        let mtu = (link.mtu != there.mtu).then_some(link.mtu);
        let mac = link.mac.filter(|_| link.mac != there.mac);
        let up = (link.up != there.up).then_some(link.up);
        if mac.is_some() || up == Some(false) {
            // The kernel forgets neighbours, permanent ones too, with the device's own address.
            self.actual.to_mut().neighbors.retain(|(device, _), _| device != name);
        }
        if up == Some(false) {
            self.actual.to_mut().forget_routes_by(name);
        }
        if let LinkKind::IpipBpf { local, uplinks } = &link.kind
            && link.kind != there.kind
        {
            let (name, local, uplinks) = (name.to_owned(), *local, uplinks.clone());
            self.changes.push(Change::UpdateIpip { name, local, uplinks });
        }
        if mtu.is_some() || mac.is_some() || up.is_some() {
            self.changes.push(Change::UpdateLink { name: name.to_owned(), mtu, mac, up });
        }
    }

    fn add_addresses(&mut self) {
        for (device, address) in self.desired.addresses.difference(&self.actual.addresses) {
            let (device, address) = (device.clone(), *address);
            self.changes.push(Change::AddAddress { device, address });
        }
    }

    fn set_forwarding(&mut self) {
        for ((device, mac), remote) in &self.desired.fdb {
            if self.actual.fdb.get(&(device.clone(), *mac)) != Some(remote) {
                let (device, mac, remote) = (device.clone(), *mac, *remote);
                self.changes.push(Change::SetFdb { device, mac, remote });
            }
        }
        for (device, source) in self.desired.sources_beyond(&self.actual) {
            self.changes.push(Change::AddSource { device, source });
        }
        for ((device, address), mac) in &self.desired.neighbors {
            let lost = address.is_ipv4() && self.flushed.contains(device);
            if lost || self.actual.neighbors.get(&(device.clone(), *address)) != Some(mac) {
                let (device, address, mac) = (device.clone(), *address, *mac);
                self.changes.push(Change::SetNeighbor { device, address, mac });
            }
        }
    }

    fn replace_routes(&mut self, desired: &BTreeMap<RouteKey, Route>) {
        let lost = |key: &RouteKey, route: &Route| {
            let flushed = route.device().is_some_and(|device| self.flushed.contains(device));
            flushed && key.destination.addr().is_ipv4()
        };
        let missing = |(key, route): &(&RouteKey, &Route)| {
            self.actual.routes.get(*key) != Some(*route) || lost(key, route)
        };
        let mut routes: Vec<_> = desired.iter().filter(missing).collect();
        // A gateway must be reachable before it is used; a single address's route comes before the
        // blackhole of its block.
        routes.sort_by_key(|(key, route)| (needs_route(route), longest_first(key)));
        for (key, route) in routes {
            let (key, route) = (key.clone(), route.clone());
            self.changes.push(Change::ReplaceRoute { key, route });
        }
    }

    fn delete_routes(&mut self, desired: &BTreeMap<RouteKey, Route>) {
        let ours = |(key, route): &(&RouteKey, &Route)| {
            !desired.contains_key(key) && self.owned.owns_route(key, route)
        };
        let mut routes: Vec<_> = self.actual.routes.iter().filter(ours).collect();
        routes.sort_by_key(|(key, route)| (!needs_route(route), longest_first(key)));
        for (key, route) in routes {
            let (key, route) = (key.clone(), route.clone());
            self.changes.push(Change::DeleteRoute { key, route });
        }
    }

    /// Of devices that stay: those of the others go with them.
    fn delete_forwarding(&mut self) {
        let stays = |device: &str| {
            self.owned.owns_device(device) && self.desired.links.contains_key(device)
        };
        for (device, source) in self.actual.sources_beyond(self.desired) {
            if stays(&device) {
                self.changes.push(Change::DeleteSource { device, source });
            }
        }
        for (device, address) in self.actual.neighbors.keys() {
            let (device, address) = (device.clone(), *address);
            let wanted = self.desired.neighbors.contains_key(&(device.clone(), address));
            if !wanted && stays(&device) {
                self.changes.push(Change::DeleteNeighbor { device, address });
            }
        }
        for ((device, mac), remote) in &self.actual.fdb {
            let (device, mac, remote) = (device.clone(), *mac, *remote);
            if !self.desired.fdb.contains_key(&(device.clone(), mac)) && stays(&device) {
                self.changes.push(Change::DeleteFdb { device, mac, remote });
            }
        }
    }

    fn delete_addresses(&mut self) {
        for (device, address) in self.unwanted_addresses() {
            self.changes.push(Change::DeleteAddress { device, address });
        }
    }

    fn delete_links(&mut self) {
        let unwanted = |name: &&String| {
            self.owned.owns_device(name) && !self.desired.links.contains_key(*name)
        };
        let names: Vec<_> = self.actual.links.keys().filter(unwanted).cloned().collect();
        for name in names {
            let there = self.actual.links.get(&name);
            if there.is_some_and(is_lasting) {
                let (mtu, mac, up) = (None, None, Some(false));
                if there.is_some_and(|there| there.up) {
                    self.changes.push(Change::UpdateLink { name, mtu, mac, up });
                }
            } else if there.is_some() {
                self.actual.to_mut().forget_link(&name);
                self.changes.push(Change::DeleteLink { name });
            }
        }
    }
}

/// Routes as the kernel will report them: IPv6 has no scopes, and no metric 0.
fn as_kept(routes: &BTreeMap<RouteKey, Route>) -> Cow<'_, BTreeMap<RouteKey, Route>> {
    if routes.keys().all(|key| matches!(key.destination, IpNet::V4(net) if net == net.trunc())) {
        return Cow::Borrowed(routes);
    }
    let keep = |(key, route): (&RouteKey, &Route)| {
        let (mut key, mut route) = (key.clone(), route.clone());
        key.destination = key.destination.trunc();
        if let IpNet::V6(_) = key.destination {
            route.scope = crate::SCOPE_UNIVERSE;
            key.metric = if key.metric == 0 { METRIC_IPV6 } else { key.metric };
        }
        (key, route)
    };
    Cow::Owned(routes.iter().map(keep).collect())
}

fn longest_first(key: &RouteKey) -> Reverse<u8> {
    Reverse(key.destination.prefix_len())
}

/// Whether another route must lead to the gateway.
fn needs_route(route: &Route) -> bool {
    matches!(&route.target, RouteTarget::Via { gateway: Some(_), onlink: false, .. })
}

/// Whether a sysctl's path is one of these devices'.
fn names_any(path: &str, devices: &BTreeSet<String>) -> bool {
    !devices.is_empty() && path.split('/').any(|part| devices.contains(part))
}

/// Whether a device can become what is desired without being made anew.
fn is_of_kind(there: &Link, desired: &Link) -> bool {
    let by_bpf = |link: &Link| matches!(link.kind, LinkKind::IpipBpf { .. });
    there.kind == desired.kind || (by_bpf(there) && by_bpf(desired))
}

/// Whether the kernel keeps a device for ever.
fn is_lasting(link: &Link) -> bool {
    link.kind == LinkKind::Ipip
}

fn parent(link: &Link) -> Option<&str> {
    match &link.kind {
        LinkKind::Vxlan { parent, .. } => Some(parent),
        _ => None,
    }
}

/// Whether the kernel takes two addresses of a device as first and further ones of one subnet.
pub(crate) fn same_subnet(one: IpNet, other: IpNet) -> bool {
    one.trunc() == other.trunc()
}

#[cfg(test)]
mod tests;
