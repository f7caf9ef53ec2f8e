//! Inputs to sessions, and sessions' actions to the table and the driver.

use super::{CLOSING_MAX, ConnectionId, Input, Neighbor, Output, Running, Serial};
use crate::rib::{self, TooManyPrefixes};
use crate::session::{Action, Event};
use crate::wire::{Agreed, Cease, Message, Notification};
use std::net::SocketAddr;
use std::time::Duration;

/// What one input leads to.
#[derive(Debug, Default)]
pub(super) struct Step {
    outputs: Vec<Output>,
    pub(super) status_changed: bool,
    /// The table was changed: its peers may have output.
    pub(super) table_changed: bool,
    routes_changed: bool,
}

impl Step {
    pub(super) fn outputs(mut self) -> Vec<Output> {
        if self.routes_changed {
            self.outputs.push(Output::RoutesChanged);
        }
        if self.status_changed {
            self.outputs.push(Output::StatusChanged);
        }
        self.outputs
    }
}

impl Running {
    pub(super) fn on(&mut self, now: Duration, input: Input, step: &mut Step) {
        let (connection, event) = match input {
            Input::Connected { connection, local } => {
                (connection, Event::Connected(connection, local))
            }
            Input::ConnectFailed { connection, reason } => {
                (connection, Event::ConnectFailed(connection, reason))
            }
            Input::Received { connection, bytes } => {
                (connection, Event::Received(connection, bytes))
            }
            Input::Closed { connection, reason } => (connection, Event::Closed(connection, reason)),
            Input::Accepted { connection, local, remote } => {
                return self.accepted(now, connection, local, remote, step);
            }
            Input::Tick => return self.tick(now, step),
            Input::Configure(_) | Input::Listening(_) => return,
        };
        let Some(serial) = self.connections.get(&connection).copied() else { return };
        if matches!(event, Event::ConnectFailed(..) | Event::Closed(..)) {
            self.forget(connection);
        }
        self.drive(now, serial, event, step);
    }

    /// Somebody has connected: one of the peers, by its address.
    fn accepted(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
        step: &mut Step,
    ) {
        if connection.is_multiple_of(2) || self.connections.contains_key(&connection) {
            return;
        }
        match self.whose(local, remote) {
            Some(serial) => {
                self.connections.insert(connection, serial);
                self.drive(now, serial, Event::Accepted(connection, local), step);
            }
            None => {
                let mut last = vec![];
                let notification = Notification::cease(Cease::ConnectionRejected);
                Message::Notification(notification).encode(Agreed::default(), &mut last);
                self.close(connection, last, step);
            }
        }
    }

    /// The peer that a connection comes from. Its port says nothing; where several peers share an
    /// address, the own end is to be the one configured, and one without a session comes first.
    fn whose(&self, local: SocketAddr, remote: SocketAddr) -> Option<Serial> {
        let (local, remote) = (local.ip().to_canonical(), remote.ip().to_canonical());
        let same_address =
            self.peers.iter().filter(|(_, neighbor)| neighbor.session.peer().address == remote);
        let rank = |(serial, neighbor): &(&Serial, &Neighbor)| {
            let other_end = neighbor.session.peer().source.is_some_and(|source| source != local);
            (other_end, neighbor.session.established().is_some(), **serial)
        };
        same_address.min_by_key(rank).map(|(serial, _)| *serial)
    }

    fn tick(&mut self, now: Duration, step: &mut Step) {
        let due = self.deadlines.range(..=(now, Serial::MAX));
        for serial in due.map(|(_, serial)| *serial).collect::<Vec<_>>() {
            self.drive(now, serial, Event::Tick, step);
        }
    }

    /// Gives a session an event, and does what it wants done.
    pub(super) fn drive(&mut self, now: Duration, serial: Serial, event: Event, step: &mut Step) {
        let mut event = Some(event);
        while let Some(next) = event.take() {
            let Some(neighbor) = self.peers.get_mut(&serial) else { return };
            let actions = neighbor.session.on(now, next);
            if let Err(too_many) = self.act(serial, actions, step) {
                let notification = Notification::cease(Cease::MaximumNumberOfPrefixesReached);
                event = Some(Event::Fail(notification, too_many.to_string()));
            }
        }
        self.schedule(serial);
    }

    /// Does what a session wants; an error once the peer has told too much, its further routes then
    /// being left out.
    fn act(
        &mut self,
        serial: Serial,
        actions: Vec<Action>,
        step: &mut Step,
    ) -> Result<(), TooManyPrefixes> {
        let mut result = Ok(());
        for action in actions {
            let Some(neighbor) = self.peers.get_mut(&serial) else { break };
            let slot = neighbor.slot;
            step.table_changed |= !matches!(
                action,
                Action::Connect(_) | Action::Ready(_) | Action::Close(..) | Action::Changed
            );
            match action {
                Action::Connect(connection) => {
                    let peer = neighbor.session.peer();
                    step.outputs.push(Output::Connect {
                        connection,
                        remote: SocketAddr::new(peer.address, peer.port),
                        source: peer.source,
                        ttl_security: peer.ttl_security,
                        password: peer.password.clone(),
                    });
                    self.connections.insert(connection, serial);
                }
                Action::Ready(connection) => self.ready(connection, step),
                Action::Close(connection, last) => self.close(connection, last, step),
                Action::Up(agreement, local) => {
                    let session = rib::Session {
                        router_id: agreement.router_id,
                        local: local.ip().to_canonical(),
                        families: agreement.families,
                        agreed: agreement.wire,
                    };
                    self.rib.up(slot, session);
                }
                Action::Down(kept) => self.rib.down(slot, &kept),
                Action::Interrupted => {}
                Action::Update(update) if result.is_ok() => result = self.rib.learn(slot, &update),
                Action::Update(_) => {}
                Action::Resend(family) => self.rib.refresh(slot, family),
                Action::Sweep(family) => self.rib.sweep(slot, family),
                Action::Changed => step.status_changed = true,
            }
        }
        result
    }

    /// Notes when a session's next timer is due.
    pub(super) fn schedule(&mut self, serial: Serial) {
        let Some(neighbor) = self.peers.get_mut(&serial) else { return };
        let deadline = neighbor.session.deadline();
        let former = std::mem::replace(&mut neighbor.deadline, deadline);
        if former != deadline {
            if let Some(former) = former {
                self.deadlines.remove(&(former, serial));
            }
            self.deadlines.extend(deadline.map(|at| (at, serial)));
        }
    }

    pub(super) fn ready(&mut self, connection: ConnectionId, step: &mut Step) {
        if self.ready.insert(connection) {
            step.outputs.push(Output::Ready(connection));
        }
    }

    fn close(&mut self, connection: ConnectionId, last: Vec<u8>, step: &mut Step) {
        self.forget(connection);
        if !last.is_empty() {
            if self.closing.len() == CLOSING_MAX {
                self.closing.pop_front();
            }
            self.closing.push_back((connection, last));
        }
        step.outputs.push(Output::Close(connection));
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.ready.remove(&connection);
    }

    /// After each input: whether the start is over, and who has something to send.
    pub(super) fn settle(&mut self, now: Duration, step: &mut Step) {
        if let Some(until) = self.restarting_until
            && (until <= now || self.peers.values().all(|peer| peer.session.synchronized()))
        {
            self.restarting_until = None;
            self.peers.values_mut().for_each(|peer| peer.session.set_restarting(false));
            step.status_changed = true;
            step.table_changed = true;
        }
        if !step.table_changed {
            return;
        }
        step.routes_changed = self.rib.routes_changed();
        if self.holds_back() {
            return;
        }
        let rib = &self.rib;
        let with_output = self.peers.iter_mut().filter(|(_, peer)| rib.has_output(peer.slot));
        let due = with_output
            .filter_map(|(serial, neighbor)| Some((*serial, neighbor.session.output_due(now)?)));
        for (serial, connection) in due.collect::<Vec<_>>() {
            self.ready(connection, step);
            self.schedule(serial);
        }
    }

    /// A route reflector that has restarted tells nothing before it knows everything: the
    /// End-of-RIB after what it knew would take from its clients what they still have (RFC 4724,
    /// 4.1). Other nodes pass nothing on, and have no reason to wait.
    fn holds_back(&self) -> bool {
        let reflects = || self.configuration.peers.values().any(|peer| peer.reflector_client);
        self.restarting_until.is_some() && reflects()
    }

    pub(super) fn write(&mut self, connection: ConnectionId, bytes_max: usize) -> Vec<u8> {
        if let Some(index) = self.closing.iter().position(|(closing, _)| *closing == connection) {
            return self.closing.remove(index).map(|(_, last)| last).unwrap_or_default();
        }
        let holds_back = self.holds_back();
        let serial = self.connections.get(&connection).copied();
        let Some(neighbor) = serial.and_then(|serial| self.peers.get_mut(&serial)) else {
            return vec![];
        };
        let mut bytes = neighbor.session.write(connection);
        let established = neighbor.session.established() == Some(connection);
        if established && !holds_back && bytes.len() < bytes_max {
            bytes.extend(self.rib.write(neighbor.slot, bytes_max - bytes.len()));
        }
        if bytes.is_empty() {
            self.ready.remove(&connection);
        }
        // What the peer takes shows that it lives: the timer for sending has changed.
        if let Some(serial) = serial {
            self.schedule(serial);
        }
        bytes
    }
}
