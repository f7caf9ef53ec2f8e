//! Two speakers, and what others do to one, each test in a network namespace of its own.

mod hostile;
mod peer;
mod two;

use super::{Handle, start};
use crate::health::Heartbeats;
use bgp::Configuration;
use bgp::configuration::{Listen, Peer, PeerKind};
use bgp::speaker::LearnedRoute;
use bgp::status::{PeerStatus, SessionState, SpeakerStatus};
use ipnet::{IpNet, Ipv4Net};
use linux::netns::NetNs;
use node::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long anything may take; what takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 1790;
const AS: u32 = 64512;

/// Runs a test in a namespace with nothing but `lo`.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    let namespace = NetNs::create().expect("this test needs root");
    let run = || {
        let ip = |arguments: &[&str]| {
            assert!(Command::new("ip").args(arguments).status().expect("ip").success());
        };
        ip(&["link", "set", "lo", "up"]);
        for address in [v4(1), v4(2), v4(3), STRANGER, v6(1), v6(2)] {
            let (address, nodad) = (address.to_string(), address.is_ipv6().then_some("nodad"));
            let arguments = ["addr", "add", &address, "dev", "lo"];
            ip(&arguments.into_iter().chain(nodad).collect::<Vec<_>>());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(2 * PATIENCE, test()).await.expect("the test is stuck");
        });
    };
    namespace.run(run).expect("this test needs root");
}

const STRANGER: IpAddr = v4(99);

const fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last))
}

fn at(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, PORT)
}

/// So many /32s of 10.x.0.0/8.
fn prefixes(of: u8, count: u32) -> BTreeSet<IpNet> {
    let base = u32::from(Ipv4Addr::new(of, 0, 0, 0));
    (0..count).map(|n| Ipv4Net::from(Ipv4Addr::from(base + n)).into()).collect()
}

/// A speaker at `own` with these peers in the mesh.
fn configuration(own: IpAddr, originated: BTreeSet<IpNet>, peers: &[IpAddr]) -> Configuration {
    let peer = |address: &IpAddr| {
        let peer = Peer {
            port: PORT,
            source: Some(own),
            ..Peer::new(PeerKind::NodeMesh, *address, AS, AS)
        };
        (format!("Mesh_{address}"), peer)
    };
    let last = match own {
        IpAddr::V4(own) => own.octets()[3],
        IpAddr::V6(own) => own.octets()[15],
    };
    Configuration {
        router_id: Ipv4Addr::new(192, 0, 2, last),
        local_as: AS,
        listen: Listen { address: Some(own), port: PORT },
        peers: peers.iter().map(peer).collect(),
        export: bgp::configuration::ExportRanges {
            allowed: originated.clone(),
            denied: BTreeSet::new(),
        },
        originated,
        communities: vec![],
    }
}

/// A speaker on its thread, and what it has told.
struct Node {
    handle: Handle,
    events: mpsc::Receiver<Event>,
    status: Option<SpeakerStatus>,
    routes: BTreeMap<IpNet, LearnedRoute>,
    in_sync: bool,
}

impl Node {
    fn start(configuration: Configuration) -> Node {
        let (inbox, events) = mpsc::channel(4);
        let handle = start(inbox, Heartbeats::new()).expect("a thread");
        handle.configure(Some(Box::new(configuration)));
        Node { handle, events, status: None, routes: BTreeMap::new(), in_sync: false }
    }

    /// Takes what the speaker tells until the condition holds.
    async fn until(&mut self, condition: impl Fn(&Node) -> bool) {
        while !condition(self) {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            let Ok(event) = event else {
                let (status, learned) = (&self.status, self.learned().len());
                let ends = (self.routes.first_key_value(), self.routes.last_key_value());
                panic!("nothing happens any more; {learned} routes {ends:?}, {status:#?}");
            };
            match event.expect("the speaker runs") {
                Event::BgpStatus(status) => self.status = Some(*status),
                Event::BgpRoutes { changes, in_sync } => {
                    assert!(changes.len() <= 1024, "{} changes at once", changes.len());
                    for change in changes {
                        match change.best {
                            Some(best) => self.routes.insert(change.prefix, best),
                            None => self.routes.remove(&change.prefix),
                        };
                    }
                    self.in_sync = in_sync;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn peer(&self, address: IpAddr) -> Option<&PeerStatus> {
        let peers = self.status.iter().flat_map(|status| &status.peers);
        peers.into_iter().find(|peer| peer.address == address)
    }

    fn is_established(&self, address: IpAddr) -> bool {
        self.peer(address).is_some_and(|peer| peer.state == SessionState::Established)
    }

    async fn established(&mut self, address: IpAddr) {
        self.until(|node| node.is_established(address)).await;
    }

    /// Until the session is down for a reason with these words.
    async fn down(&mut self, address: IpAddr, words: &str) {
        let said = |peer: &PeerStatus| {
            peer.state != SessionState::Established
                && peer.reason.as_ref().is_some_and(|reason| reason.contains(words))
        };
        self.until(|node| node.peer(address).is_some_and(said)).await;
    }

    fn learned(&self) -> BTreeSet<IpNet> {
        self.routes.keys().copied().collect()
    }
}
