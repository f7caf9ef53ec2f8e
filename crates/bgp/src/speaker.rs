//! The speaker: sessions and routes joined; inputs in, outputs out.
//!
//! Output to peers is pulled, so that a slow reader costs nothing: [`Output::Ready`] says that a
//! connection has something to send, [`Speaker::write`] yields it while the socket takes it.

use crate::configuration::Configuration;
use crate::status::SpeakerStatus;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
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
pub struct Speaker {}

impl Speaker {
    /// A speaker that does nothing until configured. `unix_origin` is the driver's origin in
    /// seconds since the Unix epoch, for `since` of [`SpeakerStatus`].
    pub fn new(_unix_origin: u64) -> Speaker {
        Speaker {}
    }

    /// Takes one input.
    pub fn on(&mut self, _now: Duration, _input: Input) -> Vec<Output> {
        vec![]
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        None
    }

    /// Whole messages for a connection, until about `bytes_max` bytes; nothing when there is none.
    pub fn write(
        &mut self,
        _now: Duration,
        _connection: ConnectionId,
        _bytes_max: usize,
    ) -> Vec<u8> {
        vec![]
    }

    /// The changes of best routes since the last call, at most `changes_max`; empty when none is
    /// left.
    pub fn take_routes(&mut self, _changes_max: usize) -> Vec<RouteChange> {
        vec![]
    }

    /// Whether routes of before this process started may be removed: every peer that could be
    /// expected has told all of its routes, or has had the time to (RFC 4724, 4.1).
    pub fn in_sync(&self) -> bool {
        false
    }

    /// What it says of itself.
    pub fn status(&self) -> Option<SpeakerStatus> {
        None
    }
}
