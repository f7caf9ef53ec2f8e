//! What the speaker says of itself: for `calicoctl node status`, readiness and CalicoNodeStatus.

use crate::configuration::PeerKind;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// The speaker's condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerStatus {
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// After a restart: not all peers have told all their routes yet (RFC 4724).
    pub restarting: bool,
    /// Why nobody can connect to it: the port is taken, the address isn't there.
    pub not_listening: Option<String>,
    /// By name, mesh first.
    pub peers: Vec<PeerStatus>,
}

/// One peer's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// As BIRD's protocol would be named: `Mesh_10_30_0_56`.
    pub name: String,
    /// Why it is a peer.
    pub kind: PeerKind,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The state machine's.
    pub state: SessionState,
    /// Seconds since the Unix epoch when it came into this state; the driver's clock.
    pub since: u64,
    /// Why it isn't Established, in words: `Connection refused: nothing listens on port 179 there`.
    pub reason: Option<String>,
    /// Prefixes learned from it.
    pub prefixes: u32,
}

/// The six states (RFC 4271, 8.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SessionState {
    /// Not started, or waiting after an error.
    #[default]
    Idle,
    /// Waits for the transport connection.
    Connect,
    /// Waits before the next attempt, or for the peer to connect.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}
