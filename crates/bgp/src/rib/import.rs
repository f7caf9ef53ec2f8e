//! What of a peer's UPDATE comes into the table (RFC 4271, 9.1; RFC 4456, 8; BGPFilter).

use super::Rib;
use super::attributes::LOCAL_PREF_DEFAULT;
use super::peers::Neighbor;
use super::table::Path;
use crate::filter::{self, Candidate, Verdict};
use crate::wire::{Announced, AsSegment, Attributes, Family, Update};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

impl Rib {
    /// What must not come in replaces what the peer told before, too: as if withdrawn.
    pub(super) fn import(&mut self, slot: u16, update: &Update) {
        for prefix in &update.withdrawn {
            self.remove(*prefix, slot);
        }
        let Some(attributes) = &update.attributes else { return };
        let mut attributes = attributes.clone();
        if self.shared.peers.facts(slot).external {
            attributes.local_pref.get_or_insert(LOCAL_PREF_DEFAULT);
        }
        for announced in &update.announced {
            self.import_announced(slot, announced, &attributes);
        }
    }

    fn import_announced(&mut self, slot: u16, announced: &Announced, attributes: &Attributes) {
        let neighbor = self.shared.peers.get(slot);
        let external = neighbor.facts.external;
        let next_hop = announced.next_hop;
        if !is_welcome(neighbor, attributes, next_hop, self.shared.router_id) {
            for prefix in &announced.prefixes {
                self.remove(*prefix, slot);
            }
            return;
        }
        // Out of the way of the tables, for the time being.
        let filters = std::mem::take(&mut self.shared.peers.get_mut(slot).peer.import);
        let unchanged = self.shared.attributes.intern(Some(next_hop), attributes);
        for prefix in &announced.prefixes {
            let carried = self.shared.peers.carries(slot, family(*prefix));
            let candidate = Candidate { prefix: *prefix, attributes, from_peer: true, external };
            let attributes = match filter::decide(&filters, candidate) {
                Verdict::Accept(Some(changed)) if carried => {
                    self.shared.attributes.intern(Some(next_hop), &changed)
                }
                Verdict::Accept(None) | Verdict::Unmatched if carried => {
                    self.shared.attributes.keep(unchanged);
                    unchanged
                }
                _ => {
                    self.remove(*prefix, slot);
                    continue;
                }
            };
            self.put(*prefix, Path { attributes, slot, stale: false });
        }
        self.shared.attributes.release(unchanged);
        self.shared.peers.get_mut(slot).peer.import = filters;
    }
}

fn family(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// Whether a route is neither a loop nor without a usable next hop.
fn is_welcome(
    neighbor: &Neighbor,
    attributes: &Attributes,
    next_hop: IpAddr,
    router_id: Ipv4Addr,
) -> bool {
    let Some(session) = &neighbor.session else { return false };
    let own_as = neighbor.peer.local_as;
    let looped = occurrences(&attributes.as_path, own_as)
        > usize::from(neighbor.peer.allowed_own_as)
        || attributes.originator_id == Some(router_id)
        || neighbor.peer.cluster_id.is_some_and(|own| attributes.cluster_list.contains(&own));
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    let unusable = next_hop.is_unspecified()
        || next_hop.is_multicast()
        || next_hop.is_loopback()
        || next_hop == broadcast
        || next_hop == session.local;
    !looped && !unusable
}

fn occurrences(path: &[AsSegment], number: u32) -> usize {
    path.iter()
        .flat_map(|segment| match segment {
            AsSegment::Sequence(list) | AsSegment::Set(list) => list,
        })
        .filter(|other| **other == number)
        .count()
}
