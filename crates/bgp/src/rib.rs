//! Routes learned and originated, the best of them (RFC 4271, 9), and what each peer is told.
//!
//! ```text
//!  learn ─▶ import: loops, next hop, filters ─▶ table: the paths to each prefix
//!                                                 │ decision: the best, and its equals
//!                              due ◀── changed ───┤
//!                               │                 └─ attributes: each combination held once
//!             audience of a peer, of the kernel: two bits per prefix, told and due
//!                               │
//!  write, take_routes ◀── export: what is said of the best path now
//! ```
//!
//! What somebody has been told is a function of the best path and the export policy at the time
//! of the telling, so that only one bit of it is kept. When either changes, the prefix is due.

mod attributes;
mod audience;
mod decision;
mod export;
mod import;
mod output;
mod peers;
mod table;
#[cfg(test)]
mod tests;

use crate::configuration::{Communities, Configuration, ExportRanges, Peer};
use crate::filter::Filter;
use crate::speaker::{LearnedRoute, RouteChange};
use crate::wire::{Agreed, Family, Update};
use attributes::Interner;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use peers::Peers;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use table::{OWN, Path, Table};

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
pub struct Rib {
    shared: Shared,
    ipv4: Table<Ipv4Net>,
    ipv6: Table<Ipv6Net>,
    originated: BTreeSet<IpNet>,
    communities: Vec<(IpNet, Communities)>,
}

/// What both families' tables need.
#[derive(Debug)]
struct Shared {
    router_id: Ipv4Addr,
    export: ExportRanges,
    peers: Peers,
    attributes: Interner,
}

impl Shared {
    /// A peer has more prefixes, or fewer.
    fn count(&mut self, slot: u16, family: Family, more: i32) {
        if slot != OWN {
            let count = &mut self.peers.get_mut(slot).prefixes[family as usize];
            *count = count.saturating_add_signed(more);
        }
    }
}

impl Rib {
    /// A table that originates what `configuration` says; its peers are to be added.
    pub fn new(configuration: &Configuration) -> Rib {
        let shared = Shared {
            router_id: configuration.router_id,
            export: configuration.export.clone(),
            peers: Peers::default(),
            attributes: Interner::default(),
        };
        let mut rib = Rib {
            shared,
            ipv4: Table::default(),
            ipv6: Table::default(),
            originated: BTreeSet::new(),
            communities: vec![],
        };
        rib.configure(configuration);
        rib
    }

    /// Does from now on what `configuration` says, but for its peers.
    pub fn configure(&mut self, configuration: &Configuration) {
        self.shared.router_id = configuration.router_id;
        if self.shared.export != configuration.export {
            let former = std::mem::replace(&mut self.shared.export, configuration.export.clone());
            for slot in self.shared.peers.slots() {
                if let Some(filters) = self.shared.peers.export_filters(slot) {
                    self.export_changed(slot, &former, &filters);
                }
            }
        }
        if self.originated != configuration.originated
            || self.communities != configuration.communities
        {
            self.communities.clone_from(&configuration.communities);
            self.originate(&configuration.originated);
        }
    }

    fn originate(&mut self, originated: &BTreeSet<IpNet>) {
        for prefix in std::mem::take(&mut self.originated).difference(originated) {
            self.remove(*prefix, OWN);
        }
        for prefix in originated {
            let attributes = export::own_attributes(&self.communities, *prefix);
            let attributes = self.shared.attributes.intern(None, &attributes);
            self.put(*prefix, Path { attributes, slot: OWN, stale: false });
        }
        self.originated.clone_from(originated);
    }

    /// Makes a peer known; it has no session yet.
    pub fn add_peer(&mut self, peer: &Peer) -> PeerSlot {
        self.shared.peers.add(peer)
    }

    /// Does from now on what `peer` says, in a running session too. Routes that its former import
    /// filters kept out come only with a route refresh, and so go those that the new ones stop.
    pub fn configure_peer(&mut self, slot: PeerSlot, peer: &Peer) {
        let former = self.shared.peers.configure(slot, peer);
        let changed = |of: fn(&Peer) -> (u32, u32, IpAddr)| of(&former) != of(peer);
        if changed(|peer| (peer.local_as, peer.remote_as, peer.address)) {
            self.facts_changed(slot);
        } else if (former.reflector_client, former.cluster_id, former.next_hop)
            != (peer.reflector_client, peer.cluster_id, peer.next_hop)
        {
            self.refresh_all();
        } else if former.export != peer.export {
            let ranges = self.shared.export.clone();
            self.export_changed(slot.0, &ranges, &former.export);
        }
    }

    /// Forgets a peer and its routes.
    pub fn remove_peer(&mut self, slot: PeerSlot) {
        self.down(slot, &[]);
        self.shared.peers.remove(slot);
    }

    /// A session has come up: the peer is due all routes and then End-of-RIB, of each family.
    /// Routes kept from the former session stay stale until told again, or [`Rib::sweep`].
    pub fn up(&mut self, slot: PeerSlot, session: Session) {
        self.silence(slot);
        let neighbor = self.shared.peers.get_mut(slot.0);
        neighbor.end_of_rib_due =
            [Family::Ipv4, Family::Ipv6].map(|family| session.families.contains(&family));
        let former = std::mem::replace(&mut neighbor.facts.router_id, session.router_id);
        let keeps_routes = neighbor.prefixes != [0; 2];
        let router_id = session.router_id;
        neighbor.session = Some(session);
        if keeps_routes && former != router_id {
            self.facts_changed(slot);
        } else {
            self.refresh(slot, Family::Ipv4);
            self.refresh(slot, Family::Ipv6);
        }
    }

    /// The session has ended. Routes of `kept` families become stale (RFC 4724, 4.2), those of
    /// others, and those that were stale already, go.
    pub fn down(&mut self, slot: PeerSlot, kept: &[Family]) {
        self.silence(slot);
        self.ipv4.abandon(&mut self.shared, slot.0, kept.contains(&Family::Ipv4));
        self.ipv6.abandon(&mut self.shared, slot.0, kept.contains(&Family::Ipv6));
    }

    /// The peer is told nothing more.
    fn silence(&mut self, slot: PeerSlot) {
        let neighbor = self.shared.peers.get_mut(slot.0);
        neighbor.session = None;
        neighbor.end_of_rib_due = [false; 2];
        self.ipv4.forget(&mut neighbor.audience[Family::Ipv4 as usize]);
        self.ipv6.forget(&mut neighbor.audience[Family::Ipv6 as usize]);
    }

    /// Takes what a peer has told; nothing without a session.
    ///
    /// # Errors
    /// The peer has told too much.
    pub fn learn(&mut self, slot: PeerSlot, update: &Update) -> Result<(), TooManyPrefixes> {
        self.import(slot.0, update);
        let neighbor = self.shared.peers.get(slot.0);
        if neighbor.prefixes.iter().any(|count| *count > PEER_PREFIXES_MAX) {
            return Err(TooManyPrefixes { peer: neighbor.peer.address });
        }
        Ok(())
    }

    fn put(&mut self, prefix: IpNet, path: Path) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.put(&mut self.shared, prefix, path),
            IpNet::V6(prefix) => self.ipv6.put(&mut self.shared, prefix, path),
        }
    }

    fn remove(&mut self, prefix: IpNet, slot: u16) {
        match prefix {
            IpNet::V4(prefix) => self.ipv4.remove(&mut self.shared, prefix, slot),
            IpNet::V6(prefix) => self.ipv6.remove(&mut self.shared, prefix, slot),
        }
    }

    /// Removes what a peer has not told again: at its End-of-RIB, and when its time is up.
    pub fn sweep(&mut self, slot: PeerSlot, family: Family) {
        match family {
            Family::Ipv4 => self.ipv4.sweep(&mut self.shared, slot.0),
            Family::Ipv6 => self.ipv6.sweep(&mut self.shared, slot.0),
        }
    }

    /// The peer wants to be told all again (RFC 2918).
    pub fn refresh(&mut self, slot: PeerSlot, family: Family) {
        match family {
            Family::Ipv4 => self.ipv4.refresh(&mut self.shared, slot.0),
            Family::Ipv6 => self.ipv6.refresh(&mut self.shared, slot.0),
        }
    }

    /// Another router id or AS: other paths may be best, and what is said of a peer's, too.
    fn facts_changed(&mut self, slot: PeerSlot) {
        self.ipv4.decide_again(&mut self.shared, slot.0);
        self.ipv6.decide_again(&mut self.shared, slot.0);
        self.refresh_all();
    }

    fn refresh_all(&mut self) {
        for slot in self.shared.peers.slots() {
            self.ipv4.refresh(&mut self.shared, slot);
            self.ipv6.refresh(&mut self.shared, slot);
        }
    }

    /// The export policy of a peer was this.
    fn export_changed(&mut self, slot: u16, ranges: &ExportRanges, filters: &[Filter]) {
        self.ipv4.export_changed(&mut self.shared, slot, ranges, filters);
        self.ipv6.export_changed(&mut self.shared, slot, ranges, filters);
    }

    /// Prefixes that the table holds from a peer.
    pub fn prefixes(&self, slot: PeerSlot) -> u32 {
        self.shared.peers.get(slot.0).prefixes.iter().sum()
    }

    /// Whether [`Rib::write`] has something, or at least something to look at.
    pub fn has_output(&self, slot: PeerSlot) -> bool {
        let neighbor = self.shared.peers.get(slot.0);
        neighbor.end_of_rib_due.contains(&true)
            || neighbor.audience.iter().any(|audience| audience.is_due())
    }

    /// Whole messages for a peer, until about `bytes_max` bytes (one message more at most); empty
    /// when there is nothing to tell.
    pub fn write(&mut self, slot: PeerSlot, bytes_max: usize) -> Vec<u8> {
        let mut out = vec![];
        self.ipv4.write(&mut self.shared, slot.0, &mut out, bytes_max);
        self.ipv6.write(&mut self.shared, slot.0, &mut out, bytes_max);
        out
    }

    /// Whether [`Rib::take_routes`] has something.
    pub fn routes_changed(&self) -> bool {
        self.ipv4.kernel.is_due() || self.ipv6.kernel.is_due()
    }

    /// The changes of best learned routes since the last call, at most `changes_max`: each prefix
    /// once, as it is now. A prefix that the node itself originates has no learned route.
    pub fn take_routes(&mut self, changes_max: usize) -> Vec<RouteChange> {
        let mut changes = self.ipv4.take_routes(&self.shared, changes_max);
        let rest = changes_max - changes.len();
        changes.extend(self.ipv6.take_routes(&self.shared, rest));
        changes
    }

    /// The best learned route to each destination, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (IpNet, LearnedRoute)> + '_ {
        self.ipv4.routes(&self.shared).chain(self.ipv6.routes(&self.shared))
    }
}
