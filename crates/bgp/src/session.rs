//! One peer's state machine (RFC 4271, 8), both of its connections included.
//!
//! ```text
//!           attempts, accepted ones
//!  Idle ──▶ Connect ⇄ Active ──▶ OpenSent ──▶ OpenConfirm ──▶ Established
//!   ▲ error wait                     └──── NOTIFICATION, loss, timer ────┘
//! ```
//!
//! A session is as far as the furthest of its connections: one made by this side, one accepted.
//! When both stand and one has brought the peer's OPEN, the BGP identifiers decide at once which
//! stays (RFC 4271, 6.8). Other than the RFC's machine this one accepts connections while it waits
//! after an error: whichever side is mended first brings the session up.
//!
//! Pure: events and the time in, actions out.

mod connection;
mod ending;
pub mod limits;
mod messages;
pub mod open;
pub mod restart;
mod retry;
#[cfg(test)]
mod tests;

use crate::configuration::Peer;
use crate::speaker::ConnectionId;
use crate::status::SessionState;
use crate::wire::{Family, Message, Notification, Update};
use connection::{Connection, Stage};
use open::Agreement;
use restart::{Loss, Stale};
use retry::Backoff;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What can happen to a session.
#[derive(Clone, Debug)]
pub enum Event {
    /// It begins.
    Start,
    /// An attempt has succeeded; the own end.
    Connected(ConnectionId, SocketAddr),
    /// An attempt has failed; why, in words.
    ConnectFailed(ConnectionId, String),
    /// The peer has connected; the own end.
    Accepted(ConnectionId, SocketAddr),
    /// Bytes have come.
    Received(ConnectionId, Vec<u8>),
    /// A connection has gone; why, in words.
    Closed(ConnectionId, String),
    /// [`Session::deadline`] has passed.
    Tick,
    /// The table, or the configuration, wants it to end; it starts anew after the wait of errors.
    Fail(Notification, String),
    /// What the peer is has changed; `reset`: in a way that takes a new session.
    Configure {
        /// The new one, of the same address.
        peer: Box<Peer>,
        /// The own BGP identifier.
        router_id: Ipv4Addr,
        /// End the running session first.
        reset: bool,
    },
    /// It is no peer any more: everything is closed for good.
    Remove(Notification),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection.
    Connect(ConnectionId),
    /// [`Session::write`] has something.
    Ready(ConnectionId),
    /// Send these last bytes and close.
    Close(ConnectionId, Vec<u8>),
    /// Established: what both sides agree on, and the own end.
    Up(Box<Agreement>, SocketAddr),
    /// No longer Established; routes of these families stay for a while, all others go.
    Down(Vec<Family>),
    /// No longer Established before the peer told anything: what was kept before stays kept.
    Interrupted,
    /// The peer's routes.
    Update(Update),
    /// The peer wants all routes of a family again.
    Resend(Family),
    /// What the peer hasn't told again of a family goes.
    Sweep(Family),
    /// State or reason has changed.
    Changed,
}

/// One peer's session.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    router_id: Ipv4Addr,
    /// What R in OPEN says.
    restarting: bool,
    /// Ids of attempts count from here, in steps of two.
    next_id: ConnectionId,
    /// At most [`limits::CONNECTIONS_MAX`].
    connections: Vec<Connection>,
    backoff: Backoff,
    /// When to connect next; `None` while that is of no use.
    retry_at: Option<Duration>,
    /// That wait is one after an error.
    error_wait: bool,
    stale: Option<Stale>,
    /// Something of the peer's routes came in this session.
    heard: bool,
    /// Families of this session whose End-of-RIB is to come.
    awaited: Vec<Family>,
    synchronized: bool,
    state: SessionState,
    since: Duration,
    /// Why it isn't Established; empty while it is, or before anything went wrong.
    reason: String,
    /// A NOTIFICATION told of that reason: it stays until something else is known.
    told: bool,
    actions: Vec<Action>,
}

impl Session {
    /// A session that waits for [`Event::Start`]. `first_id`: the id of its first attempt; it uses
    /// every second number from there. `restarting`: see [`Session::set_restarting`].
    pub fn new(
        name: &str,
        peer: Peer,
        router_id: Ipv4Addr,
        first_id: ConnectionId,
        restarting: bool,
    ) -> Session {
        let backoff = Backoff::new(name, router_id.into());
        Session {
            peer,
            router_id,
            restarting,
            next_id: first_id,
            connections: vec![],
            backoff,
            retry_at: None,
            error_wait: false,
            stale: None,
            heard: false,
            awaited: vec![],
            synchronized: false,
            state: SessionState::Idle,
            since: Duration::ZERO,
            reason: String::new(),
            told: false,
            actions: vec![],
        }
    }

    /// Takes one event.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let before = (self.visible_state(), self.reason.clone());
        match event {
            Event::Start => self.start(now),
            Event::Connected(id, local) => self.connected(now, id, local),
            Event::ConnectFailed(id, reason) | Event::Closed(id, reason) => {
                self.gone(now, id, reason);
            }
            Event::Accepted(id, local) => self.accepted(now, id, local),
            Event::Received(id, bytes) => self.received(now, id, bytes),
            Event::Tick => self.tick(now),
            Event::Fail(notification, reason) => self.fail_all(now, &notification, &reason),
            Event::Configure { peer, router_id, reset } => {
                self.configure(now, *peer, router_id, reset);
            }
            Event::Remove(notification) => self.remove(now, &notification),
        }
        self.state = self.current_state();
        if before.0 != self.visible_state() {
            self.since = now;
        }
        if before != (self.visible_state(), self.reason.clone()) {
            self.actions.push(Action::Changed);
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let connections = self.connections.iter().filter_map(Connection::deadline).min();
        let stale = self.stale.as_ref().map(|stale| stale.until);
        [connections, self.retry_at, stale].into_iter().flatten().min()
    }

    /// What the session itself has to say on a connection; UPDATEs are the table's.
    pub fn write(&mut self, id: ConnectionId) -> Vec<u8> {
        self.connection(id).map(Connection::take).unwrap_or_default()
    }

    /// The table has something for the established connection, which the peer should take in time.
    pub fn output_due(&mut self, now: Duration) -> Option<ConnectionId> {
        let connection = self.established_mut()?;
        connection.unsent_since.get_or_insert(now);
        Some(connection.id)
    }

    /// The connection that routes are exchanged on.
    pub fn established(&self) -> Option<ConnectionId> {
        self.established_connection().map(|connection| connection.id)
    }

    /// What both sides of the established connection agree on, and its own end.
    fn agreement(&self) -> Option<(&Agreement, SocketAddr)> {
        let connection = self.established_connection()?;
        Some((connection.agreement.as_ref()?, connection.local?))
    }

    /// Whether OPEN says that this process is new and may have had routes before (R, RFC 4724, 3).
    pub fn set_restarting(&mut self, restarting: bool) {
        self.restarting = restarting;
    }

    /// Whether the peer has told all its routes since this process started, or isn't waited for:
    /// it doesn't do graceful restart, or has restarted itself (RFC 4724, 4.1).
    pub fn synchronized(&self) -> bool {
        self.synchronized
    }

    /// Asks the peer for all its routes again (RFC 2918); false if it cannot.
    pub fn refresh(&mut self, now: Duration) -> bool {
        let Some(connection) = self.established_mut() else { return true };
        let Some(agreement) = connection.agreement.clone() else { return true };
        for family in agreement.families.iter().filter(|_| agreement.route_refresh) {
            connection.refresh(now, *family);
        }
        agreement.route_refresh
    }

    /// The peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The state, and when it came into it. Attempts to connect and the pauses between them count
    /// as one state there, as do both halves of opening.
    pub fn state(&self) -> (SessionState, Duration) {
        (self.state, self.since)
    }

    /// Why it isn't Established, in words.
    pub fn reason(&self, now: Duration) -> Option<String> {
        let waits = self.state == SessionState::Active && self.peer.passive;
        let reason = match self.state {
            SessionState::Established => return None,
            _ if waits && !self.reason.is_empty() => {
                &format!("{}; waiting for the peer to connect", self.reason)
            }
            _ if !self.reason.is_empty() => self.reason.as_str(),
            SessionState::Idle => "not started",
            SessionState::Active if waits => "waiting for the peer to connect",
            SessionState::Connect | SessionState::Active => "connecting",
            SessionState::OpenSent => "waiting for the peer's OPEN",
            SessionState::OpenConfirm => "waiting for the peer's KEEPALIVE",
        };
        let Some(stale) = &self.stale else { return Some(reason.to_string()) };
        let seconds = stale.until.saturating_sub(now).as_secs();
        Some(format!("{reason}; graceful restart: its routes are kept for {seconds} s more"))
    }

    fn start(&mut self, now: Duration) {
        self.since = now;
        if !self.peer.passive && self.connections.is_empty() {
            self.connect(now);
        }
    }

    fn connect(&mut self, now: Duration) {
        let id = self.next_id;
        self.next_id += 2;
        self.retry_at = None;
        self.error_wait = false;
        self.connections.push(Connection::attempt(now, id));
        self.actions.push(Action::Connect(id));
    }

    fn connected(&mut self, now: Duration, id: ConnectionId, local: SocketAddr) {
        if self.established().is_some() {
            self.close_silently(id);
            return;
        }
        let Some(connection) = self.connection(id) else { return };
        if connection.stage == Stage::Connecting {
            connection.local = Some(local);
            self.say_open(now, id);
        }
    }

    fn accepted(&mut self, now: Duration, id: ConnectionId, local: SocketAddr) {
        let pending = self
            .connections
            .iter()
            .find(|other| !other.initiated && other.stage < Stage::Established);
        match pending.map(|other| (other.id, other.stage)) {
            Some((_, Stage::OpenConfirm)) => {
                self.actions.push(Action::Close(id, vec![]));
                return;
            }
            Some((other, _)) => self.close_silently(other),
            None => {}
        }
        self.connections.push(Connection::accepted(now, id, local));
        debug_assert!(self.connections.len() <= limits::CONNECTIONS_MAX);
        self.say_open(now, id);
    }

    fn say_open(&mut self, now: Duration, id: ConnectionId) {
        let open = Message::Open(open::open(&self.peer, self.router_id, self.restarting));
        if let Some(connection) = self.connection(id) {
            connection.opened(now, &open);
            self.actions.push(Action::Ready(id));
        }
        self.resolve_collision(now);
    }

    fn tick(&mut self, now: Duration) {
        for id in self.connections.iter().map(|connection| connection.id).collect::<Vec<_>>() {
            self.tick_connection(now, id);
        }
        if self.stale.as_ref().is_some_and(|stale| stale.until <= now) {
            for family in self.stale.take().map(|stale| stale.families).unwrap_or_default() {
                self.actions.push(Action::Sweep(family));
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if self.peer.passive || self.connections.iter().any(|other| other.initiated) {
                return;
            }
            // One that the peer has just made will do; one that stays silent shall not stand in
            // the way of an attempt.
            match self.connections.iter().find_map(|connection| connection.expires) {
                _ if self.connections.is_empty() => self.connect(now),
                Some(expires) if self.furthest() == Some(Stage::OpenSent) => {
                    let opened = expires.saturating_sub(limits::OPEN_WAIT);
                    match now < opened + limits::RETRY_MAX {
                        true => self.retry_at = Some(opened + limits::RETRY_MAX),
                        false => self.connect(now),
                    }
                }
                _ => {}
            }
        }
    }

    fn tick_connection(&mut self, now: Duration, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if connection.expires.is_some_and(|at| at <= now) {
            if connection.stage == Stage::Connecting {
                self.close_silently(id);
                let seconds = limits::CONNECT_TIMEOUT.as_secs();
                let reason = format!(
                    "no answer within {seconds} s: the node is down, or TCP port {} is blocked \
                     on the way",
                    self.peer.port
                );
                self.ended(now, reason, false);
            } else {
                let notification = Notification::hold_timer_expired();
                self.fail(now, id, &notification, "Hold timer expired".into());
            }
            return;
        }
        if connection.send_expires().is_some_and(|at| at <= now) {
            let reason = "Send hold timer expired: the peer takes nothing".into();
            // RFC 9687, 4: nothing of it will arrive, but the connection's end may.
            self.fail(now, id, &Notification::new(8, 0, &[]), reason);
            return;
        }
        if connection.keep_alive(now) {
            self.actions.push(Action::Ready(id));
        }
    }

    fn configure(&mut self, now: Duration, peer: Peer, router_id: Ipv4Addr, reset: bool) {
        if reset {
            use crate::wire::Cease::OtherConfigurationChange;
            self.told = false;
            let notification = Notification::cease(OtherConfigurationChange);
            self.fail_all(now, &notification, "the configuration has changed");
        }
        self.peer = peer;
        self.router_id = router_id;
        if self.peer.passive {
            self.retry_at = None;
        } else if self.connections.is_empty() {
            self.retry_at = Some(now);
        }
    }

    fn current_state(&self) -> SessionState {
        match self.furthest() {
            Some(Stage::Established) => SessionState::Established,
            Some(Stage::OpenConfirm) => SessionState::OpenConfirm,
            Some(Stage::OpenSent) => SessionState::OpenSent,
            Some(Stage::Connecting) => SessionState::Connect,
            None if self.error_wait => SessionState::Idle,
            None if self.retry_at.is_some() || self.peer.passive => SessionState::Active,
            None => SessionState::Idle,
        }
    }

    /// The state as far as a change of it is worth telling: an unreachable peer swaps between the
    /// two that are one here every second.
    fn visible_state(&self) -> SessionState {
        match self.state {
            SessionState::Connect => SessionState::Active,
            SessionState::OpenConfirm => SessionState::OpenSent,
            state => state,
        }
    }

    fn furthest(&self) -> Option<Stage> {
        self.connections.iter().map(|connection| connection.stage).max()
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn established_connection(&self) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.stage == Stage::Established)
    }

    fn established_mut(&mut self) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.stage == Stage::Established)
    }
}
