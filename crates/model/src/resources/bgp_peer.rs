//! BGPPeer: a BGP session that some or all nodes hold.

use crate::{AsNumber, Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A BGPPeer resource.
pub type BgpPeer = Resource<BgpPeerSpec>;

/// The spec of a BGPPeer (Calico reference, "BGP peer").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpPeerSpec {
    /// The one node that peers; excludes `nodeSelector`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The nodes that peer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// `ip`, `ip:port` or `[v6]:port`; excludes `peerSelector`.
    #[serde(rename = "peerIP", skip_serializing_if = "String::is_empty")]
    pub peer_ip: String,
    /// The peer's AS: a number or `x.y`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<AsNumber>,
    /// Nodes to peer with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_selector: String,
    /// Own AS towards this peer (3.31).
    #[serde(rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub local_as_number: Option<AsNumber>,
    /// Deprecated: use `nextHopMode`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_original_next_hop: bool,
    /// Auto, Self or Keep (3.30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop_mode: Option<String>,
    /// `{secretKeyRef: {name, key}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Password>")]
    pub password: Option<serde_json::Value>,
    /// UseNodeIP (default) or None.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// A Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restart_time: Option<String>,
    /// A Go duration (3.32).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// How often the own AS may stand in a path.
    #[serde(rename = "numAllowedLocalASNumbers", skip_serializing_if = "Option::is_none")]
    pub num_allowed_local_as_numbers: Option<i32>,
    /// Hops for the generalised TTL security mechanism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_security: Option<u8>,
    /// Gateway towards the peer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reachable_by: String,
    /// BGPFilter names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Workloads to peer with (3.30).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local_workload_selector: String,
    /// Auto (default) or Manual (3.30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_peering: Option<String>,
}

impl BgpPeerSpec {
    /// `peerIP` taken apart: the address, and the port where it names one.
    pub fn peer_address(&self) -> Option<(IpAddr, Option<u16>)> {
        let text = self.peer_ip.as_str();
        let with_port = || {
            let socket: SocketAddr = text.parse().ok()?;
            (socket.port() > 0).then(|| (socket.ip(), Some(socket.port())))
        };
        let bracketed = || {
            let inner: Ipv6Addr = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
            Some((inner.into(), None))
        };
        let bare = text.parse().ok().map(|address| (address, None));
        bare.or_else(with_port).or_else(bracketed)
    }
}

/// Where a password stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Password {
    /// A key of a Secret of the node's own namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// Whether it may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl Spec for BgpPeerSpec {
    const KIND: Kind = Kind::BgpPeer;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::bgp_peer::check(self, metadata, problems);
    }
}
