//! From one configuration to the next, without touching what it doesn't concern.

use super::{Neighbor, Running, Serial};
use crate::configuration::{Configuration, Peer, RESTART_TIME_DEFAULT};
use crate::rib::Rib;
use crate::session::{Event, Session};
use crate::speaker::running::Step;
use crate::wire::{Cease, Notification};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What a changed peer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is another one now.
    Replace,
    /// A new session.
    Reset,
    /// Nothing but other routes.
    Routes,
}

impl Running {
    /// Begins. Peers are waited for as long as they keep this node's routes.
    pub(super) fn start(now: Duration, configuration: Configuration, step: &mut Step) -> Running {
        let times = configuration.peers.values().map(|peer| peer.restart_time);
        let seconds = times.max().unwrap_or(RESTART_TIME_DEFAULT);
        let mut running = Running {
            rib: Rib::new(&configuration),
            peers: BTreeMap::new(),
            connections: BTreeMap::new(),
            ready: BTreeSet::new(),
            closing: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_serial: 1,
            restarting_until: Some(now + Duration::from_secs(seconds.into())),
            configuration,
        };
        for (name, peer) in running.configuration.peers.clone() {
            running.add(now, name, peer, step);
        }
        step.status_changed = true;
        step.table_changed = true;
        running
    }

    /// Does something else from now on.
    pub(super) fn configure(&mut self, now: Duration, new: Configuration, step: &mut Step) {
        if new == self.configuration {
            return;
        }
        let reset_all = new.router_id != self.configuration.router_id;
        self.rib.configure(&new);
        self.configuration = new;
        step.table_changed = true;
        step.status_changed = true;
        let mut wanted = self.configuration.peers.clone();
        for serial in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(neighbor) = self.peers.get(&serial) else { continue };
            let Some(peer) = wanted.get(&neighbor.name) else {
                self.remove(now, serial, step);
                continue;
            };
            match change(neighbor.session.peer(), peer) {
                // It stays wanted, and is added below.
                Some(Change::Replace) => {
                    self.remove(now, serial, step);
                    continue;
                }
                None if !reset_all => {}
                change => {
                    let reset = reset_all || change == Some(Change::Reset);
                    self.update(now, serial, peer.clone(), reset, step);
                }
            }
            if let Some(neighbor) = self.peers.get(&serial) {
                wanted.remove(&neighbor.name);
            }
        }
        for (name, peer) in wanted {
            self.add(now, name, peer, step);
        }
    }

    fn add(&mut self, now: Duration, name: String, peer: Peer, step: &mut Step) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let slot = self.rib.add_peer(&peer);
        let restarting = self.restarting_until.is_some();
        let first_id = u64::from(serial) << Serial::BITS;
        let router_id = self.configuration.router_id;
        let session = Session::new(&name, peer, router_id, first_id, restarting);
        self.peers.insert(serial, Neighbor { name, session, slot, deadline: None });
        self.drive(now, serial, Event::Start, step);
    }

    fn remove(&mut self, now: Duration, serial: Serial, step: &mut Step) {
        let notification = Notification::cease(Cease::PeerDeconfigured);
        self.drive(now, serial, Event::Remove(notification), step);
        let Some(neighbor) = self.peers.remove(&serial) else { return };
        self.rib.remove_peer(neighbor.slot);
        if let Some(deadline) = neighbor.deadline {
            self.deadlines.remove(&(deadline, serial));
        }
    }

    fn update(&mut self, now: Duration, serial: Serial, peer: Peer, reset: bool, step: &mut Step) {
        let Some(neighbor) = self.peers.get_mut(&serial) else { return };
        let slot = neighbor.slot;
        let imports_otherwise = neighbor.session.peer().import != peer.import
            || neighbor.session.peer().allowed_own_as != peer.allowed_own_as;
        // Routes that the former filters kept out have to be told again, by a new session if the
        // peer can't otherwise.
        let refresh = imports_otherwise && !reset;
        let reset = reset || (refresh && !neighbor.session.refresh(now));
        if let Some(connection) = neighbor.session.output_due(now).filter(|_| refresh && !reset) {
            self.ready(connection, step);
        }
        let router_id = self.configuration.router_id;
        let event = Event::Configure { peer: Box::new(peer.clone()), router_id, reset };
        self.drive(now, serial, event, step);
        self.rib.configure_peer(slot, &peer);
    }
}

/// What the step from one to the other takes.
fn change(old: &Peer, new: &Peer) -> Option<Change> {
    if old == new {
        return None;
    }
    if (old.address, old.remote_as) != (new.address, new.remote_as) {
        return Some(Change::Replace);
    }
    // What stands in OPEN or belongs to the connection takes a new session.
    let of_session = |peer: &Peer| {
        (
            (peer.port, peer.source, peer.ttl_security, peer.password.clone()),
            (peer.local_as, peer.hold_time, peer.keepalive_time, peer.restart_time),
        )
    };
    let same = of_session(old) == of_session(new);
    Some(if same { Change::Routes } else { Change::Reset })
}
