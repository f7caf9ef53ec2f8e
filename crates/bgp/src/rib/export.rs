//! What a peer is told of a best path: whether at all, and with which attributes.

use super::attributes::{AttributesId, Held, LOCAL_PREF_DEFAULT};
use super::peers::Neighbor;
use super::table::{OWN, Path};
use super::{Session, Shared};
use crate::configuration::{Communities, ExportRanges, NextHop};
use crate::filter::{self, Candidate, Filter, Verdict};
use crate::wire::{Agreed, AsSegment, Attributes, Family};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// LOCAL_PREF of own routes: Calico's templates give BIRD's kernel routes the metric 1024, and
/// export `bgp_local_pref = 2147483647 - krt_metric`. In a mixed mesh both count the same.
pub(super) const LOCAL_PREF_OWN: u32 = 2_147_483_647 - 1024;

/// Well-known communities (RFC 1997).
const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

/// The flag of an attribute that somebody on its way did not know (RFC 4271, 4.3).
const PARTIAL: u8 = 0x20;
/// AS numbers that a segment of AS_PATH can hold (RFC 4271, 4.3).
const SEGMENT_NUMBERS_MAX: usize = 255;

/// The default export policy.
pub(super) fn within(ranges: &ExportRanges, prefix: IpNet, own: bool) -> bool {
    let any = |of: &std::collections::BTreeSet<IpNet>| of.iter().any(|net| net.contains(&prefix));
    (own || any(&ranges.allowed)) && !any(&ranges.denied)
}

/// Whether a peer is told of a best path, and the attributes that filters gave it instead of its
/// own. Own routes leave unless in a denied range, as Calico exports its static routes; others
/// only within an allowed one, too. A filter that accepts overrules both.
pub(super) fn verdict(
    shared: &Shared,
    ranges: &ExportRanges,
    filters: &[Filter],
    slot: u16,
    prefix: IpNet,
    best: Path,
) -> Option<Option<Attributes>> {
    if !shared.peers.may_pass(best.slot, slot) {
        return None;
    }
    let own = best.slot == OWN;
    let external = shared.peers.facts(slot).external;
    let attributes = &shared.attributes.get(best.attributes).attributes;
    if !own && stays_here(&attributes.communities, external) {
        return None;
    }
    let candidate = Candidate { prefix, attributes, from_peer: !own, external };
    match filter::decide(filters, candidate) {
        Verdict::Accept(changed) => Some(changed),
        Verdict::Reject => None,
        Verdict::Unmatched => within(ranges, prefix, own).then_some(None),
    }
}

/// Whether well-known communities of a learned route keep it from a peer.
fn stays_here(communities: &[u32], external: bool) -> bool {
    communities.iter().any(|community| match *community {
        NO_ADVERTISE => true,
        NO_EXPORT | NO_EXPORT_SUBCONFED => external,
        _ => false,
    })
}

/// The attributes and next hop as the peer is told them (RFC 4271, 5.1). `None`: there is no next
/// hop to give it, or that would be itself (RFC 4271, 5.1.3).
pub(super) fn told(
    shared: &Shared,
    slot: u16,
    family: Family,
    source: u16,
    id: AttributesId,
    changed: Option<Attributes>,
) -> Option<(Attributes, IpAddr, Agreed)> {
    let target = shared.peers.get(slot);
    let session = target.session.as_ref()?;
    let held = shared.attributes.get(id);
    let next_hop = next_hop(target, session, held);
    if next_hop == target.peer.address || next_hop.is_ipv4() != (family == Family::Ipv4) {
        return None;
    }
    let mut attributes = changed.unwrap_or_else(|| held.attributes.clone());
    for (flags, _, _) in &mut attributes.unknown {
        *flags |= PARTIAL;
    }
    if target.facts.external {
        prepend(&mut attributes.as_path, target.peer.local_as);
        attributes.local_pref = None;
        attributes.med = None;
    } else {
        attributes.local_pref.get_or_insert(LOCAL_PREF_DEFAULT);
    }
    let from = (source != OWN).then(|| shared.peers.get(source));
    match from.filter(|from| !from.facts.external && !target.facts.external) {
        Some(from) => reflect(&mut attributes, from, target, shared.router_id),
        None => {
            attributes.originator_id = None;
            attributes.cluster_list.clear();
        }
    }
    Some((attributes, next_hop, session.agreed))
}

/// Only the session's end is known of the own addresses.
fn next_hop(target: &Neighbor, session: &Session, held: &Held) -> IpAddr {
    match target.peer.next_hop {
        NextHop::Auto if target.facts.external => session.local,
        NextHop::Own => session.local,
        NextHop::Auto | NextHop::Keep => held.next_hop.unwrap_or(session.local),
    }
}

/// RFC 4456, 8; where no cluster id is set, the router id is it (section 7).
fn reflect(attributes: &mut Attributes, from: &Neighbor, to: &Neighbor, router_id: Ipv4Addr) {
    attributes.originator_id.get_or_insert(from.facts.router_id);
    let cluster = to.peer.cluster_id.or(from.peer.cluster_id).unwrap_or(router_id);
    attributes.cluster_list.insert(0, cluster);
}

fn prepend(path: &mut Vec<AsSegment>, number: u32) {
    match path.first_mut() {
        Some(AsSegment::Sequence(list)) if list.len() < SEGMENT_NUMBERS_MAX => {
            list.insert(0, number);
        }
        _ => path.insert(0, AsSegment::Sequence(vec![number])),
    }
}

/// The attributes of an own route.
pub(super) fn own_attributes(communities: &[(IpNet, Communities)], prefix: IpNet) -> Attributes {
    let mut attributes = Attributes { local_pref: Some(LOCAL_PREF_OWN), ..Attributes::default() };
    for (_, set) in communities.iter().filter(|(range, _)| range.contains(&prefix)) {
        attributes.communities.extend_from_slice(&set.standard);
        attributes.large_communities.extend_from_slice(&set.large);
    }
    attributes.communities.sort_unstable();
    attributes.communities.dedup();
    attributes.large_communities.sort_unstable();
    attributes.large_communities.dedup();
    attributes
}
