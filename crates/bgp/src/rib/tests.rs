//! A table with peers, and receivers that believe all they are sent.

mod decision;
mod memory;
mod policy;
mod properties;

use super::*;
use crate::configuration::{Listen, NextHop, PORT_DEFAULT, PeerKind};
use crate::wire::{Announced, AsSegment, Attributes, HEADER_BYTES, Message, Origin};
use std::collections::BTreeMap;

pub(super) const LOCAL_AS: u32 = 64512;
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 250));

pub(super) fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Nothing originated, and every route may leave.
pub(super) fn configuration() -> Configuration {
    Configuration {
        router_id: Ipv4Addr::new(10, 0, 0, 250),
        local_as: LOCAL_AS,
        listen: Listen { address: None, port: PORT_DEFAULT },
        peers: BTreeMap::new(),
        originated: BTreeSet::new(),
        export: ExportRanges {
            allowed: [net("0.0.0.0/0"), net("::/0")].into(),
            denied: BTreeSet::new(),
        },
        communities: vec![],
    }
}

/// Of the own AS.
pub(super) fn peer(address: &str) -> Peer {
    Peer::new(PeerKind::NodePeer, ip(address), LOCAL_AS, LOCAL_AS)
}

pub(super) fn external(address: &str, remote_as: u32) -> Peer {
    Peer { remote_as, ..peer(address) }
}

pub(super) fn session(peer: &Peer, router_id: u8) -> Session {
    let external = peer.remote_as != peer.local_as;
    Session {
        router_id: Ipv4Addr::new(10, 0, 0, router_id),
        local: if peer.address.is_ipv4() { OWN } else { ip("fd00::250") },
        families: vec![Family::Ipv4, Family::Ipv6],
        agreed: Agreed { four_octet_as: true, external },
    }
}

/// As a peer of the own AS tells it.
pub(super) fn attributes() -> Attributes {
    Attributes { local_pref: Some(100), ..Attributes::default() }
}

pub(super) fn path(numbers: &[u32]) -> Vec<AsSegment> {
    vec![AsSegment::Sequence(numbers.to_vec())]
}

pub(super) fn announce(prefixes: &[IpNet], next_hop: &str, attributes: Attributes) -> Update {
    let announced = vec![Announced { next_hop: ip(next_hop), prefixes: prefixes.to_vec() }];
    Update { announced, attributes: Some(attributes), ..Update::default() }
}

pub(super) fn withdraw(prefixes: &[IpNet]) -> Update {
    Update { withdrawn: prefixes.to_vec(), ..Update::default() }
}

/// What a peer that reads all it is sent holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Receiver {
    pub(super) routes: BTreeMap<IpNet, (Attributes, IpAddr)>,
    pub(super) end_of_rib: BTreeSet<Family>,
    /// UPDATEs so far.
    pub(super) updates: usize,
}

impl Receiver {
    pub(super) fn read(&mut self, mut bytes: &[u8], agreed: Agreed) {
        while bytes.len() >= HEADER_BYTES {
            let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
            let (message, rest) = bytes.split_at(length);
            bytes = rest;
            let Ok(Message::Update(update)) = Message::decode(message, agreed) else {
                panic!("not an UPDATE: {message:02x?}");
            };
            assert_eq!(update.tolerated, Vec::<String>::new());
            self.updates += 1;
            self.end_of_rib.extend(update.end_of_rib);
            for prefix in update.withdrawn {
                assert!(self.routes.remove(&prefix).is_some(), "{prefix} was never told");
            }
            for announced in update.announced {
                let attributes = update.attributes.clone().expect("attributes");
                for prefix in announced.prefixes {
                    self.routes.insert(prefix, (attributes.clone(), announced.next_hop));
                }
            }
        }
        assert!(bytes.is_empty(), "whole messages only");
    }
}

/// A table whose peers have their sessions and read what they are sent.
pub(super) struct Scene {
    pub(super) rib: Rib,
    pub(super) configuration: Configuration,
    peers: Vec<(PeerSlot, Agreed)>,
    receivers: Vec<Receiver>,
}

impl Scene {
    /// Peers in order; their router ids are 10.0.0.1 and so on.
    pub(super) fn new(configuration: Configuration, peers: &[Peer]) -> Scene {
        let mut rib = Rib::new(&configuration);
        let peers: Vec<_> = (1..)
            .zip(peers)
            .map(|(number, peer)| {
                let slot = rib.add_peer(peer);
                let session = session(peer, number);
                let agreed = session.agreed;
                rib.up(slot, session);
                (slot, agreed)
            })
            .collect();
        let receivers = vec![Receiver::default(); peers.len()];
        Scene { rib, configuration, peers, receivers }
    }

    pub(super) fn slot(&self, peer: usize) -> PeerSlot {
        self.peers[peer].0
    }

    pub(super) fn learn(&mut self, peer: usize, update: &Update) {
        self.rib.learn(self.slot(peer), update).expect("few prefixes");
    }

    /// What a peer holds once it has read all.
    pub(super) fn told(&mut self, peer: usize) -> &Receiver {
        let (slot, agreed) = self.peers[peer];
        while self.rib.has_output(slot) {
            let bytes = self.rib.write(slot, 4096);
            self.receivers[peer].read(&bytes, agreed);
        }
        &self.receivers[peer]
    }

    /// What a peer is told of one destination.
    pub(super) fn told_of(&mut self, peer: usize, prefix: IpNet) -> Option<(Attributes, IpAddr)> {
        self.told(peer).routes.get(&prefix).cloned()
    }

    pub(super) fn best(&self, prefix: IpNet) -> Option<LearnedRoute> {
        self.rib.routes().find(|(other, _)| *other == prefix).map(|(_, route)| route)
    }
}
