//! The `status` of a CalicoNodeStatus, in Calico's fields.

use bgp::configuration::PeerKind;
use bgp::status::{PeerStatus, SessionState};
use ipnet::IpNet;
use jiff::Timestamp;
use kernel::{PROTOCOL_BIRD, Route, RouteKey, RouteTarget, TABLE_MAIN};
use node::Node;
use node::status::NodeStatus;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Routes of one family in an answer; etcd takes values of 1.5 MiB, and a person reads fewer.
const ROUTES_MAX: usize = 4096;
/// Seconds since which a session is told by the day instead of by the time, as BIRD does.
const BY_DAY_SECONDS: i64 = 20 * 3600;

/// What answers are made of.
pub(crate) struct Answer<'a> {
    pub(crate) node: &'a Node,
    pub(crate) status: &'a NodeStatus,
    /// When the agent started.
    pub(crate) started: Timestamp,
    /// When BGP was told to do something else last.
    pub(crate) reconfigured: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

impl Answer<'_> {
    /// The status; classes that aren't asked for are there and empty, as Calico has them.
    pub(crate) fn to(&self, classes: &[String]) -> Value {
        let asked = |class: &str| classes.iter().any(|asked| asked == class);
        let agent = if asked("Agent") { self.daemon() } else { json!({}) };
        json!({
            "lastUpdated": self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            // One speaker does what BIRD's two daemons do.
            "agent": {"birdV4": agent, "birdV6": agent},
            "bgp": self.sessions(asked("BGP")),
            "routes": if asked("Routes") { self.routes() } else { json!({}) },
        })
    }

    fn daemon(&self) -> Value {
        let Some(speaker) = &self.status.bgp else {
            return json!({"state": "NotReady", "version": model::VERSION});
        };
        let time = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        json!({
            "state": if speaker.restarting { "NotReady" } else { "Ready" },
            "version": model::VERSION,
            "routerID": speaker.router_id.to_string(),
            "lastBootTime": time(self.started),
            "lastReconfigurationTime": time(self.reconfigured.unwrap_or(self.started)),
        })
    }

    fn peers(&self) -> &[PeerStatus] {
        self.status.bgp.as_ref().map_or(&[], |speaker| &speaker.peers)
    }

    fn sessions(&self, asked: bool) -> Value {
        let of = |v4: bool| self.peers().iter().filter(move |p| asked && p.address.is_ipv4() == v4);
        let established = |v4| of(v4).filter(|p| p.state == SessionState::Established).count();
        let mut sessions = json!({
            "numberEstablishedV4": established(true),
            "numberEstablishedV6": established(false),
            "numberNotEstablishedV4": of(true).count() - established(true),
            "numberNotEstablishedV6": of(false).count() - established(false),
        });
        for (field, v4) in [("peersV4", true), ("peersV6", false)] {
            let peers: Vec<Value> = of(v4).map(|peer| self.session(peer)).collect();
            if !peers.is_empty() {
                sessions[field] = peers.into();
            }
        }
        sessions
    }

    fn session(&self, peer: &PeerStatus) -> Value {
        json!({
            "peerIP": peer.address.to_string(),
            "type": format!("{:?}", peer.kind),
            "state": format!("{:?}", peer.state),
            "since": self.since(peer.since),
        })
    }

    fn routes(&self) -> Value {
        routes(self.node.planned_routes(), self.node.learned_routes(), self.peers())
    }

    fn since(&self, since: u64) -> String {
        let since = i64::try_from(since).unwrap_or_default();
        let recent = self.now.as_second().saturating_sub(since) < BY_DAY_SECONDS;
        let format = if recent { "%H:%M:%S" } else { "%Y-%m-%d" };
        let time = Timestamp::from_second(since).ok();
        time.map(|time| time.strftime(format).to_string()).unwrap_or_default()
    }
}

/// In the kernel (`FIB`), and learned only (`RIB`).
fn routes<'a>(
    planned: impl Iterator<Item = (&'a RouteKey, &'a Route)>,
    learned: impl Iterator<Item = (&'a IpNet, &'a Vec<IpAddr>)>,
    peers: &[PeerStatus],
) -> Value {
    let mut all: BTreeMap<IpNet, Value> = BTreeMap::new();
    for (key, route) in planned.filter(|(key, _)| key.table == TABLE_MAIN) {
        all.insert(key.destination, in_kernel(key.destination, route, peers));
    }
    for (destination, next_hops) in learned {
        let next_hop = next_hops.first().copied();
        let row = || row("RIB", *destination, next_hop, "N/A", learned_from(next_hop, peers));
        all.entry(*destination).or_insert_with(row);
    }
    let of = |v4: bool| -> Vec<Value> {
        let family = all.iter().filter(|(net, _)| matches!(net, IpNet::V4(_)) == v4);
        family.map(|(_, row)| row.clone()).take(ROUTES_MAX).collect()
    };
    let mut routes = json!({});
    for (field, family) in [("routesV4", of(true)), ("routesV6", of(false))] {
        if !family.is_empty() {
            routes[field] = family.into();
        }
    }
    routes
}

fn in_kernel(destination: IpNet, route: &Route, peers: &[PeerStatus]) -> Value {
    let source = |kind: &str| json!({"sourceType": kind});
    match &route.target {
        RouteTarget::Via { device, gateway, .. } => {
            let source = match route.protocol {
                PROTOCOL_BIRD => learned_from(*gateway, peers),
                _ => source("Kernel"),
            };
            row("FIB", destination, *gateway, device, source)
        }
        RouteTarget::Blackhole => row("FIB", destination, None, "blackhole", source("Static")),
        RouteTarget::Other(kind) => row("FIB", destination, None, kind, source("Kernel")),
    }
}

/// The peer at the next hop; behind a route reflector there is none.
fn learned_from(next_hop: Option<IpAddr>, peers: &[PeerStatus]) -> Value {
    let peer = peers.iter().find(|peer| Some(peer.address) == next_hop);
    let kind = match peer.map(|peer| peer.kind) {
        Some(PeerKind::NodeMesh) => "NodeMesh",
        _ => "BGPPeer",
    };
    match peer {
        Some(peer) => json!({"sourceType": kind, "peerIP": peer.address.to_string()}),
        None => json!({"sourceType": kind}),
    }
}

fn row(
    kind: &str,
    destination: IpNet,
    gateway: Option<IpAddr>,
    interface: &str,
    learned_from: Value,
) -> Value {
    json!({
        "type": kind,
        "destination": destination.to_string(),
        "gateway": gateway.map_or_else(|| "N/A".to_owned(), |gateway| gateway.to_string()),
        "interface": interface,
        "learnedFrom": learned_from,
    })
}

#[cfg(test)]
mod tests;
