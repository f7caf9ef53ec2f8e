//! What the speaker should do, as a value: `intent` makes it, the speaker follows it.

use crate::filter::Filter;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Seconds without a message until a session ends; BIRD's default, which Calico leaves.
pub const HOLD_TIME_DEFAULT: u16 = 240;
/// Seconds a peer keeps routes of one that restarts; BIRD's default, which Calico leaves.
pub const RESTART_TIME_DEFAULT: u16 = 120;
/// BGP's port.
pub const PORT_DEFAULT: u16 = 179;

/// All that a speaker does. Equal configurations mean equal behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// The node's AS.
    pub local_as: u32,
    /// Where to listen; `address: None` is every address.
    pub listen: Listen,
    /// By name (`Mesh_10_30_0_56`, as Calico names BIRD's protocols).
    pub peers: BTreeMap<String, Peer>,
    /// What the node itself routes and tells its peers.
    pub originated: BTreeSet<IpNet>,
    /// The default export policy: ranges whose routes leave, and those that do not.
    pub export: ExportRanges,
    /// Communities put on originated routes, by range (`prefixAdvertisements`).
    pub communities: Vec<(IpNet, Communities)>,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// One address only (`bindMode: NodeIP`).
    pub address: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
}

/// What leaves by default: routes within a range of `allowed`, unless within one of `denied`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRanges {
    /// Enabled pools (Calico: one statement per pool).
    pub allowed: BTreeSet<IpNet>,
    /// Pools with `disableBGPExport`.
    pub denied: BTreeSet<IpNet>,
}

/// Communities of both kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Communities {
    /// `aa:nn`.
    pub standard: Vec<u32>,
    /// `aa:nn:mm`.
    pub large: Vec<[u32; 3]>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Why it is one.
    pub kind: PeerKind,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its AS.
    pub remote_as: u32,
    /// The own AS towards it.
    pub local_as: u32,
    /// The address that sessions are opened from.
    pub source: Option<IpAddr>,
    /// Wait for it to connect.
    pub passive: bool,
    /// Seconds; the smaller of both sides' counts.
    pub hold_time: u16,
    /// Seconds between KEEPALIVEs, where it isn't a third of the hold time.
    pub keepalive_time: Option<u16>,
    /// Seconds it should keep our routes while we restart.
    pub restart_time: u16,
    /// What stands as next hop in what it is told.
    pub next_hop: NextHop,
    /// It is a client of this route reflector (RFC 4456).
    pub reflector_client: bool,
    /// This node's cluster id, where it is a route reflector.
    pub cluster_id: Option<Ipv4Addr>,
    /// GTSM (RFC 5082): the peer is at most so many hops away.
    pub ttl_security: Option<u8>,
    /// How often the own AS may stand in a path from it.
    pub allowed_own_as: u8,
    /// TCP MD5 (RFC 2385).
    pub password: Option<String>,
    /// What passes in, by BGPFilters in order; the rest is accepted.
    pub import: Vec<Filter>,
    /// What passes out, by BGPFilters in order, before the default export policy.
    pub export: Vec<Filter>,
}

impl Peer {
    /// A peer of which nothing more is said: BGP's port, BIRD's times, no filters.
    pub fn new(kind: PeerKind, address: IpAddr, remote_as: u32, local_as: u32) -> Peer {
        Peer {
            kind,
            address,
            port: PORT_DEFAULT,
            remote_as,
            local_as,
            source: None,
            passive: false,
            hold_time: HOLD_TIME_DEFAULT,
            keepalive_time: None,
            restart_time: RESTART_TIME_DEFAULT,
            next_hop: NextHop::Auto,
            reflector_client: false,
            cluster_id: None,
            ttl_security: None,
            allowed_own_as: 0,
            password: None,
            import: Vec::new(),
            export: Vec::new(),
        }
    }
}

/// Why somebody is a peer; `calicoctl node status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerKind {
    /// `node-to-node mesh`.
    NodeMesh,
    /// `node specific`.
    NodePeer,
    /// `global`.
    GlobalPeer,
}

/// What stands as next hop in what a peer is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NextHop {
    /// As RFC 4271, 5.1.3 has it: own address for own routes and to other ASes, else unchanged.
    #[default]
    Auto,
    /// Always the own address.
    Own,
    /// Never changed, to other ASes neither.
    Keep,
}
