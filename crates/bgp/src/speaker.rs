//! The speaker: sessions and routes joined; inputs in, outputs out.
//!
//! Output to peers is pulled, so that a slow reader costs nothing: [`Output::Ready`] says that a
//! connection has something to send, [`Speaker::write`] yields it while the socket takes it.

mod configure;
mod running;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use crate::configuration::Configuration;
use crate::rib::{PeerSlot, Rib};
use crate::session::Session;
use crate::status::{PeerStatus, SpeakerStatus};
use ipnet::IpNet;
use running::Step;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Names one TCP connection, attempted or made; never used again.
pub type ConnectionId = u64;

/// All that can happen to a speaker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    /// Do this from now on. Sessions that it doesn't concern stay up.
    Configure(Box<Configuration>),
    /// The driver listens, or why it cannot.
    Listening(Result<(), String>),
    /// [`Output::Connect`] has succeeded.
    Connected {
        /// Which.
        connection: ConnectionId,
        /// The own end.
        local: SocketAddr,
    },
    /// [`Output::Connect`] has failed.
    ConnectFailed {
        /// Which.
        connection: ConnectionId,
        /// In a person's words, with the likely cause.
        reason: String,
    },
    /// Somebody has connected; the driver has made up the id, of its own half of the numbers
    /// (odd; the speaker's are even).
    Accepted {
        /// Which.
        connection: ConnectionId,
        /// The own end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
    },
    /// Bytes have come.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// Any number of them.
        bytes: Vec<u8>,
    },
    /// The connection has gone.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// In a person's words.
        reason: String,
    },
    /// [`Speaker::deadline`] has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Open a connection; answer with `Connected` or `ConnectFailed`.
    Connect {
        /// Which; even.
        connection: ConnectionId,
        /// Where to.
        remote: SocketAddr,
        /// The own address to use.
        source: Option<IpAddr>,
        /// Outgoing TTL and least incoming one (RFC 5082).
        ttl_security: Option<u8>,
        /// TCP MD5 key.
        password: Option<String>,
    },
    /// [`Speaker::write`] has something for this connection.
    Ready(ConnectionId),
    /// Close it once what [`Speaker::write`] still yields is sent, or after a second. No `Closed`
    /// is to follow.
    Close(ConnectionId),
    /// [`Speaker::take_routes`] has something.
    RoutesChanged,
    /// [`Speaker::status`] has changed.
    StatusChanged,
}

/// One change of the best routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// The destination.
    pub prefix: IpNet,
    /// Where to; `None`: nobody tells it any more.
    pub best: Option<LearnedRoute>,
}

/// The best route to a destination, learned from peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedRoute {
    /// The next hops: the best one's, and those as good (multipath), sorted.
    pub next_hops: Vec<IpAddr>,
    /// The address of the peer that told the best.
    pub peer: IpAddr,
}

/// The speaker. Times are since an origin of the driver's choice, and never go back.
#[derive(Debug)]
pub struct Speaker {
    unix_origin: u64,
    now: Duration,
    not_listening: Option<String>,
    running: Option<Running>,
}

/// Last words kept for connections that are being closed; the oldest go first. Each is a message or
/// two.
pub const CLOSING_MAX: usize = 1024;

/// A configured speaker.
#[derive(Debug)]
struct Running {
    configuration: Configuration,
    rib: Rib,
    peers: BTreeMap<Serial, Neighbor>,
    /// Whose a connection is.
    connections: BTreeMap<ConnectionId, Serial>,
    /// Connections of which [`Output::Ready`] was said and that haven't been emptied since.
    ready: BTreeSet<ConnectionId>,
    /// Last words of connections that are being closed; at most [`CLOSING_MAX`].
    closing: VecDeque<(ConnectionId, Vec<u8>)>,
    /// Each session's next timer.
    deadlines: BTreeSet<(Duration, Serial)>,
    next_serial: Serial,
    /// Until when peers are waited for after this process's start; `None`: not any more.
    restarting_until: Option<Duration>,
}

/// Numbers peers as they come; never used again. The upper half of their attempts' ids.
type Serial = u32;

/// A peer, its session and its place in the table.
#[derive(Debug)]
struct Neighbor {
    name: String,
    session: Session,
    slot: PeerSlot,
    /// As it stands in `deadlines`.
    deadline: Option<Duration>,
}

impl Speaker {
    /// A speaker that does nothing until configured. `unix_origin` is the driver's origin in
    /// seconds since the Unix epoch, for `since` of [`SpeakerStatus`].
    pub fn new(unix_origin: u64) -> Speaker {
        Speaker { unix_origin, now: Duration::ZERO, not_listening: None, running: None }
    }

    /// Takes one input. Inputs about connections that are closed already change nothing.
    pub fn on(&mut self, now: Duration, input: Input) -> Vec<Output> {
        self.now = self.now.max(now);
        let mut step = Step::default();
        match input {
            Input::Listening(result) => {
                let not_listening = result.err();
                step.status_changed = not_listening != self.not_listening;
                self.not_listening = not_listening;
            }
            Input::Configure(configuration) => match &mut self.running {
                Some(running) => running.configure(self.now, *configuration, &mut step),
                None => self.running = Some(Running::start(self.now, *configuration, &mut step)),
            },
            other => {
                if let Some(running) = &mut self.running {
                    running.on(self.now, other, &mut step);
                }
            }
        }
        if let Some(running) = &mut self.running {
            running.settle(self.now, &mut step);
        }
        step.outputs()
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        let session = running.deadlines.first().map(|(at, _)| *at);
        [session, running.restarting_until].into_iter().flatten().min()
    }

    /// Whole messages for a connection, until about `bytes_max` bytes; nothing when there is none,
    /// and only then is [`Output::Ready`] said of it again.
    pub fn write(&mut self, now: Duration, connection: ConnectionId, bytes_max: usize) -> Vec<u8> {
        self.now = self.now.max(now);
        let Some(running) = &mut self.running else { return vec![] };
        running.write(connection, bytes_max)
    }

    /// The changes of best routes since the last call, at most `changes_max`; empty when none is
    /// left.
    pub fn take_routes(&mut self, changes_max: usize) -> Vec<RouteChange> {
        let running = self.running.as_mut();
        running.map(|running| running.rib.take_routes(changes_max)).unwrap_or_default()
    }

    /// Whether routes of before this process started may be removed: every peer that could be
    /// expected has told all of its routes, or has had the time to (RFC 4724, 4.1).
    pub fn in_sync(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.restarting_until.is_none())
    }

    /// What it says of itself. Numbers of prefixes and of seconds left are those of now; their
    /// changes alone are no [`Output::StatusChanged`], so whoever shows them asks when it shows.
    pub fn status(&self) -> Option<SpeakerStatus> {
        let running = self.running.as_ref()?;
        let mut peers: Vec<&Neighbor> = running.peers.values().collect();
        peers.sort_by_key(|neighbor| (neighbor.session.peer().kind as u8, &neighbor.name));
        let status = |neighbor: &Neighbor| {
            let (state, since) = neighbor.session.state();
            let peer = neighbor.session.peer();
            PeerStatus {
                name: neighbor.name.clone(),
                kind: peer.kind,
                address: peer.address,
                port: peer.port,
                state,
                since: self.unix_origin.saturating_add(since.as_secs()),
                reason: neighbor.session.reason(self.now),
                prefixes: running.rib.prefixes(neighbor.slot),
            }
        };
        Some(SpeakerStatus {
            router_id: running.configuration.router_id,
            restarting: running.restarting_until.is_some(),
            not_listening: self.not_listening.clone(),
            peers: peers.into_iter().map(status).collect(),
        })
    }
}
