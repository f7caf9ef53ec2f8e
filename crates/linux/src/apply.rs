//! The kernel's state as a value, and changes made to it.

use crate::ipip::{self, Sources};
use crate::rtnetlink::{Indexes, LinkSettings, Request, Rtnetlink};
use crate::{Error, sysctl};
use kernel::{Change, Link, LinkKind, RouteTarget, State};
use std::collections::HashMap;

/// Reads the state of the socket's namespace: all links, addresses, routes (of all tables but the
/// kernel's `local`), permanent neighbours and VXLAN forwarding, and those of the named sysctls
/// that exist. The calling thread must be in the same namespace, for the sysctls.
///
/// # Errors
/// The kernel refuses a list.
pub fn read_state<'a>(
    netlink: &mut Rtnetlink,
    sysctls: impl IntoIterator<Item = &'a str>,
) -> Result<State, Error> {
    let mut state = State::default();
    let links = netlink.links()?;
    let names = links.iter().map(|entry| (entry.index, entry.name.clone())).collect();
    for entry in &links {
        if matches!(entry.link.kind, LinkKind::Vxlan { .. }) {
            for (mac, remote) in present(netlink.fdb_of(&entry.name, entry.index))? {
                state.fdb.entry((entry.name.clone(), mac)).or_insert(remote);
            }
        }
        state.links.insert(entry.name.clone(), entry.link.clone());
    }
    ipip::read(netlink, &links, &mut state)?;
    for entry in netlink.addresses_named(&names)? {
        state.addresses.insert((entry.device, entry.address));
    }
    for (key, route) in netlink.routes_named(&names)? {
        state.routes.entry(key).or_insert(route);
    }
    for entry in netlink.neighbors_named(&names)?.into_iter().filter(|entry| entry.permanent) {
        if let Some(mac) = entry.mac {
            state.neighbors.insert((entry.device, entry.address), mac);
        }
    }
    for path in sysctls {
        match sysctl::read(path) {
            Ok(value) => {
                state.sysctls.insert(path.to_owned(), value);
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(state)
}

/// A list of something that has vanished meanwhile is empty.
fn present<T>(list: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match list {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        list => list,
    }
}

/// Makes the changes, in order, and goes on past those that fail: what the kernel refused, and why.
/// Removing what isn't there is no failure. The calling thread must be in the socket's namespace,
/// for the sysctls.
pub fn apply(netlink: &mut Rtnetlink, changes: &[Change]) -> Vec<(Change, Error)> {
    let mut run = Run {
        netlink,
        indexes: Indexes::default(),
        sources: HashMap::new(),
        pending: vec![],
        failed: vec![],
    };
    for change in changes {
        run.one(change);
    }
    run.flush();
    run.failed
}

/// Requests wait in `pending` until a change needs their effect to be there.
struct Run<'a> {
    netlink: &'a mut Rtnetlink,
    indexes: Indexes,
    /// Of IP-in-IP devices by BPF, by their names.
    sources: HashMap<String, Sources>,
    pending: Vec<(Change, Request)>,
    failed: Vec<(Change, Error)>,
}

impl Run<'_> {
    fn one(&mut self, change: &Change) {
        match change {
            Change::SetSysctl { .. }
            | Change::UpdateIpip { .. }
            | Change::AddSource { .. }
            | Change::DeleteSource { .. } => {
                self.flush();
                if let Err(error) = self.by_other_means(change) {
                    self.fail(change.clone(), error);
                }
            }
            Change::CreateLink { name, .. } | Change::DeleteLink { name } => {
                // What waits still means the device that is there now.
                self.flush();
                match self.tunnel(change) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => self.fail(change.clone(), error),
                    None => self.add(change),
                }
                self.flush();
                self.indexes.forget(name);
                self.sources.remove(name);
            }
            _ => self.add(change),
        }
    }

    /// What isn't one netlink request.
    fn by_other_means(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::SetSysctl { path, value } => sysctl::write(path, value),
            Change::UpdateIpip { name, local, uplinks } => {
                self.sources.remove(name);
                self.netlink.update_ipip(name, *local, uplinks)
            }
            Change::AddSource { device, source } => self.sources(device)?.add(*source),
            Change::DeleteSource { device, source } => self.sources(device)?.remove(*source),
            _ => Ok(()),
        }
    }

    fn sources(&mut self, device: &str) -> Result<&Sources, Error> {
        if !self.sources.contains_key(device) {
            let sources = self.netlink.ipip_sources(device)?;
            self.sources.insert(device.to_owned(), sources);
        }
        self.sources.get(device).ok_or_else(|| Error::NoDevice { name: device.to_owned() })
    }

    /// Makes or removes an IP-in-IP device; `None` where the change is about another one.
    fn tunnel(&mut self, change: &Change) -> Option<Result<(), Error>> {
        match change {
            Change::CreateLink { name, link } => match &link.kind {
                LinkKind::Ipip => Some(self.create_or_adopt(name, link)),
                LinkKind::IpipBpf { local, uplinks } => {
                    Some(self.netlink.create_ipip(name, link, *local, uplinks))
                }
                _ => None,
            },
            Change::DeleteLink { name } => match self.netlink.is_ipip(name) {
                Ok(true) => Some(self.netlink.delete_ipip(name)),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            },
            _ => None,
        }
    }

    /// The kernel makes a `tunl0` of its own when IP-in-IP comes into a namespace.
    fn create_or_adopt(&mut self, name: &str, link: &Link) -> Result<(), Error> {
        match self.netlink.create_link(name, link) {
            Err(error) if error.is_present() => {
                let (mtu, up) = (Some(link.mtu), Some(link.up));
                self.netlink.set_link(name, &LinkSettings { mtu, up, ..LinkSettings::default() })
            }
            made => made,
        }
    }

    fn add(&mut self, change: &Change) {
        match self.request(change) {
            Ok(Some(request)) => self.pending.push((change.clone(), request)),
            Ok(None) => {}
            Err(error) => self.fail(change.clone(), error),
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (changes, requests): (Vec<_>, Vec<_>) = self.pending.drain(..).unzip();
        for (change, result) in changes.into_iter().zip(self.netlink.batch(&requests)) {
            if let Err(error) = result {
                self.fail(change, error);
            }
        }
    }

    fn fail(&mut self, change: Change, error: Error) {
        let removes = matches!(
            change,
            Change::DeleteLink { .. }
                | Change::DeleteAddress { .. }
                | Change::DeleteRoute { .. }
                | Change::DeleteNeighbor { .. }
                | Change::DeleteFdb { .. }
                | Change::DeleteSource { .. }
        );
        if !(removes && error.is_absent()) {
            self.failed.push((change, error));
        }
    }

    fn index(&mut self, device: &str) -> Result<u32, Error> {
        self.indexes.get(self.netlink, device)
    }

    fn request(&mut self, change: &Change) -> Result<Option<Request>, Error> {
        Ok(Some(match change {
            Change::SetSysctl { .. }
            | Change::UpdateIpip { .. }
            | Change::AddSource { .. }
            | Change::DeleteSource { .. } => return Ok(None),
            Change::CreateLink { name, link } => {
                let parent = match &link.kind {
                    LinkKind::Vxlan { parent, .. } => Some(self.index(parent)?),
                    _ => None,
                };
                Request::create_link(name, link, parent)?
            }
            Change::UpdateLink { name, mtu, mac, up } => {
                Request::update_link(name, self.index(name)?, *mtu, *mac, *up)
            }
            Change::DeleteLink { name } => Request::delete_link(name)?,
            Change::AddAddress { device, address } => {
                Request::add_address(device, self.index(device)?, *address)
            }
            Change::DeleteAddress { device, address } => {
                Request::delete_address(device, self.index(device)?, *address)
            }
            Change::ReplaceRoute { key, route } => {
                Request::replace_route(key, route, self.device_of(&route.target)?)?
            }
            Change::DeleteRoute { key, route } => {
                Request::delete_route(key, route, self.device_of(&route.target)?)?
            }
            Change::SetNeighbor { device, address, mac } => {
                Request::set_neighbor(device, self.index(device)?, *address, *mac)
            }
            Change::DeleteNeighbor { device, address } => {
                Request::delete_neighbor(device, self.index(device)?, *address)
            }
            Change::SetFdb { device, mac, remote } => {
                Request::set_fdb(device, self.index(device)?, *mac, *remote)
            }
            Change::DeleteFdb { device, mac, remote } => {
                Request::delete_fdb(device, self.index(device)?, *mac, *remote)
            }
        }))
    }

    fn device_of(&mut self, target: &RouteTarget) -> Result<Option<u32>, Error> {
        match target {
            RouteTarget::Via { device, .. } => self.index(device).map(Some),
            RouteTarget::Blackhole | RouteTarget::Other(_) => Ok(None),
        }
    }
}
