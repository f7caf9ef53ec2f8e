//! The kernel's state as a value, and changes made to it.

use crate::rtnetlink::{Indexes, Request, Rtnetlink};
use crate::{Error, sysctl};
use kernel::{Change, LinkKind, RouteTarget, State};

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
    for entry in links {
        if matches!(entry.link.kind, LinkKind::Vxlan { .. }) {
            for (mac, remote) in present(netlink.fdb_of(&entry.name, entry.index))? {
                state.fdb.entry((entry.name.clone(), mac)).or_insert(remote);
            }
        }
        state.links.insert(entry.name, entry.link);
    }
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
    let mut run = Run { netlink, indexes: Indexes::default(), pending: vec![], failed: vec![] };
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
    pending: Vec<(Change, Request)>,
    failed: Vec<(Change, Error)>,
}

impl Run<'_> {
    fn one(&mut self, change: &Change) {
        match change {
            Change::SetSysctl { path, value } => {
                self.flush();
                if let Err(error) = sysctl::write(path, value) {
                    self.failed.push((change.clone(), error));
                }
            }
            Change::CreateLink { name, .. } | Change::DeleteLink { name } => {
                // What waits still means the device that is there now.
                self.flush();
                self.add(change);
                self.flush();
                self.indexes.forget(name);
            }
            _ => self.add(change),
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
            Change::SetSysctl { .. } => return Ok(None),
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
