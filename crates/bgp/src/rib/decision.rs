//! Which of the paths to a destination is best (RFC 4271, 9.1.2.2; RFC 4456, 9).
//!
//! The order is a function of the set of paths, never of the order in which they came: MEDs are
//! compared by elimination, as the RFC has it. The cost to reach the next hop (step e) is unknown
//! here, so that all count as equally near; a path's age never counts.

use super::attributes::Interner;
use super::peers::{PeerFacts, Peers};
use super::table::{OWN, Path};

/// Paths that share the traffic at most; BIRD's `merge paths limit`.
pub(super) const NEXT_HOPS_MAX: usize = 16;

/// Puts the best path first, and behind it those as good up to the router id (step f), in the
/// order of the remaining steps. How many these are; at most [`NEXT_HOPS_MAX`].
pub(super) fn order(paths: &mut [Path], peers: &Peers, attributes: &Interner) -> u8 {
    if paths.len() < 2 {
        return paths.len() as u8;
    }
    if let Some(own) = paths.iter().position(|path| path.slot == OWN) {
        paths.swap(0, own);
        return 1;
    }
    let held = |path: &Path| attributes.get(path.attributes);
    let facts = |path: &Path| peers.facts(path.slot);

    let Some(rank) = paths.iter().map(|path| held(path).rank).max() else { return 0 };
    let count = bring_forward(paths, |path| held(path).rank == rank);
    let equal = &mut paths[..count];

    let meds: Vec<(u32, u32)> = equal.iter().map(|path| med(path, attributes)).collect();
    let count = if meds.iter().all(|other| other.1 == meds[0].1) {
        count
    } else {
        bring_forward(equal, |path| {
            let (neighbor, med) = med(path, attributes);
            !meds.iter().any(|other| other.0 == neighbor && other.1 < med)
        })
    };
    let equal = &mut paths[..count];

    let count = match bring_forward(equal, |path| facts(path).external) {
        0 => count,
        external => external,
    };
    paths[..count].sort_unstable_by_key(|path| {
        let PeerFacts { router_id, address, .. } = *facts(path);
        let told = &held(path).attributes;
        (told.originator_id.unwrap_or(router_id), told.cluster_list.len(), address, path.slot)
    });
    count.min(NEXT_HOPS_MAX) as u8
}

/// The neighbor AS, and the MED; none is 0 (RFC 4271, 9.1.2.2 c).
fn med(path: &Path, attributes: &Interner) -> (u32, u32) {
    let held = attributes.get(path.attributes);
    (held.neighbor_as, held.attributes.med.unwrap_or(0))
}

/// Moves those that are `good` to the front; how many there are.
fn bring_forward(paths: &mut [Path], good: impl Fn(&Path) -> bool) -> usize {
    let mut count = 0;
    for at in 0..paths.len() {
        if good(&paths[at]) {
            paths.swap(count, at);
            count += 1;
        }
    }
    count
}
