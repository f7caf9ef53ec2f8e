//! A kernel in memory: what each change does to a state, side effects included.

use crate::diff::same_subnet;
use crate::{Change, LinkKind, Route, RouteKey, State};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// A change that a kernel would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{change}: {reason}")]
pub struct Refused {
    /// The change.
    pub change: Change,
    /// Why.
    pub reason: &'static str,
}

impl State {
    /// Does what Linux does: with a device go its addresses, neighbours, forwarding entries, routes
    /// and the VXLAN devices above it; with its Ethernet address its neighbours; with an IPv4
    /// address those after it of its subnet (here: all of the subnet), and with the last one the
    /// device's IPv4 routes and neighbours.
    ///
    /// # Errors
    /// A device is missing or there already, a VNI is taken on its port, or a forwarding entry that
    /// is to be removed isn't there. Nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), Refused> {
        self.check(change).map_err(|reason| Refused { change: change.clone(), reason })?;
        match change.clone() {
            Change::SetSysctl { path, value } => {
                self.sysctls.insert(path, value);
            }
            Change::CreateLink { name, link } => {
                if let LinkKind::IpipBpf { .. } = link.kind {
                    self.decapsulated.insert(name.clone(), BTreeSet::new());
                }
                self.links.insert(name, link);
            }
            Change::UpdateLink { name, mtu, mac, up } => {
                if mac.is_some() || up == Some(false) {
                    self.neighbors.retain(|(device, _), _| *device != name);
                }
                if up == Some(false) {
                    self.forget_routes_by(&name);
                }
                if let Some(link) = self.links.get_mut(&name) {
                    link.mtu = mtu.unwrap_or(link.mtu);
                    link.mac = mac.or(link.mac);
                    link.up = up.unwrap_or(link.up);
                }
            }
            Change::UpdateIpip { name, local, uplinks } => {
                if let Some(link) = self.links.get_mut(&name) {
                    link.kind = LinkKind::IpipBpf { local, uplinks };
                }
            }
            Change::DeleteLink { name } => self.forget_link(&name),
            Change::AddAddress { device, address } => {
                self.addresses.insert((device, address));
            }
            Change::DeleteAddress { device, address } => self.delete_address(&device, address),
            Change::ReplaceRoute { key, route } => {
                self.routes.insert(key, route);
            }
            Change::DeleteRoute { key, route } => {
                self.routes.retain(|other, there| (other, &*there) != (&key, &route));
            }
            Change::SetNeighbor { device, address, mac } => {
                self.neighbors.insert((device, address), mac);
            }
            Change::DeleteNeighbor { device, address } => {
                self.neighbors.remove(&(device, address));
            }
            Change::SetFdb { device, mac, remote } => {
                self.fdb.insert((device, mac), remote);
            }
            Change::DeleteFdb { device, mac, .. } => {
                self.fdb.remove(&(device, mac));
            }
            Change::AddSource { device, source } => {
                self.decapsulated.entry(device).or_default().insert(source);
            }
            Change::DeleteSource { device, source } => {
                self.decapsulated.entry(device).or_default().remove(&source);
            }
        }
        Ok(())
    }

    fn check(&self, change: &Change) -> Result<(), &'static str> {
        let present = |there: bool| if there { Ok(()) } else { Err("it isn't there") };
        let device = |name: &str| if self.has(name) { Ok(()) } else { Err("no such device") };
        match change {
            Change::SetSysctl { .. } => Ok(()),
            Change::CreateLink { name, link } => self.check_create(name, &link.kind),
            Change::UpdateLink { name, .. } | Change::DeleteLink { name } => device(name),
            Change::UpdateIpip { name, .. } => self.check_ipip(name),
            Change::AddSource { device: name, .. } | Change::DeleteSource { device: name, .. } => {
                self.check_ipip(name)
            }
            Change::AddAddress { device: name, .. }
            | Change::SetNeighbor { device: name, .. }
            | Change::SetFdb { device: name, .. } => device(name),
            Change::ReplaceRoute { route, .. } => route.device().map_or(Ok(()), device),
            // These may have gone with an address.
            Change::DeleteAddress { .. }
            | Change::DeleteRoute { .. }
            | Change::DeleteNeighbor { .. } => Ok(()),
            Change::DeleteFdb { device, mac, remote } => {
                present(self.fdb.get(&(device.clone(), *mac)) == Some(remote))
            }
        }
    }

    fn check_ipip(&self, name: &str) -> Result<(), &'static str> {
        match self.links.get(name).map(|link| &link.kind) {
            Some(LinkKind::IpipBpf { .. }) => Ok(()),
            _ => Err("no such device by BPF"),
        }
    }

    fn check_create(&self, name: &str, kind: &LinkKind) -> Result<(), &'static str> {
        if self.has(name) {
            return Err("the name is taken");
        }
        if let LinkKind::IpipBpf { uplinks, .. } = kind
            && !uplinks.iter().all(|uplink| self.has(uplink))
        {
            return Err("no such uplink");
        }
        let LinkKind::Vxlan { vni, port, parent, .. } = kind else { return Ok(()) };
        let same_tunnel = |other: &LinkKind| match other {
            LinkKind::Vxlan { vni: id, port: number, .. } => (id, number) == (vni, port),
            _ => false,
        };
        if self.links.values().any(|link| same_tunnel(&link.kind)) {
            return Err("another device has this VNI and port");
        }
        if self.has(parent) { Ok(()) } else { Err("no such parent") }
    }

    fn delete_address(&mut self, device: &str, address: IpNet) {
        self.addresses.remove(&(device.to_owned(), address));
        if address.addr().is_ipv4() {
            self.addresses.retain(|(on, other)| on != device || !same_subnet(*other, address));
            if self.ipv4_addresses(device).next().is_none() {
                self.forget_ipv4_by(device);
            }
        }
    }

    pub(crate) fn has(&self, device: &str) -> bool {
        self.links.contains_key(device)
    }

    /// Outer sources permitted here and not in the other state.
    pub(crate) fn sources_beyond(&self, other: &State) -> Vec<(String, Ipv4Addr)> {
        let permitted = self.decapsulated.iter().flat_map(|(device, sources)| {
            let there = other.decapsulated.get(device);
            let missing = sources
                .iter()
                .filter(move |source| there.is_none_or(|there| !there.contains(*source)));
            missing.map(move |source| (device.clone(), *source))
        });
        permitted.collect()
    }

    pub(crate) fn ipv4_addresses<'a>(
        &'a self,
        device: &'a str,
    ) -> impl Iterator<Item = IpNet> + 'a {
        let on = self.addresses.iter().filter(move |(on, _)| on == device);
        on.map(|(_, net)| *net).filter(|net| net.addr().is_ipv4())
    }

    /// Whether something here needs IPv4 on a device.
    pub(crate) fn sends_ipv4_by(&self, device: &str) -> bool {
        let route = |(key, route): (&RouteKey, &Route)| {
            key.destination.addr().is_ipv4() && route.device() == Some(device)
        };
        let neighbor = |(on, address): &(String, IpAddr)| on == device && address.is_ipv4();
        self.routes.iter().any(route) || self.neighbors.keys().any(neighbor)
    }

    pub(crate) fn forget_routes_by(&mut self, device: &str) {
        self.routes.retain(|_, route| route.device() != Some(device));
    }

    fn forget_ipv4_by(&mut self, device: &str) {
        self.neighbors.retain(|(on, address), _| on != device || address.is_ipv6());
        self.routes.retain(|key, route| {
            key.destination.addr().is_ipv6() || route.device() != Some(device)
        });
    }

    /// A device goes, and all that goes with it.
    pub(crate) fn forget_link(&mut self, name: &str) {
        self.links.remove(name);
        self.addresses.retain(|(device, _)| device != name);
        self.neighbors.retain(|(device, _), _| device != name);
        self.fdb.retain(|(device, _), _| device != name);
        self.decapsulated.remove(name);
        self.forget_routes_by(name);
        self.sysctls.retain(|path, _| !path.split('/').any(|part| part == name));
        let above = self.links.iter().find_map(|(above, link)| match &link.kind {
            LinkKind::Vxlan { parent, .. } if parent == name => Some(above.clone()),
            _ => None,
        });
        if let Some(above) = above {
            self.forget_link(&above);
            self.forget_link(name);
        }
    }
}
