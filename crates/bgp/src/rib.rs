//! Routes learned and originated, the best of them (RFC 4271, 9), and what each peer is told.

use crate::configuration::{Configuration, Peer};
use crate::speaker::{LearnedRoute, RouteChange};
use crate::wire::{Agreed, Family, Update};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// Prefixes of one family that a peer may have in the table: twice the Internet's.
pub const PEER_PREFIXES_MAX: u32 = 2_000_000;

/// Names a peer to the table, from [`Rib::add_peer`] until [`Rib::remove_peer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot(u16);

/// What an established session is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The own end's address: the next hop where the own address is one.
    pub local: IpAddr,
    /// Both sides carry these; a route of a family other than `local`'s leaves only if its next
    /// hop stays as it was.
    pub families: Vec<Family>,
    /// How UPDATEs are written.
    pub agreed: Agreed,
}

/// A peer has told more than the table takes; its session is to end with Cease, Maximum Number of
/// Prefixes Reached (RFC 4486, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "peer {peer} has told more than {PEER_PREFIXES_MAX} prefixes of one family: \
     it leaks routes; filter them there"
)]
pub struct TooManyPrefixes {
    /// Its address.
    pub peer: IpAddr,
}

/// All routes, and what peers and kernel have been told of them.
#[derive(Debug)]
pub struct Rib {}

impl Rib {
    /// An empty table that originates what `configuration` says; its peers are to be added.
    pub fn new(_configuration: &Configuration) -> Rib {
        Rib {}
    }

    /// Does from now on what `configuration` says, but for its peers.
    pub fn configure(&mut self, _configuration: &Configuration) {}

    /// Makes a peer known; it has no session yet.
    pub fn add_peer(&mut self, _peer: &Peer) -> PeerSlot {
        PeerSlot(0)
    }

    /// Does from now on what `peer` says, in a running session too. Routes that its former import
    /// filters kept out come only with a route refresh.
    pub fn configure_peer(&mut self, _slot: PeerSlot, _peer: &Peer) {}

    /// Forgets a peer and its routes.
    pub fn remove_peer(&mut self, _slot: PeerSlot) {}

    /// A session has come up: the peer is due all routes and then End-of-RIB, of each family.
    /// Routes kept from the former session stay stale until told again, or [`Rib::sweep`].
    pub fn up(&mut self, _slot: PeerSlot, _session: Session) {}

    /// The session has ended. Routes of `kept` families become stale (RFC 4724, 4.2), those of
    /// others, and those that were stale already, go.
    pub fn down(&mut self, _slot: PeerSlot, _kept: &[Family]) {}

    /// Takes what a peer has told.
    pub fn learn(&mut self, _slot: PeerSlot, _update: &Update) -> Result<(), TooManyPrefixes> {
        Ok(())
    }

    /// Removes what a peer has not told again: at its End-of-RIB, and when its time is up.
    pub fn sweep(&mut self, _slot: PeerSlot, _family: Family) {}

    /// The peer wants to be told all again (RFC 2918).
    pub fn refresh(&mut self, _slot: PeerSlot, _family: Family) {}

    /// Prefixes that the table holds from a peer.
    pub fn prefixes(&self, _slot: PeerSlot) -> u32 {
        0
    }

    /// Whether [`Rib::write`] may have something.
    pub fn has_output(&self, _slot: PeerSlot) -> bool {
        false
    }

    /// Whole messages for a peer, until about `bytes_max` bytes (one message more at most); empty
    /// when there is nothing to tell.
    pub fn write(&mut self, _slot: PeerSlot, _bytes_max: usize) -> Vec<u8> {
        vec![]
    }

    /// Whether [`Rib::take_routes`] has something.
    pub fn routes_changed(&self) -> bool {
        false
    }

    /// The changes of best learned routes since the last call, at most `changes_max`. A prefix
    /// that the node itself originates has none.
    pub fn take_routes(&mut self, _changes_max: usize) -> Vec<RouteChange> {
        vec![]
    }

    /// The best learned route to each destination, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (IpNet, LearnedRoute)> + '_ {
        std::iter::empty()
    }
}
