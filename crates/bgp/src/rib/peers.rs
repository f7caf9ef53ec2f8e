//! The peers: what is known of each, its session, and what it has been told.

use super::audience::Audience;
use super::table::OWN;
use super::{PeerSlot, Session};
use crate::configuration::Peer;
use crate::filter::Filter;
use crate::wire::Family;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// What the decision asks of a peer. Outlives its session, as its stale routes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerFacts {
    /// Of another AS.
    pub(super) external: bool,
    pub(super) router_id: Ipv4Addr,
    pub(super) address: IpAddr,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) peer: Peer,
    pub(super) facts: PeerFacts,
    pub(super) session: Option<Session>,
    /// By family; what it has been told in this session.
    pub(super) audience: [Audience; 2],
    /// By family: End-of-RIB is due after the first round.
    pub(super) end_of_rib_due: [bool; 2],
    /// By family: prefixes with a path from it.
    pub(super) prefixes: [u32; 2],
}

impl Neighbor {
    /// Whether its session carries a family.
    pub(super) fn carries(&self, family: Family) -> bool {
        self.session.as_ref().is_some_and(|session| session.families.contains(&family))
    }
}

/// All peers, by slot.
#[derive(Debug, Default)]
pub(super) struct Peers(Vec<Option<Neighbor>>);

impl Peers {
    pub(super) fn add(&mut self, peer: &Peer) -> PeerSlot {
        let neighbor = Neighbor {
            facts: PeerFacts {
                external: peer.remote_as != peer.local_as,
                router_id: Ipv4Addr::UNSPECIFIED,
                address: peer.address,
            },
            peer: peer.clone(),
            session: None,
            audience: Default::default(),
            end_of_rib_due: [false; 2],
            prefixes: [0; 2],
        };
        let at = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        assert!(at < usize::from(OWN), "more peers than slots");
        if at == self.0.len() {
            self.0.push(None);
        }
        self.0[at] = Some(neighbor);
        PeerSlot(at as u16)
    }

    /// Changes what a peer should be; what it was.
    pub(super) fn configure(&mut self, slot: PeerSlot, peer: &Peer) -> Peer {
        let neighbor = self.get_mut(slot.0);
        neighbor.facts.external = peer.remote_as != peer.local_as;
        neighbor.facts.address = peer.address;
        std::mem::replace(&mut neighbor.peer, peer.clone())
    }

    pub(super) fn remove(&mut self, slot: PeerSlot) {
        self.0[usize::from(slot.0)] = None;
    }

    /// Slots come from [`Peers::add`], and go by [`Peers::remove`] only.
    pub(super) fn get(&self, slot: u16) -> &Neighbor {
        self.0[usize::from(slot)].as_ref().expect("a slot is used until it is removed")
    }

    pub(super) fn get_mut(&mut self, slot: u16) -> &mut Neighbor {
        self.0[usize::from(slot)].as_mut().expect("a slot is used until it is removed")
    }

    pub(super) fn facts(&self, slot: u16) -> &PeerFacts {
        &self.get(slot).facts
    }

    /// All slots there can be; some of them unused.
    pub(super) fn slots(&self) -> Range<u16> {
        0..self.0.len() as u16
    }

    /// The export filters of a used slot.
    pub(super) fn export_filters(&self, slot: u16) -> Option<Vec<Filter>> {
        self.0[usize::from(slot)].as_ref().map(|neighbor| neighbor.peer.export.clone())
    }

    /// Whether a slot is used, and its session carries a family.
    pub(super) fn carries(&self, slot: u16, family: Family) -> bool {
        self.0[usize::from(slot)].as_ref().is_some_and(|neighbor| neighbor.carries(family))
    }

    /// Whether a best path's source has a say in whether a peer may hear of it: never what it told
    /// itself, and what came from the own AS stays with those who heard it, unless this node
    /// reflects it (RFC 4271, 9.2; RFC 4456, 6).
    pub(super) fn may_pass(&self, source: u16, target: u16) -> bool {
        if source == OWN || source == target {
            return source == OWN;
        }
        let (from, target) = (self.get(source), self.get(target));
        from.facts.external
            || target.facts.external
            || from.peer.reflector_client
            || target.peer.reflector_client
    }
}
